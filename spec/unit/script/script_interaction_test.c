/* handle_interaction_queueing: what an override says, and the default that it
 * may call. */

#include "script_world.h"

static const char data[] = "{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}";

static int calls;
static bool ok;
static struct tg_value result;
static char text[256];

static void on_reply(void *ctx, bool well, const struct tg_value *value)
{
  (void)ctx;
  calls++;
  ok = well;
  result = *value;
  text[0] = '\0';
  if (value->kind == TG_FAILURE)
    snprintf(text, sizeof text, "%.*s", (int)value->string.length, value->string.at);
}

static void ask(struct tg_script *script, const char *d)
{
  struct tg_event event = make_event("INTERACTION_CREATE", 1, 7, d);
  struct tg_value argument = tg_value_event(&event);
  calls = 0;
  assert_true(tg_hook_start(tg_script_hooks(script), TG_METHOD_delivery_handle_interaction_queueing, &argument, 1,
                            on_reply, NULL));
}

static struct tg_script *load_method(const char *body)
{
  char source[1024];
  snprintf(source, sizeof source, HEAD "function gateway.delivery:handle_interaction_queueing(event)\n%s\nend\n",
           body);
  return load(source);
}

static void true_false_and_nothing_are_told_apart(void **state)
{
  (void)state;
  static const struct {
    const char *body;
    bool ok;
    enum tg_value_kind kind;
    bool boolean;
  } cases[] = {
      {"return true", true, TG_BOOL, true},   {"return false", true, TG_BOOL, false},
      {"", true, TG_NIL, false},              {"return nil", true, TG_NIL, false},
      {"return nil, 'no'", true, TG_FAILURE, false}, {"return 7", false, TG_NIL, false},
      {"error 'no'", false, TG_NIL, false},   {"return 'wait'", true, TG_STRING, false},
      {"return 'weight'", false, TG_NIL, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct tg_script *script = load_method(cases[i].body);
    ask(script, data);
    assert_int_equal(calls, 1);
    assert_int_equal(ok, cases[i].ok);
    if (ok)
      assert_int_equal(result.kind, cases[i].kind);
    if (ok && result.kind == TG_BOOL)
      assert_int_equal(result.boolean, cases[i].boolean);
    if (strstr(cases[i].body, "weight"))
      assert_contains(logged(), "returned \"weight\", expected true, false, \"wait\" or nothing");
    tg_script_free(script);
  }
}

static const char by_default[] = "gateway.sleep(1)\n" /* the event has to outlive it */
                                 "return gateway.default.delivery.handle_interaction_queueing(self, event)";

static void the_default_waits_for_rest(void **state)
{
  (void)state;
  struct tg_script *script = load_method(by_default);
  ask(script, data);
  TURN_UNTIL(fake.answered);
  assert_string_equal(fake.calls, "answer 175928847299117063 tok-en 2;");
  assert_int_equal(calls, 0);
  fake.answered(fake.answered_ctx, true, "");
  assert_int_equal(calls, 1);
  assert_true(ok && result.kind == TG_BOOL && result.boolean);
  tg_script_free(script);
}

static void the_default_says_why_not(void **state)
{
  (void)state;
  struct tg_script *script = load_method(by_default);
  ask(script, data);
  TURN_UNTIL(fake.answered);
  fake.answered(fake.answered_ctx, false, "REST answered 404");
  assert_true(ok && result.kind == TG_FAILURE);
  assert_string_equal(text, "the interaction could not be answered: REST answered 404");
  ask(script, "{\"id\":\"5\",\"type\":1}");
  TURN_UNTIL(calls == 1);
  assert_true(ok && result.kind == TG_FAILURE);
  assert_contains(text, "expected an interaction of type 2 to 5");
  tg_script_free(script);
}

static void autocompletion_is_not_queued(void **state)
{
  (void)state;
  struct tg_script *script = load_method(by_default);
  ask(script, "{\"id\":\"5\",\"type\":4,\"token\":\"t\"}");
  TURN_UNTIL(fake.answered);
  fake.answered(fake.answered_ctx, true, "");
  assert_true(ok && result.kind == TG_BOOL && !result.boolean);
  tg_script_free(script);
}

/* Nobody knows what became of it: the core has to answer. */
static void a_reload_cuts_it_off(void **state)
{
  (void)state;
  struct tg_script *script = load_method(by_default);
  ask(script, data);
  TURN_UNTIL(fake.answered);
  char *problem = NULL;
  assert_true(tg_script_prepare(script, &problem));
  tg_script_commit(script, 2);
  assert_contains(fake.calls, "cancel_answer 1;");
  assert_int_equal(calls, 1);
  assert_false(ok);
  tg_script_free(script);
}

static void the_end_cancels_it(void **state)
{
  (void)state;
  struct tg_script *script = load_method(by_default);
  ask(script, data);
  TURN_UNTIL(fake.answered);
  tg_script_free(script);
  assert_contains(fake.calls, "cancel_answer 1;");
  assert_int_equal(calls, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WORLD_TEST(true_false_and_nothing_are_told_apart),
      WORLD_TEST(the_default_waits_for_rest),
      WORLD_TEST(the_default_says_why_not),
      WORLD_TEST(autocompletion_is_not_queued),
      WORLD_TEST(a_reload_cuts_it_off),
      WORLD_TEST(the_end_cancels_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
