/* What plugins serve: the hook of the control API, without one. */

#include "script_world.h"

#define CORE "local core = require 'tidegate.core'\n"

static struct {
  int count, status;
  char body[2048], allow[64];
} answered;

static void on_answered(void *ctx, const struct tg_hook_answer *answer)
{
  assert_ptr_equal(ctx, &answered);
  answered.count++;
  answered.status = answer->status;
  snprintf(answered.body, sizeof answered.body, "%.*s", (int)answer->body.length,
           answer->body.length > 0 ? answer->body.at : "");
  snprintf(answered.allow, sizeof answered.allow, "%s", answer->allow ? answer->allow : "");
}

static int ask(struct tg_script *script, const char *method, const char *path, const char *query)
{
  struct tg_hook_request request = {.method = method, .path = path, .query = query};
  memset(&answered, 0, sizeof answered);
  struct tg_hooks *hooks = tg_script_hooks(script);
  hooks->route(hooks->script, &request, on_answered, &answered);
  return answered.count > 0 ? answered.status : 0;
}

static void bytes_of_any_kind_come_through(void **state)
{
  (void)state;
  struct tg_script *script = load_as(TG_ROLE_MANAGER, HEAD CORE
                                     "core.route('x', 'GET', '/:a/y', function(request)\n"
                                     "  return { #request.params.a, request.query['a b'], request.path }\n"
                                     "end)\n");
  assert_int_equal(ask(script, "GET", "/x/a%00b%2F/y", "a%20b=%26"), 200);
  assert_string_equal(answered.body, "[4,\"&\",\"/a%00b%2F/y\"]");
  assert_int_equal(ask(script, "GET", "/x//y", ""), 404);
  assert_int_equal(ask(script, "GET", "/x%00/a/y", ""), 404);
  assert_int_equal(ask(script, "GET", "/x/a/y/", ""), 404);
  assert_int_equal(ask(script, "GET", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", ""), 404);
  assert_int_equal(ask(script, "GET", "", ""), 404);
  assert_int_equal(ask(script, "PUT", "/x/a/y", ""), 405);
  assert_string_equal(answered.allow, "GET, HEAD");
  tg_script_free(script);
}

static void the_end_answers_who_waits(void **state)
{
  (void)state;
  struct tg_script *script = load_as(TG_ROLE_MANAGER, HEAD CORE
                                     "core.route('x', 'GET', '/', function() gateway.sleep(60000) end)\n");
  assert_int_equal(ask(script, "GET", "/x", ""), 0);
  tg_script_stop(script);
  assert_int_equal(answered.count, 1);
  assert_int_equal(answered.status, 503);
  assert_contains(answered.body, "the gateway stops");
  assert_int_equal(ask(script, "GET", "/x", ""), 503);
  tg_script_free(script);
}

static void a_reload_answers_who_waits(void **state)
{
  (void)state;
  struct tg_script *script =
      load_as(TG_ROLE_MANAGER,
              HEAD CORE "core.route('x', 'GET', '/', function() gateway.sleep(60000) return 5 end)\n");
  assert_int_equal(ask(script, "GET", "/x", ""), 0);
  write_file("bot.lua", HEAD CORE "core.route('x', 'GET', '/', function() return 6 end)\n");
  char *problem = NULL;
  assert_true(tg_script_prepare(script, &problem));
  assert_int_equal(answered.count, 0);
  tg_script_commit(script, 2);
  assert_int_equal(answered.count, 1);
  assert_int_equal(answered.status, 503);
  assert_contains(answered.body, "\"cancelled\"");
  assert_int_equal(ask(script, "GET", "/x", ""), 200);
  assert_string_equal(answered.body, "6");
  tg_script_free(script);
}

static void a_worker_checks_and_serves_nothing(void **state)
{
  (void)state;
  struct tg_script *script =
      load_as(TG_ROLE_WORKER, HEAD CORE "core.route('x', 'GET', '/', print)\n"
                                        "core.route('x', 'GET', '/', print)\n"
                                        "local ok, problem = pcall(core.route, 'x', 'GET', 'y', print)\n"
                                        "gateway.log.info('%s', problem)\n"
                                        "ok, problem = pcall(core.route, 'X y', 'GET', '/', print)\n"
                                        "gateway.log.info('%s', problem)\n");
  assert_contains(logged(), "self:route: 'y' does not begin with a '/'");
  assert_contains(logged(), "self:route: 'X y' is not the name of a plugin");
  assert_int_equal(ask(script, "GET", "/x", ""), 404);
  tg_script_free(script);
}

static void there_are_only_so_many(void **state)
{
  (void)state;
  struct tg_script *script =
      load_as(TG_ROLE_MANAGER, HEAD CORE "local ok, problem\n"
                                         "for i = 1, 257 do\n"
                                         "  ok, problem = pcall(core.route, 'x', 'GET', '/' .. i, print)\n"
                                         "end\n"
                                         "gateway.log.info('%s %s', tostring(ok), problem)\n");
  assert_contains(logged(), "false self:route: the plugins of a script have at most 256 routes");
  assert_int_equal(ask(script, "GET", "/x/256", ""), 204);
  assert_int_equal(ask(script, "GET", "/x/257", ""), 404);
  tg_script_free(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(bytes_of_any_kind_come_through), WORLD_TEST(the_end_answers_who_waits),
      WORLD_TEST(a_reload_answers_who_waits),     WORLD_TEST(a_worker_checks_and_serves_nothing),
      WORLD_TEST(there_are_only_so_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
