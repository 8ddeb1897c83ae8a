/* What records of the event log carry: of this version and, for ever, of those before. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/lanes/body.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE " {\"op\":0,\"d\":{\"t\":\"no\"},\"s\":42,\"t\":\"GUILD_CREATE\"} "
#define GAP "{\"from\":1,\"to\":42,\"count\":42,\"reason\":\"overflow\"}"
#define HANDOVER "{\"from\":[3,16],\"to\":[19,32],\"guilds\":[\"41771983423143937\",\"1\"]}"

static struct tg_span text(const char *of)
{
  return (struct tg_span){of, strlen(of)};
}

static void assert_span(struct tg_span span, const char *expected)
{
  assert_int_equal(span.length, strlen(expected));
  assert_memory_equal(span.at, expected, span.length);
}

/* Of just that size, so that one byte too many is seen. */
static bool read_bytes(const void *bytes, size_t length, enum tg_log_kind kind, struct tg_stored *event)
{
  struct tg_error error = {0};
  char *copy = malloc(length + !length);
  memcpy(copy, bytes, length);
  struct tg_log_record record = {
      .shard_id = tg_ref_of(3, 1), .epoch = 7, .sequence = 42, .kind = kind, .payload = {copy, length}};
  bool read = tg_stored_read(&record, event, &error);
  if (read) { /* what it points to is in the record */
    assert_true(event->message.at >= copy && event->message.at + event->message.length <= copy + length);
    event->message.at = (const char *)bytes + (event->message.at - copy);
  } else {
    assert_string_equal(error.code, "log_damaged");
    assert_non_null(strstr(error.message, "version"));
  }
  free(copy);
  return read;
}

static bool read_text(const char *body, enum tg_log_kind kind, struct tg_stored *event)
{
  return read_bytes(body, strlen(body), kind, event);
}

static struct tg_buf record_of(const struct tg_stored *event)
{
  char head[TG_STORED_HEAD_MAX];
  struct tg_buf out = {0};
  size_t length = tg_stored_head(head, event);
  tg_buf_append(&out, head, length);
  tg_buf_append(&out, event->message.at, event->message.length);
  assert_int_equal(out.length, tg_stored_length(event->type, event->message.length));
  return out;
}

/* --- of this version ----------------------------------------------------------------- */

/* These bytes are in logs for ever. */
static void the_bytes_of_an_event(void **state)
{
  (void)state;
  static const char bytes[] = "\x01\x01\x00\x0c\x10\x02\x00\x00GUILD_CREATE" MESSAGE;
  struct tg_stored event = {.total_shards = 0x210,
                            .type = TG_EVENT_GUILD_CREATE,
                            .guild_create = TG_GUILD_LOADING,
                            .message = text(MESSAGE)},
                   back;
  struct tg_buf record = record_of(&event);
  assert_int_equal(record.length, sizeof bytes - 1);
  assert_memory_equal(record.data, bytes, record.length);
  assert_true(read_bytes(bytes, sizeof bytes - 1, TG_LOG_EVENT, &back));
  assert_int_equal(back.shard_id, 3);
  assert_int_equal(back.total_shards, 0x210);
  assert_int_equal(back.epoch, 7);
  assert_int_equal(back.sequence, 42);
  assert_int_equal(back.type, TG_EVENT_GUILD_CREATE);
  assert_int_equal(back.guild_create, TG_GUILD_LOADING);
  assert_false(back.marker || back.deferred);
  assert_span(back.message, MESSAGE);
  tg_buf_free(&record);
}

static void the_bytes_of_markers(void **state)
{
  (void)state;
  static const char gap[] = "\x01\x00\x01\x00\x00\x00\x00\x00" GAP;
  static const char handover[] = "\x01\x00\x02\x00\x10\x00\x00\x00" HANDOVER;
  struct tg_stored event = {.marker = TG_MARKER_GAP, .message = text(GAP)}, back;
  struct tg_buf record = record_of(&event);
  assert_int_equal(record.length, sizeof gap - 1);
  assert_memory_equal(record.data, gap, record.length);
  assert_true(read_bytes(gap, sizeof gap - 1, TG_LOG_MARKER, &back));
  assert_int_equal(back.marker, TG_MARKER_GAP);
  assert_int_equal(back.total_shards, 0);
  assert_int_equal(back.type, TG_EVENT_OTHER);
  assert_span(back.message, GAP);
  assert_true(read_bytes(handover, sizeof handover - 1, TG_LOG_MARKER, &back));
  assert_int_equal(back.marker, TG_MARKER_HANDOVER);
  assert_int_equal(back.total_shards, 16);
  assert_span(back.message, HANDOVER);
  tg_buf_free(&record);
}

/* Names are what they are in any process; numbers are not. */
static void types_go_by_their_names(void **state)
{
  (void)state;
  static const char bytes[] = "\x01\x00\x00\x07\x00\x00\x00\x00NEW_ONE{}";
  struct tg_stored back, other = {.type = TG_EVENT_OTHER, .message = text("{}")};
  assert_true(read_bytes(bytes, sizeof bytes - 1, TG_LOG_EVENT, &back));
  assert_string_equal(tg_event_type_name(back.type), "NEW_ONE");
  assert_span(back.message, "{}");
  struct tg_buf record = record_of(&other);
  assert_int_equal(record.length, 10); /* no name at all */
  assert_true(read_bytes(record.data, record.length, TG_LOG_EVENT, &back));
  assert_int_equal(back.type, TG_EVENT_OTHER);
  tg_buf_free(&record);
}

static void every_type_and_total_comes_back(void **state)
{
  (void)state;
  static const int totals[] = {0, 1, 255, 256, 65536, INT32_MAX};
  for (uint16_t type = 0; type < tg_event_type_count(); type++) {
    struct tg_stored event = {.type = type,
                              .total_shards = totals[type % 6],
                              .guild_create = (enum tg_guild_create)(type % 4),
                              .message = text(MESSAGE)},
                     back;
    struct tg_buf record = record_of(&event);
    assert_true(read_bytes(record.data, record.length, TG_LOG_EVENT, &back));
    assert_int_equal(back.type, type);
    assert_int_equal(back.total_shards, event.total_shards);
    assert_int_equal(back.guild_create, event.guild_create);
    assert_span(back.message, MESSAGE);
    tg_buf_free(&record);
  }
}

/* --- what nobody has written ------------------------------------------------------------ */

static void what_is_damaged_is_refused(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
    enum tg_log_kind kind;
  } cases[] = {
#define BYTES(literal) literal, sizeof(literal) - 1
      {BYTES(""), TG_LOG_EVENT},
      {BYTES("\x01"), TG_LOG_EVENT},
      {BYTES("\x01\x00\x00\x00\x00\x00\x00"), TG_LOG_EVENT},       /* cut */
      {BYTES("\x00\x00\x00\x00\x10\x00\x00\x00{}"), TG_LOG_EVENT}, /* no version */
      {BYTES("\x02\x00\x00\x00\x10\x00\x00\x00{}"), TG_LOG_EVENT}, /* one to come */
      {BYTES("\x01\x04\x00\x00\x10\x00\x00\x00{}"), TG_LOG_EVENT}, /* no such kind of guild */
      {BYTES("\x01\xff\x00\x00\x10\x00\x00\x00{}"), TG_LOG_EVENT},
      {BYTES("\x01\x00\x03\x00\x10\x00\x00\x00{}"), TG_LOG_MARKER}, /* no such marker */
      {BYTES("\x01\x00\x00\x03\x10\x00\x00\x00{}"), TG_LOG_EVENT},  /* a name beyond its end */
      {BYTES("\x01\x00\x00\xff\x10\x00\x00\x00" MESSAGE), TG_LOG_EVENT},
      {BYTES("\x01\x00\x00\x00\x00\x00\x00\x80{}"), TG_LOG_EVENT}, /* more shards than can be */
      {BYTES("\x01\x00\x00\x00\xff\xff\xff\xff{}"), TG_LOG_EVENT},
      {BYTES("\x01\x00\x01\x00\x10\x00\x00\x00" GAP), TG_LOG_EVENT}, /* a marker, and none */
      {BYTES("\x01\x00\x00\x00\x10\x00\x00\x00{}"), TG_LOG_MARKER},
      {BYTES("\x01\x00\x02\x00\x10\x00\x00\x00" GAP), TG_LOG_MARKER}, /* tells something else */
      {BYTES("\x01\x00\x02\x00\x10\x00\x00\x00{\"from\":[3,16],\"to\":[19"), TG_LOG_MARKER},
      {BYTES("null"), TG_LOG_EVENT},
      {BYTES("[{}]"), TG_LOG_EVENT},
#undef BYTES
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tg_stored event;
    assert_false(read_bytes(cases[i].bytes, cases[i].length, cases[i].kind, &event));
  }
}

static void cut_anywhere_it_is_read_or_refused(void **state)
{
  (void)state;
  static const char neutral[] = "\x01\x01\x00\x0c\x10\x00\x00\x00GUILD_CREATE" MESSAGE;
  static const char body[] = "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":" MESSAGE
                             ",\"guildCreate\":\"loading\",\"deferred\":true}";
  struct tg_stored event;
  for (size_t i = 0; i < sizeof neutral - 1; i++) /* where the message ends is not looked at */
    assert_int_equal(read_bytes(neutral, i, TG_LOG_EVENT, &event), i >= 8 + 12);
  for (size_t i = 0; i < sizeof body - 1; i++)
    read_bytes(body, i, TG_LOG_EVENT, &event);
  for (size_t i = 0; i < sizeof body - 1; i++)
    read_bytes(body + i, sizeof body - 1 - i, TG_LOG_EVENT, &event);
}

/* --- of versions before ------------------------------------------------------------------- */

#define HEAD "{\"shardId\":3,\"totalShards\":16,\"epoch\":7"
#define BODY(message, tail) HEAD ",\"message\":" message tail "}"
/* Of versions that did not tell the total yet. */
#define OLDER(message, tail) "{\"shardId\":3,\"epoch\":7,\"message\":" message tail "}"

static void bodies_are_taken_apart(void **state)
{
  (void)state;
  struct tg_stored event;
  assert_true(read_text(BODY(MESSAGE, ""), TG_LOG_EVENT, &event));
  assert_int_equal(event.shard_id, 3);
  assert_int_equal(event.total_shards, 16);
  assert_int_equal(event.epoch, 7);
  assert_int_equal(event.sequence, 42);
  assert_int_equal(event.type, TG_EVENT_GUILD_CREATE);
  assert_span(event.message, MESSAGE);
  assert_false(event.marker || event.deferred || event.guild_create);
  assert_true(read_text(BODY(MESSAGE, ",\"guildCreate\":\"loading\""), TG_LOG_EVENT, &event));
  assert_span(event.message, MESSAGE);
  assert_int_equal(event.guild_create, TG_GUILD_LOADING);
  assert_true(
      read_text(BODY(MESSAGE, ",\"guildCreate\":\"available\",\"deferred\":true"), TG_LOG_EVENT, &event));
  assert_span(event.message, MESSAGE);
  assert_int_equal(event.guild_create, TG_GUILD_AVAILABLE);
  assert_true(event.deferred);
  assert_true(read_text(OLDER(MESSAGE, ",\"guildCreate\":\"joined\""), TG_LOG_EVENT, &event));
  assert_int_equal(event.total_shards, 0);
  assert_span(event.message, MESSAGE);
  assert_int_equal(event.guild_create, TG_GUILD_JOINED);
}

static void markers_are_taken_apart(void **state)
{
  (void)state;
  struct tg_stored event;
  assert_true(read_text(HEAD ",\"gap\":" GAP "}", TG_LOG_MARKER, &event));
  assert_span(event.message, GAP);
  assert_int_equal(event.marker, TG_MARKER_GAP);
  assert_int_equal(event.total_shards, 16);
  assert_true(read_text(HEAD ",\"resharding\":" HANDOVER "}", TG_LOG_MARKER, &event));
  assert_span(event.message, HANDOVER);
  assert_int_equal(event.marker, TG_MARKER_HANDOVER);
  assert_true(read_text("{\"shardId\":3,\"epoch\":7,\"gap\":" GAP "}", TG_LOG_MARKER, &event));
  assert_int_equal(event.total_shards, 0);
}

/* The body that is made of it now is the one that it was. */
static void they_are_put_together_again(void **state)
{
  (void)state;
  static const struct {
    const char *body;
    enum tg_log_kind kind;
  } bodies[] = {
      {BODY(MESSAGE, ""), TG_LOG_EVENT},
      {BODY(MESSAGE, ",\"guildCreate\":\"joined\""), TG_LOG_EVENT},
      {OLDER(MESSAGE, ",\"guildCreate\":\"loading\",\"deferred\":true"), TG_LOG_EVENT},
      {HEAD ",\"gap\":" GAP "}", TG_LOG_MARKER},
      {HEAD ",\"resharding\":" HANDOVER "}", TG_LOG_MARKER},
  };
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    struct tg_stored event;
    struct tg_buf body = {0};
    assert_true(read_text(bodies[i].body, bodies[i].kind, &event));
    tg_body_write(&body, &event);
    assert_span((struct tg_span){body.data, body.length}, bodies[i].body);
    assert_int_equal(body.length, tg_body_length(&event));
    tg_buf_free(&body);
  }
}

/* What a message ends with is not taken for what was put behind it. */
static void a_message_may_end_with_anything(void **state)
{
  (void)state;
  static const char *const messages[] = {
      "{\"d\":{\"deferred\":true}}",          "{\"d\":1,\"deferred\":true}",
      "{\"d\":1,\"guildCreate\":\"joined\"}", "{\"d\":1,\"deferred\":true} ",
      "{\"message\":{\"message\":\"\"}}",     "{}",
  };
  for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
    char body[160];
    struct tg_stored event;
    snprintf(body, sizeof body, HEAD ",\"message\":%s}", messages[i]);
    assert_true(read_text(body, TG_LOG_EVENT, &event));
    assert_span(event.message, messages[i]);
    assert_false(event.deferred || event.guild_create || event.marker);
  }
}

static void what_is_no_total_is_none(void **state)
{
  (void)state;
  static const char *const totals[] = {"-1", "x", "", "2147483648", "99999999999999999999", "1.5"};
  for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
    char body[160];
    struct tg_stored event;
    snprintf(body, sizeof body, "{\"shardId\":3,\"totalShards\":%s,\"epoch\":7,\"message\":{}}", totals[i]);
    assert_true(read_text(body, TG_LOG_EVENT, &event));
    assert_int_equal(event.total_shards, 0);
  }
}

static void what_is_no_body_is_refused(void **state)
{
  (void)state;
  static const char *const bodies[] = {"{", "{}", "{\"shardId\":3,\"epoch\":7}", BODY("{}", "") "x"};
  static const char *const markers[] = {HEAD ",\"resharding\":{\"from\":[3,16],\"to\":[19]}}",
                                        HEAD ",\"resharding\":}", BODY("{}", "")};
  struct tg_stored event;
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
    assert_false(read_text(bodies[i], TG_LOG_EVENT, &event));
  for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++)
    assert_false(read_text(markers[i], TG_LOG_MARKER, &event));
  assert_false(read_text(HEAD ",\"gap\":" GAP "}", TG_LOG_EVENT, &event));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_bytes_of_an_event),       cmocka_unit_test(the_bytes_of_markers),
      cmocka_unit_test(types_go_by_their_names),     cmocka_unit_test(every_type_and_total_comes_back),
      cmocka_unit_test(what_is_damaged_is_refused),  cmocka_unit_test(cut_anywhere_it_is_read_or_refused),
      cmocka_unit_test(bodies_are_taken_apart),      cmocka_unit_test(markers_are_taken_apart),
      cmocka_unit_test(they_are_put_together_again), cmocka_unit_test(a_message_may_end_with_anything),
      cmocka_unit_test(what_is_no_total_is_none),    cmocka_unit_test(what_is_no_body_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
