/* Three hosts of a cluster that go over from 24 shards to 48, played as in cluster_sim_test.c, with all its
 * faults: each event that a host has received is delivered, and by one of the two sets of shards alone.
 *
 * TG_CLUSTER_SEEDS, TG_CLUSTER_FIRST, TG_CLUSTER_TRACE and TG_CLUSTER_CALLS are told there. */

#include "sim_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

enum {
  SECONDS = 2, /* of CPU, for seeds */
  TROUBLE_MEANWHILE = 120000,
  NEW_UP_WITHIN = 45000, /* twice as many shards have to identify, by as many buckets */
};

static void begin_change_seed(uint64_t seed, const char *script, const char *faults)
{
  begin_seed(seed, script, faults, 25000);
  world.changes = true;
  plan.change_at = world.now + between(25000, 35000);
  plan.until = plan.last_fault = plan.change_at + TROUBLE_MEANWHILE;
  plan.rarely = 9000;
  plan.next_fault = plan.change_at;
}

/* Until the first violation, or the end. Returns how long the change took from the last fault on. */
static tg_ms run_change(uint64_t seed, const char *script, const char *faults)
{
  tg_ms changed_at = 0, up_at = 0;
  begin_change_seed(seed, script, faults);
  while (!world.violations && (!changed_at || world.now <= changed_at + PEACE)) {
    turn();
    if (world.now <= plan.last_fault || !plan.begun)
      continue;
    if (!changed_at && all_changed())
      changed_at = world.now;
    if (!changed_at && world.now > plan.last_fault + CHANGE_WITHIN)
      violation("the change has not come to its end");
    if (changed_at && !up_at && count_up() == NEW_SHARDS)
      up_at = world.now;
    if (changed_at && !up_at && world.now > changed_at + NEW_UP_WITHIN)
      violation("%d of %d new shards are up", count_up(), NEW_SHARDS);
  }
  if (!world.violations)
    check_peace();
  end_seed();
  return changed_at - plan.last_fault;
}

static void test_seeds(void **state)
{
  (void)state;
  const char *seeds = getenv("TG_CLUSTER_SEEDS"), *first = getenv("TG_CLUSTER_FIRST");
  uint64_t count = seeds ? strtoull(seeds, NULL, 10) : getenv("TG_SPEC_LONG") ? 500 : 0;
  uint64_t from = first ? strtoull(first, NULL, 10) : 1, seed = from;
  clock_t until = clock() + SECONDS * CLOCKS_PER_SEC;
  int failed = 0, identifies = 0, begun = 0, taken_back = 0, lost = 0;
  tg_ms slowest = 0;
  world.trace = getenv("TG_CLUSTER_TRACE") != NULL;
  for (; count ? seed < from + count : clock() < until; seed++) {
    tg_ms took = run_change(seed, tg_cluster_script, seed % 4 == 0 ? "kkkkzpl" : ALL_FAULTS);
    if (world.violations) {
      print_message("seed %d: %s\n", (int)seed, world.first_violation);
      failed++;
    }
    identifies += world.identifies;
    begun += plan.begun;
    taken_back += plan.taken_back;
    lost += world.lost_leases;
    slowest = took > slowest ? took : slowest;
  }
  world.trace = false;
  print_message(
      "%d seeds: %d changes begun, %d taken back, %d identifies, %d leases lost; at the end %lld ms "
      "after the last fault\n",
      (int)(seed - from), begun, taken_back, identifies, lost, (long long)slowest);
  assert_int_equal(failed, 0);
  assert_true(seed - from < 8 || (taken_back > 0 && lost > 0));
}

/* ---- how long it takes ---- */

static void begin_with_change(uint64_t seed, const char *script)
{
  begin_calm(seed, script);
  world.changes = true;
  run_until_up(120000);
  run_for(5000);
  plan.change_at = world.now;
  for (int i = 0; i < 100 && !plan.begun; i++)
    run_for(100);
  plan.change_at = plan.back_at = 0;
}

static bool any_switched(void)
{
  for (int h = 0; h < HOSTS; h++)
    for (int i = 0; i < SHARDS && hosts[h].alive; i++)
      if (hosts[h].classes[i].step >= TG_CLASS_STEP_SWITCHED)
        return true;
  return false;
}

static tg_ms run_until(bool (*is_so)(void), tg_ms most)
{
  tg_ms began = world.now;
  while (world.now - began < most && !is_so() && !world.violations)
    turn();
  return world.now - began;
}

static void test_times(void **state)
{
  (void)state;
  for (int death = 0; death < 3; death++) { /* of no host, before the first class has switched, behind it */
    begin_with_change(1, tg_cluster_script);
    int before = world.identifies;
    tg_ms began = world.now;
    if (death == 1)
      run_for(5000);
    else if (death == 2)
      run_until(any_switched, 120000);
    if (death > 0) {
      die(&hosts[1], false);
      hosts[1].born_at = world.now + 30000;
    }
    run_until(all_changed, 240000);
    print_message("%s: 48 shards after %lld ms, by %d identifies\n",
                  death == 0   ? "in peace"
                  : death == 1 ? "a host dies before classes switch"
                               : "a host dies behind the first switch",
                  (long long)(world.now - began), world.identifies - before);
    assert_true(all_changed());
    run_until_up(30000);
    run_for(30000);
    check_peace();
    if (world.violations)
      fail_msg("%s", world.first_violation);
    end_seed();
  }
}

/* ---- rules ---- */

static bool none_changes(void)
{
  for (int h = 0; h < HOSTS; h++)
    if (hosts[h].change)
      return false;
  return true;
}

static void lose_redis(int slot)
{
  world.redis_up = false;
  plan.redis_at = INT64_MAX;
  run_for(1000);
  world.redis_up = world.redis_lost = true;
  world.redis_run++;
  redis_do(slot < 0 ? "sim_empty" : "sim_restore", slot);
  run_for(30000);
}

/* Whether hosts have something that Redis has lost: the end of a change, that one was taken back, that one
 * goes on. */
static bool is_remembered(const char *script, int what)
{
  begin_with_change(2, script);
  run_for(8000);
  redis_do("sim_save", SAVES);
  if (what == 0)
    run_until(all_changed, 240000);
  else if (what == 1)
    call_for_people("abort", 0);
  run_for(3000);
  lose_redis(what == 2 ? -1 : SAVES);
  if (what == 2)
    run_until(all_changed, 240000);
  run_until_up(30000);
  if (!world.violations)
    check_peace();
  bool changed = all_changed(), well = !world.violations && none_changes() && changed == (what != 1);
  end_seed();
  return well;
}

static void test_hosts_remember(void **state)
{
  (void)state;
  static const struct mutation rules[] = {
      {"hosts remember the end of a change", "(given.done or 0) > (tonumber(c.done) or 0)", "false", "", ""},
      {"hosts remember one that was taken back", "(given.ended or 0) > (tonumber(c.ended) or 0)", "false", "",
       ""},
      {"hosts remember one that goes on", "if quiet > 0 and next_total == 0 and given.change", "if false", "",
       ""},
  };
  for (int i = 0; i < 3; i++) {
    char *script = replaced(tg_cluster_script, &rules[i]);
    if (!is_remembered(tg_cluster_script, i))
      fail_msg("%s: not so; %s", rules[i].rule, world.first_violation);
    if (is_remembered(script, i))
      fail_msg("nothing fails without \"%s\"", rules[i].rule);
    free(script);
  }
}

static bool ends_well(void)
{
  run_until(all_changed, 240000);
  run_until_up(30000);
  run_for(30000);
  if (!world.violations)
    check_peace();
  bool well = !world.violations && all_changed();
  end_seed();
  return well;
}

static int count_steps(int host, enum tg_class_step step, bool here)
{
  int count = 0;
  for (int i = 0; i < SHARDS; i++)
    count += hosts[host].classes[i].step >= step && hosts[host].classes[i].switched == here;
  return count;
}

static bool one_has_switched(void)
{
  return count_steps(1, TG_CLASS_STEP_SWITCHED, true) > 0;
}

/* The host that is stopped delivers nothing more of it, and others go on with its new shards. */
static bool survives_stop_behind_switch(const char *script)
{
  begin_with_change(1, script);
  run_until(one_has_switched, 120000);
  run_for(1000); /* something is delivered by the new ones */
  hosts[1].stopped = true;
  hosts[1].runs_at = world.now + 20000;
  return ends_well();
}

static bool all_are_up(void)
{
  return count_steps(1, TG_CLASS_STEP_UP, false) == SHARDS / HOSTS;
}

/* It has switched for itself alone, as the bot takes nothing: others go on with its old shards. */
static bool survives_stop_before_it_is_known(const char *script)
{
  begin_with_change(1, script);
  run_until(all_are_up, 120000);
  world.bot_up = false;
  plan.bot_at = world.now + 25000;
  run_for(15000);
  hosts[1].stopped = true;
  hosts[1].runs_at = world.now + 20000;
  return ends_well();
}

/* Redis loses that a class has switched, and the host dies before it can say it again. Others begin anew, as
 * the old sessions are lost, too: what the dead one had not delivered, nobody else has. */
static bool survives_switch_that_is_forgotten(const char *script)
{
  begin_with_change(1, script);
  run_until(one_has_switched, 120000);
  run_for(1000);
  world.bot_up = false;
  plan.bot_at = world.now + 25000;
  run_for(3000);
  world.redis_up = false;
  plan.redis_at = INT64_MAX;
  run_for(1000);
  world.redis_up = world.redis_lost = true;
  world.redis_run++;
  redis_do("sim_empty", 0);
  run_for(3000);
  for (int i = 0; i < SHARDS; i++)
    if (hosts[1].classes[i].published)
      world.places[i].alive = false;
  die(&hosts[1], false);
  hosts[1].born_at = world.now + 20000;
  return ends_well();
}

static void test_each_rule_is_needed(void **state)
{
  (void)state;
  static const struct mutation rules[] = {
      {"what has switched goes on so", "local has_switched = class_step(shard) >= SWITCHED",
       "local has_switched = false", "", "too"},
      {"what began anew is not owed", "if giver ~= '' then write_owed(next_total",
       "if false then write_owed(next_total", "", "too"},
      {"what had switched is not void", "known.epoch == END and it.published", "false", "", "not delivered"},
  };
  static bool (*const survives[])(const char *script) = {
      survives_stop_behind_switch, survives_stop_before_it_is_known, survives_switch_that_is_forgotten};
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
    char *script = replaced(tg_cluster_script, &rules[i]);
    if (!survives[i](tg_cluster_script))
      fail_msg("%s: not so; %s", rules[i].rule, world.first_violation);
    if (survives[i](script) || !strstr(world.first_violation, rules[i].breaks))
      fail_msg("nothing fails without \"%s\"; %s", rules[i].rule, world.first_violation);
    print_message("without \"%s\": %s\n", rules[i].rule, world.first_violation);
    free(script);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_times),
      cmocka_unit_test(test_hosts_remember),
      cmocka_unit_test(test_seeds),
      cmocka_unit_test(test_each_rule_is_needed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
