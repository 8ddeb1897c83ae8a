/* Guilds go over to another shard, and the event handler is told in both lanes. */

#include "delivery/delivery_internal.h"

#include "unit/delivery/logged_world.h"

#define BODY(shard, epoch, from, to, guilds)                                                                 \
  "{\"shardId\":" #shard ",\"totalShards\":16,\"epoch\":" #epoch ",\"resharding\":{\"from\":" from               \
  ",\"to\":" to ",\"guilds\":[" guilds "]}}"

static const uint64_t guilds[] = {41771983423143937, 1, UINT64_MAX};
#define GUILDS "\"41771983423143937\",\"1\",\"18446744073709551615\""

static struct tg_lane *lane_of(int shard_id)
{
  return tg_lane_of(&delivery->sinks[TG_SINK_BOT]->lanes, tg_ref_of(shard_id, 0));
}

/* From shard 3 of 16, which these lanes are of, to one of 32. */
static void tell(int to, uint64_t sequence, size_t count)
{
  struct tg_handover handover = {3, 16, to, 32, guilds, count};
  tg_lane_tell_handover(lane_of(3), sequence, &handover);
}

static void it_comes_behind_what_waits(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  deliver(3, "MESSAGE_DELETE", "{}");
  tell(3, 1, 3);
  tell(19, 1, 0);
  deliver(3, "MESSAGE_DELETE", "{}");
  assert_int_equal(tg_delivery_settled(delivery, 3), 0);
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 3), 2);
  restart(); /* it is in the log, too */
  tg_delivery_adopt_session(delivery, 3, 7, 2);
  int first = the_open_post();
  answer_all(first, 4);
  assert_key(first, "3.7.1");
  assert_key(first + 1, "3.7.resharding-3-1");
  assert_string_equal(posts[first + 1].body, BODY(3, 7, "[3,16]", "[3,32]", GUILDS));
  assert_key(first + 2, "3.7.resharding-19-1");
  assert_string_equal(posts[first + 2].body, BODY(3, 7, "[3,16]", "[19,32]", ""));
  assert_key(first + 3, "3.7.2");
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].delivered), 2); /* events alone */
  assert_int_equal(tg_delivery_settled(delivery, 3), 2);
}

/* In front of the first event: nothing of this session has been received for good yet. */
static void it_stands_in_front_of_a_session(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  config.event_handler.batch = TG_BATCH_USUAL;
  struct tg_handover handover = {19, 32, 3, 16, guilds, 1};
  tg_lane_tell_handover(lane_of(3), 0, &handover);
  deliver(3, "READY", "{\"guilds\":[]}");
  end_turn();
  int post = the_open_post();
  assert_key(post, "3.7.resharding-19-0");
  assert_string_equal(posts[post].body, "[" BODY(3, 7, "[19,32]", "[3,16]", "\"41771983423143937\"") "]");
  assert_int_equal(tg_delivery_settled(delivery, 3), 1);
  answer(post, 200);
  assert_key(the_open_post(), "3.7.1");
}

static void thousands_of_guilds_fit(void **state)
{
  (void)state;
  enum { COUNT = 2500 };
  static uint64_t many[COUNT];
  config.event_handler.markers = true;
  for (int i = 0; i < COUNT; i++)
    many[i] = 1100000000000000000 + (uint64_t)i;
  struct tg_handover handover = {3, 16, 19, 32, many, COUNT};
  tg_lane_tell_handover(lane_of(3), 0, &handover);
  end_turn();
  restart();
  tg_delivery_adopt_session(delivery, 3, 7, 0);
  const char *body = posts[the_open_post()].body;
  assert_int_equal(strlen(body), strlen(BODY(3, 7, "[3,16]", "[19,32]", "")) + COUNT * 22 - 1);
  assert_non_null(strstr(body, ",\"1100000000000002499\"]}}"));
}

static void nobody_is_told_who_does_not_want_it(void **state)
{
  (void)state;
  tell(19, 0, 3);
  end_turn();
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].queued_events), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      LOGGED(it_comes_behind_what_waits),
      LOGGED(it_stands_in_front_of_a_session),
      LOGGED(thousands_of_guilds_fit),
      LOGGED(nobody_is_told_who_does_not_want_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
