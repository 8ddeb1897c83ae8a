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

static void assert_form(enum tg_event_format format, const char *body, const char *expected)
{
  struct tg_buf out = {0};
  bool marker = strstr(body, "\"gap\"") || strstr(body, "\"resharding\"");
  struct tg_format_event event = {.body = text(body),
                                  .shard_id = 3,
                                  .epoch = 7,
                                  .name = tg_parcel_end(42, marker, text(body)),
                                  .at = 1700000000123};
  tg_buf_puts(&out, "["); /* it is appended */
  tg_format_write(&config, format, &event, &out);
  tg_buf_append(&out, "", 1);
  assert_string_equal(out.data + 1, expected);
  assert_true(out.length - 2 <= event.body.length + tg_format_growth(format));
  tg_buf_free(&out);
}

/* As they come: keys in any order, white space, escapes, long digits. */
#define MESSAGE                                                                                              \
  "{\"t\":\"MESSAGE_CREATE\",\"s\":42,\"op\":0,\"d\": {\"id\":\"1\", \"n\":1.50e2,\"x\":\"\\u00e9\"} }"
#define DATA "{\"id\":\"1\", \"n\":1.50e2,\"x\":\"\\u00e9\"}"
#define GUILD "{\"op\":0,\"d\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"},\"s\":42,\"t\" : \"GUILD_CREATE\"}"
#define HEAD "{\"shardId\":3,\"totalShards\":16,\"epoch\":7"
#define KEPT(message, tail) HEAD ",\"message\":" message tail "}"
#define GAP "{\"from\":1,\"to\":42,\"count\":42,\"reason\":\"overflow\"}"
#define KEPT_GAP HEAD ",\"gap\":" GAP "}"
#define HANDOVER "{\"from\":[3,16],\"to\":[19,32],\"guilds\":[\"41771983423143937\",\"1\"]}"
#define KEPT_HANDOVER HEAD ",\"resharding\":" HANDOVER "}"
/* As versions before those that tell the total kept it. */
#define OLD(message, tail) "{\"shardId\":3,\"epoch\":7,\"message\":" message tail "}"
#define LOADING ",\"guildCreate\":\"loading\""
#define DEFERRED ",\"deferred\":true"

static void a_body_is_taken_apart(void **state)
{
  (void)state;
  struct tg_body_parts parts;
  assert_true(tg_body_read(text(KEPT(MESSAGE, "")), &parts));
  assert_span(parts.head, HEAD);
  assert_int_equal(parts.total_shards, 16);
  assert_span(parts.message, MESSAGE);
  assert_span(parts.tail, "}");
  assert_false(parts.marker || parts.deferred || parts.guild_create);
  assert_true(tg_body_read(text(KEPT(GUILD, LOADING)), &parts));
  assert_span(parts.message, GUILD);
  assert_span(parts.tail, LOADING "}");
  assert_int_equal(parts.guild_create, TG_GUILD_LOADING);
  assert_true(tg_body_read(text(KEPT(MESSAGE, ",\"guildCreate\":\"available\"" DEFERRED)), &parts));
  assert_span(parts.message, MESSAGE);
  assert_int_equal(parts.guild_create, TG_GUILD_AVAILABLE);
  assert_true(parts.deferred);
  assert_true(tg_body_read(text(KEPT_GAP), &parts));
  assert_span(parts.message, GAP);
  assert_int_equal(parts.marker, TG_MARKER_GAP);
  assert_true(tg_body_read(text(KEPT_HANDOVER), &parts));
  assert_span(parts.message, HANDOVER);
  assert_int_equal(parts.marker, TG_MARKER_HANDOVER);
  assert_int_equal(parts.other, 19);
}

/* Logs outlive versions. */
static void a_body_of_an_older_version(void **state)
{
  (void)state;
  struct tg_body_parts parts;
  struct tg_buf body = {0};
  static const struct tg_body_head head = {.shard_id = 3, .epoch = 7};
  assert_true(tg_body_read(text(OLD(GUILD, LOADING DEFERRED)), &parts));
  assert_int_equal(parts.total_shards, 0);
  assert_span(parts.head, "{\"shardId\":3,\"epoch\":7");
  assert_span(parts.message, GUILD);
  assert_true(parts.deferred && parts.guild_create == TG_GUILD_LOADING);
  tg_body_write(&body, &head, parts.message, parts.guild_create, parts.deferred);
  assert_span((struct tg_span){body.data, body.length}, OLD(GUILD, LOADING DEFERRED));
  tg_buf_free(&body);
  assert_form(TG_FORMAT_SEED, OLD(MESSAGE, ""), OLD(MESSAGE, ""));
  assert_form(TG_FORMAT_DISCORDENO, OLD(MESSAGE, ""), "{\"shardId\":3,\"epoch\":7,\"payload\":" MESSAGE "}");
  assert_form(
      TG_FORMAT_CLOUDEVENTS, OLD("{\"op\":0,\"t\":\"A\",\"d\":null}", ""),
      "{\"specversion\":\"1.0\",\"id\":\"3.7.42\",\"source\":\"/tidegate/bots/123/shards/3\","
      "\"type\":\"com.discord.A\",\"time\":\"2023-11-14T22:13:20.123Z\",\"datacontenttype\":"
      "\"application/json\",\"shardid\":3,\"epoch\":\"7\",\"sequence\":\"0000000042\",\"data\":null}");
}

/* Numbers of any length fit, and what is no total is none. */
static void heads_of_bodies(void **state)
{
  (void)state;
  char prefix[TG_BODY_PREFIX_MAX];
  struct tg_body_head head = {INT32_MAX, INT32_MAX, UINT64_MAX};
  size_t length = tg_body_prefix(prefix, &head, "resharding");
  assert_span((struct tg_span){prefix, length},
              "{\"shardId\":2147483647,\"totalShards\":2147483647,\"epoch\":"
              "18446744073709551615,\"resharding\":");
  static const char *const totals[] = {"-1", "x", "", "2147483648", "99999999999999999999", "1.5"};
  for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
    char body[160];
    struct tg_body_parts parts;
    snprintf(body, sizeof body, "{\"shardId\":3,\"totalShards\":%s,\"epoch\":7,\"message\":{}}", totals[i]);
    assert_true(tg_body_read(text(body), &parts));
    assert_int_equal(parts.total_shards, 0);
  }
}

/* What a message ends with is not taken for what we have put behind it. */
static void a_message_may_end_with_anything(void **state)
{
  (void)state;
  static const char *const messages[] = {
      "{\"d\":{\"deferred\":true}}",          "{\"d\":1,\"deferred\":true}",
      "{\"d\":1,\"guildCreate\":\"joined\"}", "{\"d\":1,\"deferred\":true} ",
      "{\"message\":{\"message\":\"\"}}",     "{}",
  };
  static const struct tg_body_head head = {3, 16, 7};
  for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
    struct tg_buf body = {0};
    struct tg_body_parts parts;
    tg_body_write(&body, &head, text(messages[i]), TG_GUILD_NONE, false);
    assert_true(tg_body_read((struct tg_span){body.data, body.length}, &parts));
    assert_span(parts.message, messages[i]);
    assert_false(parts.deferred || parts.guild_create || parts.marker);
    tg_buf_free(&body);
  }
}

static void what_is_no_body_stays_what_it_is(void **state)
{
  (void)state;
  static const char *const bodies[] = {"",
                                       "{",
                                       "}",
                                       "{}",
                                       "null",
                                       "{\"shardId\":3,\"epoch\":7}",
                                       HEAD ",\"resharding\":{\"from\":[3,16],\"to\":[19]}}"};
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    struct tg_body_parts parts;
    assert_false(tg_body_read(text(bodies[i]), &parts));
    assert_form(TG_FORMAT_CLOUDEVENTS, bodies[i], bodies[i]);
  }
}

static void seed(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_SEED, KEPT(MESSAGE, DEFERRED), KEPT(MESSAGE, DEFERRED));
}

static void discordeno(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_DISCORDENO, KEPT(MESSAGE, ""), HEAD ",\"payload\":" MESSAGE "}");
  assert_form(TG_FORMAT_DISCORDENO, KEPT(GUILD, LOADING), HEAD ",\"payload\":" GUILD LOADING "}");
  assert_form(TG_FORMAT_DISCORDENO, KEPT(MESSAGE, DEFERRED), HEAD ",\"payload\":" MESSAGE DEFERRED "}");
  assert_form(TG_FORMAT_DISCORDENO, KEPT_GAP, KEPT_GAP);
  assert_form(TG_FORMAT_DISCORDENO, KEPT_HANDOVER, KEPT_HANDOVER);
}

static void discordeno_with_loaded_guilds(void **state)
{
  (void)state;
  config.event_handler.guild_loaded = true;
  assert_form(TG_FORMAT_DISCORDENO, KEPT(GUILD, LOADING),
              HEAD ",\"payload\":{\"op\":0,\"d\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"},"
                   "\"s\":42,\"t\" : \"GUILD_LOADED_DD\"}" LOADING "}");
  assert_form(TG_FORMAT_DISCORDENO, KEPT(GUILD, ",\"guildCreate\":\"joined\""),
              HEAD ",\"payload\":" GUILD ",\"guildCreate\":\"joined\"}");
  /* A script may have put another message in its place. */
  assert_form(TG_FORMAT_DISCORDENO, KEPT(MESSAGE, LOADING), HEAD ",\"payload\":" MESSAGE LOADING "}");
}

static void chat_sdk(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_CHAT_SDK, KEPT(MESSAGE, ""),
              "{\"type\":\"GATEWAY_MESSAGE_CREATE\",\"timestamp\":1700000000123,\"data\":" DATA "}");
  assert_form(TG_FORMAT_CHAT_SDK, KEPT(GUILD, LOADING),
              "{\"type\":\"GATEWAY_GUILD_CREATE\",\"timestamp\":1700000000123,"
              "\"data\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"}" LOADING "}");
  assert_form(TG_FORMAT_CHAT_SDK, KEPT_GAP,
              "{\"type\":\"GATEWAY_GAP\",\"timestamp\":1700000000123,\"data\":" GAP "}");
  assert_form(TG_FORMAT_CHAT_SDK, KEPT_HANDOVER,
              "{\"type\":\"GATEWAY_RESHARDING\",\"timestamp\":1700000000123,\"data\":" HANDOVER "}");
  assert_form(TG_FORMAT_CHAT_SDK, KEPT("{\"op\":0}", ""),
              "{\"type\":\"GATEWAY_\",\"timestamp\":1700000000123,\"data\":null}");
}

#define EVENT "{\"specversion\":\"1.0\",\"id\":\"3.7.42\",\"source\":\"/tidegate/bots/123/shards/3\","
#define TIME                                                                                                 \
  "\"time\":\"2023-11-14T22:13:20.123Z\",\"datacontenttype\":\"application/"                                 \
  "json\",\"shardid\":3,\"totalshards\":16,\"epoch\":\"7\""

static void cloudevents(void **state)
{
  (void)state;
  assert_form(TG_FORMAT_CLOUDEVENTS, KEPT(MESSAGE, DEFERRED),
              EVENT "\"type\":\"com.discord.MESSAGE_CREATE\"," TIME
                    ",\"sequence\":\"0000000042\",\"deferred\":true,\"data\":" DATA "}");
  assert_form(TG_FORMAT_CLOUDEVENTS, KEPT(GUILD, LOADING),
              EVENT "\"type\":\"com.discord.GUILD_CREATE\"," TIME
                    ",\"sequence\":\"0000000042\",\"guildcreate\":\"loading\","
                    "\"data\":{\"id\":\"5\",\"t\":\"GUILD_CREATE\"}}");
  assert_form(TG_FORMAT_CLOUDEVENTS, KEPT_GAP,
              "{\"specversion\":\"1.0\",\"id\":\"3.7.gap-42\",\"source\":\"/tidegate/bots/123/shards/3\","
              "\"type\":\"tidegate.GATEWAY_GAP\"," TIME ",\"data\":" GAP "}");
  assert_form(
      TG_FORMAT_CLOUDEVENTS, KEPT_HANDOVER,
      "{\"specversion\":\"1.0\",\"id\":\"3.7.resharding-19-42\",\"source\":\"/tidegate/bots/123/shards/3\","
      "\"type\":\"tidegate.GATEWAY_RESHARDING\"," TIME ",\"data\":" HANDOVER "}");
  config.token = NULL;
  assert_form(TG_FORMAT_CLOUDEVENTS, KEPT("{\"op\":0,\"t\":\"A\",\"d\":null}", ""),
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
  assert_span((struct tg_span){out.data, out.length}, KEPT(MESSAGE, ""));
  out.length = 0;
  config.event_handler.format = TG_FORMAT_DISCORDENO;
  tg_format_write_event(&config, &event, &out);
  assert_span((struct tg_span){out.data, out.length}, HEAD ",\"payload\":" MESSAGE "}");
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
      cmocka_unit_test_setup(a_body_is_taken_apart, begin),
      cmocka_unit_test_setup(a_body_of_an_older_version, begin),
      cmocka_unit_test_setup(heads_of_bodies, begin),
      cmocka_unit_test_setup(a_message_may_end_with_anything, begin),
      cmocka_unit_test_setup(what_is_no_body_stays_what_it_is, begin),
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
