/* Parcels: their names, and the bodies that are made of those of their events. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/lanes/lanes.h"

#include <string.h>

static struct tg_config config;
static struct tg_delivery_env env = {.config = &config};
static struct tg_lanes lanes = {.env = &env, .handler = &config.event_handler, .limits = &config.queue};
static struct tg_feed feed = {.shard_id = 3};
static struct tg_lane lane = {.lanes = &lanes, .feed = &feed};
static struct tg_parcel parcel;

static int begin(void **state)
{
  (void)state;
  config = (struct tg_config){0};
  parcel = (struct tg_parcel){.lane = &lane};
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_parcel_empty(&parcel);
  assert_null(parcel.body.at);
  return 0;
}

static struct tg_span text(const char *of)
{
  return (struct tg_span){of, strlen(of)};
}

static struct tg_parcel_end end_of(uint64_t sequence, bool marker)
{
  struct tg_stored event = {.sequence = sequence, .marker = marker ? TG_MARKER_GAP : TG_MARKER_NONE};
  return tg_parcel_end(&event);
}

static void name(uint64_t first, bool first_is_marker, uint64_t last, bool last_is_marker, int count)
{
  tg_parcel_name(&parcel, 7, end_of(first, first_is_marker), end_of(last, last_is_marker), count, 0);
}

/* Without a total, of shard 3. */
static void put(const char *message)
{
  struct tg_stored event = {.shard_id = 3, .epoch = 7, .message = text(message)};
  tg_parcel_put(&parcel, &event, 0);
}

#define BODY(message) "{\"shardId\":3,\"epoch\":7,\"message\":" message "}"

static void assert_key(const char *expected)
{
  char key[TG_PARCEL_KEY_MAX];
  tg_parcel_key(&parcel, key);
  assert_string_equal(key, expected);
}

static void assert_body(const char *expected)
{
  assert_int_equal(parcel.body.length, strlen(expected));
  assert_memory_equal(parcel.body.at, expected, strlen(expected));
}

static void a_key_names_the_first_and_the_last_event(void **state)
{
  (void)state;
  name(42, false, 42, false, 1);
  assert_key("3.7.42");
  name(42, false, 49, false, 8);
  assert_key("3.7.42-49");
  name(42, true, 42, true, 1);
  assert_key("3.7.gap-42");
  name(42, true, 42, false, 2); /* a marker has the number of the last event that it tells of */
  assert_key("3.7.gap-42-42");
  name(UINT64_MAX, true, UINT64_MAX - 1, true, 2);
  assert_key("3.7.gap-18446744073709551615-gap-18446744073709551614");
}

/* At a class's switch several markers may stand in one place. */
static void a_key_tells_markers_of_one_place_apart(void **state)
{
  (void)state;
  struct tg_stored old = {.sequence = 42,
                          .total_shards = 16,
                          .marker = TG_MARKER_HANDOVER,
                          .message = text("{\"from\":[3,16],\"to\":[19,32],\"guilds\":[\"1\"]}")};
  struct tg_stored new = {.sequence = 42,
                          .total_shards = 32,
                          .marker = TG_MARKER_HANDOVER,
                          .message = text("{\"from\":[3,16],\"to\":[3,32],\"guilds\":[]}")};
  struct tg_parcel_end first = tg_parcel_end(&old), last = tg_parcel_end(&new);
  tg_parcel_name(&parcel, 7, first, first, 1, 0);
  assert_key("3.7.resharding-19-42");
  tg_parcel_name(&parcel, 7, first, last, 2, 0);
  assert_key("3.7.resharding-19-42-resharding-3-42");
  tg_parcel_name(&parcel, 7, end_of(42, false), last, 2, 0);
  assert_key("3.7.42-resharding-3-42");
  struct tg_parcel_end longest = {UINT64_MAX, TG_MARKER_HANDOVER, INT32_MAX},
                       other = {UINT64_MAX, TG_MARKER_HANDOVER, 1};
  tg_parcel_name(&parcel, UINT64_MAX, longest, other, 2, 0);
  assert_key(
      "3.18446744073709551615.resharding-2147483647-18446744073709551615-resharding-1-18446744073709551615");
}

static void a_single_body_may_be_lent(void **state)
{
  (void)state;
  name(1, false, 1, false, 1);
  assert_true(tg_parcel_takes_body(&parcel));
  config.event_handler.format = TG_FORMAT_DISCORDENO;
  name(1, false, 1, false, 1);
  assert_false(tg_parcel_takes_body(&parcel));
  config.event_handler.format = TG_FORMAT_SEED;
  config.event_handler.batch = TG_BATCH_USUAL;
  name(1, false, 1, false, 1);
  assert_false(tg_parcel_takes_body(&parcel));
}

static void a_message_does_not_need_to_stay(void **state)
{
  (void)state;
  char message[] = "{\"a\":1}";
  name(1, true, 1, true, 1);
  put(message);
  message[2] = 'b';
  assert_body(BODY("{\"a\":1}"));
}

static void a_batch_is_an_array_also_of_one(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  name(1, false, 3, false, 3);
  put("{\"a\":1}");
  assert_body("[" BODY("{\"a\":1}") "]");
  put("{\"b\":2}");
  put("{}");
  assert_body("[" BODY("{\"a\":1}") "," BODY("{\"b\":2}") "," BODY("{}") "]");
}

static void a_batch_in_another_format(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  config.event_handler.format = TG_FORMAT_DISCORDENO;
  name(1, false, 2, false, 2);
  put("{\"a\":1}");
  put("{}");
  assert_body(
      "[{\"shardId\":3,\"epoch\":7,\"payload\":{\"a\":1}},{\"shardId\":3,\"epoch\":7,\"payload\":{}}]");
  assert_int_equal(parcel.bytes, parcel.body.length);
}

static void its_length_is_known_before(void **state)
{
  (void)state;
  struct tg_parcel_end end = {.sequence = 1};
  tg_parcel_name(&parcel, 7, end, end, 1, 7);
  assert_int_equal(parcel.bytes, strlen("{\"a\":1}"));
  config.event_handler.batch = TG_BATCH_USUAL;
  tg_parcel_name(&parcel, 7, end, end, 2, 14);
  assert_int_equal(parcel.bytes, strlen("[{\"a\":1},{\"b\":2}]"));
}

/* A reload in between changes nothing of what was chosen. */
static void what_is_in_flight_stays_what_it_is(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  name(1, false, 2, false, 2);
  config.event_handler.batch = (struct tg_batch_config){0};
  put("{\"a\":1}");
  put("{\"b\":2}");
  assert_body("[" BODY("{\"a\":1}") "," BODY("{\"b\":2}") "]");
}

int main(void)
{
#define PARCEL(test) cmocka_unit_test_setup_teardown(test, begin, end)
  const struct CMUnitTest tests[] = {
      PARCEL(a_key_names_the_first_and_the_last_event),
      PARCEL(a_key_tells_markers_of_one_place_apart),
      PARCEL(a_single_body_may_be_lent),
      PARCEL(a_message_does_not_need_to_stay),
      PARCEL(a_batch_is_an_array_also_of_one),
      PARCEL(a_batch_in_another_format),
      PARCEL(its_length_is_known_before),
      PARCEL(what_is_in_flight_stays_what_it_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
