#pragma once

/* The whole of a delivery, for the files beside this one; those in the folders know only what they are
 * given of it: `env`, feeds, lanes, senders.
 *
 *     pipeline.c     one event on its way: caches, filters, scripts
 *     guilds.c       what guilds have to do with events
 *     for_scripts.c  what scripts call
 *     sink_set.c     which sinks there are
 *     delivery.c     life and death, configuration, drain */

#include "delivery/caches/guild_cache.h"
#include "delivery/caches/message_cache.h"
#include "delivery/delivery.h"
#include "delivery/env.h"
#include "delivery/interactions/interaction.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/sink.h"
#include "delivery/storm/storm.h"
#include "delivery/tap.h"

/* What is known of a shard's guilds. */
struct tg_shard_guilds {
  struct tg_delivery *delivery;
  struct tg_feed *feed; /* of the shard */
  struct tg_guild_cache cache;
  bool loading;     /* between READY and guilds_loaded */
  uv_timer_t quiet; /* since the last GUILD_CREATE */
};

struct tg_delivery {
  struct tg_delivery_env env;
  struct tg_shard *(*find_shard)(void *ctx, tg_shard_ref ref);
  void *ctx;
  struct tg_feeds feeds;
  struct tg_sink *sinks[TG_SINKS_MAX]; /* by tg_lanes.index; NULL: there is none. [TG_SINK_BOT]: always */
  struct tg_http *http;
  void (*tell)(void *ctx, const char *url, bool up, tg_ms asked);
  struct tg_log_opening opening;
  struct tg_interactions interactions;
  struct tg_storms storms;
  struct tg_tap tap;
  struct tg_message_cache *messages;
  struct tg_guild_store guild_stores[TG_SIDES];
  struct tg_seats *seats; /* while the bot goes over to another number of shards; else NULL */
  void (*class_told)(void *ctx, int number, const char *state, json_t *figures, const char *file);
  struct tg_shard_guilds **guilds; /* by tg_ref_index(); NULL: not yet */
  int guilds_count;
  bool nobody_takes;     /* events: no handler, and no script */
  uint32_t sink_changes; /* tg_hooks.sink_changes, as far as it is heeded */

  uv_timer_t report;
  LIST_HEAD(, tg_leaving) leavings; /* left/: shards that other hosts have got ... */
  LIST_HEAD(, tg_left) lefts;       /* ... and what is asked for of what is left of them */
  uv_timer_t left_timer;            /* goes on with these */
  uv_timer_t leases;                /* where there are any: looks again at what is withheld */
  uv_timer_t drain;
  tg_ms drain_until; /* uv_now() */
  void (*drained)(void *ctx, uint64_t left);
  void *drained_ctx;
};

static inline struct tg_sink *tg_delivery_bot(const struct tg_delivery *delivery)
{
  return delivery->sinks[TG_SINK_BOT];
}

/* --- sink_set.c --- */

/* Takes over which sinks are configured, and how. */
void tg_sinks_reconfigure(struct tg_delivery *delivery);
/* The one of that name beside the bot; NULL: there is none. */
struct tg_sink *tg_sinks_find(const struct tg_delivery *delivery, const char *name);
/* Whether any of them has somebody to take events. */
bool tg_sinks_are_taken(const struct tg_delivery *delivery);
/* Warns of those that nobody takes events of, once. The first worker speaks for all. */
void tg_sinks_tell_untaken(struct tg_delivery *delivery);
/* Of what the sink's logs have for sets of shards that are not there: tg_delivery_end_strays(). */
void tg_sinks_end_strays(struct tg_delivery *delivery, struct tg_sink *sink);
/* How many events wait, of all sinks. */
uint64_t tg_sinks_waiting(const struct tg_delivery *delivery);

/* --- delivery.c --- */

/* The session in the row is to be resumed, from behind `settled`. */
void tg_delivery_adopt(struct tg_delivery *delivery, struct tg_feed *feed, uint64_t epoch, uint64_t settled);

/* --- left/ --- */

void tg_left_begin(struct tg_delivery *delivery);
/* Whatever is under way ends, and whoever waits is told. */
void tg_left_end(struct tg_delivery *delivery);

/* --- pipeline.c --- */

/* The rest of the way: the event is new, and this feed's to deliver. */
void tg_delivery_pass_on(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_shard *shard,
                         struct tg_event *event);

/* What a rule against storms has held back (storm/last.h) is delivered after all, behind what has come since,
 * if the rules behind `rule` (1 + its number; 0: none is asked) let it pass. False: it is dropped. */
bool tg_delivery_release(struct tg_delivery *delivery, const struct tg_held *held, int rule);

/* --- guilds.c --- */

/* What is known of the shard's guilds, made when there is nothing. */
struct tg_shard_guilds *tg_guilds_of(struct tg_delivery *delivery, tg_shard_ref ref);
void tg_guilds_new_session(struct tg_shard_guilds *guilds);
/* Others have its session: what is known of its guilds, and kept in the state directory, is soon not true. */
void tg_guilds_forget(struct tg_delivery *delivery, tg_shard_ref ref);
void tg_guilds_adopt(struct tg_shard_guilds *guilds, uint64_t epoch);
void tg_guilds_on_ready(struct tg_shard_guilds *guilds, struct tg_event *event);
void tg_guilds_on_create(struct tg_shard_guilds *guilds, struct tg_event *event);
void tg_guilds_on_delete(struct tg_shard_guilds *guilds, struct tg_event *event);
/* The event comes by a feed with a seat: what it means for its session is noted now, and is not asked again
 * when the event goes on (tg_event.noted). */
void tg_guilds_note_create(struct tg_shard_guilds *guilds, struct tg_event *event);
/* True: the bot has left; false: an outage. */
bool tg_guilds_note_delete(struct tg_shard_guilds *guilds, struct tg_event *event);
/* Guilds are still to come, or were at the last look. */
void tg_guilds_look(struct tg_shard_guilds *guilds, struct tg_shard *shard);
/* Timers close ... */
void tg_guilds_end(struct tg_delivery *delivery);
/* ... and then all of it goes. */
void tg_guilds_free(struct tg_delivery *delivery);
