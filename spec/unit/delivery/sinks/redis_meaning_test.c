/* What Redis says, as an answer to a parcel. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/sinks/redis_meaning.h"

#include <string.h>

static struct tg_answer refused(const char *text, bool *of_key)
{
  struct tg_answer answer = {.retry_after = -1};
  *of_key = tg_redis_refused(&answer, "redis://r", (struct tg_span){text, strlen(text)});
  return answer;
}

static void each_error_has_its_meaning(void **state)
{
  (void)state;
  const struct {
    const char *text, *code;
    enum tg_outcome expected;
    bool has_advice;
  } rows[] = {
      {"OOM command not allowed when used memory > 'maxmemory'.", "oom", TG_OUTCOME_BUSY, false},
      {"EXECABORT Transaction discarded because of: OOM command not allowed", "oom", TG_OUTCOME_BUSY, false},
      {"EXECABORT Transaction discarded because of previous errors.", "execabort", TG_OUTCOME_BUSY, false},
      {"LOADING Redis is loading the dataset in memory", "loading", TG_OUTCOME_BUSY, false},
      {"BUSY Redis is busy running a script.", "busy", TG_OUTCOME_BUSY, false},
      {"READONLY You can't write against a read only replica.", "readonly", TG_OUTCOME_BUSY, false},
      {"MASTERDOWN Link with MASTER is down", "masterdown", TG_OUTCOME_BUSY, false},
      {"NOREPLICAS Not enough good replicas to write.", "noreplicas", TG_OUTCOME_BUSY, false},
      {"MISCONF Redis is configured to save RDB snapshots, but", "misconf", TG_OUTCOME_BUSY, false},
      {"CLUSTERDOWN The cluster is down", "clusterdown", TG_OUTCOME_BUSY, false},
      {"TRYAGAIN Multiple keys request during rehashing", "tryagain", TG_OUTCOME_BUSY, false},
      {"ERR max number of clients reached", "err", TG_OUTCOME_BUSY, false},
      {"NOAUTH Authentication required.", "auth", TG_OUTCOME_MISCONFIGURED, true},
      {"WRONGPASS invalid username-password pair", "auth", TG_OUTCOME_MISCONFIGURED, true},
      {"NOPERM this user has no permissions to run the 'xadd' command", "auth", TG_OUTCOME_MISCONFIGURED, true},
      {"MOVED 3999 127.0.0.1:6381", "moved", TG_OUTCOME_MISCONFIGURED, true},
      {"ASK 3999 127.0.0.1:6381", "ask", TG_OUTCOME_MISCONFIGURED, true},
      {"CROSSSLOT Keys in request don't hash to the same slot", "crossslot", TG_OUTCOME_MISCONFIGURED, true},
      {"ERR unknown command 'XADD', with args beginning with: ", "err", TG_OUTCOME_MISCONFIGURED, true},
      {"ERR syntax error", "err", TG_OUTCOME_MISCONFIGURED, true},
      {"ERR DB index is out of range", "err", TG_OUTCOME_MISCONFIGURED, true},
      {"ERR Protocol error: invalid bulk length", "err", TG_OUTCOME_REFUSED, true},
      {"ERR something that nobody has heard of", "err", TG_OUTCOME_RETRY, false},
      {"OOMPH", "oomph", TG_OUTCOME_RETRY, false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bool of_key;
    struct tg_answer answer = refused(rows[i].text, &of_key);
    assert_int_equal(answer.outcome, rows[i].expected);
    assert_string_equal(answer.error.code, rows[i].code);
    assert_int_equal(answer.advice != NULL, rows[i].has_advice);
    assert_false(of_key);
  }
}

static void a_key_of_another_type_is_about_that_key_alone(void **state)
{
  (void)state;
  bool of_key;
  struct tg_answer answer = refused("WRONGTYPE Operation against a key holding the wrong kind of value", &of_key);
  assert_true(of_key);
  assert_int_equal(answer.outcome, TG_OUTCOME_MISCONFIGURED);
  assert_non_null(answer.advice);
}

static void what_is_too_large_is_refused_like_a_413(void **state)
{
  (void)state;
  bool of_key;
  struct tg_answer answer = refused("ERR Protocol error: invalid bulk length", &of_key);
  assert_int_equal(answer.status, TG_TOO_LARGE);
  struct tg_error error = {"err", "ERR Protocol error: invalid bulk length"};
  answer = (struct tg_answer){0};
  tg_redis_broke(&answer, &error);
  assert_int_equal(answer.outcome, TG_OUTCOME_REFUSED);
  assert_int_equal(answer.status, TG_TOO_LARGE);
}

static void connections_break_in_different_ways(void **state)
{
  (void)state;
  const struct {
    const char *code;
    enum tg_outcome expected;
    bool has_advice;
  } rows[] = {
      {"refused", TG_OUTCOME_RETRY, false},      {"dns", TG_OUTCOME_RETRY, false},
      {"timeout", TG_OUTCOME_RETRY, false},      {"closed", TG_OUTCOME_RETRY, false},
      {"tls", TG_OUTCOME_MISCONFIGURED, true},   {"auth", TG_OUTCOME_MISCONFIGURED, true},
      {"loading", TG_OUTCOME_BUSY, false},       {"protocol", TG_OUTCOME_MISCONFIGURED, true},
      {"auth", TG_OUTCOME_MISCONFIGURED, true}, {"masterdown", TG_OUTCOME_BUSY, false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_error error;
    struct tg_answer answer = {0};
    tg_fail(&error, rows[i].code, "as it was");
    tg_redis_broke(&answer, &error);
    assert_int_equal(answer.outcome, rows[i].expected);
    assert_int_equal(answer.advice != NULL, rows[i].has_advice);
    assert_string_equal(answer.error.message, "as it was");
  }
}

static void repeats_are_known(void **state)
{
  (void)state;
  static const char repeat[] = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
  assert_true(tg_redis_is_repeat((struct tg_span){repeat, sizeof repeat - 1}));
  assert_false(tg_redis_is_repeat((struct tg_span){"ERR syntax error", 16}));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_error_has_its_meaning),
      cmocka_unit_test(a_key_of_another_type_is_about_that_key_alone),
      cmocka_unit_test(what_is_too_large_is_refused_like_a_413),
      cmocka_unit_test(connections_break_in_different_ways),
      cmocka_unit_test(repeats_are_known),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
