#include "delivery/lanes/body.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define TOTAL_SHARDS ",\"totalShards\":"

size_t tg_body_prefix(char prefix[TG_BODY_PREFIX_MAX], const struct tg_body_head *head, const char *what)
{
  char total[32] = "";
  if (head->total_shards > 0)
    snprintf(total, sizeof total, TOTAL_SHARDS "%d", head->total_shards);
  return (size_t)snprintf(prefix, TG_BODY_PREFIX_MAX,
                          "{\"shardId\":%d%s,\"epoch\":%llu,\"%s\":", head->shard_id, total,
                          (unsigned long long)head->epoch, what);
}

size_t tg_body_suffix(char suffix[TG_BODY_SUFFIX_MAX], enum tg_guild_create kind, bool deferred)
{
  const char *name = tg_guild_create_name(kind);
  return (size_t)snprintf(suffix, TG_BODY_SUFFIX_MAX, "%s%s%s%s", name ? ",\"guildCreate\":\"" : "",
                          name ? name : "", name ? "\"" : "", deferred ? TG_BODY_DEFERRED : "}");
}

void tg_body_write(struct tg_buf *body, const struct tg_body_head *head, struct tg_span message,
                   enum tg_guild_create kind, bool deferred)
{
  char prefix[TG_BODY_PREFIX_MAX], suffix[TG_BODY_SUFFIX_MAX];
  tg_buf_append(body, prefix, tg_body_prefix(prefix, head, "message"));
  tg_buf_append(body, message.at, message.length);
  tg_buf_append(body, suffix, tg_body_suffix(suffix, kind, deferred));
}

void tg_event_write_body(const struct tg_event *event, struct tg_buf *body)
{
  struct tg_body_head head = {event->shard_id, event->total_shards, event->epoch};
  if (event->body.at && !event->replacement.at)
    tg_buf_append(body, event->body.at, event->body.length);
  else
    tg_body_write(body, &head, tg_event_message(event), event->guild_create, false);
}

struct tg_span tg_marker_name(enum tg_marker marker)
{
  static const struct tg_span names[] = {[TG_MARKER_NONE] = {"", 0},
                                         [TG_MARKER_GAP] = {"GATEWAY_GAP", 11},
                                         [TG_MARKER_HANDOVER] = {"GATEWAY_RESHARDING", 18}};
  return names[marker];
}

/* --- taking it apart ------------------------------------------------------------------ */

static bool cut(struct tg_span *text, const char *end)
{
  size_t length = strlen(end);
  if (text->length < length || memcmp(text->at + text->length - length, end, length) != 0)
    return false;
  text->length -= length;
  return true;
}

/* A message is an object, and so ends with a bracket or white space: what ends otherwise ends with ours. */
static void cut_tail(struct tg_span *text, struct tg_body_parts *parts)
{
  parts->deferred = cut(text, ",\"deferred\":true");
  for (int kind = TG_GUILD_LOADING; kind <= TG_GUILD_AVAILABLE; kind++) {
    struct tg_span rest = *text;
    if (cut(&rest, "\"") && cut(&rest, tg_guild_create_name((enum tg_guild_create)kind)) &&
        cut(&rest, ",\"guildCreate\":\"")) {
      parts->guild_create = (enum tg_guild_create)kind;
      *text = rest;
      return;
    }
  }
}

/* Of the shards, as the head of a body tells it; 0: it does not. */
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

static bool cut_head(struct tg_span *text, const char *key, struct tg_body_parts *parts)
{
  size_t length = strlen(key), most = text->length < TG_BODY_PREFIX_MAX ? text->length : TG_BODY_PREFIX_MAX;
  const char *at = memmem(text->at, most, key, length);
  if (!at)
    return false;
  parts->head = (struct tg_span){text->at, (size_t)(at - text->at)};
  parts->total_shards = total_of(parts->head);
  parts->message = (struct tg_span){at + length, text->length - (size_t)(at + length - text->at)};
  return true;
}

/* Which end of it the shard of the body is at: its number of shards says so. */
static bool read_handover(struct tg_body_parts *parts)
{
  char text[80];
  int from, from_total, to, to_total;
  snprintf(text, sizeof text, "%.*s", (int)parts->message.length, parts->message.at);
  if (sscanf(text, TG_HANDOVER_FORMAT, &from, &from_total, &to, &to_total) != 4)
    return false;
  parts->other = parts->total_shards == from_total ? to : from;
  return true;
}

bool tg_body_read(struct tg_span body, struct tg_body_parts *parts)
{
  *parts = (struct tg_body_parts){.marker = TG_MARKER_NONE};
  struct tg_span text = body;
  if (!cut(&text, "}"))
    return false;
  cut_tail(&text, parts);
  parts->tail = (struct tg_span){text.at + text.length, body.length - text.length};
  if (cut_head(&text, ",\"message\":", parts))
    return true;
  if (cut_head(&text, ",\"gap\":", parts))
    parts->marker = TG_MARKER_GAP;
  else if (cut_head(&text, ",\"resharding\":", parts) && read_handover(parts))
    parts->marker = TG_MARKER_HANDOVER;
  return parts->marker != TG_MARKER_NONE;
}
