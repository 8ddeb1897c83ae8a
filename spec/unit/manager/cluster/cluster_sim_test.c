/* Three hosts of a cluster with their Redis, played: the real script, the real cluster.c, clocks of truth, of
 * Redis and of each host that have nothing in common, a network that delays and loses, deaths, stops,
 * partitions, a Redis that is away, frozen, comes back with what it had, less, or nothing, or as another one.
 * Discord and a judge who sees all say what must not be.
 *
 * TG_CLUSTER_SEEDS=500 plays so many (scripts/test --long does), TG_CLUSTER_FIRST=N from that one,
 * TG_CLUSTER_TRACE=1 tells what happens, TG_CLUSTER_CALLS=1 with it all calls. */

#include "sim_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

enum { SECONDS = 2 /* of CPU, for seeds */ };

/* Until the first violation, or the end. `scarce`: the identifies of the day are used up before it. */
static void run_seed(uint64_t seed, const char *script, bool scarce, const char *faults, tg_ms trouble)
{
  begin_seed(seed, script, faults, trouble);
  if (scarce)
    world.limit = RESERVE + SHARDS + 6 + chance(20);
  tg_ms all_up_at = 0;
  while (!world.violations && (world.now <= plan.last_fault + PEACE)) {
    turn();
    if (world.now <= plan.last_fault) {
      all_up_at = 0;
      continue;
    }
    if (!all_up_at && count_up() == count_shards())
      all_up_at = world.now;
    if (!all_up_at && !scarce && world.now > plan.last_fault + UP_WITHIN)
      violation("%d of %d shards are up %d ms after the last fault", count_up(), count_shards(), UP_WITHIN);
  }
  if (!world.violations && !scarce)
    check_peace();
  if (all_up_at && all_up_at - plan.last_fault > plan.slowest_up)
    plan.slowest_up = (int)(all_up_at - plan.last_fault);
  end_seed();
}

static void test_seeds(void **state)
{
  (void)state;
  const char *seeds = getenv("TG_CLUSTER_SEEDS"), *first = getenv("TG_CLUSTER_FIRST");
  uint64_t count = seeds ? strtoull(seeds, NULL, 10) : getenv("TG_SPEC_LONG") ? 500 : 0;
  uint64_t from = first ? strtoull(first, NULL, 10) : 1, seed = from;
  clock_t until = clock() + SECONDS * CLOCKS_PER_SEC;
  int failed = 0, identifies = 0, resumes = 0, moves = 0, holes = 0, lost = 0, slowest = 0;
  world.trace = getenv("TG_CLUSTER_TRACE") != NULL;
  for (; count ? seed < from + count : clock() < until; seed++) {
    run_seed(seed, tg_cluster_script, seed % 5 == 0, ALL_FAULTS, TROUBLE);
    if (world.violations) {
      print_message("seed %d: %s\n", (int)seed, world.first_violation);
      failed++;
    }
    identifies += world.identifies;
    resumes += world.resumes;
    moves += world.moves;
    holes += world.holes;
    lost += world.lost_leases;
    slowest = plan.slowest_up > slowest ? plan.slowest_up : slowest;
  }
  world.trace = false;
  print_message("%d seeds: %d identifies, %d resumes, %d moves, %d holes, %d leases lost; up after %d ms\n",
                (int)(seed - from), identifies, resumes, moves, holes, lost, slowest);
  assert_int_equal(failed, 0);
  assert_true(seed - from < 8 || (moves > 0 && holes > 0 && lost > 0));
}

/* ---- the same without a rule ---- */

static const struct mutation mutations[] = {
    {"time does not jump", "math.max(0, math.min(passed, STEP))", "passed", "ck", "holders"},
    {"who restarts waits", "note('quiet', now + TTL)", "note('quiet', 0)", "rz", "holders"},
    {"a jump holds grants", "note('hold', now + WINDOW)", "note('hold', 0)", "cl", "bucket"},
    {"unsure until quiet ends", "quiet > 0 and not item.sure", "false", "rzp", "holders"},
    {"hosts remember the mark", "given.mark > (tonumber(c.mark) or 0)", "false", "rcl", "epoch"},
    {"what was sent rests", "SPACING = 5300", "SPACING = 4500", "l", "bucket"},
    {"a grant counts", "note('remaining', remaining - 1)", "note('remaining', remaining)", "l", "spent"},
    {"another Redis forgets the budget", "drop('remaining')\nend\nlocal", "\nend\nlocal", "rl", "spent"},
    {"a lease lasts longer than it is counted on", "TTL = 6000", "TTL = 3000", "zp", "holders"},
    {"what is not sent again is a hole", "if not is_near then\n        leave_hole",
     "if false then leave_hole", "bk", "delivered"},
    {"a lost session is a hole", "if it.epoch < epoch then leave_hole", "if false then leave_hole", "bkl",
     "delivered"},
    {"sessions nobody knew are holes", "it.epoch > (known and known.epoch or 0)", "false", "rzl",
     "delivered"},
    {"nothing is void that is owed", "not known or known.settled", "true", "bkl", "delivered"},
};

static void test_each_rule_is_needed(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof mutations / sizeof mutations[0]; i++) {
    char *script = replaced(tg_cluster_script, &mutations[i]);
    bool found = false;
    for (uint64_t seed = 1; seed <= 60 && !found; seed++) {
      run_seed(seed, script, strcmp(mutations[i].breaks, "spent") == 0, mutations[i].faults, TROUBLE);
      found = world.violations && strstr(world.first_violation, mutations[i].breaks);
      if (found)
        print_message("without \"%s\" seed %d fails: %s\n", mutations[i].rule, (int)seed,
                      world.first_violation);
    }
    free(script);
    if (!found)
      fail_msg("nothing fails without \"%s\"", mutations[i].rule);
  }
}

/* ---- what comes late ---- */

static bool is_refused(const char *call, int life, int link, const char *more)
{
  char body[512];
  snprintf(body, sizeof body,
           "{\"run\":\"run-1\",\"host\":\"host-0\",\"mark\":1,\"life\":%d,\"link\":%d,\"shard\":0,\"of\":1,"
           "\"fence\":"
           "1700001017,%s}",
           life, link, more);
  char *answer = redis_run(call, body, redis_clock());
  bool refused = strstr(answer, "refused") != NULL;
  free(answer);
  return refused;
}

/* A packet of a process that has died, or of a connection that has ended, may be read when the next one has
 * come. */
static void test_late_calls(void **state)
{
  (void)state;
  static const char beat[] = "\"home\":\"home-0\",\"bot\":\"bot\",\"total\":1,\"done\":0,\"ended\":0,"
                             "\"digest\":\"d\",\"draining\":false,"
                             "\"last\":true,\"held\":[],\"left\":[]";
  static const char put[] =
      "\"runs\":true,\"epoch\":7,\"session\":\"s\",\"url\":\"u\",\"digest\":\"d\",\"durable\":1,"
      "\"delivered_epoch\":7,\"delivered\":1,\"guilds\":1";
  begin_world(1);
  redis_open(tg_cluster_script);
  world.redis_rate = 1;
  for (int second = 0; second < 8; second++, world.now += 1000)
    assert_false(is_refused("beat", 1, 1, beat));
  world.redis_offset = 1700001016000 - redis_clock(); /* so that the fence is known */
  assert_false(is_refused("beat", 1, 1, beat));
  assert_false(is_refused("claim", 1, 1, "\"max\":1"));
  assert_false(is_refused("put", 1, 1, put));
  assert_false(is_refused("beat", 1, 2, beat));
  assert_true(is_refused("put", 1, 1, put)); /* of an earlier connection */
  assert_true(is_refused("beat", 1, 1, beat));
  assert_false(is_refused("put", 1, 2, put));
  assert_false(is_refused("beat", 2, 1, beat));
  assert_true(is_refused("put", 1, 2, put)); /* of an earlier process */
  assert_true(is_refused("beat", 1, 3, beat));
  assert_false(is_refused("put", 2, 1, put));
  redis_close();
}

/* ---- how long it takes ---- */

static int count_delivered(void)
{
  int count = 0;
  for (int i = 0; i < SHARDS; i++)
    for (int k = 0; k < world.places[i].session_count; k++)
      for (int s = 0; s < world.places[i].sessions[k].count; s++)
        count += (world.places[i].sessions[k].events[s] & EVENT_DELIVERED) != 0;
  return count;
}

static void test_times(void **state)
{
  (void)state;
  world.trace = getenv("TG_CLUSTER_TRACE") != NULL;
  begin_calm(1, tg_cluster_script);
  tg_ms ideal = (SHARDS / BUCKETS - 1) * 5500, start = run_until_up(120000);
  print_message("24 shards in 8 buckets are up after %lld ms; ideal %lld, and 6000 of quiet\n",
                (long long)start, (long long)ideal);
  assert_int_equal(count_up(), SHARDS);
  assert_true(start < 6000 + ideal + 12000); /* some of its identifies come to nothing */
  run_for(10000);

  int identifies = world.identifies, moves = world.moves;
  die(&hosts[1], false);
  hosts[1].born_at = world.now + 60000;
  tg_ms back = run_until_up(60000);
  print_message("after a death all are back in %lld ms, by %d identifies\n", (long long)back,
                world.identifies - identifies);
  assert_true(back > 3000 && back < 10000);
  assert_int_equal(world.identifies, identifies);
  assert_int_equal(world.moves, moves);

  run_for(60000); /* the host is back, and has its share again, without an identify */
  run_until_up(5000);
  run_for(20000);
  print_message("its share is back by %d moves\n", world.moves - moves);
  assert_int_equal(world.identifies, identifies);
  assert_int_equal(world.moves - moves, SHARDS / HOSTS);
  check_peace();
  assert_int_equal(world.violations, 0);
  end_seed();
}

static void test_redis_away(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    begin_calm(seed, tg_cluster_script);
    run_until_up(120000);
    run_for(10000);
    int identifies = world.identifies, moves = world.moves, resumes = world.resumes;
    world.redis_up = false;
    plan.redis_at = world.now + 60000;
    run_for(5000);
    int before = count_delivered();
    run_for(50000);
    assert_true(count_delivered() - before > SHARDS * 50); /* a second has 2.5 events of each */
    run_for(30000);
    assert_int_equal(world.identifies, identifies);
    assert_int_equal(world.moves, moves);
    assert_int_equal(world.resumes, resumes);
    assert_int_equal(world.lost_leases, 0);
    assert_int_equal(count_up(), SHARDS);
    check_peace();
    assert_int_equal(world.violations, 0);
    end_seed();
  }
}

/* A clock that is set by less than a script can see may let an identify be early, which Discord answers with
 * op 9; but never has a shard two holders by it. */
static void test_small_steps(void **state)
{
  (void)state;
  int early = 0, seeds = getenv("TG_SPEC_LONG") ? 60 : 3;
  for (uint64_t seed = 1; seed <= (uint64_t)seeds; seed++) {
    run_seed(seed, tg_cluster_script, false, "kzprsssl", TROUBLE);
    if (world.violations && !strstr(world.first_violation, "an identify after"))
      fail_msg("seed %d: %s", (int)seed, world.first_violation);
    early += world.violations > 0;
  }
  print_message("with small steps of the clock %d of %d seeds have an early identify\n", early, seeds);
  assert_true(early * 4 <= seeds);
}

/* Other programs take the places of those that run, while all else goes on. */
static void test_upgrades(void **state)
{
  (void)state;
  int upgrades = 0, seeds = getenv("TG_SPEC_LONG") ? 200 : 4;
  for (uint64_t seed = 1; seed <= (uint64_t)seeds; seed++) {
    run_seed(seed, tg_cluster_script, false, seed % 2 ? "uuuukzpdfcbwl" : "uuuukb", TROUBLE);
    upgrades += world.upgrades;
    if (world.violations)
      fail_msg("seed %d: %s", (int)seed, world.first_violation);
  }
  print_message("%d seeds with %d upgrades\n", seeds, upgrades);
  assert_true(upgrades > seeds);
}

/* Nothing else happens: no shard moves, and none has to resume. */
static void test_calm_upgrades(void **state)
{
  (void)state;
  begin_calm(1, tg_cluster_script);
  run_until_up(120000);
  run_for(10000);
  int moves = world.moves, resumes = world.resumes, identifies = world.identifies;
  for (int i = 0; i < 12; i++) {
    struct sim_host *host = &hosts[i % HOSTS];
    tg_cluster_rest(host->cluster, true);
    host->rests_till = world.now + 30000;
    for (tg_ms until = world.now + 5000; world.now < until && !host->execs;)
      turn();
    assert_true(host->execs);
    host->comes_back = false;
    host->runs_at = world.now + between(10, 4500); /* less than a lease has left */
    run_for(7000);
    assert_int_equal(host->rests_till, 0);
  }
  assert_int_equal(world.upgrades, 12);
  assert_int_equal(world.moves, moves);
  assert_int_equal(world.resumes, resumes);
  assert_int_equal(world.identifies, identifies);
  assert_int_equal(world.lost_leases, 0);
  check_peace();
  assert_int_equal(world.violations, 0);
  end_seed();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_late_calls),    cmocka_unit_test(test_times),
      cmocka_unit_test(test_redis_away),    cmocka_unit_test(test_small_steps),
      cmocka_unit_test(test_calm_upgrades), cmocka_unit_test(test_upgrades),
      cmocka_unit_test(test_seeds),         cmocka_unit_test(test_each_rule_is_needed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
