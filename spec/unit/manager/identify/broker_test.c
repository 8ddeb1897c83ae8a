/* The broker of identifies with a fake clock: what hosts ask and report, lose
 * and repeat. */

#include "manager/identify/broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPACING = 5300, RULE = 5000, PLENTY = 1000, POLLS = 16 };

static struct {
  struct tg_scheduler *scheduler;
  struct tg_broker *broker;
  struct tg_broker_answer answers[POLLS]; /* by poll */
  int counts[POLLS];
  int taken_back, identified;
} it;

static void on_answer(void *ctx, void *poll, const struct tg_broker_answer *answer)
{
  assert_ptr_equal(ctx, &it);
  int index = (int)(intptr_t)poll;
  it.answers[index] = *answer;
  it.counts[index]++;
}

static void on_taken_back(void *ctx, int shard_id)
{
  (void)ctx, (void)shard_id;
  it.taken_back++;
}

static void on_identified(void *ctx, int shard_id)
{
  (void)ctx, (void)shard_id;
  it.identified++;
}

static const struct tg_broker_callbacks callbacks = {on_answer, on_taken_back, on_identified};

static int set_up(void **state)
{
  (void)state;
  memset(&it, 0, sizeof it);
  it.scheduler = tg_scheduler_new(4, SPACING);
  tg_scheduler_set_allowance(it.scheduler, PLENTY);
  it.broker = tg_broker_new(it.scheduler, &callbacks, &it);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_broker_free(it.broker);
  tg_scheduler_free(it.scheduler);
  return 0;
}

/* Grants what may be granted; returns to how many shards. */
static int pump(tg_ms now)
{
  int shard, count = 0;
  tg_ms deadline;
  tg_broker_tick(it.broker, now);
  for (; tg_scheduler_next_grant(it.scheduler, now, &shard, &deadline); count++)
    tg_broker_granted(it.broker, shard, deadline, now);
  return count;
}

static struct tg_broker_message say(enum tg_broker_word word, int shard, const char *host, int64_t number)
{
  struct tg_broker_message message = {
      .word = word, .shard_id = shard, .number = number, .priority = TG_IDENTIFY_FIRST, .wait = 20000};
  strcpy(message.host, host);
  return message;
}

static void ask(int poll, int shard, const char *host, int64_t number, tg_ms now)
{
  struct tg_broker_message message = say(TG_WORD_ASK, shard, host, number);
  tg_broker_ask(it.broker, &message, (void *)(intptr_t)poll, now);
}

static void report(enum tg_broker_word word, int shard, const char *host, int64_t number, tg_ms sent_ago,
                   tg_ms now)
{
  struct tg_broker_message message = say(word, shard, host, number);
  message.sent_ago = sent_ago;
  tg_broker_report(it.broker, &message, now);
}

static void expect(int poll, enum tg_broker_verdict verdict)
{
  assert_int_equal(it.counts[poll], 1);
  assert_int_equal(it.answers[poll].verdict, verdict);
}

/* ---- */

static void a_grant_says_how_long_it_took(void **state)
{
  (void)state;
  ask(1, 40, "a", 1, 1000);
  assert_int_equal(pump(1000), 1);
  expect(1, TG_BROKER_GRANTED);
  assert_true(it.answers[1].waited == 0);
  assert_true(it.answers[1].valid_for == TG_GRANT_VALID_AWAY);
  report(TG_WORD_SENT, 40, "a", 1, 300, 1400); /* sent at 1100 */
  report(TG_WORD_READY, 40, "a", 1, 500, 1600);
  ask(2, 44, "a", 2, 2000);
  assert_int_equal(pump(1100 + SPACING - 1), 0);
  assert_int_equal(pump(1100 + SPACING), 1);
  expect(2, TG_BROKER_GRANTED);
  assert_true(it.answers[2].waited == 1100 + SPACING - 2000);
}

static void the_next_waits_for_ready_but_not_for_ever(void **state)
{
  (void)state;
  ask(1, 40, "a", 1, 0);
  ask(2, 44, "b", 1, 0);
  assert_int_equal(pump(0), 1);
  report(TG_WORD_SENT, 40, "a", 1, 0, 100);
  assert_int_equal(pump(100 + TG_SLOT_MAX - 1), 0);
  report(TG_WORD_FAILED, 40, "a", 1, 9000, 9100);
  assert_int_equal(pump(9100), 1);
  report(TG_WORD_SENT, 44, "b", 1, 0, 9200); /* says no more */
  ask(3, 40, "a", 2, 10000);
  assert_int_equal(pump(9200 + TG_SLOT_MAX - 1), 0);
  assert_int_equal(pump(9200 + TG_SLOT_MAX), 1);
}

static void silence_is_taken_for_the_worst(void **state)
{
  (void)state;
  ask(1, 40, "a", 1, 0);
  ask(2, 44, "b", 1, 0);
  assert_int_equal(pump(0), 1);
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING - 1), 0);
  /* Wakes by itself, and no more is expected of a host that says nothing. */
  tg_ms now = 0;
  while (!pump(now)) {
    now = tg_scheduler_wakeup(it.scheduler, now);
    assert_true(now > 0 && now <= TG_GRANT_VALID_AWAY + SPACING);
  }
  assert_true(now == TG_GRANT_VALID_AWAY + SPACING);
  expect(2, TG_BROKER_GRANTED);
  assert_int_equal(it.taken_back, 0); /* it was spent */
}

static void what_was_not_used_is_free_at_once(void **state)
{
  (void)state;
  ask(1, 40, "a", 1, 0);
  ask(2, 44, "b", 1, 0);
  assert_int_equal(pump(0), 1);
  report(TG_WORD_UNUSED, 40, "a", 1, 0, 50);
  assert_int_equal(it.taken_back, 1);
  assert_int_equal(pump(50), 1);
  report(TG_WORD_UNUSED, 40, "a", 1, 0, 60); /* once more */
  assert_int_equal(it.taken_back, 1);
  /* The word may come late, when it was taken for used. */
  assert_int_equal(pump(50 + TG_GRANT_VALID_AWAY + TG_GRANT_GRACE + 1), 0);
  ask(3, 48, "a", 2, 2100);
  report(TG_WORD_UNUSED, 44, "b", 1, 0, 2200);
  assert_int_equal(it.taken_back, 2);
  assert_int_equal(pump(2200), 1);
}

static void the_next_ask_takes_back_what_was_not_reported(void **state)
{
  (void)state;
  ask(1, 40, "a", 1, 0);
  assert_int_equal(pump(0), 1); /* the answer is lost */
  ask(2, 40, "a", 2, 700);
  assert_int_equal(it.taken_back, 1);
  assert_int_equal(pump(700), 1);
  expect(2, TG_BROKER_GRANTED);
  /* What was reported is not. */
  report(TG_WORD_SENT, 40, "a", 2, 0, 800);
  ask(3, 40, "a", 3, 900);
  assert_int_equal(it.taken_back, 1);
  assert_int_equal(pump(800 + SPACING - 1), 0);
}

static void what_comes_late_or_twice_changes_nothing(void **state)
{
  (void)state;
  ask(1, 40, "a", 5, 0);
  assert_int_equal(pump(0), 1);
  ask(2, 40, "a", 5, 200); /* the same request once more: the same grant */
  expect(2, TG_BROKER_GRANTED);
  assert_true(it.answers[2].waited == -200);
  ask(3, 40, "a", 4, 300); /* a late one */
  expect(3, TG_BROKER_STALE);
  assert_int_equal(it.taken_back, 0);
  report(TG_WORD_SENT, 40, "a", 5, 0, 400);
  ask(4, 40, "a", 5, 500); /* used by now */
  expect(4, TG_BROKER_STALE);
  report(TG_WORD_UNUSED, 40, "a", 4, 0, 600);
  report(TG_WORD_UNUSED, 40, "a", 5, 0, 600);
  assert_int_equal(it.taken_back, 0);
  report(TG_WORD_READY, 40, "a", 5, 300, 700);
  report(TG_WORD_READY, 40, "a", 5, 400, 800);
  report(TG_WORD_SENT, 40, "a", 5, 400, 900);
  ask(5, 44, "a", 6, 1000);
  assert_int_equal(pump(400 + SPACING - 1), 0);
  assert_int_equal(pump(400 + SPACING), 1);
}

static void a_request_that_repeats_while_it_waits_is_answered_once_more(void **state)
{
  (void)state;
  tg_scheduler_hold(it.scheduler, 0, 3000);
  ask(1, 40, "a", 1, 0);
  ask(2, 40, "a", 1, 1000);
  expect(1, TG_BROKER_STALE);
  assert_int_equal(pump(3000), 1);
  expect(2, TG_BROKER_GRANTED);
  assert_true(it.answers[2].waited == 2000);
}

static void a_host_that_starts_again_does_not_vouch_for_its_former_life(void **state)
{
  (void)state;
  ask(1, 40, "a", 9, 0);
  assert_int_equal(pump(0), 1);
  ask(2, 40, "b", 1, 100); /* the same host after a crash: another name */
  assert_int_equal(it.taken_back, 0);
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING - 1), 0);
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING), 1);
  expect(2, TG_BROKER_GRANTED);
}

static void a_host_that_starts_again_ends_what_its_former_life_left(void **state)
{
  (void)state;
  ask(1, 40, "a", 8, 0);
  ask(2, 41, "a", 9, 0);
  ask(3, 60, "c", 1, 0);
  ask(4, 42, "a", 10, 0);
  tg_scheduler_hold(it.scheduler, 2, 5000);
  assert_int_equal(pump(0), 2); /* 60 waits behind 40, 42 for its bucket */
  report(TG_WORD_SENT, 40, "a", 8, 0, 100);
  struct tg_broker_message check = say(TG_WORD_CHECK, 40, "b", 0);
  check.first_shard_id = 40;
  check.last_shard_id = 47;
  tg_broker_check(it.broker, &check, 1200);
  expect(4, TG_BROKER_NO_SHARD);
  ask(5, 45, "b", 1, 1300);
  assert_int_equal(pump(100 + SPACING - 1), 0); /* what was sent counts, READY is not waited for */
  assert_int_equal(pump(100 + SPACING), 1);
  expect(3, TG_BROKER_GRANTED);
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING - 1), 0); /* 41 may have been sent */
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING), 1);
  expect(5, TG_BROKER_GRANTED);
  tg_broker_check(it.broker, &check, 7000); /* after trouble: its own asks stay */
  report(TG_WORD_UNUSED, 45, "b", 1, 0, 7000);
  assert_int_equal(it.taken_back, 1);
}

static void no_host_can_free_a_bucket_early(void **state)
{
  (void)state;
  ask(1, 40, "a", 1, 100000);
  assert_int_equal(pump(100000), 1);
  report(TG_WORD_READY, 40, "a", 1, 86400000, 100010); /* its clock jumps */
  ask(2, 44, "a", 2, 100020);
  assert_int_equal(pump(100000 + SPACING - 1), 0);
}

static void reports_from_before_a_restart_keep_the_bucket_quiet(void **state)
{
  (void)state;
  report(TG_WORD_SENT, 40, "a", 7, 200, 1000);
  ask(1, 44, "b", 1, 1000);
  assert_int_equal(pump(800 + SPACING - 1), 0);
  assert_int_equal(pump(800 + SPACING), 1);
  assert_int_equal(it.identified, 0); /* the ledger has it */
  report(TG_WORD_SENT, 41, "a", 0, 0, 8000); /* a script did as it liked */
  assert_int_equal(it.identified, 1);
  ask(2, 45, "b", 2, 8000);
  assert_int_equal(pump(8000 + SPACING - 1), 0);
}

static void a_poll_ends_and_the_place_is_kept(void **state)
{
  (void)state;
  tg_scheduler_hold(it.scheduler, 0, 35000);
  ask(1, 40, "a", 1, 0);
  ask(2, 44, "b", 1, 100);
  assert_true(tg_broker_wakeup(it.broker) == 20000);
  pump(20100);
  expect(1, TG_BROKER_WAITING);
  expect(2, TG_BROKER_WAITING);
  ask(3, 48, "c", 1, 20150);
  ask(4, 44, "b", 2, 20200);
  pump(20100 + TG_BROKER_PLACE_KEPT); /* 40 has stayed away for too long */
  assert_int_equal(tg_scheduler_state(it.scheduler, 40), TG_IDENTIFY_IDLE);
  ask(5, 40, "a", 2, 30200);
  static const int order[] = {4, 3, 5};
  tg_ms now = 35000;
  for (int i = 0; i < 3; i++, now += 10) {
    assert_int_equal(pump(now), 1);
    expect(order[i], TG_BROKER_GRANTED);
    static const int shards[] = {44, 48, 40};
    static const char *const hosts[] = {"b", "c", "a"};
    report(TG_WORD_UNUSED, shards[i], hosts[i], i == 1 ? 1 : 2, 0, now);
  }
}

static void who_hangs_up_is_not_granted(void **state)
{
  (void)state;
  tg_scheduler_hold(it.scheduler, 0, 1000);
  ask(1, 40, "a", 1, 0);
  ask(2, 44, "b", 1, 10);
  tg_broker_poll_gone(it.broker, 40, (void *)(intptr_t)1, 500);
  assert_int_equal(pump(1000), 1);
  expect(2, TG_BROKER_GRANTED);
  assert_int_equal(it.counts[1], 0);
  tg_broker_poll_gone(it.broker, 44, (void *)(intptr_t)2, 1100); /* was answered */
  report(TG_WORD_SENT, 44, "b", 1, 0, 1200);
  /* Who says that it wants no more does not, even if its ask comes later. */
  report(TG_WORD_UNUSED, 41, "a", 3, 0, 2000);
  ask(3, 41, "a", 3, 2100);
  expect(3, TG_BROKER_STALE);
  assert_int_equal(pump(2100), 0);
}

static void lost_sessions_of_any_host_go_first(void **state)
{
  (void)state;
  tg_scheduler_hold(it.scheduler, 0, 1000);
  ask(1, 40, "a", 1, 0);
  struct tg_broker_message lost = say(TG_WORD_ASK, 44, "b", 1);
  lost.priority = TG_IDENTIFY_LOST;
  tg_broker_ask(it.broker, &lost, (void *)(intptr_t)2, 10);
  tg_scheduler_ask(it.scheduler, 0, 20); /* the broker's own */
  struct tg_broker_message later = say(TG_WORD_ASK, 48, "c", 1);
  later.priority = TG_IDENTIFY_RESHARDING;
  tg_broker_ask(it.broker, &later, (void *)(intptr_t)3, 5);
  int shard;
  tg_ms deadline, now = 1000;
  static const int order[] = {44, 40, 0, 48};
  for (int i = 0; i < 4; i++, now += SPACING) {
    assert_true(tg_scheduler_next_grant(it.scheduler, now, &shard, &deadline));
    assert_int_equal(shard, order[i]);
    assert_true(deadline == now + (shard == 0 ? TG_GRANT_VALID : TG_GRANT_VALID_AWAY));
    tg_scheduler_sent(it.scheduler, shard, now);
    tg_scheduler_done(it.scheduler, shard, true, now);
  }
}

static void hosts_take_turns(void **state)
{
  (void)state;
  int ids[8], count = 0;
  tg_ms now = 0, deadline;
  for (int id = 0; id < 16; id += 4) /* the broker's own, of one bucket */
    tg_scheduler_enqueue(it.scheduler, id, TG_IDENTIFY_FIRST, now);
  for (int64_t number = 1; count < 8; now += 10) {
    int shard;
    while (tg_scheduler_next_start(it.scheduler, now, &shard))
      tg_scheduler_ask(it.scheduler, shard, now);
    if (it.counts[1] == 0 && tg_scheduler_state(it.scheduler, 40) == TG_IDENTIFY_IDLE)
      ask(1, 40, "a", number++, now);
    if (!tg_scheduler_next_grant(it.scheduler, now, &shard, &deadline))
      continue;
    if (shard == 40) {
      tg_broker_granted(it.broker, shard, deadline, now);
      report(TG_WORD_READY, 40, "a", number - 1, 0, now);
      it.counts[1] = 0;
    } else {
      tg_scheduler_sent(it.scheduler, shard, now);
      tg_scheduler_done(it.scheduler, shard, true, now);
    }
    ids[count++] = shard;
  }
  static const int order[] = {0, 4, 40, 8, 12, 40};
  for (int i = 0; i < 6; i++)
    assert_int_equal(ids[i], order[i]);
}

static void two_hosts_with_one_shard_are_told(void **state)
{
  (void)state;
  tg_scheduler_hold(it.scheduler, 0, 1000);
  ask(1, 40, "a", 1, 0);
  ask(2, 40, "b", 1, 100);
  expect(1, TG_BROKER_NO_SHARD);
  assert_non_null(strstr(it.answers[1].why, "first_shard_id"));
  assert_int_equal(pump(1000), 1);
  expect(2, TG_BROKER_GRANTED);
}

static void without_budget_they_are_told_to_come_back(void **state)
{
  (void)state;
  tg_scheduler_set_allowance(it.scheduler, 1);
  ask(1, 40, "a", 1, 0);
  ask(2, 41, "b", 1, 0);
  struct tg_broker_message patient = say(TG_WORD_ASK, 42, "", 0);
  patient.wait = TG_BROKER_FOR_EVER;
  tg_broker_ask(it.broker, &patient, (void *)(intptr_t)3, 0);
  assert_int_equal(pump(0), 1);
  expect(1, TG_BROKER_GRANTED);
  tg_broker_hold_back(it.broker, 90000, 10);
  expect(2, TG_BROKER_HELD_BACK);
  assert_true(it.answers[2].retry_after == 90000);
  assert_int_equal(it.counts[3], 0);
  tg_broker_end(it.broker, "the gateway is stopping");
  expect(3, TG_BROKER_DOWN);
  assert_string_equal(it.answers[3].why, "the gateway is stopping");
}

static void who_reports_nothing_uses_all_of_its_slot(void **state)
{
  (void)state;
  ask(1, 40, "", 0, 0);
  assert_int_equal(pump(0), 1);
  expect(1, TG_BROKER_GRANTED);
  ask(2, 40, "", 0, 10);
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING - 1), 0);
  assert_int_equal(pump(TG_GRANT_VALID_AWAY + SPACING), 1);
  expect(2, TG_BROKER_GRANTED);
  assert_int_equal(it.taken_back, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_grant_says_how_long_it_took),
      TEST(the_next_waits_for_ready_but_not_for_ever),
      TEST(silence_is_taken_for_the_worst),
      TEST(what_was_not_used_is_free_at_once),
      TEST(the_next_ask_takes_back_what_was_not_reported),
      TEST(what_comes_late_or_twice_changes_nothing),
      TEST(a_request_that_repeats_while_it_waits_is_answered_once_more),
      TEST(a_host_that_starts_again_does_not_vouch_for_its_former_life),
      TEST(a_host_that_starts_again_ends_what_its_former_life_left),
      TEST(no_host_can_free_a_bucket_early),
      TEST(reports_from_before_a_restart_keep_the_bucket_quiet),
      TEST(a_poll_ends_and_the_place_is_kept),
      TEST(who_hangs_up_is_not_granted),
      TEST(lost_sessions_of_any_host_go_first),
      TEST(hosts_take_turns),
      TEST(two_hosts_with_one_shard_are_told),
      TEST(without_budget_they_are_told_to_come_back),
      TEST(who_reports_nothing_uses_all_of_its_slot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
