/* The forms that events have in requests, made of the one that is kept. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/formats/format.h"
#include "delivery/lanes/body.h"

#include <stdio.h>
#include <string.h>

static struct tg_config config;

static int begin(void **state)
{
  (void)state;
  static char token[] = "MTIz.a.b";
  config = (struct tg_config){.token = token};
  return 0;
}

static struct tg_span text(const char *of)
{
  return (struct tg_span){of, strlen(of)};
}

static void assert_span(struct tg_span span, const char *expected)
{
  assert_int_equal(span.length, strlen(expected));
  assert_memory_equal(span.at, expected, span.length);
}

/* What is made of it in that format, and it is appended. */
static void assert_form(enum tg_event_format format, struct tg_stored event, const char *expected)
{
  struct tg_buf out = {0};
  event.shard_id = 3;
  event.epoch = 7;
  event.sequence = 42;
  tg_buf_puts(&out, "[");
  tg_format_write(&config, &config.event_handler, format, &event, 1700000000123, &out);
  tg_buf_append(&out, "", 1);
  assert_string_equal(out.data + 1, expected);
  assert_true(out.length - 2 <= tg_body_length(&event) + tg_format_growth(format));
  tg_buf_free(&out);
}

/* As they come: keys in any order, white space, escapes, long digits. */
#define MESSAGE                                                                                              \
  "{\"t\":\"MESSAGE_CREATE\",\"s\":42,\"op\":0,\"d\": {\"id\":\"1\", \"n\":1.50e2,\"x\":\"\\u00e9\"} }"
#define DATA "{\"id\":\"1\", \"n\":1.50e2,\"x\":\"\\u00e9\"}"
#define GUILD "{\"op\":0,\"d\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"},\"s\":42,\"t\" : \"GUILD_CREATE\"}"
#define HEAD "{\"shardId\":3,\"totalShards\":16,\"epoch\":7"
#define TEXT(of)                                                                                             \
  {                                                                                                          \
    of, sizeof(of) - 1                                                                                       \
  }
#define STORED(of, ...) ((struct tg_stored){.total_shards = 16, .message = TEXT(of), ##__VA_ARGS__})
#define BODY(message, tail) HEAD ",\"message\":" message tail "}"
#define GAP "{\"from\":1,\"to\":42,\"count\":42,\"reason\":\"overflow\"}"
#define STORED_GAP STORED(GAP, .marker = TG_MARKER_GAP)
#define HANDOVER "{\"from\":[3,16],\"to\":[19,32],\"guilds\":[\"41771983423143937\",\"1\"]}"
#define STORED_HANDOVER STORED(HANDOVER, .marker = TG_MARKER_HANDOVER)
#define LOADING ",\"guildCreate\":\"loading\""
#define DEFERRED ",\"deferred\":true"

/* Numbers of any length fit, and how long it gets is known before. */
static void heads_of_bodies(void **state)
{
  (void)state;
  char prefix[TG_BODY_PREFIX_MAX];
  struct tg_stored event = {
      .shard_id = INT32_MAX, .total_shards = INT32_MAX, .epoch = UINT64_MAX, .marker = TG_MARKER_HANDOVER};
  size_t length = tg_body_prefix(prefix, &event, "resharding");
  assert_span((struct tg_span){prefix, length},
              "{\"shardId\":2147483647,\"totalShards\":2147483647,\"epoch\":"
              "18446744073709551615,\"resharding\":");
  assert_int_equal(length, tg_body_prefix_length(&event));
  static const uint64_t numbers[] = {0, 1, 9, 10, 99, 100, 12345, 2147483647};
  for (size_t i = 0; i < 8 * 8 * 3; i++) {
    event = (struct tg_stored){.shard_id = (int)numbers[i % 8],
                               .total_shards = (int)numbers[i / 8 % 8],
                               .epoch = numbers[(i + 3) % 8] * 3,
                               .marker = (enum tg_marker)(i / 64)};
    assert_int_equal(tg_body_prefix(prefix, &event, tg_marker_key(event.marker)),
                     tg_body_prefix_length(&event));
  }
}

static void tails_of_bodies(void **state)
{
  (void)state;
  static const char *const tails[] = {"}",
                                      ",\"guildCreate\":\"loading\"}",
                                      ",\"guildCreate\":\"joined\"}",
                                      ",\"guildCreate\":\"available\"}",
                                      ",\"deferred\":true}",
                                      ",\"guildCreate\":\"loading\",\"deferred\":true}",
                                      ",\"guildCreate\":\"joined\",\"deferred\":true}",
                                      ",\"guildCreate\":\"available\",\"deferred\":true}"};
  for (int i = 0; i < 16; i++) {
    char suffix[TG_BODY_SUFFIX_MAX], tail[TG_BODY_SUFFIX_MAX];
    struct tg_stored event = {
        .guild_create = (enum tg_guild_create)(i % 4), .deferred = i / 4 % 2 == 1, .late = i >= 8};
    size_t length = tg_body_suffix(suffix, &event);
    snprintf(tail, sizeof tail, "%.*s%s}", (int)strlen(tails[i % 8]) - 1, tails[i % 8],
             event.late ? ",\"late\":true" : "");
    assert_span((struct tg_span){suffix, length}, tail);
    assert_int_equal(length, tg_body_suffix_length(event.guild_create, event.deferred, event.late));
  }
}

/* Another host has gone on with the shard before it came. */
static void late_ones_say_so(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_SEED, STORED(MESSAGE, .late = true), BODY(MESSAGE, ",\"late\":true"));
  assert_form(TG_FORMAT_DISCORDENO, STORED(MESSAGE, .late = true),
              HEAD ",\"payload\":" MESSAGE ",\"late\":true}");
  assert_form(TG_FORMAT_CHAT_SDK, STORED(MESSAGE, .late = true),
              "{\"type\":\"GATEWAY_MESSAGE_CREATE\",\"timestamp\":1700000000123,\"data\":" DATA
              ",\"late\":true}");
  struct tg_stored event = STORED(MESSAGE, .deferred = true, .late = true);
  struct tg_buf body = {0};
  tg_format_write(&config, &config.event_handler, TG_FORMAT_CLOUDEVENTS, &event, 0, &body);
  tg_buf_append(&body, "", 1);
  assert_non_null(strstr(body.data, ",\"deferred\":true,\"late\":true,\"data\":"));
  tg_buf_free(&body);
}

/* Of a set whose number of shards is not known: as older logs have them. */
static void without_a_total(void **state)
{
  (void)state;
  struct tg_stored event = {.message = TEXT(MESSAGE)};
  assert_form(TG_FORMAT_SEED, event, "{\"shardId\":3,\"epoch\":7,\"message\":" MESSAGE "}");
  assert_form(TG_FORMAT_DISCORDENO, event, "{\"shardId\":3,\"epoch\":7,\"payload\":" MESSAGE "}");
  event.message = text("{\"op\":0,\"t\":\"A\",\"d\":null}");
  assert_form(
      TG_FORMAT_CLOUDEVENTS, event,
      "{\"specversion\":\"1.0\",\"id\":\"3.7.42\",\"source\":\"/tidegate/bots/123/shards/3\","
      "\"type\":\"com.discord.A\",\"time\":\"2023-11-14T22:13:20.123Z\",\"datacontenttype\":"
      "\"application/json\",\"shardid\":3,\"epoch\":\"7\",\"sequence\":\"0000000042\",\"data\":null}");
}

static void the_other_end_of_a_handover(void **state)
{
  (void)state;
  int other = -1;
  assert_true(tg_handover_other(text(HANDOVER), 16, &other));
  assert_int_equal(other, 19);
  assert_true(tg_handover_other(text(HANDOVER), 32, &other));
  assert_int_equal(other, 3);
  static const char *const none[] = {"", "{}", GAP, "{\"from\":[3,16],\"to\":[19]",
                                     "{\"from\":[3,x],\"to\":[1,2]"};
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
    assert_false(tg_handover_other(text(none[i]), 16, &other));
}

static void seed(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_SEED, STORED(MESSAGE, .deferred = true), BODY(MESSAGE, DEFERRED));
  assert_form(TG_FORMAT_SEED, STORED(GUILD, .guild_create = TG_GUILD_LOADING), BODY(GUILD, LOADING));
  assert_form(TG_FORMAT_SEED, STORED_GAP, HEAD ",\"gap\":" GAP "}");
  assert_form(TG_FORMAT_SEED, STORED_HANDOVER, HEAD ",\"resharding\":" HANDOVER "}");
}

static void discordeno(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_DISCORDENO, STORED(MESSAGE), HEAD ",\"payload\":" MESSAGE "}");
  assert_form(TG_FORMAT_DISCORDENO, STORED(GUILD, .guild_create = TG_GUILD_LOADING),
              HEAD ",\"payload\":" GUILD LOADING "}");
  assert_form(TG_FORMAT_DISCORDENO, STORED(MESSAGE, .deferred = true),
              HEAD ",\"payload\":" MESSAGE DEFERRED "}");
  assert_form(TG_FORMAT_DISCORDENO, STORED_GAP, HEAD ",\"gap\":" GAP "}");
  assert_form(TG_FORMAT_DISCORDENO, STORED_HANDOVER, HEAD ",\"resharding\":" HANDOVER "}");
}

static void discordeno_with_loaded_guilds(void **state)
{
  (void)state;
  config.event_handler.guild_loaded = true;
  assert_form(TG_FORMAT_DISCORDENO, STORED(GUILD, .guild_create = TG_GUILD_LOADING),
              HEAD ",\"payload\":{\"op\":0,\"d\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"},"
                   "\"s\":42,\"t\" : \"GUILD_LOADED_DD\"}" LOADING "}");
  assert_form(TG_FORMAT_DISCORDENO, STORED(GUILD, .guild_create = TG_GUILD_JOINED),
              HEAD ",\"payload\":" GUILD ",\"guildCreate\":\"joined\"}");
  /* A script may have put another message in its place. */
  assert_form(TG_FORMAT_DISCORDENO, STORED(MESSAGE, .guild_create = TG_GUILD_LOADING),
              HEAD ",\"payload\":" MESSAGE LOADING "}");
}

static void chat_sdk(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_CHAT_SDK, STORED(MESSAGE),
              "{\"type\":\"GATEWAY_MESSAGE_CREATE\",\"timestamp\":1700000000123,\"data\":" DATA "}");
  assert_form(TG_FORMAT_CHAT_SDK, STORED(GUILD, .guild_create = TG_GUILD_LOADING),
              "{\"type\":\"GATEWAY_GUILD_CREATE\",\"timestamp\":1700000000123,"
              "\"data\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"}" LOADING "}");
  assert_form(TG_FORMAT_CHAT_SDK, STORED_GAP,
              "{\"type\":\"GATEWAY_GAP\",\"timestamp\":1700000000123,\"data\":" GAP "}");
  assert_form(TG_FORMAT_CHAT_SDK, STORED_HANDOVER,
              "{\"type\":\"GATEWAY_RESHARDING\",\"timestamp\":1700000000123,\"data\":" HANDOVER "}");
  assert_form(TG_FORMAT_CHAT_SDK, STORED("{\"op\":0}"),
              "{\"type\":\"GATEWAY_\",\"timestamp\":1700000000123,\"data\":null}");
}

#define EVENT "{\"specversion\":\"1.0\",\"id\":\"3.7.42\",\"source\":\"/tidegate/bots/123/shards/3\","
#define TIME                                                                                                 \
  "\"time\":\"2023-11-14T22:13:20.123Z\",\"datacontenttype\":\"application/"                                 \
  "json\",\"shardid\":3,\"totalshards\":16,\"epoch\":\"7\""

static void cloudevents(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_CLOUDEVENTS, STORED(MESSAGE, .deferred = true),
              EVENT "\"type\":\"com.discord.MESSAGE_CREATE\"," TIME
                    ",\"sequence\":\"0000000042\",\"deferred\":true,\"data\":" DATA "}");
  assert_form(TG_FORMAT_CLOUDEVENTS, STORED(GUILD, .guild_create = TG_GUILD_LOADING),
              EVENT "\"type\":\"com.discord.GUILD_CREATE\"," TIME
                    ",\"sequence\":\"0000000042\",\"guildcreate\":\"loading\","
                    "\"data\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"}}");
  assert_form(TG_FORMAT_CLOUDEVENTS, STORED_GAP,
              "{\"specversion\":\"1.0\",\"id\":\"3.7.gap-42\",\"source\":\"/tidegate/bots/123/shards/3\","
              "\"type\":\"tidegate.GATEWAY_GAP\"," TIME ",\"data\":" GAP "}");
  assert_form(
      TG_FORMAT_CLOUDEVENTS, STORED_HANDOVER,
      "{\"specversion\":\"1.0\",\"id\":\"3.7.resharding-19-42\",\"source\":\"/tidegate/bots/123/shards/3\","
      "\"type\":\"tidegate.GATEWAY_RESHARDING\"," TIME ",\"data\":" HANDOVER "}");
  config.token = NULL;
  assert_form(TG_FORMAT_CLOUDEVENTS, STORED("{\"op\":0,\"t\":\"A\",\"d\":null}"),
              "{\"specversion\":\"1.0\",\"id\":\"3.7.42\",\"source\":\"/tidegate/shards/3\","
              "\"type\":\"com.discord.A\"," TIME ",\"sequence\":\"0000000042\",\"data\":null}");
}

static void an_event_of_a_script(void **state)
{
  (void)state;
  struct tg_buf out = {0};
  struct tg_event event = {
      .shard_id = 3, .total_shards = 16, .epoch = 7, .sequence = 42, .raw = text(MESSAGE)};
  tg_format_write_event(NULL, &event, &out);
  assert_span((struct tg_span){out.data, out.length}, BODY(MESSAGE, ""));
  out.length = 0;
  config.event_handler.format = TG_FORMAT_DISCORDENO;
  tg_format_write_event(&config, &event, &out);
  assert_span((struct tg_span){out.data, out.length}, HEAD ",\"payload\":" MESSAGE "}");
  out.length = 0; /* of a marker its data counts: what it is made of is all of it */
  event.marker = TG_MARKER_GAP;
  event.raw = text(HEAD ",\"gap\":" GAP "}");
  event.data = text(GAP);
  tg_format_write_event(&config, &event, &out);
  assert_span((struct tg_span){out.data, out.length}, HEAD ",\"gap\":" GAP "}");
  tg_buf_free(&out);
}

static void the_type_of_the_content(void **state)
{
  (void)state;
  assert_string_equal(tg_format_content_type(TG_FORMAT_SEED, true), "application/json");
  assert_string_equal(tg_format_content_type(TG_FORMAT_CHAT_SDK, false), "application/json");
  assert_string_equal(tg_format_content_type(TG_FORMAT_CLOUDEVENTS, false), "application/cloudevents+json");
  assert_string_equal(tg_format_content_type(TG_FORMAT_CLOUDEVENTS, true),
                      "application/cloudevents-batch+json");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(heads_of_bodies, begin),
      cmocka_unit_test_setup(tails_of_bodies, begin),
      cmocka_unit_test_setup(late_ones_say_so, begin),
      cmocka_unit_test_setup(without_a_total, begin),
      cmocka_unit_test_setup(the_other_end_of_a_handover, begin),
      cmocka_unit_test_setup(seed, begin),
      cmocka_unit_test_setup(discordeno, begin),
      cmocka_unit_test_setup(discordeno_with_loaded_guilds, begin),
      cmocka_unit_test_setup(chat_sdk, begin),
      cmocka_unit_test_setup(cloudevents, begin),
      cmocka_unit_test_setup(an_event_of_a_script, begin),
      cmocka_unit_test_setup(the_type_of_the_content, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
