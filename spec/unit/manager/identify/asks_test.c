/* Who waits for a slot of which shard, with the slots and the script played here. */

#include "manager/identify/asks.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SHARDS = 3, FIRST = 4, TOTAL = 16 };

static struct tg_managed_shard *shards;
static struct tg_hooks hooks;
static struct tg_manager_env env;
static struct tg_asks *asks;
static int wanted[SHARDS], allowed[SHARDS];
static bool unreachable;

/* The call of the script that waits; the one before it. */
static struct {
  tg_hook_reply *reply;
  void *ctx;
} call, earlier;
static int calls;

static void start(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                  tg_hook_reply *reply, void *ctx)
{
  (void)script;
  assert_int_equal(method, TG_METHOD_manager_request_identify);
  assert_int_equal(count, 2);
  assert_in_range(args[0].integer, FIRST, FIRST + SHARDS - 1);
  assert_int_equal(args[1].integer, TOTAL);
  earlier = call;
  call.reply = reply;
  call.ctx = ctx;
  calls++;
}

static void answer(bool yes)
{
  const struct tg_value value = {.kind = TG_BOOL, .boolean = yes};
  call.reply(call.ctx, true, &value);
}

static void on_wanted(void *ctx, struct tg_managed_shard *shard)
{
  (void)ctx;
  wanted[shard->id - FIRST]++;
}

static void on_allowed(void *ctx, struct tg_managed_shard *shard)
{
  (void)ctx;
  allowed[shard->id - FIRST]++;
}

static bool is_reachable(void *ctx, const struct tg_managed_shard *shard)
{
  (void)ctx, (void)shard;
  return !unreachable;
}

static int set_up(void **state)
{
  (void)state;
  static const struct tg_asks_events events = {on_wanted, on_allowed, is_reachable};
  memset(wanted, 0, sizeof wanted);
  memset(allowed, 0, sizeof allowed);
  memset(&hooks, 0, sizeof hooks);
  hooks.start = start;
  unreachable = false;
  calls = 0;
  env = (struct tg_manager_env){.hooks = &hooks, .calls = tg_calls_new(&hooks)};
  const struct tg_shard_range range = {.first = FIRST, .last = FIRST + SHARDS - 1, .total = TOTAL};
  tg_shard_set_make(&env.shards, 0, &range);
  shards = env.shards.list;
  asks = tg_asks_new(&env, &events, NULL);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_calls_end(env.calls);
  tg_asks_free(asks);
  tg_calls_free(env.calls);
  tg_shard_set_clear(&env.shards);
  return 0;
}

/* The script has an override; what it points to is nobody's business here. */
static void override(void)
{
  hooks.method[TG_METHOD_manager_request_identify] = (struct tg_override *)&hooks;
}

static void a_worker_waits_for_the_scheduler(void **state)
{
  (void)state;
  tg_asks_of_worker(asks, &shards[1], 1);
  assert_int_equal(wanted[1], 1);
  assert_true(tg_asks_awaited(asks, &shards[1]));
  assert_false(tg_asks_awaited(asks, &shards[0]));
  tg_asks_granted(asks, &shards[1]);
  assert_int_equal(allowed[1], 1);
  assert_false(tg_asks_awaited(asks, &shards[1]));
}

static void it_may_ask_again_and_is_allowed_once(void **state)
{
  (void)state;
  tg_asks_of_worker(asks, &shards[1], 1);
  tg_asks_of_worker(asks, &shards[1], 1);
  assert_int_equal(wanted[1], 2);
  tg_asks_granted(asks, &shards[1]);
  tg_asks_granted(asks, &shards[1]);
  assert_int_equal(allowed[1], 1);
}

static void a_worker_that_cannot_be_reached_is_not_allowed(void **state)
{
  (void)state;
  tg_asks_of_worker(asks, &shards[0], 1);
  unreachable = true;
  tg_asks_granted(asks, &shards[0]);
  assert_int_equal(allowed[0], 0);
}

static void a_script_that_says_yes_needs_no_scheduler(void **state)
{
  (void)state;
  override();
  tg_asks_of_worker(asks, &shards[2], 1);
  tg_asks_of_worker(asks, &shards[2], 1); /* it is asked once */
  assert_int_equal(calls, 1);
  assert_false(tg_asks_awaited(asks, &shards[2]));
  answer(true);
  assert_int_equal(allowed[2], 1);
  assert_int_equal(wanted[2], 0);
}

static void after_a_no_the_scheduler_decides(void **state)
{
  (void)state;
  override();
  tg_asks_of_worker(asks, &shards[2], 1);
  answer(false);
  assert_int_equal(allowed[2], 0);
  assert_int_equal(wanted[2], 1);
  tg_asks_granted(asks, &shards[2]);
  assert_int_equal(allowed[2], 1);
}

static void an_answer_to_an_earlier_process_is_not_for_this_one(void **state)
{
  (void)state;
  const struct tg_value yes = {.kind = TG_BOOL, .boolean = true};
  override();
  tg_asks_of_worker(asks, &shards[0], 1);
  tg_asks_drop(asks, &shards[0], "its worker has ended");
  tg_asks_of_worker(asks, &shards[0], 1);
  assert_int_equal(calls, 2);
  earlier.reply(earlier.ctx, true, &yes);
  assert_int_equal(allowed[0], 0);
  answer(true);
  assert_int_equal(allowed[0], 1);
}

struct told {
  int count;
  bool yes;
  char code[TG_ERROR_CODE_SIZE], message[TG_ERROR_MESSAGE_SIZE];
};

static void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  struct told *told = ctx;
  told->count++;
  told->yes = json_is_true(value);
  if (error) {
    strcpy(told->code, error->code);
    strcpy(told->message, error->message);
  }
}

static void scripts_wait_beside_it(void **state)
{
  (void)state;
  struct told first = {0}, second = {0};
  tg_asks_of_script(asks, &shards[0], on_reply, &first);
  tg_asks_of_script(asks, &shards[0], on_reply, &second);
  assert_int_equal(wanted[0], 2);
  assert_true(tg_asks_awaited(asks, &shards[0]));
  tg_asks_granted(asks, &shards[0]);
  assert_true(first.count == 1 && first.yes && second.count == 1 && second.yes);
  assert_int_equal(allowed[0], 0); /* no worker has asked */
}

static void who_waits_for_a_shard_that_is_gone_hears_why(void **state)
{
  (void)state;
  struct told told = {0};
  tg_asks_of_worker(asks, &shards[0], 1);
  tg_asks_of_script(asks, &shards[0], on_reply, &told);
  tg_asks_drop(asks, &shards[0], "the shard was killed");
  assert_int_equal(told.count, 1);
  assert_string_equal(told.code, "closed");
  assert_string_equal(told.message, "the shard was killed");
  assert_false(tg_asks_awaited(asks, &shards[0]));
  tg_asks_granted(asks, &shards[0]);
  assert_int_equal(allowed[0], 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(a_worker_waits_for_the_scheduler),
      T(it_may_ask_again_and_is_allowed_once),
      T(a_worker_that_cannot_be_reached_is_not_allowed),
      T(a_script_that_says_yes_needs_no_scheduler),
      T(after_a_no_the_scheduler_decides),
      T(an_answer_to_an_earlier_process_is_not_for_this_one),
      T(scripts_wait_beside_it),
      T(who_waits_for_a_shard_that_is_gone_hears_why),
  };
#undef T
  return cmocka_run_group_tests(tests, NULL, NULL);
}
