#pragma once

/* What goes wrong in a seed, when, and what has to be true meanwhile and at the end. */

#include "sim_hosts.h"

enum {
  TROUBLE = 300000,
  UP_WITHIN = 30000,
  PEACE = 60000,
  SAVES = 10,
  SAVE_EVERY = 2000,
  CHANGE_WITHIN = 180000, /* of the number of shards, behind the last fault */
};

static struct {
  tg_ms until, next_fault, last_fault, redis_at, thaw_at, bot_at, saved_at;
  int saves;
  tg_ms rarely;             /* a fault comes */
  tg_ms change_at, back_at; /* of the number of shards: it begins, it is taken back; 0: not */
  int begun, taken_back;
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
  } else if (what == 'u' && !host->stopped && !host->rests_till) {
    trace("host %d is to be another program", number_of(host));
    tg_cluster_rest(host->cluster, true);
    host->rests_till = world.now + 30000;
    host->handed_at = 0;
    host->comes_back = false;
    if (plan.last_fault < host->rests_till + 20000)
      plan.last_fault = host->rests_till + 20000;
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
  world.redis_lost = world.redis_lost || what <= 2;
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
    world.places[chance(world.changes ? PLACES : SHARDS)].alive = false;
  if (plan.last_fault < world.now)
    plan.last_fault = world.now;
}

/* A host is killed, sleeps (SIGSTOP), is parted from Redis, or drains; Redis ends, or freezes, or its clock
 * is set (or by little); the bot is down; the wall clock of a host is set; sessions are lost. 'u': another
 * program takes the place of a host's, soon or late, and perhaps falls over. */
#define ALL_FAULTS "kkkkzzppdrrfcbwl"

static void begin_fault(void)
{
  char what = plan.faults[chance((int)strlen(plan.faults))];
  if (strchr("kzpdu", what)) {
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
    if (host->alive && host->execs)
      be_succeeded(host);
  }
  if (host->alive)
    step_succession(host);
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
  plan.next_fault = world.now + (chance(3) ? between(3000, plan.rarely) : between(100, 2000));
  begin_fault();
}

/* ---- the judge ---- */

/* The lease that a host has of that shard, one of those that there are after a change. */
static tg_ms lease_of(int host, int shard)
{
  int number = hosts[host].changed ? shard : shard % SHARDS;
  return hosts[host].alive ? tg_cluster_lease_until(hosts[host].cluster, number) : 0;
}

static void check_holders(void)
{
  for (int i = 0; i < (world.changes ? NEW_SHARDS : SHARDS); i++) {
    int holders = 0;
    for (int h = 0; h < HOSTS; h++) { /* also those that are stopped: their clocks run */
      tg_ms until = lease_of(h, i);
      holders += until != TG_LEASE_OPEN && until > 0 && clock_of(&hosts[h]) < until;
    }
    if (holders > 1)
      violation("shard %d has %d holders", i, holders);
  }
}

static bool all_changed(void)
{
  for (int h = 0; h < HOSTS; h++)
    if (hosts[h].alive && !hosts[h].changed)
      return false;
  return true;
}

static int count_up(void)
{
  int up = 0, first = all_changed() ? SHARDS : 0, end = all_changed() ? PLACES : SHARDS;
  for (int i = first; i < end; i++) {
    for (int h = 0; h < HOSTS; h++) {
      if (!hosts[h].alive || hosts[h].shards[i].phase != UP)
        continue;
      tg_ms until = tg_cluster_lease_until(hosts[h].cluster, told(&hosts[h], i));
      up += until != TG_LEASE_OPEN && clock_of(&hosts[h]) < until;
    }
  }
  return up;
}

static int count_shards(void)
{
  return all_changed() ? NEW_SHARDS : SHARDS;
}

static void check_peace(void)
{
  for (int h = 0; h < HOSTS; h++) {
    struct tg_cluster_view view;
    tg_cluster_view(hosts[h].cluster, &view);
    if (view.held != count_shards() / HOSTS)
      violation("host %d has %d shards at the end", h, view.held);
    if (view.holes)
      violation("host %d has %d holes at the end", h, view.holes);
    for (int i = 0; i < PLACES; i++)
      if (hosts[h].shards[i].left_fence)
        violation("host %d has still something of place %d", h, i);
  }
  check_all_delivered();
}

/* ---- a change of the number of shards ---- */

/* As a manager has it done; true: Redis has. */
static bool call_for_people(const char *name, int host)
{
  char body[200];
  if (!world.redis_up || world.redis_frozen)
    return false;
  snprintf(body, sizeof body, "{\"run\":\"run-%d\",\"mark\":0,\"host\":\"host-%d\",\"to\":%d,\"reserve\":%d}",
           world.redis_run, host, NEW_SHARDS, RESERVE);
  char *answer = redis_run(name, body, redis_clock());
  bool done = strstr(answer, "refused") == NULL;
  if (done)
    trace("%s: %s", name, answer);
  free(answer);
  return done;
}

static bool any_changes(void)
{
  for (int h = 0; h < HOSTS; h++)
    if (hosts[h].change || (hosts[h].alive && hosts[h].changed))
      return true;
  return false;
}

static void step_change(void)
{
  if (plan.back_at && world.now >= plan.back_at) {
    plan.back_at = 0;
    plan.taken_back += call_for_people("abort", 0);
    plan.change_at = world.now + between(1000, 20000);
  }
  if (!plan.change_at || world.now < plan.change_at)
    return;
  plan.change_at = world.now + 500;
  for (int h = 0; h < HOSTS && !any_changes(); h++) {
    if (!call_for_people("reshard", h))
      continue;
    plan.begun++;
    if (chance(4) == 0)
      plan.back_at = world.now + between(500, 60000);
  }
}

static void turn(void)
{
  world.now += STEP;
  step_faults();
  if (world.changes)
    step_change();
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
  plan.rarely = 20000;
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

/* ---- without faults ---- */

static void begin_calm(uint64_t seed, const char *script)
{
  begin_seed(seed, script, "w", TROUBLE);
  plan.next_fault = INT64_MAX;
  for (int i = 0; i < HOSTS; i++)
    hosts[i].born_at = world.now;
}

/* Until all are up, or the time is over; returns how long it took. */
static tg_ms run_until_up(tg_ms most)
{
  tg_ms began = world.now;
  do
    turn();
  while (world.now - began < most && count_up() < count_shards() && !world.violations);
  return world.now - began;
}

static void run_for(tg_ms time)
{
  for (tg_ms until = world.now + time; world.now < until;)
    turn();
}

/* ---- the same without a rule ---- */

struct mutation {
  const char *rule, *without, *with;
  const char *faults; /* for which the rule is made */
  const char *breaks; /* what a violation then says */
};

/* The script without it; the caller's to free. */
static char *replaced(const char *text, const struct mutation *mutation)
{
  const char *at = strstr(text, mutation->without);
  struct tg_buf changed = {0};
  if (!at || strstr(at + 1, mutation->without)) {
    fprintf(stderr, "%s: the script has \"%s\" not once\n", mutation->rule, mutation->without);
    abort();
  }
  tg_buf_append(&changed, text, (size_t)(at - text));
  tg_buf_puts(&changed, mutation->with);
  tg_buf_puts(&changed, at + strlen(mutation->without));
  return tg_buf_take(&changed);
}
