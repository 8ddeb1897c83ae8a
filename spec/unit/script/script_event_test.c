/* gateway.filter, gateway.on, and the event they are given. */

#include "script_world.h"

#include "shared/stats.h"

static uint8_t want(struct tg_script *script, const char *name)
{
  return tg_script_hooks(script)->want[tg_event_type(name, strlen(name))];
}

static void constant_filters_are_compiled(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "gateway.filter({ 'TYPING_START', 'PRESENCE_UPDATE' }, false)\n"
                                       "gateway.filter('MESSAGE_CREATE', true)\n"
                                       "gateway.filter('MESSAGE_UPDATE', function() end)\n"
                                       "gateway.on('GUILD_CREATE', function() end)\n"
                                       "gateway.filter('GUILD_CREATE', function() end):remove()\n"
                                       "gateway.on('hello', function() end)\n");
  assert_int_equal(want(script, "TYPING_START"), TG_WANT_DROP);
  assert_int_equal(want(script, "PRESENCE_UPDATE"), TG_WANT_DROP);
  assert_int_equal(want(script, "MESSAGE_CREATE"), 0);
  assert_int_equal(want(script, "MESSAGE_UPDATE"), TG_WANT_FILTER);
  assert_int_equal(want(script, "GUILD_CREATE"), TG_WANT_HANDLER);
  assert_true(tg_script_hooks(script)->want_life[TG_LIFE_hello]);
  assert_false(tg_script_hooks(script)->want_life[TG_LIFE_ready]);
  tg_script_free(script);
}

static void filters_pass_drop_and_replace(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.filter('MESSAGE_CREATE', function(event)\n"
                "  local content = event.data.content\n"
                "  if content == 'pass' then return true end\n"
                "  if content == 'drop' then return false end\n"
                "  if content == 'text' then return '{\"short\":1}' end\n"
                "  if content == 'table' then event.data.content = 'changed' return event.data end\n"
                "  if content == 'bad' then return '{' end\n"
                "end)\n");
  struct tg_event event = make_event("MESSAGE_CREATE", 1, 9, "{\"content\":\"pass\"}");
  assert_int_equal(run_filter(script, &event), TG_PASS);
  event = make_event("MESSAGE_CREATE", 1, 9, "{\"content\":\"other\"}");
  assert_int_equal(run_filter(script, &event), TG_PASS);
  event = make_event("MESSAGE_CREATE", 1, 9, "{\"content\":\"drop\"}");
  assert_int_equal(run_filter(script, &event), TG_DROP);
  event = make_event("MESSAGE_CREATE", 1, 9, "{\"content\":\"text\"}");
  assert_int_equal(run_filter(script, &event), TG_REPLACED);
  assert_int_equal(event.replacement.length, strlen(event.replacement.at));
  assert_string_equal(event.replacement.at,
                      "{\"t\":\"MESSAGE_CREATE\",\"s\":9,\"op\":0,\"d\":{\"short\":1}}");
  free((char *)event.replacement.at);
  event = make_event("MESSAGE_CREATE", 1, 9,
                     "{\"content\":\"table\",\"mentions\":[],\"nonce\":1234567890123456789012}");
  assert_int_equal(run_filter(script, &event), TG_REPLACED);
  assert_contains(event.replacement.at, "\"content\":\"changed\"");
  assert_contains(event.replacement.at, "\"mentions\":[]"); /* not {} */
  free((char *)event.replacement.at);
  event = make_event("MESSAGE_CREATE", 1, 9, "{\"content\":\"bad\"}");
  assert_int_equal(run_filter(script, &event), TG_PASS);
  assert_contains(logged(), "filter of MESSAGE_CREATE (bot.lua:2) failed; the event passes");
  tg_script_free(script);
}

static void filters_run_by_priority_and_see_what_the_one_before_made(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "local order = {}\n"
                "gateway.filter('MESSAGE_CREATE', function(event)\n"
                "  order[#order + 1] = 'late ' .. event.data.n\n"
                "  gateway.log.info('%s', table.concat(order, ', '))\n"
                "  return { n = event.data.n + 1 }\n"
                "end, { priority = -5 })\n"
                "gateway.filter('MESSAGE_CREATE', function() error 'in the middle' end)\n"
                "gateway.filter('MESSAGE_CREATE', function(event)\n"
                "  order[#order + 1] = 'first ' .. event.data.n return { n = 10 }\n"
                "end, { priority = 3 })\n");
  struct tg_event event = make_event("MESSAGE_CREATE", 1, 3, "{\"n\":1}");
  assert_int_equal(run_filter(script, &event), TG_REPLACED);
  assert_string_equal(event.replacement.at, "{\"t\":\"MESSAGE_CREATE\",\"s\":3,\"op\":0,\"d\":{\"n\":11}}");
  free((char *)event.replacement.at);
  assert_contains(logged(), "first 1, late 10");
  assert_contains(logged(), "in the middle");
  tg_script_free(script);
}

static void event_fields(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.on('GUILD_CREATE', function(event, shard)\n"
                "  assert(event.type == 'GUILD_CREATE' and event.shard_id == 3 and event.sequence == 12)\n"
                "  assert(event.id == '1184467440737095516' and event.guild_id == event.id)\n"
                "  assert(event.size == #event.raw and event.raw:sub(1, 5) == '{\"t\":')\n"
                "  assert(event.data.name == 'x\"\\n' and event.data == event.data)\n"
                "  assert(event.guild_create == 'joined' and event.epoch == 4 and event.replayed == false)\n"
                "  assert(shard.id == 3 and tostring(event) == 'event GUILD_CREATE (shard 3, s 12)')\n"
                "  assert(not pcall(function() return event.colour end))\n"
                "  assert(not pcall(function() event.type = 1 end))\n"
                "  gateway.log.info(event.late == true and 'late as well' or event.late == false and 'all right')\n"
                "end)\n");
  struct tg_event event =
      make_event("GUILD_CREATE", 3, 12, "{\"id\":\"1184467440737095516\",\"name\":\"x\\\"\\n\"}");
  event.guild_create = TG_GUILD_JOINED;
  dispatch(script, &event);
  assert_contains(logged(), "all right");
  event = make_event("GUILD_CREATE", 3, 12, "{\"id\":\"1184467440737095516\",\"name\":\"x\\\"\\n\"}");
  event.guild_create = TG_GUILD_JOINED;
  event.late = true;
  dispatch(script, &event);
  assert_contains(logged(), "late as well");
  tg_script_free(script);
}

static void an_event_is_over_after_an_inline_call(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local kept\n"
                                       "gateway.filter('MESSAGE_CREATE', function(event)\n"
                                       "  if kept then return kept.size end\n"
                                       "  kept = event\n"
                                       "end)\n");
  struct tg_event event = make_event("MESSAGE_CREATE", 1, 3, "{}");
  assert_int_equal(run_filter(script, &event), TG_PASS);
  struct tg_event next = make_event("MESSAGE_CREATE", 1, 4, "{}");
  assert_int_equal(run_filter(script, &next), TG_PASS);
  assert_contains(logged(), "this event is over");
  tg_script_free(script);
}

static void handlers_that_wait_keep_the_event(void **state)
{
  (void)state;
  struct tg_script *script = load(
      HEAD "gateway.on('MESSAGE_CREATE', function(event, shard)\n"
           "  gateway.sleep(1)\n"
           "  gateway.log.info('after %s %s %s %d', event.data.content, event.id, event.type, shard.id)\n"
           "  assert(event.raw:find('hello', 1, true))\n"
           "end)\n"
           "gateway.on('MESSAGE_DELETE', function(event)\n"
           "  gateway.spawn(function() gateway.log.info('spawned %s', event.data.content) end)\n"
           "end)\n");
  struct tg_event event = make_event("MESSAGE_CREATE", 2, 5, "{\"id\":\"15\",\"content\":\"hello\"}");
  dispatch(script, &event);
  TURN_UNTIL(strstr(logged(), "after hello 15 MESSAGE_CREATE 2"));
  event = make_event("MESSAGE_DELETE", 2, 6, "{\"content\":\"later\"}");
  dispatch(script, &event);
  TURN_UNTIL(strstr(logged(), "spawned later"));
  assert_not_contains(logged(), "failed");
  tg_script_free(script);
}

static struct tg_script *nested_script;

static void dispatch_another(void)
{
  struct tg_event inner = make_event("MESSAGE_CREATE", 1, 2, "{\"content\":\"inner\"}");
  fake.on_packet = NULL;
  dispatch(nested_script, &inner);
}

/* Each dispatch has its event, whatever runs inside of it, and the next one has its own again. */
static void events_inside_of_others_are_told_apart(void **state)
{
  (void)state;
  struct tg_script *script = nested_script =
      load(HEAD "gateway.on('MESSAGE_CREATE', function(event, shard)\n"
                "  if event.sequence == 1 then shard:handle_packet('{}') end\n"
                "  gateway.log.info('first %d %s', event.sequence, event.data.content)\n"
                "end)\n"
                "gateway.on('MESSAGE_CREATE', function(event)\n"
                "  gateway.log.info('second %d %s', event.sequence, event.data.content)\n"
                "end)\n");
  fake.on_packet = dispatch_another;
  struct tg_event outer = make_event("MESSAGE_CREATE", 1, 1, "{\"content\":\"outer\"}");
  dispatch(script, &outer);
  struct tg_event next = make_event("MESSAGE_CREATE", 1, 3, "{\"content\":\"next\"}");
  dispatch(script, &next);
  const char *log = logged(), *at = log;
  static const char *const order[] = {"first 2 inner", "second 2 inner", "first 1 outer",
                                      "second 1 outer", "first 3 next",   "second 3 next"};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    at = at ? strstr(at, order[i]) : NULL;
    if (!at)
      assert_contains("", order[i]);
  }
  tg_script_free(script);
}

static void handlers_can_be_removed_while_they_run(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "local first, second\n"
                "first = gateway.on('MESSAGE_CREATE', function() gateway.log.info 'once' first:remove() "
                "second:remove() end)\n"
                "second = gateway.on('MESSAGE_CREATE', function() gateway.log.info 'never' end)\n");
  struct tg_event event = make_event("MESSAGE_CREATE", 0, 1, "{}");
  dispatch(script, &event);
  assert_int_equal(want(script, "MESSAGE_CREATE"), 0);
  assert_contains(logged(), "once");
  assert_not_contains(logged(), "never");
  tg_script_free(script);
}

static void ordered_handlers_take_one_event_at_a_time(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "gateway.on('MESSAGE_CREATE', function(event)\n"
                                       "  if event.sequence % 2 == 1 then gateway.sleep(3) end\n"
                                       "  local line = gateway.state[event.guild_id] or ''\n"
                                       "  gateway.state[event.guild_id] = line .. event.sequence .. ' '\n"
                                       "  if event.data.last then gateway.log.info('guild %s: %s.', "
                                       "event.guild_id, gateway.state[event.guild_id]) end\n"
                                       "end, { ordered = 'guild' })\n");
  for (int i = 1; i <= 6; i++) {
    for (int guild = 7; guild <= 8; guild++) {
      char data[64];
      snprintf(data, sizeof data, "{\"guild_id\":\"%d\"%s}", guild, i == 6 ? ",\"last\":true" : "");
      struct tg_event event = make_event("MESSAGE_CREATE", 1, (uint64_t)i, data);
      dispatch(script, &event);
    }
  }
  TURN_UNTIL(strstr(logged(), "guild 7: 1 2 3 4 5 6 .") && strstr(logged(), "guild 8: 1 2 3 4 5 6 ."));
  tg_script_free(script);
}

static void a_handler_runs_so_often_at_once_as_it_may(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local now, most, order = 0, 0, ''\n"
                                       "gateway.on('MESSAGE_CREATE', function(event, shard)\n"
                                       "  now = now + 1\n"
                                       "  most = math.max(most, now)\n"
                                       "  order = order .. event.sequence .. event.data.word .. shard.id .. ' '\n"
                                       "  gateway.sleep(1)\n"
                                       "  now = now - 1\n"
                                       "  if event.sequence == 9 then gateway.log.info('%d: %s.', most, order) end\n"
                                       "end, { concurrency = 2 })\n");
  for (int i = 1; i <= 9; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, (uint64_t)i, "{\"word\":\"x\"}");
    dispatch(script, &event);
  }
  TURN_UNTIL(strstr(logged(), "2: 1x1 2x1 3x1 4x1 5x1 6x1 7x1 8x1 9x1 ."));
  tg_script_free(script);
}

static void without_a_word_it_is_256(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local runs = 0\n"
                                       "gateway.on('MESSAGE_CREATE', function()\n"
                                       "  runs = runs + 1\n"
                                       "  gateway.log.info('run %d of it', runs)\n"
                                       "  gateway.sleep(60000)\n"
                                       "end)\n");
  for (int i = 1; i <= 300; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, (uint64_t)i, "{}");
    dispatch(script, &event);
  }
  assert_contains(logged(), "run 256 of it");
  assert_not_contains(logged(), "run 257 of it");
  assert_int_equal(atomic_load(&tg_stats()->lua_waiting), 44);
  tg_script_stop(script);
  assert_contains(logged(), "are not handed to them; their delivery is not affected events=44");
  tg_script_free(script);
}

static void what_waits_for_handlers_is_bounded(void **state)
{
  (void)state;
  uint64_t skipped = atomic_load(&tg_stats()->lua_skipped);
  struct tg_script *script = load(HEAD "gateway.configure { script = { memory = 1024 * 1024 } }\n"
                                       "local done = 0\n"
                                       "gateway.on('MESSAGE_CREATE', function(event)\n"
                                       "  if event.sequence == 1 then gateway.sleep(1) end\n"
                                       "  done = done + 1\n"
                                       "  if event.data.last then gateway.log.info('%d are done', done) end\n"
                                       "end, { ordered = 'shard' })\n");
  char data[6100];
  for (int i = 1; i <= 800; i++) { /* 6 KB each: more than 4 MiB */
    snprintf(data, sizeof data, "{\"text\":\"%06000d\"}", i);
    struct tg_event event = make_event("MESSAGE_CREATE", 1, (uint64_t)i, data);
    dispatch(script, &event);
  }
  assert_contains(logged(), "the handler of MESSAGE_CREATE (bot.lua:4) does not get all events: those that "
                            "wait for handlers take 4.0 MiB");
  uint64_t lost = atomic_load(&tg_stats()->lua_skipped) - skipped;
  assert_true(lost > 50 && lost < 200);
  TURN_UNTIL(atomic_load(&tg_stats()->lua_waiting) == 0);
  struct tg_event last = make_event("MESSAGE_CREATE", 1, 801, "{\"last\":true}");
  dispatch(script, &last);
  char words[32];
  snprintf(words, sizeof words, "%d are done", 801 - (int)lost);
  TURN_UNTIL(strstr(logged(), words));
  tg_script_free(script);
}

static void a_handler_that_is_removed_forgets_what_waits(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local runs, it = 0\n"
                                       "it = gateway.on('MESSAGE_CREATE', function(event)\n"
                                       "  runs = runs + 1\n"
                                       "  gateway.sleep(1)\n"
                                       "  if event.sequence == 1 then it:remove() end\n"
                                       "  gateway.log.info('run %d ends', runs)\n"
                                       "end, { concurrency = 2 })\n");
  for (int i = 1; i <= 5; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, (uint64_t)i, "{}");
    dispatch(script, &event);
  }
  TURN_UNTIL(atomic_load(&tg_stats()->lua_waiting) == 0);
  for (int i = 0; i < 20; i++)
    uv_run(&world_loop, UV_RUN_NOWAIT);
  assert_not_contains(logged(), "run 3 ends");
  tg_script_free(script);
}

static void event_names_are_checked(void **state)
{
  (void)state;
  char *problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.on('MESAGE_CREATE', print)\n");
  assert_contains(problem,
                  "bot.lua:2: gateway.on: there is no event 'MESAGE_CREATE'; did you mean 'MESSAGE_CREATE'?");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.on('ready', print, { concurrency = 2 })\n");
  assert_contains(problem, "gateway.on: 'concurrency' is for dispatches, not for 'ready'");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.on('MESSAGE_CREATE', print, { concurrency = 0.5 })\n");
  assert_contains(problem, "bot.lua:2: gateway.on: concurrency is a whole number from 1 to 1000000");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.on('redy', print)\n");
  assert_contains(problem, "there is no event 'redy'; did you mean 'ready'?");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.filter('ready', false)\n");
  assert_contains(problem, "gateway.filter: there is no event 'ready'");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.on('READY', print, { orderd = 'shard' })\n");
  assert_contains(problem, "gateway.on: bad option 'orderd'");
  free(problem);
  problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.filter('READY', 'no')\n");
  assert_contains(problem,
                  "gateway.filter: expected a function, true or false as second argument, got string");
  free(problem);
  struct tg_script *script = load(HEAD "gateway.filter('GUILD_QUITE_NEW_THING', false)\n");
  assert_int_equal(want(script, "GUILD_QUITE_NEW_THING"), TG_WANT_DROP);
  tg_script_free(script);
}

static void life_events_carry_shard_and_details(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.on('disconnected', function(shard, close)\n"
                "  gateway.log.warn('shard %d closed with %d %s', shard.id, close.code, close.reason)\n"
                "end)\n"
                "gateway.on('handler_down', function(shard, details) assert(shard == nil and details == nil) "
                "error 'x' end)\n");
  json_t *details = json_pack("{s:i, s:s}", "code", 4000, "reason", "why");
  tg_hook_life(tg_script_hooks(script), TG_LIFE_disconnected, &fake_shards[2], details);
  json_decref(details);
  tg_hook_life(tg_script_hooks(script), TG_LIFE_handler_down, NULL, NULL);
  assert_contains(logged(), "warn  tidegate shard 2: shard 2 closed with 4000 why");
  assert_contains(logged(), "handler_down (bot.lua:5) failed");
  assert_contains(logged(), "bot.lua:5: x");
  tg_script_free(script);
}

static void handle_discord_payload_may_call_its_default(void **state)
{
  (void)state;
  struct tg_script *script = load(HEAD "local default = gateway.delivery.handle_discord_payload\n"
                                       "function gateway.delivery:handle_discord_payload(shard, event)\n"
                                       "  assert(self == gateway.delivery and shard.id == event.shard_id)\n"
                                       "  if event.sequence > 1 then return default(self, shard, event) end\n"
                                       "end\n"
                                       "function gateway.cache:guild_create_kind(event) return "
                                       "gateway.default.cache.guild_create_kind(self, event) end\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  for (int i = 1; i <= 2; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, (uint64_t)i, "{}");
    struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_event(&event)};
    assert_true(tg_hook_call(hooks, TG_METHOD_delivery_handle_discord_payload, args, 2, NULL));
  }
  assert_string_equal(fake.calls, "enqueue 2;");
  struct tg_event event = make_event("GUILD_CREATE", 1, 3, "{}");
  struct tg_value arg = tg_value_event(&event), kind;
  assert_true(tg_hook_call(hooks, TG_METHOD_cache_guild_create_kind, &arg, 1, &kind));
  assert_memory_equal(kind.string.at, "joined", 6);
  tg_script_free(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(constant_filters_are_compiled),
      WORLD_TEST(filters_pass_drop_and_replace),
      WORLD_TEST(filters_run_by_priority_and_see_what_the_one_before_made),
      WORLD_TEST(event_fields),
      WORLD_TEST(an_event_is_over_after_an_inline_call),
      WORLD_TEST(handlers_that_wait_keep_the_event),
      WORLD_TEST(events_inside_of_others_are_told_apart),
      WORLD_TEST(handlers_can_be_removed_while_they_run),
      WORLD_TEST(ordered_handlers_take_one_event_at_a_time),
      WORLD_TEST(a_handler_runs_so_often_at_once_as_it_may),
      WORLD_TEST(without_a_word_it_is_256),
      WORLD_TEST(what_waits_for_handlers_is_bounded),
      WORLD_TEST(a_handler_that_is_removed_forgets_what_waits),
      WORLD_TEST(event_names_are_checked),
      WORLD_TEST(life_events_carry_shard_and_details),
      WORLD_TEST(handle_discord_payload_may_call_its_default),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
