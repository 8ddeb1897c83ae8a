/* What is read out of a message. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/caches/message_facts.h"

#include <stdio.h>
#include <string.h>

static struct tg_span span(const char *text)
{
  return (struct tg_span){text, strlen(text)};
}

static struct tg_message_facts facts_of(const char *data)
{
  struct tg_message_facts facts;
  assert_true(tg_message_facts(span(data), &facts));
  return facts;
}

static void reads_only_the_top_level(void **state)
{
  (void)state;
  struct tg_message_facts facts = facts_of(
      "{\"author\":{\"id\":\"9\",\"content\":\"no\"},\"referenced_message\":{\"id\":\"8\",\"content\":\"no\","
      "\"edited_timestamp\":\"2026-08-20T14:04:02+00:00\"}, \"content\":\"a \\\"quoted\\\" word\", "
      "\"id\":\"77\"}");
  assert_int_equal(facts.id, 77);
  assert_int_equal(facts.edited, 0);
  uint32_t content = facts.hashes[TG_MESSAGE_CONTENT];
  assert_true(content != 0);
  assert_true(content == facts_of("{\"id\":\"1\",\"content\":\"a \\\"quoted\\\" word\"}").hashes[0]);
  assert_true(content != facts_of("{\"id\":\"1\",\"content\":\"a \\\"quoted\\\" wore\"}").hashes[0]);
}

static void knows_what_is_no_message(void **state)
{
  (void)state;
  static const char *const rows[] = {"[]", "null", "7", "", "{}", "{\"content\":\"x\"}", "{\"content\":\"x"};
  struct tg_message_facts none;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_false(tg_message_facts(span(rows[i]), &none));
  assert_false(tg_message_facts((struct tg_span){NULL, 0}, &none));
}

static void tells_parts_from_whole_messages(void **state)
{
  (void)state;
  assert_true(facts_of("{\"id\":\"1\",\"timestamp\":\"2026-08-20T14:04:02+00:00\",\"author\":{\"id\":\"2\"},"
                       "\"content\":\"\",\"attachments\":[]}")
                  .whole);
  assert_false(
      facts_of("{\"id\":\"1\",\"author\":{\"id\":\"2\"},\"content\":\"\",\"attachments\":[]}").whole);
  struct tg_message_facts part = facts_of("{\"id\":\"1\",\"channel_id\":\"2\",\"embeds\":[{}]}");
  assert_false(part.whole);
  assert_int_equal(part.present, 0);
  part = facts_of("{\"id\":\"1\",\"flags\":0,\"thread\":{\"id\":\"1\"}}");
  assert_int_equal(part.present, 1 << TG_MESSAGE_FLAGS | 1 << TG_MESSAGE_REST);
}

static void one_letter_makes_a_difference(void **state)
{
  (void)state;
  char text[128];
  uint32_t seen[64];
  for (int i = 0; i < 64; i++) {
    char content[65];
    memset(content, 'a', 64);
    content[64] = '\0';
    content[i] = 'b';
    snprintf(text, sizeof text, "{\"id\":\"1\",\"content\":\"%s\"}", content);
    seen[i] = facts_of(text).hashes[TG_MESSAGE_CONTENT];
    for (int j = 0; j < i; j++)
      assert_true(seen[i] != seen[j]);
  }
  for (int i = 0; i < 30; i++) { /* lengths, too */
    snprintf(text, sizeof text, "{\"id\":\"1\",\"content\":\"%.*s\"}", i, "                              ");
    seen[i] = facts_of(text).hashes[TG_MESSAGE_CONTENT];
    for (int j = 0; j < i; j++)
      assert_true(seen[i] != seen[j]);
  }
}

static void members_do_not_stand_for_each_other(void **state)
{
  (void)state;
  struct tg_message_facts roles = facts_of("{\"id\":\"1\",\"mention_roles\":[\"5\"]}");
  struct tg_message_facts users = facts_of("{\"id\":\"1\",\"mentions\":[\"5\"]}");
  assert_true(roles.hashes[TG_MESSAGE_REST] != users.hashes[TG_MESSAGE_REST]);
  struct tg_message_facts both = facts_of("{\"id\":\"1\",\"mentions\":[\"5\"],\"mention_roles\":[\"5\"]}");
  struct tg_message_facts turned = facts_of("{\"mention_roles\":[\"5\"],\"id\":\"1\",\"mentions\":[\"5\"]}");
  assert_int_equal(both.hashes[TG_MESSAGE_REST], turned.hashes[TG_MESSAGE_REST]);
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
      cmocka_unit_test(reads_only_the_top_level),
      cmocka_unit_test(knows_what_is_no_message),
      cmocka_unit_test(tells_parts_from_whole_messages),
      cmocka_unit_test(one_letter_makes_a_difference),
      cmocka_unit_test(members_do_not_stand_for_each_other),
      cmocka_unit_test(timestamps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
