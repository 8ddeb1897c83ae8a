#include "proto/close_code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The table of the reference's section 4, row by row. */
static const struct {
  int code;
  const char *action;
  const char *meaning;   /* a word that must stand in it */
  const char *advice[3]; /* words that must stand in it; none: there is no advice */
  bool pause;
} rows[] = {
    {1000, "resume", "Normal", {NULL}, false},
    {1001, "resume", "Going away", {NULL}, false},
    {1002, "resume", "Protocol", {NULL}, false},
    {1005, "resume", "without a code", {NULL}, false},
    {1006, "resume", "lost", {NULL}, false},
    {1007, "resume", "UTF-8", {NULL}, false},
    {1009, "resume", "too big", {NULL}, false},
    {1011, "resume", "Server", {NULL}, false},
    {1012, "resume", "restart", {NULL}, false},
    {1013, "resume", "overloaded", {NULL}, false},
    {4000, "resume", "Unknown error", {NULL}, false},
    {4001, "resume", "opcode", {NULL}, false},
    {4002, "resume", "decode", {NULL}, false},
    {4003, "identify", "Not identified", {NULL}, false},
    {4004, "stop", "Authentication", {"reset", "Developer Portal", "DISCORD_TOKEN"}, false},
    {4005, "resume", "twice", {NULL}, false},
    {4006, "identify", "no longer valid", {NULL}, false},
    {4007, "identify", "sequence", {NULL}, false},
    {4008, "resume", "too many", {NULL}, true},
    {4009, "resume", "timed out", {NULL}, false},
    {4010, "stop", "Invalid shard", {"total_shards", "multiple", "first_shard_id"}, false},
    {4011, "stop", "Sharding required", {"total_shards", "leave it out", "2500"}, false},
    {4012, "stop", "version", {"version 10", "Update", "GATEWAY_URL"}, false},
    {4013, "stop", "Invalid intents", {"INTENTS", "by name", "guilds"}, false},
    {4014,
     "stop",
     "Disallowed intents",
     {"Privileged Gateway Intents", "Developer Portal", "remove them"},
     false},
    /* Undocumented ones. */
    {4015, "resume", "Undocumented", {NULL}, false},
    {4999, "resume", "Undocumented", {NULL}, false},
    {3000, "resume", "Undocumented", {NULL}, false},
    {0, "resume", "Undocumented", {NULL}, false},
    {-1, "resume", "Undocumented", {NULL}, false},
};

static void every_row(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int code = rows[i].code;
    const char *action = tg_close_action_name(tg_close_action(code));
    if (strcmp(action, rows[i].action) != 0)
      fail_msg("%d: %s instead of %s", code, action, rows[i].action);
    if (!strstr(tg_close_meaning(code), rows[i].meaning))
      fail_msg("%d: %s", code, tg_close_meaning(code));
    if (tg_close_wants_pause(code) != rows[i].pause)
      fail_msg("%d: pause", code);
    const char *advice = tg_close_advice(code);
    if ((advice != NULL) != (tg_close_action(code) == TG_CLOSE_STOP))
      fail_msg("%d: fatal codes, and only they, need advice", code);
    for (int word = 0; word < 3 && rows[i].advice[word]; word++) {
      if (!advice || !strstr(advice, rows[i].advice[word]))
        fail_msg("%d: \"%s\" is not in: %s", code, rows[i].advice[word], advice ? advice : "(none)");
    }
  }
}

static void names_of_actions(void **state)
{
  (void)state;
  enum tg_close_action action;
  for (int i = TG_CLOSE_RESUME; i <= TG_CLOSE_STOP; i++) {
    assert_true(tg_close_action_parse(tg_close_action_name((enum tg_close_action)i), &action));
    assert_int_equal(action, i);
  }
  assert_false(tg_close_action_parse("reconnect", &action));
  assert_false(tg_close_action_parse("", &action));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row),
      cmocka_unit_test(names_of_actions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
