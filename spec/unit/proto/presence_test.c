/* Presences: what is completed, and what is refused, with its place. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/presence.h"

#include <stdio.h>
#include <string.h>

static void expect_presence(const char *given, const char *expected)
{
  json_t *from = json_loads(given, 0, NULL), *want = json_loads(expected, 0, NULL);
  struct tg_presence_fault fault;
  json_t *got = tg_presence_normalise(from, &fault);
  if (!got || !json_equal(got, want))
    fail_msg("%s: presence%s %s", given, fault.path, fault.text);
  json_decref(from);
  json_decref(want);
  json_decref(got);
}

static void presence_is_completed(void **state)
{
  (void)state;
  expect_presence("{}", "{\"since\":null,\"activities\":[],\"status\":\"online\",\"afk\":false}");
  expect_presence("[]", "{\"since\":null,\"activities\":[],\"status\":\"online\",\"afk\":false}");
  expect_presence("{\"status\":\"dnd\",\"activities\":{},\"since\":null}",
                  "{\"since\":null,\"activities\":[],\"status\":\"dnd\",\"afk\":false}");
  expect_presence(
      "{\"activities\":[{\"name\":\"the tide\"},{\"type\":4,\"state\":\"low\"},{\"name\":\"x\",\"type\":1.0,"
      "\"url\":\"https://twitch.tv/x\"}],\"afk\":true,\"since\":1787234000000.0,\"status\":\"idle\"}",
      "{\"activities\":[{\"name\":\"the tide\",\"type\":0},{\"name\":\"Custom Status\",\"type\":4,"
      "\"state\":\"low\"},{\"name\":\"x\",\"type\":1,\"url\":\"https://twitch.tv/x\"}],\"afk\":true,"
      "\"since\":1787234000000,\"status\":\"idle\"}");
}

static void presence_faults_are_named(void **state)
{
  (void)state;
  static const struct {
    const char *given, *path, *text;
  } cases[] = {
      {"[1]", "", "must be a table"},
      {"\"idle\"", "", "must be a table"},
      {"{\"status\":\"busy\"}", ".status",
       "must be one of online, idle, dnd, invisible, offline; got \"busy\""},
      {"{\"status\":1}", ".status", "must be one of online"},
      {"{\"stauts\":\"idle\"}", ".stauts", "is not known; did you mean \"status\"?"},
      {"{\"activites\":[]}", ".activites", "is not known; did you mean \"activities\"?"},
      {"{\"game\":\"chess\"}", ".game", "is not known; there are status, activities"},
      {"{\"afk\":1}", ".afk", "must be true or false"},
      {"{\"since\":\"now\"}", ".since", "must be a time"},
      {"{\"since\":-5}", ".since", "must be a time"},
      {"{\"since\":1.5}", ".since", "must be a time"},
      {"{\"activities\":\"fishing\"}", ".activities", "must be a list"},
      {"{\"activities\":{\"name\":\"x\"}}", ".activities", "must be a list"},
      {"{\"activities\":[\"fishing\"]}", ".activities[1]", "must be a table"},
      {"{\"activities\":[{\"name\":\"a\"},{\"type\":0}]}", ".activities[2].name", "is required"},
      {"{\"activities\":[{\"name\":7}]}", ".activities[1].name", "must be a string"},
      {"{\"activities\":[{\"name\":\"a\",\"type\":6}]}", ".activities[1].type", "must be 0 (playing)"},
      {"{\"activities\":[{\"name\":\"a\",\"type\":-1}]}", ".activities[1].type", "must be 0 (playing)"},
      {"{\"activities\":[{\"name\":\"a\",\"type\":\"3\"}]}", ".activities[1].type", "must be 0 (playing)"},
      {"{\"activities\":[{\"name\":\"a\",\"state\":1}]}", ".activities[1].state", "must be a string"},
      {"{\"activities\":[{\"name\":\"a\",\"url\":false}]}", ".activities[1].url", "must be a string"},
      {"{\"activities\":[{\"name\":\"a\",\"sate\":\"b\"}]}", ".activities[1].sate",
       "did you mean \"state\"?"},
      {"{\"activities\":[{\"name\":\"a\",\"buttons\":[]}]}", ".activities[1].buttons",
       "bots may set no more"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *given = json_loads(cases[i].given, JSON_DECODE_ANY, NULL);
    struct tg_presence_fault fault;
    if (tg_presence_normalise(given, &fault) || strcmp(fault.path, cases[i].path) != 0 ||
        !strstr(fault.text, cases[i].text))
      fail_msg("%s: presence%s %s", cases[i].given, fault.path, fault.text);
    json_decref(given);
  }
  assert_null(tg_presence_normalise(NULL, NULL));
}

static void presence_must_fit_an_identify(void **state)
{
  (void)state;
  char name[4000];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  json_t *given = json_pack("{s:[{s:s}]}", "activities", "name", name);
  struct tg_presence_fault fault;
  assert_null(tg_presence_normalise(given, &fault));
  assert_non_null(strstr(fault.text, "is over 3072 bytes"));
  json_decref(given);
}

/* A key may be any text. */
static void long_keys_stay_text(void **state)
{
  (void)state;
  json_t *given = json_pack(
      "{s:i}", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xe2\x82\xac", 1);
  struct tg_presence_fault fault;
  assert_null(tg_presence_normalise(given, &fault));
  json_t *text = json_string(fault.path);
  assert_non_null(text);
  json_decref(text);
  json_decref(given);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(presence_is_completed),
      cmocka_unit_test(presence_faults_are_named),
      cmocka_unit_test(presence_must_fit_an_identify),
      cmocka_unit_test(long_keys_stay_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
