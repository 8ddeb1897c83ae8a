/* The messages between manager and workers: what is written is read again. */

#include "worker/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static uv_loop_t loop;
static struct tg_ipc *here, *there;
static int count;

/* What the other side got, as JSON. */
static struct {
  char type[32];
  json_t *json;
} got;

static void on_message(void *ctx, const char *type, const json_t *json)
{
  (void)ctx;
  count++;
  strncpy(got.type, type, sizeof got.type - 1);
  json_decref(got.json);
  got.json = json_deep_copy(json);
}

static void on_closed(void *ctx)
{
  (void)ctx;
}

static int set_up(void **state)
{
  (void)state;
  static const struct tg_ipc_callbacks callbacks = {on_message, on_closed};
  int fds[2];
  count = 0;
  uv_loop_init(&loop);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
    return -1;
  here = tg_ipc_new(&loop, fds[0], &callbacks, NULL);
  there = tg_ipc_new(&loop, fds[1], &callbacks, NULL);
  return here && there ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  json_decref(got.json);
  got.json = NULL;
  tg_ipc_free(here);
  tg_ipc_free(there);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop);
}

static void wait_for_one(void)
{
  while (count == 0)
    uv_run(&loop, UV_RUN_ONCE);
}

static void every_kind_of_field_comes_over(void **state)
{
  (void)state;
  struct tg_message message;
  struct tg_error error;
  json_t *owners = json_pack("[i, i]", 0, 1);
  tg_say(here, start, .total_shards = 2, .gateway_url = "wss://a", .generation = -3, .stamp = INT64_MAX,
         .owners = owners);
  json_decref(owners);
  wait_for_one();
  assert_string_equal(got.type, "start");
  assert_true(tg_message_read(got.type, got.json, &message, &error));
  assert_int_equal(message.type, TG_MESSAGE_start);
  assert_int_equal(message.nonce, 0);
  assert_int_equal(message.start.total_shards, 2);
  assert_string_equal(message.start.gateway_url, "wss://a");
  assert_int_equal(message.start.generation, -3);
  assert_true(message.start.stamp == INT64_MAX);
  assert_int_equal(json_array_size(message.start.owners), 2);
}

static void what_was_left_out_is_zero_false_or_null(void **state)
{
  (void)state;
  struct tg_message message;
  struct tg_error error;
  tg_say(here, set_presence, .ref = 7);
  wait_for_one();
  assert_true(tg_message_read(got.type, got.json, &message, &error));
  assert_int_equal(message.set_presence.ref, 7);
  assert_false(message.set_presence.fresh);
  assert_null(message.set_presence.presence);
}

static void a_text_that_is_no_utf8_still_comes_over(void **state)
{
  (void)state;
  struct tg_message message;
  struct tg_error error;
  tg_say(here, session_lost, .ref = 1, .reason = "bad \xff byte");
  wait_for_one();
  assert_true(tg_message_read(got.type, got.json, &message, &error));
  assert_non_null(strstr(message.session_lost.reason, "bad "));
}

static void a_message_without_fields_is_its_name(void **state)
{
  (void)state;
  struct tg_message message;
  struct tg_error error;
  tg_say(here, still_alive);
  wait_for_one();
  assert_int_equal(json_object_size(got.json), 1);
  assert_true(tg_message_read(got.type, got.json, &message, &error));
  assert_int_equal(message.type, TG_MESSAGE_still_alive);
}

static void on_reply(void *ctx, const json_t *data, const struct tg_error *error)
{
  assert_null(error);
  *(json_int_t *)ctx = json_integer_value(data);
}

static void a_question_has_a_nonce_for_its_answer(void **state)
{
  (void)state;
  struct tg_message message;
  struct tg_error error;
  json_int_t answer = 0;
  tg_ask(here, 60000, on_reply, &answer, kill_shard, .ref = 3);
  wait_for_one();
  assert_true(tg_message_read(got.type, got.json, &message, &error));
  assert_true(message.nonce > 0);
  tg_ipc_answer(there, message.nonce, json_integer(42), NULL);
  while (answer == 0)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(answer, 42);
}

static void refuse(const char *type, json_t *json, const char *words)
{
  struct tg_message message;
  struct tg_error error = {0};
  assert_false(tg_message_read(type, json, &message, &error));
  assert_non_null(strstr(error.message, words));
  json_decref(json);
}

static void a_field_that_is_missing_or_of_another_kind_is_named(void **state)
{
  (void)state;
  refuse("kill_shard", json_object(), "\"ref\" of the message \"kill_shard\"");
  refuse("kill_shard", json_pack("{s:s}", "ref", "3"), "\"ref\"");
  refuse("kill_shard", json_pack("{s:I}", "ref", (json_int_t)1 << 40), "\"ref\"");
  refuse("stop", json_pack("{s:i, s:i}", "keep_sessions", 1, "deadline", 1), "\"keep_sessions\"");
  refuse("session_lost", json_pack("{s:i, s:n}", "ref", 1, "reason"), "\"reason\"");
}

static void a_message_that_is_not_in_the_list_is_refused(void **state)
{
  (void)state;
  refuse("get_shard_info", json_object(), "there is no message \"get_shard_info\"");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_kind_of_field_comes_over, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_was_left_out_is_zero_false_or_null, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_text_that_is_no_utf8_still_comes_over, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_message_without_fields_is_its_name, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_question_has_a_nonce_for_its_answer, set_up, tear_down),
      cmocka_unit_test(a_field_that_is_missing_or_of_another_kind_is_named),
      cmocka_unit_test(a_message_that_is_not_in_the_list_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
