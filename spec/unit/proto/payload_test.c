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
      .capabilities = -1,
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
  with.presence = NULL;
  with.capabilities = 32768;
  tg_payload_identify(&out, &with);
  assert_non_null(strstr(out.data, ",\"intents\":53575421,\"capabilities\":32768}}"));
  tg_buf_free(&out);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heartbeat),
      cmocka_unit_test(resume),
      cmocka_unit_test(identify),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
