#pragma once

/* Every method that a script may override, once, with all that is special about it: the hooks, the tables of
 * Lua, `tidegate check`, both ends of the line to the manager, and specs are made from this list. */

#include <stdbool.h>

/* What C and scripts hand each other (struct tg_value). */
enum tg_value_kind {
  TG_NIL,
  TG_BOOL,
  TG_INT,
  TG_STRING,
  TG_JSON,    /* any Lua value that JSON can carry; result: a new reference */
  TG_ANSWER,  /* expected only, to an interaction: the result is TG_BOOL, TG_NIL, or TG_STRING for "wait" */
  TG_SHARD,   /* argument only: the shard object, as `self` or first argument */
  TG_EVENT,   /* argument only */
  TG_EVENTS,  /* argument only: a list of events, which keep their bytes */
  TG_QUEUE,   /* argument only: the queue of the shard `integer`; TG_ALL_SHARDS: of the worker */
  TG_FAILURE, /* result of a method that may fail: `nil, err`; string = err as text */
};

/* How a method is called, besides its name. */
enum {
  TG_INLINE = 0,    /* in the midst of what C does: it may not wait */
  TG_WAITS = 1,     /* in a coroutine: it may wait, and may fail (`nil, err`) */
  TG_MAY_FAIL = 2,  /* the same of one that may not wait */
  TG_OF_PACKET = 4, /* for the packet that its shard is handling: blamed for that, should it be the end */
  /* Cut off while it waited, as by a reload; else what it returns then counts, as at any other time. */
  TG_CUT_IS_FAILURE = 8, /* it has failed, "cancelled": nobody takes its events for delivered */
  TG_CUT_IS_NOTHING = 16 /* whether it did its work nobody knows: the default runs */
};

/* X(table, method, result, how). `result`: what C expects of it (enum tg_value_kind); TG_NIL: nothing. */
#define TG_METHODS(X)                                                                                        \
  X(manager, fetch_gateway_bot, TG_JSON, TG_WAITS)                                                           \
  X(manager, calculate_total_shards, TG_INT, TG_INLINE)                                                      \
  X(manager, calculate_worker_id, TG_INT, TG_INLINE)                                                         \
  X(manager, calculate_shard_id, TG_INT, TG_INLINE)                                                          \
  X(manager, prepare_buckets, TG_JSON, TG_INLINE)                                                            \
  X(manager, spawn_shards, TG_NIL, TG_WAITS)                                                                 \
  X(manager, tell_worker_to_identify, TG_NIL, TG_WAITS)                                                      \
  X(manager, request_identify, TG_NIL, TG_WAITS)                                                             \
  X(manager, send_payload, TG_NIL, TG_WAITS)                                                                 \
  X(manager, get_shard_info, TG_JSON, TG_INLINE)                                                             \
  X(manager, kill, TG_NIL, TG_WAITS)                                                                         \
  X(manager, shutdown, TG_NIL, TG_WAITS)                                                                     \
  X(manager, edit_bot_status, TG_NIL, TG_WAITS)                                                              \
  X(manager, edit_shard_status, TG_NIL, TG_WAITS)                                                            \
  X(manager, request_members, TG_JSON, TG_WAITS)                                                             \
  X(manager, request_soundboard_sounds, TG_NIL, TG_WAITS)                                                    \
  X(manager, join_voice_channel, TG_NIL, TG_WAITS)                                                           \
  X(manager, leave_voice_channel, TG_NIL, TG_WAITS)                                                          \
  X(manager, resharding_needed, TG_JSON, TG_WAITS)                                                           \
  X(manager, reshard, TG_JSON, TG_WAITS)                                                                     \
  X(manager, tell_worker_to_prepare, TG_NIL, TG_WAITS)                                                       \
  X(manager, on_resharding_switch, TG_NIL, TG_WAITS)                                                         \
  X(manager, handle_worker_exit, TG_NIL, TG_INLINE)                                                          \
  X(shard, connect, TG_NIL, TG_INLINE)                                                                       \
  X(shard, identify, TG_NIL, TG_INLINE)                                                                      \
  X(shard, resume, TG_NIL, TG_INLINE)                                                                        \
  X(shard, close, TG_NIL, TG_INLINE)                                                                         \
  X(shard, shutdown, TG_NIL, TG_INLINE)                                                                      \
  X(shard, request_identify, TG_NIL, TG_WAITS)                                                               \
  X(shard, send, TG_BOOL, TG_MAY_FAIL)                                                                       \
  X(shard, is_open, TG_BOOL, TG_INLINE)                                                                      \
  X(shard, calculate_safe_requests, TG_INT, TG_INLINE)                                                       \
  X(shard, make_presence, TG_JSON, TG_WAITS)                                                                 \
  X(shard, heartbeat, TG_NIL, TG_INLINE)                                                                     \
  X(shard, start_heartbeating, TG_NIL, TG_INLINE)                                                            \
  X(shard, stop_heartbeating, TG_NIL, TG_INLINE)                                                             \
  X(shard, decompress_packet, TG_STRING, TG_OF_PACKET)                                                       \
  X(shard, handle_packet, TG_NIL, TG_OF_PACKET)                                                              \
  X(shard, handle_close, TG_STRING, TG_INLINE)                                                               \
  X(delivery, handle_discord_payload, TG_NIL, TG_INLINE)                                                     \
  X(delivery, deliver, TG_BOOL, TG_WAITS | TG_CUT_IS_FAILURE)                                                \
  X(delivery, retry_delay, TG_INT, TG_INLINE)                                                                \
  X(delivery, is_delivered, TG_BOOL, TG_INLINE)                                                              \
  X(delivery, queue_overflow, TG_NIL, TG_INLINE)                                                             \
  X(delivery, handle_interaction_queueing, TG_ANSWER, TG_WAITS | TG_CUT_IS_NOTHING)                          \
  X(delivery, handle_queue, TG_NIL, TG_WAITS | TG_CUT_IS_FAILURE)                                            \
  X(cache, guild_create_kind, TG_STRING, TG_INLINE)                                                          \
  X(cache, message_changed, TG_BOOL, TG_INLINE)

enum tg_method {
#define X(table, method, result, how) TG_METHOD_##table##_##method,
  TG_METHODS(X)
#undef X
      TG_METHOD_COUNT
};

enum { TG_TABLE_MANAGER, TG_TABLE_SHARD, TG_TABLE_DELIVERY, TG_TABLE_CACHE, TG_TABLE_COUNT };
extern const char *const tg_table_names[TG_TABLE_COUNT];

struct tg_method_info {
  const char *name;
  const char *full; /* "gateway.shard:heartbeat" */
  int table;        /* TG_TABLE_... */
  enum tg_value_kind result;
  int how; /* TG_WAITS | ... */
};
extern const struct tg_method_info tg_methods[TG_METHOD_COUNT];

static inline bool tg_method_waits(enum tg_method method)
{
  return tg_methods[method].how & TG_WAITS;
}

/* Whether it may answer `nil, err`. */
static inline bool tg_method_may_fail(enum tg_method method)
{
  return tg_methods[method].how & (TG_WAITS | TG_MAY_FAIL);
}

/* False: that table has no such method. */
bool tg_method_find(int table, const char *name, enum tg_method *method);

/* Life-cycle events of gateway.on, in lower case. */
#define TG_LIFE_EVENTS(X)                                                                                    \
  X(connecting)                                                                                              \
  X(connected)                                                                                               \
  X(hello)                                                                                                   \
  X(identifying)                                                                                             \
  X(ready)                                                                                                   \
  X(resuming)                                                                                                \
  X(resumed)                                                                                                 \
  X(disconnected)                                                                                            \
  X(invalid_session)                                                                                         \
  X(requested_reconnect)                                                                                     \
  X(heartbeat)                                                                                               \
  X(heartbeat_ack)                                                                                           \
  X(guilds_loaded)                                                                                           \
  X(handler_down)                                                                                            \
  X(handler_up)                                                                                              \
  X(resharding)                                                                                              \
  X(deaf)                                                                                                    \
  X(reload)                                                                                                  \
  X(load)                                                                                                    \
  X(unload)

enum tg_life {
#define X(name) TG_LIFE_##name,
  TG_LIFE_EVENTS(X)
#undef X
      TG_LIFE_COUNT
};
extern const char *const tg_life_names[TG_LIFE_COUNT];
