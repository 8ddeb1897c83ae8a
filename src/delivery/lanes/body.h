#pragma once

/* The body of an event, as lanes and logs keep it: the message as it came, with what has to be known of it
 * around it.
 *
 *     {"shardId":3,"totalShards":16,"epoch":7,"message":{"t":...},"guildCreate":"joined","deferred":true}
 *
 * Whatever event_handler.format says, it is kept like this, which is what "seed" sends. The other formats are
 * made of it when a request is made (formats/format.h), so that what waits goes out in the format of then.
 * Logs of older versions have bodies without totalShards: they are read, and sent as they are. */

#include "base/buf.h"
#include "proto/event.h"

#include <stdbool.h>

enum {
  TG_BODY_PREFIX_MAX = 112,
  TG_BODY_SUFFIX_MAX = 64,
  TG_MARKER_MAX = 320, /* the body of a marker that tells of a gap */
};

/* What is in a body that has no message. */
enum tg_marker {
  TG_MARKER_NONE, /* it has one */
  TG_MARKER_GAP,  /* events are lost: "gap" */
  TG_MARKER_HANDOVER, /* guilds have gone over to another shard: "resharding" */
};

/* The t that scripts and some formats know it by: "GATEWAY_GAP", "GATEWAY_RESHARDING"; "" without one. */
struct tg_span tg_marker_name(enum tg_marker marker);

/* Whose event it is. */
struct tg_body_head {
  int shard_id;
  int total_shards; /* of the set that the shard is one of; 0: not known, and not told */
  uint64_t epoch;
};

/* What stands in front of the message (`what`: "message"), or of what a marker tells ("gap", "resharding").
 * Returns its length. */
size_t tg_body_prefix(char prefix[TG_BODY_PREFIX_MAX], const struct tg_body_head *head, const char *what);

/* What a marker of TG_MARKER_HANDOVER begins with, and goes on with the list of guilds: shard and number of
 * shards that they came from, and those that they are at now. */
#define TG_HANDOVER_FORMAT "{\"from\":[%d,%d],\"to\":[%d,%d],\"guilds\":["

/* In the place of the last byte, when it was answered in the place of the event handler. */
#define TG_BODY_DEFERRED ",\"deferred\":true}"

/* What stands behind it; `deferred`: it was answered in the place of the event handler. */
size_t tg_body_suffix(char suffix[TG_BODY_SUFFIX_MAX], enum tg_guild_create kind, bool deferred);

void tg_body_write(struct tg_buf *body, const struct tg_body_head *head, struct tg_span message,
                   enum tg_guild_create kind, bool deferred);

/* The event's body, as its lane would keep it. */
void tg_event_write_body(const struct tg_event *event, struct tg_buf *body);

/* A body in its parts: head ,"message": message tail. */
struct tg_body_parts {
  struct tg_span head;    /* {"shardId":3,"totalShards":16,"epoch":7 */
  struct tg_span message; /* of a marker: what it tells */
  struct tg_span tail;    /* ,"guildCreate":"joined","deferred":true} or the bracket alone */
  int total_shards;       /* 0: it does not say */
  enum tg_marker marker;
  int other; /* TG_MARKER_HANDOVER: the shard at the other end */
  enum tg_guild_create guild_create;
  bool deferred;
};

/* Looks at both ends of the body, not at the message. False: it is no such body. */
bool tg_body_read(struct tg_span body, struct tg_body_parts *parts);
