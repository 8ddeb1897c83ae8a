#include "proto/event_key.h"

#include "proto/envelope.h"
#include "proto/event_types.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 4711 };

static struct tg_event read_event(const char *raw)
{
  struct tg_envelope envelope;
  assert_true(tg_envelope_scan(raw, strlen(raw), &envelope));
  return (struct tg_event){
      .type = tg_event_type(envelope.name.at, envelope.name.length),
      .name = envelope.name,
      .raw = {raw, strlen(raw)},
      .data = envelope.data,
      .sequence = envelope.sequence,
  };
}

static struct tg_event_key key_as(const char *raw, enum tg_guild_change change)
{
  struct tg_event event = read_event(raw);
  return tg_event_key(&event, change, SEED);
}

static struct tg_event_key key_of(const char *raw) { return key_as(raw, TG_GUILD_CHANGE_NONE); }

static void assert_same(const char *a, const char *b)
{
  if (!tg_event_key_equal(key_of(a), key_of(b)))
    fail_msg("two keys: %s\n          %s", a, b);
}

static void assert_other(const char *a, const char *b)
{
  if (tg_event_key_equal(key_of(a), key_of(b)))
    fail_msg("one key: %s\n         %s", a, b);
}

/* Each documented event has its rule; all but these go by their bytes. */
static void test_rules(void **state)
{
  static const uint16_t session[] = {TG_EVENT_READY,          TG_EVENT_RESUMED,      TG_EVENT_RATE_LIMITED,
                                     TG_EVENT_CHANNEL_INFO,   TG_EVENT_GUILD_MEMBERS_CHUNK,
                                     TG_EVENT_SOUNDBOARD_SOUNDS, TG_EVENT_VOICE_SERVER_UPDATE};
  static const uint16_t id[] = {TG_EVENT_MESSAGE_CREATE, TG_EVENT_MESSAGE_DELETE, TG_EVENT_INTERACTION_CREATE,
                                TG_EVENT_GUILD_AUDIT_LOG_ENTRY_CREATE};
  int by_rule[4] = {0};
  (void)state;
  for (size_t i = 0; i < sizeof session / sizeof session[0]; i++)
    assert_int_equal(tg_event_key_rule(session[i]), TG_KEY_SESSION);
  for (size_t i = 0; i < sizeof id / sizeof id[0]; i++)
    assert_int_equal(tg_event_key_rule(id[i]), TG_KEY_ID);
  assert_int_equal(tg_event_key_rule(TG_EVENT_GUILD_CREATE), TG_KEY_GUILD);
  assert_int_equal(tg_event_key_rule(TG_EVENT_GUILD_DELETE), TG_KEY_GUILD);
  for (uint16_t type = TG_EVENT_OTHER; type < TG_EVENT_KNOWN_COUNT; type++)
    by_rule[tg_event_key_rule(type)]++;
  assert_int_equal(by_rule[TG_KEY_SESSION], 7);
  assert_int_equal(by_rule[TG_KEY_ID], 4);
  assert_int_equal(by_rule[TG_KEY_GUILD], 2);
}

static void test_two_sessions_give_one_name(void **state)
{
  (void)state;
  assert_same("{\"t\":\"TYPING_START\",\"s\":7,\"op\":0,\"d\":{\"guild_id\":\"9\",\"user_id\":\"4\"}}",
              "{\"t\":\"TYPING_START\",\"s\":99812,\"op\":0,\"d\":{\"guild_id\":\"9\",\"user_id\":\"4\"}}");
  /* What is built for each session may differ where Discord gives a number. */
  assert_same("{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"5\",\"guild_id\":\"9\",\"a\":1}}",
              "{\"t\":\"MESSAGE_CREATE\",\"s\":8,\"op\":0,\"d\":{\"guild_id\":\"9\",\"b\":[],\"id\":\"5\"}}");
  assert_same("{\"t\":\"NEW_THING\",\"s\":7,\"op\":0,\"d\":{\"x\":1}}",
              "{\"op\":0,\"t\":\"NEW_THING\",\"d\":{\"x\":1},\"s\":3}");
}

static void test_two_events_have_two_names(void **state)
{
  (void)state;
  assert_other("{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"5\",\"guild_id\":\"9\"}}",
               "{\"t\":\"MESSAGE_DELETE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"5\",\"guild_id\":\"9\"}}");
  assert_other("{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"5\",\"guild_id\":\"9\"}}",
               "{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"6\",\"guild_id\":\"9\"}}");
  assert_other("{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"5\",\"guild_id\":\"9\"}}",
               "{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"5\"}}");
  assert_other("{\"t\":\"NEW_THING\",\"s\":7,\"op\":0,\"d\":{\"x\":1}}",
               "{\"t\":\"OTHER_THING\",\"s\":7,\"op\":0,\"d\":{\"x\":1}}");
  assert_other("{\"t\":\"NEW_THING\",\"s\":7,\"op\":0,\"d\":{\"x\":1}}",
               "{\"t\":\"NEW_THING\",\"s\":7,\"op\":0,\"d\":{\"x\": 1}}");
  /* Without the number all of d counts. */
  assert_other("{\"t\":\"MESSAGE_DELETE\",\"s\":7,\"op\":0,\"d\":{\"x\":1}}",
               "{\"t\":\"MESSAGE_DELETE\",\"s\":7,\"op\":0,\"d\":{\"x\":2}}");
}

static void test_guild(void **state)
{
  (void)state;
  assert_int_equal(key_of("{\"t\":\"TYPING_START\",\"s\":7,\"op\":0,\"d\":{\"guild_id\":\"9\"}}").guild, 9);
  assert_int_equal(key_of("{\"t\":\"GUILD_UPDATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"12\"}}").guild, 12);
  assert_int_equal(key_of("{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"12\"}}").guild, 0);
}

/* A guild that comes is built for each session; only what it means is the same. */
static void test_guild_changes(void **state)
{
  const char *a = "{\"t\":\"GUILD_CREATE\",\"s\":7,\"op\":0,\"d\":{\"id\":\"9\",\"members\":[1]}}";
  const char *b = "{\"t\":\"GUILD_CREATE\",\"s\":8,\"op\":0,\"d\":{\"id\":\"9\",\"members\":[]}}";
  (void)state;
  for (enum tg_guild_change change = TG_GUILD_CHANGE_LOADING; change <= TG_GUILD_CHANGE_AVAILABLE; change++) {
    assert_true(tg_event_key_equal(key_as(a, change), key_as(b, change)));
    assert_false(tg_event_key_equal(key_as(a, change), key_as(b, change % TG_GUILD_CHANGE_AVAILABLE + 1)));
  }
  const char *gone = "{\"t\":\"GUILD_DELETE\",\"s\":8,\"op\":0,\"d\":{\"id\":\"9\"}}";
  assert_false(tg_event_key_equal(key_as(gone, TG_GUILD_CHANGE_OUTAGE), key_as(gone, TG_GUILD_CHANGE_LEFT)));
}

/* Who does not know the seed cannot make two of one hash; with it, they are the same everywhere. */
static void test_seed(void **state)
{
  struct tg_event event = read_event("{\"t\":\"NEW_THING\",\"s\":7,\"op\":0,\"d\":{\"x\":1}}");
  (void)state;
  assert_true(tg_event_key(&event, 0, 1).hash != tg_event_key(&event, 0, 2).hash);
  assert_true(tg_event_key(&event, 0, 1).hash == tg_event_key(&event, 0, 1).hash);
}

/* Any byte of d changes the hash, at whatever length. */
static void test_each_byte_counts(void **state)
{
  char text[200];
  (void)state;
  for (int length = 1; length < 80; length++) {
    snprintf(text, sizeof text, "{\"t\":\"NEW_THING\",\"s\":7,\"op\":0,\"d\":\"%0*d\"}", length, 0);
    struct tg_event event = read_event(text);
    uint64_t whole = tg_event_key(&event, 0, SEED).hash;
    for (int i = 1; i <= length; i++) {
      char *byte = text + (event.data.at - text) + i;
      (*byte)++;
      assert_true(tg_event_key(&event, 0, SEED).hash != whole);
      (*byte)--;
    }
    event.data.length--;
    assert_true(tg_event_key(&event, 0, SEED).hash != whole);
  }
}

static int compare(const void *a, const void *b)
{
  uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
  return one < other ? -1 : one > other;
}

static void test_no_two_of_many(void **state)
{
  enum { MANY = 200000 };
  uint64_t *hashes = calloc(MANY, sizeof *hashes);
  char text[200];
  (void)state;
  for (int i = 0; i < MANY; i++) {
    snprintf(text, sizeof text,
             "{\"t\":\"TYPING_START\",\"s\":7,\"op\":0,\"d\":{\"user_id\":\"%d\",\"guild_id\":\"9\"}}", i);
    hashes[i] = key_of(text).hash;
  }
  qsort(hashes, MANY, sizeof *hashes, compare);
  for (int i = 1; i < MANY; i++)
    assert_true(hashes[i - 1] != hashes[i]);
  free(hashes);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rules),
      cmocka_unit_test(test_two_sessions_give_one_name),
      cmocka_unit_test(test_two_events_have_two_names),
      cmocka_unit_test(test_guild),
      cmocka_unit_test(test_guild_changes),
      cmocka_unit_test(test_seed),
      cmocka_unit_test(test_each_byte_counts),
      cmocka_unit_test(test_no_two_of_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
