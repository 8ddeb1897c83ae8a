/* Three hosts of a cluster with their Redis, played: the real script, the real cluster.c, clocks of truth, of
 * Redis and of each host that have nothing in common, a network that delays and loses, deaths, stops,
 * partitions, a Redis that is away, frozen, comes back with what it had, less, or nothing, or as another one.
 * Discord and a judge who sees all say what must not be.
 *
 * TG_CLUSTER_SEEDS=500 plays so many (scripts/test --long does), TG_CLUSTER_FIRST=N from that one,
 * TG_CLUSTER_TRACE=1 tells what happens, TG_CLUSTER_CALLS=1 with it all calls. */

#include "sim_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

enum {
  TROUBLE = 300000,
  UP_WITHIN = 30000,
  PEACE = 60000,
  SAVES = 10,
  SAVE_EVERY = 2000,
  SECONDS = 2 /* of CPU, for seeds */
};

static struct {
  tg_ms until, next_fault, last_fault, redis_at, thaw_at, bot_at, saved_at;
  int saves;
  const char *faults; /* letters of those that happen: see begin_fault() */
  int slowest_up;
} plan;

static void lasts(tg_ms *until, tg_ms most)
{
  *until = world.now + (chance(2) ? between(100, 3000) : between(100, most));
  if (*until > plan.last_fault)
    plan.last_fault = *until;
}

/* ---- faults ---- */

static void hit_host(char what)
{
  struct sim_host *host = &hosts[chance(HOSTS)];
  if (!host->alive)
    return;
  if (what == 'k') {
    die(host, chance(6) == 0);
    lasts(&host->born_at, 20000);
  } else if (what == 'z' && !host->stopped) {
    trace("host %d is stopped", number_of(host));
    host->stopped = true;
    lasts(&host->runs_at, 20000);
  } else if (what == 'p' && !host->partitioned) {
    trace("host %d is parted from Redis", number_of(host));
    host->partitioned = true;
    lasts(&host->joined_again_at, 25000);
  } else if (what == 'd' && !host->draining) {
    trace("host %d drains", number_of(host));
    host->draining = true;
    tg_cluster_drain(host->cluster, chance(2));
    lasts(&host->born_at, 20000);
  }
}

static void end_redis(void)
{
  trace("Redis ends");
  world.redis_up = world.redis_frozen = false;
  lasts(&plan.redis_at, chance(4) ? 8000 : 40000);
}

static void begin_redis(void)
{
  int what = chance(5);
  world.redis_up = true;
  world.redis_run++;
  if (what == 0)
    redis_do("sim_empty", 0);
  else if (what <=
           2) /* older data, by up to 20 s; or a replica that lacks the last writes, and has another clock */
    redis_do("sim_restore", (plan.saves - (what == 1 ? chance(SAVES) : 0) + SAVES) % SAVES);
  if (what == 2)
    world.redis_offset += between(-5000, 5000);
  trace("Redis is back, %s", what == 0 ? "empty" : what == 1 ? "older" : what == 2 ? "another" : "with all");
}

static void step_clock_of_redis(void)
{
  tg_ms by = chance(2) ? between(1600, 10000) : between(1600, 3600000);
  if (strchr(plan.faults, 's')) /* below what a script can see */
    by = between(100, 1400);
  world.redis_offset += chance(2) ? by : -by;
  trace("the clock of Redis is set by %lld", (long long)by);
  if (plan.last_fault < world.now)
    plan.last_fault = world.now;
}

static void lose_sessions(void)
{
  int count = 1 + chance(6);
  trace("%d sessions are lost", count);
  for (int i = 0; i < count; i++)
    world.places[chance(SHARDS)].alive = false;
  if (plan.last_fault < world.now)
    plan.last_fault = world.now;
}

/* A host is killed, sleeps (SIGSTOP), is parted from Redis, or drains; Redis ends, or freezes, or its clock
 * is set (or by little); the bot is down; the wall clock of a host is set; sessions are lost. */
#define ALL_FAULTS "kkkkzzppdrrfcbwl"

static void begin_fault(void)
{
  char what = plan.faults[chance((int)strlen(plan.faults))];
  if (strchr("kzpd", what)) {
    hit_host(what);
  } else if (what == 'r' && world.redis_up) {
    end_redis();
  } else if (what == 'f' && world.redis_up && !world.redis_frozen) {
    trace("Redis is frozen");
    world.redis_frozen = true;
    lasts(&plan.thaw_at, 12000);
  } else if (what == 'c' || what == 's') {
    step_clock_of_redis();
  } else if (what == 'b' && world.bot_up) {
    trace("the bot is down");
    world.bot_up = false;
    lasts(&plan.bot_at, 90000);
  } else if (what == 'w') {
    hosts[chance(HOSTS)].wall_offset += between(-30000, 30000);
  } else if (what == 'l') {
    lose_sessions();
  }
}

static void end_host_faults(struct sim_host *host)
{
  if (!host->alive && world.now >= host->born_at)
    be_born(host);
  if (host->stopped && world.now >= host->runs_at) {
    trace("host %d goes on", number_of(host));
    host->stopped = false;
  }
  if (host->partitioned && world.now >= host->joined_again_at) {
    trace("host %d reaches Redis again", number_of(host));
    host->partitioned = false;
  }
  struct tg_cluster_view view = {0};
  if (host->alive && host->draining)
    tg_cluster_view(host->cluster, &view);
  if (host->alive && host->draining && !host->stopped && (view.held == 0 || world.now >= host->born_at)) {
    die(host, false);
    host->born_at = world.now + 500;
    if (plan.last_fault < host->born_at)
      plan.last_fault = host->born_at;
  }
}

static void step_faults(void)
{
  for (int i = 0; i < HOSTS; i++)
    end_host_faults(&hosts[i]);
  if (!world.redis_up && world.now >= plan.redis_at)
    begin_redis();
  if (world.redis_frozen && world.now >= plan.thaw_at)
    world.redis_frozen = false;
  if (!world.bot_up && world.now >= plan.bot_at)
    world.bot_up = true;
  if (world.redis_up && world.now - plan.saved_at >= SAVE_EVERY) {
    plan.saved_at = world.now;
    plan.saves = (plan.saves + 1) % SAVES;
    redis_do("sim_save", plan.saves);
  }
  if (world.now < plan.next_fault || world.now > plan.until)
    return;
  plan.next_fault = world.now + (chance(3) ? between(3000, 20000) : between(100, 2000));
  begin_fault();
}

/* ---- the judge ---- */

static void check_holders(void)
{
  for (int i = 0; i < SHARDS; i++) {
    int holders = 0;
    for (int h = 0; h < HOSTS; h++) { /* also those that are stopped: their clocks run */
      if (!hosts[h].alive)
        continue;
      tg_ms until = tg_cluster_lease_until(hosts[h].cluster, i);
      holders += until != TG_LEASE_OPEN && clock_of(&hosts[h]) < until;
    }
    if (holders > 1)
      violation("shard %d has %d holders", i, holders);
  }
}

static int count_up(void)
{
  int up = 0;
  for (int i = 0; i < SHARDS; i++) {
    for (int h = 0; h < HOSTS; h++) {
      if (!hosts[h].alive || hosts[h].shards[i].phase != UP)
        continue;
      tg_ms until = tg_cluster_lease_until(hosts[h].cluster, i);
      up += until != TG_LEASE_OPEN && clock_of(&hosts[h]) < until;
    }
  }
  return up;
}

static void check_peace(void)
{
  for (int h = 0; h < HOSTS; h++) {
    struct tg_cluster_view view;
    tg_cluster_view(hosts[h].cluster, &view);
    if (view.held != SHARDS / HOSTS)
      violation("host %d has %d shards at the end", h, view.held);
    if (view.holes)
      violation("host %d has %d holes at the end", h, view.holes);
    for (int i = 0; i < SHARDS; i++)
      if (hosts[h].shards[i].left_fence)
        violation("host %d has still something of shard %d", h, i);
  }
  check_all_delivered();
}

static void turn(void)
{
  world.now += STEP;
  step_faults();
  step_discord();
  deliver_packets();
  for (int i = 0; i < HOSTS; i++)
    step_host(&hosts[i]);
  check_holders();
}

/* ---- a seed ---- */

static void begin_seed(uint64_t seed, const char *script, const char *faults, tg_ms trouble)
{
  begin_world(seed);
  memset(&plan, 0, sizeof plan);
  memset(hosts, 0, sizeof hosts);
  plan.faults = faults;
  plan.next_fault = world.now + 25000;
  plan.until = plan.last_fault = world.now + trouble;
  redis_open(script);
  for (int i = 0; i < HOSTS; i++) {
    hosts[i].offset = chance(1000000000);
    hosts[i].wall_offset = between(-5000, 5000);
    hosts[i].born_at = world.now + chance(chance(2) ? 300 : 8000);
  }
}

static void end_seed(void)
{
  for (int i = 0; i < HOSTS; i++)
    if (hosts[i].alive)
      die(&hosts[i], false);
  for (int i = 0; i < PACKETS_MAX; i++)
    if (packets[i].used)
      drop_packet(&packets[i]);
  redis_close();
}

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
    if (!all_up_at && count_up() == SHARDS)
      all_up_at = world.now;
    if (!all_up_at && !scarce && world.now > plan.last_fault + UP_WITHIN)
      violation("%d of %d shards are up %d ms after the last fault", count_up(), SHARDS, UP_WITHIN);
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

struct mutation {
  const char *rule, *without, *with;
  const char *faults; /* for which the rule is made */
  const char *breaks; /* what a violation then says */
};

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
    {"what is not sent again is a hole", "if not is_near then leave_hole", "if false then leave_hole", "bk",
     "delivered"},
    {"a lost session is a hole", "if is_lost then leave_hole", "if false then leave_hole", "bkl",
     "delivered"},
    {"sessions nobody knew are holes", "it.epoch > (known and known.epoch or 0)", "false", "rzl",
     "delivered"},
    {"nothing is void that is owed", "not owed[key] or owed[key].settled", "true", "bkl", "delivered"},
};

static char *replaced(const char *text, const struct mutation *mutation)
{
  const char *at = strstr(text, mutation->without);
  struct tg_buf changed = {0};
  if (!at || strstr(at + 1, mutation->without))
    fail_msg("%s: the script has \"%s\" not once", mutation->rule, mutation->without);
  tg_buf_append(&changed, text, (size_t)(at - text));
  tg_buf_puts(&changed, mutation->with);
  tg_buf_puts(&changed, at + strlen(mutation->without));
  return tg_buf_take(&changed);
}

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
           "{\"run\":\"run-1\",\"host\":\"host-0\",\"mark\":1,\"life\":%d,\"link\":%d,\"shard\":0,\"fence\":"
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
  static const char beat[] =
      "\"home\":\"home-0\",\"bot\":\"bot\",\"total\":1,\"digest\":\"d\",\"draining\":false,"
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

/* Until all are up, or the time is over; returns how long it took. */
static tg_ms run_until_up(tg_ms most)
{
  tg_ms began = world.now;
  do
    turn();
  while (world.now - began < most && count_up() < SHARDS && !world.violations);
  return world.now - began;
}

static void run_for(tg_ms time)
{
  for (tg_ms until = world.now + time; world.now < until;)
    turn();
}

static void begin_calm(uint64_t seed)
{
  begin_seed(seed, tg_cluster_script, "w", TROUBLE);
  plan.next_fault = INT64_MAX;
  for (int i = 0; i < HOSTS; i++)
    hosts[i].born_at = world.now;
}

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
  begin_calm(1);
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
    begin_calm(seed);
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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_late_calls), cmocka_unit_test(test_times),
      cmocka_unit_test(test_redis_away), cmocka_unit_test(test_small_steps),
      cmocka_unit_test(test_seeds),      cmocka_unit_test(test_each_rule_is_needed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
