/* The words between hosts and the broker: what is written is read back, and
 * what makes no sense is refused with a reason. */

#include "manager/identify/broker_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void messages_survive_the_way(void **state)
{
  (void)state;
  for (int word = TG_WORD_CHECK; word <= TG_WORD_UNUSED; word++) {
    struct tg_broker_message message = {
        .word = (enum tg_broker_word)word,
        .shard_id = 40,
        .number = INT64_C(12345678901),
        .priority = TG_IDENTIFY_LOST,
        .total_shards = 48,
        .max_concurrency = 4,
        .first_shard_id = 32,
        .last_shard_id = 47,
        .wait = 1234,
        .sent_ago = 567,
    };
    struct tg_broker_message back;
    struct tg_error error;
    strcpy(message.host, "host-1");
    strcpy(message.bot, "0123456789abcdef");
    json_t *body = tg_broker_message_write(&message);
    assert_true(tg_broker_message_read(body, 40, &back, &error));
    json_decref(body);
    assert_int_equal(back.word, word);
    assert_string_equal(back.host, "host-1");
    assert_string_equal(back.bot, "0123456789abcdef");
    assert_true(back.number == message.number);
    assert_int_equal(back.total_shards, 48);
    assert_int_equal(back.max_concurrency, 4);
    if (word == TG_WORD_CHECK) {
      assert_int_equal(back.first_shard_id, 32);
      assert_int_equal(back.last_shard_id, 47);
    } else if (word == TG_WORD_ASK) {
      assert_int_equal(back.priority, TG_IDENTIFY_LOST);
      assert_true(back.wait == 1234);
    } else if (word != TG_WORD_UNUSED) {
      assert_true(back.sent_ago == 567);
    }
  }
}

static void an_empty_body_is_a_plain_ask(void **state)
{
  (void)state;
  struct tg_broker_message message;
  struct tg_error error;
  json_t *empty = json_object();
  for (int i = 0; i < 2; i++) {
    assert_true(tg_broker_message_read(i ? empty : NULL, 7, &message, &error));
    assert_int_equal(message.word, TG_WORD_ASK);
    assert_int_equal(message.shard_id, 7);
    assert_string_equal(message.host, "");
    assert_true(message.wait == TG_BROKER_WAIT);
  }
  json_decref(empty);
}

static void nonsense_is_refused_by_name(void **state)
{
  (void)state;
  static const char *const cases[][2] = {
      {"[]", "object"},
      {"{\"state\":\"please\"}", "\"state\""},
      {"{\"state\":5}", "\"state\""},
      {"{\"state\":\"sent\"}", "\"host\""},
      {"{\"host\":\"a\"}", "\"number\""},
      {"{\"host\":\"a\",\"number\":\"1\"}", "\"number\""},
      {"{\"host\":\"a\",\"number\":-1}", "\"number\""},
      {"{\"host\":\"\",\"number\":1}", "\"host\""},
      {"{\"host\":\"a b\",\"number\":1}", "\"host\""},
      {"{\"host\":\"a\\u0000b\",\"number\":1}", "\"host\""},
      {"{\"host\":{},\"number\":1}", "\"host\""},
      {"{\"bot\":\"0123456789012345678901\"}", "\"bot\""},
      {"{\"host\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}", "\"host\""},
      {"{\"wait\":60001}", "\"wait\""},
      {"{\"wait\":1.5}", "\"wait\""},
      {"{\"totalShards\":0}", "\"totalShards\""},
      {"{\"priority\":\"high\"}", "\"priority\""},
      {"{\"state\":\"sent\",\"host\":\"a\",\"sentAgo\":-5}", "\"sentAgo\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *body = json_loads(cases[i][0], JSON_ALLOW_NUL, NULL);
    assert_non_null(body);
    struct tg_broker_message message;
    struct tg_error error;
    if (tg_broker_message_read(body, 1, &message, &error))
      fail_msg("%s was accepted", cases[i][0]);
    assert_string_equal(error.code, "bad_request");
    if (!strstr(error.message, cases[i][1]))
      fail_msg("%s: %s", cases[i][0], error.message);
    json_decref(body);
  }
}

static void answers_survive_the_way(void **state)
{
  (void)state;
  for (int verdict = TG_BROKER_NOTED; verdict <= TG_BROKER_DOWN; verdict++) {
    struct tg_broker_answer answer = {.verdict = (enum tg_broker_verdict)verdict,
                                      .waited = -20,
                                      .valid_for = 1000,
                                      .retry_after = 3000,
                                      .max_concurrency = 16,
                                      .why = "because"};
    struct tg_broker_answer back;
    int status;
    json_t *body = tg_broker_answer_write(&answer, &status);
    tg_broker_answer_read(status, body, 2000, "", &back);
    json_decref(body);
    if (verdict == TG_BROKER_MALFORMED) /* to a host a refusal like others */
      assert_int_equal(back.verdict, TG_BROKER_REFUSED);
    else
      assert_int_equal(back.verdict, verdict);
    if (verdict == TG_BROKER_GRANTED) {
      assert_true(back.waited == -20);
      assert_true(back.valid_for == 1000);
    }
    if (verdict == TG_BROKER_NOTED)
      assert_int_equal(back.max_concurrency, 16);
    if (verdict >= TG_BROKER_STALE)
      assert_non_null(strstr(back.why, "because"));
    assert_true(back.retry_after == (verdict == TG_BROKER_HELD_BACK ? 3000 : 2000));
  }
}

static enum tg_broker_verdict verdict_of(int status, const char *text, const char *word)
{
  struct tg_broker_answer answer;
  json_t *body = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
  tg_broker_answer_read(status, body, -1, "refused", &answer);
  json_decref(body);
  if (!strstr(answer.why, word))
    fail_msg("%d: %s", status, answer.why);
  return answer.verdict;
}

static void what_others_answer_is_told_apart(void **state)
{
  (void)state;
  assert_int_equal(verdict_of(0, NULL, "refused"), TG_BROKER_DOWN);
  assert_int_equal(verdict_of(502, "{\"error\":\"bad gateway\"}", "502: bad gateway"), TG_BROKER_DOWN);
  assert_int_equal(verdict_of(429, NULL, "429"), TG_BROKER_DOWN);
  assert_int_equal(verdict_of(401, "{\"error\":\"x\"}", "TIDEGATE_IDENTIFY_SECRET"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(403, NULL, "identify.authorization"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(404, NULL, "identify.url"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(301, NULL, "identify.url"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(409, "{\"error\":\"no code\"}", "no code"), TG_BROKER_REFUSED);
  /* A server that says yes to everything is no broker. */
  assert_int_equal(verdict_of(200, NULL, "identify.url"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(200, "{}", "identify.url"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(200, "[\"granted\"]", "identify.url"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(202, "{\"state\":\"granted\"}", "identify.url"), TG_BROKER_REFUSED);
  assert_int_equal(verdict_of(204, NULL, "204"), TG_BROKER_REFUSED);
}

static void times_that_cannot_be_are_as_if_not_said(void **state)
{
  (void)state;
  static const char *const numbers[] = {"9223372036854775807", "-9223372036854775808", "4294967297", "1e3"};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    char text[300];
    struct tg_broker_answer answer;
    snprintf(text, sizeof text,
             "{\"state\":\"granted\",\"waited\":%s,\"validFor\":%s,\"retryAfter\":%s,\"maxConcurrency\":%s}",
             numbers[i], numbers[i], numbers[i], numbers[i]);
    json_t *body = json_loads(text, 0, NULL);
    tg_broker_answer_read(200, body, -1, "", &answer);
    json_decref(body);
    assert_int_equal(answer.verdict, TG_BROKER_GRANTED);
    assert_true(answer.waited == 0 && answer.valid_for == 0 && answer.retry_after == -1);
    assert_int_equal(answer.max_concurrency, 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_survive_the_way),        cmocka_unit_test(an_empty_body_is_a_plain_ask),
      cmocka_unit_test(nonsense_is_refused_by_name),     cmocka_unit_test(answers_survive_the_way),
      cmocka_unit_test(what_others_answer_is_told_apart),
      cmocka_unit_test(times_that_cannot_be_are_as_if_not_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
