/* Commands of the stream "gateway_send": those that @discordjs/brokers of npm has written, and what is none.
 */

#include "manager/commands/gateway_send.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* broker.publish("gateway_send", { shardId: 2, payload: { op: 3, d: { status: "idle", afk: false } } }) */
#define PAYLOAD                                                                                              \
  "\x82\xa2op\x03\xa1"                                                                                       \
  "d\x82\xa6status\xa4idle\xa3"                                                                              \
  "afk\xc2"
#define COMMAND "\x82\xa7shardId\x02\xa7payload" PAYLOAD

static struct tg_span copy_of(const char *bytes, size_t length)
{
  char *copy = malloc(length > 0 ? length : 1);
  memcpy(copy, bytes, length);
  return (struct tg_span){copy, length};
}

static void check(const char *bytes, size_t length, int shard_id, const char *json)
{
  struct tg_span data = copy_of(bytes, length);
  struct tg_gateway_send command;
  struct tg_error error = {0};
  if (!tg_gateway_send_read(data, &command, &error))
    fail_msg("%s", error.message);
  assert_int_equal(command.shard_id, shard_id);
  char *text = json_dumps(command.payload, JSON_COMPACT);
  assert_string_equal(text, json);
  free(text);
  json_decref(command.payload);
  free((char *)data.at);
}

static void refuse(const char *bytes, size_t length, const char *code, const char *why)
{
  struct tg_span data = copy_of(bytes, length);
  struct tg_gateway_send command;
  struct tg_error error = {0};
  assert_false(tg_gateway_send_read(data, &command, &error));
  assert_string_equal(error.code, code);
  if (!strstr(error.message, why))
    fail_msg("%s", error.message);
  free((char *)data.at);
}

#define READ(bytes, shard_id, json) check(bytes, sizeof bytes - 1, shard_id, json)
#define REFUSE(bytes, code, why) refuse(bytes, sizeof bytes - 1, code, why)

static void commands_are_read(void **state)
{
  (void)state;
  const char *payload = "{\"op\":3,\"d\":{\"status\":\"idle\",\"afk\":false}}";
  READ(COMMAND, 2, payload);
  READ("\x82\xa7payload" PAYLOAD "\xa7shardId\xcd\x01\x00", 256, payload);
  READ("\x83\xa7shardId\x00\xa4more\xc0\xa7payload" PAYLOAD, 0, payload);
  READ(PAYLOAD, TG_ALL_SHARDS, payload);
}

static void what_is_none_is_refused(void **state)
{
  (void)state;
  REFUSE("", "bad_msgpack", "ends in the middle");
  REFUSE("{\"op\":3}", "bad_msgpack", "behind its end");
  REFUSE("\xc0", "bad_argument", "map {shardId, payload}");
  REFUSE("\x91\x01", "bad_argument", "map {shardId, payload}");
  REFUSE("\x80", "bad_argument", "shardId");
  REFUSE("\x81\xa7payload" PAYLOAD, "bad_argument", "shardId");
  REFUSE("\x82\xa7shardId\xa1"
         "2\xa7payload" PAYLOAD,
         "bad_argument", "shardId");
  REFUSE("\x82\xa7shardId\xff\xa7payload" PAYLOAD, "bad_argument", "shardId");
  REFUSE("\x82\xa7shardId\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\xa7payload" PAYLOAD, "bad_argument", "shardId");
  REFUSE("\x82\xa7shardId\xce\x00\x01\x00\x00\xa7payload" PAYLOAD, "bad_argument", "shardId");
  REFUSE("\x81\xa7shardId\x02", "bad_argument", "payload");
  REFUSE("\x82\xa7shardId\x02\xa7payload\xc0", "bad_argument", "payload");
  REFUSE("\x82\xa7shardId\x02\xa7payload\x90", "bad_argument", "payload");
}

static void large_ones_are_not_looked_at(void **state)
{
  (void)state;
  enum { SIZE = 64 * 1024 + 1 };
  char *bytes = malloc(SIZE);
  memset(bytes, 0x91, SIZE);
  refuse(bytes, SIZE, "too_large", "65537 bytes");
  free(bytes);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commands_are_read),
      cmocka_unit_test(what_is_none_is_refused),
      cmocka_unit_test(large_ones_are_not_looked_at),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
