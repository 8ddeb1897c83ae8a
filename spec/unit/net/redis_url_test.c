/* URLs of Redis: what they say, and that nothing of a login is ever shown. */

#include "base/address.h"
#include "net/redis_url.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static void assert_text(const char *is, const char *should)
{
  if (!should)
    assert_null(is);
  else
    assert_string_equal(is ? is : "(none)", should);
}

static void reads_urls(void **state)
{
  (void)state;
  static const struct {
    const char *text, *host, *port, *path, *user, *password;
    int database;
    bool tls;
    const char *name;
  } rows[] = {
      {"redis://localhost", "localhost", "6379", NULL, NULL, NULL, 0, false, "redis://localhost:6379/0"},
      {"REDIS://10.0.0.1:7000/", "10.0.0.1", "7000", NULL, NULL, NULL, 0, false, "redis://10.0.0.1:7000/0"},
      {"redis://host/15", "host", "6379", NULL, NULL, NULL, 15, false, "redis://host:6379/15"},
      {"redis://host?db=3", "host", "6379", NULL, NULL, NULL, 3, false, "redis://host:6379/3"},
      {"redis://:geheim@host", "host", "6379", NULL, NULL, "geheim", 0, false, "redis://host:6379/0"},
      {"redis://app@host", "host", "6379", NULL, "app", NULL, 0, false, "redis://host:6379/0"},
      {"redis://a%40b:p%2F%3a%23%3F%25@host:1/2", "host", "1", NULL, "a@b", "p/:#?%", 2, false,
       "redis://host:1/2"},
      {"redis://app:pass@word@host", "host", "6379", NULL, "app", "pass@word", 0, false,
       "redis://host:6379/0"},
      {"rediss://app:x:y@redis.example:6380", "redis.example", "6380", NULL, "app", "x:y", 0, true,
       "rediss://redis.example:6380/0"},
      {"rediss://[::1]:6380/1", "::1", "6380", NULL, NULL, NULL, 1, true, "rediss://[::1]:6380/1"},
      {"redis://[2001:db8::1]", "2001:db8::1", "6379", NULL, NULL, NULL, 0, false,
       "redis://[2001:db8::1]:6379/0"},
      {"redis+unix:///run/redis/redis.sock", NULL, "", "/run/redis/redis.sock", NULL, NULL, 0, false,
       "redis+unix:///run/redis/redis.sock?db=0"},
      {"redis+unix://app:geheim@/run/r%20s.sock?db=7", NULL, "", "/run/r s.sock", "app", "geheim", 7, false,
       "redis+unix:///run/r s.sock?db=7"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_redis_url url;
    struct tg_error error = {0};
    if (!tg_redis_url_parse(rows[i].text, &url, &error))
      fail_msg("%s: %s", rows[i].text, error.message);
    assert_text(url.host, rows[i].host);
    assert_text(url.port, rows[i].port);
    assert_text(url.path, rows[i].path);
    assert_text(url.user, rows[i].user);
    assert_text(url.password, rows[i].password);
    assert_int_equal(url.database, rows[i].database);
    assert_int_equal(url.tls, rows[i].tls);
    assert_text(url.name, rows[i].name);
    tg_redis_url_free(&url);
  }
}

static void refuses_what_is_none(void **state)
{
  (void)state;
  static const struct {
    const char *text, *words;
  } rows[] = {
      {"", "starts with none of redis://"},
      {"http://geheim:geheim@host", "the Redis URL host starts with none of"},
      {"redis:host", "starts with none of"},
      {"redis+unix:/run/redis.sock", "starts with none of"},
      {"redis://", "no valid host name"},
      {"redis:///0", "no valid host name"},
      {"redis://ho st", "no valid host name"},
      {"redis://ho%20st", "no valid host name"},
      {"redis://[::1", "has a [ without its ]"},
      {"redis://[nowhere]", "no valid host name"},
      {"redis://host:", "no valid port"},
      {"redis://host:0", "no valid port"},
      {"redis://host:65536", "no valid port"},
      {"redis://[::1]6379", "no valid port"},
      {"redis://host/zero", "a database that is no number"},
      {"redis://host/-1", "a database that is no number"},
      {"redis://host/1/2", "a database that is no number"},
      {"redis://host/99999999999999999999", "a database that is no number"},
      {"redis://host?db=", "a database that is no number"},
      {"redis://host?password=geheim", "a parameter behind its ? that is not known"},
      {"redis://host#0", "has a #"},
      {"redis://:geheim%@host", "has a password with a % that is no escape"},
      {"redis://:geheim%00@host", "has a password with a % that is no escape"},
      {"redis://geheim%zz@host", "has a user with a % that is no escape"},
      /* A login whose bytes are not escaped, or that is all there is. */
      {"redis://app:geh/geheim@host", "the Redis URL redis://host has a @ behind its host"},
      {"redis://app:geh?geheim@host", "the Redis URL redis://host has a @ behind its host"},
      {"redis://app:geh#geheim@host", "the Redis URL redis://host has a @ behind its host"},
      {"redis://app:geheim", "the Redis URL redis://app has no valid port"},
      {"redis://:geheim", "the Redis URL redis:// has no valid host name"},
      {"redis+unix://app:geheim@host/run/redis.sock", "has a host, but a socket is on this machine"},
      {"redis+unix://", "names no socket"},
      {"redis+unix:///", "names no socket"},
      {"redis+unix:///run/%gg", "has a path with a % that is no escape"},
      {"redis+unix:///run/redis.sock?database=1", "a parameter behind its ? that is not known"},
      {"redis+unix:///"
       "2345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
       "0123456789012345678",
       "too long for a unix socket"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_redis_url url;
    struct tg_error error = {0};
    assert_false(tg_redis_url_parse(rows[i].text, &url, &error));
    assert_string_equal(error.code, "bad_url");
    if (!strstr(error.message, rows[i].words) || strstr(error.message, "geh"))
      fail_msg("%s: \"%s\", not \"%s\"", rows[i].text, error.message, rows[i].words);
    tg_redis_url_free(&url);
  }
}

/* What the configuration takes must not fail later. */
static void reads_what_the_configuration_takes(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "redis://a",          "REDISS://user:p%40ss,word;@redis.example:6380/15",
      "redis://:a@[::1]/",  "redis+unix://user:pass@/run/r%20s.sock?db=15",
      "redis://:p@ss@a_b.", "redis+unix:///r?db=999999",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    struct tg_redis_url url;
    struct tg_error error = {0};
    assert_null(tg_check_redis_url(texts[i]));
    if (!tg_redis_url_parse(texts[i], &url, &error))
      fail_msg("%s: %s", texts[i], error.message);
    tg_redis_url_free(&url);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_urls),
      cmocka_unit_test(refuses_what_is_none),
      cmocka_unit_test(reads_what_the_configuration_takes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
