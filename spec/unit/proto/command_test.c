/* Which frames of users' go out, and what is said of the others. */

#include "proto/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define G "\"guild_id\":\"820588789004115970\""

static void good_ones_pass(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "{\"op\":3,\"d\":{\"since\":null,\"activities\":[{\"name\":\"the "
      "tide\",\"type\":3}],\"status\":\"online\",\"afk\":false}}",
      "{\"op\":3,\"d\":{\"since\":91879201,\"activities\":[],\"status\":\"idle\",\"afk\":true}}",
      "{\"op\":4,\"d\":{" G ",\"channel_id\":\"1\",\"self_mute\":false,\"self_deaf\":true}}",
      "{\"op\":4,\"d\":{" G ",\"channel_id\":null,\"self_mute\":false,\"self_deaf\":false}}",
      "{\"op\":8,\"d\":{" G ",\"query\":\"\",\"limit\":0}}",
      "{\"op\":8,\"d\":{" G
      ",\"query\":\"ma\",\"limit\":100,\"presences\":true,\"nonce\":\"12345678901234567890123456789012\"}}",
      "{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\",\"18446744073709551615\"],\"limit\":0}}",
      "{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\"]}}",
      "{\"op\":8,\"d\":{" G ",\"user_ids\":\"1\"}}",
      "{\"op\":31,\"d\":{\"guild_ids\":[\"1\",\"2\"]}}",
      "{\"op\":43,\"d\":{" G ",\"fields\":[\"status\",\"voice_start_time\"]}}",
      "{\"op\":31,\"d\":{\"guild_ids\":[\"1\"]},\"s\":null,\"t\":null}",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    json_t *payload = json_loads(texts[i], 0, NULL);
    struct tg_error error = {0};
    if (!tg_payload_check_command(payload, &error))
      fail_msg("%s: %s", texts[i], error.message);
    json_decref(payload);
  }
}

static void bad_ones_are_named(void **state)
{
  (void)state;
  static const struct {
    const char *text, *word;
  } cases[] = {
      {"[]", "a payload must be"},
      {"{}", "a payload must be"},
      {"{\"op\":\"3\"}", "a payload must be"},
      {"{\"op\":0,\"d\":{}}", "a payload must be"},
      {"{\"op\":5,\"d\":{}}", "a payload must be"},
      {"{\"op\":1,\"d\":1}", "op 1: the gateway sends this by itself"},
      {"{\"op\":2,\"d\":{}}", "op 2: the gateway sends this by itself"},
      {"{\"op\":6,\"d\":{}}", "op 6: the gateway sends this by itself"},
      {"{\"op\":3}", "op 3: d must be an object"},
      {"{\"op\":8,\"d\":[]}", "op 8: d must be an object"},

      {"{\"op\":3,\"d\":{\"activities\":[],\"status\":\"online\",\"afk\":false}}", "d.since"},
      {"{\"op\":3,\"d\":{\"since\":\"1\",\"activities\":[],\"status\":\"online\",\"afk\":false}}", "d.since"},
      {"{\"op\":3,\"d\":{\"since\":null,\"activities\":{},\"status\":\"online\",\"afk\":false}}",
       "d.activities"},
      {"{\"op\":3,\"d\":{\"since\":null,\"activities\":[{\"name\":\"x\"}],\"status\":\"online\",\"afk\":"
       "false}}",
       "a type"},
      {"{\"op\":3,\"d\":{\"since\":null,\"activities\":[5],\"status\":\"online\",\"afk\":false}}",
       "d.activities"},
      {"{\"op\":3,\"d\":{\"since\":null,\"activities\":[],\"status\":\"away\",\"afk\":false}}", "d.status"},
      {"{\"op\":3,\"d\":{\"since\":null,\"activities\":[],\"status\":\"idle\",\"afk\":0}}", "d.afk"},

      {"{\"op\":4,\"d\":{\"channel_id\":null,\"self_mute\":false,\"self_deaf\":false}}", "d.guild_id"},
      {"{\"op\":4,\"d\":{\"guild_id\":820588789004115970,\"channel_id\":null,\"self_mute\":false,\"self_"
       "deaf\":false}}",
       "string of digits"},
      {"{\"op\":4,\"d\":{" G ",\"self_mute\":false,\"self_deaf\":false}}", "d.channel_id"},
      {"{\"op\":4,\"d\":{" G ",\"channel_id\":\"a1\",\"self_mute\":false,\"self_deaf\":false}}",
       "d.channel_id"},
      {"{\"op\":4,\"d\":{" G ",\"channel_id\":null,\"self_mute\":0,\"self_deaf\":false}}", "d.self_mute"},
      {"{\"op\":4,\"d\":{" G ",\"channel_id\":null,\"self_mute\":true}}", "d.self_deaf"},

      {"{\"op\":8,\"d\":{\"guild_id\":\"\",\"query\":\"\",\"limit\":0}}", "d.guild_id"},
      {"{\"op\":8,\"d\":{\"guild_id\":\"abc\",\"query\":\"\",\"limit\":0}}", "d.guild_id"},
      {"{\"op\":8,\"d\":{\"guild_id\":[\"1\"],\"query\":\"\",\"limit\":0}}", "d.guild_id"},
      {"{\"op\":8,\"d\":{\"guild_id\":\"123456789012345678901\",\"query\":\"\",\"limit\":0}}", "d.guild_id"},
      {"{\"op\":8,\"d\":{" G ",\"limit\":0}}", "either query or user_ids"},
      {"{\"op\":8,\"d\":{" G ",\"query\":\"\",\"user_ids\":[\"1\"],\"limit\":0}}",
       "either query or user_ids"},
      {"{\"op\":8,\"d\":{" G ",\"query\":null,\"limit\":0}}", "d.query"},
      {"{\"op\":8,\"d\":{" G ",\"query\":\"a\"}}", "d.limit"},
      {"{\"op\":8,\"d\":{" G ",\"query\":\"a\",\"limit\":-1}}", "d.limit"},
      {"{\"op\":8,\"d\":{" G ",\"query\":\"a\",\"limit\":\"5\"}}", "d.limit"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\"],\"limit\":1.5}}", "d.limit"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[]}}", "1 to 100 ids"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[1]}}", "1 to 100 ids"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\",\"x\"]}}", "1 to 100 ids"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\"],\"presences\":1}}", "d.presences"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\"],\"nonce\":5}}", "d.nonce"},
      {"{\"op\":8,\"d\":{" G ",\"user_ids\":[\"1\"],\"nonce\":\"123456789012345678901234567890123\"}}",
       "32 bytes"},

      {"{\"op\":31,\"d\":{}}", "d.guild_ids"},
      {"{\"op\":31,\"d\":{\"guild_ids\":\"1\"}}", "d.guild_ids"},
      {"{\"op\":31,\"d\":{\"guild_ids\":[]}}", "d.guild_ids"},
      {"{\"op\":31,\"d\":{\"guild_ids\":[1]}}", "d.guild_ids"},
      {"{\"op\":43,\"d\":{\"fields\":[\"status\"]}}", "d.guild_id"},
      {"{\"op\":43,\"d\":{" G "}}", "d.fields"},
      {"{\"op\":43,\"d\":{" G ",\"fields\":[]}}", "d.fields"},
      {"{\"op\":43,\"d\":{" G ",\"fields\":[1]}}", "d.fields"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *payload = json_loads(cases[i].text, 0, NULL);
    assert_non_null(payload);
    struct tg_error error = {0};
    if (tg_payload_check_command(payload, &error) || !strstr(error.message, cases[i].word))
      fail_msg("%s: %s", cases[i].text, error.message);
    assert_string_equal(error.code, "bad_payload");
    json_decref(payload);
  }
  assert_false(tg_payload_check_command(NULL, NULL));
}

static json_t *request_of_ids(int count)
{
  json_t *ids = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(ids, json_string("1234567890123456789"));
  return json_pack("{s:i,s:{s:s,s:o,s:i}}", "op", 8, "d", "guild_id", "1", "user_ids", ids, "limit", 0);
}

static void a_hundred_ids_and_no_more(void **state)
{
  (void)state;
  json_t *payload = request_of_ids(100);
  assert_true(tg_payload_check_command(payload, NULL));
  json_decref(payload);
  payload = request_of_ids(101);
  assert_false(tg_payload_check_command(payload, NULL));
  json_decref(payload);
}

static void a_frame_of_4096_bytes_and_no_more(void **state)
{
  (void)state;
  for (int over = 0; over < 2; over++) {
    /* {"op":8,"d":{"guild_id":"1","query":"...","limit":0}} */
    char query[4096] = {0};
    size_t frame = strlen("{\"op\":8,\"d\":{\"guild_id\":\"1\",\"query\":\"\",\"limit\":0}}");
    memset(query, 'q', TG_CLIENT_FRAME_MAX - frame + (size_t)over);
    json_t *payload =
        json_pack("{s:i,s:{s:s,s:s,s:i}}", "op", 8, "d", "guild_id", "1", "query", query, "limit", 0);
    struct tg_error error = {0};
    assert_int_equal(tg_payload_check_command(payload, &error), !over);
    if (over) {
      assert_string_equal(error.code, "too_large");
      assert_non_null(strstr(error.message, "4097"));
    }
    json_decref(payload);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_ones_pass),
      cmocka_unit_test(bad_ones_are_named),
      cmocka_unit_test(a_hundred_ids_and_no_more),
      cmocka_unit_test(a_frame_of_4096_bytes_and_no_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
