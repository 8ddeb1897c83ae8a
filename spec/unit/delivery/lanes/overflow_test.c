/* The bounded queue: what goes when there is no room. */

#include "unit/delivery/fake_world.h"

static void set_memory(uint64_t events) { config.queue.memory_bytes = events * tg_queued_size(1000); }

/* An event of exactly 1000 bytes of body. */
static void deliver_sized(int shard_id, const char *name)
{
  char data[1000];
  size_t rest = strlen("{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":"
                       "{\"t\":\"\",\"s\":,\"op\":0,\"d\":{\"x\":\"\"}}}");
  char digits[16];
  size_t used = rest + strlen(name) + (size_t)snprintf(digits, sizeof digits, "%d", (int)next_sequence[shard_id] + 1);
  memset(data, 'x', sizeof data);
  memcpy(data, "{\"x\":\"", 6);
  size_t length = 6 + 1000 - used;
  strcpy(data + length, "\"}");
  deliver(shard_id, name, data);
}

static void drop_first_types_go_at_80_percent(void **state)
{
  (void)state;
  set_memory(10);
  for (int i = 0; i < 8; i++)
    deliver_sized(0, "GUILD_UPDATE");
  assert_int_equal(value(&rows[0].dropped), 0);
  deliver_sized(1, "TYPING_START");
  deliver_sized(1, "PRESENCE_UPDATE");
  assert_int_equal(value(&rows[1].dropped), 2);
  assert_int_equal(tg_delivery_settled(delivery, 1), 2); /* dropped counts as settled */
  deliver_sized(1, "GUILD_UPDATE");
  assert_int_equal(value(&rows[1].dropped), 2);
  assert_int_equal(value(&rows[1].queued_events), 1);
}

static void when_full_the_fullest_lane_gives(void **state)
{
  (void)state;
  set_memory(10);
  for (int i = 0; i < 3; i++)
    deliver_sized(0, "GUILD_UPDATE");
  deliver_sized(1, "INTERACTION_CREATE");
  deliver_sized(1, "INTERACTION_CREATE");
  for (int i = 0; i < 5; i++)
    deliver_sized(1, "GUILD_UPDATE");
  deliver_sized(2, "GUILD_UPDATE");
  assert_int_equal(value(&rows[1].dropped), 1);
  assert_int_equal(value(&rows[1].queued_events), 6);
  assert_int_equal(value(&rows[2].queued_events), 1);
  answer(1, 200); /* interaction 1, then 2, then the GUILD_UPDATEs without the oldest */
  int post = post_count - 1;
  assert_string_equal(posts[post].key, "1.7.2");
  answer(post, 200);
  post = post_count - 1;
  assert_string_equal(posts[post].key, "1.7.4");
  assert_int_equal(tg_delivery_settled(delivery, 1), 3);
}

static void interactions_go_last(void **state)
{
  (void)state;
  set_memory(4);
  for (int i = 0; i < 4; i++)
    deliver_sized(0, "INTERACTION_CREATE");
  deliver_sized(1, "INTERACTION_CREATE");
  assert_int_equal(value(&rows[0].dropped), 1);
  answer(0, 200); /* the first was in flight, so the second went */
  for (int i = 0; i < post_count; i++)
    assert_string_not_equal(posts[i].key, "0.7.2");
}

static void what_is_in_flight_is_never_dropped(void **state)
{
  (void)state;
  set_memory(2);
  deliver_sized(0, "GUILD_UPDATE");
  deliver_sized(1, "GUILD_UPDATE");
  deliver_sized(2, "GUILD_UPDATE"); /* nothing can give: it goes itself */
  assert_int_equal(value(&rows[2].dropped), 1);
  assert_int_equal(tg_delivery_settled(delivery, 2), 1);
  answer(0, 200);
  answer(1, 200);
  deliver_sized(2, "GUILD_UPDATE");
  assert_int_equal(open_posts, 1);
}

static void one_event_larger_than_the_queue(void **state)
{
  (void)state;
  deliver_sized(0, "GUILD_UPDATE");
  deliver_sized(0, "GUILD_UPDATE");
  config.queue.memory_bytes = tg_queued_size(600);
  deliver_sized(1, "GUILD_UPDATE");
  assert_int_equal(value(&rows[1].dropped), 1);
  assert_int_equal(value(&rows[0].dropped), 0); /* and takes nobody with it */
}

static void drops_are_reported_once_a_minute(void **state)
{
  (void)state;
  set_memory(4);
  for (int i = 0; i < 30; i++)
    deliver_sized(0, "GUILD_UPDATE");
  assert_int_equal(log_lines[TG_WARN], 1);
  advance(60000);
  assert_int_equal(log_lines[TG_WARN], 2);
  assert_non_null(strstr(logged, "dropped 26 events in the last minute"));
  deliver_sized(0, "GUILD_UPDATE"); /* it goes on: no line of its own */
  assert_int_equal(log_lines[TG_WARN], 2);
  advance(60000);
  assert_int_equal(log_lines[TG_WARN], 3);
  assert_non_null(strstr(logged, "dropped 1 events in the last minute"));
  advance(60000);
  assert_int_equal(log_lines[TG_WARN], 3);
}

static void overflow_while_the_circuit_is_open(void **state)
{
  (void)state;
  set_memory(5);
  for (int shard = 0; shard < 5; shard++)
    deliver_sized(shard, "GUILD_UPDATE");
  for (int i = 0; i < 5; i++)
    fail_with(i, "refused");
  for (int i = 0; i < 50; i++)
    deliver_sized(5 + i % 5, "GUILD_UPDATE");
  uint64_t dropped = 0, waiting = 0;
  for (int shard = 0; shard < 16; shard++) {
    dropped += value(&rows[shard].dropped);
    waiting += value(&rows[shard].queued_events);
  }
  assert_int_equal(dropped, 50);
  assert_int_equal(waiting, 5);
  advance(40000);
  while (open_posts > 0) {
    for (int i = 0; i < post_count; i++)
      if (posts[i].open)
        answer(i, 200);
    advance(30000);
  }
  uint64_t delivered = 0;
  for (int shard = 0; shard < 16; shard++)
    delivered += value(&rows[shard].delivered);
  assert_int_equal(delivered, 5);
}

/* Takes what goes to the bot from now on: keys, of markers their bodies, one a line. */
static const char *take_all(int from)
{
  static char bodies[65536];
  size_t length = 0;
  for (int i = from; open_posts > 0; i++) {
    bool marker = strstr(posts[i].body, "\"gap\"") != NULL;
    length += (size_t)snprintf(bodies + length, sizeof bodies - length, "%s\n",
                               marker ? posts[i].body : posts[i].key);
    answer(i, 200);
  }
  bodies[length] = '\0';
  return bodies;
}

static void markers_tell_of_the_oldest(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  deliver_sized(0, "GUILD_UPDATE"); /* in flight */
  deliver_sized(0, "GUILD_UPDATE");
  deliver_sized(0, "INTERACTION_CREATE");
  for (int i = 0; i < 6; i++)
    deliver_sized(0, "GUILD_UPDATE");
  set_memory(6);
  deliver_sized(0, "GUILD_UPDATE");
  assert_int_equal(value(&rows[0].dropped), 5); /* four and one for the markers */
  assert_string_equal(take_all(0),
                      "0.7.1\n"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":2,\"to\":2,\"count\":1,\"reason\":\"overflow\"}}\n"
                      "0.7.3\n"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":4,\"to\":7,\"count\":4,\"reason\":\"overflow\"}}\n"
                      "0.7.8\n0.7.9\n0.7.10\n");
  assert_int_equal(tg_delivery_settled(delivery, 0), 10);
}

static void markers_tell_of_what_is_not_queued(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  set_memory(10);
  for (int i = 0; i < 8; i++)
    deliver_sized(0, "GUILD_UPDATE");
  for (int i = 0; i < 3; i++)
    deliver_sized(0, "TYPING_START"); /* 9, 10, 11 */
  deliver_sized(0, "GUILD_UPDATE");   /* 12 */
  deliver_sized(0, "PRESENCE_UPDATE");
  assert_int_equal(value(&rows[0].dropped), 4);
  assert_int_equal(value(&rows[0].gaps), 0); /* one marker for all of them */
  advance(1000);
  answer(0, 200);
  answer(1, 200);
  deliver_sized(0, "GUILD_UPDATE"); /* 14 */
  assert_int_equal(value(&rows[0].gaps), 1);
  assert_string_equal(take_all(2),
                      "0.7.3\n0.7.4\n0.7.5\n0.7.6\n0.7.7\n0.7.8\n0.7.12\n"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":9,\"to\":13,\"count\":4,\"reason\":\"overflow\"}}\n"
                      "0.7.14\n");
}

static void a_minute_is_the_longest_until_a_marker_tells(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  set_memory(5);
  for (int i = 0; i < 4; i++)
    deliver_sized(0, "GUILD_UPDATE");
  deliver_sized(1, "TYPING_START");
  advance(59999);
  assert_int_equal(value(&rows[1].gaps), 0);
  advance(1);
  assert_int_equal(value(&rows[1].gaps), 1);
  tg_delivery_new_session(delivery, 1, 8);
  assert_int_equal(value(&rows[1].gaps), 2); /* session_lost */
  answer(0, 200);
}

static void without_a_log_old_events_expire(void **state)
{
  (void)state;
  config.queue.max_age = 90000;
  config.event_handler.markers = true;
  deliver_sized(0, "GUILD_UPDATE");
  for (int i = 0; i < 3; i++)
    deliver_sized(0, "GUILD_UPDATE");
  advance(40000);
  deliver_sized(0, "GUILD_UPDATE");
  advance(80000);
  assert_int_equal(value(&rows[0].dropped), 3); /* not what is in flight, and not the youngest */
  assert_string_equal(take_all(0),
                      "0.7.1\n"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":2,\"to\":4,\"count\":3,\"reason\":\"expired\"}}\n"
                      "0.7.5\n");
  advance(60000);
  assert_non_null(strstr(logged, "3 older than queue.max_age"));
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin_world, end_world)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(drop_first_types_go_at_80_percent),
      IN_WORLD(when_full_the_fullest_lane_gives),
      IN_WORLD(interactions_go_last),
      IN_WORLD(what_is_in_flight_is_never_dropped),
      IN_WORLD(one_event_larger_than_the_queue),
      IN_WORLD(drops_are_reported_once_a_minute),
      IN_WORLD(overflow_while_the_circuit_is_open),
      IN_WORLD(markers_tell_of_the_oldest),
      IN_WORLD(markers_tell_of_what_is_not_queued),
      IN_WORLD(a_minute_is_the_longest_until_a_marker_tells),
      IN_WORLD(without_a_log_old_events_expire),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
