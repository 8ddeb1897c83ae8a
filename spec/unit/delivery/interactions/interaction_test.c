/* Interactions under watch: when they are answered in the place of the event
 * handler, how often it is tried, what the handler is told. */

#include "unit/delivery/fake_world.h"

#include "shared/stats.h"

#include <signal.h>
#include <sys/resource.h>

enum { GRACE = 1500 };

static const uint64_t id = 175928847299117063;

static void begin_statistics(void)
{
  memset(&tg_stats()->interactions, 0, sizeof tg_stats()->interactions);
}

static int begin(void **state)
{
  begin_world(state);
  config.interaction.fallback = true;
  config.interaction.grace = GRACE;
  config.rest.url = (char *)"https://discord.com/api/v10";
  config.rest.authorization = (char *)"Bot secret";
  begin_statistics();
  return 0;
}

static int begin_logged(void **state)
{
  struct tg_error error = {0};
  begin(state);
  config.queue.disk_bytes = 8 << 20;
  config.event_handler.markers = true;
  if (!tg_delivery_open_logs(delivery, NULL, 1, false, &error))
    fail_msg("%s", error.message);
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

static void restart(tg_ms later)
{
  struct tg_error error = {0};
  end_turn();
  tg_delivery_free(delivery);
  run_closes();
  now += (uint64_t)later;
  struct tg_delivery_options options = {
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  delivery = tg_delivery_new(&options);
  assert_true(tg_delivery_open_logs(delivery, NULL, 1, false, &error));
}

static void interact(int shard_id, int type)
{
  char data[128];
  snprintf(data, sizeof data, "{\"id\":\"%llu\",\"type\":%d,\"token\":\"tok-en\"}", (unsigned long long)id, type);
  deliver(shard_id, "INTERACTION_CREATE", data);
}

/* One that Discord made `age` ms ago, where `id` is of one that was made at 1000. */
static void interact_replayed(int shard_id, int type, tg_ms age)
{
  char text[256];
  struct tg_event event;
  uint64_t sequence = ++next_sequence[shard_id], made = id + (uint64_t)(((tg_ms)now - 1000 - age) * (1 << 22));
  snprintf(text, sizeof text,
           "{\"t\":\"INTERACTION_CREATE\",\"s\":%llu,\"op\":0,\"d\":{\"id\":\"%llu\",\"type\":%d,\"token\":\"tok-en\"}}",
           (unsigned long long)sequence, (unsigned long long)made, type);
  make_event(&event, shard_id, sequence, text);
  event.replayed = true;
  tg_delivery_event(delivery, NULL, &event);
}

static bool is_callback(int post) { return strstr(posts[post].url, "/callback") != NULL; }

/* The last one that is open; -1: none. */
static int open_post(bool callback)
{
  for (int i = post_count - 1; i >= 0; i--)
    if (posts[i].open && is_callback(i) == callback)
      return i;
  return -1;
}

static int open_post_of(int shard_id)
{
  char prefix[16];
  snprintf(prefix, sizeof prefix, "%d.", shard_id);
  for (int i = post_count - 1; i >= 0; i--)
    if (posts[i].open && strncmp(posts[i].key, prefix, strlen(prefix)) == 0)
      return i;
  fail_msg("nothing of shard %d is in flight", shard_id);
  return -1;
}

static int the_callback(void)
{
  int post = open_post(true);
  assert_true(post >= 0);
  return post;
}

static int count_callbacks(void)
{
  int count = 0;
  for (int i = 0; i < post_count; i++)
    count += is_callback(i);
  return count;
}

static uint64_t answered(void) { return value(&tg_stats()->interactions.answered); }
static uint64_t failed(void) { return value(&tg_stats()->interactions.failed); }

static void respond_with(int post, long status, const char *body)
{
  respond(post, (struct tg_http_response){.status = status, .retry_after = -1, .body = {body, strlen(body)}});
}

/* What is acked in time is nobody else's business. */
static void acked_in_time(void **state)
{
  (void)state;
  interact(0, 2);
  advance(GRACE - 1);
  answer(0, 204);
  advance(10000);
  assert_int_equal(post_count, 1);
  assert_int_equal(answered(), 0);
}

static void deferred_after_the_grace(void **state)
{
  (void)state;
  interact(0, 2);
  advance(GRACE - 1);
  assert_int_equal(count_callbacks(), 0);
  advance(1);
  int post = the_callback();
  assert_string_equal(posts[post].url,
                      "https://discord.com/api/v10/interactions/175928847299117063/tok-en/callback");
  assert_string_equal(posts[post].body, "{\"type\":5}");
  assert_string_equal(posts[post].content_type, "application/json");
  assert_string_equal(posts[post].authorization, ""); /* the token is the credential */
  answer(post, 204);
  assert_int_equal(answered(), 1);
  answer(0, 500); /* it is sent again, and told */
  advance(250);
  post = open_post(false);
  assert_string_equal(posts[post].body,
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"INTERACTION_CREATE\",\"s\":1,\"op\":0,"
                      "\"d\":{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}},\"deferred\":true}");
  answer(post, 500);
  advance(1000);
  post = open_post(false);
  assert_non_null(strstr(posts[post].body, "}},\"deferred\":true}"));
  assert_null(strstr(posts[post].body, "deferred\":true,"));
  answer(post, 204);
  advance(10000);
  assert_int_equal(count_callbacks(), 1);
  assert_null(strstr(logged, "tok-en"));
}

static void a_proxy_gets_the_authorization(void **state)
{
  (void)state;
  config.rest.url = (char *)"http://rest-proxy:8080/api/v10";
  interact(0, 3);
  advance(GRACE);
  assert_string_equal(posts[the_callback()].authorization, "Bot secret");
  assert_string_equal(posts[the_callback()].body, "{\"type\":6}");
}

/* Five lanes fail: the circuit opens. */
static void break_handler(void)
{
  for (int shard = 8; shard < 13; shard++)
    deliver(shard, "TYPING_START", "{}");
  for (int i = post_count - 5, to = post_count; i < to; i++)
    fail_with(i, "refused");
}

static void at_once_while_the_handler_is_down(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  advance(0);
  answer(the_callback(), 204);
  assert_int_equal(answered(), 1);
}

static void at_once_when_the_handler_goes_down(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  interact(0, 2); /* waits behind the other one */
  advance(100);
  break_handler();
  advance(0);
  assert_int_equal(count_callbacks(), 1);
}

/* What is just being sent may be accepted: its own end decides. */
static void not_at_once_while_it_is_in_flight(void **state)
{
  (void)state;
  interact(0, 2);
  break_handler();
  advance(0);
  assert_int_equal(count_callbacks(), 0);
  fail_with(0, "refused");
  advance(0);
  assert_int_equal(count_callbacks(), 1);
}

static void autocompletion_leaves_the_lane(void **state)
{
  (void)state;
  break_handler();
  interact(0, 4);
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(value(&rows[0].queued_events), 2);
  advance(0);
  assert_string_equal(posts[the_callback()].body, "{\"type\":8,\"data\":{\"choices\":[]}}");
  assert_int_equal(value(&rows[0].queued_events), 1);
  assert_int_equal(value(&rows[0].filtered), 1);
  answer(the_callback(), 204);
  assert_int_equal(answered(), 1);
}

static void errors_are_tried_again_until_it_is_dead(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  advance(0);
  int tries = 0;
  for (int post; (post = open_post(true)) >= 0; tries++) {
    answer(post, 503);
    advance(100);
  }
  assert_in_range(tries, 28, 31);
  assert_int_equal(failed(), 1);
  assert_int_equal(answered(), 0);
  assert_non_null(strstr(logged, "could not be answered"));
  assert_non_null(strstr(logged, "REST answered 503"));
  assert_int_equal(value(&rows[0].queued_events), 1); /* the handler gets it all the same */
}

static void a_hanging_request_is_not_all_there_is(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  advance(0);
  advance(1020);
  assert_int_equal(count_callbacks(), 1);
  advance(100);
  assert_int_equal(count_callbacks(), 2);
  answer(the_callback(), 204);
  assert_int_equal(answered(), 1);
}

static void a_rate_limit_is_obeyed(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  interact(1, 2);
  advance(0);
  int second = the_callback(), first = second - 1;
  respond_with(first, 429, "{\"retry_after\":0.5}");
  respond_with(second, 429, "{\"retry_after\":5}"); /* too late by then */
  assert_int_equal(failed(), 1);
  advance(499);
  assert_int_equal(count_callbacks(), 2);
  advance(1);
  answer(the_callback(), 204);
  assert_int_equal(answered(), 1);
}

static void somebody_else_was_first(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  advance(0);
  respond_with(the_callback(), 400, "{\"code\":40060}");
  assert_int_equal(answered(), 1);
  assert_int_equal(failed(), 0);
}

/* Who has it by then answers it himself. */
static void accepted_between_two_attempts_it_is_not_tried_again(void **state)
{
  (void)state;
  interact(0, 2);
  advance(GRACE);
  answer(the_callback(), 503);
  answer(0, 204);
  advance(3000);
  assert_int_equal(count_callbacks(), 1);
  assert_int_equal(failed(), 0);
}

static void what_discord_does_not_know_is_given_up(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  advance(0);
  respond_with(the_callback(), 404, "{\"code\":10062}");
  advance(10000);
  assert_int_equal(count_callbacks(), 1);
  assert_int_equal(failed(), 1);
}

static void failures_are_told_once_and_then_counted(void **state)
{
  (void)state;
  break_handler();
  clear_log();
  for (int i = 0; i < 3; i++) {
    interact(i, 2);
    advance(0);
    respond_with(the_callback(), 404, "{\"code\":10062}");
  }
  assert_int_equal(log_lines[TG_WARN], 1);
  advance(60000);
  assert_non_null(strstr(logged, "2 more interactions could not be answered in the last minute"));
}

static void what_is_dropped_is_not_answered(void **state)
{
  (void)state;
  interact(0, 2);
  for (int i = 0; i < 3; i++)
    interact(0, 2);
  config.queue.memory_bytes = 4 * tg_queued_size(strlen(posts[0].body));
  interact(1, 2); /* for this one the oldest goes that is not in flight */
  assert_int_equal(value(&rows[0].dropped), 1);
  advance(GRACE);
  assert_int_equal(count_callbacks(), 4);
}

static void nothing_happens_without_the_fallback(void **state)
{
  (void)state;
  config.interaction.fallback = false;
  break_handler();
  interact(0, 2);
  interact(0, 4);
  advance(5000);
  assert_int_equal(count_callbacks(), 0);
  assert_int_equal(value(&rows[0].queued_events), 2);
}

static void replayed_ones_have_an_age(void **state)
{
  (void)state;
  interact(5, 2); /* live: shows by how much the clocks differ */
  answer(0, 204);
  advance(500);
  break_handler();
  interact_replayed(0, 2, 2900);
  advance(0);
  assert_int_equal(count_callbacks(), 1);
  answer(the_callback(), 503);
  advance(100);
  assert_int_equal(count_callbacks(), 1); /* that was its last chance */
  assert_int_equal(failed(), 1);
  interact_replayed(0, 2, 3000);
  advance(3000);
  assert_int_equal(count_callbacks(), 1);
  assert_int_equal(failed(), 1);
}

/* Some of its time is spent already: so is some of the grace. */
static void replayed_ones_have_less_grace(void **state)
{
  (void)state;
  interact(5, 2);
  answer(0, 204);
  interact_replayed(0, 2, 2000);
  advance(499);
  assert_int_equal(count_callbacks(), 0);
  advance(1);
  assert_int_equal(count_callbacks(), 1);
}

static void not_before_it_is_in_the_log(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  advance(20);
  assert_int_equal(count_callbacks(), 0);
  end_turn();
  advance(5);
  assert_int_equal(count_callbacks(), 1);
}

static void a_new_process_knows_what_was_deferred(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  end_turn();
  advance(5);
  answer(the_callback(), 204);
  int before = post_count;
  restart(1000);
  advance(3000);
  bool told = false;
  for (int i = before; i < post_count; i++) {
    assert_false(is_callback(i));
    told = told || strstr(posts[i].body, ",\"deferred\":true}");
  }
  assert_true(told);
}

/* The disk takes nothing for a while, and what was done meanwhile is not done again. */
static void what_was_deferred_while_the_log_refused_it_is_known_later(void **state)
{
  (void)state;
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  signal(SIGXFSZ, SIG_IGN);
  break_handler();
  limit.rlim_cur = 1;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  deliver(0, "MESSAGE_DELETE", "{}");
  end_turn();
  assert_non_null(strstr(logged, "the log cannot be written"));
  interact(0, 2);
  end_turn();
  advance(5);
  answer(the_callback(), 204);
  limit.rlim_cur = RLIM_INFINITY;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  advance(1000);
  end_turn();
  assert_non_null(strstr(logged, "the log is written again, and has 1 events"));
  int before = post_count;
  restart(1000);
  answer(open_post_of(0), 200); /* what came before it */
  advance(3000);
  bool told = false;
  for (int i = before; i < post_count; i++) {
    assert_false(is_callback(i));
    told = told || strstr(posts[i].body, ",\"deferred\":true}");
  }
  assert_true(told);
}

/* Its event is in the log, and memory is needed for what the log refuses. */
static void answered_although_its_event_has_left_memory(void **state)
{
  (void)state;
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  signal(SIGXFSZ, SIG_IGN);
  config.queue.memory_bytes = 64 * tg_queued_size(100);
  deliver(0, "MESSAGE_DELETE", "{}"); /* in flight */
  deliver(0, "MESSAGE_DELETE", "{}");
  interact(0, 2);
  end_turn();
  limit.rlim_cur = 1;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  uint64_t in_memory = value(&rows[0].queued_events);
  for (int i = 0; i < 80; i++) {
    deliver(0, "MESSAGE_DELETE", "{}");
    end_turn();
  }
  assert_true(value(&rows[0].queued_events) > in_memory);
  limit.rlim_cur = RLIM_INFINITY;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  advance(GRACE);
  answer(the_callback(), 204);
  answer(open_post_of(0), 200);
  answer(open_post_of(0), 200);
  assert_non_null(strstr(posts[open_post_of(0)].body, "INTERACTION_CREATE"));
  assert_non_null(strstr(posts[open_post_of(0)].body, ",\"deferred\":true}"));
}

static void a_new_process_answers_what_is_still_in_time(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  end_turn();
  advance(5);
  assert_int_equal(count_callbacks(), 1); /* and nobody will ever know */
  restart(500);
  advance(GRACE);
  assert_int_equal(count_callbacks(), 2);
  answer(the_callback(), 204);
  assert_int_equal(answered(), 1);
}

static void a_new_process_leaves_what_is_too_old(void **state)
{
  (void)state;
  break_handler();
  interact(0, 2);
  end_turn();
  advance(5);
  restart(4500);
  advance(GRACE);
  assert_int_equal(count_callbacks(), 1);
}

static void nobody_can_answer_after_15_minutes(void **state)
{
  (void)state;
  break_handler();
  deliver(0, "MESSAGE_DELETE", "{}");
  interact(0, 2);
  interact(0, 3);
  deliver(0, "MESSAGE_DELETE", "{}");
  end_turn();
  now += 15 * 60000 + 1000;
  restart(10);
  int post = open_post_of(0);
  assert_string_equal(posts[post].key, "0.7.1");
  answer(post, 204);
  post = open_post_of(0);
  assert_string_equal(posts[post].body,
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":2,\"to\":3,\"count\":2,"
                      "\"reason\":\"interaction_expired\"}}");
  answer(post, 204);
  assert_string_equal(posts[open_post_of(0)].key, "0.7.4");
  assert_int_equal(value(&tg_stats()->interactions.expired), 2);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin, end_world)
#define LOGGED(test) cmocka_unit_test_setup_teardown(test, begin_logged, end_logged)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(acked_in_time),
      IN_WORLD(deferred_after_the_grace),
      IN_WORLD(a_proxy_gets_the_authorization),
      IN_WORLD(at_once_while_the_handler_is_down),
      IN_WORLD(at_once_when_the_handler_goes_down),
      IN_WORLD(not_at_once_while_it_is_in_flight),
      IN_WORLD(autocompletion_leaves_the_lane),
      IN_WORLD(errors_are_tried_again_until_it_is_dead),
      IN_WORLD(a_hanging_request_is_not_all_there_is),
      IN_WORLD(a_rate_limit_is_obeyed),
      IN_WORLD(somebody_else_was_first),
      IN_WORLD(accepted_between_two_attempts_it_is_not_tried_again),
      IN_WORLD(what_discord_does_not_know_is_given_up),
      IN_WORLD(failures_are_told_once_and_then_counted),
      IN_WORLD(what_is_dropped_is_not_answered),
      IN_WORLD(nothing_happens_without_the_fallback),
      IN_WORLD(replayed_ones_have_an_age),
      IN_WORLD(replayed_ones_have_less_grace),
      LOGGED(not_before_it_is_in_the_log),
      LOGGED(a_new_process_knows_what_was_deferred),
      LOGGED(what_was_deferred_while_the_log_refused_it_is_known_later),
      LOGGED(answered_although_its_event_has_left_memory),
      LOGGED(a_new_process_answers_what_is_still_in_time),
      LOGGED(a_new_process_leaves_what_is_too_old),
      LOGGED(nobody_can_answer_after_15_minutes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
