/* The table of the reference's section 7.4, with and without contents. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/message_cache.h"

#include <stdio.h>
#include <string.h>

static struct tg_span span(const char *text) { return (struct tg_span){text, strlen(text)}; }

static struct tg_message_facts facts_of(const char *data)
{
  struct tg_message_facts facts;
  assert_true(tg_message_facts(span(data), false, &facts));
  return facts;
}

static void store(struct tg_message_cache *cache, const char *data)
{
  struct tg_message_facts facts = facts_of(data);
  tg_message_cache_store(cache, &facts);
}

/* As the pipeline does it: ask, then remember. */
static bool update(struct tg_message_cache *cache, const char *data, bool by_content)
{
  struct tg_message_facts facts = facts_of(data);
  bool changed = tg_message_cache_changed(cache, &facts, by_content);
  assert_int_equal(tg_message_cache_changed(cache, &facts, by_content), changed);
  tg_message_cache_store(cache, &facts);
  return changed;
}

#define CREATED "{\"id\":\"1\",\"edited_timestamp\":null,\"content\":\"hello\",\"embeds\":[]}"
#define UNFURLED "{\"id\":\"1\",\"edited_timestamp\":null,\"content\":\"hello\",\"embeds\":[{\"url\":\"x\"}]}"
#define EDITED "{\"id\":\"1\",\"edited_timestamp\":\"2026-08-20T14:04:02.766123+00:00\",\"content\":\"hullo\"}"
#define EDITED_UNFURLED                                                                                      \
  "{\"id\":\"1\",\"edited_timestamp\":\"2026-08-20T14:04:02.766000+00:00\",\"content\":\"hullo\",\"embeds\":[{}]}"
#define PINNED                                                                                               \
  "{\"id\":\"1\",\"edited_timestamp\":\"2026-08-20T14:04:02.766123+00:00\",\"content\":\"hullo\",\"pinned\":true}"
#define EDITED_BACK "{\"id\":\"1\",\"edited_timestamp\":\"2026-08-20T14:05:00.000000+00:00\",\"content\":\"hello\"}"

static void content_decides(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(64);
  store(cache, CREATED);
  assert_false(update(cache, UNFURLED, true));
  assert_true(update(cache, EDITED, true));
  assert_false(update(cache, EDITED_UNFURLED, true));
  assert_false(update(cache, PINNED, true));
  assert_true(update(cache, EDITED_BACK, true));
  assert_false(update(cache, EDITED_BACK, true));
  tg_message_cache_free(cache);
}

static void an_unknown_message_passes_once(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(64);
  assert_true(update(cache, UNFURLED, true));
  assert_false(update(cache, UNFURLED, true));
  tg_message_cache_free(cache);
}

static void without_contents_the_time_decides(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(64);
  assert_false(update(cache, "{\"id\":\"1\",\"content\":\"\",\"edited_timestamp\":null}", false));
  assert_true(update(cache, EDITED, false)); /* never seen before, but edited */
  assert_false(update(cache, EDITED_UNFURLED, false));
  assert_false(update(cache, PINNED, false));
  assert_true(update(cache, EDITED_BACK, false));
  assert_false(update(cache, EDITED, false)); /* older than what is known */
  tg_message_cache_free(cache);
}

static void partial_updates_are_judged_by_time(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(64);
  store(cache, CREATED);
  assert_false(update(cache, "{\"id\":\"1\",\"channel_id\":\"2\",\"embeds\":[{}]}", true));
  assert_false(update(cache, UNFURLED, true)); /* the content is still known */
  assert_true(update(cache, "{\"id\":\"1\",\"edited_timestamp\":\"2026-08-20T14:04:02+00:00\"}", true));
  assert_false(update(cache, "{\"id\":\"1\",\"edited_timestamp\":\"2026-08-20T14:04:02+00:00\"}", true));
  assert_true(update(cache, "{\"id\":\"2\",\"embeds\":[{}]}", true)); /* of an unknown message */
  tg_message_cache_free(cache);
}

static void reads_only_the_top_level(void **state)
{
  (void)state;
  struct tg_message_facts facts = facts_of(
      "{\"author\":{\"id\":\"9\",\"content\":\"no\"},\"referenced_message\":{\"id\":\"8\",\"content\":\"no\","
      "\"edited_timestamp\":\"2026-08-20T14:04:02+00:00\"}, \"content\" : \"a \\\"quoted\\\" word\", \"id\":\"77\"}");
  assert_int_equal(facts.id, 77);
  assert_int_equal(facts.edited, 0);
  assert_true(facts.content == facts_of("{\"id\":\"1\",\"content\":\"a \\\"quoted\\\" word\"}").content);
  assert_true(facts.content != facts_of("{\"id\":\"1\",\"content\":\"a \\\"quoted\\\" wore\"}").content);
  assert_true(facts.content != 0);
  struct tg_message_facts quick;
  assert_true(tg_message_facts(span("{\"content\":\"x\",\"id\":\"5\",\"rest\":broken"), true, &quick));
  assert_int_equal(quick.id, 5);
  assert_true(quick.content != 0);
  struct tg_message_facts none;
  assert_false(tg_message_facts(span("[]"), false, &none));
  assert_false(tg_message_facts(span("{\"content\":\"x\"}"), false, &none));
  assert_false(tg_message_facts(span("{\"content\":\"x"), false, &none));
  assert_false(tg_message_facts((struct tg_span){NULL, 0}, false, &none));
}

static void one_letter_makes_a_difference(void **state)
{
  (void)state;
  char text[128];
  uint64_t seen[64];
  for (int i = 0; i < 64; i++) {
    char content[65];
    memset(content, 'a', 64);
    content[64] = '\0';
    content[i] = 'b';
    snprintf(text, sizeof text, "{\"id\":\"1\",\"content\":\"%s\"}", content);
    seen[i] = facts_of(text).content;
    for (int j = 0; j < i; j++)
      assert_true(seen[i] != seen[j]);
  }
  for (int i = 0; i < 30; i++) { /* lengths, too */
    snprintf(text, sizeof text, "{\"id\":\"1\",\"content\":\"%.*s\"}", i, "                              ");
    seen[i] = facts_of(text).content;
    for (int j = 0; j < i; j++)
      assert_true(seen[i] != seen[j]);
  }
}

static void memory_is_bounded(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(1024);
  char data[128];
  store(cache, "{\"id\":\"1\",\"content\":\"kept\"}");
  for (int i = 2; i < 100000; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\",\"content\":\"text %d\"}", i, i);
    store(cache, data);
  }
  int known = 0;
  for (int i = 99999 - 1024; i < 100000; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\",\"content\":\"text %d\"}", i, i);
    struct tg_message_facts facts = facts_of(data);
    known += !tg_message_cache_changed(cache, &facts, true);
  }
  assert_in_range(known, 700, 1024); /* most of the newest are known */
  struct tg_message_facts first = facts_of("{\"id\":\"1\",\"content\":\"kept\"}");
  assert_true(tg_message_cache_changed(cache, &first, true)); /* the oldest is not */
  tg_message_cache_free(cache);
}

static void what_is_used_stays(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(8); /* one set */
  char data[64];
  for (int i = 1; i <= 8; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\",\"content\":\"x\"}", i);
    store(cache, data);
  }
  store(cache, "{\"id\":\"1\",\"content\":\"x\"}");
  store(cache, "{\"id\":\"9\",\"content\":\"x\"}"); /* in place of 2 */
  assert_false(update(cache, "{\"id\":\"1\",\"content\":\"x\"}", true));
  assert_false(update(cache, "{\"id\":\"3\",\"content\":\"x\"}", true));
  assert_true(update(cache, "{\"id\":\"2\",\"content\":\"x\"}", true));
  tg_message_cache_free(cache);
}

static void timestamps(void **state)
{
  (void)state;
  struct {
    const char *text;
    int64_t ms; /* -1: not a timestamp */
  } rows[] = {
      {"1970-01-01T00:00:00+00:00", 0},
      {"1970-01-01T00:00:00.001000+00:00", 1},
      {"2026-08-20T14:04:02.766123+00:00", 1787234642766},
      {"2026-08-20T14:04:02.766000+00:00", 1787234642766},
      {"2026-08-20T14:04:02.7+00:00", 1787234642700},
      {"2026-08-20T16:04:02.766123+02:00", 1787234642766},
      {"2026-08-20T14:04:02.766Z", 1787234642766},
      {"2024-02-29T23:59:59+00:00", 1709251199000},
      {"2000-03-01T00:00:00+00:00", 951868800000},
      {"2026-08-20T14:04:02", -1},
      {"2026-08-20 14:04:02+00:00", -1},
      {"2026-13-20T14:04:02+00:00", -1},
      {"yesterday, all my troubles", -1},
      {"", -1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int64_t ms = -1;
    assert_int_equal(tg_timestamp_parse(rows[i].text, strlen(rows[i].text), &ms), rows[i].ms >= 0);
    if (rows[i].ms >= 0)
      assert_int_equal(ms, rows[i].ms);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(content_decides),
      cmocka_unit_test(an_unknown_message_passes_once),
      cmocka_unit_test(without_contents_the_time_decides),
      cmocka_unit_test(partial_updates_are_judged_by_time),
      cmocka_unit_test(reads_only_the_top_level),
      cmocka_unit_test(one_letter_makes_a_difference),
      cmocka_unit_test(memory_is_bounded),
      cmocka_unit_test(what_is_used_stays),
      cmocka_unit_test(timestamps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
