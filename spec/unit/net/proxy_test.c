/* Which proxy the environment means for which host, as curl reads it. */

#include "net/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "name=value" words; blanks in values are written as "_". */
static char environment[512];

static const char *env(const char *name)
{
  static char value[512];
  size_t length = strlen(name);
  for (const char *at = environment; *at;) {
    size_t word = strcspn(at, " ");
    if (strncmp(at, name, length) == 0 && at[length] == '=') {
      size_t size = word - length - 1;
      memcpy(value, at + length + 1, size);
      value[size] = '\0';
      for (char *blank = value; (blank = strchr(blank, '_')) != NULL;)
        *blank = ' ';
      return value;
    }
    at += word + strspn(at + word, " ");
  }
  return NULL;
}

static struct tg_proxies *read_all(const char *variables)
{
  struct tg_error error;
  strcpy(environment, variables);
  struct tg_proxies *proxies = tg_proxies_read(env, &error);
  assert_non_null(proxies);
  return proxies;
}

/* "variable where", or "direct". */
static void expect(const char *variables, const char *url, const char *expected)
{
  struct tg_proxies *proxies = read_all(variables);
  const struct tg_proxy *proxy = tg_proxy_for_url(proxies, url);
  char got[200] = "direct";
  if (proxy) {
    strcpy(got, proxy->variable);
    strcat(got, " ");
    strcat(got, proxy->where);
  }
  if (strcmp(got, expected) != 0)
    fail_msg("%s with %s: %s, not %s", url, variables, got, expected);
  tg_proxies_free(proxies);
}

static void variables_are_chosen_as_curl_does(void **state)
{
  (void)state;
  expect("", "http://a.test", "direct");
  expect("http_proxy=http://p:1", "http://a.test/x", "http_proxy http://p:1");
  expect("http_proxy=http://p:1", "ws://a.test:8080", "http_proxy http://p:1");
  expect("http_proxy=http://p:1", "https://a.test", "direct");
  expect("HTTP_PROXY=http://p:1", "http://a.test", "direct");
  expect("https_proxy=http://p:1", "https://a.test", "https_proxy http://p:1");
  expect("https_proxy=http://p:1", "WSS://a.test", "https_proxy http://p:1");
  expect("HTTPS_PROXY=http://p:1", "wss://a.test", "HTTPS_PROXY http://p:1");
  expect("HTTPS_PROXY=http://p:1 https_proxy=http://q:2", "https://a.test", "https_proxy http://q:2");
  expect("HTTPS_PROXY=http://p:1 https_proxy=", "https://a.test", "HTTPS_PROXY http://p:1");
  expect("ALL_PROXY=http://p:1", "http://a.test", "ALL_PROXY http://p:1");
  expect("ALL_PROXY=http://p:1 all_proxy=http://q:2", "https://a.test", "all_proxy http://q:2");
  expect("all_proxy=http://p:1 https_proxy=http://q:2", "https://a.test", "https_proxy http://q:2");
  expect("all_proxy=http://p:1", "http+unix:///run/bot.sock:/", "direct");
}

static void proxies_are_read_as_curl_reads_them(void **state)
{
  (void)state;
  static const struct {
    const char *text, *where, *host, *port;
    enum tg_proxy_kind kind;
    const char *login, *authorization;
  } rows[] = {
      {"http://proxy:3128", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP, NULL, NULL},
      {"proxy:3128", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP, NULL, NULL},
      {"proxy", "http://proxy:1080", "proxy", "1080", TG_PROXY_HTTP, NULL, NULL},
      {"HTTP://proxy:3128/", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP, NULL, NULL},
      {"http://[::1]:3128", "http://[::1]:3128", "::1", "3128", TG_PROXY_HTTP, NULL, NULL},
      {"http://[2001:db8::1]", "http://[2001:db8::1]:1080", "2001:db8::1", "1080", TG_PROXY_HTTP, NULL, NULL},
      {"https://proxy", "https://proxy:443", "proxy", "443", TG_PROXY_HTTPS, NULL, NULL},
      {"socks5h://proxy", "socks5h://proxy:1080", "proxy", "1080", TG_PROXY_SOCKS, NULL, NULL},
      {"http://user:secret@proxy:3128", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP, "user:secret",
       "Basic dXNlcjpzZWNyZXQ="},
      {"user@proxy:3128", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP, "user", "Basic dXNlcjo="},
      {"http://us%65r:p%40ss%3a%2@proxy:3128", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP,
       "user:p@ss:%2", "Basic dXNlcjpwQHNzOiUy"},
      {"http://user:a@b@proxy:3128", "http://proxy:3128", "proxy", "3128", TG_PROXY_HTTP, "user:a@b",
       "Basic dXNlcjphQGI="},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char variables[200] = "all_proxy=";
    struct tg_proxies *proxies = read_all(strcat(variables, rows[i].text));
    const struct tg_proxy *proxy = tg_proxy_at(proxies, 0);
    assert_string_equal(proxy->where, rows[i].where);
    assert_string_equal(proxy->host, rows[i].host);
    assert_string_equal(proxy->port, rows[i].port);
    assert_int_equal(proxy->kind, rows[i].kind);
    assert_string_equal(proxy->url, rows[i].text);
    if (rows[i].login) {
      assert_string_equal(proxy->login, rows[i].login);
      assert_string_equal(proxy->authorization, rows[i].authorization);
    } else {
      assert_null(proxy->login);
      assert_null(proxy->authorization);
    }
    assert_null(tg_proxy_at(proxies, 1));
    tg_proxies_free(proxies);
  }
}

static void what_is_no_proxy_is_refused_without_its_password(void **state)
{
  (void)state;
  static const char *const rows[] = {
      "ftp://user:secret@proxy:21", "http://",          "http://user:secret@", "http://proxy:port",
      "http://proxy:70000",         "http://[::1:3128", "http://pro_xy:3128",  "http://[::1]3128",
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_error error = {0};
    strcpy(environment, "HTTPS_PROXY=");
    strcat(environment, rows[i]);
    if (tg_proxies_read(env, &error))
      fail_msg("%s is taken for a proxy", rows[i]);
    assert_non_null(strstr(error.message, "HTTPS_PROXY"));
    assert_null(strstr(error.message, "secret"));
  }
}

static void exceptions_are_read_as_curl_reads_them(void **state)
{
  (void)state;
  static const struct {
    const char *host, *exceptions;
    bool direct;
  } rows[] = {
      {"www.example.com", "localhost,.example.com,.example.de", true},
      {"www.example.com.", "localhost,.example.com,.example.de", true},
      {"example.com", "localhost,.example.com,.example.de", true},
      {"example.com.", "localhost,.example.com,.example.de", true},
      {"www.example.com", "localhost,.example.com.,.example.de", true},
      {"www.example.com", "localhost,example.com,.example.de", true},
      {"WWW.Example.COM", "example.com", true},
      {"nonexample.com", ".example.com,_.example.net", false},
      {"example.com.evil.test", "example.com", false},
      {"foobar", "barfoo", false},
      {"foobar", "foobar", true},
      {"foobar", "*", true},
      {"foobar", "a,*", false},
      {"foobar", ",,_,_foobar_,", true},
      {"bar", "foo_bar", true},
      {"foobar", ".", false},
      {"192.168.0.1", "192.168.0.1", true},
      {"192.168.0.1", "192.168.0.0/16", true},
      {"192.168.0.1", "192.168.0.0/24", true},
      {"192.168.0.1", "192.168.0.0/32", false},
      {"192.168.0.1", "192.168.0.0", false},
      {"192.168.1.1", "foo,_bar,_192.168.0.0/24", false},
      {"192.168.1.1", "foo,_bar,_192.168.0.0/23", true},
      {"192.168.1.1", "192.168.1.1/33", false},
      {"192.168.1.1", "192.168.1.1/-1", false},
      {"192.168.1.1", "1.1", false},
      {"[2001:db8::1]", "2001:db8::/32", true},
      {"[2001:db8::1]", "2001:db8:1::/47", true},
      {"[2001:db8::1]", "2001:db8:1::/48", false},
      {"[2001:db8::1]", "2001:0db8:0::1", true},
      {"[2001:db8::1]", "2001:db8::1/129", false},
      {"10.0.0.1", "10.0.0.1.10.0.0.1.10.0.0.1.10.0.0.1.10.0.0.1.10.0.0.1.10.0.0.1.10.0.0.1", false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char variables[300] = "all_proxy=http://p:1 no_proxy=", url[100] = "https://user:x@";
    strcat(variables, rows[i].exceptions);
    strcat(strcat(url, rows[i].host), ":443/path@host");
    expect(variables, url, rows[i].direct ? "direct" : "all_proxy http://p:1");
  }
  expect("all_proxy=http://p:1 NO_PROXY=a.test no_proxy=b.test", "http://a.test", "all_proxy http://p:1");
  expect("all_proxy=http://p:1 NO_PROXY=a.test no_proxy=", "http://a.test", "direct");
}

static void loopback_is_not_asked_of_other_computers(void **state)
{
  (void)state;
  static const char *const loopback[] = {"http://127.0.0.1:8081", "http://127.8.9.1",
                                         "http://[::1]:8081",     "http://localhost:8081/events",
                                         "http://LOCALHOST.",     "ws://bot.localhost"};
  static const char *const others[] = {"http://bot:8081", "http://128.0.0.1", "http://[::2]",
                                       "http://notlocalhost", "http://localhost.test"};
  for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++) {
    expect("http_proxy=http://proxy.test:3128", loopback[i], "direct");
    expect("http_proxy=http://127.0.0.1:3128", loopback[i], "http_proxy http://127.0.0.1:3128");
    expect("http_proxy=localhost:3128", loopback[i], "http_proxy http://localhost:3128");
    expect("http_proxy=[::1]:3128", loopback[i], "http_proxy http://[::1]:3128");
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    expect("http_proxy=http://proxy.test:3128", others[i], "http_proxy http://proxy.test:3128");
  expect("http_proxy=localhost:3128 no_proxy=127.0.0.0/8", "http://127.0.0.1", "direct");
}

static void only_plain_http_proxies_carry_websockets(void **state)
{
  (void)state;
  static const char *const rows[] = {"http://p:1", "https://p:1", "socks5://p:1"};
  assert_true(tg_proxy_tunnels(NULL, "gateway.test", NULL));
  for (int i = 0; i < 3; i++) {
    struct tg_error error = {0};
    char variables[100] = "HTTPS_PROXY=";
    struct tg_proxies *proxies = read_all(strcat(variables, rows[i]));
    assert_int_equal(tg_proxy_tunnels(tg_proxy_at(proxies, 0), "gateway.test", &error), i == 0);
    if (i > 0) {
      assert_non_null(strstr(error.message, "HTTPS_PROXY"));
      assert_non_null(strstr(error.message, "gateway.test"));
    }
    tg_proxies_free(proxies);
  }
}

static void without_a_reading_all_is_direct(void **state)
{
  (void)state;
  const char *variable;
  assert_null(tg_proxy_for(NULL, true, "a.test"));
  assert_null(tg_proxy_at(NULL, 0));
  assert_null(tg_proxies_exceptions(NULL, &variable));
  struct tg_proxies *proxies = read_all("NO_PROXY=a,_b");
  assert_null(tg_proxy_at(proxies, 0));
  assert_string_equal(tg_proxies_exceptions(proxies, &variable), "a, b");
  assert_string_equal(variable, "NO_PROXY");
  tg_proxies_free(proxies);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(variables_are_chosen_as_curl_does),
      cmocka_unit_test(proxies_are_read_as_curl_reads_them),
      cmocka_unit_test(what_is_no_proxy_is_refused_without_its_password),
      cmocka_unit_test(exceptions_are_read_as_curl_reads_them),
      cmocka_unit_test(loopback_is_not_asked_of_other_computers),
      cmocka_unit_test(only_plain_http_proxies_carry_websockets),
      cmocka_unit_test(without_a_reading_all_is_direct),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
