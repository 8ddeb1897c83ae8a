/* Every row of the reference's section 7.2, and what follows from them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/guild_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tg_span span(const char *text) { return (struct tg_span){text, strlen(text)}; }

static const char ready[] = "{\"v\":10,\"guilds\":[{\"unavailable\":true,\"id\":\"300\"},{\"id\":\"100\","
                            "\"unavailable\":true},{\"id\":\"200\",\"unavailable\":true}],\"session_id\":\"x\"}";

/* What the event is, and then what it does. */
static const char *create(struct tg_guild_cache *cache, const char *data)
{
  enum tg_guild_create kind = tg_guild_cache_kind(cache, span(data));
  assert_int_equal(tg_guild_cache_kind(cache, span(data)), kind); /* asking changes nothing */
  tg_guild_cache_create(cache, span(data));
  const char *name = tg_guild_create_name(kind);
  return name ? name : "none";
}

static bool leave(struct tg_guild_cache *cache, const char *data) { return tg_guild_cache_delete(cache, span(data)); }

static struct tg_guild_cache loaded(void)
{
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span(ready));
  create(&cache, "{\"id\":\"100\",\"unavailable\":false}");
  create(&cache, "{\"id\":\"200\",\"unavailable\":false}");
  create(&cache, "{\"id\":\"300\",\"unavailable\":false}");
  return cache;
}

static void lazy_loading(void **state)
{
  (void)state;
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span(ready));
  assert_int_equal(cache.count, 3);
  assert_int_equal(cache.loading, 3);
  assert_string_equal(create(&cache, "{\"name\":\"x\",\"id\":\"100\",\"unavailable\":false}"), "loading");
  assert_int_equal(cache.loading, 2);
  assert_string_equal(create(&cache, "{\"id\":\"300\"}"), "loading");
  assert_string_equal(create(&cache, "{\"id\":\"200\",\"unavailable\":false}"), "loading");
  assert_int_equal(cache.loading, 0);
  assert_int_equal(cache.count, 3);
  tg_guild_cache_free(&cache);
}

static void a_known_guild_again_is_available(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  assert_string_equal(create(&cache, "{\"id\":\"100\",\"unavailable\":false}"), "available");
  assert_string_equal(create(&cache, "{\"id\":\"100\"}"), "available");
  assert_int_equal(cache.count, 3);
  tg_guild_cache_free(&cache);
}

static void an_unknown_guild_is_joined(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  assert_string_equal(create(&cache, "{\"id\":\"150\",\"name\":\"new\"}"), "joined");
  assert_string_equal(create(&cache, "{\"id\":\"150\",\"name\":\"new\"}"), "available");
  /* the wire hint does not overrule what is known */
  assert_string_equal(create(&cache, "{\"id\":\"151\",\"unavailable\":false}"), "joined");
  assert_int_equal(cache.count, 5);
  tg_guild_cache_free(&cache);
}

static void an_outage_is_no_leave(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  assert_false(leave(&cache, "{\"unavailable\":true,\"id\":\"200\"}"));
  assert_int_equal(cache.count, 3);
  assert_string_equal(create(&cache, "{\"id\":\"200\"}"), "available");
  assert_false(leave(&cache, "{\"unavailable\":true,\"id\":\"999\"}")); /* never heard of it */
  assert_string_equal(create(&cache, "{\"id\":\"999\"}"), "available");
  tg_guild_cache_free(&cache);
}

static void an_outage_while_loading(void **state)
{
  (void)state;
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span(ready));
  assert_false(leave(&cache, "{\"unavailable\":true,\"id\":\"200\"}"));
  assert_int_equal(cache.loading, 2); /* it is not waited for */
  assert_string_equal(create(&cache, "{\"id\":\"200\",\"unavailable\":false}"), "available");
  tg_guild_cache_free(&cache);
}

static void leave_and_rejoin_is_a_join(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  assert_true(leave(&cache, "{\"id\":\"200\"}"));
  assert_int_equal(cache.count, 2);
  assert_string_equal(create(&cache, "{\"id\":\"200\"}"), "joined");
  assert_int_equal(cache.count, 3);
  assert_true(leave(&cache, "{\"id\":\"12345\"}"));
  assert_int_equal(cache.count, 3);
  tg_guild_cache_free(&cache);
}

static void a_leave_while_loading(void **state)
{
  (void)state;
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span(ready));
  assert_true(leave(&cache, "{\"id\":\"100\"}"));
  assert_int_equal(cache.loading, 2);
  assert_int_equal(cache.count, 2);
  tg_guild_cache_free(&cache);
}

static void a_stub_is_never_a_join(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  assert_string_equal(create(&cache, "{\"unavailable\":true,\"id\":\"400\"}"), "available");
  assert_string_equal(create(&cache, "{\"unavailable\":true,\"id\":\"400\"}"), "available");
  assert_false(leave(&cache, "{\"unavailable\":true,\"id\":\"400\"}"));
  assert_string_equal(create(&cache, "{\"id\":\"400\",\"name\":\"x\"}"), "joined"); /* now it is told */
  assert_string_equal(create(&cache, "{\"id\":\"400\",\"name\":\"x\"}"), "available");
  assert_string_equal(create(&cache, "{\"unavailable\":true,\"id\":\"100\"}"), "available");
  assert_string_equal(create(&cache, "{\"id\":\"100\"}"), "available");
  tg_guild_cache_free(&cache);
}

static void a_stub_while_loading(void **state)
{
  (void)state;
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span(ready));
  assert_string_equal(create(&cache, "{\"unavailable\":true,\"id\":\"100\"}"), "loading");
  assert_int_equal(cache.loading, 2);
  assert_string_equal(create(&cache, "{\"id\":\"100\"}"), "available");
  tg_guild_cache_free(&cache);
}

static void without_ready_the_wire_hints(void **state)
{
  (void)state;
  struct tg_guild_cache cache = {0};
  assert_string_equal(create(&cache, "{\"id\":\"100\",\"unavailable\":false}"), "available");
  assert_string_equal(create(&cache, "{\"id\":\"200\"}"), "joined");
  assert_string_equal(create(&cache, "{\"id\":\"200\"}"), "available");
  assert_string_equal(create(&cache, "{\"unavailable\":true,\"id\":\"300\"}"), "available");
  tg_guild_cache_free(&cache);
}

static void a_new_ready_starts_over(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  create(&cache, "{\"id\":\"500\"}");
  tg_guild_cache_ready(&cache, span(ready));
  assert_int_equal(cache.count, 3);
  assert_int_equal(cache.loading, 3);
  assert_string_equal(create(&cache, "{\"id\":\"500\"}"), "joined");
  tg_guild_cache_free(&cache);
}

static void nested_ids_do_not_confuse(void **state)
{
  (void)state;
  struct tg_guild_cache cache = loaded();
  assert_string_equal(
      create(&cache, "{\"roles\":[{\"id\":\"777\",\"unavailable\":true}],\"id\":\"100\",\"channels\":[{\"id\":\"1\"}]}"),
      "available");
  assert_string_equal(create(&cache, "{\"name\":\"no id\"}"), "none");
  assert_string_equal(create(&cache, "null"), "none");
  assert_string_equal(create(&cache, "{\"id\":null}"), "none");
  tg_guild_cache_free(&cache);
}

static void odd_ready(void **state)
{
  (void)state;
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span("{\"guilds\":[]}"));
  assert_int_equal(cache.loading, 0);
  assert_true(cache.complete);
  tg_guild_cache_ready(&cache, span("{}"));
  assert_int_equal(cache.count, 0);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[{\"id\":\"7\"},{\"id\":\"7\"},{\"x\":1},5]}"));
  assert_int_equal(cache.count, 1);
  assert_int_equal(cache.loading, 1);
  tg_guild_cache_free(&cache);
}

static void thousands(void **state)
{
  (void)state;
  char *text = malloc(2500 * 64), *at = text;
  at += sprintf(at, "{\"guilds\":[");
  for (int i = 0; i < 2500; i++)
    at += sprintf(at, "%s{\"id\":\"%d\",\"unavailable\":true}", i ? "," : "", 1000000 + (i * 7919) % 2503);
  sprintf(at, "]}");
  struct tg_guild_cache cache = {0};
  tg_guild_cache_ready(&cache, span(text));
  assert_int_equal(cache.count, 2500);
  assert_true(cache.capacity <= 2500 + 2500 / 16 + 8);
  for (int i = 0; i < 2500; i++) {
    char data[64];
    snprintf(data, sizeof data, "{\"id\":\"%d\"}", 1000000 + (i * 7919) % 2503);
    assert_string_equal(create(&cache, data), "loading");
    assert_string_equal(create(&cache, data), "available");
  }
  assert_int_equal(cache.loading, 0);
  tg_guild_cache_free(&cache);
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lazy_loading),
      cmocka_unit_test(a_known_guild_again_is_available),
      cmocka_unit_test(an_unknown_guild_is_joined),
      cmocka_unit_test(an_outage_is_no_leave),
      cmocka_unit_test(an_outage_while_loading),
      cmocka_unit_test(leave_and_rejoin_is_a_join),
      cmocka_unit_test(a_leave_while_loading),
      cmocka_unit_test(a_stub_is_never_a_join),
      cmocka_unit_test(a_stub_while_loading),
      cmocka_unit_test(without_ready_the_wire_hints),
      cmocka_unit_test(a_new_ready_starts_over),
      cmocka_unit_test(nested_ids_do_not_confuse),
      cmocka_unit_test(odd_ready),
      cmocka_unit_test(thousands),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
