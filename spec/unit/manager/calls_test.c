/* Calls of methods of gateway.manager: who answers, the script or the default. */

#include "manager/calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct tg_hooks hooks;
static struct tg_calls *calls;
static int defaults_run;
static char room[] = "room";

/* What the script answers, of a method that does not wait; and the call of one that does. */
static struct tg_value result;
static bool fails;
static tg_hook_reply *waiting;
static void *waiting_ctx;

static bool call_script(struct tg_script *script, enum tg_method method, const struct tg_value *args,
                        int count, struct tg_value *value)
{
  (void)script, (void)method, (void)args, (void)count;
  *value = result;
  return !fails;
}

static void start_script(struct tg_script *script, enum tg_method method, const struct tg_value *args,
                         int count, tg_hook_reply *reply, void *ctx)
{
  (void)script, (void)method, (void)args, (void)count;
  waiting = reply;
  waiting_ctx = ctx;
}

static void default_method(void *ctx, const json_t *args, tg_manager_reply *reply, void *reply_ctx)
{
  assert_ptr_equal(ctx, room);
  defaults_run++;
  tg_reply_value(reply, reply_ctx, json_integer((json_int_t)json_array_size(args)));
}

static int set_up(void **state)
{
  (void)state;
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_kill, default_method},
      {TG_METHOD_manager_calculate_shard_id, default_method},
  };
  memset(&hooks, 0, sizeof hooks);
  hooks.call = call_script;
  hooks.start = start_script;
  fails = false;
  defaults_run = 0;
  calls = tg_calls_new(&hooks);
  tg_calls_offer(calls, defaults, 2, room);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_calls_free(calls);
  return 0;
}

static void override(enum tg_method method)
{
  hooks.method[method] = (struct tg_override *)&hooks;
}

struct answer {
  int count;
  json_int_t number;
  char code[TG_ERROR_CODE_SIZE];
};

static void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  struct answer *answer = ctx;
  answer->count++;
  answer->number = json_integer_value(value);
  strcpy(answer->code, error ? error->code : "");
}

static struct answer call(enum tg_method method, json_t *args)
{
  struct answer answer = {0};
  tg_call(calls, method, args, on_reply, &answer);
  json_decref(args);
  return answer;
}

static void without_an_override_the_room_answers(void **state)
{
  (void)state;
  struct answer answer = call(TG_METHOD_manager_kill, json_pack("[i, i]", 1, 2));
  assert_int_equal(answer.number, 2);
  assert_int_equal(call(TG_METHOD_manager_kill, NULL).number, 0);
  assert_int_equal(call(TG_METHOD_manager_kill, json_object()).number, 0);
}

static void what_is_no_list_of_arguments_or_no_method_is_refused(void **state)
{
  (void)state;
  assert_string_equal(call(TG_METHOD_manager_kill, json_string("x")).code, "bad_argument");
  assert_string_equal(call(TG_METHOD_shard_heartbeat, NULL).code, "bad_argument");
  assert_string_equal(call(TG_METHOD_manager_shutdown, NULL).code, "unavailable");
  assert_int_equal(defaults_run, 0);
}

static void an_override_answers_in_its_place(void **state)
{
  (void)state;
  override(TG_METHOD_manager_calculate_shard_id);
  result = tg_value_int(7);
  assert_int_equal(call(TG_METHOD_manager_calculate_shard_id, NULL).number, 7);
  assert_int_equal(defaults_run, 0);
  fails = true;
  assert_int_equal(call(TG_METHOD_manager_calculate_shard_id, json_pack("[i]", 1)).number, 1);
  assert_int_equal(defaults_run, 1);
}

static void the_default_can_be_called_past_it(void **state)
{
  (void)state;
  struct answer answer = {0};
  override(TG_METHOD_manager_kill);
  tg_call_default(calls, TG_METHOD_manager_kill, NULL, on_reply, &answer);
  assert_int_equal(answer.count, 1);
  assert_int_equal(defaults_run, 1);
}

static void one_that_waits_answers_when_it_can(void **state)
{
  (void)state;
  struct answer answer = {0};
  const struct tg_value value = tg_value_int(3);
  override(TG_METHOD_manager_kill);
  tg_call(calls, TG_METHOD_manager_kill, NULL, on_reply, &answer);
  assert_int_equal(answer.count, 0);
  waiting(waiting_ctx, true, &value);
  assert_int_equal(answer.number, 3);
}

static void one_that_fails_has_the_default_run_or_says_why(void **state)
{
  (void)state;
  struct answer answer = {0};
  struct tg_value failure = {.kind = TG_FAILURE, .string = {"no", 2}};
  failure.code = (struct tg_span){"mine", 4};
  override(TG_METHOD_manager_kill);
  tg_call(calls, TG_METHOD_manager_kill, NULL, on_reply, &answer);
  waiting(waiting_ctx, false, NULL);
  assert_int_equal(defaults_run, 1);
  tg_call(calls, TG_METHOD_manager_kill, NULL, on_reply, &answer);
  waiting(waiting_ctx, true, &failure);
  assert_int_equal(answer.count, 2);
  assert_string_equal(answer.code, "mine");
}

static void the_end_answers_and_a_late_one_is_not_heard(void **state)
{
  (void)state;
  struct answer answer = {0};
  const struct tg_value value = tg_value_int(3);
  override(TG_METHOD_manager_kill);
  tg_call(calls, TG_METHOD_manager_kill, NULL, on_reply, &answer);
  tg_calls_end(calls);
  assert_string_equal(answer.code, "cancelled");
  waiting(waiting_ctx, true, &value);
  assert_int_equal(answer.count, 1);
}

static void a_number_out_of_bounds_is_not_taken(void **state)
{
  (void)state;
  override(TG_METHOD_manager_calculate_shard_id);
  result = tg_value_int(7);
  assert_int_equal(tg_call_int(calls, TG_METHOD_manager_calculate_shard_id, NULL, 0, 7, 1), 7);
  assert_int_equal(tg_call_int(calls, TG_METHOD_manager_calculate_shard_id, NULL, 0, 6, 1), 1);
  assert_int_equal(tg_call_int(calls, TG_METHOD_manager_calculate_total_shards, NULL, 0, 6, 2), 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(without_an_override_the_room_answers),
      T(what_is_no_list_of_arguments_or_no_method_is_refused),
      T(an_override_answers_in_its_place),
      T(the_default_can_be_called_past_it),
      T(one_that_waits_answers_when_it_can),
      T(one_that_fails_has_the_default_run_or_says_why),
      T(the_end_answers_and_a_late_one_is_not_heard),
      T(a_number_out_of_bounds_is_not_taken),
  };
#undef T
  return cmocka_run_group_tests(tests, NULL, NULL);
}
