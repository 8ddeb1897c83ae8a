#include "proto/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_json(struct tg_buf *out, const char *expected)
{
  json_t *got = json_loadb(out->data, out->length, 0, NULL);
  json_t *want = json_loads(expected, 0, NULL);
  assert_non_null(want);
  if (!got || !json_equal(got, want))
    fail_msg("%.*s", (int)out->length, out->data);
  json_decref(got);
  json_decref(want);
  tg_buf_free(out);
}

static void heartbeat(void **state)
{
  (void)state;
  struct tg_buf out = {0};
  tg_payload_heartbeat(&out, false, 12);
  assert_json(&out, "{\"op\":1,\"d\":null}");
  tg_payload_heartbeat(&out, true, 1289);
  assert_json(&out, "{\"op\":1,\"d\":1289}");
  tg_payload_heartbeat(&out, true, 0);
  assert_json(&out, "{\"op\":1,\"d\":0}");
}

static void resume(void **state)
{
  (void)state;
  struct tg_buf out = {0};
  tg_payload_resume(&out, "FAKE.TOKEN", "se\"ss\\ion\n\x01", 9007199254740993);
  assert_json(&out, "{\"op\":6,\"d\":{\"token\":\"FAKE.TOKEN\",\"session_id\":\"se\\\"ss\\\\ion\\n\\u0001\","
                    "\"seq\":9007199254740993}}");
}

static void identify(void **state)
{
  (void)state;
  struct tg_identify with = {
      .token = "FAKE.TOKEN",
      .intents = 53575421,
      .shard_id = 1,
      .total_shards = 4,
      .large_threshold = 50,
      .os = "linux",
      .browser = "tide\"gate",
      .device = "tidegate",
  };
  struct tg_buf out = {0};
  tg_payload_identify(&out, &with);
  assert_json(&out, "{\"op\":2,\"d\":{\"token\":\"FAKE.TOKEN\",\"properties\":{\"os\":\"linux\",\"browser\":"
                    "\"tide\\\"gate\","
                    "\"device\":\"tidegate\"},\"compress\":false,\"large_threshold\":50,\"shard\":[1,4],"
                    "\"intents\":53575421}}");
  json_t *presence =
      json_loads("{\"since\":null,\"activities\":[],\"status\":\"idle\",\"afk\":false}", 0, NULL);
  with.presence = presence;
  tg_payload_identify(&out, &with);
  json_t *got = json_loadb(out.data, out.length, 0, NULL);
  assert_true(json_equal(json_object_get(json_object_get(got, "d"), "presence"), presence));
  json_decref(got);
  json_decref(presence);
  tg_buf_free(&out);
}

static void expect_presence(const char *given, const char *expected)
{
  json_t *from = json_loads(given, 0, NULL), *want = json_loads(expected, 0, NULL);
  struct tg_error error = {0};
  json_t *got = tg_presence_normalise(from, &error);
  if (!got || !json_equal(got, want))
    fail_msg("%s: %s", given, error.message);
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
    const char *given, *word;
  } cases[] = {
      {"[1]", "a table"},
      {"{\"status\":\"away\"}", "online, idle, dnd"},
      {"{\"status\":1}", "status"},
      {"{\"stauts\":\"idle\"}", "did you mean \"status\""},
      {"{\"afk\":1}", "afk"},
      {"{\"since\":\"now\"}", "since"},
      {"{\"since\":-5}", "since"},
      {"{\"since\":1.5}", "since"},
      {"{\"activities\":\"fishing\"}", "activities must be a list"},
      {"{\"activities\":{\"name\":\"x\"}}", "activities must be a list"},
      {"{\"activities\":[\"fishing\"]}", "activities[1]"},
      {"{\"activities\":[{\"name\":\"a\"},{\"type\":0}]}", "activities[2].name"},
      {"{\"activities\":[{\"name\":\"a\",\"type\":6}]}", "activities[1].type"},
      {"{\"activities\":[{\"name\":\"a\",\"type\":\"3\"}]}", "activities[1].type"},
      {"{\"activities\":[{\"name\":\"a\",\"state\":1}]}", "activities[1].state"},
      {"{\"activities\":[{\"name\":\"a\",\"sate\":\"b\"}]}", "did you mean \"state\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *given = json_loads(cases[i].given, 0, NULL);
    struct tg_error error = {0};
    if (tg_presence_normalise(given, &error) || !strstr(error.message, cases[i].word))
      fail_msg("%s: %s", cases[i].given, error.message);
    assert_string_equal(error.code, "bad_presence");
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
  struct tg_error error = {0};
  assert_null(tg_presence_normalise(given, &error));
  assert_string_equal(error.code, "too_large");
  json_decref(given);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heartbeat),
      cmocka_unit_test(resume),
      cmocka_unit_test(identify),
      cmocka_unit_test(presence_is_completed),
      cmocka_unit_test(presence_faults_are_named),
      cmocka_unit_test(presence_must_fit_an_identify),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
