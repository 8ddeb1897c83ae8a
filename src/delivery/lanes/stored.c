#include "delivery/lanes/stored.h"

#include "delivery/lanes/body.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"

#include <limits.h>
#include <string.h>

enum {
  VERSION = 1,
  VERSION_PLACED = 2,
  /* bytes */
  AT_GUILD_CREATE = 1,
  AT_MARKER = 2,
  AT_NAME_LENGTH = 3,
  AT_TOTAL_SHARDS = 4,
  NAME = 8,
};

struct tg_stored tg_event_stored(const struct tg_event *event)
{
  return (struct tg_stored){
      .shard_id = event->shard_id,
      .total_shards = event->total_shards,
      .epoch = event->epoch,
      .sequence = event->sequence,
      .type = event->type,
      .marker = event->marker,
      .guild_create = event->guild_create,
      .deferred = event->deferred,
      .late = event->late,
      /* Of a marker `raw` is all of its body. */
      .message = event->marker ? event->data : tg_event_message(event),
  };
}

/* --- writing -------------------------------------------------------------------------------- */

/* What has no number of its own has no name either. */
static const char *name_of(uint16_t type)
{
  return type == TG_EVENT_OTHER ? "" : tg_event_type_name(type);
}

static void put_number(char *at, uint32_t number)
{
  for (int i = 0; i < 4; i++)
    at[i] = (char)(number >> (8 * i));
}

size_t tg_stored_head(char head[TG_STORED_HEAD_MAX], const struct tg_stored *event)
{
  const char *name = name_of(event->type);
  size_t length = strlen(name);
  char *at = head + NAME;
  head[0] = VERSION;
  head[AT_GUILD_CREATE] = (char)event->guild_create;
  head[AT_MARKER] = (char)event->marker;
  head[AT_NAME_LENGTH] = (char)length;
  put_number(head + AT_TOTAL_SHARDS, (uint32_t)event->total_shards);
  if (event->place.epoch) {
    head[0] = VERSION_PLACED;
    put_number(at, (uint32_t)event->epoch);
    put_number(at + 4, (uint32_t)event->sequence);
    at += TG_STORED_NAME;
  }
  memcpy(at, name, length);
  return (size_t)(at - head) + length;
}

size_t tg_stored_length(uint16_t type, size_t message)
{
  return NAME + strlen(name_of(type)) + message;
}

/* --- reading -------------------------------------------------------------------------------- */

static uint32_t number_at(const unsigned char *at)
{
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The record's header has told its place. False: it has no other name. */
static bool read_name(const unsigned char *at, struct tg_stored *event)
{
  event->place = (struct tg_place){event->epoch, event->sequence};
  event->epoch = number_at(at);
  event->sequence = number_at(at + 4);
  event->late = true;
  return event->place.epoch != 0;
}

static bool read_neutral(struct tg_span payload, struct tg_stored *event)
{
  const unsigned char *head = (const unsigned char *)payload.at;
  size_t front = payload.length > 0 && head[0] == VERSION_PLACED ? NAME + TG_STORED_NAME : NAME;
  if (payload.length < front || (head[0] != VERSION && head[0] != VERSION_PLACED) ||
      head[AT_GUILD_CREATE] > TG_GUILD_AVAILABLE || head[AT_MARKER] > TG_MARKER_HANDOVER ||
      head[AT_NAME_LENGTH] > payload.length - front)
    return false;
  uint32_t total = number_at(head + AT_TOTAL_SHARDS);
  if (total > INT_MAX || (front > NAME && !read_name(head + NAME, event)))
    return false;
  size_t length = head[AT_NAME_LENGTH];
  event->guild_create = (enum tg_guild_create)head[AT_GUILD_CREATE];
  event->marker = (enum tg_marker)head[AT_MARKER];
  event->total_shards = (int)total;
  event->type = tg_event_type(payload.at + front, length);
  event->message = (struct tg_span){payload.at + front + length, payload.length - front - length};
  return true;
}

/* --- reading bodies, which earlier versions kept ----------------------------------------------- */

#define TOTAL_SHARDS ",\"totalShards\":"

static bool cut(struct tg_span *text, const char *end)
{
  size_t length = strlen(end);
  if (text->length < length || memcmp(text->at + text->length - length, end, length) != 0)
    return false;
  text->length -= length;
  return true;
}

/* A message is an object, and so ends with a bracket or white space: what ends otherwise ends with ours. */
static void cut_tail(struct tg_span *text, struct tg_stored *event)
{
  event->deferred = cut(text, ",\"deferred\":true");
  for (int kind = TG_GUILD_LOADING; kind <= TG_GUILD_AVAILABLE; kind++) {
    struct tg_span rest = *text;
    if (cut(&rest, "\"") && cut(&rest, tg_guild_create_name((enum tg_guild_create)kind)) &&
        cut(&rest, ",\"guildCreate\":\"")) {
      event->guild_create = (enum tg_guild_create)kind;
      *text = rest;
      return;
    }
  }
}

/* Of the shards, as what stands in front of the message tells it; 0: it does not. */
static int total_of(struct tg_span head)
{
  uint64_t total;
  const char *at = memmem(head.at, head.length, TOTAL_SHARDS, sizeof TOTAL_SHARDS - 1);
  if (!at)
    return 0;
  at += sizeof TOTAL_SHARDS - 1;
  const char *end = memchr(at, ',', (size_t)(head.at + head.length - at));
  struct tg_span digits = {at, (size_t)((end ? end : head.at + head.length) - at)};
  return tg_json_uint(digits, &total) && total <= INT_MAX ? (int)total : 0;
}

static bool cut_head(struct tg_span text, const char *key, struct tg_stored *event)
{
  size_t length = strlen(key), most = text.length < TG_BODY_PREFIX_MAX ? text.length : TG_BODY_PREFIX_MAX;
  const char *at = memmem(text.at, most, key, length);
  if (!at)
    return false;
  event->total_shards = total_of((struct tg_span){text.at, (size_t)(at - text.at)});
  event->message = (struct tg_span){at + length, text.length - (size_t)(at + length - text.at)};
  return true;
}

static uint16_t type_of(struct tg_span message)
{
  struct tg_span value, name;
  if (!tg_json_member(message, "t", &value) || !tg_json_plain_string(value, &name))
    return TG_EVENT_OTHER;
  return tg_event_type(name.at, name.length);
}

/* Looks at both ends of the body, and into the message for its type alone. */
static bool read_body(struct tg_span body, struct tg_stored *event)
{
  if (!cut(&body, "}"))
    return false;
  cut_tail(&body, event);
  if (cut_head(body, ",\"message\":", event)) {
    event->type = type_of(event->message);
    return true;
  }
  if (cut_head(body, ",\"gap\":", event))
    event->marker = TG_MARKER_GAP;
  else if (cut_head(body, ",\"resharding\":", event))
    event->marker = TG_MARKER_HANDOVER;
  return event->marker != TG_MARKER_NONE;
}

/* --- both ---------------------------------------------------------------------------------------- */

static bool is_in_itself(const struct tg_stored *event, enum tg_log_kind kind)
{
  int other;
  return (event->marker != TG_MARKER_NONE) == (kind == TG_LOG_MARKER) &&
         (event->marker != TG_MARKER_HANDOVER ||
          tg_handover_other(event->message, event->total_shards, &other));
}

bool tg_stored_read(const struct tg_log_record *record, struct tg_stored *event, struct tg_error *error)
{
  struct tg_span payload = record->payload;
  *event = (struct tg_stored){
      .shard_id = tg_ref_id(record->shard_id), .epoch = record->epoch, .sequence = record->sequence};
  bool is_body = payload.length > 0 && payload.at[0] == '{';
  if ((is_body ? read_body(payload, event) : read_neutral(payload, event)) &&
      is_in_itself(event, record->kind))
    return true;
  return tg_fail(
      error, "log_damaged",
      "what stands in its record in the log is not of this version of Tidegate, or an earlier one");
}
