#pragma once

/* The body that "seed" makes of an event (stored.h):
 *
 *     {"shardId":3,"totalShards":16,"epoch":7,"message":{"t":...},"guildCreate":"joined","deferred":true}
 *
 * and "late":true behind that, of an event whose shard another host has had since.
 */

#include "base/buf.h"
#include "delivery/lanes/stored.h"

#include <stdbool.h>

enum {
  TG_BODY_PREFIX_MAX = 96,
  TG_BODY_SUFFIX_MAX = 64,
  TG_GAP_MAX = 176,                                                     /* what a marker tells of a gap */
  TG_MARKER_MAX = TG_BODY_PREFIX_MAX + TG_GAP_MAX + TG_BODY_SUFFIX_MAX, /* ... and its body */
};

/* The t that scripts and some formats know it by: "GATEWAY_GAP", "GATEWAY_RESHARDING"; "" without one. */
struct tg_span tg_marker_name(enum tg_marker marker);
/* What its message is called in a body: "gap", "resharding"; "message" without one. */
const char *tg_marker_key(enum tg_marker marker);

/* What a marker of TG_MARKER_HANDOVER begins with, and goes on with the list of guilds: shard and number of
 * shards that they came from, and those that they are at now. */
#define TG_HANDOVER_FORMAT "{\"from\":[%d,%d],\"to\":[%d,%d],\"guilds\":["

/* The shard at the other end, of such a message in a lane of a set of `total_shards`. False: it is none. */
bool tg_handover_other(struct tg_span message, int total_shards, int *other);

/* What stands in front of the message, which is called `key` there. Returns its length. */
size_t tg_body_prefix(char prefix[TG_BODY_PREFIX_MAX], const struct tg_stored *event, const char *key);
/* What stands behind it. */
size_t tg_body_suffix(char suffix[TG_BODY_SUFFIX_MAX], const struct tg_stored *event);

/* The lengths of both, in "seed". */
size_t tg_body_prefix_length(const struct tg_stored *event);
size_t tg_body_suffix_length(enum tg_guild_create kind, bool deferred, bool late);

static inline size_t tg_body_length(const struct tg_stored *event)
{
  return tg_body_prefix_length(event) + event->message.length +
         tg_body_suffix_length(event->guild_create, event->deferred, event->late);
}

/* Appends the body in "seed". */
void tg_body_write(struct tg_buf *body, const struct tg_stored *event);

/* The same of an event that is being handled. */
void tg_event_write_body(const struct tg_event *event, struct tg_buf *body);
