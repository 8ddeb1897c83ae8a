/* The tables of overridable methods, and struct tg_hooks behind them. */

#include "script_world.h"

static bool call_heartbeat(struct tg_script *script, int shard_id)
{
  struct tg_value args[] = {tg_value_shard(&fake_shards[shard_id]), tg_value_int(41250)};
  return tg_hook_call(tg_script_hooks(script), TG_METHOD_shard_heartbeat, args, 2, NULL);
}

static void an_unused_script_wants_nothing(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD);
  struct tg_hooks *hooks = tg_script_hooks(script);
  for (int i = 0; i < TG_METHOD_COUNT; i++)
    assert_null(hooks->method[i]);
  for (int i = 0; i < TG_WANT_SIZE; i++)
    assert_int_equal(hooks->want[i], 0);
  for (int i = 0; i < TG_LIFE_COUNT; i++)
    assert_false(hooks->want_life[i]);
  assert_false(call_heartbeat(script, 1));
  tg_script_free(script);
}

static void an_override_runs_and_calls_what_was_there(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local first = gateway.shard.heartbeat\n"
                                       "function gateway.shard:heartbeat(interval)\n"
                                       "  gateway.state.first = interval\n"
                                       "  return first(self, interval)\n"
                                       "end\n"
                                       "local second = gateway.shard.heartbeat\n"
                                       "function gateway.shard:heartbeat(interval)\n"
                                       "  gateway.log.info('second %d after %d', self.id, interval)\n"
                                       "  return second(self, interval + 1)\n"
                                       "end\n");
  assert_true(call_heartbeat(script, 3));
  assert_string_equal(fake.calls, "heartbeat 3;");
  assert_contains(logged(), "shard 3: second 3 after 41250");
  tg_script_free(script);
}

static void nil_and_the_default_assigned_back_restore_the_default(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "function gateway.shard:heartbeat() end\n"
                                       "function gateway.shard:identify() end\n"
                                       "function gateway.shard:resume() end\n"
                                       "gateway.shard.heartbeat = nil\n"
                                       "gateway.shard.identify = gateway.default.shard.identify\n"
                                       "assert(gateway.shard.heartbeat == gateway.default.shard.heartbeat)\n"
                                       "assert(gateway.shard.resume ~= gateway.default.shard.resume)\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  assert_false(tg_hooked(hooks, TG_METHOD_shard_heartbeat));
  assert_false(tg_hooked(hooks, TG_METHOD_shard_identify));
  assert_true(tg_hooked(hooks, TG_METHOD_shard_resume));
  tg_script_free(script);
}

static void misspelt_methods_are_refused_with_a_suggestion(void **state)
{
  (void)state;
  char *problem = load_problem(TG_ROLE_WORKER, HEAD "function gateway.shard:heartbaet() end\n");
  assert_contains(problem, "bot.lua:2: gateway.shard has no method 'heartbaet'; did you mean 'heartbeat'?");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "local f = gateway.manager.send_payloda\n");
  assert_contains(problem,
                  "bot.lua:2: gateway.manager has no method 'send_payloda'; did you mean 'send_payload'?");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.shard.heartbeat = 3\n");
  assert_contains(
      problem,
      "bot.lua:2: gateway.shard:heartbeat: expected a function (or nil for the default), got number");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.default.shard.heartbeat = print\n");
  assert_contains(problem, "bot.lua:2: gateway.default cannot be changed");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.fliter('TYPING_START', false)\n");
  assert_contains(problem, "bot.lua:2: gateway has no field 'fliter'; did you mean 'filter'?");
  free(problem);
}

static void each_process_hooks_its_own_methods(void **state)
{
  (void)state;
  const char *text = HEAD "function gateway.manager:calculate_worker_id(shard_id) return shard_id + 1 end\n"
                          "function gateway.delivery:is_delivered(status) return status == 299 end\n";
  struct tg_script *worker = load(text);
  assert_false(tg_hooked(tg_script_hooks(worker), TG_METHOD_manager_calculate_worker_id));
  assert_true(tg_hooked(tg_script_hooks(worker), TG_METHOD_delivery_is_delivered));
  struct tg_value status = tg_value_int(299), result;
  assert_true(
      tg_hook_call(tg_script_hooks(worker), TG_METHOD_delivery_is_delivered, &status, 1, &result));
  assert_true(result.boolean);
  tg_script_free(worker);

  struct tg_script *manager = load_as(TG_ROLE_MANAGER, text);
  assert_false(tg_hooked(tg_script_hooks(manager), TG_METHOD_delivery_is_delivered));
  struct tg_value shard = tg_value_int(6);
  assert_true(tg_hook_call(tg_script_hooks(manager), TG_METHOD_manager_calculate_worker_id, &shard, 1,
                           &result));
  assert_int_equal(result.integer, 7);
  tg_script_free(manager);
}

static void results_are_checked(void **state)
{
  (void)state;
  struct tg_script *script = load_as(TG_ROLE_MANAGER, HEAD "local answer\n"
                                                           "function gateway.manager:calculate_worker_id(i)\n"
                                                           "  return ({ 'one', 1.5, nil, 4 })[i]\n"
                                                           "end\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  struct tg_value result;
  for (int i = 1; i <= 3; i++) {
    struct tg_value arg = tg_value_int(i);
    assert_false(tg_hook_call(hooks, TG_METHOD_manager_calculate_worker_id, &arg, 1, &result));
  }
  struct tg_value four = tg_value_int(4);
  assert_true(tg_hook_call(hooks, TG_METHOD_manager_calculate_worker_id, &four, 1, &result));
  assert_int_equal(result.integer, 4);
  assert_contains(logged(), "gateway.manager:calculate_worker_id (bot.lua:3) failed; the default is used");
  assert_contains(logged(), "returned string, expected a whole number");
  assert_contains(logged(), "returned a number with a fraction");
  tg_script_free(script);
}

static void text_results_outlive_other_calls(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "function gateway.shard:decompress_packet(bytes) return bytes:upper() end\n"
                "function gateway.shard:handle_close() collectgarbage() return 'stop' end\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_string("a\0b", 3)}, text, action;
  assert_true(tg_hook_call(hooks, TG_METHOD_shard_decompress_packet, args, 2, &text));
  struct tg_value close[] = {args[0], tg_value_int(4000), tg_value_string("x", 1)};
  assert_true(tg_hook_call(hooks, TG_METHOD_shard_handle_close, close, 3, &action));
  assert_int_equal(text.string.length, 3);
  assert_memory_equal(text.string.at, "A\0B", 3);
  assert_memory_equal(action.string.at, "stop", 4);
  tg_script_free(script);
}

static void an_error_runs_the_default_and_is_logged_once(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local function deeper() error('kaputt') end\n"
                                       "function gateway.shard:heartbeat() deeper() end\n");
  assert_false(call_heartbeat(script, 1));
  assert_false(call_heartbeat(script, 1));
  const char *text = logged();
  assert_contains(text, "shard 1: gateway.shard:heartbeat (bot.lua:3) failed; the default is used");
  assert_contains(text, "bot.lua:2: kaputt");
  assert_contains(text, "stack traceback:");
  assert_contains(text, "bot.lua:3: in function");
  assert_null(strstr(strstr(text, "kaputt") + 1, "kaputt"));
  tg_script_free(script);
}

static void ten_errors_in_a_minute_switch_an_override_off(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "function gateway.shard:heartbeat() error 'no' end\n");
  for (int i = 0; i < 9; i++) {
    assert_true(tg_hooked(tg_script_hooks(script), TG_METHOD_shard_heartbeat));
    assert_false(call_heartbeat(script, 0));
  }
  assert_true(tg_hooked(tg_script_hooks(script), TG_METHOD_shard_heartbeat));
  assert_false(call_heartbeat(script, 0));
  assert_false(tg_hooked(tg_script_hooks(script), TG_METHOD_shard_heartbeat));
  assert_contains(logged(), "is switched off until the next reload");
  tg_script_free(script);
}

static void the_defaults_are_the_core(void **state)
{
  (void)state;
  struct tg_script *script = load(
      HEAD "gateway.on('ready', function(shard)\n"
           "  shard:connect() shard:identify() shard:resume() shard:close(4001, 'why') shard:shutdown()\n"
           "  shard:start_heartbeating(10) shard:stop_heartbeating() shard:handle_packet{op = 11}\n"
           "  assert(shard:decompress_packet('') == 'plain')\n"
           "  assert(shard:is_open() and shard:calculate_safe_requests() == 111)\n"
           "  assert(shard:handle_close(4004) == 'stop' and shard:handle_close(4000) == 'resume')\n"
           "  assert(shard.id == 1 and shard.state == 'Connected' and shard.session_id == 'session')\n"
           "  assert(shard.sequence == 77 and shard.rtt == 42 and shard.worker_id == 2 and "
           "shard.total_shards == 4)\n"
           "  assert(gateway.delivery:is_delivered(204) and not gateway.delivery:is_delivered(404))\n"
           "  assert(gateway.delivery:retry_delay(1, { status = 429, retry_after = 700 }) == 700)\n"
           "  assert(gateway.delivery:retry_delay(1, { status = 500 }) <= 250)\n"
           "  local ok, err = pcall(gateway.delivery.deliver, gateway.delivery, {})\n"
           "  assert(not ok and tostring(err):find('at least one event', 1, true), err)\n"
           "  gateway.log.info 'all right'\n"
           "end)\n");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, &fake_shards[1], NULL);
  assert_contains(logged(), "all right");
  assert_string_equal(fake.calls, "connect 1;identify 1;resume 1;close 1 4001 why;close 1 1000 ;"
                                  "start_heartbeating 1 10;stop_heartbeating 1;handle_packet 1 {\"op\":11};");
  tg_script_free(script);
}

static void send_says_what_became_of_it(void **state)
{
  (void)state;
  struct tg_script *script = load(
      HEAD "gateway.on('ready', function(shard)\n"
           "  local ok, err = shard:send({ op = 3, d = { activities = {}, since = gateway.json.null } },\n"
           "    { priority = 'high', timeout = 500 })\n"
           "  gateway.log.info('sent %s %s', tostring(ok), err and err.code or '-')\n"
           "end)\n");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, &fake_shards[1], NULL);
  assert_string_equal(fake.calls, "send 1 2 500;");
  char *text = json_dumps(fake.payload, JSON_COMPACT | JSON_SORT_KEYS);
  assert_string_equal(text, "{\"d\":{\"activities\":[],\"since\":null},\"op\":3}");
  free(text);
  assert_contains(logged(), "sent true -");
  fake.send_error = "queue_full";
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, &fake_shards[1], NULL);
  assert_contains(logged(), "sent nil queue_full");
  tg_script_free(script);
}

static void a_shard_that_is_gone_says_so(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local kept\n"
                                       "gateway.on('ready', function(shard)\n"
                                       "  if kept then assert(kept == shard) end\n"
                                       "  kept = shard\n"
                                       "  shard:heartbeat()\n"
                                       "end)\n"
                                       "gateway.on('hello', function(shard) return shard.colour end)\n");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, &fake_shards[1], NULL);
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, &fake_shards[1], NULL);
  tg_hook_life(tg_script_hooks(script), TG_LIFE_hello, &fake_shards[1], NULL);
  assert_string_equal(fake.calls, "heartbeat 1;heartbeat 1;");
  assert_contains(logged(), "a shard has no field or method 'colour'");
  fake.shards_gone = true;
  tg_hook_life(tg_script_hooks(script), TG_LIFE_ready, &fake_shards[1], NULL);
  assert_contains(logged(), "bot.lua:6: gateway.shard:heartbeat: shard 1 is gone");
  tg_script_free(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(an_unused_script_wants_nothing),
      WORLD_TEST(an_override_runs_and_calls_what_was_there),
      WORLD_TEST(nil_and_the_default_assigned_back_restore_the_default),
      WORLD_TEST(misspelt_methods_are_refused_with_a_suggestion),
      WORLD_TEST(each_process_hooks_its_own_methods),
      WORLD_TEST(results_are_checked),
      WORLD_TEST(text_results_outlive_other_calls),
      WORLD_TEST(an_error_runs_the_default_and_is_logged_once),
      WORLD_TEST(ten_errors_in_a_minute_switch_an_override_off),
      WORLD_TEST(the_defaults_are_the_core),
      WORLD_TEST(send_says_what_became_of_it),
      WORLD_TEST(a_shard_that_is_gone_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
