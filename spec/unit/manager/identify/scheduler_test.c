/* The identify scheduler with a fake clock. */

#include "manager/identify/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
  SPACING = 5300,
  RULE = 5000,
  PLENTY = 1000,
  MAX_SHARDS = 64,
  AWAY = 1000 /* ids of other programs' shards */
};

/* Lets every shard that may start or identify do so; returns how many may identify. */
static int starts(struct tg_scheduler *scheduler, tg_ms now, int *ids)
{
  int count = 0;
  while (tg_scheduler_next_start(scheduler, now, &ids[count]))
    count++;
  return count;
}

static int grants(struct tg_scheduler *scheduler, tg_ms now, int *ids)
{
  int count = 0;
  tg_ms deadline;
  while (tg_scheduler_next_grant(scheduler, now, &ids[count], &deadline)) {
    assert_true(deadline == now + (tg_ref_id(ids[count]) < AWAY ? TG_GRANT_VALID : TG_GRANT_VALID_AWAY));
    count++;
  }
  return count;
}

static struct tg_scheduler *make(int max_concurrency)
{
  struct tg_scheduler *scheduler = tg_scheduler_new(max_concurrency, SPACING);
  tg_scheduler_set_allowance(scheduler, PLENTY);
  return scheduler;
}

/* A whole start: shards connect in `connect` ms, use their grant after `use`
 * ms, are READY after `ready` ms. Judges the spacing as Discord would, by the
 * moment op 2 leaves, and returns when the last shard was READY. */
static tg_ms simulate(int max_concurrency, int shards, tg_ms connect, tg_ms use, tg_ms ready)
{
  struct tg_scheduler *scheduler = make(max_concurrency);
  tg_ms hello_at[MAX_SHARDS] = {0}, send_at[MAX_SHARDS] = {0}, ready_at[MAX_SHARDS] = {0};
  tg_ms last_sent[MAX_SHARDS];
  int sequence[MAX_SHARDS], sent = 0, up = 0;
  for (int i = 0; i < max_concurrency; i++)
    last_sent[i] = -RULE;
  tg_ms now = 1000;
  for (int id = 0; id < shards; id++)
    tg_scheduler_enqueue(scheduler, id, TG_IDENTIFY_FIRST, now);
  for (; up < shards; now += 50) {
    assert_true(now < 10 * 60 * 1000);
    int ids[MAX_SHARDS];
    for (int i = starts(scheduler, now, ids) - 1; i >= 0; i--)
      hello_at[ids[i]] = now + connect;
    for (int i = grants(scheduler, now, ids) - 1; i >= 0; i--)
      send_at[ids[i]] = now + use;
    for (int id = 0; id < shards; id++) {
      if (hello_at[id] == now)
        tg_scheduler_ask(scheduler, id, now);
      if (send_at[id] == now) {
        assert_true(now - last_sent[id % max_concurrency] >= RULE);
        last_sent[id % max_concurrency] = now;
        sequence[sent++] = id;
        ready_at[id] = now + ready;
        tg_scheduler_sent(scheduler, id, now);
      }
      if (ready_at[id] == now) {
        tg_scheduler_done(scheduler, id, true, now);
        up++;
      }
    }
  }
  assert_int_equal(sent, shards);
  for (int i = 1; i < sent; i++) /* in groups of max_concurrency, as Discord wants the order */
    assert_true(sequence[i] / max_concurrency >= sequence[i - 1] / max_concurrency);
  assert_int_equal(tg_scheduler_waiting(scheduler), 0);
  tg_scheduler_free(scheduler);
  return now - 1000;
}

static void thirty_two_shards_one_at_a_time(void **state)
{
  (void)state;
  tg_ms took = simulate(1, 32, 200, 50, 500);
  assert_true(took >= 31 * SPACING);
  assert_true(took < 31 * (SPACING + 200) + 2000); /* handshakes run ahead: they cost nothing */
}

static void thirty_two_shards_sixteen_at_a_time(void **state)
{
  (void)state;
  tg_ms took = simulate(16, 32, 200, 50, 500);
  assert_true(took >= SPACING);
  assert_true(took < SPACING + 2500);
}

static void slow_handshakes_do_not_shrink_the_spacing(void **state)
{
  (void)state;
  simulate(1, 8, 4000, 400, 100);
  simulate(4, 16, 9000, 350, 3000);
}

static void a_slow_ready_holds_the_bucket_but_not_for_ever(void **state)
{
  (void)state;
  tg_ms took = simulate(1, 3, 100, 50, 9000);
  assert_true(took >= 3 * 9000);
  took = simulate(1, 3, 100, 50, 60000);
  assert_true(took < 2 * TG_SLOT_MAX + 60000 + 2000);
}

static void a_bounded_number_connects_ahead(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(2);
  int ids[MAX_SHARDS];
  for (int id = 0; id < 16; id++)
    tg_scheduler_enqueue(scheduler, id, TG_IDENTIFY_FIRST, 0);
  assert_int_equal(starts(scheduler, 0, ids), 2 * TG_CONNECT_AHEAD);
  assert_int_equal(starts(scheduler, 10, ids), 0);
  assert_int_equal(tg_scheduler_waiting(scheduler), 16);
  assert_true(tg_scheduler_eta(scheduler, 10) == 7 * SPACING);
  /* One that never gets its HELLO does not keep the others back for good. */
  assert_true(tg_scheduler_wakeup(scheduler, 2000) == TG_START_STALE);
  assert_int_equal(starts(scheduler, TG_START_STALE, ids), 2 * TG_CONNECT_AHEAD);
  tg_scheduler_free(scheduler);
}

static void lost_sessions_go_first(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_scheduler_enqueue(scheduler, 0, TG_IDENTIFY_RESHARDING, 0);
  tg_scheduler_enqueue(scheduler, 1, TG_IDENTIFY_FIRST, 0);
  tg_scheduler_enqueue(scheduler, 2, TG_IDENTIFY_FIRST, 0);
  assert_int_equal(starts(scheduler, 0, ids), 2);
  assert_int_equal(ids[0], 1);
  assert_int_equal(ids[1], 2);
  tg_scheduler_enqueue(scheduler, 3, TG_IDENTIFY_LOST, 0);
  assert_int_equal(starts(scheduler, 0, ids), 1); /* those of lower rank do not keep it back */
  assert_int_equal(ids[0], 3);
  for (int id = 1; id <= 3; id++)
    tg_scheduler_ask(scheduler, id, id);
  tg_ms now = 10;
  static const int order[] = {3, 1, 2};
  for (int i = 0; i < 3; i++, now += SPACING) {
    assert_int_equal(grants(scheduler, now, ids), 1);
    assert_int_equal(ids[0], order[i]);
    tg_scheduler_sent(scheduler, ids[0], now);
    tg_scheduler_done(scheduler, ids[0], true, now + 1);
  }
  assert_int_equal(starts(scheduler, now, ids), 1);
  assert_int_equal(ids[0], 0);
  tg_scheduler_free(scheduler);
}

static void the_order_of_starts_is_kept(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(4);
  int ids[MAX_SHARDS];
  for (int id = 0; id < 8; id++)
    tg_scheduler_enqueue(scheduler, id, TG_IDENTIFY_FIRST, 0);
  assert_int_equal(starts(scheduler, 0, ids), 8);
  for (int id = 4; id < 8; id++)
    tg_scheduler_ask(scheduler, id, 10); /* their worker is the quicker one */
  assert_int_equal(grants(scheduler, 10, ids), 0);
  for (int id = 1; id < 4; id++)
    tg_scheduler_ask(scheduler, id, 20);
  assert_int_equal(grants(scheduler, 20, ids), 3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(ids[i], i + 1);
  assert_true(tg_scheduler_wakeup(scheduler, 20) == TG_START_ORDER); /* shard 0 has trouble to connect */
  assert_int_equal(grants(scheduler, TG_START_ORDER, ids), 1);
  assert_int_equal(ids[0], 4);
  tg_scheduler_free(scheduler);
}

static void queueing_twice_raises_the_priority_only(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_scheduler_enqueue(scheduler, 0, TG_IDENTIFY_FIRST, 0);
  tg_scheduler_enqueue(scheduler, 1, TG_IDENTIFY_FIRST, 0);
  tg_scheduler_enqueue(scheduler, 1, TG_IDENTIFY_LOST, 0);
  assert_int_equal(tg_scheduler_waiting(scheduler), 2);
  assert_int_equal(starts(scheduler, 0, ids), 2);
  assert_int_equal(ids[0], 1);
  tg_scheduler_free(scheduler);
}

static void an_unused_grant_is_free_at_once(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_scheduler_set_allowance(scheduler, 1);
  tg_scheduler_ask(scheduler, 0, 0);
  tg_scheduler_ask(scheduler, 1, 0);
  assert_int_equal(grants(scheduler, 0, ids), 1);
  assert_int_equal(ids[0], 0);
  tg_scheduler_unused(scheduler, 0, 100);
  assert_int_equal(tg_scheduler_state(scheduler, 0), TG_IDENTIFY_STARTED);
  assert_int_equal(grants(scheduler, 100, ids), 1); /* the slot and the allowance are back */
  assert_int_equal(ids[0], 1);
  tg_scheduler_free(scheduler);
}

static void a_silent_grant_counts_as_used(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_scheduler_ask(scheduler, 0, 0);
  tg_scheduler_ask(scheduler, 1, 0);
  assert_int_equal(grants(scheduler, 0, ids), 1);
  tg_ms now = 0;
  while (grants(scheduler, now, ids) == 0) {
    now = tg_scheduler_wakeup(scheduler, now);
    assert_true(now > 0 && now < 60000);
  }
  assert_true(now >= TG_GRANT_VALID + TG_SLOT_MAX);
  assert_int_equal(ids[0], 1);
  tg_scheduler_free(scheduler);

  /* The word that it was not used may come late. */
  scheduler = make(1);
  tg_scheduler_ask(scheduler, 0, 0);
  tg_scheduler_ask(scheduler, 1, 0);
  assert_int_equal(grants(scheduler, 0, ids), 1);
  assert_int_equal(grants(scheduler, 3000, ids), 0);
  tg_scheduler_unused(scheduler, 0, 3100);
  assert_int_equal(grants(scheduler, 3100, ids), 1);
  tg_scheduler_free(scheduler);
}

static void a_death_is_taken_for_an_identify(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  for (int id = 0; id < 4; id++)
    tg_scheduler_ask(scheduler, id, id);
  assert_int_equal(grants(scheduler, 10, ids), 1);
  tg_scheduler_gone(scheduler, 0, 200); /* held a grant: it may have left just before */
  tg_scheduler_gone(scheduler, 1, 200); /* only asked: costs nothing */
  assert_int_equal(grants(scheduler, 200 + RULE, ids), 0);
  assert_true(tg_scheduler_wakeup(scheduler, 200) == 200 + SPACING);
  assert_int_equal(grants(scheduler, 200 + SPACING, ids), 1);
  assert_int_equal(ids[0], 2);
  tg_ms now = 200 + SPACING;
  tg_scheduler_sent(scheduler, 2, now);
  tg_scheduler_gone(scheduler, 2, now + 100); /* the slot runs from the send */
  assert_int_equal(grants(scheduler, now + SPACING - 1, ids), 0);
  assert_int_equal(grants(scheduler, now + SPACING, ids), 1);
  assert_int_equal(ids[0], 3);
  tg_scheduler_free(scheduler);
}

static void without_allowance_nothing_leaves(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(4);
  int ids[MAX_SHARDS];
  tg_scheduler_set_allowance(scheduler, 3);
  for (int id = 0; id < 8; id++)
    tg_scheduler_enqueue(scheduler, id, TG_IDENTIFY_FIRST, 0);
  assert_int_equal(starts(scheduler, 0, ids), 3); /* no use in connecting more */
  for (int id = 0; id < 8; id++)
    tg_scheduler_ask(scheduler, id, 0);
  assert_int_equal(grants(scheduler, 0, ids), 3);
  for (int i = 0; i < 3; i++) {
    tg_scheduler_sent(scheduler, ids[i], 0);
    tg_scheduler_done(scheduler, ids[i], true, 100);
  }
  assert_int_equal(grants(scheduler, 100000, ids), 0);
  assert_int_equal(starts(scheduler, 100000, ids), 0);
  tg_scheduler_set_allowance(scheduler, PLENTY);
  assert_int_equal(grants(scheduler, 100000, ids), 4);
  tg_scheduler_free(scheduler);
}

/* Identifies of one shard that always fails `after` ms behind its op 2. */
static int identifies_in(tg_ms duration, bool ready_first)
{
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS], count = 0;
  tg_scheduler_enqueue(scheduler, 0, TG_IDENTIFY_FIRST, 0);
  for (tg_ms now = 0; now < duration; now += 100) {
    if (starts(scheduler, now, ids))
      tg_scheduler_ask(scheduler, 0, now);
    if (grants(scheduler, now, ids)) {
      count++;
      tg_scheduler_sent(scheduler, 0, now);
      tg_scheduler_done(scheduler, 0, ready_first, now);
      tg_scheduler_enqueue(scheduler, 0, TG_IDENTIFY_LOST, now + 50);
    }
  }
  tg_scheduler_free(scheduler);
  return count;
}

static void failures_slow_a_shard_down(void **state)
{
  (void)state;
  enum { HOUR = 3600000 };
  assert_true(identifies_in(60000, false) >= 4);
  assert_true(identifies_in(HOUR, false) <= 15);
  assert_true(identifies_in(24 * HOUR, false) <= 24 * 6 + 12);
  assert_true(identifies_in(HOUR, true) <= 15); /* READY and lost at once is no success */
}

static void a_healthy_session_forgives(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_ms now = 0;
  for (int i = 0; i < 6; i++) {
    tg_scheduler_ask(scheduler, 0, now);
    while (!grants(scheduler, now, ids))
      now += 100;
    tg_scheduler_sent(scheduler, 0, now);
    tg_scheduler_done(scheduler, 0, i == 5, now);
  }
  now += TG_SESSION_HEALTHY;
  tg_scheduler_enqueue(scheduler, 0, TG_IDENTIFY_LOST, now);
  assert_int_equal(starts(scheduler, now, ids), 1);
  tg_scheduler_ask(scheduler, 0, now);
  assert_int_equal(grants(scheduler, now, ids), 1);
  tg_scheduler_free(scheduler);
}

static void a_failing_shard_does_not_hold_up_its_bucket(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_scheduler_ask(scheduler, 0, 0);
  tg_scheduler_ask(scheduler, 1, 1);
  assert_int_equal(grants(scheduler, 1, ids), 1);
  tg_scheduler_sent(scheduler, 0, 1);
  tg_scheduler_done(scheduler, 0, false, 2);
  tg_scheduler_ask(scheduler, 0, 3);
  assert_int_equal(grants(scheduler, 1 + SPACING, ids), 1);
  assert_int_equal(ids[0], 1);
  tg_scheduler_free(scheduler);
}

static void a_restart_keeps_the_spacing(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(2);
  int ids[MAX_SHARDS];
  tg_scheduler_hold(scheduler, 1, 4000);
  tg_scheduler_ask(scheduler, 0, 0);
  tg_scheduler_ask(scheduler, 1, 0);
  assert_int_equal(grants(scheduler, 0, ids), 1);
  assert_int_equal(ids[0], 0);
  assert_int_equal(grants(scheduler, 3999, ids), 0);
  assert_int_equal(grants(scheduler, 4000, ids), 1);
  assert_int_equal(ids[0], 1);
  tg_scheduler_free(scheduler);
}

static void slots_for_other_programs_count(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(16);
  int ids[MAX_SHARDS];
  tg_scheduler_ask_away(scheduler, 1000, TG_IDENTIFY_FIRST, 0);
  assert_int_equal(grants(scheduler, 0, ids), 1);
  assert_int_equal(ids[0], 1000);
  assert_int_equal(tg_scheduler_state(scheduler, 1000), TG_IDENTIFY_IDLE);
  tg_scheduler_ask(scheduler, 1000 % 16, 0);
  assert_int_equal(grants(scheduler, SPACING, ids), 0); /* it may have sent at its deadline */
  assert_int_equal(grants(scheduler, SPACING + TG_GRANT_VALID_AWAY, ids), 1);
  tg_scheduler_free(scheduler);
}

static void a_second_connection_ends_the_earlier_try(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  int ids[MAX_SHARDS];
  tg_scheduler_ask(scheduler, 0, 0);
  assert_int_equal(grants(scheduler, 0, ids), 1);
  tg_scheduler_ask(scheduler, 0, 50); /* never said what became of the grant */
  assert_int_equal(grants(scheduler, RULE, ids), 0);
  assert_int_equal(grants(scheduler, 50 + SPACING, ids), 1);
  tg_scheduler_free(scheduler);
}

/* ---- two sets of shards ---- */

enum { OTHER = 1 }; /* side */

static void both_sides_share_their_buckets(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(4);
  tg_shard_ref three = 3, other = tg_ref_of(3, OTHER), refs[MAX_SHARDS];
  tg_ms now = 1000, deadline;
  assert_int_equal(tg_scheduler_bucket(scheduler, other), 3);
  assert_int_equal(tg_scheduler_bucket(scheduler, tg_ref_of(65535, OTHER)), 3);
  tg_scheduler_enqueue(scheduler, other, TG_IDENTIFY_RESHARDING, now);
  tg_scheduler_enqueue(scheduler, three, TG_IDENTIFY_FIRST, now);
  assert_int_equal(tg_scheduler_waiting(scheduler), 2);
  assert_int_equal(starts(scheduler, now, refs), 2);
  assert_int_equal(refs[0], three); /* whatever came first: the bot's own shards go before those to come */
  assert_int_equal(refs[1], other);
  tg_scheduler_ask(scheduler, other, now);
  tg_scheduler_ask(scheduler, three, now);
  assert_true(tg_scheduler_next_grant(scheduler, now, &refs[0], &deadline));
  assert_int_equal(refs[0], three);
  assert_false(tg_scheduler_next_grant(scheduler, now, &refs[0], &deadline));
  assert_int_equal(tg_scheduler_state(scheduler, other), TG_IDENTIFY_ASKING);
  assert_int_equal(tg_scheduler_deadline(scheduler, other), 0);
  tg_scheduler_sent(scheduler, three, now);
  tg_scheduler_done(scheduler, three, true, now + 100);
  assert_false(tg_scheduler_next_grant(scheduler, now + SPACING - 1, &refs[0], &deadline));
  assert_true(tg_scheduler_next_grant(scheduler, now + SPACING, &refs[0], &deadline));
  assert_int_equal(refs[0], other);
  tg_scheduler_free(scheduler);
}

/* A session of the new set that is lost waits behind those of the set that rules. */
static void shards_to_come_stay_behind(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(1);
  tg_shard_ref other = tg_ref_of(0, OTHER), refs[MAX_SHARDS];
  tg_ms now = 1000;
  tg_scheduler_enqueue(scheduler, other, TG_IDENTIFY_RESHARDING, now);
  assert_int_equal(starts(scheduler, now, refs), 1);
  tg_scheduler_ask(scheduler, other, now);
  assert_int_equal(grants(scheduler, now, refs), 1);
  tg_scheduler_sent(scheduler, other, now);
  tg_scheduler_ask(scheduler, other, now + 100); /* connects anew: that came to nothing */
  assert_int_equal(tg_scheduler_priority(scheduler, other), TG_IDENTIFY_RESHARDING);
  tg_scheduler_free(scheduler);
}

/* Another set may come to have that side: what its shard 3 has done is nothing to the new one. */
static void a_shard_that_is_over_is_forgotten(void **state)
{
  (void)state;
  struct tg_scheduler *scheduler = make(4);
  tg_shard_ref other = tg_ref_of(3, OTHER), refs[MAX_SHARDS];
  tg_ms now = 1000;
  for (int i = 0; i < 8; i++) {
    tg_scheduler_enqueue(scheduler, other, TG_IDENTIFY_LOST, now);
    tg_scheduler_done(scheduler, other, false, now);
  }
  tg_scheduler_enqueue(scheduler, other, TG_IDENTIFY_LOST, now);
  assert_int_equal(starts(scheduler, now, refs), 0); /* it waits longer and longer */
  tg_scheduler_forget(scheduler, other, now);
  assert_int_equal(tg_scheduler_waiting(scheduler), 0);
  tg_scheduler_enqueue(scheduler, other, TG_IDENTIFY_RESHARDING, now);
  assert_int_equal(starts(scheduler, now, refs), 1);
  tg_scheduler_ask(scheduler, other, now);
  assert_int_equal(grants(scheduler, now, refs), 1);
  tg_scheduler_forget(scheduler, other, now); /* the slot counts as used */
  tg_scheduler_ask(scheduler, 3, now);
  assert_int_equal(grants(scheduler, now + SPACING - 1, refs), 0);
  assert_int_equal(grants(scheduler, now + SPACING, refs), 1);
  tg_scheduler_free(scheduler);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(thirty_two_shards_one_at_a_time),
      cmocka_unit_test(thirty_two_shards_sixteen_at_a_time),
      cmocka_unit_test(slow_handshakes_do_not_shrink_the_spacing),
      cmocka_unit_test(a_slow_ready_holds_the_bucket_but_not_for_ever),
      cmocka_unit_test(a_bounded_number_connects_ahead),
      cmocka_unit_test(lost_sessions_go_first),
      cmocka_unit_test(the_order_of_starts_is_kept),
      cmocka_unit_test(queueing_twice_raises_the_priority_only),
      cmocka_unit_test(an_unused_grant_is_free_at_once),
      cmocka_unit_test(a_silent_grant_counts_as_used),
      cmocka_unit_test(a_death_is_taken_for_an_identify),
      cmocka_unit_test(without_allowance_nothing_leaves),
      cmocka_unit_test(failures_slow_a_shard_down),
      cmocka_unit_test(a_healthy_session_forgives),
      cmocka_unit_test(a_failing_shard_does_not_hold_up_its_bucket),
      cmocka_unit_test(a_restart_keeps_the_spacing),
      cmocka_unit_test(slots_for_other_programs_count),
      cmocka_unit_test(a_second_connection_ends_the_earlier_try),
      cmocka_unit_test(both_sides_share_their_buckets),
      cmocka_unit_test(shards_to_come_stay_behind),
      cmocka_unit_test(a_shard_that_is_over_is_forgotten),
      cmocka_unit_test(both_sides_share_their_buckets),
      cmocka_unit_test(shards_to_come_stay_behind),
      cmocka_unit_test(a_shard_that_is_over_is_forgotten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
