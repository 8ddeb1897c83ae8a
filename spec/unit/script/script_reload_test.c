/* Reload in two phases, and what survives it. */

#include "script_world.h"

#include "shared/series.h"


static bool heartbeat(struct tg_script *script)
{
  struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_int(1)};
  return tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL);
}

static void prepare(struct tg_script *script, const char *text)
{
  char *problem = NULL;
  write_file("bot.lua", text);
  if (!tg_script_prepare(script, &problem)) {
    dprintf(world_stderr, "%s\n", problem);
    fail();
  }
}

static void nothing_changes_before_commit(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "function gateway.shard:heartbeat() gateway.log.info 'one' end\n");
  const struct tg_config *config = tg_script_config(script);
  prepare(script, HEAD "gateway.configure { large_threshold = 77 }\n"
                       "function gateway.shard:heartbeat() gateway.log.info 'two' end\n"
                       "gateway.filter('TYPING_START', false)\n"
                       "gateway.every(1, function() gateway.log.info 'early' end)\n"
                       "gateway.spawn(function() gateway.log.info 'early' end)\n");
  heartbeat(script);
  assert_contains(logged(), "one");
  assert_int_equal(tg_script_hooks(script)->want[TG_EVENT_TYPING_START], 0);
  assert_ptr_equal(tg_script_config(script), config);
  tg_script_abort(script);
  uv_run(&world_loop, UV_RUN_NOWAIT);
  assert_not_contains(logged(), "early");
  prepare(script, HEAD "gateway.configure { large_threshold = 77 }\n"
                       "function gateway.shard:heartbeat() gateway.log.info 'two' end\n"
                       "gateway.filter('TYPING_START', false)\n");
  tg_script_commit(script, 2);
  heartbeat(script);
  assert_contains(logged(), "two");
  assert_int_equal(tg_script_hooks(script)->want[TG_EVENT_TYPING_START], TG_WANT_DROP);
  assert_int_equal(tg_script_config(script)->large_threshold, 77);
  assert_int_equal(tg_script_generation(script), 2);
  tg_script_free(script);
}

static void a_broken_script_changes_nothing(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "function gateway.shard:heartbeat() gateway.log.info 'one' end\n");
  write_file("bot.lua", HEAD "local function f() error 'broken' end\nf()\n");
  char *problem = NULL;
  assert_false(tg_script_prepare(script, &problem));
  assert_contains(problem, "bot.lua:2: broken");
  assert_contains(problem, "stack traceback");
  free(problem);
  assert_int_equal(tg_script_generation(script), 1);
  tg_script_commit(script, 9); /* there is nothing to commit but the number */
  assert_int_equal(tg_script_generation(script), 9);
  heartbeat(script);
  assert_contains(logged(), "one");
  tg_script_free(script);
}

static void state_survives_and_life_handlers_run(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "gateway.state.count = 41\n"
                                       "gateway.state.nested = { a = { true, 'x' }, [3] = 4.5 }\n"
                                       "gateway.state.lost = print\n"
                                       "gateway.on('unload', function() gateway.state.count = "
                                       "gateway.state.count + 1 gateway.log.info 'unloaded' end)\n");
  prepare(script, HEAD "gateway.state.count = gateway.state.count or 0\n"
                       "gateway.state.mine = 'new'\n"
                       "gateway.on('load', function()\n"
                       "  local s = gateway.state\n"
                       "  gateway.log.info('%d %s %s %s %s', s.count, s.mine, tostring(s.nested.a[1]), "
                       "s.nested.a[2], s.nested[3])\n"
                       "end)\n"
                       "gateway.on('reload', function(_, details) gateway.log.info('generation %d', "
                       "details.generation) end)\n");
  tg_script_commit(script, 7);
  assert_contains(logged(), "unloaded");
  assert_contains(logged(), "42 new true x 4.5");
  assert_contains(logged(), "generation 7");
  assert_contains(logged(), "gateway.state: 'lost' did not survive");
  tg_script_free(script);
}

/* What a script reads of gateway.state while it loads is what it keeps. */
static void state_can_be_used_while_loading(void **state)
{
  (void)state;
  static const char text[] =
      HEAD "local s = gateway.state\n"
           "s.loads = (s.loads or 0) + 1\n"
           "s.cache = s.cache or { hits = 0 }\n"
           "local cache = s.cache\n"
           "s.fixed = 5\n"
           "s.gone = s.gone == nil and s.loads == 1 or s.gone\n"
           "function gateway.shard:heartbeat() cache.hits = cache.hits + 1 s.late = cache.hits end\n"
           "gateway.on('unload', function()\n"
           "  cache.hits, s.gone, cache.last = cache.hits + 10, nil, 'words' end)\n"
           "gateway.on('reload', function()\n"
           "  assert(cache == s.cache)\n"
           "  gateway.log.info('loads %d, hits %d, fixed %d, gone %s, late %d, last %s', s.loads, cache.hits,\n"
           "    s.fixed, tostring(s.gone), s.late, cache.last) end)\n";
  struct tg_script *script = load(text);
  heartbeat(script);
  prepare(script, text);
  heartbeat(script); /* between the phases */
  tg_script_commit(script, 2);
  assert_contains(logged(), "loads 2, hits 12, fixed 5, gone nil, late 2, last words");
  prepare(script, text);
  tg_script_abort(script);
  prepare(script, text);
  tg_script_commit(script, 3);
  assert_contains(logged(), "loads 3, hits 22, fixed 5, gone nil, late 2, last words");
  tg_script_free(script);
}

static int replies;
static void on_reply(void *ctx, bool ok, const struct tg_value *result)
{
  (void)ctx;
  (void)result;
  replies += ok ? 100 : 1;
}

static void what_waits_in_the_old_script_is_cancelled(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.on('ready', function()\n"
                "  local ok, err = gateway.sleep(60000)\n"
                "  gateway.log.info('sleep: %s %s', tostring(ok), err.code)\n"
                "  while true do gateway.sleep(60000) end\n"
                "end)\n"
                "gateway.on('hello', function()\n"
                "  local response = gateway.http.get 'http://x'\n"
                "  gateway.log.info('http: %d', response.status)\n"
                "end)\n"
                "gateway.every(1, function() gateway.log.info 'old beat' end)\n"
                "function gateway.shard:make_presence() gateway.manager:kill(1) return gateway.sleep(5) end\n"
                "gateway.on('unload', function() gateway.sleep(2) gateway.log.info 'late goodbye' end)\n");
  fake.worker_holds = true;
  struct tg_hooks *hooks = tg_script_hooks(script);
  tg_hook_life(hooks, TG_LIFE_ready, NULL, NULL);
  tg_hook_life(hooks, TG_LIFE_hello, NULL, NULL);
  struct tg_value self = tg_value_shard(&fake_shards[1]);
  replies = 0;
  tg_hook_start(hooks, TG_METHOD_shard_make_presence, &self, 1, on_reply, NULL);
  prepare(script, HEAD "gateway.on('ready', function() gateway.log.info 'new ready' end)\n");
  tg_script_commit(script, 2);
  assert_contains(logged(), "sleep: nil cancelled");
  assert_not_contains(logged(), "http: ");
  assert_int_equal(fake.http_cancelled, 9);
  assert_int_equal(replies, 1); /* the core runs its default */
  assert_not_contains(logged(), "failed");
  fake.worker_reply(fake.worker_ctx, json_null(), NULL); /* an answer for a script that is gone */
  tg_hook_life(hooks, TG_LIFE_ready, NULL, NULL);
  assert_contains(logged(), "new ready");
  assert_not_contains(logged(), "old beat");
  TURN_UNTIL(strstr(logged(), "late goodbye"));
  tg_script_free(script);
}

/* How a call that was cut off while it waited ended: which kind of result, or -1: the default runs. */
static int ends[3];

static void on_cut(void *ctx, bool ok, const struct tg_value *result)
{
  *(int *)ctx = ok ? (int)result->kind : -1;
}

static void being_cut_off_means_what_the_method_says(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local function wait() gateway.sleep(60000) return true end\n"
                                       "gateway.delivery.deliver = wait\n"
                                       "gateway.delivery.handle_interaction_queueing = wait\n"
                                       "gateway.shard.request_identify = wait\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  struct tg_event event = make_event("INTERACTION_CREATE", 1, 7, "{\"id\":\"1\"}");
  struct tg_value events = tg_value_events(&event, 1), one = tg_value_event(&event),
                  self = tg_value_shard(&fake_shards[1]);
  ends[0] = ends[1] = ends[2] = -2;
  tg_hook_start(hooks, TG_METHOD_delivery_deliver, &events, 1, on_cut, &ends[0]);
  tg_hook_start(hooks, TG_METHOD_delivery_handle_interaction_queueing, &one, 1, on_cut, &ends[1]);
  tg_hook_start(hooks, TG_METHOD_shard_request_identify, &self, 1, on_cut, &ends[2]);
  prepare(script, HEAD);
  tg_script_commit(script, 2);
  assert_int_equal(ends[0], TG_FAILURE); /* although it has returned true */
  assert_int_equal(ends[1], -1);
  assert_int_equal(ends[2], TG_NIL);
  tg_script_free(script);
}

/* Resident pages of this process, in KiB. */
static long resident(void)
{
  long total, pages;
  FILE *file = fopen("/proc/self/statm", "r");
  assert_int_equal(fscanf(file, "%ld %ld", &total, &pages), 2);
  fclose(file);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void two_hundred_reloads_leave_memory_flat(void **state)
{
  (void)state;
  const char *text = HEAD "gateway.configure { shards_per_worker = 4 }\n"
                          "gateway.on('MESSAGE_CREATE', function() gateway.sleep(60000) end)\n"
                          "gateway.filter('MESSAGE_CREATE', function(event) return event.data.x end)\n"
                          "gateway.every(1000, function() end)\n"
                          "gateway.metrics.counter('seen'):add()\n"
                          "function gateway.shard:heartbeat() end\n";
  struct tg_script *script = load(text);
  long before = 0;
  for (int i = 2; i <= 200; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, 1, "{\"x\":[1,2,3]}");
    run_filter(script, &event);
    free((char *)event.replacement.at);
    event = make_event("MESSAGE_CREATE", 1, 1, "{}");
    dispatch(script, &event);
    prepare(script, text);
    tg_script_commit(script, i);
    for (int turn = 0; turn < 3; turn++)
      uv_run(&world_loop, UV_RUN_NOWAIT);
    if (i == 50)
      before = resident();
  }
#ifdef __SANITIZE_ADDRESS__
  long slack = 1 << 20; /* its quarantine keeps what was freed; the leak check at exit judges instead */
#else
  long slack = 3000;
#endif
  assert_true(resident() - before < slack);
  assert_not_contains(logged(), "failed");
  struct tg_series_view seen;
  size_t offset = 0;
  assert_true(tg_series_next(tg_stats(), &offset, &seen));
  assert_string_equal(seen.text.name, "seen");
  assert_true(seen.value == 200);
  assert_false(tg_series_next(tg_stats(), &offset, &seen));
  tg_script_free(script);
}

static void check_describes_the_script(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "gateway.filter({ 'TYPING_START', 'PRESENCE_UPDATE' }, false)\n"
                                       "gateway.filter('MESSAGE_CREATE', function() end, { priority = 4 })\n"
                                       "gateway.on('GUILD_CREATE', print, { ordered = 'guild' })\n"
                                       "gateway.on('ready', print)\n"
                                       "function gateway.manager:calculate_worker_id() end\n"
                                       "function gateway.shard:heartbeat() end\n");
  json_t *described = tg_script_describe(script);
  assert_non_null(described);
  json_object_del(described, "path");
  json_object_del(described, "cpath");
  char *text = json_dumps(described, JSON_COMPACT);
  assert_string_equal(
      text,
      "{\"role\":\"worker\",\"script\":\"bot.lua\",\"generation\":1,\"configured\":false,\"overrides\":["
      "{\"table\":\"manager\",\"method\":\"calculate_worker_id\",\"where\":\"bot.lua:6\",\"used\":false,"
      "\"switchedOff\":false},{\"table\":\"shard\",\"method\":\"heartbeat\",\"where\":\"bot.lua:7\","
      "\"used\":true,\"switchedOff\":false}],\"filters\":[{\"events\":[\"PRESENCE_UPDATE\",\"TYPING_START\"],"
      "\"where\":\"bot.lua:2\",\"priority\":0,\"compiled\":true,\"rule\":false},{\"events\":["
      "\"MESSAGE_CREATE\"],\"where\":\"bot.lua:3\",\"priority\":4,\"compiled\":false}],\"handlers\":["
      "{\"events\":[\"GUILD_CREATE\"],\"where\":\"bot.lua:4\",\"priority\":0,\"ordered\":\"guild\"},"
      "{\"events\":[\"ready\"],\"where\":\"bot.lua:5\",\"priority\":0}],\"plugins\":[]}");
  free(text);
  json_decref(described);
  tg_script_free(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(nothing_changes_before_commit),
      WORLD_TEST(a_broken_script_changes_nothing),
      WORLD_TEST(state_survives_and_life_handlers_run),
      WORLD_TEST(state_can_be_used_while_loading),
      WORLD_TEST(what_waits_in_the_old_script_is_cancelled),
      WORLD_TEST(being_cut_off_means_what_the_method_says),
      WORLD_TEST(two_hundred_reloads_leave_memory_flat),
      WORLD_TEST(check_describes_the_script),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
