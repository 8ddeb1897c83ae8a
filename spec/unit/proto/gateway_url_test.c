#include "proto/gateway_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/address.h"

static void takes_scheme_host_and_port(void **state)
{
  (void)state;
  static const struct {
    const char *base;
    bool tls;
    const char *host, *port;
  } cases[] = {
      {"wss://gateway.discord.gg", true, "gateway.discord.gg", "443"},
      {"wss://gateway.discord.gg/", true, "gateway.discord.gg", "443"},
      {"wss://gateway-us-east1-c.discord.gg", true, "gateway-us-east1-c.discord.gg", "443"},
      {"WSS://gateway.discord.gg/?v=6&encoding=etf#x", true, "gateway.discord.gg", "443"},
      {"wss://gateway.discord.gg?v=6", true, "gateway.discord.gg", "443"},
      {"wss://gateway.discord.gg/some/path", true, "gateway.discord.gg", "443"},
      {"wss://gateway.discord.gg:8443/x:y", true, "gateway.discord.gg", "8443"},
      {"ws://127.0.0.1:5000", false, "127.0.0.1", "5000"},
      {"ws://localhost", false, "localhost", "80"},
      {"ws://[::1]:5000/", false, "::1", "5000"},
      {"wss://[2001:db8::1]", true, "2001:db8::1", "443"},
      {"wss://host:0443", true, "host", "443"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tg_gateway_url url;
    struct tg_error error = {0};
    if (!tg_gateway_url_parse(cases[i].base, TG_COMPRESSION_ZLIB, &url, &error))
      fail_msg("%s", error.message);
    assert_int_equal(url.tls, cases[i].tls);
    assert_string_equal(url.host, cases[i].host);
    assert_string_equal(url.port, cases[i].port);
    assert_string_equal(url.target, "/?v=10&encoding=json&compress=zlib-stream");
  }
}

static void query_says_the_compression(void **state)
{
  (void)state;
  struct tg_gateway_url url;
  assert_true(tg_gateway_url_parse("wss://h/?compress=zlib-stream", TG_COMPRESSION_NONE, &url, NULL));
  assert_string_equal(url.target, "/?v=10&encoding=json");
  assert_true(tg_gateway_url_parse("wss://h", TG_COMPRESSION_ZSTD, &url, NULL));
  assert_string_equal(url.target, "/?v=10&encoding=json&compress=zstd-stream");
}

static void refuses_other_urls(void **state)
{
  (void)state;
  static const char *const bases[] = {
      "",
      "gateway.discord.gg",
      "https://gateway.discord.gg",
      "wss:/gateway.discord.gg",
      "wss://",
      "wss:///path",
      "wss://:443",
      "wss://host:",
      "wss://host:0",
      "wss://host:65536",
      "wss://host:443443",
      "wss://host:4x3",
      "wss://user:secret@host",
      "wss://host\r\nX-Header: 1",
      "wss://ho st",
      "wss://[::1",
      "wss://[::1]x",
      "wss://[gateway]",
      "wss://[::::]",
      "wss://[1:2]",
      "wss://[127.0.0.1]",
      "wss://[fe80::1%eth0]",
      "ws://127.0.0.1:99999999",
      "wss://[]",
  };
  struct tg_gateway_url url;
  for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
    struct tg_error error = {0};
    if (tg_gateway_url_parse(bases[i], TG_COMPRESSION_ZLIB, &url, &error))
      fail_msg("accepted: %s", bases[i]);
    assert_non_null(strstr(error.message, "wss://gateway.discord.gg"));
  }
  char longest[6 + 256 + 1] = "wss://";
  memset(longest + 6, 'h', 256);
  assert_false(tg_gateway_url_parse(longest, TG_COMPRESSION_ZLIB, &url, NULL));
  longest[6 + 255] = '\0';
  assert_true(tg_gateway_url_parse(longest, TG_COMPRESSION_ZLIB, &url, NULL));
}

/* What the check of the configuration lets pass must not fail later, in each shard. */
static void what_is_checked_can_be_read(void **state)
{
  (void)state;
  static const char *const schemes[] = {"", "ws://", "wss://", "WSS://", "https://"};
  static const char *const hosts[] = {"", "a", "a.example.", "127.0.0.1", "[::1]", "[::1", "[a]", "[::1%lo]",
                                      "u@a", "u:p@a", "\xc3\xbc", "a b", "a\r\nb", "a%41", "_a-b", "a,b"};
  static const char *const ports[] = {"", ":", ":1", ":065", ":0", ":65535", ":65536", ":99999999", ":4x", ":1:2"};
  static const char *const rests[] = {"", "/", "?v=10", "#x", "/x@y:z", "/[", "\\@b"};
  int taken = 0;
  for (size_t s = 0; s < 5; s++)
    for (size_t h = 0; h < sizeof hosts / sizeof *hosts; h++)
      for (size_t p = 0; p < sizeof ports / sizeof *ports; p++)
        for (size_t r = 0; r < sizeof rests / sizeof *rests; r++) {
          char text[128];
          struct tg_gateway_url url;
          struct tg_error error = {0};
          snprintf(text, sizeof text, "%s%s%s%s", schemes[s], hosts[h], ports[p], rests[r]);
          if (tg_check_gateway_url(text))
            continue;
          taken++;
          if (!tg_gateway_url_parse(text, TG_COMPRESSION_ZLIB, &url, &error))
            fail_msg("%s: %s", text, error.message);
        }
  assert_true(taken > 100);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_scheme_host_and_port),
      cmocka_unit_test(query_says_the_compression),
      cmocka_unit_test(refuses_other_urls),
      cmocka_unit_test(what_is_checked_can_be_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
