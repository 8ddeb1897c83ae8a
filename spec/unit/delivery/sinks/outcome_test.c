/* What decides: meaning of answers, back-off, circuit, window. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/sinks/circuit.h"
#include "delivery/sinks/outcome.h"

#include <string.h>

static void answers(void **state)
{
  (void)state;
  struct {
    long status;
    const char *code;
    tg_ms retry_after;
    enum tg_outcome expected;
  } rows[] = {
      {200, "", -1, TG_OUTCOME_DELIVERED},       {204, "", -1, TG_OUTCOME_DELIVERED},
      {299, "", -1, TG_OUTCOME_DELIVERED},       {301, "", -1, TG_OUTCOME_MISCONFIGURED},
      {304, "", -1, TG_OUTCOME_MISCONFIGURED},   {307, "", -1, TG_OUTCOME_MISCONFIGURED},
      {400, "", -1, TG_OUTCOME_REFUSED},         {401, "", -1, TG_OUTCOME_MISCONFIGURED},
      {403, "", -1, TG_OUTCOME_MISCONFIGURED},   {404, "", -1, TG_OUTCOME_MISCONFIGURED},
      {408, "", -1, TG_OUTCOME_RETRY},           {410, "", -1, TG_OUTCOME_MISCONFIGURED},
      {413, "", -1, TG_OUTCOME_REFUSED},         {422, "", 5, TG_OUTCOME_REFUSED},
      {425, "", -1, TG_OUTCOME_RETRY},           {429, "", -1, TG_OUTCOME_SLOW_DOWN},
      {429, "", 500, TG_OUTCOME_SLOW_DOWN},      {499, "", -1, TG_OUTCOME_REFUSED},
      {500, "", -1, TG_OUTCOME_RETRY},           {502, "", 100, TG_OUTCOME_RETRY},
      {503, "", -1, TG_OUTCOME_RETRY},           {503, "", 0, TG_OUTCOME_BUSY},
      {503, "", 9000, TG_OUTCOME_BUSY},          {599, "", -1, TG_OUTCOME_RETRY},
      {700, "", -1, TG_OUTCOME_RETRY},           {0, "timeout", -1, TG_OUTCOME_RETRY},
      {0, "refused", -1, TG_OUTCOME_RETRY},      {0, "reset", -1, TG_OUTCOME_RETRY},
      {0, "resolve", -1, TG_OUTCOME_RETRY},      {0, "failed", -1, TG_OUTCOME_RETRY},
      {0, "tls", -1, TG_OUTCOME_MISCONFIGURED},  {0, "bad_url", -1, TG_OUTCOME_MISCONFIGURED},
      {0, "cancelled", -1, TG_OUTCOME_CANCELLED},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_int_equal(tg_outcome_of(rows[i].status, rows[i].code, rows[i].retry_after), rows[i].expected);
}

static void backs_off(void **state)
{
  (void)state;
  tg_ms highest[] = {250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
  for (int attempt = 0; attempt < 9; attempt++) {
    assert_int_equal(tg_retry_delay(attempt, 0), 0);
    assert_int_equal(tg_retry_delay(attempt, 0.9999999), highest[attempt]);
    assert_in_range(tg_retry_delay(attempt, 0.5), highest[attempt] / 2, highest[attempt] / 2 + 1);
  }
  assert_int_equal(tg_retry_delay(1000000, 0.9999999), 30000);
}

static void obeys_retry_after(void **state)
{
  (void)state;
  assert_int_equal(tg_retry_after(-1, 123), 123);
  assert_int_equal(tg_retry_after(0, 123), 0);
  assert_int_equal(tg_retry_after(5000, 123), 5000);
  assert_int_equal(tg_retry_after(86400000, 123), 60000);
}

static void gives_up_refused_events(void **state)
{
  (void)state;
  tg_ms delay = 0;
  assert_false(tg_refused_for_good(400, 1, 1000, 1000, &delay));
  assert_int_equal(delay, 2500);
  assert_false(tg_refused_for_good(400, 2, 1000, 3500, &delay));
  assert_false(tg_refused_for_good(400, 3, 1000, 5999, &delay)); /* often enough, not long enough */
  assert_false(tg_refused_for_good(400, 2, 1000, 60000, &delay)); /* long enough, not often enough */
  assert_true(tg_refused_for_good(400, 3, 1000, 6000, &delay));
  assert_false(tg_refused_for_good(413, 1, 1000, 1000, &delay));
  assert_int_equal(delay, 0);
  assert_true(tg_refused_for_good(413, 2, 1000, 1000, &delay));
}

static void gives_advice(void **state)
{
  (void)state;
  assert_non_null(strstr(tg_outcome_advice(401, "", true), "event_handler.authorization"));
  assert_non_null(strstr(tg_outcome_advice(404, "", true), "event_handler.urls"));
  assert_null(strstr(tg_outcome_advice(401, "", false), "event_handler"));
  assert_null(strstr(tg_outcome_advice(404, "", false), "event_handler"));
  assert_null(strstr(tg_outcome_advice(0, "bad_url", false), "event_handler"));
  assert_non_null(strstr(tg_outcome_advice(302, "", true), "redirect"));
  assert_non_null(strstr(tg_outcome_advice(0, "tls", true), "tls.ca_file"));
}

static void circuit_opens_after_five(void **state)
{
  (void)state;
  struct tg_circuit circuit = {0};
  for (int i = 0; i < 4; i++)
    assert_false(tg_circuit_failure(&circuit, 0, 1000, false, false));
  assert_false(tg_circuit_success(&circuit)); /* in a row, that is */
  for (int i = 0; i < 4; i++)
    assert_false(tg_circuit_failure(&circuit, 0, 1000, false, false));
  assert_true(tg_circuit_allows(&circuit, 0, 7));
  assert_true(tg_circuit_failure(&circuit, 100, 1000, false, false));
  assert_false(tg_circuit_failure(&circuit, 600, 1000, false, false)); /* an older request ends */
  assert_int_equal(circuit.until, 1100);
  assert_false(tg_circuit_success(&circuit)); /* likewise: a handler that asked to wait means it */
  assert_false(tg_circuit_allows(&circuit, 1099, 0));
}

static void circuit_probes_one_by_one(void **state)
{
  (void)state;
  struct tg_circuit circuit = {0};
  assert_true(tg_circuit_failure(&circuit, 0, 1000, true, false));
  assert_int_equal(circuit.state, TG_CIRCUIT_OPEN);
  assert_false(tg_circuit_allows(&circuit, 1000, 1));
  assert_int_equal(circuit.state, TG_CIRCUIT_HALF_OPEN);
  assert_true(tg_circuit_allows(&circuit, 1000, 0));
  assert_false(tg_circuit_failure(&circuit, 1100, 2000, false, false)); /* it was open before: no news */
  assert_int_equal(circuit.state, TG_CIRCUIT_OPEN);
  assert_int_equal(circuit.until, 3100);
  assert_int_equal(circuit.opened, 2);
  assert_true(tg_circuit_allows(&circuit, 3100, 0));
  assert_true(tg_circuit_success(&circuit));
  assert_int_equal(circuit.state, TG_CIRCUIT_CLOSED);
  assert_int_equal(circuit.opened, 0);
  assert_false(tg_circuit_success(&circuit));
}

static void circuit_waits_longer_each_time(void **state)
{
  (void)state;
  tg_ms highest[] = {500, 1000, 2000, 2000, 2000};
  for (int opened = 0; opened < 5; opened++) {
    struct tg_circuit circuit = {.opened = opened};
    assert_int_equal(tg_circuit_wait(&circuit, 0.9999999), highest[opened]);
    assert_int_equal(tg_circuit_wait(&circuit, 0), highest[opened] / 2);
  }
}

static void circuits_hear_of_each_other(void **state)
{
  (void)state;
  struct tg_circuit circuit = {0};
  tg_circuit_hear_down(&circuit, 0, 1000, false); /* what others say does not open it */
  assert_int_equal(circuit.state, TG_CIRCUIT_CLOSED);
  assert_true(tg_circuit_failure(&circuit, 0, 1000, true, false));
  tg_circuit_hear_down(&circuit, 500, 400, false); /* it waits longer anyway */
  assert_int_equal(circuit.until, 1000);
  tg_circuit_hear_down(&circuit, 500, 2000, false);
  assert_false(tg_circuit_allows(&circuit, 2499, 0));
  tg_circuit_hear_up(&circuit, 700);
  assert_true(tg_circuit_allows(&circuit, 700, 0));
  assert_int_equal(circuit.state, TG_CIRCUIT_HALF_OPEN);
  /* Whoever asked to be left alone is, by all. */
  assert_false(tg_circuit_failure(&circuit, 800, 5000, true, true));
  tg_circuit_hear_up(&circuit, 900);
  assert_false(tg_circuit_allows(&circuit, 5799, 0));
  assert_true(tg_circuit_allows(&circuit, 5800, 0));
  assert_false(tg_circuit_failure(&circuit, 6000, 1000, false, false));
  tg_circuit_hear_down(&circuit, 6100, 9000, true);
  tg_circuit_hear_up(&circuit, 6200);
  assert_false(tg_circuit_allows(&circuit, 15099, 0));
}

static void window_grows_while_answers_keep_pace(void **state)
{
  (void)state;
  struct tg_window window;
  tg_window_init(&window);
  assert_int_equal(tg_window_limit(&window), 8);
  for (int i = 0; i < 100; i++)
    tg_window_success(&window, 10, 3, 1); /* not in use: no reason to grow */
  assert_int_equal(tg_window_limit(&window), 8);
  for (int i = 0; i < 2000; i++)
    tg_window_success(&window, 10, tg_window_limit(&window), 1);
  assert_int_equal(tg_window_limit(&window), 32);
}

static void window_shrinks_when_answers_take_longer(void **state)
{
  (void)state;
  struct tg_window window;
  tg_window_init(&window);
  tg_window_success(&window, 10, 1, 1);
  int sum = 0;
  for (int i = 0; i < 400; i++) {
    sum += tg_window_limit(&window);
    tg_window_success(&window, 10.0 * tg_window_limit(&window), tg_window_limit(&window), 1); /* one at a time */
  }
  assert_in_range(sum / 400, 1, 6);
  for (int i = 0; i < 100000; i++)
    tg_window_success(&window, 1000, 1, 1);
  assert_in_range(tg_window_limit(&window), 1, 32);
}

/* A handler that takes its time, whatever we do, is pressed as hard as a quick one. */
static void window_gets_used_to_slow_answers(void **state)
{
  (void)state;
  struct tg_window window;
  tg_window_init(&window);
  for (int i = 0; i < 50; i++)
    tg_window_success(&window, 1, 1, 1);
  for (int i = 0; i < 300; i++)
    tg_window_success(&window, 30, tg_window_limit(&window), 1);
  assert_in_range(tg_window_limit(&window), 12, 32);
}

static void window_bears_quick_and_slow_answers_mixed(void **state)
{
  (void)state;
  struct tg_window window;
  tg_window_init(&window);
  int sum = 0;
  for (int i = 0; i < 1000; i++) {
    tg_window_success(&window, i % 2 ? 30 : 1, tg_window_limit(&window), 1);
    sum += tg_window_limit(&window);
  }
  assert_in_range(sum / 1000, 8, 32);
}

static void window_halves_once_a_round(void **state)
{
  (void)state;
  struct tg_window window;
  tg_window_init(&window);
  int halves[] = {4, 4, 4, 4, 2, 2, 1, 1};
  for (int i = 0; i < 8; i++) {
    tg_window_failure(&window);
    assert_int_equal(tg_window_limit(&window), halves[i]);
  }
  for (int i = 0; i < 100; i++)
    tg_window_failure(&window);
  assert_int_equal(tg_window_limit(&window), 1);
  tg_window_restart(&window);
  int limits[] = {1, 2, 3, 4, 5, 6, 7, 8, 8};
  for (int i = 0; i < 9; i++) {
    assert_int_equal(tg_window_limit(&window), limits[i]);
    tg_window_success(&window, 10, tg_window_limit(&window), 1);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers),
      cmocka_unit_test(backs_off),
      cmocka_unit_test(obeys_retry_after),
      cmocka_unit_test(gives_up_refused_events),
      cmocka_unit_test(gives_advice),
      cmocka_unit_test(circuit_opens_after_five),
      cmocka_unit_test(circuit_probes_one_by_one),
      cmocka_unit_test(circuit_waits_longer_each_time),
      cmocka_unit_test(circuits_hear_of_each_other),
      cmocka_unit_test(window_grows_while_answers_keep_pace),
      cmocka_unit_test(window_shrinks_when_answers_take_longer),
      cmocka_unit_test(window_gets_used_to_slow_answers),
      cmocka_unit_test(window_bears_quick_and_slow_answers_mixed),
      cmocka_unit_test(window_halves_once_a_round),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
