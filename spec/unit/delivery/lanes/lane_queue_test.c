/* An event in memory: its message stays as it came, and the body in "seed" is made around it, where it is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/lanes/lane_queue.h"
#include "proto/event_types.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE " {\"t\":\"GUILD_CREATE\",\"s\":42,\"op\":0,\"d\":{}} "

static struct tg_span text(const char *of)
{
  return (struct tg_span){of, strlen(of)};
}

static void assert_span(struct tg_span span, const char *expected)
{
  assert_int_equal(span.length, strlen(expected));
  assert_memory_equal(span.at, expected, span.length);
}

static struct tg_queued *new_event(int total_shards, enum tg_guild_create kind)
{
  struct tg_stored event = {.shard_id = 3,
                            .total_shards = total_shards,
                            .epoch = 7,
                            .sequence = 42,
                            .type = TG_EVENT_GUILD_CREATE,
                            .guild_create = kind,
                            .message = text(MESSAGE)};
  return tg_queued_new(&event);
}

static void assert_body(struct tg_queued *event, const char *expected)
{
  const char *message = tg_queued_message(event).at;
  assert_int_equal(tg_queued_body_length(event), strlen(expected));
  struct tg_span body = tg_queued_body(event, 3);
  assert_span(body, expected);
  assert_span(tg_queued_message(event), MESSAGE);
  assert_ptr_equal(tg_queued_message(event).at, message);
  assert_true(message > body.at && message < body.at + body.length); /* no copy of it */
}

static void a_body_is_made_around_the_message(void **state)
{
  (void)state;
  struct tg_queued *event = new_event(16, TG_GUILD_NONE);
  assert_body(event, "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":" MESSAGE "}");
  assert_body(event, "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":" MESSAGE "}");
  free(event);
  event = new_event(0, TG_GUILD_AVAILABLE);
  assert_body(event, "{\"shardId\":3,\"epoch\":7,\"message\":" MESSAGE ",\"guildCreate\":\"available\"}");
  free(event);
}

/* What becomes of it while it waits is said by the next body. */
static void it_says_that_the_event_is_deferred_by_now(void **state)
{
  (void)state;
  struct tg_queued *event = new_event(16, TG_GUILD_AVAILABLE);
#define TAIL ",\"guildCreate\":\"available\""
#define BODY(tail) "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":" MESSAGE tail "}"
  assert_body(event, BODY(TAIL));
  event->deferred = true;
  assert_body(event, BODY(TAIL ",\"deferred\":true"));
  event->deferred = false;
  assert_body(event, BODY(TAIL));
  free(event);
}

/* There is room for both, and the bytes around it are nobody else's. */
static void it_may_be_late_and_deferred(void **state)
{
  (void)state;
  struct tg_stored stored = {.shard_id = 3,
                             .total_shards = 16,
                             .epoch = 7,
                             .sequence = 42,
                             .guild_create = TG_GUILD_AVAILABLE,
                             .late = true,
                             .message = text(MESSAGE)};
  struct tg_queued *event = tg_queued_new(&stored);
  assert_body(event, BODY(TAIL ",\"late\":true"));
  event->deferred = true;
  assert_body(event, BODY(TAIL ",\"deferred\":true,\"late\":true"));
  assert_int_equal(tg_queued_body_length(event), strlen(BODY(TAIL ",\"deferred\":true,\"late\":true")));
  assert_true(tg_queued_stored(event, 3).late);
  free(event);
}

static void markers_have_their_own(void **state)
{
  (void)state;
  struct tg_stored gap = {
      .shard_id = 3, .epoch = 7, .marker = TG_MARKER_GAP, .message = text("{\"from\":1}")};
  struct tg_queued *event = tg_queued_new(&gap);
  assert_span(tg_queued_body(event, 3), "{\"shardId\":3,\"epoch\":7,\"gap\":{\"from\":1}}");
  free(event);
  gap.marker = TG_MARKER_HANDOVER;
  event = tg_queued_new(&gap);
  assert_span(tg_queued_body(event, 3), "{\"shardId\":3,\"epoch\":7,\"resharding\":{\"from\":1}}");
  assert_span(tg_queued_message(event), "{\"from\":1}");
  free(event);
}

static void all_of_the_event_is_in_it(void **state)
{
  (void)state;
  struct tg_queued *event = new_event(16, TG_GUILD_JOINED);
  event->deferred = true;
  struct tg_stored back = tg_queued_stored(event, 3);
  assert_int_equal(back.shard_id, 3);
  assert_int_equal(back.total_shards, 16);
  assert_int_equal(back.epoch, 7);
  assert_int_equal(back.sequence, 42);
  assert_int_equal(back.type, TG_EVENT_GUILD_CREATE);
  assert_int_equal(back.guild_create, TG_GUILD_JOINED);
  assert_int_equal(back.marker, TG_MARKER_NONE);
  assert_true(back.deferred);
  assert_span(back.message, MESSAGE);
  assert_int_equal(tg_queued_record_length(event), 8 + strlen("GUILD_CREATE") + strlen(MESSAGE));
  free(event);
}

/* A queue counts what it takes in and gives back, whatever happens to it meanwhile. */
static void what_is_counted_is_counted_back(void **state)
{
  (void)state;
  struct tg_lane_queue queue = {0};
  struct tg_queue_total total = {0};
  struct tg_queued *event = new_event(16, TG_GUILD_NONE), *second = new_event(0, TG_GUILD_LOADING);
  struct tg_stored first = tg_queued_stored(event, 3);
  tg_lane_queue_push(&queue, &total, event);
  assert_int_equal(queue.bytes, tg_queued_size(tg_body_length(&first)));
  assert_true(queue.bytes >= sizeof(struct tg_queued) - 8 + tg_body_length(&first));
  tg_lane_queue_push(&queue, &total, second);
  event->deferred = second->deferred = true;
  tg_queued_body(event, 3);
  tg_lane_queue_remove(&queue, &total, second);
  assert_int_equal(total.bytes, tg_queued_size(tg_body_length(&first)));
  tg_lane_queue_remove(&queue, &total, event);
  assert_int_equal(total.bytes, 0);
  assert_int_equal(queue.bytes, 0);
  free(event);
  free(second);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_body_is_made_around_the_message),
      cmocka_unit_test(it_says_that_the_event_is_deferred_by_now),
      cmocka_unit_test(it_may_be_late_and_deferred),
      cmocka_unit_test(markers_have_their_own),
      cmocka_unit_test(all_of_the_event_is_in_it),
      cmocka_unit_test(what_is_counted_is_counted_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
