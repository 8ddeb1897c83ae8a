/* Turns to identify of one host of a cluster, with workers, the script and the cluster played here. */

#include "manager/identify/slots.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SHARDS = 8, BUCKETS = 4, EPOCH = 1790000000 };

static struct {
  uv_loop_t loop;
  char dir[64];
  struct tg_config config;
  struct tg_gateway_info info;
  struct tg_hooks hooks;
  struct tg_manager_env env;
  struct tg_slots *slots;
  struct tg_managed_shard *shards;
  bool worker_is_gone, held_back;
  char told[512]; /* what the cluster was told, a word and a shard each */
  int started[SHARDS], allowed[SHARDS];
  enum tg_identify_priority priority;
  int64_t asks; /* of workers, so far */
  int64_t ask;  /* that was granted */
  tg_ms deadline;
  uint64_t epoch;
} host;

static void tell(const char *word, const struct tg_managed_shard *shard)
{
  size_t length = strlen(host.told);
  snprintf(host.told + length, sizeof host.told - length, "%s%s %d", length ? ", " : "", word, shard->id);
}

/* What may go now goes in the loop's next turn. */
static void turn(void)
{
  uv_run(&host.loop, UV_RUN_NOWAIT);
}

#define assert_told(text)                                                                                    \
  do {                                                                                                       \
    turn();                                                                                                  \
    assert_string_equal(host.told, text);                                                                    \
    host.told[0] = '\0';                                                                                     \
  } while (0)

/* ---- what slots tell ---- */

static void on_start(void *ctx, struct tg_managed_shard *shard)
{
  (void)ctx;
  host.started[shard->id]++;
}

static bool is_reachable(void *ctx, const struct tg_managed_shard *shard)
{
  (void)ctx, (void)shard;
  return !host.worker_is_gone;
}

static void on_allow(void *ctx, struct tg_managed_shard *shard, int64_t ask, tg_ms deadline, uint64_t epoch)
{
  (void)ctx;
  host.ask = ask;
  host.allowed[shard->id]++;
  host.deadline = deadline;
  host.epoch = epoch;
}

static void on_ask(void *ctx, struct tg_managed_shard *shard, enum tg_identify_priority priority)
{
  (void)ctx;
  host.priority = priority;
  tell("ask", shard);
}

static void on_unask(void *ctx, struct tg_managed_shard *shard)
{
  (void)ctx;
  tell("unask", shard);
}

static void on_sent(void *ctx, struct tg_managed_shard *shard)
{
  (void)ctx;
  tell("sent", shard);
}

static void on_done(void *ctx, struct tg_managed_shard *shard, bool ready)
{
  (void)ctx;
  tell(ready ? "ready" : "failed", shard);
}

static bool is_held_back(void *ctx)
{
  (void)ctx;
  return host.held_back;
}

/* ---- the script: requests of its override wait here ---- */

static struct {
  tg_hook_reply *reply;
  void *ctx;
} call;

static void start_override(struct tg_script *script, enum tg_method method, const struct tg_value *args,
                           int count, tg_hook_reply *reply, void *ctx)
{
  (void)script, (void)method, (void)args, (void)count;
  call.reply = reply;
  call.ctx = ctx;
}

static void override(void)
{
  host.hooks.start = start_override;
  host.hooks.method[TG_METHOD_manager_request_identify] = (struct tg_override *)&host.hooks;
}

static void script_answers(bool yes)
{
  const struct tg_value value = {.kind = TG_BOOL, .boolean = yes};
  call.reply(call.ctx, true, &value);
}

static void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  *(int *)ctx = !error && json_is_true(value) ? 1 : -1;
}

/* gateway.default.manager.request_identify(self, shard_id) */
static void script_asks(int shard_id, int *granted)
{
  json_t *args = json_pack("[i]", shard_id);
  tg_call_default(host.env.calls, TG_METHOD_manager_request_identify, args, on_reply, granted);
  json_decref(args);
}

/* ---- a host ---- */

static int set_up(void **state)
{
  (void)state;
  static const struct tg_slots_events events = {
      .start = on_start,
      .reachable = is_reachable,
      .allow = on_allow,
      .ask = on_ask,
      .unask = on_unask,
      .sent = on_sent,
      .done = on_done,
      .held_back = is_held_back,
  };
  memset(&host, 0, sizeof host);
  strcpy(host.dir, "/tmp/tidegate-slots-XXXXXX");
  if (!mkdtemp(host.dir))
    return -1;
  uv_loop_init(&host.loop);
  host.config.spawn_shard_delay = 5300;
  host.config.resharding.identify_reserve = 10;
  host.info =
      (struct tg_gateway_info){.shards = SHARDS, .total = 0, .remaining = 0, .max_concurrency = BUCKETS};
  host.env = (struct tg_manager_env){.loop = &host.loop,
                                     .config = &host.config,
                                     .hooks = &host.hooks,
                                     .calls = tg_calls_new(&host.hooks),
                                     .state_dir = host.dir,
                                     .info = &host.info,
                                     .clustered = true};
  const struct tg_shard_range range = {.first = 0, .last = SHARDS - 1, .total = SHARDS};
  tg_shard_set_make(&host.env.shards, 0, &range);
  host.shards = host.env.shards.list;
  host.slots = tg_slots_new(&host.env, &events, NULL);
  tg_slots_begin(host.slots);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_calls_end(host.env.calls);
  tg_slots_end(host.slots, "the test is over");
  tg_slots_free(host.slots);
  tg_calls_free(host.env.calls);
  tg_shard_set_clear(&host.env.shards);
  uv_run(&host.loop, UV_RUN_DEFAULT);
  char path[128];
  snprintf(path, sizeof path, "%s/identify.json", host.dir);
  unlink(path);
  rmdir(host.dir);
  return uv_loop_close(&host.loop);
}

static struct tg_managed_shard *asks(int shard_id, enum tg_identify_priority priority)
{
  struct tg_managed_shard *shard = &host.shards[shard_id];
  tg_slots_enqueue(host.slots, shard, priority);
  turn();
  assert_int_equal(tg_slots_state(host.slots, shard), TG_IDENTIFY_STARTED);
  tg_slots_asked(host.slots, shard, ++host.asks);
  turn();
  return shard;
}

static void grant(struct tg_managed_shard *shard, uint64_t epoch)
{
  tg_slots_granted(host.slots, shard, tg_now() + TG_GRANT_VALID, epoch);
  turn();
}

/* ---- the way of a turn ---- */

static void a_shard_that_has_its_hello_asks_once(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_LOST);
  assert_told("ask 3");
  assert_int_equal(host.priority, TG_IDENTIFY_LOST);
  tg_slots_asked(host.slots, shard, ++host.asks); /* with its next connection */
  assert_told("");
  assert_int_equal(host.allowed[3], 0); /* its bucket has rested, and nothing is spent: the cluster decides */
}

static void its_grant_has_the_epoch_of_the_session(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  tg_ms deadline = tg_now() + 300;
  tg_slots_granted(host.slots, shard, deadline, EPOCH);
  assert_int_equal(host.allowed[3], 1);
  assert_true(host.deadline == deadline && host.epoch == EPOCH);
  tg_slots_sent(host.slots, shard);
  tg_slots_done(host.slots, shard, true);
  assert_told("ask 3, sent 3, ready 3");
}

static void what_comes_too_late_is_given_back_and_asked_for_again(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  tg_slots_granted(host.slots, shard, tg_now(), EPOCH);
  assert_int_equal(host.allowed[3], 0);
  assert_told("ask 3, unask 3, ask 3");
  grant(shard, EPOCH + 1);
  assert_int_equal(host.epoch, EPOCH + 1);
}

static void what_its_worker_does_not_use_is_given_back(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  grant(shard, EPOCH);
  tg_slots_unused(host.slots, shard);
  assert_told("ask 3, unask 3");
  tg_slots_asked(host.slots, shard, ++host.asks);
  turn();
  grant(shard, EPOCH + 2);
  tg_slots_sent(host.slots, shard);
  assert_told("ask 3, sent 3");
}

static void nobody_waits_for_a_shard_whose_connection_is_gone(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  tg_slots_unused(host.slots, shard);
  assert_told("ask 3, unask 3");
  grant(shard, EPOCH); /* had been under way */
  assert_told("unask 3");
  assert_int_equal(host.allowed[3], 0);
}

/* So that the worker can tell it from what it has asked before. */
static void a_grant_answers_what_was_asked_last(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  tg_slots_asked(host.slots, shard, 7);
  grant(shard, EPOCH);
  assert_int_equal(host.ask, 7);
}

static void a_failed_identify_waits_before_it_asks_again(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  grant(shard, EPOCH);
  tg_slots_sent(host.slots, shard);
  tg_slots_done(host.slots, shard, false);
  assert_told("ask 3, sent 3, failed 3");
  tg_slots_asked(host.slots, shard, ++host.asks);
  assert_told("");
}

static void the_cluster_alone_counts_and_paces(void **state)
{
  (void)state;
  struct tg_managed_shard *first = asks(1, TG_IDENTIFY_FIRST);
  grant(first, EPOCH);
  tg_slots_sent(host.slots, first);
  struct tg_managed_shard *second = asks(5, TG_IDENTIFY_FIRST); /* of the same bucket, which is in use here */
  assert_told("ask 1, sent 1, ask 5");
  grant(second, EPOCH + 1);
  assert_int_equal(host.allowed[5], 1);
}

/* ---- who connects ---- */

static void one_of_a_bucket_connects_ahead_of_its_turn(void **state)
{
  (void)state;
  for (int i = 0; i < SHARDS; i++)
    tg_slots_enqueue(host.slots, &host.shards[i], TG_IDENTIFY_FIRST);
  turn();
  for (int i = 0; i < SHARDS; i++)
    assert_int_equal(host.started[i], i < BUCKETS);
  tg_slots_asked(host.slots, &host.shards[2], ++host.asks);
  assert_int_equal(host.started[6], 0);
  grant(&host.shards[2], EPOCH);
  assert_int_equal(host.started[6], 0);
  tg_slots_sent(host.slots, &host.shards[2]); /* long before the bucket has rested */
  turn();
  assert_int_equal(host.started[6], 1);
  assert_int_equal(host.started[7], 0);
}

static void who_is_slow_to_connect_does_not_keep_others(void **state)
{
  (void)state;
  tg_slots_enqueue(host.slots, &host.shards[2], TG_IDENTIFY_FIRST);
  tg_slots_enqueue(host.slots, &host.shards[6], TG_IDENTIFY_FIRST);
  tg_ms began = tg_now();
  while (!host.started[6] && tg_now() < began + 10000)
    uv_run(&host.loop, UV_RUN_ONCE);
  assert_int_equal(host.started[6], 1);
  assert_true(tg_now() >= began + TG_START_ORDER);
}

static void nobody_connects_while_nobody_may_identify(void **state)
{
  (void)state;
  host.held_back = true;
  tg_slots_enqueue(host.slots, &host.shards[2], TG_IDENTIFY_FIRST);
  turn();
  assert_int_equal(host.started[2], 0);
  assert_true(tg_slots_held_back(host.slots));
  host.held_back = false;
  tg_ms began = tg_now();
  while (!host.started[2] && tg_now() < began + 10000)
    uv_run(&host.loop, UV_RUN_ONCE);
  assert_int_equal(host.started[2], 1);
}

/* ---- deaths ---- */

static void a_worker_that_dies_may_have_sent(void **state)
{
  (void)state;
  struct tg_managed_shard *granted = asks(1, TG_IDENTIFY_FIRST), *sent = asks(2, TG_IDENTIFY_FIRST),
                          *waits = asks(3, TG_IDENTIFY_FIRST);
  grant(granted, EPOCH);
  grant(sent, EPOCH + 1);
  tg_slots_sent(host.slots, sent);
  assert_told("ask 1, ask 2, ask 3, sent 2");
  host.worker_is_gone = true;
  tg_slots_gone(host.slots, granted, "dead");
  tg_slots_gone(host.slots, sent, "dead");
  tg_slots_gone(host.slots, waits, "dead");
  assert_told("sent 1, failed 1, failed 2, unask 3");
}

static void of_a_shard_that_is_taken_away_its_worker_has_the_last_word(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(1, TG_IDENTIFY_FIRST);
  grant(shard, EPOCH);
  tg_slots_gone(host.slots, shard, "another host has it");
  assert_told("ask 1");
  tg_slots_sent(host.slots, shard); /* it had just left */
  tg_slots_done(host.slots, shard, false);
  assert_told("sent 1, failed 1");

  shard = asks(2, TG_IDENTIFY_FIRST);
  grant(shard, EPOCH);
  tg_slots_gone(host.slots, shard, "another host has it");
  tg_slots_unused(host.slots, shard);
  assert_told("ask 2, unask 2");
}

static void the_end_leaves_nobody_in_line(void **state)
{
  (void)state;
  asks(1, TG_IDENTIFY_FIRST);
  grant(asks(2, TG_IDENTIFY_FIRST), EPOCH);
  host.env.stopping = true;
  tg_slots_end(host.slots, "the gateway is stopping");
  assert_told("ask 1, ask 2, unask 1");
  grant(&host.shards[1], EPOCH);
  assert_told("unask 1");
}

/* ---- scripts ---- */

static void a_script_may_wait_for_the_turn_itself(void **state)
{
  (void)state;
  int granted = 0;
  override();
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  assert_told("");
  script_asks(3, &granted);
  assert_told("ask 3");
  grant(shard, EPOCH);
  assert_int_equal(granted, 1);
  assert_int_equal(host.allowed[3], 0);
  script_answers(true);
  assert_int_equal(host.allowed[3], 1);
  assert_int_equal(host.epoch, EPOCH);
  tg_slots_sent(host.slots, shard);
  assert_told("sent 3");
}

static void a_script_that_says_yes_by_itself_has_put_it_in_line(void **state)
{
  (void)state;
  override();
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  script_answers(true);
  assert_int_equal(host.allowed[3], 0); /* other hosts know nothing of that script */
  assert_told("ask 3");
  grant(shard, EPOCH);
  assert_int_equal(host.epoch, EPOCH);
}

static void a_worker_that_waits_for_nobody_gives_up_its_turn(void **state)
{
  (void)state;
  struct tg_managed_shard *shard = asks(3, TG_IDENTIFY_FIRST);
  tg_slots_sent(host.slots, shard); /* its script has overridden gateway.shard:request_identify */
  assert_told("ask 3, unask 3");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(a_shard_that_has_its_hello_asks_once),
      T(its_grant_has_the_epoch_of_the_session),
      T(what_comes_too_late_is_given_back_and_asked_for_again),
      T(what_its_worker_does_not_use_is_given_back),
      T(nobody_waits_for_a_shard_whose_connection_is_gone),
      T(a_grant_answers_what_was_asked_last),
      T(a_failed_identify_waits_before_it_asks_again),
      T(the_cluster_alone_counts_and_paces),
      T(one_of_a_bucket_connects_ahead_of_its_turn),
      T(who_is_slow_to_connect_does_not_keep_others),
      T(nobody_connects_while_nobody_may_identify),
      T(a_worker_that_dies_may_have_sent),
      T(of_a_shard_that_is_taken_away_its_worker_has_the_last_word),
      T(the_end_leaves_nobody_in_line),
      T(a_script_may_wait_for_the_turn_itself),
      T(a_script_that_says_yes_by_itself_has_put_it_in_line),
      T(a_worker_that_waits_for_nobody_gives_up_its_turn),
  };
#undef T
  return cmocka_run_group_tests(tests, NULL, NULL);
}
