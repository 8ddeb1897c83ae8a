/* A host that has its slots from a broker, with a fake clock. */

#include "manager/identify/broker_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIRST = 16, COUNT = 8, SHARD = 17, OTHER = 18, NEIGHBOUR = 21 /* in the bucket of SHARD */ };

static struct tg_broker_client *client;
static struct tg_broker_message request;

static int set_up(void **state)
{
  (void)state;
  const struct tg_broker_client_options options = {"me", "digest", FIRST, COUNT, 48, 4};
  client = tg_broker_client_new(&options, 1000);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_broker_client_free(client);
  return 0;
}

static bool next(tg_ms now) { return tg_broker_client_next(client, now, &request); }

static enum tg_client_news answer(const struct tg_broker_message *to, enum tg_broker_verdict verdict, tg_ms now)
{
  const struct tg_broker_answer content = {.verdict = verdict, .retry_after = -1, .why = "a reason"};
  return tg_broker_client_answer(client, to, &content, now);
}

static enum tg_client_news grant(const struct tg_broker_message *to, tg_ms waited, tg_ms now)
{
  const struct tg_broker_answer content = {
      .verdict = TG_BROKER_GRANTED, .waited = waited, .valid_for = 1000, .retry_after = -1};
  return tg_broker_client_answer(client, to, &content, now);
}

static void come_up(void)
{
  assert_true(next(1000));
  assert_int_equal(request.word, TG_WORD_CHECK);
  assert_int_equal(answer(&request, TG_BROKER_NOTED, 1010), TG_CLIENT_CAME_UP);
}

/* An ask of SHARD that is under way since `now`. */
static struct tg_broker_message asking(tg_ms now)
{
  tg_broker_client_ask(client, SHARD, TG_IDENTIFY_FIRST);
  assert_true(next(now));
  assert_int_equal(request.word, TG_WORD_ASK);
  assert_int_equal(request.shard_id, SHARD);
  return request;
}

static void holding(tg_ms now)
{
  struct tg_broker_message ask = asking(now);
  assert_int_equal(grant(&ask, 0, now + 10), TG_CLIENT_GRANTED);
}

/* ---- */

static void a_check_goes_first(void **state)
{
  (void)state;
  tg_broker_client_ask(client, SHARD, TG_IDENTIFY_LOST);
  assert_false(tg_broker_client_open(client, 1000));
  assert_true(next(1000));
  assert_int_equal(request.word, TG_WORD_CHECK);
  assert_string_equal(request.host, "me");
  assert_string_equal(request.bot, "digest");
  assert_int_equal(request.total_shards, 48);
  assert_int_equal(request.first_shard_id, FIRST);
  assert_int_equal(request.last_shard_id, FIRST + COUNT - 1);
  assert_false(next(5000)); /* one at a time */
  assert_int_equal(answer(&request, TG_BROKER_NOTED, 5000), TG_CLIENT_CAME_UP);
  assert_true(tg_broker_client_open(client, 5000));
  assert_true(next(5000));
  assert_int_equal(request.word, TG_WORD_ASK);
  assert_int_equal(request.priority, TG_IDENTIFY_LOST);
  assert_false(next(5000));
}

static void a_grant_counts_from_before_the_request(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  assert_int_equal(grant(&ask, 7000, 9600), TG_CLIENT_GRANTED);
  assert_true(tg_broker_client_deadline(client, SHARD) == 2000 + 7000 + 1000);
  assert_false(next(9600));
}

static void a_grant_that_comes_too_late_is_not_used(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  assert_int_equal(grant(&ask, 500, 3500), TG_CLIENT_NO_NEWS);
  assert_true(tg_broker_client_deadline(client, SHARD) == 0);
  assert_true(next(3500)); /* asks again, which takes the first one back */
  assert_int_equal(request.word, TG_WORD_ASK);
  assert_true(request.number > ask.number);
}

static void reports_go_before_the_next_ask_until_they_are_heard(void **state)
{
  (void)state;
  come_up();
  holding(2000);
  int64_t number = request.number;
  tg_broker_client_sent(client, SHARD, 2100);
  assert_true(next(2150));
  assert_int_equal(request.word, TG_WORD_SENT);
  assert_true(request.number == number);
  assert_true(request.sent_ago == 50);
  struct tg_broker_message sent = request;
  tg_broker_client_done(client, SHARD, false, 2200); /* while the first word is under way */
  tg_broker_client_ask(client, SHARD, TG_IDENTIFY_FIRST);
  assert_false(next(2200));
  assert_int_equal(answer(&sent, TG_BROKER_NOTED, 2300), TG_CLIENT_NO_NEWS);
  assert_true(next(2300));
  assert_int_equal(request.word, TG_WORD_FAILED);
  assert_true(request.sent_ago == 200);
  assert_int_equal(answer(&request, TG_BROKER_DOWN, 2400), TG_CLIENT_WENT_DOWN); /* not heard */
  tg_ms now = tg_broker_client_next_try(client);
  assert_true(next(now));
  assert_int_equal(request.word, TG_WORD_CHECK);
  assert_int_equal(answer(&request, TG_BROKER_NOTED, now), TG_CLIENT_CAME_UP);
  assert_true(next(now));
  assert_int_equal(request.word, TG_WORD_FAILED);
  assert_true(request.number == number);
  assert_true(request.sent_ago == now - 2100);
  assert_int_equal(answer(&request, TG_BROKER_NOTED, now), TG_CLIENT_NO_NEWS);
  assert_true(next(now));
  assert_int_equal(request.word, TG_WORD_ASK);
}

static void a_report_that_nobody_needs_any_more_is_not_sent(void **state)
{
  (void)state;
  come_up();
  holding(2000);
  tg_broker_client_sent(client, SHARD, 2100);
  tg_broker_client_done(client, SHARD, true, 2500);
  assert_false(next(2500 + TG_CLIENT_REPORT_KEPT + 1));
}

static void who_leaves_says_so(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  assert_true(tg_broker_client_leave(client, SHARD, 2100)); /* the owner cancels the request */
  assert_true(next(2100));
  assert_int_equal(request.word, TG_WORD_UNUSED);
  assert_true(request.number == ask.number);
  assert_int_equal(answer(&request, TG_BROKER_NOTED, 2110), TG_CLIENT_NO_NEWS);
  assert_false(next(2110));
  assert_false(tg_broker_client_leave(client, SHARD, 2200));
  assert_false(next(2200));
  /* So with a grant that is not used, ... */
  holding(3000);
  int64_t number = request.number;
  assert_false(tg_broker_client_leave(client, SHARD, 3100));
  assert_true(next(3100));
  assert_int_equal(request.word, TG_WORD_UNUSED);
  assert_true(request.number == number);
  assert_int_equal(answer(&request, TG_BROKER_NOTED, 3110), TG_CLIENT_NO_NEWS);
  /* ... and with an ask of which is not known whether it was granted. */
  ask = asking(4000);
  assert_int_equal(answer(&ask, TG_BROKER_DOWN, 4100), TG_CLIENT_WENT_DOWN);
  assert_false(tg_broker_client_leave(client, SHARD, 4200));
  tg_ms now = tg_broker_client_next_try(client);
  assert_true(next(now));
  assert_int_equal(answer(&request, TG_BROKER_NOTED, now), TG_CLIENT_CAME_UP);
  assert_true(next(now));
  assert_int_equal(request.word, TG_WORD_UNUSED);
  assert_true(request.number == ask.number);
}

static void a_worker_that_died_may_have_sent(void **state)
{
  (void)state;
  come_up();
  holding(2000);
  int64_t number = request.number;
  assert_false(tg_broker_client_gone(client, SHARD, 2300));
  assert_true(next(2310));
  assert_int_equal(request.word, TG_WORD_FAILED);
  assert_true(request.number == number);
  assert_true(request.sent_ago == 10);
  answer(&request, TG_BROKER_NOTED, 2320);
  asking(3000); /* had only asked */
  assert_true(tg_broker_client_gone(client, SHARD, 3100));
  assert_true(next(3100));
  assert_int_equal(request.word, TG_WORD_UNUSED);
}

static void what_scripts_decide_is_counted_once(void **state)
{
  (void)state;
  come_up();
  tg_broker_client_sent(client, SHARD, 2000); /* nobody granted it */
  tg_broker_client_done(client, SHARD, true, 2100);
  assert_true(next(2100));
  assert_int_equal(request.word, TG_WORD_SENT);
  assert_true(request.number == 0);
  assert_int_equal(answer(&request, TG_BROKER_NOTED, 2200), TG_CLIENT_NO_NEWS);
  assert_false(next(2200));
}

static void a_broker_that_is_down_is_asked_less_and_less(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  tg_broker_client_ask(client, OTHER, TG_IDENTIFY_FIRST);
  assert_true(next(2000));
  struct tg_broker_message other = request;
  assert_int_equal(answer(&ask, TG_BROKER_DOWN, 3000), TG_CLIENT_WENT_DOWN);
  assert_int_equal(answer(&other, TG_BROKER_DOWN, 3001), TG_CLIENT_NO_NEWS); /* the same failure */
  assert_false(tg_broker_client_open(client, 3001));
  tg_ms now = 3000, total = 0;
  int tries = 0;
  for (; total < 120000; tries++) {
    tg_ms pause = tg_broker_client_next_try(client) - now;
    assert_true(pause > 0 && pause <= TG_CLIENT_BACKOFF_MAX);
    assert_true(tg_broker_client_wakeup(client, now) == now + pause);
    total += pause;
    now += pause;
    assert_false(next(now - 1));
    assert_true(next(now));
    assert_int_equal(request.word, TG_WORD_CHECK);
    assert_int_equal(answer(&request, TG_BROKER_DOWN, now), TG_CLIENT_STAYS_DOWN);
  }
  assert_true(tries >= 10 && tries <= 40);
  assert_true(tg_broker_client_since(client) == 3000);
  now = tg_broker_client_next_try(client);
  assert_true(next(now));
  assert_int_equal(answer(&request, TG_BROKER_NOTED, now), TG_CLIENT_CAME_UP);
  assert_true(next(now));
  assert_true(next(now));
  assert_false(next(now));
}

static void a_refusal_is_not_hammered_at(void **state)
{
  (void)state;
  tg_broker_client_ask(client, SHARD, TG_IDENTIFY_FIRST);
  tg_ms now = 1000;
  for (int i = 0; i < 4; i++) {
    assert_true(next(now));
    assert_int_equal(request.word, TG_WORD_CHECK);
    assert_int_equal(answer(&request, TG_BROKER_REFUSED, now), TG_CLIENT_WAS_REFUSED);
    assert_int_equal(tg_broker_client_state(client), TG_CLIENT_REFUSED_US);
    tg_ms pause = tg_broker_client_next_try(client) - now;
    assert_true(pause >= TG_CLIENT_REFUSED / 2 && pause <= TG_CLIENT_REFUSED_MAX);
    now += pause;
  }
}

static void one_shard_that_is_refused_does_not_stop_the_others(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  assert_int_equal(answer(&ask, TG_BROKER_NO_SHARD, 2010), TG_CLIENT_SHARD_REFUSED);
  assert_false(next(2010 + TG_CLIENT_REFUSED - 1));
  tg_broker_client_ask(client, OTHER, TG_IDENTIFY_FIRST);
  assert_true(next(2020));
  assert_int_equal(request.shard_id, OTHER);
  assert_true(next(2010 + TG_CLIENT_REFUSED));
}

static void one_ask_stands_for_its_bucket(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  tg_broker_client_ask(client, NEIGHBOUR, TG_IDENTIFY_FIRST);
  tg_broker_client_ask(client, OTHER, TG_IDENTIFY_FIRST);
  assert_true(next(2000));
  assert_int_equal(request.shard_id, OTHER);
  assert_false(next(2000));
  tg_broker_client_ask(client, NEIGHBOUR, TG_IDENTIFY_LOST); /* goes before it */
  assert_true(next(2000));
  assert_int_equal(request.shard_id, NEIGHBOUR);
  struct tg_broker_message lost = request;
  assert_int_equal(answer(&ask, TG_BROKER_WAITING, 3000), TG_CLIENT_NO_NEWS);
  assert_false(next(3000));
  assert_int_equal(grant(&lost, 1000, 3050), TG_CLIENT_GRANTED);
  assert_true(next(3050));
  assert_int_equal(request.shard_id, SHARD);
}

static void what_was_mended_is_tried_at_once(void **state)
{
  (void)state;
  assert_true(next(1000));
  assert_int_equal(answer(&request, TG_BROKER_REFUSED, 1010), TG_CLIENT_WAS_REFUSED);
  assert_false(next(2000));
  tg_broker_client_retry(client, 2000);
  assert_true(next(2000));
  assert_int_equal(request.word, TG_WORD_CHECK);
}

static void held_back_means_later(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  const struct tg_broker_answer later = {.verdict = TG_BROKER_HELD_BACK, .retry_after = 30000};
  assert_int_equal(tg_broker_client_answer(client, &ask, &later, 2010), TG_CLIENT_WAS_HELD_BACK);
  assert_false(tg_broker_client_open(client, 2010 + 29999));
  assert_false(next(2010 + 29999));
  tg_ms at = tg_broker_client_wakeup(client, 2010);
  assert_true(at >= 2010 + 30000 && at <= 2010 + 31000);
  assert_true(next(at));
  /* A day is not waited for without asking: the broker may learn of more. */
  const struct tg_broker_answer day = {.verdict = TG_BROKER_HELD_BACK, .retry_after = 86400000};
  assert_int_equal(tg_broker_client_answer(client, &request, &day, at), TG_CLIENT_WAS_HELD_BACK);
  assert_true(tg_broker_client_next_try(client) <= at + TG_CLIENT_REFUSED_MAX + 1000);
}

static void a_poll_that_ends_is_followed_by_the_next(void **state)
{
  (void)state;
  come_up();
  struct tg_broker_message ask = asking(2000);
  assert_int_equal(answer(&ask, TG_BROKER_WAITING, 22000), TG_CLIENT_NO_NEWS);
  assert_true(next(22000));
  assert_int_equal(request.word, TG_WORD_ASK);
  assert_true(request.number > ask.number);
  assert_int_equal(answer(&request, TG_BROKER_STALE, 23000), TG_CLIENT_NO_NEWS);
  assert_false(next(23000));
  assert_true(next(tg_broker_client_wakeup(client, 23000)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_check_goes_first),
      TEST(a_grant_counts_from_before_the_request),
      TEST(a_grant_that_comes_too_late_is_not_used),
      TEST(reports_go_before_the_next_ask_until_they_are_heard),
      TEST(a_report_that_nobody_needs_any_more_is_not_sent),
      TEST(who_leaves_says_so),
      TEST(a_worker_that_died_may_have_sent),
      TEST(what_scripts_decide_is_counted_once),
      TEST(a_broker_that_is_down_is_asked_less_and_less),
      TEST(a_refusal_is_not_hammered_at),
      TEST(one_shard_that_is_refused_does_not_stop_the_others),
      TEST(one_ask_stands_for_its_bucket),
      TEST(what_was_mended_is_tried_at_once),
      TEST(held_back_means_later),
      TEST(a_poll_that_ends_is_followed_by_the_next),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
