/* Rules against storms on an event's way. */

#include "delivery/delivery_internal.h"

#include "unit/delivery/fake_world.h"

static struct tg_storm_rule rules[4];
static char *names[4][2];

static void set_rule(int index, const char *event, enum tg_storm_per per, double rate, int burst,
                     enum tg_storm_keep keep)
{
  names[index][0] = (char *)event;
  rules[index] = (struct tg_storm_rule){{names[index], 1}, per, keep, rate, burst};
  config.storm = (struct tg_storm_config){{rules, index + 1}, true};
  tg_delivery_reconfigure(delivery, &config);
}

static const struct tg_stats_storm *counted(const char *rule)
{
  return tg_stats_storm(rule);
}

static void type_in(int shard, const char *guild, const char *user)
{
  char data[128];
  snprintf(data, sizeof data, "{\"guild_id\":\"%s\",\"user_id\":\"%s\"}", guild, user);
  deliver(shard, "TYPING_START", data);
}

static uint64_t filtered(int shard)
{
  return value(&rows[shard].filtered);
}

static void only_so_many_pass(void **state)
{
  (void)state;
  set_rule(0, "TYPING_START", TG_STORM_PER_GUILD, 2, 3, TG_STORM_KEEP_FIRST);
  uint64_t before = value(&tg_stats_type(TG_EVENT_TYPING_START)->filtered);
  for (int i = 0; i < 10; i++)
    type_in(0, "111", "1");
  assert_int_equal(filtered(0), 7);
  assert_int_equal(value(&tg_stats_type(TG_EVENT_TYPING_START)->filtered) - before, 7);
  type_in(0, "222", "1"); /* another guild has its own */
  deliver(0, "CHANNEL_UPDATE", "{\"guild_id\":\"111\"}");
  deliver(0, "TYPING_START", "{\"user_id\":\"1\"}"); /* none at all */
  assert_int_equal(filtered(0), 7);
  advance(1000);
  for (int i = 0; i < 5; i++)
    type_in(0, "111", "1");
  assert_int_equal(filtered(0), 10);
}

static void what_is_dropped_is_settled_without_a_marker(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  set_rule(0, "TYPING_START", TG_STORM_PER_SHARD, 0.001, 1, TG_STORM_KEEP_FIRST);
  type_in(0, "111", "1");
  type_in(0, "222", "2");
  type_in(0, "333", "3");
  deliver(0, "CHANNEL_UPDATE", "{}");
  answer(0, 200);
  answer(1, 200);
  assert_int_equal(post_count, 2);
  assert_string_equal(posts[1].key, "0.7.4");
  assert_int_equal(tg_delivery_settled(delivery, 0), 4);
  assert_int_equal(value(&rows[0].dropped), 0);
}

static void a_storm_has_two_lines_in_the_log(void **state)
{
  (void)state;
  uint64_t storms = value((_Atomic uint64_t *)&counted("TYPING_START per guild")->storms);
  set_rule(0, "TYPING_START", TG_STORM_PER_GUILD, 2, 3, TG_STORM_KEEP_FIRST);
  for (int i = 0; i < 20; i++)
    type_in(3, "111", "1");
  assert_non_null(strstr(logged,
                         "[3] a storm (TYPING_START per guild, guild 111): more than 2 a second; what is "
                         "more is dropped"));
  assert_int_equal(log_lines[TG_WARN], 1);
  assert_int_equal(atomic_load(&counted("TYPING_START per guild")->running), 1);
  for (int i = 0; i < 8; i++) { /* it goes on */
    advance(2000);
    for (int k = 0; k < 6; k++)
      type_in(3, "111", "1");
  }
  assert_int_equal(log_lines[TG_WARN], 1);
  clear_log();
  advance(9000);
  assert_null(strstr(logged, "is over"));
  advance(3000);
  assert_non_null(strstr(logged, "[3] the storm (TYPING_START per guild, guild 111) is over"));
  assert_int_equal(atomic_load(&counted("TYPING_START per guild")->running), 0);
  assert_int_equal(value((_Atomic uint64_t *)&counted("TYPING_START per guild")->storms), storms + 1);
}

static void none_passes_while_it_lasts(void **state)
{
  (void)state;
  set_rule(0, "TYPING_START", TG_STORM_PER_USER, 10, 10, TG_STORM_KEEP_NONE);
  for (int i = 0; i < 15; i++)
    type_in(0, "111", "1");
  assert_int_equal(filtered(0), 5);
  for (int i = 0; i < 20; i++) { /* faster than the rate */
    advance(50);
    type_in(0, "111", "1");
  }
  assert_int_equal(filtered(0), 25);
  advance(900);
  type_in(0, "111", "1");
  assert_int_equal(filtered(0), 26);
  type_in(0, "111", "2");
  assert_int_equal(filtered(0), 26);
  advance(1000);
  type_in(0, "111", "1");
  assert_int_equal(filtered(0), 26);
}

static void all_means_not_what_the_gateway_goes_by(void **state)
{
  (void)state;
  set_rule(0, "all", TG_STORM_PER_TYPE, 0.001, 1, TG_STORM_KEEP_NONE);
  for (int i = 0; i < 3; i++) {
    deliver(0, "GUILD_CREATE", "{\"id\":\"13\"}");
    deliver(0, "GUILD_DELETE", "{\"id\":\"13\"}");
    deliver(0, "INTERACTION_CREATE", "{\"id\":\"1\",\"token\":\"t\",\"type\":4}");
    deliver(0, "RESUMED", "{}");
    deliver(0, "GUILD_MEMBERS_CHUNK", "{}");
    deliver(0, "RATE_LIMITED", "{}");
  }
  assert_int_equal(filtered(0), 0);
  for (int i = 0; i < 3; i++)
    deliver(0, "NEVER_HEARD_OF", "{}");
  assert_int_equal(filtered(0), 2);
  set_rule(0, "INTERACTION_CREATE", TG_STORM_PER_USER, 0.001, 1, TG_STORM_KEEP_FIRST);
  for (int i = 0; i < 3; i++)
    deliver(0, "INTERACTION_CREATE",
            "{\"id\":\"1\",\"token\":\"t\",\"type\":4,\"member\":{\"user\":{\"id\":\"5\"}}}");
  assert_int_equal(filtered(0), 4);
}

static void caches_do_not_see_what_is_dropped(void **state)
{
  (void)state;
  set_rule(0, "MESSAGE_UPDATE", TG_STORM_PER_GUILD, 0.001, 1, TG_STORM_KEEP_FIRST);
  deliver(0, "MESSAGE_CREATE", "{\"id\":\"1\",\"guild_id\":\"2\",\"content\":\"a\"}");
  deliver(0, "MESSAGE_UPDATE", "{\"id\":\"1\",\"guild_id\":\"2\",\"content\":\"b\"}");
  deliver(0, "MESSAGE_UPDATE", "{\"id\":\"1\",\"guild_id\":\"2\",\"content\":\"c\"}");
  assert_int_equal(filtered(0), 1);
  config.storm = (struct tg_storm_config){.self_updates = true};
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "MESSAGE_UPDATE", "{\"id\":\"1\",\"guild_id\":\"2\",\"content\":\"c\"}");
  assert_int_equal(filtered(0), 1); /* it is news to the bot */
}

static void scripts_do_not_see_it_either(void **state)
{
  (void)state;
  struct tg_storm_config of_script = {.self_updates = false};
  deliver(0, "READY", "{\"user\":{\"id\":\"77\"},\"guilds\":[]}");
  tg_delivery_set_storm(delivery, &of_script);
  deliver(0, "GUILD_MEMBER_UPDATE", "{\"guild_id\":\"1\",\"user\":{\"id\":\"77\"}}");
  deliver(0, "GUILD_MEMBER_UPDATE", "{\"guild_id\":\"2\",\"user\":{\"id\":\"77\"}}");
  deliver(0, "GUILD_MEMBER_UPDATE", "{\"guild_id\":\"1\",\"user\":{\"id\":\"78\"}}");
  assert_int_equal(filtered(0), 2);
  assert_non_null(strstr(logged, "the bot's own GUILD_MEMBER_UPDATEs come, and are dropped"));
  tg_delivery_reconfigure(delivery, &config); /* the script's own go on */
  deliver(0, "GUILD_MEMBER_UPDATE", "{\"guild_id\":\"1\",\"user\":{\"id\":\"77\"}}");
  assert_int_equal(filtered(0), 3);
  tg_delivery_set_storm(delivery, NULL);
  assert_non_null(strstr(logged, "no more GUILD_MEMBER_UPDATEs of the bot itself"));
  deliver(0, "GUILD_MEMBER_UPDATE", "{\"guild_id\":\"1\",\"user\":{\"id\":\"77\"}}");
  assert_int_equal(filtered(0), 3);
}

static void the_same_rules_go_on_over_a_reload(void **state)
{
  (void)state;
  set_rule(0, "TYPING_START", TG_STORM_PER_GUILD, 0.001, 2, TG_STORM_KEEP_FIRST);
  for (int i = 0; i < 5; i++)
    type_in(0, "111", "1");
  tg_delivery_reconfigure(delivery, &config);
  type_in(0, "111", "1");
  assert_int_equal(filtered(0), 4);
  assert_null(strstr(logged, "is over"));
  set_rule(0, "TYPING_START", TG_STORM_PER_GUILD, 0.001, 3, TG_STORM_KEEP_FIRST);
  assert_non_null(strstr(logged, "is over"));
  type_in(0, "111", "1");
  assert_int_equal(filtered(0), 4);
}

/* --- keep = "last" ---------------------------------------------------------------------- */

static void set_last(double rate)
{
  set_rule(0, "PRESENCE_UPDATE", TG_STORM_PER_USER, rate, 1, TG_STORM_KEEP_LAST);
}

static void appear(int shard, const char *user, const char *status)
{
  char data[128];
  snprintf(data, sizeof data, "{\"user\":{\"id\":\"%s\"},\"status\":\"%s\"}", user, status);
  deliver(shard, "PRESENCE_UPDATE", data);
}

static void the_last_one_comes_when_there_is_a_token(void **state)
{
  (void)state;
  uint64_t before = value(&tg_stats_storm("PRESENCE_UPDATE per user")->released);
  set_last(1);
  appear(0, "5", "a");
  answer(0, 200);
  appear(0, "5", "b");
  appear(0, "5", "c");
  deliver(0, "CHANNEL_UPDATE", "{}");
  answer(1, 200);
  assert_int_equal(tg_delivery_settled(delivery, 0), 4); /* it is not asked for again */
  advance(900);
  assert_int_equal(post_count, 2);
  advance(300);
  assert_int_equal(post_count, 3);
  assert_string_equal(posts[2].key, "0.7.3"); /* its own */
  assert_non_null(strstr(posts[2].body, "\"status\":\"c\""));
  assert_non_null(strstr(posts[2].body, ",\"late\":true}"));
  answer(2, 200);
  advance(5000);
  assert_int_equal(post_count, 3); /* once */
  assert_int_equal(tg_delivery_settled(delivery, 0), 4);
  assert_int_equal(value(&tg_stats_storm("PRESENCE_UPDATE per user")->released) - before, 1);
}

static void one_that_passes_is_newer_than_the_last(void **state)
{
  (void)state;
  set_last(1);
  appear(0, "5", "a");
  answer(0, 200);
  appear(0, "5", "b");
  now += 1500; /* before anybody has looked */
  appear(0, "5", "c");
  assert_non_null(strstr(posts[1].body, "\"status\":\"c\""));
  assert_null(strstr(posts[1].body, "late"));
  answer(1, 200);
  advance(20000);
  assert_int_equal(post_count, 2);
}

static void other_rules_and_sessions_release_it(void **state)
{
  (void)state;
  set_last(0.001);
  appear(0, "5", "a");
  answer(0, 200);
  appear(0, "5", "b");
  appear(1, "6", "a");
  answer(1, 200);
  appear(1, "6", "b");
  epochs[0] = 8;
  next_sequence[0] = 0;
  deliver(0, "READY", "{\"user\":{\"id\":\"77\"},\"guilds\":[]}");
  assert_string_equal(posts[2].key, "0.7.2"); /* in front of what the session begins with */
  answer(2, 200);
  assert_string_equal(posts[3].key, "0.8.1");
  answer(3, 200);
  config.storm = (struct tg_storm_config){.self_updates = true};
  tg_delivery_reconfigure(delivery, &config);
  assert_string_equal(posts[4].key, "1.7.2");
  answer(4, 200);
}

static void on_drained(void *ctx, uint64_t left)
{
  *(uint64_t *)ctx = left;
}

static void the_end_releases_it(void **state)
{
  (void)state;
  uint64_t left = 99;
  set_last(0.001);
  appear(0, "5", "a");
  answer(0, 200);
  appear(0, "5", "b");
  tg_delivery_drain(delivery, 1000, on_drained, &left);
  answer(1, 200);
  advance(10);
  assert_int_equal(left, 0);
  assert_string_equal(posts[1].key, "0.7.2");
}

/* More keys than there is room for: what finds none passes, as if there were no rule, and nothing is lost. */
static void a_room_that_is_full_lets_the_others_pass(void **state)
{
  (void)state;
  enum { USERS = 50000 };
  uint64_t released = value(&tg_stats_storm("PRESENCE_UPDATE per user")->released);
  char user[16];
  set_last(0.001);
  for (int i = 0; i < 3 * USERS; i++) {
    snprintf(user, sizeof user, "%d", 1 + i % USERS);
    appear(0, user, i < 2 * USERS ? "a" : "b");
  }
  struct tg_last *last = &delivery->storms.last;
  uint64_t held = 0, dropped = filtered(0);
  for (struct tg_held *one = TAILQ_FIRST(&last->held); one; one = TAILQ_NEXT(one, link))
    held++;
  assert_in_range(held, 1000, TG_HELD_MAX);
  assert_in_range(dropped, held, 2 * held);
  assert_int_equal(value(&rows[0].queued_events), 3 * USERS - dropped);
  config.storm = (struct tg_storm_config){.self_updates = true};
  tg_delivery_reconfigure(delivery, &config);
  assert_true(TAILQ_EMPTY(&last->held));
  assert_int_equal(value(&tg_stats_storm("PRESENCE_UPDATE per user")->released) - released, held);
  assert_int_equal(value(&rows[0].queued_events), 3 * USERS - dropped + held);
}

/* Large ones take the room of many. */
static void a_message_that_finds_no_room_passes(void **state)
{
  (void)state;
  char *data = malloc(4 << 20);
  set_last(0.001);
  for (int i = 0; i < 5; i++) {
    int length = snprintf(data, 64, "{\"user\":{\"id\":\"%d\"},\"x\":\"", i);
    memset(data + length, 'x', (2 << 20) + (2 << 19));
    snprintf(data + length + (2 << 20) + (2 << 19), 8, "\"}");
    deliver(0, "PRESENCE_UPDATE", data);
    deliver(0, "PRESENCE_UPDATE", data);
  }
  assert_int_equal(filtered(0), 2);                           /* 3 MiB each, of 8 */
  deliver(0, "PRESENCE_UPDATE", "{\"user\":{\"id\":\"1\"}}"); /* a small one takes the place of a large one */
  deliver(0, "PRESENCE_UPDATE", data);                        /* and so there is room */
  assert_int_equal(filtered(0), 4);
  free(data);
  config.storm = (struct tg_storm_config){.self_updates = true};
  tg_delivery_reconfigure(delivery, &config);
}

static void it_goes_alone_between_batches(void **state)
{
  (void)state;
  config.event_handler.batch = (struct tg_batch_config){.events = 10, .bytes = 1 << 20};
  tg_delivery_reconfigure(delivery, &config);
  set_last(1);
  appear(0, "5", "a"); /* in flight */
  appear(0, "5", "b");
  deliver(0, "CHANNEL_UPDATE", "{}");
  deliver(0, "CHANNEL_UPDATE", "{}");
  advance(1200);
  deliver(0, "CHANNEL_UPDATE", "{}");
  deliver(0, "CHANNEL_UPDATE", "{}");
  static const char *const keys[] = {"0.7.1", "0.7.3-4", "0.7.2", "0.7.5-6"};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(post_count, i + 1);
    assert_string_equal(posts[i].key, keys[i]);
    assert_true((strstr(posts[i].body, "\"late\":true") != NULL) == (i == 2));
    answer(i, 200);
  }
  assert_int_equal(tg_delivery_settled(delivery, 0), 6);
}

/* Behind the others of its guild, and of no other. */
static void with_order_guild_it_has_its_place_in_its_guild(void **state)
{
  (void)state;
  config.event_handler.order = TG_ORDERED_BY_GUILD;
  config.event_handler.in_flight = 4;
  tg_delivery_reconfigure(delivery, &config);
  set_rule(0, "TYPING_START", TG_STORM_PER_GUILD, 1, 1, TG_STORM_KEEP_LAST);
  type_in(0, "111", "1");
  type_in(0, "111", "2");
  deliver(0, "CHANNEL_UPDATE", "{\"guild_id\":\"111\"}");
  deliver(0, "CHANNEL_UPDATE", "{\"guild_id\":\"222\"}");
  advance(1200);
  deliver(0, "CHANNEL_UPDATE", "{\"guild_id\":\"111\"}");
  assert_int_equal(post_count, 2); /* one of each */
  static const char *const keys[] = {"0.7.1", "0.7.4", "0.7.3", "0.7.2", "0.7.5"};
  answer(0, 200);
  answer(2, 200);
  answer(3, 200);
  answer(4, 200);
  for (int i = 0; i < 5; i++)
    assert_string_equal(posts[i].key, keys[i]);
  assert_non_null(strstr(posts[3].body, "\"late\":true"));
  assert_int_equal(tg_delivery_settled(delivery, 0), 3); /* the first that waits is the other guild's */
  answer(1, 200);
  assert_int_equal(tg_delivery_settled(delivery, 0), 5);
}

/* Nothing is held, and so its file goes with the process. */
static int end_storms_world(void **state)
{
  char path[128];
  tg_delivery_free(delivery);
  run_closes();
  snprintf(path, sizeof path, "%s/storms", state_dir);
  assert_int_equal(remove(path), 0);
  delivery = NULL;
  config.storm = (struct tg_storm_config){.self_updates = true};
  return end_world(state);
}

int main(void)
{
#define IN_STORM(test) cmocka_unit_test_setup_teardown(test, begin_world, end_storms_world)
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin_world, end_world)
  const struct CMUnitTest tests[] = {
      IN_WORLD(only_so_many_pass),
      IN_WORLD(what_is_dropped_is_settled_without_a_marker),
      IN_WORLD(a_storm_has_two_lines_in_the_log),
      IN_WORLD(none_passes_while_it_lasts),
      IN_WORLD(all_means_not_what_the_gateway_goes_by),
      IN_WORLD(caches_do_not_see_what_is_dropped),
      IN_WORLD(scripts_do_not_see_it_either),
      IN_WORLD(the_same_rules_go_on_over_a_reload),
      IN_STORM(the_last_one_comes_when_there_is_a_token),
      IN_STORM(one_that_passes_is_newer_than_the_last),
      IN_STORM(other_rules_and_sessions_release_it),
      IN_STORM(the_end_releases_it),
      IN_STORM(a_room_that_is_full_lets_the_others_pass),
      IN_STORM(a_message_that_finds_no_room_passes),
      IN_STORM(it_goes_alone_between_batches),
      IN_STORM(with_order_guild_it_has_its_place_in_its_guild),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
