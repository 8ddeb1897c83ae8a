#include "delivery/lanes/body.h"

#include <stdio.h>
#include <string.h>

#define SHARD_ID "{\"shardId\":"
#define TOTAL_SHARDS ",\"totalShards\":"
#define EPOCH ",\"epoch\":"
#define GUILD_CREATE ",\"guildCreate\":\""
#define DEFERRED ",\"deferred\":true"
#define LATE ",\"late\":true"

/* Of text that is written in another place. */
enum { DIGITS_MAX = 20 };
_Static_assert(sizeof SHARD_ID TOTAL_SHARDS EPOCH ",\"resharding\":" - 1 + 10 + 10 + DIGITS_MAX <=
                   TG_BODY_PREFIX_MAX,
               "the longest prefix fits");
_Static_assert(sizeof GUILD_CREATE "available\"" DEFERRED LATE "}" - 1 <= TG_BODY_SUFFIX_MAX,
               "the longest suffix fits");

struct tg_span tg_marker_name(enum tg_marker marker)
{
  static const struct tg_span names[] = {[TG_MARKER_NONE] = {"", 0},
                                         [TG_MARKER_GAP] = {"GATEWAY_GAP", 11},
                                         [TG_MARKER_HANDOVER] = {"GATEWAY_RESHARDING", 18}};
  return names[marker];
}

const char *tg_marker_key(enum tg_marker marker)
{
  static const char *const keys[] = {
      [TG_MARKER_NONE] = "message", [TG_MARKER_GAP] = "gap", [TG_MARKER_HANDOVER] = "resharding"};
  return keys[marker];
}

/* Which end of it a shard is at, its number of shards says. */
bool tg_handover_other(struct tg_span message, int total_shards, int *other)
{
  char text[80];
  int from, from_total, to, to_total;
  int length = message.length < sizeof text ? (int)message.length : (int)sizeof text - 1;
  snprintf(text, sizeof text, "%.*s", length, message.at);
  if (sscanf(text, TG_HANDOVER_FORMAT, &from, &from_total, &to, &to_total) != 4)
    return false;
  *other = total_shards == from_total ? to : from;
  return true;
}

/* --- what stands around the message: once an event, and so by hand -------------------------- */

static char *put(char *at, const char *text, size_t length)
{
  memcpy(at, text, length);
  return at + length;
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

static char *put_number(char *at, uint64_t number)
{
  char digits[DIGITS_MAX];
  int first = DIGITS_MAX;
  do
    digits[--first] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  return put(at, digits + first, (size_t)(DIGITS_MAX - first));
}

static size_t digits_of(uint64_t number)
{
  size_t count = 1;
  for (uint64_t power = 10; number >= power && count < DIGITS_MAX; power *= 10)
    count++;
  return count;
}

size_t tg_body_prefix(char prefix[TG_BODY_PREFIX_MAX], const struct tg_stored *event, const char *key)
{
  char *at = put_number(PUT(prefix, SHARD_ID), (uint64_t)event->shard_id);
  if (event->total_shards > 0)
    at = put_number(PUT(at, TOTAL_SHARDS), (uint64_t)event->total_shards);
  at = put_number(PUT(at, EPOCH), event->epoch);
  at = put(PUT(at, ",\""), key, strlen(key));
  return (size_t)(PUT(at, "\":") - prefix);
}

size_t tg_body_prefix_length(const struct tg_stored *event)
{
  size_t length = sizeof SHARD_ID EPOCH ",\"\":" - 1 + digits_of((uint64_t)event->shard_id);
  if (event->total_shards > 0)
    length += sizeof TOTAL_SHARDS - 1 + digits_of((uint64_t)event->total_shards);
  return length + digits_of(event->epoch) + strlen(tg_marker_key(event->marker));
}

size_t tg_body_suffix(char suffix[TG_BODY_SUFFIX_MAX], const struct tg_stored *event)
{
  const char *kind = tg_guild_create_name(event->guild_create);
  char *at = suffix;
  if (kind)
    at = PUT(put(PUT(at, GUILD_CREATE), kind, strlen(kind)), "\"");
  if (event->deferred)
    at = PUT(at, DEFERRED);
  if (event->late)
    at = PUT(at, LATE);
  return (size_t)(PUT(at, "}") - suffix);
}

size_t tg_body_suffix_length(enum tg_guild_create kind, bool deferred, bool late)
{
  const char *name = tg_guild_create_name(kind);
  return (name ? sizeof GUILD_CREATE "\"" - 1 + strlen(name) : 0) + (deferred ? sizeof DEFERRED - 1 : 0) +
         (late ? sizeof LATE - 1 : 0) + 1;
}

void tg_body_write(struct tg_buf *body, const struct tg_stored *event)
{
  char prefix[TG_BODY_PREFIX_MAX], suffix[TG_BODY_SUFFIX_MAX];
  tg_buf_append(body, prefix, tg_body_prefix(prefix, event, tg_marker_key(event->marker)));
  tg_buf_append(body, event->message.at, event->message.length);
  tg_buf_append(body, suffix, tg_body_suffix(suffix, event));
}

void tg_event_write_body(const struct tg_event *event, struct tg_buf *body)
{
  struct tg_stored stored = tg_event_stored(event);
  tg_body_write(body, &stored);
}
