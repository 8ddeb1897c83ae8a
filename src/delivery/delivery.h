#pragma once

/* The event path of a worker behind its shards: caches,
 * filters, scripts, and one lane a shard to the event handler (the bot).
 *
 *     dispatch -> caches -> filters -> handle_discord_payload -> lane -> POST
 *                                   -> gateway.on handlers
 *
 * Owned by the worker; loop thread only. Lanes keep the order of their shard
 * and do not wait for each other. */

#include "config/config.h"
#include "delivery/interactions/interaction_facts.h"
#include "delivery/lanes/body.h"
#include "delivery/lanes/hole.h"
#include "delivery/lanes/queue.h"
#include "delivery/sinks/answer.h"
#include "delivery/sinks/letter.h"
#include "hooks/hooks.h"
#include "proto/event.h"
#include "shared/shard_table.h"

#include <uv.h>

struct tg_delivery;
struct tg_http;
struct tg_callback;
struct tg_voice;

struct tg_delivery_options {
  uv_loop_t *loop;
  const tg_ms *clock; /* the time that ages are reckoned by, of a test that stops it; NULL: the loop's */
  const struct tg_config *config;
  struct tg_hooks *hooks;
  bool clustered;               /* other hosts share the shards: rows have leases */
  bool seats_follow;            /* nothing is sent before tg_delivery_take_seats(), or ..._end_strays() */
  int side;                     /* of the set of shards that runs ... */
  struct tg_shard_table *table; /* ... and its table */
  int total_shards;             /* without a table: as the bodies tell it; 0: they do not */
  struct tg_http *http;
  int worker_id;
  /* Of the bot and its shards: whose guilds are kept in the state directory. 0: they are
   * forgotten with the process. */
  uint64_t identity;
  /* Finds a shard for life-cycle events that come by a timer; may be NULL, then
   * such events carry no shard object (details.shard_id is always there). */
  struct tg_shard *(*find_shard)(void *ctx, tg_shard_ref ref);
  /* This worker has found out that an event handler is up again, or down, or still
   * down: for tg_delivery_hear() of the other workers. `asked`: ms for which it
   * wants to be left alone, 0: it has not said. The URL is as configured, and may
   * contain secrets. May be NULL. */
  void (*tell)(void *ctx, const char *url, bool up, tg_ms asked);
  /* How a class is (tg_class_state_name()), figures, and `file`, as worker/messages.h says of class_state;
   * borrowed. */
  void (*class_told)(void *ctx, int number, const char *state, json_t *figures, const char *file);
  /* An event, for one of those who look (tg_delivery_tap()); borrowed. */
  void (*tapped)(void *ctx, int64_t viewer, const char *line);
  void *ctx;
};

struct tg_delivery *tg_delivery_new(const struct tg_delivery_options *options);

/* Another set of shards lives beside that one: its events may come. The table is borrowed, and outlives the
 * delivery or tg_delivery_drop_side(). `identity`: as in the options. */
void tg_delivery_add_side(struct tg_delivery *delivery, int side, struct tg_shard_table *table,
                          uint64_t identity);

/* That set is over: its lanes are emptied without a word, and its table is not looked at any more. All
 * classes are over, too. */
void tg_delivery_drop_side(struct tg_delivery *delivery, int side);

/* What is in the logs for a set that is not there is of a change that is over: what shards that have
 * delivered left goes first, the rest is dropped; where several hosts share the shards it is left (see
 * below), since others have them. When the sets of this start are known. */
void tg_delivery_end_strays(struct tg_delivery *delivery);

/* Events wait that shards of that side are to deliver, of sessions up to that epoch: it is not to be dropped
 * yet, and no other set may have their place. */
bool tg_delivery_side_waits(const struct tg_delivery *delivery, int side, uint64_t epoch);

/* --- from one number of shards to another: reshard/ ------------------------------- */

struct tg_delivery_classes {
  int from, to, old_side; /* of the bot: shards of the set that it had, and of that which it is to have */
  const int *numbers;     /* of the classes whose shards run here */
  int count;
};

/* From now on the shards of both sets show the same events, and each is delivered once. Both sides have been
 * added. Sessions that are in the rows, and not running, count as to be resumed from now on. */
void tg_delivery_take_seats(struct tg_delivery *delivery, const struct tg_delivery_classes *classes);

/* The other side delivers the events of that class. Codes: "no_class", "not_ready", "disk". */
bool tg_delivery_switch(struct tg_delivery *delivery, int number, bool back, struct tg_error *error);

/* Where several hosts share the shards a class goes with them. One of which no shard is this host's (by the
 * rows) is idle: nothing is told of it, and what it was is forgotten. */

/* The class comes from another host, and has switched there as that text tells; "": it has not. Its shards
 * have all been left here, and are run afterwards. Codes: "no_class", "not_ready", "bad_text", "disk". */
bool tg_delivery_class_comes(struct tg_delivery *delivery, int number, const char *text,
                             struct tg_error *error);
/* All hosts know that the class has switched: what the new side has may be delivered. */
void tg_delivery_class_published(struct tg_delivery *delivery, int number);
/* Before that: it is as if the class had never switched. What its old shards showed since comes again when
 * they are resumed from their rows, for which `again` is called for each, and what the new ones have taken
 * over is not delivered. Code: "published". */
bool tg_delivery_switch_undone(struct tg_delivery *delivery, int number,
                               void (*again)(void *ctx, tg_shard_ref ref), void *ctx, struct tg_error *error);
/* The shard is about to run, with what its row says; its class hears of it first, which may change the row.
 */
void tg_delivery_shard_comes(struct tg_delivery *delivery, tg_shard_ref ref);

/* Calls for each shard of the class whose side does not deliver. False: no such class. */
bool tg_delivery_each_silent(struct tg_delivery *delivery, int number,
                             void (*each)(void *ctx, tg_shard_ref ref), void *ctx);
/* The bot's voice connections of the class that old shards have asked for: how many there are. `each` (NULL:
 * nobody) gets the new shard of the guild. */
int tg_delivery_each_voice(struct tg_delivery *delivery, int number,
                           void (*each)(void *ctx, tg_shard_ref ref, const struct tg_voice *voice),
                           void *ctx);
/* These are closed. */
void tg_delivery_class_closed(struct tg_delivery *delivery, int number);

/* --- shards that go to other hosts, and what is left of them here: left/ ------------ */

/* The shard is on its way to another host: nothing of it is sent from now on, until tg_delivery_go_on(). What
 * is in flight goes on: until it does not any more (is_busy), or is taken back, as if it had not been sent.
 */
void tg_delivery_withhold(struct tg_delivery *delivery, tg_shard_ref ref);
bool tg_delivery_is_busy(struct tg_delivery *delivery, tg_shard_ref ref);
void tg_delivery_take_back(struct tg_delivery *delivery, tg_shard_ref ref);
void tg_delivery_go_on(struct tg_delivery *delivery, tg_shard_ref ref);

/* `error` NULL: it is done. Called once, perhaps from in here. */
typedef void tg_left_done(void *ctx, const struct tg_error *error);

/* Another host has the shard: what is in flight of it is taken back, and what waits is with what is left of
 * it, when that is done; the shard's feed is as new. Code "disk": it could not be written, and some of it is
 * where it was; nothing of the shard is sent until this is asked again, and done. */
void tg_delivery_leave(struct tg_delivery *delivery, tg_shard_ref ref, tg_left_done *done, void *ctx);
/* Whether that is under way, or has failed. */
bool tg_delivery_is_leaving(struct tg_delivery *delivery, tg_shard_ref ref);
/* The same, with nobody to hear of it, for all shards that are not this host's by their rows, and of which
 * the logs have something; and of sets that are not there: at the start, and when a set comes. */
void tg_delivery_leave_lost(struct tg_delivery *delivery);

/* What is in the hole of what is left of the shard is delivered, marked as late. Done when all sinks have it;
 * holes of a shard are filled one after the other. */
void tg_delivery_fill(struct tg_delivery *delivery, tg_shard_ref ref, const struct tg_hole *hole,
                      tg_left_done *done, void *ctx);
/* What is left of the shard, and in no hole that is being filled, is thrown away. */
void tg_delivery_void(struct tg_delivery *delivery, tg_shard_ref ref);
/* The same of all shards of that side. */
void tg_delivery_void_side(struct tg_delivery *delivery, int side);

/* The shard's session is over, and not resumed. */
void tg_delivery_session_lost(struct tg_delivery *delivery, tg_shard_ref ref);
/* One of the guilds of the shard's session that is there, any of them; else one that is not known to be in an
 * outage. 0: none is known. */
uint64_t tg_delivery_any_guild(struct tg_delivery *delivery, tg_shard_ref ref);
/* The highest epoch of a shard that shares guilds with this one; 0: none does. */
uint64_t tg_delivery_last_epoch(struct tg_delivery *delivery, tg_shard_ref ref);

/* Opens the worker's log of each sink with queue.durability = "log", in <state_dir>/log, of
 * others than the bot in <state_dir>/sinks/<name>, and takes over what earlier processes left
 * there for the shards that `wanted` names (called with options.ctx; NULL: all). Of other
 * sinks it says so if there is something. Before any event. `stamp` tells this run of the
 * gateway from others; `moved`: shards have gone from one worker to another in this run.
 * False: a log cannot be written. */
bool tg_delivery_open_logs(struct tg_delivery *delivery, bool (*wanted)(void *ctx, tg_shard_ref ref),
                           uint64_t stamp, bool moved, struct tg_error *error);

/* What is still queued is lost here in memory mode: drain first. Requests in
 * flight are cancelled, so free this before its tg_http. The memory goes with
 * the loop's next turn. */
void tg_delivery_free(struct tg_delivery *delivery);

/* The whole path for one event, called by the shard's owner for every
 * dispatch of a session, READY and RESUMED included. */
void tg_delivery_event(struct tg_delivery *delivery, struct tg_shard *shard, struct tg_event *event);

/* The default of delivery.handle_discord_payload: puts the event into the lane
 * of its shard. Without an event handler the event counts as delivered if the
 * script takes it; else it goes nowhere, and is not counted. */
void tg_delivery_enqueue(struct tg_delivery *delivery, const struct tg_event *event);

/* The highest sequence of the shard's session up to which every event is in the
 * flushed log, dropped by policy or filtered out: where a new process has to
 * RESUME from. Without a log: delivered, dropped or filtered out. Kept in the
 * shard table, too. */
uint64_t tg_delivery_settled(struct tg_delivery *delivery, tg_shard_ref ref);

/* What heartbeats and a RESUME of this process carry: as above, but what the log
 * refuses and memory holds counts as well, since it cannot wait for ever without
 * the session being lost. False: there is no log, take what was received. */
bool tg_delivery_durable(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t *sequence);

/* A new session has begun (READY): sequences start again. What waits of the
 * old epoch is still delivered first. */
void tg_delivery_new_session(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t epoch);

/* After a start of the process: the session that will be resumed. */
void tg_delivery_adopt_session(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t epoch,
                               uint64_t settled);

/* Calls done(ctx, left) when all lanes are empty or after `deadline` ms, with
 * the number of events not delivered; with a log as soon as the event handlers
 * are known to be down, since what is left stays there. No new events are
 * expected meanwhile. */
void tg_delivery_drain(struct tg_delivery *delivery, tg_ms deadline, void (*done)(void *ctx, uint64_t left),
                       void *ctx);

bool tg_delivery_has_log(const struct tg_delivery *delivery);

/* Writes what is only looked at now and then into the statistics page. */
void tg_delivery_publish(const struct tg_delivery *delivery);

/* Called when tg_event.replacement or a cache decision is needed by Lua's
 * defaults: gateway.cache.guild_create_kind and message_changed. */
enum tg_guild_create tg_delivery_guild_create_kind(struct tg_delivery *delivery,
                                                   const struct tg_event *event);
bool tg_delivery_message_changed(struct tg_delivery *delivery, const struct tg_event *event);

/* The default of delivery.handle_interaction_queueing: defers the interaction
 * through REST, or answers it with nothing if it cannot be deferred. `done` is
 * called once, never from within this; `reason` says why it is not taken. */
struct tg_callback *tg_delivery_answer_interaction(struct tg_delivery *delivery,
                                                   const struct tg_interaction_facts *facts,
                                                   tg_interaction_answered *done, void *ctx);
/* Before that: it ends, and `done` is not called. */
void tg_delivery_cancel_answer(struct tg_callback *answer);

/* --- for scripts: queues and deliveries of their own ------------------------------- */

/* Of the sink of that name; NULL: the bot. */
bool tg_delivery_has_sink(const struct tg_delivery *delivery, const char *sink);

void tg_delivery_queue_figures(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                               struct tg_queue_figures *figures);

/* The next shard behind `after` (-1: the first) of which something waits; -1: none. */
tg_shard_ref tg_delivery_queue_next_shard(struct tg_delivery *delivery, const char *sink, tg_shard_ref after);

/* Shows the shard's (or all shards') events to `visit`, those that are at hand in
 * memory and not in flight, the oldest of a shard first, and drops what it says,
 * with markers and counts. The event lives only during the call. Nothing leaves
 * a queue while this runs. Returns how many were dropped. */
uint64_t tg_delivery_queue_walk(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                tg_queue_visit *visit, void *ctx);

/* Drops the oldest `count` events, interactions last, also those that are in a
 * log alone; of all shards: of the fullest. Returns how many were there. */
uint64_t tg_delivery_queue_drop(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                uint64_t count);

/* Discards what waits and is meant, but what is in flight, with markers and counts: as much as may be looked
 * at in a turn of the loop; `at` is how far it has come. Returns how many events went. `sink` as configured,
 * "bot" for the event handler; tg_delivery_has_queue(). */
bool tg_delivery_has_queue(const struct tg_delivery *delivery, const char *sink);
uint64_t tg_delivery_discard(struct tg_delivery *delivery, const char *sink,
                             const struct tg_queue_filter *filter, struct tg_queue_cursor *at);
/* Adds up what is in memory, by type; -1: of all shards. Returns how many events are in the logs alone. */
uint64_t tg_delivery_queue_types(struct tg_delivery *delivery, const char *sink, int shard_id,
                                 struct tg_queue_of_type types[TG_EVENT_TYPE_MAX]);

/* The event, as a walk has shown it, is delivered. False: it does not wait any more. */
bool tg_delivery_queue_ack(struct tg_delivery *delivery, const char *sink, const struct tg_event *event);

/* The default of delivery.queue_overflow: the oldest goes, of the fullest shard. */
void tg_delivery_queue_overflow(struct tg_delivery *delivery);

/* The default of delivery.deliver, and of a sink's: POSTs events of one shard, in order, to its
 * URL there, as the lane would. Copies what it needs. `done` is called once, perhaps from in here
 * (then NULL is returned). A Redis takes what waits in its queue alone: "unavailable". */
struct tg_post;
struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const char *sink,
                                 const struct tg_event *events, int count, tg_posted *done, void *ctx);
/* `done` is not called. */
void tg_delivery_cancel_post(struct tg_post *post);

/* The default of delivery.handle_queue: the lane drains the shard's queue itself;
 * done(ctx) when nothing waits any more, perhaps from in here (then false). */
bool tg_delivery_drain_queue(struct tg_delivery *delivery, tg_shard_ref ref, void (*done)(void *ctx),
                             void *ctx);
/* `done` is not called. */
void tg_delivery_forget_drain(struct tg_delivery *delivery, void *ctx);

/* --- dead letters ------------------------------------------------------------------- */

/* Sends the letter again, to the sink that has refused it, and removes it when that has accepted it. It goes
 * once, beside the queues, whatever else is under way. `done` is called once, perhaps from in here. */
void tg_delivery_send_letter(struct tg_delivery *delivery, const struct tg_dead_place *place,
                             tg_letter_done *done, void *ctx);

/* Who looks at events as they pass: see tg_tap_set(). NULL: nobody. */
void tg_delivery_tap(struct tg_delivery *delivery, const json_t *viewers);

/* What another worker has told. */
void tg_delivery_hear(struct tg_delivery *delivery, const char *url, bool up, tg_ms asked);

/* From now on these rules in the place of those of the configuration; NULL: those again. */
void tg_delivery_set_storm(struct tg_delivery *delivery, const struct tg_storm_config *storm);

/* The configuration has changed by a reload; takes over what can change live. */
void tg_delivery_reconfigure(struct tg_delivery *delivery, const struct tg_config *config);
