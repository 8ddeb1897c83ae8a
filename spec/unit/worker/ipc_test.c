/* Messages between manager and workers over a socketpair. */

#include "worker/ipc.h"

#include "base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_SEEN = 16, PATIENCE = 5000 };

struct side {
  struct tg_ipc *ipc;
  char types[MAX_SEEN][32];
  json_t *messages[MAX_SEEN];
  int count;
  int closed;
  bool answers;
  bool frees_on_message, frees_on_close;
};

struct answer {
  int count;
  json_t *data;
  struct tg_error error;
};

static uv_loop_t loop;

static int64_t nonce_of(const json_t *message)
{
  return json_integer_value(json_object_get(message, "nonce"));
}

static void on_message(void *ctx, const char *type, const json_t *message)
{
  struct side *side = ctx;
  assert_true(side->count < MAX_SEEN);
  strncpy(side->types[side->count], type, sizeof side->types[0] - 1);
  side->messages[side->count++] = json_deep_copy(message);
  if (side->answers) {
    struct tg_error error = {0};
    if (json_object_get(message, "fail"))
      tg_fail(&error, "no_shard", "there is no shard %d", 7);
    tg_ipc_answer(side->ipc, nonce_of(message), json_pack("{s:s}", "hello", "there"), &error);
  }
  if (side->frees_on_message) {
    tg_ipc_free(side->ipc);
    side->ipc = NULL;
  }
}

static void on_closed(void *ctx)
{
  struct side *side = ctx;
  side->closed++;
  if (side->frees_on_close) {
    tg_ipc_free(side->ipc);
    side->ipc = NULL;
  }
}

static const struct tg_ipc_callbacks callbacks = {on_message, on_closed};

static void on_reply(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct answer *answer = ctx;
  answer->count++;
  answer->data = json_deep_copy(data);
  if (error)
    answer->error = *error;
}

static void make_pair(int fds[2])
{
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void open_sides(struct side *a, struct side *b)
{
  int fds[2];
  make_pair(fds);
  a->ipc = tg_ipc_new(&loop, fds[0], &callbacks, a);
  b->ipc = tg_ipc_new(&loop, fds[1], &callbacks, b);
}

static void drop(struct side *side)
{
  tg_ipc_free(side->ipc);
  side->ipc = NULL;
  for (int i = 0; i < side->count; i++)
    json_decref(side->messages[i]);
}

static void on_tick(uv_timer_t *timer)
{
  (void)timer;
}
static void on_tick_closed(uv_handle_t *timer)
{
  free(timer);
}

/* Turns the loop until `*value` has reached `wanted`. */
static void run_until(const int *value, int wanted)
{
  uv_timer_t *tick = malloc(sizeof *tick); /* so that the loop never waits for good */
  uv_timer_init(&loop, tick);
  uv_timer_start(tick, on_tick, 10, 10);
  tg_ms deadline = tg_now() + PATIENCE;
  while (*value < wanted && tg_now() < deadline)
    uv_run(&loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)tick, on_tick_closed);
  assert_int_equal(*value, wanted);
}

/* A process that has no loop yet takes one message, and leaves the rest to what follows. */
static void the_first_can_be_waited_for(void **state)
{
  (void)state;
  int fds[2];
  make_pair(fds);
  static const char text[] = "{\"type\":\"SECRETS\",\"environment\":{\"A\":\"b\"}}\n"
                             "{\"type\":\"START\"}\nrubbish\n";
  assert_int_equal(write(fds[0], text, sizeof text - 1), sizeof text - 1);
  json_t *message = tg_ipc_receive(fds[1]);
  assert_string_equal(json_string_value(json_object_get(json_object_get(message, "environment"), "A")), "b");
  json_decref(message);
  message = tg_ipc_receive(fds[1]);
  assert_string_equal(json_string_value(json_object_get(message, "type")), "START");
  json_decref(message);
  assert_null(tg_ipc_receive(fds[1]));
  assert_int_equal(write(fds[0], "{}", 2), 2);
  close(fds[0]);
  assert_null(tg_ipc_receive(fds[1])); /* it broke off */
  assert_null(tg_ipc_receive(fds[1]));
  close(fds[1]);
  assert_null(tg_ipc_receive(-1));
}

static void messages_arrive_in_order(void **state)
{
  (void)state;
  struct side a = {0}, b = {0};
  open_sides(&a, &b);
  for (int i = 0; i < 10; i++)
    tg_ipc_send(a.ipc, "identify_shard", json_pack("{s:i}", "shard_id", i));
  tg_ipc_send(a.ipc, "still_alive", NULL);
  run_until(&b.count, 11);
  for (int i = 0; i < 10; i++) {
    assert_string_equal(b.types[i], "identify_shard");
    assert_int_equal(json_integer_value(json_object_get(b.messages[i], "shard_id")), i);
  }
  assert_string_equal(b.types[10], "still_alive");
  assert_true(tg_ipc_flushed(a.ipc));
  drop(&a);
  drop(&b);
}

static void messages_survive_any_split(void **state)
{
  (void)state;
  static const char text[] = "{\"type\":\"ONE\",\"text\":\"a\\nb\"}\n{\"type\":\"TWO\"}\n";
  struct side side = {0};
  int fds[2];
  make_pair(fds);
  side.ipc = tg_ipc_new(&loop, fds[0], &callbacks, &side);
  for (size_t i = 0; i < sizeof text - 1; i++) {
    assert_int_equal(write(fds[1], text + i, 1), 1);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  run_until(&side.count, 2);
  assert_string_equal(side.types[0], "ONE");
  assert_string_equal(json_string_value(json_object_get(side.messages[0], "text")), "a\nb");
  assert_string_equal(side.types[1], "TWO");
  close(fds[1]);
  drop(&side);
}

static void rubbish_is_passed_over(void **state)
{
  (void)state;
  static const char text[] = "not json\n[1]\n{\"no\":\"type\"}\n\n{\"type\":\"GOOD\"}\n";
  struct side side = {0};
  int fds[2];
  make_pair(fds);
  side.ipc = tg_ipc_new(&loop, fds[0], &callbacks, &side);
  assert_int_equal(write(fds[1], text, sizeof text - 1), sizeof text - 1);
  run_until(&side.count, 1);
  assert_string_equal(side.types[0], "GOOD");
  close(fds[1]);
  drop(&side);
}

static void large_messages_pass(void **state)
{
  (void)state;
  struct side a = {0}, b = {0};
  open_sides(&a, &b);
  size_t size = 3 * 1024 * 1024;
  char *big = malloc(size + 1);
  memset(big, 'x', size);
  big[size] = '\0';
  tg_ipc_send(a.ipc, "members_chunk", json_pack("{s:s}", "data", big));
  assert_false(tg_ipc_flushed(a.ipc));
  run_until(&b.count, 1);
  assert_string_equal(json_string_value(json_object_get(b.messages[0], "data")), big);
  free(big);
  drop(&a);
  drop(&b);
}

static void requests_are_answered_by_nonce(void **state)
{
  (void)state;
  struct side a = {0}, b = {.answers = true};
  struct answer good = {0}, bad = {0};
  open_sides(&a, &b);
  tg_ipc_request(a.ipc, "prepare_reload", NULL, PATIENCE, on_reply, &good);
  tg_ipc_request(a.ipc, "kill_shard", json_pack("{s:b}", "fail", 1), PATIENCE, on_reply, &bad);
  run_until(&bad.count, 1);
  run_until(&good.count, 1);
  assert_string_equal(json_string_value(json_object_get(good.data, "hello")), "there");
  assert_string_equal(good.error.code, "");
  assert_null(bad.data);
  assert_string_equal(bad.error.code, "no_shard");
  assert_string_equal(bad.error.message, "there is no shard 7");
  assert_int_equal(a.count, 0); /* replies are not messages */
  json_decref(good.data);
  drop(&a);
  drop(&b);
}

static void an_answer_without_anything_is_null(void **state)
{
  (void)state;
  struct side a = {0};
  struct answer answer = {0};
  char asked[200] = "", text[100];
  int fds[2];
  make_pair(fds);
  a.ipc = tg_ipc_new(&loop, fds[0], &callbacks, &a);
  tg_ipc_request(a.ipc, "prepare_reload", NULL, PATIENCE, on_reply, &answer);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_true(read(fds[1], asked, sizeof asked - 1) > 0);
  json_t *question = json_loads(asked, 0, NULL);
  int length = snprintf(text, sizeof text, "{\"type\":\"nonce_reply\",\"nonce\":%lld}\n",
                        (long long)nonce_of(question));
  json_decref(question);
  assert_int_equal(write(fds[1], text, (size_t)length), length);
  run_until(&answer.count, 1);
  assert_true(json_is_null(answer.data));
  assert_string_equal(answer.error.code, "");
  close(fds[1]);
  drop(&a);
}

static void messages_without_nonce_are_not_answered(void **state)
{
  (void)state;
  struct side a = {0}, b = {.answers = true};
  open_sides(&a, &b);
  tg_ipc_send(a.ipc, "FIRST", NULL);
  run_until(&b.count, 1);
  tg_ipc_send(b.ipc, "AFTER", NULL);
  run_until(&a.count, 1);
  assert_string_equal(a.types[0], "AFTER");
  drop(&a);
  drop(&b);
}

static void requests_time_out_alone(void **state)
{
  (void)state;
  struct side a = {0}, b = {0};
  struct answer quick = {0}, slow = {0};
  open_sides(&a, &b);
  tg_ipc_request(a.ipc, "SLOW", NULL, PATIENCE, on_reply, &slow);
  tg_ms start = tg_now();
  tg_ipc_request(a.ipc, "QUICK", NULL, 30, on_reply, &quick);
  run_until(&quick.count, 1);
  assert_true(tg_now() - start >= 30);
  assert_string_equal(quick.error.code, "timeout");
  assert_int_equal(slow.count, 0);
  /* The answer that comes too late is thrown away. */
  tg_ipc_answer(b.ipc, nonce_of(b.messages[1]), json_true(), NULL);
  tg_ipc_answer(b.ipc, nonce_of(b.messages[0]), json_true(), NULL);
  run_until(&slow.count, 1);
  assert_true(json_is_true(slow.data));
  assert_int_equal(quick.count, 1);
  drop(&a);
  drop(&b);
}

static void the_end_of_the_other_side_is_noticed(void **state)
{
  (void)state;
  struct side a = {.frees_on_close = true}, b = {0};
  struct answer waiting = {0};
  open_sides(&a, &b);
  tg_ipc_request(a.ipc, "ANY", NULL, PATIENCE, on_reply, &waiting);
  drop(&b);
  run_until(&a.closed, 1);
  assert_int_equal(waiting.count, 1);
  assert_string_equal(waiting.error.code, "closed");
  assert_null(a.ipc);
}

static void a_closed_line_takes_no_more(void **state)
{
  (void)state;
  struct side a = {0}, b = {0};
  struct answer late = {0};
  open_sides(&a, &b);
  drop(&b);
  run_until(&a.closed, 1);
  tg_ipc_send(a.ipc, "ANY", json_pack("{s:i}", "shard_id", 1));
  tg_ipc_request(a.ipc, "ANY", json_pack("{s:i}", "shard_id", 1), PATIENCE, on_reply, &late);
  assert_int_equal(late.count, 1);
  assert_string_equal(late.error.code, "closed");
  assert_true(tg_ipc_flushed(a.ipc));
  drop(&a);
  assert_int_equal(a.closed, 1);
}

static void may_be_freed_while_it_delivers(void **state)
{
  (void)state;
  struct side a = {0}, b = {.frees_on_message = true};
  open_sides(&a, &b);
  tg_ipc_send(a.ipc, "ONE", NULL);
  tg_ipc_send(a.ipc, "TWO", NULL);
  run_until(&b.count, 1);
  run_until(&a.closed, 1);
  assert_int_equal(b.count, 1);
  assert_int_equal(b.closed, 0);
  drop(&a);
  drop(&b);
}

static int set_up(void **state)
{
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
  (void)state;
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_first_can_be_waited_for, set_up, tear_down),
      cmocka_unit_test_setup_teardown(messages_arrive_in_order, set_up, tear_down),
      cmocka_unit_test_setup_teardown(messages_survive_any_split, set_up, tear_down),
      cmocka_unit_test_setup_teardown(rubbish_is_passed_over, set_up, tear_down),
      cmocka_unit_test_setup_teardown(large_messages_pass, set_up, tear_down),
      cmocka_unit_test_setup_teardown(requests_are_answered_by_nonce, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_answer_without_anything_is_null, set_up, tear_down),
      cmocka_unit_test_setup_teardown(messages_without_nonce_are_not_answered, set_up, tear_down),
      cmocka_unit_test_setup_teardown(requests_time_out_alone, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_end_of_the_other_side_is_noticed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_closed_line_takes_no_more, set_up, tear_down),
      cmocka_unit_test_setup_teardown(may_be_freed_while_it_delivers, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
