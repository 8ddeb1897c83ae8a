/* Three hosts with a scheduler each, whose buckets are the same: who connects when, and how long a start
 * takes. The cluster is played: of those who ask it grants the first, as soon as the bucket has rested. */

#include "manager/identify/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
  HOSTS = 3,
  SHARDS = 64,
  BUCKETS = 16,
  STEP = 10, /* ms */
  RULE = 5000,
  WINDOW = 5500,  /* from a grant to the next one, if nothing else is said */
  SPACING = 5300, /* from op 2 to the next grant */
  NOT_YET = 60,   /* ms until who was not the first asks again */
  HELLO = 300,
  READY = 400,
};

static struct {
  int host;
  tg_ms hello_at, ask_at, send_at, ready_at, deadline; /* 0: not under way */
  bool up;
} shards[SHARDS];

static struct {
  tg_ms free_at, sent_at;
  tg_ms lost; /* between grants and the moments when they were given back */
} buckets[BUCKETS];

static struct tg_scheduler *hosts[HOSTS];
static int most_waiting; /* shards of a bucket and host that have their HELLO, at once */
static unsigned random_state;

static int chance(int of)
{
  random_state = random_state * 1103515245u + 12345u;
  return (int)(random_state >> 16) % of;
}

static bool goes_before(int other, int id)
{
  return other % BUCKETS == id % BUCKETS && other < id && shards[other].ask_at > 0;
}

static bool is_first(int id)
{
  for (int other = 0; other < SHARDS; other++) {
    if (goes_before(other, id))
      return false;
  }
  return true;
}

static void ask_cluster(int id, tg_ms now, int stall)
{
  struct tg_scheduler *scheduler = hosts[shards[id].host];
  if (buckets[id % BUCKETS].free_at > now) {
    shards[id].ask_at = buckets[id % BUCKETS].free_at;
  } else if (!is_first(id)) {
    shards[id].ask_at = now + NOT_YET;
  } else {
    buckets[id % BUCKETS].free_at = now + WINDOW;
    shards[id].ask_at = 0;
    shards[id].deadline = now + TG_GRANT_VALID;
    shards[id].send_at = now + STEP + (stall > 0 ? chance(stall) : 0);
    tg_scheduler_grant_until(scheduler, id, shards[id].deadline, now);
  }
}

static void send(int id, tg_ms now)
{
  struct tg_scheduler *scheduler = hosts[shards[id].host];
  shards[id].send_at = 0;
  if (now > shards[id].deadline) {
    buckets[id % BUCKETS].free_at = 0;
    buckets[id % BUCKETS].lost += now - shards[id].deadline + TG_GRANT_VALID + STEP;
    tg_scheduler_unused(scheduler, id, now);
    tg_scheduler_ask(scheduler, id, now);
    shards[id].ask_at = now;
    return;
  }
  assert_true(!buckets[id % BUCKETS].sent_at || now - buckets[id % BUCKETS].sent_at >= RULE);
  buckets[id % BUCKETS].sent_at = now;
  buckets[id % BUCKETS].free_at = now + SPACING;
  shards[id].ready_at = now + READY;
  tg_scheduler_sent(scheduler, id, now);
}

static void count_waiting(void)
{
  int waiting[HOSTS][BUCKETS] = {0};
  for (int id = 0; id < SHARDS; id++) {
    if (tg_scheduler_state(hosts[shards[id].host], id) != TG_IDENTIFY_ASKING)
      continue;
    int count = ++waiting[shards[id].host][id % BUCKETS];
    most_waiting = count > most_waiting ? count : most_waiting;
  }
}

/* Returns how long it took until the last op 2. `stall`: ms at most between grant and op 2. */
static tg_ms start_all(int stall)
{
  memset(shards, 0, sizeof shards);
  memset(buckets, 0, sizeof buckets);
  most_waiting = 0;
  for (int i = 0; i < HOSTS; i++) {
    hosts[i] = tg_scheduler_new(BUCKETS, SPACING);
    tg_scheduler_share(hosts[i]);
    tg_scheduler_set_allowance(hosts[i], SHARDS);
  }
  tg_ms began = 1000, now = began, last = began;
  for (int id = 0; id < SHARDS; id++) {
    shards[id].host = chance(HOSTS);
    tg_scheduler_enqueue(hosts[shards[id].host], id, TG_IDENTIFY_FIRST, now);
  }
  for (int up = 0; up < SHARDS; now += STEP) {
    assert_true(now < began + 120000);
    for (int i = 0; i < HOSTS; i++) {
      tg_shard_ref ref;
      while (tg_scheduler_next_start(hosts[i], now, &ref))
        shards[ref].hello_at = now + HELLO;
    }
    for (int id = 0; id < SHARDS; id++) {
      struct tg_scheduler *scheduler = hosts[shards[id].host];
      if (shards[id].hello_at == now) {
        tg_scheduler_ask(scheduler, id, now);
        shards[id].ask_at = now;
      }
      if (shards[id].ask_at > 0 && now >= shards[id].ask_at && tg_scheduler_due(scheduler, id, now))
        ask_cluster(id, now, stall);
      if (shards[id].send_at > 0 && now >= shards[id].send_at) {
        send(id, now);
        last = now;
      }
      if (shards[id].ready_at > 0 && now >= shards[id].ready_at) {
        shards[id].ready_at = 0;
        tg_scheduler_done(scheduler, id, true, now);
        up++;
      }
    }
    count_waiting();
  }
  for (int i = 0; i < HOSTS; i++)
    tg_scheduler_free(hosts[i]);
  return last - began;
}

static void a_start_takes_as_long_as_with_one_host(void **state)
{
  (void)state;
  const tg_ms ideal = (SHARDS / BUCKETS - 1) * WINDOW;
  for (random_state = 1; random_state < 60;) {
    unsigned seed = random_state;
    assert_true(start_all(0) <= ideal * 11 / 10);
    assert_int_equal(most_waiting, 1);
    random_state = seed + 1;
  }
}

static void slots_that_are_not_used_in_time_cost_no_window(void **state)
{
  (void)state;
  const tg_ms ideal = (SHARDS / BUCKETS - 1) * WINDOW;
  for (random_state = 1; random_state < 60;) {
    unsigned seed = random_state;
    tg_ms took = start_all(600), lost = 0;
    for (int i = 0; i < BUCKETS; i++)
      lost = buckets[i].lost > lost ? buckets[i].lost : lost;
    assert_true(lost > 0 && took <= ideal * 11 / 10 + lost);
    random_state = seed + 1;
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_start_takes_as_long_as_with_one_host),
      cmocka_unit_test(slots_that_are_not_used_in_time_cost_no_window),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
