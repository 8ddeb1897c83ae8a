/* What protects the process from a script: budgets, memory, strict globals,
 * blocking calls; and the configuration, which is checked at the same time. */

#include "script_world.h"

#include "script/vm/watchdog.h"
#include "shared/stats.h"

static bool heartbeat(struct tg_script *script)
{
  struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_int(1)};
  return tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL);
}

/* The JIT stays off: a compiled loop cannot be stopped from inside. */
static void endless_loops_are_stopped(void **state)
{
  (void)state;
  static const char *const loops[] = {
      "while true do end",
      "while true do pcall(function() while true do end end) end",
      "while true do pcall(error, 'x') end",
      "coroutine.wrap(function() while true do end end)()",
      "local t = {} while true do t[#t % 10 + 1] = #t end",
  };
  for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
    char text[512];
    snprintf(text, sizeof text,
             HEAD "jit.off()\nfunction gateway.shard:heartbeat(i)\n  if i == 1 then %s end\nend\n", loops[i]);
    struct tg_script *script = load(text);
    tg_ms start = tg_now();
    assert_false(heartbeat(script));
    assert_true(tg_now() - start < 2000);
    assert_contains(logged(), "stopped: it ran longer than its budget of 5 ms");
    struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_int(2)};
    assert_true(tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL));
    tg_script_free(script);
  }
}

static void who_looks_after_calls_rests_between_them(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "jit.off()\n"
                                       "function gateway.shard:heartbeat(i)\n"
                                       "  if i == 1 then while true do end end\n"
                                       "end\n");
  struct tg_value short_one[] = {tg_value_shard(&fake_shards[1]), tg_value_int(2)};
  for (int i = 0; i < 5; i++) {
    TURN_UNTIL(tg_watchdog_rests());
    assert_false(heartbeat(script)); /* endless, and stopped */
    TURN_UNTIL(tg_watchdog_rests());
    assert_true(tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, short_one, 2, NULL));
    assert_false(tg_watchdog_rests());
  }
  tg_script_free(script);
}

static void a_slice_of_a_coroutine_has_a_budget(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "jit.off()\n"
                "gateway.on('ready', function() gateway.sleep(1) while true do end end)\n");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  TURN_UNTIL(strstr(logged(), "budget of 50 ms"));
  assert_contains(logged(), "ready (bot.lua:3) failed; it has ended");
  tg_script_free(script);
}

#define BUSY "local function busy(ms)\n"                                                                      \
             "  local _, began = gateway.now()\n"                                                            \
             "  repeat until select(2, gateway.now()) >= began + ms\n"                                       \
             "end\n"

static int count_logged(const char *part)
{
  int count = 0;
  for (const char *at = logged(); (at = strstr(at, part)); at++)
    count++;
  return count;
}

static void a_call_that_holds_the_loop_is_told(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.configure { script = { inline_budget = 10000, slice_budget = 10000 } }\n" BUSY
                "function gateway.shard:heartbeat() busy(130) end\n"
                "gateway.on('ready', function()\n"
                "  gateway.sleep(1)\n"
                "  busy(130)\n"
                "end)\n");
  struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_int(2)};
  for (int i = 0; i < 3; i++)
    assert_true(tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL));
  assert_contains(logged(), "warn  tidegate shard 1: gateway.shard:heartbeat (bot.lua:7) held the loop for 1");
  assert_int_equal(count_logged("heartbeat (bot.lua:7) held"), 1); /* once a minute */
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  TURN_UNTIL(strstr(logged(), "ready (bot.lua:8) held the loop for 1"));
  tg_script_free(script);
}

/* All of a type run in one call. */
static void of_several_filters_the_one_that_holds_the_loop_is_told(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.configure { script = { inline_budget = 10000 } }\n" BUSY
                "gateway.filter('TYPING_START', function() end)\n"
                "gateway.filter('TYPING_START', function() busy(130) end)\n"
                "gateway.filter('TYPING_START', function() end)\n");
  struct tg_event event = make_event("TYPING_START", 1, 7, "{}");
  assert_int_equal(tg_script_hooks(script)->filter(script, &event), TG_PASS);
  assert_contains(logged(), "warn  tidegate shard 1: a filter (bot.lua:8) held the loop for 1");
  assert_int_equal(count_logged("(bot.lua:9) held the loop"), 0);
  tg_script_free(script);
}

static void loading_has_a_budget(void **state)
{
  (void)state;
  char *problem = load_problem(TG_ROLE_WORKER, HEAD "while true do end\n");
  assert_contains(problem, "bot.lua:2: stopped: it ran longer than its budget of 500 ms");
  free(problem);
}

static void a_manager_is_never_compiled(void **state)
{
  (void)state;
  struct tg_script *script = load_as(TG_ROLE_MANAGER, HEAD "function gateway.manager:calculate_worker_id()\n"
                                                           "  local x = 0 while true do x = x + 1 end\n"
                                                           "end\n");
  struct tg_value arg = tg_value_int(1), result;
  assert_false(
      tg_hook_call(tg_script_hooks(script), TG_METHOD_manager_calculate_worker_id, &arg, 1, &result));
  assert_contains(logged(), "stopped: it ran longer");
  tg_script_free(script);
}

/* Interpreted or compiled: allocating is where both can be stopped. */
static void a_call_that_takes_too_much_memory_is_stopped(void **state)
{
  (void)state;
  struct tg_script *script = load(
      HEAD "gateway.configure { script = { memory = 8 * 1024 * 1024, inline_budget = 20000, slice_budget = "
           "20000 } }\n"
           "local kept\n"
           "function gateway.shard:heartbeat(i)\n"
           "  local t = {} for n = 1, 1e9 do t[n] = ('x'):rep(1000) .. n end\n"
           "end\n"
           "gateway.on('ready', function() gateway.sleep(1) local s = 'x' while true do s = s .. s end end)\n"
           "gateway.on('hello', function() while true do kept = { kept } end end)\n"
           "gateway.on('resumed', function() gateway.log.info(kept and 'old' or 'fine') end)\n");
  for (int i = 0; i < 3; i++)
    assert_false(heartbeat(script));
  assert_contains(logged(), "stopped: it took more than script.memory (8.0 MiB) for itself");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, NULL, NULL);
  TURN_UNTIL(strstr(logged(), "ready (bot.lua:7) failed"));
  TURN_UNTIL(atomic_load(&tg_stats()->lua_memory) < 8 * 1024 * 1024 && /* the garbage has gone */
             tg_script_hooks(script)->want_life[TG_LIFE_hello]);
  tg_hook_life(tg_script_hooks(script), TG_LIFE_hello, NULL, NULL);
  assert_contains(logged(), "hello (bot.lua:8) failed"); /* and left it behind */
  TURN_UNTIL(strstr(logged(), "a fresh state of it takes over"));
  assert_contains(logged(), "In use by: gateway.on (bot.lua:8)");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_resumed, NULL, NULL);
  assert_contains(logged(), "fine");
  tg_script_free(script);
}

/* The collector that a script has stopped goes on when it is needed. */
static void who_stops_the_collector_is_stopped_all_the_same(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.configure { script = { memory = 8 * 1024 * 1024, inline_budget = 20000 } }\n"
                "function gateway.shard:heartbeat(i)\n"
                "  collectgarbage 'stop'\n"
                "  local t while true do t = { t } end\n"
                "end\n");
  assert_false(heartbeat(script));
  assert_contains(logged(), "stopped: it took more than script.memory (8.0 MiB) for itself");
  tg_script_free(script);
}

static void loading_has_a_limit(void **state)
{
  (void)state;
  char *problem = load_problem(
      TG_ROLE_WORKER, HEAD "gateway.configure { script = { memory = 4 * 1024 * 1024, load_budget = 20000 } }\n"
                           "local t = {} for n = 1, 1e9 do t[n] = { n } end\n");
  assert_contains(problem, "bot.lua:3: stopped: it took more than script.memory (4.0 MiB) for itself");
  free(problem);
  problem = load_problem(
      TG_ROLE_WORKER, HEAD "gateway.configure { script = { memory = 4 * 1024 * 1024, load_budget = 20000 } }\n"
                           "kept = {} for n = 1, 3500 do kept[n] = ('x'):rep(990) .. n end\n");
  assert_contains(problem, "once it is loaded the script holds 3.6 MiB, and script.memory is 4.0 MiB");
  assert_contains(problem, "In use by: the top level of the script 3.5 MiB");
  free(problem);
}

/* Rubbish that piles up over many calls is no use of memory. */
static void rubbish_does_not_count(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.configure { script = { memory = 8 * 1024 * 1024, inline_budget = 2000 } }\n"
                "local n = 0\n"
                "function gateway.shard:heartbeat(i)\n"
                "  local t = {} for j = 1, 1000 do n = n + 1 t[j] = ('x'):rep(1000) .. n end\n"
                "end\n");
  for (int i = 0; i < 200; i++)
    assert_true(heartbeat(script));
  tg_script_free(script);
}

static void globals_are_strict(void **state)
{
  (void)state;
  char *problem = load_problem(TG_ROLE_WORKER, HEAD "local a = gatway\n");
  assert_contains(problem, "bot.lua:2: undeclared variable 'gatway'");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "local x = tostrin(1)\n");
  assert_contains(problem, "undeclared variable 'tostrin'; did you mean 'tostring'?");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "local function f() cuont = 1 end f()\n");
  assert_contains(problem, "bot.lua:2: assignment to the undeclared variable 'cuont'");
  free(problem);
  write_file("helper.lua", "shared = (shared or 0)\nreturn { twice = function(n) return n * 2 end }\n");
  problem = load_problem(TG_ROLE_WORKER, HEAD "require 'helper'\n");
  assert_contains(problem, "helper.lua:1: undeclared variable 'shared'");
  free(problem);
  write_file("helper.lua", "limit = 5\nreturn { twice = function(n) return n * 2 end }\n");
  struct tg_script *script = load(HEAD "require 'helper'\n"
                                       "counter = 0\n"
                                       "local function bump() counter = counter + limit end\n"
                                       "bump()\n"
                                       "assert(counter == 5 and require('helper').twice(4) == 8)\n"
                                       "assert(_G.tostring == tostring)\n");
  tg_script_free(script);
}

static void blocking_calls_name_the_alternative(void **state)
{
  (void)state;
  static const char *const calls[][2] = {
      {"os.execute 'ls'",
       "bot.lua:2: os.execute stops the whole process, heartbeats included; ask a service with "
       "gateway.http"},
      {"io.popen 'ls'", "bot.lua:2: io.popen stops the whole process"},
      {"os.exit(1)", "bot.lua:2: os.exit would drop every session; use gateway.manager:shutdown"},
      {"io.read()", "bot.lua:2: io.read stops the whole process"},
      {"io.lines()", "bot.lua:2: io.lines without a file name"},
      {"assert(loadstring(string.dump(function() end)))", "wrong mode"},
      {"assert(load(string.dump(function() end), 'x', 'b'))", "wrong mode"},
  };
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    char text[256];
    snprintf(text, sizeof text, HEAD "%s\n", calls[i][0]);
    char *problem = load_problem(TG_ROLE_WORKER, text);
    assert_contains(problem, calls[i][1]);
    free(problem);
  }
}

static void ambient_search_paths_are_ignored(void **state)
{
  (void)state;
  setenv("LUA_PATH", "/nowhere/?.lua", 1);
  setenv("TIDEGATE_ROCKS_TREES", "/opt/one,/opt/two", 1);
  write_file("sub.lua", "return 'found'\n");
  struct tg_script *script = load(HEAD "assert(not package.path:find('nowhere', 1, true))\n"
                                       "assert(package.path:find('./?.lua;./?/init.lua', 1, true) == 1)\n"
                                       "assert(package.path:find('/opt/two/share/lua/5.1/?.lua', 1, true))\n"
                                       "assert(package.cpath:find('/opt/one/lib/lua/5.1/?.so', 1, true))\n"
                                       "assert(require 'sub' == 'found')\n");
  tg_script_free(script);
  unsetenv("LUA_PATH");
  unsetenv("TIDEGATE_ROCKS_TREES");
}

static void the_configuration_is_checked_with_its_line(void **state)
{
  (void)state;
  char *problem = load_problem(TG_ROLE_WORKER, HEAD
                               "\ngateway.configure {\n  tokn = 'x',\n  shards_per_worker = 'many',\n}\n");
  assert_contains(problem, "bot.lua:3: gateway.configure: ");
  assert_contains(problem, "tokn");
  assert_contains(problem, "shards_per_worker");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "pcall(gateway.configure, { tokn = 'x' })\n");
  assert_contains(problem, "gateway.configure failed, and the script went on without it");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.configure {}\ngateway.configure {}\n");
  assert_contains(problem, "bot.lua:3: gateway.configure: it was called before");
  free(problem);
  unsetenv("DISCORD_TOKEN");
  problem = load_problem(TG_ROLE_WORKER, HEAD);
  assert_contains(problem, "the script calls no gateway.configure, and the environment says:");
  assert_contains(problem, "token");
  free(problem);
}

static void the_configuration_can_be_read(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "assert(not pcall(function() return gateway.config end))\n"
                "gateway.configure { shards_per_worker = 7, queue = { drop_first = {} },\n"
                "  event_handler = { urls = { 'http://127.0.0.1:1' } } }\n"
                "assert(gateway.config.shards_per_worker == 7 and #gateway.config.event_handler.urls == 1)\n"
                "assert(gateway.config.token == '***token***')\n"
                "local ok, problem = pcall(function() gateway.config.shards_per_worker = 1 end)\n"
                "assert(not ok and problem:find 'gateway.config.shards_per_worker cannot be assigned')\n"
                "assert(gateway.version and gateway.role == 'worker' and gateway.worker_id == 2)\n"
                "gateway.log.info('the token is %s', 'secret-token-of-the-test')\n");
  assert_int_equal(tg_script_config(script)->shards_per_worker, 7);
  assert_int_equal(tg_script_config(script)->queue.drop_first.count, 0);
  assert_contains(logged(), "the token is ***");
  tg_script_free(script);
}

static void no_script_at_all(void **state)
{
  (void)state;
  struct tg_script *script = tg_script_new(TG_ROLE_WORKER, &world_loop, 0);
  char *problem = NULL;
  assert_true(tg_script_load(script, NULL, &problem));
  assert_int_equal(tg_script_config(script)->intents, 513);
  tg_script_free(script);
  unsetenv("INTENTS");
  script = tg_script_new(TG_ROLE_WORKER, &world_loop, 0);
  assert_false(tg_script_load(script, NULL, &problem));
  assert_contains(problem, "there is no script, and the environment says");
  assert_contains(problem, "intents");
  free(problem);
  tg_script_free(script);
}

static void a_script_that_is_not_there_or_not_lua(void **state)
{
  (void)state;
  struct tg_script *script = tg_script_new(TG_ROLE_WORKER, &world_loop, 0);
  char *problem = NULL;
  assert_false(tg_script_load(script, "nowhere.lua", &problem));
  assert_contains(problem, "nowhere.lua: No such file or directory");
  free(problem);
  tg_script_free(script);
  problem = load_problem(TG_ROLE_WORKER, "local x = = 3\n");
  assert_contains(problem, "bot.lua:1: unexpected symbol near '='");
  free(problem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(endless_loops_are_stopped),
      WORLD_TEST(who_looks_after_calls_rests_between_them),
      WORLD_TEST(a_slice_of_a_coroutine_has_a_budget),
      WORLD_TEST(a_call_that_holds_the_loop_is_told),
      WORLD_TEST(of_several_filters_the_one_that_holds_the_loop_is_told),
      WORLD_TEST(loading_has_a_budget),
      WORLD_TEST(a_manager_is_never_compiled),
      WORLD_TEST(a_call_that_takes_too_much_memory_is_stopped),
      WORLD_TEST(who_stops_the_collector_is_stopped_all_the_same),
      WORLD_TEST(loading_has_a_limit),
      WORLD_TEST(rubbish_does_not_count),
      WORLD_TEST(globals_are_strict),
      WORLD_TEST(blocking_calls_name_the_alternative),
      WORLD_TEST(ambient_search_paths_are_ignored),
      WORLD_TEST(the_configuration_is_checked_with_its_line),
      WORLD_TEST(the_configuration_can_be_read),
      WORLD_TEST(no_script_at_all),
      WORLD_TEST(a_script_that_is_not_there_or_not_lua),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
