#include "proto/gateway_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_scheme_host_and_port),
      cmocka_unit_test(query_says_the_compression),
      cmocka_unit_test(refuses_other_urls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
