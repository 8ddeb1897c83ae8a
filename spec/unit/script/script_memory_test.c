/* What happens when a script's memory nears script.memory: handlers wait, the
 * state is replaced, what takes the memory is switched off. */

#include "script_world.h"

#include "shared/stats.h"

/* 4 MiB, and something that keeps about 100 KB a call. */
#define SMALL                                                                                                \
  HEAD "gateway.configure { script = { memory = 4 * 1024 * 1024, inline_budget = 2000, "                     \
       "slice_budget = 2000 } }\n"                                                                           \
       "local kept = {}\n"                                                                                   \
       "local function leak() for i = 1, 1000 do kept[#kept + 1] = { i } end end\n"

static int count_log(const char *words)
{
  int count = 0;
  for (const char *at = logged(); (at = strstr(at, words)); at++)
    count++;
  return count;
}

static uint64_t renewed(void)
{
  return atomic_load(&tg_stats()->lua_renewed);
}

static uint8_t want(struct tg_script *script, const char *name)
{
  return tg_script_hooks(script)->want[tg_event_type(name, strlen(name))];
}

static enum tg_verdict filter_typing(struct tg_script *script)
{
  struct tg_event event = make_event("TYPING_START", 1, 1, "{}");
  if (want(script, "TYPING_START") & TG_WANT_DROP)
    return TG_DROP;
  return want(script, "TYPING_START") & TG_WANT_FILTER ? run_filter(script, &event) : TG_PASS;
}

static void dispatch_message(struct tg_script *script, uint64_t sequence)
{
  struct tg_event event = make_event("MESSAGE_CREATE", 1, sequence, "{}");
  dispatch(script, &event);
}

/* Turns the loop, with an event each time. */
#define LEAK_UNTIL(condition, leak)                                                                          \
  for (tg_ms give_up = tg_now() + 20000; !(condition);) {                                                    \
    assert_true(tg_now() < give_up);                                                                         \
    leak;                                                                                                    \
    uv_run(&world_loop, UV_RUN_NOWAIT);                                                                      \
  }

static void a_filter_that_leaks_is_switched_off_in_the_end(void **state)
{
  (void)state;
  struct tg_script *script = load(SMALL "gateway.filter('TYPING_START', function() leak() return false end)\n"
                                        "gateway.filter('PRESENCE_UPDATE', false)\n"
                                        "gateway.on('MESSAGE_CREATE', function() end)\n"
                                        "gateway.on('load', function() gateway.log.info 'loaded anew' end)\n"
                                        "gateway.on('unload', function() gateway.log.info 'unloaded' end)\n"
                                        "gateway.spawn(function() local _, e = gateway.sleep(60000) "
                                        "gateway.log.info('sleep: %s', e.code) end)\n");
  const struct tg_config *config = tg_script_config(script);
  uv_run(&world_loop, UV_RUN_NOWAIT);
  uint64_t before = renewed();
  LEAK_UNTIL(renewed() == before + 1, filter_typing(script));
  assert_contains(logged(), "of 4.0 MiB (script.memory)");
  assert_contains(logged(), "In use by: gateway.filter (bot.lua:5)");
  assert_contains(logged(), "sleep: cancelled");
  assert_int_equal(count_log("unloaded"), 1);
  assert_int_equal(count_log("loaded anew"), 2);
  assert_ptr_equal(tg_script_config(script), config);
  assert_int_equal(tg_script_generation(script), 1);
  assert_int_equal(filter_typing(script), TG_DROP);
  assert_true(want(script, "MESSAGE_CREATE") & TG_WANT_HANDLER);

  LEAK_UNTIL(renewed() == before + 3, filter_typing(script));
  assert_contains(logged(), "until the next reload it runs without handlers of gateway.on, filters that are "
                            "functions (their events pass); events are delivered all the same");
  assert_int_equal(want(script, "TYPING_START"), 0);
  assert_int_equal(want(script, "MESSAGE_CREATE"), 0);
  assert_int_equal(want(script, "PRESENCE_UPDATE"), TG_WANT_DROP);
  assert_int_equal(__builtin_popcount(atomic_load(&tg_stats()->lua_off)), 2);

  char *problem = NULL;
  assert_true(tg_script_prepare(script, &problem));
  tg_script_commit(script, 2);
  assert_int_equal(want(script, "TYPING_START"), TG_WANT_FILTER);
  assert_int_equal(want(script, "MESSAGE_CREATE"), TG_WANT_HANDLER);
  assert_int_equal(atomic_load(&tg_stats()->lua_off), 0);
  tg_script_free(script);
}

/* One after the other, what is left of it goes. */
static void a_script_that_always_comes_back_runs_not_at_all(void **state)
{
  (void)state;
  struct tg_script *script = load(SMALL "gateway.on('hello', leak)\n"
                                        "gateway.every(1, function() leak() end)\n"
                                        "function gateway.shard:heartbeat(i) end\n");
  uint64_t before = renewed();
  struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_int(1)};
  LEAK_UNTIL(renewed() == before + 3, (void)0);
  assert_contains(logged(), "it runs without handlers of gateway.on, timers and gateway.spawn;");
  assert_true(tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL));
  LEAK_UNTIL(renewed() == before + 4, tg_hook_life(tg_script_hooks(script), TG_LIFE_hello, NULL, NULL));
  assert_contains(logged(), "In use by: gateway.on (bot.lua:5)");
  assert_contains(logged(), "methods of gateway.shard (the defaults run)");
  assert_false(tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL));
  tg_script_free(script);
}

/* Handlers that leak grow no further once they do not start any more. */
static void a_handler_that_leaks_is_found_by_those_who_wait(void **state)
{
  (void)state;
  struct tg_script *script = load(SMALL "gateway.on('MESSAGE_CREATE', function()\n"
                                        "  leak()\n"
                                        "  gateway.state.runs = (gateway.state.runs or 0) + 1\n"
                                        "end)\n"
                                        "gateway.on('ready', function() gateway.log.info('runs: %d.', "
                                        "gateway.state.runs) end)\n");
  uint64_t before = renewed(), sequence = 0, skipped = atomic_load(&tg_stats()->lua_skipped);
  LEAK_UNTIL(renewed() == before + 1,
             if (atomic_load(&tg_stats()->lua_waiting) < 10) dispatch_message(script, ++sequence));
  TURN_UNTIL(atomic_load(&tg_stats()->lua_waiting) == 0);
  assert_contains(logged(), "In use by: gateway.on (bot.lua:5)");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  char words[32]; /* what waited was handed to the fresh state */
  snprintf(words, sizeof words, "runs: %d.", (int)sequence);
  assert_contains(logged(), words);
  assert_int_equal(atomic_load(&tg_stats()->lua_skipped), skipped);
  tg_script_free(script);
}

/* Those that wait hold the memory: the others have their turn when they end. */
static void handlers_wait_for_those_that_hold_the_memory(void **state)
{
  (void)state;
  struct tg_script *script =
      load(SMALL "local order = ''\n"
                 "gateway.on('MESSAGE_CREATE', function(event)\n"
                 "  local mine = {}\n"
                 "  for i = 1, 3000 do mine[i] = { i } end\n"
                 "  gateway.sleep(event.sequence < 20 and 100 or 1)\n"
                 "  order = order .. event.sequence .. ' '\n"
                 "  if event.sequence == 100 then gateway.log.info('all %d', #mine) end\n"
                 "end)\n");
  uint64_t before = renewed();
  for (uint64_t i = 1; i <= 100; i++)
    dispatch_message(script, i);
  assert_true(atomic_load(&tg_stats()->lua_waiting) > 50);
  assert_true(atomic_load(&tg_stats()->lua_memory) < 4 * 1024 * 1024);
  TURN_UNTIL(strstr(logged(), "all 3000"));
  assert_int_equal(atomic_load(&tg_stats()->lua_waiting), 0);
  assert_int_equal(renewed(), before);
  tg_script_free(script);
}

/* Garbage alone never has a state replaced. */
static void garbage_is_collected_meanwhile(void **state)
{
  (void)state;
  struct tg_script *script = load(
      SMALL
      "for i = 1, 18 do leak() end\n" /* 1.9 of the 4 MiB stay */
      "gateway.on('MESSAGE_CREATE', function(event)\n"
      "  local t = {} for i = 1, 5000 do t[i] = { i } end\n"
      "  if event.sequence == 300 then gateway.log.info 'all are handled' end\n"
      "end)\n"
      "gateway.filter('MESSAGE_CREATE', function() local t = {} for i = 1, 500 do t[i] = { i } end end)\n");
  uint64_t before = renewed();
  for (uint64_t i = 1; i <= 300; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, i, "{}");
    assert_int_equal(run_filter(script, &event), TG_PASS);
    dispatch_message(script, i);
    if (i % 10 == 0)
      uv_run(&world_loop, UV_RUN_NOWAIT);
  }
  TURN_UNTIL(strstr(logged(), "all are handled"));
  assert_int_equal(renewed(), before);
  assert_not_contains(logged(), "failed");
  tg_script_free(script);
}

static void values_of_gateway_state_come_along(void **state)
{
  (void)state;
  struct tg_script *script =
      load(SMALL "gateway.state.count = (gateway.state.count or 0) + 1\n"
                 "gateway.on('ready', function()\n"
                 "  gateway.log.info('loads: %d, last: %s', gateway.state.count,\n"
                 "    tostring(gateway.state.last)) end)\n"
                 "gateway.on('hello', leak)\n"
                 "gateway.on('unload', function() gateway.state.last = 'words' end)\n");
  uint64_t before = renewed();
  LEAK_UNTIL(renewed() == before + 1, tg_hook_life(tg_script_hooks(script), TG_LIFE_hello, NULL, NULL));
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  assert_contains(logged(), "loads: 2, last: words");
  tg_script_free(script);
}

static void what_is_too_large_in_gateway_state_does_not(void **state)
{
  (void)state;
  struct tg_script *script =
      load(SMALL "gateway.on('ready', function() gateway.log.info('holds %d', #gateway.state) end)\n"
                 "gateway.on('hello', function() local s = gateway.state for i = 1, 1000 do s[#s + 1] = { i "
                 "} end end)\n");
  uint64_t before = renewed();
  LEAK_UNTIL(renewed() == before + 1, tg_hook_life(tg_script_hooks(script), TG_LIFE_hello, NULL, NULL));
  assert_contains(logged(), "gateway.state is larger than a quarter of script.memory: the fresh state begins "
                            "with an empty one");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  assert_contains(logged(), "holds 0");
  tg_script_free(script);
}

/* Its files are those of its generation, whatever is on disk now. */
static void the_fresh_state_is_of_the_same_generation(void **state)
{
  (void)state;
  write_file("words.lua", "return 'of then'\n");
  struct tg_script *script =
      load(SMALL "local words = require 'words'\n"
                 "gateway.on('ready', function() gateway.log.info('words %s', words) end)\n"
                 "gateway.on('hello', leak)\n");
  write_file("words.lua", "return 'of now'\n");
  write_file("bot.lua", "this is not Lua\n");
  uint64_t before = renewed();
  LEAK_UNTIL(renewed() == before + 1, tg_hook_life(tg_script_hooks(script), TG_LIFE_hello, NULL, NULL));
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  assert_contains(logged(), "words of then");
  tg_script_free(script);
}

static void a_script_that_does_not_load_anew_rests(void **state)
{
  (void)state;
  struct tg_script *script = load(SMALL "assert(not io.open 'broken', 'it is broken')\n"
                                        "gateway.filter('PRESENCE_UPDATE', false)\n"
                                        "gateway.every(1, function() gateway.log.info 'tick' end)\n"
                                        "gateway.filter('TYPING_START', leak)\n");
  write_file("broken", "");
  LEAK_UNTIL(strstr(logged(), "does not load anew"), filter_typing(script));
  assert_contains(logged(), "it is broken");
  assert_contains(logged(), "it runs without handlers of gateway.on, life-cycle handlers");
  assert_int_equal(want(script, "TYPING_START"), 0);
  assert_int_equal(want(script, "PRESENCE_UPDATE"), TG_WANT_DROP);
  int ticks = count_log("tick");
  for (tg_ms until = tg_now() + 20; tg_now() < until;)
    uv_run(&world_loop, UV_RUN_NOWAIT);
  assert_int_equal(count_log("tick"), ticks);
  remove("broken");
  char *problem = NULL;
  assert_true(tg_script_prepare(script, &problem));
  tg_script_commit(script, 2);
  assert_int_equal(want(script, "TYPING_START"), TG_WANT_FILTER);
  tg_script_free(script);
}

/* By the n-th handler of the type: lines move when a file is edited. */
static void a_reload_hands_over_what_waits(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "gateway.on('MESSAGE_CREATE', function() gateway.sleep(60000) end, "
                                       "{ concurrency = 1 })\n"
                                       "gateway.on('MESSAGE_CREATE', function() gateway.sleep(60000) end, "
                                       "{ ordered = 'shard' })\n"
                                       "gateway.on('TYPING_START', function() gateway.sleep(60000) end, "
                                       "{ concurrency = 1 })\n");
  for (uint64_t i = 1; i <= 3; i++) {
    dispatch_message(script, i);
    struct tg_event event = make_event("TYPING_START", 1, i, "{}");
    dispatch(script, &event);
  }
  assert_int_equal(atomic_load(&tg_stats()->lua_waiting), 6);
  write_file("bot.lua",
             HEAD "\n\n"
                  "gateway.on('MESSAGE_CREATE', function(e) gateway.log.info('first %d', e.sequence) end)\n"
                  "gateway.on('MESSAGE_CREATE', function(e) gateway.log.info('second %d', e.sequence) end,"
                  "{ ordered = 'guild' })\n");
  char *problem = NULL;
  assert_true(tg_script_prepare(script, &problem));
  tg_script_commit(script, 2);
  assert_contains(logged(), "are not handed to them; their delivery is not affected events=2");
  TURN_UNTIL(atomic_load(&tg_stats()->lua_waiting) == 0);
  assert_int_equal(count_log("first 1") + count_log("second 1"), 0);
  for (int i = 2; i <= 3; i++) {
    char words[32];
    snprintf(words, sizeof words, "first %d", i);
    assert_int_equal(count_log(words), 1);
    snprintf(words, sizeof words, "second %d", i);
    assert_int_equal(count_log(words), 1);
  }
  tg_script_free(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(a_filter_that_leaks_is_switched_off_in_the_end),
      WORLD_TEST(a_script_that_always_comes_back_runs_not_at_all),
      WORLD_TEST(a_handler_that_leaks_is_found_by_those_who_wait),
      WORLD_TEST(handlers_wait_for_those_that_hold_the_memory),
      WORLD_TEST(garbage_is_collected_meanwhile),
      WORLD_TEST(values_of_gateway_state_come_along),
      WORLD_TEST(what_is_too_large_in_gateway_state_does_not),
      WORLD_TEST(the_fresh_state_is_of_the_same_generation),
      WORLD_TEST(a_script_that_does_not_load_anew_rests),
      WORLD_TEST(a_reload_hands_over_what_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
