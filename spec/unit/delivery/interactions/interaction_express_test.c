/* The express lane: interactions pass what waits in front of them, and are
 * still delivered once. */

#include "unit/delivery/fake_world.h"

#include "shared/stats.h"

enum { IN_FLIGHT_MAX = 4 };

static int begin(void **state)
{
  begin_world(state);
  config.interaction.express = true;
  config.interaction.grace = 1500;
  config.rest.url = (char *)"https://discord.com/api/v10";
  return 0;
}

static void open_log(void)
{
  struct tg_error error = {0};
  if (!tg_delivery_open_logs(delivery, NULL, 1, false, &error))
    fail_msg("%s", error.message);
}

static int begin_logged(void **state)
{
  begin(state);
  config.queue.disk_bytes = 8 << 20;
  open_log();
  return 0;
}

static int end_logged(void **state)
{
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s/log", state_dir);
  tg_delivery_free(delivery);
  assert_int_equal(system(command), 0);
  return end_world(state);
}

static void interact(int shard_id, int type)
{
  char data[128];
  snprintf(data, sizeof data, "{\"id\":\"175928847299117063\",\"type\":%d,\"token\":\"tok-en\"}", type);
  deliver(shard_id, "INTERACTION_CREATE", data);
}

/* The request of that key that is in flight; -1: none. */
static int flying(const char *key)
{
  for (int i = 0; i < post_count; i++)
    if (posts[i].open && strcmp(posts[i].key, key) == 0)
      return i;
  return -1;
}

static int sent(const char *key)
{
  int count = 0;
  for (int i = 0; i < post_count; i++)
    count += strcmp(posts[i].key, key) == 0;
  return count;
}

static void take(const char *key)
{
  int post = flying(key);
  if (post < 0)
    fail_msg("%s is not in flight", key);
  answer(post, 204);
}

static void passes_what_waits(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  assert_int_equal(open_posts, 2);
  int post = flying("0.7.3");
  assert_string_equal(posts[post].body,
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"INTERACTION_CREATE\",\"s\":3,\"op\":0,"
                      "\"d\":{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}}}");
  answer(post, 204);
  assert_int_equal(value(&rows[0].delivered), 1);
  assert_int_equal(tg_delivery_settled(delivery, 0), 0);
  deliver(0, "TYPING_START", "{}");
  take("0.7.1");
  take("0.7.2");
  take("0.7.4");
  assert_int_equal(open_posts, 0);
  assert_int_equal(sent("0.7.3"), 1);
  assert_int_equal(tg_delivery_settled(delivery, 0), 4);
  assert_int_equal(value(&rows[0].delivered), 4);
  assert_int_equal(value(&rows[0].queued_bytes), 0);
}

static void off_by_default_and_needless_without_a_backlog(void **state)
{
  (void)state;
  interact(0, 2); /* its lane sends it at once */
  assert_int_equal(open_posts, 1);
  config.interaction.express = false;
  interact(0, 2);
  assert_int_equal(open_posts, 1);
}

static void the_lane_waits_for_it(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  deliver(0, "TYPING_START", "{}");
  take("0.7.1");
  assert_int_equal(open_posts, 1); /* what stands in front of the third is in flight */
  take("0.7.2");
  take("0.7.3");
  assert_int_equal(sent("0.7.2"), 1);
  assert_int_equal(tg_delivery_settled(delivery, 0), 3);
}

static void refused_it_takes_its_turn(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  answer(flying("0.7.2"), 400);
  assert_int_equal(open_posts, 1);
  take("0.7.1");
  take("0.7.2");
  assert_int_equal(open_posts, 0);
  assert_int_equal(tg_delivery_settled(delivery, 0), 2);
}

static void failed_at_the_head_of_its_lane_it_is_sent_again(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  take("0.7.1");
  answer(flying("0.7.2"), 500);
  take("0.7.2");
  assert_int_equal(sent("0.7.2"), 2);
}

static void a_few_at_a_time(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  for (int i = 0; i < 10; i++)
    interact(0, 2);
  assert_int_equal(open_posts, 1 + IN_FLIGHT_MAX);
  take("0.7.3");
  assert_int_equal(open_posts, 1 + IN_FLIGHT_MAX);
  assert_true(flying("0.7.6") >= 0);
}

static void none_to_a_handler_that_is_down(void **state)
{
  (void)state;
  for (int shard = 8; shard < 13; shard++)
    deliver(shard, "TYPING_START", "{}");
  for (int i = 0; i < 5; i++)
    fail_with(i, "refused");
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  assert_int_equal(open_posts, 0);
  advance(2000); /* one request tries whether it is back, and it is */
  assert_int_equal(open_posts, 1);
  answer(the_open_post(), 204);
  assert_true(flying("0.7.2") >= 0);
}

static void answered_at_once_when_it_finds_the_handler_down(void **state)
{
  (void)state;
  config.interaction.fallback = true;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  answer(flying("0.7.2"), 401);
  advance(0); /* its grace is far from over */
  int callback = flying("");
  assert_true(callback >= 0);
  assert_non_null(strstr(posts[callback].url, "/callback"));
  answer(callback, 204);
  take("0.7.1");
}

static void told_when_it_was_deferred(void **state)
{
  (void)state;
  config.interaction.fallback = true;
  for (int shard = 8; shard < 13; shard++)
    deliver(shard, "TYPING_START", "{}");
  for (int i = 0; i < 5; i++)
    fail_with(i, "refused");
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  advance(0);
  int callback = the_open_post();
  assert_non_null(strstr(posts[callback].url, "/callback"));
  answer(callback, 204);
  advance(2000);
  answer(the_open_post(), 204);
  assert_non_null(strstr(posts[flying("0.7.2")].body, "}},\"deferred\":true}"));
}

static void accepted_while_it_is_answered(void **state)
{
  (void)state;
  config.interaction.fallback = true;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  advance(1500);
  assert_int_equal(open_posts, 3);
  take("0.7.2");
  answer(post_count - 1, 204);
  take("0.7.1");
  assert_int_equal(open_posts, 0);
  assert_int_equal(tg_delivery_settled(delivery, 0), 2);
}

static void batches_leave_it_alone(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(posts[flying("0.7.3")].body[0], '[');
  take("0.7.1");
  assert_true(flying("0.7.2") >= 0); /* not "0.7.2-4" */
  take("0.7.3");
  take("0.7.2");
  take("0.7.4");
}

static void another_handler_by_a_reload(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  for (int i = 0; i < 6; i++)
    interact(0, 2);
  set_urls("http://other/", NULL);
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(open_posts, 1 + IN_FLIGHT_MAX);
  for (int i = 2; i <= 5; i++) {
    char key[16];
    snprintf(key, sizeof key, "0.7.%d", i);
    take(key);
  }
  take("0.7.1");
  assert_string_equal(posts[flying("0.7.6")].url, "http://other/");
  take("0.7.6");
  take("0.7.7");
  assert_int_equal(tg_delivery_settled(delivery, 0), 7);
}

static void freed_with_some_in_flight(void **state)
{
  (void)state;
  config.interaction.fallback = true;
  deliver(0, "TYPING_START", "{}");
  for (int i = 0; i < 10; i++)
    interact(0, 2);
  advance(1500);
}

/* Also where memory holds a window only. */
static void what_is_in_the_log_alone_passes_too(void **state)
{
  (void)state;
  config.queue.memory_bytes = 16 * 600;
  for (int i = 0; i < 20; i++)
    deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  deliver(0, "TYPING_START", "{}");
  end_turn();
  assert_int_equal(value(&rows[0].queued_events), 22);
  take("0.7.21");
  assert_int_equal(value(&rows[0].queued_events), 21);
  for (int i = 1; i <= 22; i++) {
    char key[16];
    snprintf(key, sizeof key, "0.7.%d", i);
    if (i != 21)
      take(key);
    end_turn();
  }
  assert_int_equal(open_posts, 0);
  assert_int_equal(sent("0.7.21"), 1);
  assert_int_equal(value(&rows[0].queued_events), 0);
  assert_int_equal(value(&rows[0].queued_bytes), 0);
}

static void restart(void)
{
  end_turn();
  tg_delivery_free(delivery);
  run_closes();
  now += 10;
  struct tg_delivery_options options = {
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  delivery = tg_delivery_new(&options);
  open_log();
}

static void a_new_process_knows_what_has_passed(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2);
  interact(0, 2);
  deliver(0, "TYPING_START", "{}");
  end_turn();
  take("0.7.2");
  restart(); /* what was in flight comes again */
  take("0.7.1");
  take("0.7.3");
  take("0.7.4");
  assert_int_equal(open_posts, 0);
  assert_int_equal(sent("0.7.2"), 1);
  assert_int_equal(sent("0.7.3"), 2);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin, end_world)
#define LOGGED(test) cmocka_unit_test_setup_teardown(test, begin_logged, end_logged)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(passes_what_waits),
      IN_WORLD(off_by_default_and_needless_without_a_backlog),
      IN_WORLD(the_lane_waits_for_it),
      IN_WORLD(refused_it_takes_its_turn),
      IN_WORLD(failed_at_the_head_of_its_lane_it_is_sent_again),
      IN_WORLD(a_few_at_a_time),
      IN_WORLD(none_to_a_handler_that_is_down),
      IN_WORLD(answered_at_once_when_it_finds_the_handler_down),
      IN_WORLD(told_when_it_was_deferred),
      IN_WORLD(accepted_while_it_is_answered),
      IN_WORLD(batches_leave_it_alone),
      IN_WORLD(another_handler_by_a_reload),
      IN_WORLD(freed_with_some_in_flight),
      LOGGED(what_is_in_the_log_alone_passes_too),
      LOGGED(a_new_process_knows_what_has_passed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
