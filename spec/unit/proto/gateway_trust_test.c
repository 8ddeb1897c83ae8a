/* Where others may lead this process. */

#include "proto/gateway_trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct tg_gateway_url parse(const char *text)
{
  struct tg_gateway_url url;
  struct tg_error error = {0};
  if (!tg_gateway_url_parse(text, TG_COMPRESSION_ZLIB, &url, &error))
    fail_msg("%s", error.message);
  return url;
}

static void where_sessions_may_be_resumed(void **state)
{
  (void)state;
  static const char tls[] = "without TLS", host[] = "neither", port[] = "but the main URL has port";
  static const struct {
    const char *main, *url;
    const char *word; /* NULL: there */
  } rows[] = {
      {"wss://gateway.discord.gg", "wss://gateway-us-east1-c.discord.gg", NULL},
      {"wss://gateway.discord.gg", "WSS://Gateway-US-East1-D.Discord.GG./?v=10", NULL},
      {"wss://gateway.discord.gg", "wss://gateway.discord.gg:443/x", NULL},
      {"wss://gateway.discord.gg", "wss://discord.gg", NULL},
      {"wss://gateway.discord.gg", "wss://a.b.discord.gg", NULL},
      {"wss://gateway.discord.gg.", "wss://a.discord.gg", NULL},
      {"wss://gateway.discord.gg", "ws://gateway.discord.gg", tls},
      {"wss://gateway.discord.gg", "ws://gateway.discord.gg:443", tls},
      {"wss://gateway.discord.gg", "ws://10.0.0.1", tls},
      {"wss://gateway.discord.gg", "wss://gateway.discord.gg:8443", port},
      {"wss://gateway.discord.gg:8443", "wss://gateway-us.discord.gg", port},
      {"wss://gateway.discord.gg", "wss://notdiscord.gg", host},
      {"wss://gateway.discord.gg", "wss://discord.gg.example", host},
      {"wss://gateway.discord.gg", "wss://gateway.discord.gg.example", host},
      {"wss://gateway.discord.gg", "wss://.gg", host},
      {"wss://gateway.discord.gg", "wss://gateway.discord.com", host},
      {"wss://gateway.discord.gg", "wss://example/?.discord.gg", host},
      {"wss://gateway.discord.gg", "wss://example#.discord.gg", host},
      {"wss://gateway.discord.gg", "wss://169.254.169.254", host},
      {"wss://gateway.discord.gg", "wss://[fe80::1]", host},
      {"wss://gateway.discord.gg", "wss://[::ffff:169.254.169.254]", host},
      {"wss://gateway.discord.gg", "wss://metadata.google.internal", host},
      {"wss://gateway.discord.gg", "wss://127.0.0.1", host},
      {"wss://gateway.example", "wss://GATEWAY.example.", NULL},
      {"wss://gateway.example", "wss://gateway-us.example", host},
      {"wss://gateway.example", "wss://us.gateway.example", host},
      {"wss://gateway.example", "wss://gateway.discord.gg", host},
      {"wss://gateway.example", "ws://gateway.example:443", tls},
      {"ws://gateway.example:80", "ws://gateway.example", NULL},
      {"ws://gateway.example:443", "wss://gateway.example", NULL}, /* better than what is configured */
      {"ws://gateway.example", "wss://gateway.example", port},
      {"ws://10.0.0.5:7878", "ws://10.0.0.5:7878/", NULL},
      {"ws://10.0.0.5:7878", "ws://10.0.0.6:7878", host},
      {"ws://10.0.0.5:7878", "ws://10.0.0.5:22", port},
      {"ws://10.0.0.5:7878", "ws://169.254.169.254:7878", host},
      {"ws://169.254.169.254", "ws://169.254.169.254", NULL}, /* the main URL is there */
      {"ws://169.254.169.254", "ws://169.254.169.253", host},
      {"ws://127.0.0.1:5000", "ws://localhost:5000", NULL},
      {"wss://localhost:5000", "wss://[::1]:5000", NULL},
      {"ws://localhost:5000", "ws://127.0.0.1:5001", port},
      {"ws://localhost:5000", "ws://127.0.0.1.example:5000", host},
      {"ws://[2001:db8::1]", "ws://[2001:0db8:0:0::1]", NULL},
      {"ws://[2001:db8::1]", "ws://[2001:db8::2]", host},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_gateway_url main = parse(rows[i].main), url = parse(rows[i].url);
    struct tg_error error = {0};
    bool trusted = tg_resume_url_trusted(&url, &main, &error);
    if (trusted != !rows[i].word || (!trusted && !strstr(error.message, rows[i].word)))
      fail_msg("from %s to %s: %s", rows[i].main, rows[i].url, trusted ? "trusted" : error.message);
  }
}

static void which_main_urls_are_taken(void **state)
{
  (void)state;
  static const struct {
    const char *asked, *url;
    bool trusted;
  } rows[] = {
      {"https://discord.com/api/v10", "wss://gateway.discord.gg", true},
      {"https://discord.com/api/v10", "wss://10.0.0.1:7878", true},
      {"https://discord.com/api/v10", "ws://gateway.discord.gg", false},
      {"https://discord.com/api/v10", "ws://127.0.0.1:7878", false},
      {"HTTPS://rest.example", "ws://gateway.example", false},
      {"http://127.0.0.1:8080", "ws://127.0.0.1:7878", true},
      {"http://127.0.0.1:8080", "wss://gateway.discord.gg", true},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_gateway_url url = parse(rows[i].url);
    struct tg_error error = {0};
    if (tg_main_url_trusted(&url, rows[i].asked, &error) != rows[i].trusted)
      fail_msg("%s says %s: %s", rows[i].asked, rows[i].url, error.message);
    assert_true(rows[i].trusted || strstr(error.message, "GATEWAY_URL"));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(where_sessions_may_be_resumed),
      cmocka_unit_test(which_main_urls_are_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
