#pragma once

/* A script in the fake world: it notes what it is asked, and answers when the
 * test says so. Include it once. */

#include "fake_world.h"

static struct fake_call {
  enum tg_method method;
  tg_hook_reply *reply;
  void *ctx;
  char what[256]; /* keys of the events, or the queue's shard */
  bool open;
} script_calls[256];
static int call_count;
static bool at_once; /* the script does not wait: true */
static void (*on_overflow)(void);

static inline void write_events(char *text, size_t size, const struct tg_value *events)
{
  size_t length = 0;
  text[0] = '\0';
  for (int i = 0; i < events->events.count; i++) {
    const struct tg_event *event = &events->events.at[i];
    length += (size_t)snprintf(text + length, size - length, "%s%.*s %d", i ? "," : "", (int)event->name.length,
                               event->name.at, (int)event->sequence);
  }
}

static inline void script_start(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                         tg_hook_reply *reply, void *ctx)
{
  (void)script;
  assert_int_equal(count, 1);
  assert_true(call_count < 256);
  struct fake_call *call = &script_calls[call_count++];
  *call = (struct fake_call){.method = method, .reply = reply, .ctx = ctx, .open = true};
  if (args[0].kind == TG_EVENTS)
    write_events(call->what, sizeof call->what, &args[0]);
  else
    snprintf(call->what, sizeof call->what, "queue %d", (int)args[0].integer);
  if (!at_once)
    return;
  struct tg_value result = {.kind = TG_BOOL, .boolean = true};
  call->open = false;
  reply(ctx, true, &result);
}

static inline bool script_call(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                        struct tg_value *result)
{
  (void)script;
  (void)result;
  assert_int_equal(method, TG_METHOD_delivery_queue_overflow);
  assert_int_equal(count, 1);
  assert_int_equal(args[0].kind, TG_QUEUE);
  assert_int_equal(args[0].integer, TG_ALL_SHARDS);
  note_call("overflow;");
  if (on_overflow)
    on_overflow();
  return true;
}

static inline void hook(enum tg_method method) { hooks.method[method] = (struct tg_override *)&hooks; }
static inline void unhook(enum tg_method method) { hooks.method[method] = NULL; }

static inline void reply(int number, bool ok, struct tg_value result)
{
  assert_true(number < call_count && script_calls[number].open);
  script_calls[number].open = false;
  script_calls[number].reply(script_calls[number].ctx, ok, &result);
  advance(0);
}

/* Lets time pass until the script is asked again. */
static inline void wait_call(int count)
{
  for (int i = 0; i < 700 && call_count < count; i++)
    advance(100);
  assert_int_equal(call_count, count);
}

static inline void say(int number, bool yes) { reply(number, true, (struct tg_value){.kind = TG_BOOL, .boolean = yes}); }
static inline void say_nothing(int number) { reply(number, true, (struct tg_value){.kind = TG_NIL}); }
static inline void say_error(int number) { reply(number, false, (struct tg_value){.kind = TG_NIL}); }

static inline void say_failure(int number, const char *code, long status, tg_ms retry_after)
{
  reply(number, true, (struct tg_value){.kind = TG_FAILURE,
                                        .string = {"no luck", 7},
                                        .code = {code, strlen(code)},
                                        .status = status,
                                        .retry_after = retry_after});
}

static inline void assert_call(int number, const char *what)
{
  assert_int_equal(call_count, number + 1);
  assert_string_equal(script_calls[number].what, what);
}

static inline int begin_scripted(void **state)
{
  begin_world(state);
  call_count = 0;
  at_once = false;
  on_overflow = NULL;
  hooks.start = script_start;
  hooks.call = script_call;
  config.event_handler.timeout = 1000;
  return 0;
}

#define SCRIPTED(test) cmocka_unit_test_setup_teardown(test, begin_scripted, end_world)
