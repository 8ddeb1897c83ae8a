/* Logs that earlier versions left: their records have bodies. What they say is delivered as if this version
 * had written it, and what nobody has written is told of. */

#include "delivery/interactions/interaction.h"

#include "unit/delivery/logged_world.h"

static struct tg_event_log *earlier;

static int begin_earlier(void **state)
{
  char directory[128];
  struct tg_error error = {0};
  begin_world(state);
  config.queue.disk_bytes = 8 << 20;
  config.event_handler.markers = true;
  snprintf(directory, sizeof directory, "%s/log", state_dir);
  assert_int_equal(mkdir(directory, 0700), 0);
  snprintf(directory, sizeof directory, "%s/log/worker-0.1-5", state_dir);
  struct tg_event_log_options options = {.directory = directory, .mode = TG_LOG_WRITE};
  earlier = tg_event_log_open(&options, &error);
  if (!earlier)
    fail_msg("%s", error.message);
  return 0;
}

/* Of shard 3; `sequence` 0: a marker, of the number of the last event. The fifth is one to keep. */
static tg_log_position put_bytes(uint64_t sequence, const char *bytes, size_t length)
{
  static uint64_t last;
  struct tg_span part = {bytes, length};
  struct tg_log_event event = {.shard_id = 3,
                               .epoch = 7,
                               .sequence = sequence > 0 ? (last = sequence) : last,
                               .at = tg_steady_clock(),
                               .kind = sequence > 0 ? TG_LOG_EVENT : TG_LOG_MARKER,
                               .flags = sequence == 0 || sequence == 5 ? TG_LOG_KEEP : 0,
                               .parts = &part,
                               .part_count = 1};
  struct tg_error error = {0};
  tg_log_position position = tg_event_log_append(earlier, &event, &error);
  assert_true(position != 0);
  return position;
}

static tg_log_position put(uint64_t sequence, const char *body)
{
  return put_bytes(sequence, body, strlen(body));
}

/* Its process is over, and ours begins. */
static void take_over(void)
{
  struct tg_error error = {0};
  assert_true(tg_event_log_flush(earlier, &error));
  tg_event_log_close(earlier);
  open_log();
  tg_delivery_adopt_session(delivery, 3, 7, 100);
}

static void assert_next(const char *key, const char *body)
{
  int post = the_open_post();
  assert_key(post, key);
  assert_string_equal(posts[post].body, body);
  answer(post, 200);
  end_turn();
}

#define HEAD "{\"shardId\":3,\"totalShards\":16,\"epoch\":7"
#define MESSAGE(type) "{\"t\":\"" type "\",\"s\":1,\"op\":0,\"d\":{\"id\":\"9\"}}"
#define BODY(type, tail) HEAD ",\"message\":" MESSAGE(type) tail "}"
#define OLDER "{\"shardId\":3,\"epoch\":7,\"message\":" MESSAGE("TYPING_START") "}"
#define GAP "{\"from\":3,\"to\":4,\"count\":2,\"reason\":\"overflow\"}"
#define HANDOVER "{\"from\":[3,16],\"to\":[19,32],\"guilds\":[\"41771983423143937\"]}"

static void what_they_kept_is_delivered_as_it_stands(void **state)
{
  (void)state;
  put(1, OLDER);
  put(2, BODY("GUILD_CREATE", ",\"guildCreate\":\"joined\""));
  put(0, HEAD ",\"gap\":" GAP "}");
  tg_log_position interaction = put(5, BODY("INTERACTION_CREATE", ""));
  put(0, HEAD ",\"resharding\":" HANDOVER "}");
  assert_true(tg_event_log_mark(earlier, interaction, TG_MARK_DEFERRED, NULL));
  take_over();
  assert_int_equal(value(&rows[3].queued_events), 5);
  assert_next("3.7.1", OLDER);
  assert_next("3.7.2", BODY("GUILD_CREATE", ",\"guildCreate\":\"joined\""));
  assert_next("3.7.gap-2", HEAD ",\"gap\":" GAP "}");
  assert_next("3.7.5", BODY("INTERACTION_CREATE", ",\"deferred\":true"));
  assert_next("3.7.resharding-19-5", HEAD ",\"resharding\":" HANDOVER "}");
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].delivered), 3);
  assert_int_equal(value(&rows[3].queued_bytes), 0);
  assert_int_equal(value(&rows[3].dropped), 0);
}

/* The format is that of now. */
static void what_they_kept_goes_out_in_any_format(void **state)
{
  (void)state;
  config.event_handler.format = TG_FORMAT_DISCORDENO;
  config.event_handler.batch = TG_BATCH_USUAL;
  put(1, OLDER);
  put(2, BODY("GUILD_CREATE", ",\"guildCreate\":\"loading\""));
  put(0, HEAD ",\"resharding\":" HANDOVER "}");
  take_over();
  assert_next(
      "3.7.1-resharding-19-2",
      "[{\"shardId\":3,\"epoch\":7,\"payload\":" MESSAGE("TYPING_START") "}," HEAD ",\"payload\":" MESSAGE(
          "GUILD_CREATE") ",\"guildCreate\":\"loading\"}," HEAD ",\"resharding\":" HANDOVER "}]");
  assert_int_equal(open_posts, 0);
}

static void what_nobody_has_written_is_told_of(void **state)
{
  (void)state;
  static const char to_come[] = "\x02\x00\x00\x00\x10\x00\x00\x00{}";
  static const char beyond[] = "\x01\x00\x00\xff\x10\x00\x00\x00{}";
  put_bytes(1, to_come, sizeof to_come - 1);
  put(2, OLDER);
  put_bytes(3, beyond, sizeof beyond - 1);
  put(4, "{");
  put(5, OLDER);
  put(6, "null");
  take_over();
#define LOST(from, to, count)                                                                                \
  HEAD ",\"gap\":{\"from\":" from ",\"to\":" to ",\"count\":" count ",\"reason\":\"log_damaged\"}}"
  assert_next("3.7.gap-1", LOST("1", "1", "1"));
  assert_next("3.7.2", OLDER);
  assert_next("3.7.gap-4", LOST("3", "4", "2"));
  assert_next("3.7.5", OLDER);
  assert_next("3.7.gap-6", LOST("6", "6", "1"));
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].dropped), 4);
  assert_int_equal(value(&rows[3].queued_events), 0);
  assert_int_equal(tg_delivery_settled(delivery, 3), 100);
}

/* One that is waited for, of a log in which nothing else is. */
static void a_log_of_nothing_else_is_removed(void **state)
{
  (void)state;
  char path[128];
  put(1, "}");
  put(2, "{}");
  take_over();
  answer_all(the_open_post(), 1);
  assert_int_equal(open_posts, 0);
  snprintf(path, sizeof path, "%s/log/worker-0.1-5", state_dir);
  assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define EARLIER(test) cmocka_unit_test_setup_teardown(test, begin_earlier, end_logged)
  const struct CMUnitTest tests[] = {
      EARLIER(what_they_kept_is_delivered_as_it_stands),
      EARLIER(what_they_kept_goes_out_in_any_format),
      EARLIER(what_nobody_has_written_is_told_of),
      EARLIER(a_log_of_nothing_else_is_removed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
