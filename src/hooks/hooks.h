#pragma once

/* Where the core asks the script, and how it can tell that it need not ask.
 *
 * The core holds one `struct tg_hooks *` for the life of the process; the
 * script layer fills it, and changes it on reload. The core never sees Lua. A
 * slot that is NULL means the C default, so a method that nobody overrides
 * costs one NULL test:
 *
 *     struct tg_value args[] = {tg_value_shard(shard), tg_value_int(interval)};
 *     if (!tg_hook_call(hooks, TG_METHOD_shard_heartbeat, args, 2, NULL))
 *       send_heartbeat(shard);
 *
 * An override that fails (error, budget, wrong type of result) has been logged
 * and counted when the call returns false: the caller just runs its default. */

#include "base/clock.h"
#include "base/json_scan.h"
#include "config/config.h"
#include "hooks/methods.h"
#include "proto/shard_ref.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct tg_event;
struct tg_shard;
struct tg_script;
struct tg_override; /* the script's own */

/* gateway.sink(name).deliver: what takes the events of a sink beside the bot. */
struct tg_sink_hook {
  const char *name;  /* of the sink */
  const char *where; /* "bot.lua:12", TG_WHERE_SIZE bytes */
  bool set;          /* it is there ... */
  bool delivers;     /* ... and not switched off */
  bool away;         /* as tg_hooks.away, of this one */
};

struct tg_value {
  enum tg_value_kind kind;
  union {
    bool boolean;
    int64_t integer;
    struct tg_span string; /* result: valid until the next call into the script */
    json_t *json;
    struct tg_shard *shard;
    struct tg_event *event;
    struct {
      struct tg_event *at;
      int count;
    } events;
  };
  /* Of TG_FAILURE: err.code, valid like a string; err.status and err.retry_after, 0 and -1 if absent. */
  struct tg_span code;
  long status;
  tg_ms retry_after;
};

/* The end of a waiting call. `ok` false: the script failed, run the default.
 * The result is borrowed. Called exactly once for each call that was started,
 * perhaps before tg_hook_start() returns. */
typedef void tg_hook_reply(void *ctx, bool ok, const struct tg_value *result);

enum tg_verdict { TG_PASS, TG_DROP, TG_REPLACED };

/* What the script wants of an event type. */
enum {
  TG_WANT_DROP = 1,    /* a constant filter drops it */
  TG_WANT_FILTER = 2,  /* a computed filter is to be asked */
  TG_WANT_HANDLER = 4, /* gateway.on handlers are to be run */
};

/* In place of a shard's id. */
enum { TG_ALL_SHARDS = -1 };

enum { TG_WANT_SIZE = 512 }; /* = TG_EVENT_TYPE_MAX */

/* The sender of a broadcast: the number of a worker, or this. */
enum { TG_FROM_MANAGER = -1 };

/* A request for what plugins serve, borrowed for the call. */
struct tg_hook_request {
  const char *method; /* "GET" */
  const char *path;   /* behind "/plugins", as it came: "/drop-bots/stats" */
  const char *query;  /* as it came; "" */
  json_t *body;       /* NULL: none */
};

/* Its answer, borrowed, exactly once, perhaps before tg_hooks.route returns. */
struct tg_hook_answer {
  int status;
  struct tg_span body; /* JSON, or empty */
  const char *allow;   /* of a 405: the methods that there are; else NULL */
};
typedef void tg_hook_answered(void *ctx, const struct tg_hook_answer *answer);

struct tg_hooks {
  struct tg_script *script; /* NULL: there is no script */
  struct tg_override *method[TG_METHOD_COUNT];
  uint8_t want[TG_WANT_SIZE]; /* by event type */
  bool want_life[TG_LIFE_COUNT];
  bool away; /* the script does not run, but would deliver events: they have to wait for it */
  struct tg_sink_hook sinks[TG_SINKS_MAX - 1]; /* those that have one */
  int sink_count;
  uint32_t sink_changes; /* counts when one of them was set, or taken away */

  bool (*call)(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
               struct tg_value *result);
  void (*start)(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                tg_hook_reply *reply, void *ctx);
  /* As start, of what takes the events of that sink. */
  void (*start_sink)(struct tg_script *script, const char *sink, const struct tg_value *events,
                     tg_hook_reply *reply, void *ctx);
  /* Runs the computed filters. TG_REPLACED: event->replacement is set (malloc). */
  enum tg_verdict (*filter)(struct tg_script *script, struct tg_event *event);
  /* Starts the handlers of a dispatch. */
  void (*dispatch)(struct tg_script *script, struct tg_shard *shard, struct tg_event *event);
  /* `details` becomes the second argument of the handler (a table); borrowed,
   * may be NULL. `shard` may be NULL. */
  void (*life)(struct tg_script *script, enum tg_life what, struct tg_shard *shard, const json_t *details);
  /* Has the gateway.on_broadcast handlers of the topic run, in the order of the
   * calls, but not before this returns. Borrows `value`. */
  void (*broadcast)(struct tg_script *script, const char *topic, json_t *value, int from);
  /* /plugins/... of the control API. Who stands there, and who does not, is the script's to say. */
  void (*route)(struct tg_script *script, const struct tg_hook_request *request, tg_hook_answered *answered,
                void *ctx);
};

static inline struct tg_value tg_value_int(int64_t integer)
{
  return (struct tg_value){.kind = TG_INT, .integer = integer};
}
static inline struct tg_value tg_value_string(const char *at, size_t length)
{
  return (struct tg_value){.kind = TG_STRING, .string = {at, length}};
}
static inline struct tg_value tg_value_json(json_t *json)
{
  return (struct tg_value){.kind = TG_JSON, .json = json};
}
static inline struct tg_value tg_value_shard(struct tg_shard *shard)
{
  return (struct tg_value){.kind = TG_SHARD, .shard = shard};
}
static inline struct tg_value tg_value_event(struct tg_event *event)
{
  return (struct tg_value){.kind = TG_EVENT, .event = event};
}

static inline struct tg_value tg_value_events(struct tg_event *events, int count)
{
  return (struct tg_value){.kind = TG_EVENTS, .events = {events, count}};
}
static inline struct tg_value tg_value_queue(tg_shard_ref ref)
{
  return (struct tg_value){.kind = TG_QUEUE, .integer = ref};
}

static inline bool tg_hooked(const struct tg_hooks *hooks, enum tg_method method)
{
  return hooks->method[method] != NULL;
}

/* What a script has for the sink of that name; NULL: nothing. */
static inline const struct tg_sink_hook *tg_hook_of_sink(const struct tg_hooks *hooks, const char *name)
{
  for (int i = 0; i < hooks->sink_count; i++)
    if (strcmp(hooks->sinks[i].name, name) == 0)
      return &hooks->sinks[i];
  return NULL;
}

/* Calls an override that may not wait. The `self` of manager and delivery
 * methods is added by the script layer; that of shard methods is args[0].
 * Of a method whose result is TG_NIL any will do, and `result` may be NULL; else a
 * result of nil (no opinion) counts as "run the default": false. */
static inline bool tg_hook_call(struct tg_hooks *hooks, enum tg_method method, const struct tg_value *args,
                                int count, struct tg_value *result)
{
  return hooks->method[method] && hooks->call(hooks->script, method, args, count, result);
}

/* Starts an override that may wait. False: there is none, run the default. */
static inline bool tg_hook_start(struct tg_hooks *hooks, enum tg_method method, const struct tg_value *args,
                                 int count, tg_hook_reply *reply, void *ctx)
{
  if (!hooks->method[method])
    return false;
  hooks->start(hooks->script, method, args, count, reply, ctx);
  return true;
}

static inline void tg_hook_broadcast(struct tg_hooks *hooks, const char *topic, json_t *value, int from)
{
  if (hooks->broadcast)
    hooks->broadcast(hooks->script, topic, value, from);
}

static inline void tg_hook_life(struct tg_hooks *hooks, enum tg_life what, struct tg_shard *shard,
                                const json_t *details)
{
  if (hooks->want_life[what])
    hooks->life(hooks->script, what, shard, details);
}
