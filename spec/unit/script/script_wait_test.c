/* Coroutines that wait: timers, HTTP, REST, calls to the manager. */

#include "script_world.h"

static void spawn_sleep_after_every(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.spawn(function(a, b)\n"
                "  gateway.log.info('spawned %s %s', a, tostring(b))\n"
                "  assert(gateway.sleep(2) == true)\n"
                "  gateway.log.info 'slept'\n"
                "end, 'x', nil)\n"
                "gateway.after(1, function() gateway.log.info 'after' end)\n"
                "gateway.after(1, function() gateway.log.info 'cancelled timer' end):cancel()\n"
                "local n, timer = 0, nil\n"
                "timer = gateway.every(1, function()\n"
                "  n = n + 1\n"
                "  gateway.sleep(2)\n"
                "  gateway.log.info('every %d', n)\n"
                "  if n == 2 then error 'beat' end\n"
                "  if n == 3 then timer:cancel() timer:cancel() gateway.log.info 'cancelled' end\n"
                "end)\n");
  TURN_UNTIL(strstr(logged(), "cancelled\n") && strstr(logged(), "slept") && strstr(logged(), "after"));
  assert_contains(logged(), "spawned x nil");
  assert_contains(logged(), "gateway.every (bot.lua:10) failed; it will run again");
  assert_not_contains(logged(), "cancelled timer");
  assert_not_contains(logged(), "every 4");
  tg_script_free(script);
}

static void the_time_is_told_twice(void **state)
{
  (void)state;
  tg_ms before = tg_now();
  struct tg_script *script = load(HEAD "local wall, monotonic = gateway.now()\n"
                                       "assert(math.abs(wall / 1000 - os.time()) < 10)\n"
                                       "assert(wall % 1 == 0 and monotonic % 1 == 0)\n"
                                       "gateway.log.info('at %d', monotonic)\n");
  long long told = 0;
  assert_int_equal(sscanf(strstr(logged(), "at "), "at %lld", &told), 1);
  assert_true(told >= before && told <= tg_now());
  tg_script_free(script);
}

static void http_answers_and_fails(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.on('load', function()\n"
                "  local response = gateway.http.post('http://bot/x', { json = { a = 1 }, headers = { "
                "['X-Y'] = 'z' },\n"
                "    query = { q = 'a b' } })\n"
                "  gateway.log.info('%d %s %s %s', response.status, response.body, response.headers['x-a'], "
                "response.data[1])\n"
                "  local none, err = gateway.http.get 'http://bot/y'\n"
                "  gateway.log.info('%s %s %s', tostring(none), err.code, tostring(err))\n"
                "end)\n");
  assert_string_equal(
      fake.http_text,
      "POST http://bot/x?q=a%20b|X-Y: z|Content-Type: application/json|User-Agent: tidegate/" TG_VERSION
      "|{\"a\":1}");
  answer_http(201, "[\"one\"]", "HTTP/1.1 201 Created\r\nX-A: b\r\n");
  assert_contains(logged(), "201 [\"one\"] b one");
  assert_string_equal(fake.http_text, "GET http://bot/y|User-Agent: tidegate/" TG_VERSION "|");
  struct tg_http_response failed = {.error = {.code = "refused", .message = "nobody listens"}};
  fake.http_done(fake.http_ctx, &failed);
  assert_contains(logged(), "nil refused nobody listens");
  tg_script_free(script);
}

static void rest_decodes_and_says_what_was_refused(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.spawn(function()\n"
                "  local user, response = gateway.rest.get('/users/@me')\n"
                "  gateway.log.info('%s %d', user.name, response.status)\n"
                "  local ok = gateway.rest.delete('/channels/5')\n"
                "  gateway.log.info('%s', tostring(ok))\n"
                "  local none, err = gateway.rest.post('/x', { json = { type = 4 } })\n"
                "  gateway.log.info('%s %s %d %s', tostring(none), err.code, err.status, err.message)\n"
                "end)\n");
  TURN_UNTIL(fake.http_done);
  assert_string_equal(fake.http_text,
                      "GET https://discord.com/api/v10/users/@me|Authorization: Bot secret-token-of-the-test|"
                      "User-Agent: DiscordBot (https://github.com/tidegate/tidegate, " TG_VERSION ")|");
  answer_http(200, "{\"name\":\"me\"}", "");
  assert_contains(logged(), "me 200");
  answer_http(204, "", "");
  assert_contains(logged(), "info  tidegate: true");
  answer_http(403, "{\"message\":\"Missing Access\"}", "");
  assert_contains(logged(), "nil status 403 gateway.rest.post: answered 403: Missing Access");
  tg_script_free(script);
}

static void waiting_works_across_pcall_and_the_scripts_own_coroutines(void **state)
{
  (void)state;
  struct tg_script *script =
      load(HEAD "gateway.spawn(function()\n"
                "  local ok, value = pcall(function() gateway.sleep(1) return 'through pcall' end)\n"
                "  gateway.log.info('%s', value)\n"
                "  local co = coroutine.wrap(function(a)\n"
                "    local b = coroutine.yield(a + 1)\n"
                "    gateway.sleep(1)\n"
                "    local inner = coroutine.create(function() gateway.sleep(1) return 'inner' end)\n"
                "    local _, word = coroutine.resume(inner)\n"
                "    coroutine.yield(word .. b)\n"
                "    error('out', 0)\n"
                "  end)\n"
                "  gateway.log.info('%s %s', co(1), co ' with b')\n"
                "  local fine, problem = pcall(co)\n"
                "  gateway.log.info('%s %s', tostring(fine), problem)\n"
                "  local yielded, why = pcall(coroutine.yield, 1)\n"
                "  gateway.log.info('%s', why)\n"
                "end)\n");
  TURN_UNTIL(strstr(logged(), "use gateway.sleep"));
  assert_contains(logged(), "through pcall");
  assert_contains(logged(), "2 inner with b");
  assert_contains(logged(), "false out");
  tg_script_free(script);
}

static void where_waiting_is_impossible_the_error_says_so(void **state)
{
  (void)state;
  char *problem = load_problem(TG_ROLE_WORKER, HEAD "gateway.http.get 'http://x'\n");
  assert_contains(problem, "gateway.http.get waits, which is impossible while the script is being loaded");
  free(problem);
  struct tg_script *script =
      load(HEAD "function gateway.shard:heartbeat() gateway.sleep(1) end\n"
                "gateway.filter('MESSAGE_CREATE', function() gateway.rest.get '/x' end)\n"
                "gateway.on('hello', function()\n"
                "  table.sort({ 1, 2, 3 }, function(a, b) gateway.sleep(1) return a < b end)\n"
                "end)\n"
                "gateway.on('ready', function()\n"
                "  local co = coroutine.create(function() gateway.sleep(60000) end)\n"
                "  table.sort({ 1, 2, 3 }, function(a, b) coroutine.resume(co) return a < b end)\n"
                "end)\n"
                "gateway.on('resumed', function() coroutine.wrap(function() require 'waits' end)() end)\n");
  write_file("waits.lua", "require('tidegate').sleep(1)\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  struct tg_value args[] = {tg_value_shard(&fake_shards[1]), tg_value_int(1)};
  assert_false(tg_hook_call(hooks, TG_METHOD_shard_heartbeat, args, 2, NULL));
  assert_contains(logged(), "gateway.sleep waits, which is impossible inside gateway.shard:heartbeat");
  struct tg_event event = make_event("MESSAGE_CREATE", 1, 1, "{}");
  run_filter(script, &event);
  assert_contains(logged(), "gateway.rest.get waits, which is impossible inside a filter");
  tg_hook_life(hooks, TG_LIFE_hello, NULL, NULL);
  assert_contains(logged(), "gateway.sleep waits, which is impossible in a function that C calls");
  tg_hook_life(hooks, TG_LIFE_ready, NULL, NULL);
  assert_contains(logged(), "a coroutine waits, which is impossible where it was resumed: inside ready");
  tg_hook_life(hooks, TG_LIFE_resumed, NULL, NULL);
  assert_contains(logged(), "here inside resumed");
  tg_script_free(script);
}

struct reply {
  int calls;
  bool ok;
  enum tg_value_kind kind;
  int64_t integer;
  char text[200];
};

static void on_reply(void *ctx, bool ok, const struct tg_value *result)
{
  struct reply *reply = ctx;
  reply->calls++;
  reply->ok = ok;
  reply->kind = result->kind;
  if (result->kind == TG_JSON)
    reply->integer = json_integer_value(result->json);
  if (result->kind == TG_FAILURE)
    snprintf(reply->text, sizeof reply->text, "%.*s", (int)result->string.length, result->string.at);
}

static void methods_that_wait_reply_once(void **state)
{
  (void)state;
  struct tg_script *script = load(
      HEAD
      "function gateway.shard:make_presence()\n"
      "  local response, err = gateway.http.get 'http://presence'\n"
      "  if not response then return nil, err end\n"
      "  if response.status == 500 then error 'five hundred' end\n"
      "  return response.status\n"
      "end\n"
      "function gateway.shard:request_identify() return gateway.default.shard.request_identify(self) end\n");
  struct tg_hooks *hooks = tg_script_hooks(script);
  struct tg_value self = tg_value_shard(&fake_shards[1]);
  struct reply reply = {0};
  assert_true(tg_hook_start(hooks, TG_METHOD_shard_make_presence, &self, 1, on_reply, &reply));
  assert_int_equal(reply.calls, 0);
  answer_http(207, "", "");
  assert_int_equal(reply.calls, 1);
  assert_true(reply.ok && reply.kind == TG_JSON && reply.integer == 207);

  tg_hook_start(hooks, TG_METHOD_shard_make_presence, &self, 1, on_reply, &reply);
  struct tg_http_response failed = {.error = {.code = "timeout", .message = "took too long"}};
  fake.http_done(fake.http_ctx, &failed);
  assert_int_equal(reply.calls, 2);
  assert_true(reply.ok && reply.kind == TG_FAILURE);
  assert_string_equal(reply.text, "took too long");

  tg_hook_start(hooks, TG_METHOD_shard_make_presence, &self, 1, on_reply, &reply);
  answer_http(500, "", "");
  assert_int_equal(reply.calls, 3);
  assert_false(reply.ok);
  assert_contains(logged(), "gateway.shard:make_presence (bot.lua:2) failed; the default is used");
  assert_contains(logged(), "bot.lua:5: five hundred");

  tg_hook_start(hooks, TG_METHOD_shard_request_identify, &self, 1, on_reply, &reply);
  assert_string_equal(fake.calls, "request_identify 1;");
  assert_int_equal(reply.calls, 3);
  fake.slot(fake.slot_ctx, true);
  assert_int_equal(reply.calls, 4);
  assert_true(reply.ok && reply.kind == TG_NIL);
  tg_script_free(script);
}

static void manager_methods_from_a_worker_and_in_the_manager(void **state)
{
  (void)state;
  const char *text = HEAD "gateway.on('load', function()\n"
                          "  local value, err = gateway.manager:send_payload(5, { op = 3 })\n"
                          "  gateway.log.info('%s %s', tostring(value), err and err.code or '-')\n"
                          "end)\n"
                          "function gateway.manager:send_payload() end\n";
  fake.worker_holds = true;
  struct tg_script *script = load(text);
  char expected[80];
  snprintf(expected, sizeof expected, "call_manager %d [5,{\"op\":3}];", TG_METHOD_manager_send_payload);
  assert_string_equal(fake.calls, expected); /* the worker asks the manager, whose override runs there */
  struct tg_error error = {0};
  tg_fail(&error, "queue_full", "too many");
  fake.worker_reply(fake.worker_ctx, NULL, &error);
  assert_contains(logged(), "nil queue_full");
  tg_script_free(script);

  memset(&fake, 0, sizeof fake);
  script = load_as(TG_ROLE_MANAGER,
                   HEAD "gateway.on('load', function()\n"
                        "  gateway.log.info('at once %s', gateway.manager:calculate_worker_id(5))\n"
                        "  gateway.log.info('waited %s', tostring(gateway.manager:kill(5)))\n"
                        "end)\n");
  assert_contains(logged(), "at once 100");
  assert_contains(logged(), "waited 100");
  fake.manager_holds = true;
  tg_hook_life(tg_script_hooks(script), TG_LIFE_load, NULL, NULL);
  assert_contains(logged(), "gateway.manager:calculate_worker_id: no answer came");
  fake.manager_reply(fake.manager_ctx, NULL, NULL);
  tg_script_free(script);
}

/* The worker is freed before the script: nothing of it may be touched. */
static void a_line_that_closes_wakes_nobody_up_any_more(void **state)
{
  (void)state;
  fake.worker_holds = true;
  struct tg_script *script = load(HEAD "gateway.on('load', function()\n"
                                       "  local _, err = gateway.manager:kill(1)\n"
                                       "  gateway.log.info('kill: %s', err.code)\n"
                                       "  gateway.manager:kill(2)\n"
                                       "  gateway.log.info('gone on')\n"
                                       "end)\n");
  struct tg_error error = {0};
  tg_fail(&error, "closed", "gone");
  fake.worker_reply(fake.worker_ctx, NULL, &error);
  TURN_UNTIL(strstr(logged(), "kill: closed"));
  fake.worker_reply(fake.worker_ctx, NULL, &error);
  tg_script_free(script);
  assert_not_contains(logged(), "gone on");
}

static void nothing_is_left_when_the_script_is_freed(void **state)
{
  (void)state;
  struct reply reply = {0};
  struct tg_script *script =
      load(HEAD "function gateway.shard:make_presence() gateway.http.get 'http://x' end\n"
                "gateway.every(1000, function() end)\n"
                "gateway.on('MESSAGE_CREATE', function() gateway.sleep(60000) end,\n"
                "  { ordered = 'shard' })\n"
                "gateway.on('unload', function() gateway.log.info 'goodbye' end)\n");
  struct tg_value self = tg_value_shard(&fake_shards[1]);
  tg_hook_start(tg_script_hooks(script), TG_METHOD_shard_make_presence, &self, 1, on_reply, &reply);
  for (int i = 0; i < 3; i++) {
    struct tg_event event = make_event("MESSAGE_CREATE", 1, 1, "{}");
    dispatch(script, &event);
  }
  tg_script_stop(script);
  assert_false(tg_hooked(tg_script_hooks(script), TG_METHOD_shard_make_presence));
  assert_contains(logged(), "goodbye");
  assert_int_equal(fake.http_cancelled, 9);
  assert_int_equal(reply.calls, 0);
  tg_script_free(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(spawn_sleep_after_every),
      WORLD_TEST(the_time_is_told_twice),
      WORLD_TEST(http_answers_and_fails),
      WORLD_TEST(rest_decodes_and_says_what_was_refused),
      WORLD_TEST(waiting_works_across_pcall_and_the_scripts_own_coroutines),
      WORLD_TEST(where_waiting_is_impossible_the_error_says_so),
      WORLD_TEST(methods_that_wait_reply_once),
      WORLD_TEST(manager_methods_from_a_worker_and_in_the_manager),
      WORLD_TEST(a_line_that_closes_wakes_nobody_up_any_more),
      WORLD_TEST(nothing_is_left_when_the_script_is_freed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
