#pragma once

/* What manager and workers say to each other, once: both ends are made from
 * these lists. A message that one end does not handle does not compile, and so
 * does not a field that the list does not have.
 *
 *     tg_say(ipc, identify_shard, .ref = 3);
 *
 * On the line (worker/ipc.h) that is {"type":"identify_shard","ref":3}. The
 * names are those of discordeno's guide where it has them.
 *
 * Kinds of fields: INT, NUMBER (64 bit), BOOL, TEXT (borrowed, never NULL), JSON
 * (borrowed; NULL is left out). A field `ref` is a shard (proto/shard_ref.h). Times
 * are of tg_now(), in ms. "Answered": when it is asked with tg_ask(). */

#include "base/clock.h"
#include "worker/ipc.h"

#include <stdint.h>

/* ---- the messages ---- */

/* X(name). Before all others, and before the loop of the worker: see tg_ipc_receive(). */
#define TG_MESSAGES_FIRST(X) X(secrets)

#define TG_MESSAGES_TO_WORKER(X)                                                                             \
  X(start)                                                                                                   \
  X(identify_shard)                                                                                          \
  X(allow_identify)                                                                                          \
  X(shard_payload)                                                                                           \
  X(question_shard)                                                                                          \
  X(set_presence)                                                                                            \
  X(kill_shard)                                                                                              \
  X(reconnect_shard)                                                                                         \
  X(send_letter)                                                                                             \
  X(prepare_reload)                                                                                          \
  X(commit_reload)                                                                                           \
  X(abort_reload)                                                                                            \
  X(log_level)                                                                                               \
  X(stop)

/* To the worker, too: of a second set of shards. */
#define TG_MESSAGES_ABOUT_SETS(X)                                                                            \
  X(prepare_set)                                                                                             \
  X(switch_class)                                                                                            \
  X(close_class)                                                                                             \
  X(class_file)                                                                                              \
  X(class_published)                                                                                         \
  X(drop_set)

/* To the worker, too: shards that come from other hosts, and go to them. Each is asked, and answered. */
#define TG_MESSAGES_ABOUT_LEASES(X)                                                                          \
  X(let_go_shard)                                                                                            \
  X(leave_shard)                                                                                             \
  X(fill_hole)                                                                                               \
  X(void_left)

/* To the worker, too: what waits, for people. Each is asked, and answered. */
#define TG_MESSAGES_ABOUT_QUEUES(X)                                                                          \
  X(queue_types)                                                                                             \
  X(discard_queue)                                                                                           \
  X(tap)

#define TG_MESSAGES_BOTH_WAYS(X)                                                                             \
  X(broadcast)                                                                                               \
  X(set_storm)                                                                                               \
  X(handler)

#define TG_MESSAGES_OF_WORKER(X)                                                                             \
  X(hello)                                                                                                   \
  X(manager_call)                                                                                            \
  X(class_state)                                                                                             \
  X(tapped)                                                                                                  \
  X(still_alive)                                                                                             \
  X(stopped)

/* The first field of each is the shard, which has to be the worker's own. */
#define TG_MESSAGES_OF_SHARD(X)                                                                              \
  X(request_identify)                                                                                        \
  X(identify_sent)                                                                                           \
  X(identify_unused)                                                                                         \
  X(identify_done)                                                                                           \
  X(session_lost)                                                                                            \
  X(session_up)                                                                                              \
  X(connection_cut)                                                                                          \
  X(shard_fatal)                                                                                             \
  X(members_chunk)                                                                                           \
  X(members_limited)

#define TG_MESSAGES(X)                                                                                       \
  TG_MESSAGES_FIRST(X)                                                                                       \
  TG_MESSAGES_TO_WORKER(X)                                                                                   \
  TG_MESSAGES_ABOUT_SETS(X)                                                                                  \
  TG_MESSAGES_ABOUT_LEASES(X)                                                                                \
  TG_MESSAGES_ABOUT_QUEUES(X)                                                                                \
  TG_MESSAGES_BOTH_WAYS(X)                                                                                   \
  TG_MESSAGES_OF_WORKER(X)                                                                                   \
  TG_MESSAGES_OF_SHARD(X)

/* ---- their fields: F(kind, name) ---- */

/* What the manager has taken out of the environment (config/environment.h); NULL:
 * nothing. */
#define TG_FIELDS_secrets(F) F(JSON, environment)

/* Once. `steady_ahead`: tg_steady_ahead() of all processes.
 * `next_total`: of the set to go over to, 0: there is none; prepare_set follows.
 * `stamp` tells this run of the gateway from others. `owners`: the worker of each
 * shard from `first_shard` on. `moved`: some had another one earlier in this run.
 * `clustered`: other hosts share the shards; this one has those with a lease. */
#define TG_FIELDS_start(F)                                                                                   \
  F(INT, side)                                                                                               \
  F(INT, total_shards)                                                                                       \
  F(INT, next_total)                                                                                         \
  F(TEXT, gateway_url)                                                                                       \
  F(INT, generation)                                                                                         \
  F(NUMBER, stamp)                                                                                           \
  F(NUMBER, steady_ahead)                                                                                    \
  F(INT, first_shard)                                                                                        \
  F(JSON, owners)                                                                                            \
  F(BOOL, moved)                                                                                             \
  F(BOOL, clustered)

/* Start this shard, as its row says: RESUME if it has a session. Ends let_go_shard. */
#define TG_FIELDS_identify_shard(F) F(INT, ref)

/* Op 2 may leave until then. `epoch`: of the session that READY begins; 0: the one
 * that follows its last. `ask`: of the request_identify that this answers. */
#define TG_FIELDS_allow_identify(F)                                                                          \
  F(INT, ref)                                                                                                \
  F(NUMBER, ask)                                                                                             \
  F(NUMBER, deadline)                                                                                        \
  F(NUMBER, epoch)

/* Answered when `data` was sent. `timeout`: ms. `priority`: tg_send_priority_name().
 * `forward_until` above 0: `data` is an op 8 whose d.nonce the worker remembers
 * until then; see members_chunk. */
#define TG_FIELDS_shard_payload(F)                                                                           \
  F(INT, ref)                                                                                           \
  F(JSON, data)                                                                                              \
  F(NUMBER, timeout)                                                                                         \
  F(TEXT, priority)                                                                                          \
  F(NUMBER, forward_until)

/* Asks Discord something of it that has to be answered by an event, within `patience` ms. Answered true when
 * that has come, or with an error: "unanswered", or, if it could not be asked at all, any other. */
#define TG_FIELDS_question_shard(F)                                                                          \
  F(INT, ref)                                                                                                \
  F(NUMBER, patience)

/* From now on. `presence`: d of op 3; NULL: as configured. `fresh`: it has not
 * gone out yet. Answered when it has. */
#define TG_FIELDS_set_presence(F)                                                                            \
  F(INT, ref)                                                                                           \
  F(JSON, presence)                                                                                          \
  F(BOOL, fresh)

/* Ends its session; answered when it is gone. */
#define TG_FIELDS_kill_shard(F) F(INT, ref)

/* Ends its connection for another, which resumes; answered true when that is under way, or with an error:
 * "refused". */
#define TG_FIELDS_reconnect_shard(F) F(INT, ref)

/* Sends that dead letter again, and removes it when it is accepted (delivery.h). Where it stands:
 * delivery/sinks/dead_files.h. Answered {"outcome": tg_outcome_name(), "status", "answer": text, "bytes",
 * "removed"}, and "reason" where it is not delivered, or not removed; or with an error: it was not sent. */
#define TG_FIELDS_send_letter(F)                                                                             \
  F(NUMBER, number)                                                                                          \
  F(NUMBER, inode)                                                                                           \
  F(NUMBER, at)                                                                                              \
  F(NUMBER, length)

/* What waits for the sink ("bot": the event handler) in memory, of that shard (-1: of all). Answered
 * {"types": {TYPE: [events, bytes, oldest on tg_steady_clock()]}, "onDisk": events in the logs alone}. */
#define TG_FIELDS_queue_types(F)                                                                             \
  F(TEXT, sink)                                                                                              \
  F(INT, shard_id)

/* Of it those of that type ("": of any) that came before that moment on tg_steady_clock() are discarded.
 * `cursor`: NULL, or from the last answer, which is {"discarded": events}, with a "cursor" while it is not
 * all. */
#define TG_FIELDS_discard_queue(F)                                                                           \
  F(TEXT, sink)                                                                                              \
  F(INT, shard_id)                                                                                           \
  F(TEXT, event)                                                                                             \
  F(NUMBER, before)                                                                                          \
  F(JSON, cursor)

/* Who looks at events as they pass (delivery/tap.h); an empty list: nobody. */
#define TG_FIELDS_tap(F) F(JSON, viewers)

/* One of them, for one of those. */
#define TG_FIELDS_tapped(F)                                                                                  \
  F(NUMBER, viewer)                                                                                          \
  F(TEXT, line)

/* The set of shards to go over to; after `start`, before identify_shard of its
 * shards, and also where a worker has started again in the middle. `classes`: the
 * numbers of those that this worker has. `epoch`: the highest of any set so far,
 * from where a new table counts on. Answered true, or with an error (disk). */
#define TG_FIELDS_prepare_set(F)                                                                             \
  F(INT, side)                                                                                               \
  F(INT, total_shards)                                                                                       \
  F(NUMBER, epoch)                                                                                           \
  F(JSON, classes)

/* From now on the other side rules that class; `back`: the side that had ruled
 * first. Answered true when that is done, or with an error: "not_ready", "disk". In a
 * cluster what the new side has is not delivered before class_published, and until
 * then `back` makes it as if it had never switched. */
#define TG_FIELDS_switch_class(F)                                                                            \
  F(INT, number)                                                                                             \
  F(BOOL, back)

/* Ends the sessions of the shards that rule that class no more; answered when
 * they are gone. */
#define TG_FIELDS_close_class(F) F(INT, number)

/* In a cluster, before identify_shard of any of its shards, and behind leave_shard of all: a class comes
 * from another host. `text`: `file` of class_state as that host told it last; "": it has not switched
 * there, and begins anew. Answered true, or with an error: "not_ready", "disk" (the class is as it was). */
#define TG_FIELDS_class_file(F)                                                                              \
  F(INT, number)                                                                                             \
  F(TEXT, text)

/* In a cluster: all hosts know that the class has switched. What the side that took over has is delivered
 * from now on, and the class does not go back any more. Answered true. */
#define TG_FIELDS_class_published(F) F(INT, number)

/* A set is over: what of its shards still runs ends, and all classes and their
 * files are forgotten. Answered when that is done. */
#define TG_FIELDS_drop_set(F) F(INT, side)

/* Another host is to have the shard: its connection is closed so that the session is
 * kept, what is being delivered has `patience` ms to be answered for, and nothing of
 * it is sent from then on, until identify_shard. Answered true when its row says how
 * far it is. */
#define TG_FIELDS_let_go_shard(F)                                                                            \
  F(INT, ref)                                                                                           \
  F(NUMBER, patience)

/* Another host has the shard. Its connection is dropped without a word, what is being
 * delivered is cancelled, and all that waits goes to its left feed (proto/shard_ref.h):
 * the shard itself is as if this host had never had it. Answered true; or with an
 * error, "disk": then the rest stays where it is, and nothing of it is sent. May be
 * asked again. */
#define TG_FIELDS_leave_shard(F) F(INT, ref)

/* What is left of the shard behind (from_epoch, from), up to and with (to_epoch, to),
 * is delivered, marked as late, to each sink that has it. Answered true when all have;
 * however long that takes. May be asked again. */
#define TG_FIELDS_fill_hole(F)                                                                               \
  F(INT, ref)                                                                                           \
  F(NUMBER, from_epoch)                                                                                      \
  F(NUMBER, from)                                                                                            \
  F(NUMBER, to_epoch)                                                                                        \
  F(NUMBER, to)

/* What is left of the shard is thrown away, but for what a fill_hole is under way for.
 * Answered true. */
#define TG_FIELDS_void_left(F) F(INT, ref)

/* Answered {"problem": text, if it does not load, "files": what it has read}. */
#define TG_FIELDS_prepare_reload(F) F(INT, generation)
#define TG_FIELDS_commit_reload(F) F(INT, generation) /* answered */
#define TG_FIELDS_abort_reload(F) F(INT, generation)  /* answered */

/* In the place of the one that is configured, which "" means. */
#define TG_FIELDS_log_level(F) F(TEXT, level)

/* A second one has a shorter deadline. */
#define TG_FIELDS_stop(F)                                                                                    \
  F(BOOL, keep_sessions)                                                                                     \
  F(NUMBER, deadline)

/* gateway.broadcast: the manager sends it on to all workers, the one it comes
 * from, too. `from`: that worker, or TG_FROM_MANAGER. */
#define TG_FIELDS_broadcast(F)                                                                               \
  F(TEXT, topic)                                                                                             \
  F(JSON, value)                                                                                             \
  F(INT, from)

/* gateway.storm: rules (config/storm_values.h) in the place of those of the configuration, for
 * all workers; NULL: those again. `generation`: of the script that says so; the next one
 * ends it. */
#define TG_FIELDS_set_storm(F)                                                                               \
  F(INT, generation)                                                                                         \
  F(JSON, storm)

/* What a worker has found out of an event handler, for the others: up again, or
 * (still) down; `asked`: ms for which it wants to be left alone. */
#define TG_FIELDS_handler(F)                                                                                 \
  F(TEXT, url)                                                                                               \
  F(BOOL, up)                                                                                                \
  F(NUMBER, asked)

/* The script is loaded: ready for shards. `files`: what it has read from disk. */
#define TG_FIELDS_hello(F)                                                                                   \
  F(INT, generation)                                                                                         \
  F(JSON, files)

/* gateway.manager:<method> was called in the worker. `use_default`: its C default.
 * Answered with the result. */
#define TG_FIELDS_manager_call(F)                                                                            \
  F(TEXT, method)                                                                                            \
  F(BOOL, use_default)                                                                                       \
  F(JSON, args)

/* At each change, and at most once a second while figures change. `state`:
 * tg_class_state_name(). A worker switches by itself where a session is lost.
 * `figures`: {"waits_for": text, if it waits; "held", "held_bytes", "guilds":
 * numbers; "loading": new shards whose guilds still come; "unmatched": {TYPE: n};
 * "cut": [TYPE]; "lost": the side that has lost a session, if one has; "guild_ids":
 * when it has switched; "through": the side that does not rule may go as soon as what
 * it has is delivered; in a cluster, once it has switched: what the old side has is}.
 * `file`, in a cluster: what another host has to know to go on with a class that has
 * switched; "": as it was told before, or nothing. Of a class none of whose shards is
 * this host's nothing is said. */
#define TG_FIELDS_class_state(F)                                                                             \
  F(INT, number)                                                                                             \
  F(TEXT, state)                                                                                             \
  F(JSON, figures)                                                                                           \
  F(TEXT, file)

#define TG_FIELDS_still_alive(F) /* the loop turns (watchdog); at least once a second */
#define TG_FIELDS_stopped(F)     /* shards are closed, events delivered: about to exit */

/* It has its HELLO and wants its slot. `ask`: its number; the grant has the same. */
#define TG_FIELDS_request_identify(F)                                                                        \
  F(INT, ref)                                                                                                \
  F(NUMBER, ask)
#define TG_FIELDS_identify_sent(F) F(INT, ref)    /* op 2 has left */
#define TG_FIELDS_identify_unused(F) F(INT, ref)  /* too late, or the socket is gone */

/* `result`: "ready", "invalid" or "closed"; then with the close `code`. */
#define TG_FIELDS_identify_done(F)                                                                           \
  F(INT, ref)                                                                                           \
  F(TEXT, result)                                                                                            \
  F(INT, code)

/* It has to identify, and waits for identify_shard. */
#define TG_FIELDS_session_lost(F)                                                                            \
  F(INT, ref)                                                                                           \
  F(TEXT, reason)

/* Only in a cluster: READY has come (behind identify_done), or RESUMED. */
#define TG_FIELDS_session_up(F)                                                                              \
  F(INT, ref)                                                                                           \
  F(BOOL, resumed)

/* Only in a cluster: the other end has ended the connection, with a session that is
 * still there. */
#define TG_FIELDS_connection_cut(F) F(INT, ref)

/* Closed with a code after which it is of no use to come again. `intents`: those it
 * had identified with. */
#define TG_FIELDS_shard_fatal(F)                                                                             \
  F(INT, ref)                                                                                           \
  F(INT, code)                                                                                               \
  F(NUMBER, intents)

/* d of a GUILD_MEMBERS_CHUNK whose d.nonce is remembered. */
#define TG_FIELDS_members_chunk(F)                                                                           \
  F(INT, ref)                                                                                           \
  F(JSON, data)

/* d of a RATE_LIMITED with such a d.meta.nonce, or with none while any is
 * remembered. */
#define TG_FIELDS_members_limited(F)                                                                         \
  F(INT, ref)                                                                                           \
  F(JSON, data)

/* ---- made of the lists ---- */

#define TG_TYPE_OF_INT int
#define TG_TYPE_OF_NUMBER int64_t
#define TG_TYPE_OF_BOOL bool
#define TG_TYPE_OF_TEXT const char *
#define TG_TYPE_OF_JSON json_t *

#define F(kind, name) TG_TYPE_OF_##kind name;
#define X(name)                                                                                              \
  __extension__ struct tg_message_##name {                                                                   \
    TG_FIELDS_##name(F)                                                                                      \
  };
TG_MESSAGES(X)
#undef X
#undef F

enum tg_message_type {
#define X(name) TG_MESSAGE_##name,
  TG_MESSAGES(X)
#undef X
      TG_MESSAGE_COUNT
};

struct tg_message {
  enum tg_message_type type;
  int64_t nonce; /* of a question, for tg_ipc_answer(); 0: it is none */
  union {
#define X(name) struct tg_message_##name name;
    TG_MESSAGES(X)
#undef X
  };
};

const char *tg_message_name(enum tg_message_type type);

/* Another number: another list of messages or fields, as a program of another version may have. Of such a
 * worker, which it has got from the program before (manager/upgrade/), a manager hears nothing and it says
 * nothing to it but `stop`, whose fields are for ever. */
uint64_t tg_messages_version(void);

/* Borrows all fields. After the other side has gone it does nothing. */
void tg_message_send(struct tg_ipc *ipc, const struct tg_message *message);

/* Asks, and waits `timeout` ms for the answer: see tg_ipc_request(). */
void tg_message_ask(struct tg_ipc *ipc, const struct tg_message *message, tg_ms timeout, tg_ipc_reply *reply,
                    void *ctx);

/* What came over the line. Texts and JSON in `message` live as long as `json`.
 * False: `error` says what is wrong with it. */
bool tg_message_read(const char *type, const json_t *json, struct tg_message *message,
                     struct tg_error *error);

/* tg_say(ipc, name, .field = value, ...) */
#define tg_say(ipc, name, ...)                                                                               \
  tg_message_send(ipc, &(struct tg_message){.type = TG_MESSAGE_##name, .name = {__VA_ARGS__}})

/* tg_ask(ipc, timeout, reply, ctx, name, .field = value, ...) */
#define tg_ask(ipc, timeout, reply, ctx, name, ...)                                                          \
  tg_message_ask(ipc, &(struct tg_message){.type = TG_MESSAGE_##name, .name = {__VA_ARGS__}}, timeout,       \
                 reply, ctx)
