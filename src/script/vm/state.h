#pragma once

/* The inside of the script layer: what its files share.
 *
 *   script.c     script.h: the life of a script        reload.c  its next generation
 *   state.c      lua_State: libraries, paths, loading  watchdog.c  budgets
 *   memory.c     what a state takes, and who           collect.c   watches it
 *   call.c       the only pcall and resume             fault.c   errors: objects, counting, log
 *   traceback.c  errors as text
 *   override.c   the tables of overridable methods     hooks.c   struct tg_hooks
 *   subscribe.c  gateway.on and gateway.filter         dispatch.c  runs them; waiting.c later
 *   broadcast.c  gateway.broadcast, between processes
 *   bind_route.c, route_calls.c                        what plugins serve
 *   event_handle.c, shard_handle.c, queue_handle.c     what scripts hold in their hands
 *   sched.c      coroutines that wait                  timers.c  sleep, after, every, spawn
 *   core.h       what is asked of the core             alarm.c   time
 *   sources.c    the files of a generation           bind_plugin.c  plugins (lua/tidegate/plugin/)
 *   json_*.c     JSON                                  bind_*.c  one Lua table each
 *
 * Rules. Lua runs only inside tg_protect() and tg_thread_run(). Whatever may
 * raise (pushing strings included: a finalizer of the script's may run) is done
 * inside one of them. C functions that Lua calls hold no memory across lua_*
 * calls that Lua or the state does not own. */

#include "base/buf.h"
#include "config/config.h"
#include "hooks/hooks.h"
#include "proto/event.h"
#include "script/core.h"
#include "script/script.h"
#include "script/vm/alarm.h"
#include "script/vm/memory.h"
#include "script/vm/sources.h"
#include "shared/poison.h"
#include "shared/stats.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

/* ---- script: one a process and role ---- */

struct tg_broadcast;
struct tg_line;
struct tg_kept;
struct tg_plugin_route;

enum { TG_HEARD = 32 };

struct tg_script {
  enum tg_role role;
  uv_loop_t *loop;
  int worker_id;
  char *path;           /* of the script file; NULL: none */
  struct tg_hooks hooks;
  struct tg_state *state; /* the live one */
  struct tg_state *next;  /* prepared, waits for commit or abort */
  struct tg_state *old;   /* retired, some of their coroutines still end; linked by `older` */
  struct tg_config *previous_config; /* kept one reload longer for those who still hold it */
  int generation;
  bool stopped;

  /* What is off until the next reload, since the script's states came back to
   * their limit again and again: bits, 1 << enum tg_lua_group. */
  uint32_t off;
  int renewals;     /* states replaced, each within a minute of the one before */
  tg_ms renewed_at; /* 0: none was */
  struct {
    uint64_t events, serial; /* an event that waits for two handlers counts twice */
    size_t bytes;
  } waiting; /* for handlers of gateway.on */

  struct tg_sources given; /* for the first load */
  bool bare;               /* ... which runs nothing */
  struct tg_sources tried; /* of a generation that did not come to life; empty after a commit */

  struct tg_http *http;
  LIST_HEAD(, tg_http_host) http_hosts; /* with requests under way: http_slots.h */
  struct tg_manager *manager;
  struct tg_worker *worker;
  struct tg_stats *stats; /* where its own metrics are */
  int route_calls; /* requests to plugins under way: route_calls.c */
  struct tg_broadcast *broadcasts, **last_broadcast; /* wait for the next loop turn */
  struct tg_alarm *broadcast_alarm;

  const struct tg_core *core;
  struct tg_clock *clock; /* NULL: the time of the world */

  struct tg_heard {
    uint64_t hash; /* 0: free */
    tg_ms logged_at;
    unsigned more;
  } heard[TG_HEARD]; /* equal words are logged once a minute */
};

/* ---- state: one generation of the script ---- */

enum tg_phase_of_state {
  TG_STATE_LOADING,  /* the files run; nothing may wait */
  TG_STATE_PREPARED, /* loaded, not live */
  TG_STATE_LIVE,
  TG_STATE_RETIRED, /* replaced; unload handlers may still wait */
};

enum { TG_PLUGIN_SIZE = 48 }; /* of a name */

enum { TG_ERRORS_TO_SWITCH_OFF = 10, TG_ERRORS_WINDOW = 60000 };

/* An override, or a method without one (ref LUA_NOREF). */
struct tg_override {
  int ref; /* in the registry */
  uint32_t owner; /* of what it allocates: memory.h */
  bool off; /* failed too often */
  bool stacked; /* the function is plugins' (lua/tidegate/plugin/stack.lua), */
  char stopped[TG_WHERE_SIZE]; /* of which this one was over its budget in the last call; "": none */
  tg_ms errors[TG_ERRORS_TO_SWITCH_OFF]; /* ring of the times of the last errors */
  int next_error;
  char where[TG_WHERE_SIZE]; /* "bot.lua:12" */
};

/* What a script has put in the place of a sink's URL: gateway.sink(name).deliver. */
struct tg_sink_function {
  char name[TG_SINK_PATH_SIZE];
  char full[TG_SINK_PATH_SIZE + 32]; /* gateway.sink("stats").deliver */
  struct tg_override deliver;
  bool away; /* the script is not run, but would have one */
};

enum tg_order { TG_UNORDERED, TG_BY_SHARD, TG_BY_GUILD };

/* One name of one gateway.on or gateway.filter. */
struct tg_subscriber {
  struct tg_subscriber *next; /* in order of priority, then of registration */
  struct tg_subscription *subscription;
  int priority;
  bool removed; /* unlinked as soon as nobody walks the list */

  /* Handlers of dispatches: waiting.c */
  int running;            /* coroutines of it */
  bool gone;              /* unlinked; the end of the last coroutine frees it */
  struct tg_line **lines; /* the events that it takes one after the other; NULL: none yet */
  struct tg_line *ready, **last_ready; /* those whose first event only waits for the handler */
  bool listed;                         /* in state->waiting, */
  struct tg_subscriber *next_waiting;  /* as all that have such lines */
  uint64_t skipped;                    /* events that it did not get */
  tg_ms skipped_logged_at;
};

/* What one call of gateway.on, on_broadcast or filter has made. */
struct tg_subscription {
  struct tg_subscription *next; /* all of a state */
  int ref;        /* the function; LUA_NOREF: a constant filter */
  uint32_t owner; /* of what it allocates: memory.h */
  bool is_filter, constant;
  enum tg_order order;
  int concurrency; /* how often at once; 0: the default */
  char *topic; /* of gateway.on_broadcast; else NULL */
  bool removed;
  char where[TG_WHERE_SIZE];
};

/* At the bottom of the main coroutine's stack, for calls from the loop. */
enum { TG_STACK_TRACEBACK = 1, TG_STACK_TRAMPOLINE };

enum { TG_LIVE_EVENTS = 32, TG_EVENT_PLACES = 32 };

/* What there was to say about the value that was last written as JSON. */
struct tg_json_words {
  bool torn;         /* it had bytes that are not UTF-8 ... */
  char path[160];    /* ... here, at first */
  char problem[320]; /* why it could not be written */
};

/* How many members an object had that began with that key. */
struct tg_json_size {
  const char *first; /* the address of the string; compared, and never read */
  int members;
};

enum { TG_JSON_SIZES = 64 };

struct tg_state {
  struct tg_script *script;
  struct tg_state *older;
  enum tg_phase_of_state phase;
  int generation;
  struct tg_sources sources; /* what was read while loading */

  lua_State *L;   /* the main coroutine; its stack holds, always, TG_STACK_* */
  lua_State *now; /* where Lua last called C: nested calls go on from there */

  struct tg_config *config;
  json_t *given; /* to gateway.configure; NULL: nothing */
  bool configured, configure_failed;
  bool bare;          /* nothing of the script is run ... */
  bool bare_delivers; /* ... which would take events */
  uint64_t sum;       /* of its sources, as far as it has read them itself */
  bool compiled; /* the JIT compiler is on, once loaded */

  struct tg_memory memory;

  int depth;                 /* protected calls and resumes on the C stack */
  bool held_told;            /* the outermost of them, or one inside, was told to hold the loop */
  volatile bool hooked;      /* the watchdog's hook is installed */
  struct tg_thread *running; /* the coroutine of the host that runs; NULL: inline */
  const char *what;          /* the method, event or phase that runs, for messages */
  int shard_id;              /* that inline code works for, for the log */
  char plugin[TG_PLUGIN_SIZE]; /* on whose account registrations go; "": the script's */

  /* references into the registry */
  int ref_traceback, ref_trampoline, ref_gateway, ref_results, ref_shards;
  int ref_event_meta, ref_shard_meta, ref_queue_meta, ref_failure_meta;
  int ref_coroutines; /* the set of the host's coroutines */
  int ref_state_table, ref_state_base; /* gateway.state, and what of it was there before the script loaded */
  int ref_table[4];   /* gateway.manager, shard, delivery, cache */
  int ref_natives[4]; /* their defaults, by name */
  int ref_rebase;     /* is told what scripts assign where plugins stand */
  int ref_methods[4]; /* their current functions, by name */
  struct tg_override override[TG_METHOD_COUNT];
  struct tg_sink_function sinks[TG_SINKS_MAX - 1]; /* in the order in which they were first set */
  int sink_count;

  struct tg_subscription *subscriptions;
  struct tg_subscriber *filters[TG_WANT_SIZE];
  struct tg_subscriber *handlers[TG_WANT_SIZE];
  struct tg_subscriber *life[TG_LIFE_COUNT];
  struct tg_subscriber *listeners; /* to broadcasts, of all topics */
  struct tg_subscriber *waiting;   /* handlers of dispatches for which events wait */
  bool pumping;                    /* those are being started */
  int handlers_running, handlers_ended; /* coroutines now; since memory was last looked after */
  tg_ms handler_ended_at;               /* while events waited */
  struct {
    uint64_t serial;
    struct tg_event *event;
  } live[TG_LIVE_EVENTS]; /* the events that C is handing to Lua right now, nested */
  int live_events;
  uint64_t event_serial;
  struct {
    const void *name; /* its address; NULL: none */
    int field;
  } event_fields[TG_EVENT_PLACES];      /* by that address */
  uint32_t entries[TG_LUA_GROUP_COUNT]; /* into Lua, by whom: measure.h */
  bool keep_events; /* something was set going that may use the event of now later */

  struct tg_plugin_route *routes; /* what plugins serve: api/routes.h */
  int route_count;

  int walking; /* lists being walked */
  bool sweep;  /* removed subscribers wait to be unlinked */

  struct tg_thread *threads; /* live ones */
  struct tg_thread *pool;
  int pooled;
  int spare_ref; /* into the registry, of a dispatch that is over; LUA_NOREF */
  struct tg_timer *timers;
  struct tg_job *jobs, **last_job;
  struct tg_alarm *ready;    /* runs the jobs in the next loop turn */
  struct tg_alarm *deadline; /* a retired state's last hour */
  bool emptied;              /* nothing of it is used any more */

  struct tg_buf scratch, out; /* used within one function only */
  struct tg_json_words json;
  struct tg_json_size json_sizes[TG_JSON_SIZES];
  char *error;                /* of the last failed call, with traceback */
};

/* The state behind a lua_State (any of its coroutines); also notes that C was
 * entered there. Every function that Lua calls starts with it. */
static inline struct tg_state *tg_state_of(lua_State *L)
{
  void *state;
  lua_getallocf(L, &state);
  ((struct tg_state *)state)->now = L;
  return state;
}

static inline const struct tg_core *tg_core_of(lua_State *L) { return tg_state_of(L)->script->core; }

/* Makes a state with libraries and the `gateway` table. NULL: `*problem`. */
struct tg_state *tg_state_new(struct tg_script *script, int generation, char **problem);
void tg_state_free(struct tg_state *state);

/* Of a retired one: from now on all it holds is garbage. */
void tg_state_empty(struct tg_state *state);

/* Runs the file of the script and settles the configuration. */
bool tg_state_load(struct tg_state *state, char **problem);

/* The configuration that holds for the state, also when it is retired; NULL: none yet. */
const struct tg_config *tg_state_config(const struct tg_state *state);

/* A copy of what a script configures, with the secrets of the environment where
 * it names them by their placeholders; NULL for NULL. The caller decrefs it. */
json_t *tg_secrets_fill(const json_t *given);

/* Appends a header of a request to that URL; the authorization gets its secret
 * where the request is for rest.url, or script.secrets is on. */
void tg_secrets_put_header(struct tg_buf *out, const struct tg_state *state, const char *line,
                           const char *url);

/* Checks `given` (NULL: the environment alone) and makes it the state's
 * configuration; takes over `config`. False: `problems`. */
bool tg_state_take_config(struct tg_state *state, const json_t *given, struct tg_config *config,
                          struct tg_problems *problems);

/* Points package.path and cpath at the script's directory, the rocks trees and
 * the system's modules for Lua 5.1, in this order. */
void tg_state_set_paths(lua_State *L, const char *script_path, const struct tg_strings *rocks_trees);

static inline bool tg_state_is_live(const struct tg_state *state) { return state->phase == TG_STATE_LIVE; }

enum { TG_ALL_OFF = (1 << TG_LUA_GROUP_COUNT) - 1 };

static inline bool tg_is_off(const struct tg_script *script, enum tg_lua_group group)
{
  return script->off & 1u << group;
}

/* gateway.state of the next generation (plain values are copied): as it is
 * before that loads, and as it is when this one has ended. False: `to` would
 * use more than `most` bytes; before the load it may have a part of them then,
 * afterwards nothing was taken. */
bool tg_state_show_values(struct tg_state *from, struct tg_state *to, size_t most);
bool tg_state_take_values(struct tg_state *from, struct tg_state *to, size_t most);

/* reload.c: the live state has no memory left. A fresh one of the same
 * generation takes its place. Outside of all calls only. */
void tg_script_renew(struct tg_script *script);

/* Ends a state: unload handlers, then everything that waits. */
void tg_state_retire(struct tg_state *state);
void tg_state_close_if_idle(struct tg_state *state);

/* ---- call.c ---- */

typedef int tg_body(lua_State *L, void *ctx);

enum tg_budget { TG_BUDGET_HOST, TG_BUDGET_INLINE, TG_BUDGET_SLICE, TG_BUDGET_LOAD };

/* Runs body(L, ctx) in a protected call, as inline code: it may not wait.
 * False: state->error says why, with traceback (no traceback for HOST, which
 * has no bounds: for the layer's own pushing). */
bool tg_protect(struct tg_state *state, const char *what, enum tg_budget budget, tg_body *body, void *ctx);
/* The same, on the account of `group`. */
bool tg_protect_call(struct tg_state *state, enum tg_lua_group group, const char *what, enum tg_budget budget,
                     tg_body *body, void *ctx);

/* The same; what `body` returns stays on the stack of state->now (or of the
 * main coroutine), *count values. */
bool tg_protect_results(struct tg_state *state, tg_body *body, void *ctx, lua_State **L, int *count);

/* Resumes a coroutine whose arguments are pushed. Returns lua_resume()'s. */
int tg_resume(struct tg_thread *thread, int arguments);
/* The same, of a new one: push(L, ctx) pushes its function and arguments, and returns how many values. */
int tg_begin(struct tg_thread *thread, tg_body *push, void *ctx);

int tg_trampoline(lua_State *L);

/* The note on a call for that event. */
static inline struct tg_poison_call tg_call_for(const struct tg_event *event, enum tg_lua_group group)
{
  return (struct tg_poison_call){.group = (uint8_t)group,
                                 .type = event->type,
                                 .shard_id = event->shard_id,
                                 .epoch = event->epoch,
                                 .sequence = event->sequence,
                                 .last = event->sequence};
}

/* ---- traceback.c ---- */

/* [-0, +1] What a script raised or returned as its error, as text: a string as it is, what __tostring makes
 * of it, the `message` of a table, else its fields. */
void tg_push_error_text(lua_State *L, int index);

/* [-0, +1, m] `message` (may be NULL) and how `from` came to where it is, from that level on. */
void tg_push_traceback(lua_State *L, lua_State *from, const char *message, int level);

/* [-1, +1, m] The handler of errors: what was raised becomes text, with the fields of a table, and the
 * traceback. tg_trace_thread() takes what a coroutine has failed with. */
int tg_traceback(lua_State *L);
int tg_trace_thread(lua_State *L, lua_State *from);

int tg_debug_traceback(lua_State *L); /* for scripts */

/* ---- fault.c ---- */

/* [-0, +2, m] Pushes nil and an error object {code=, message=}; returns 2. */
int tg_push_failure(lua_State *L, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void tg_open_failures(lua_State *L);

/* Whether equal words were logged less than a minute ago: then they are only
 * counted. `*more`: how often they were held back before. */
bool tg_fault_heard(struct tg_script *script, const char *what, const char *message, unsigned *more);

/* Counts state->error as an error of `what`, and logs it unless that was done
 * just now. */
void tg_fault_log(struct tg_state *state, enum tg_lua_group group, int shard_id, const char *what,
                  const char *then);

/* The same with another message, at `where`, which may be a plugin's: then it counts for that one. */
void tg_fault_log_at(struct tg_state *state, enum tg_lua_group group, int shard_id, const char *what,
                     const char *where, const char *message, const char *then);

/* ---- bind_plugin.c ---- */

/* Where the function at `index` stands: "bot.lua", or "plugin drop-bots, handler.lua" when a plugin
 * registers. Returns the line. */
int tg_place_of_function(lua_State *L, int index, char *place, size_t size);

/* Counts and logs an error of an override; switches it off when it fails too
 * often. `message` NULL: state->error. */
void tg_fault_override(struct tg_state *state, enum tg_method method, int shard_id, const char *message);
void tg_fault_sink(struct tg_state *state, struct tg_sink_function *sink, int shard_id);

/* ---- override.c ---- */

_Static_assert((int)TG_LUA_manager == (int)TG_TABLE_MANAGER && (int)TG_LUA_shard == (int)TG_TABLE_SHARD &&
                   (int)TG_LUA_delivery == (int)TG_TABLE_DELIVERY && (int)TG_LUA_cache == (int)TG_TABLE_CACHE,
               "the methods of a table are a group");
static inline enum tg_lua_group tg_method_group(enum tg_method method)
{
  return (enum tg_lua_group)tg_methods[method].table;
}

/* Whether this process's core asks for the methods of that table. */
bool tg_table_is_ours(const struct tg_script *script, int table);

/* [-0, +1, e] The proxy table gateway.<table> and its natives. */
void tg_bind_methods(lua_State *L, struct tg_state *state, int table);

/* Where a function (index of L) is written: "bot.lua:12". */
void tg_where_of_function(lua_State *L, int index, char where[TG_WHERE_SIZE]);

/* [-1, +0, e] The function on top stands for the plugins of that method, `where` for people. */
void tg_override_stack(lua_State *L, enum tg_method method, const char *where);
/* The method that two arguments name. Raises. */
enum tg_method tg_check_method(lua_State *L, int table_index, int name_index);

/* [-0, +1, e] gateway.default */
void tg_bind_default(lua_State *L, struct tg_state *state);

/* The natives: luaL_Reg arrays, in bind_*.c. */
extern const luaL_Reg tg_native_manager[], tg_native_shard[], tg_native_delivery[], tg_native_cache[];

/* ---- hooks.c ---- */

void tg_hooks_init(struct tg_script *script);

/* Makes script->hooks say what the live state wants: everything, or one. */
void tg_hooks_fill(struct tg_script *script);
void tg_hooks_fill_method(struct tg_state *state, enum tg_method method);
void tg_hooks_fill_sinks(struct tg_state *state);
void tg_hooks_fill_event(struct tg_state *state, uint16_t type);
void tg_hooks_fill_life(struct tg_state *state, enum tg_life life);

/* [-0, +1, m] Pushes an argument. */
void tg_push_value(lua_State *L, const struct tg_value *value);

/* ---- subscribe.c, dispatch.c, waiting.c ---- */

/* Adds on, on_broadcast and filter to the table on top. */
void tg_bind_subscribe(lua_State *L, struct tg_state *state);
void tg_subscriptions_sweep(struct tg_state *state);
void tg_subscriptions_free(struct tg_state *state);


enum tg_verdict tg_run_filters(struct tg_script *script, struct tg_event *event);
void tg_run_handlers(struct tg_script *script, struct tg_shard *shard, struct tg_event *event);
void tg_run_life(struct tg_script *script, enum tg_life what, struct tg_shard *shard, const json_t *details);
/* On this state, live or not. `outlives`: the handlers may wait although the
 * state is being retired. */
void tg_run_life_on(struct tg_state *state, enum tg_life what, struct tg_shard *shard, const json_t *details,
                    bool outlives);

/* The handler for an event that has waited. */
void tg_run_waiting(struct tg_state *state, struct tg_subscriber *handler, struct tg_line *line,
                    struct tg_event *event);

/* The line of the handler in which the event may go ahead now. NULL: it waits. */
struct tg_line *tg_waiting_line(struct tg_state *state, struct tg_subscriber *handler,
                                const struct tg_event *event);
/* Runs the handler for it; like tg_thread_start(). */
bool tg_waiting_start(struct tg_state *state, struct tg_line *line, const struct tg_event *event,
                      tg_body *push, void *ctx);
/* It was not run after all. */
void tg_waiting_next(struct tg_state *state, struct tg_line *line);
/* The event waits for the handler. All handlers of the event share *kept, NULL
 * at first, which the caller releases. */
void tg_waiting_add(struct tg_state *state, struct tg_subscriber *handler, const struct tg_event *event,
                    struct tg_kept **kept);
void tg_kept_release(struct tg_script *script, struct tg_kept *kept);
/* Starts what may start, for a few milliseconds. */
void tg_waiting_pump(struct tg_state *state);
bool tg_waiting_is_ready(const struct tg_state *state);
/* What waits goes to the handlers that stand in the same place of the next state. */
void tg_waiting_hand_over(struct tg_state *from, struct tg_state *to);
/* No handler will get what waits now. */
void tg_waiting_drop(struct tg_state *state, const char *why);
void tg_subscriber_free(struct tg_state *state, struct tg_subscriber *subscriber);

/* ---- broadcast.c ---- */

void tg_broadcast_arrived(struct tg_script *script, const char *topic, json_t *value, int from);
void tg_broadcasts_drop(struct tg_script *script);

/* ---- bind_route.c ---- */

void tg_bind_route(lua_State *L); /* adds route */
void tg_routes_free(struct tg_state *state);

/* ---- event_handle.c, shard_handle.c ---- */

void tg_open_event(lua_State *L, struct tg_state *state);
/* [-0, +1, m] A new userdata for a live event. It holds until the caller sets
 * state->live_events back to what it was before. */
void tg_push_event(lua_State *L, struct tg_event *event);
/* The userdata at `index` takes a copy of the bytes, for coroutines that wait. */
void tg_keep_event(lua_State *L, int index);
/* A copy with its texts at `text`, which has room for so many bytes. */
size_t tg_event_text_size(const struct tg_event *event);
void tg_event_copy(struct tg_event *copy, const struct tg_event *event, char *text);
/* [-0, +1, m] A userdata that has its own copy of the bytes. */
void tg_push_kept_event(lua_State *L, const struct tg_event *event);
/* A filter replaced the message: forget what was decoded. */
void tg_event_changed(lua_State *L, int index);
/* The event behind the userdata at `index`: the live one or, if `copy_will_do`,
 * the copy. Raises when it is over. */
struct tg_event *tg_check_event(lua_State *L, int index, bool copy_will_do);

/* The type of that name. Names that Discord may have added since pass; typing
 * errors raise, in the name of `function`. `with_life`: life-cycle names may be
 * meant, too. */
uint16_t tg_check_event_type(lua_State *L, const char *function, const char *name, bool with_life);

void tg_open_shard(lua_State *L, struct tg_state *state);
/* The queue of a shard, or of the worker, at a sink (NULL: the bot): queue_handle.c. */
void tg_open_queue(lua_State *L, struct tg_state *state);
void tg_push_queue(lua_State *L, const char *sink, tg_shard_ref ref);
/* Raises when it is not one of the bot's. */
tg_shard_ref tg_check_queue(lua_State *L, int index);
/* [-0, +0, e] The events in the list at `index` (or the one there), which stay
 * Lua's; the array is a new userdata on the stack ([-0, +1]). */
struct tg_event *tg_check_events(lua_State *L, int index, int *count);
void tg_push_shard(lua_State *L, struct tg_shard *shard);
struct tg_shard *tg_check_shard(lua_State *L, int index, const char *method);

/* ---- the tables of lua/tidegate/init.lua ---- */

/* [-0, +1, e] The table that the Lua half is built on ("tidegate.core"). */
int tg_open_core(lua_State *L);
void tg_bind_http(lua_State *L);    /* adds http to the table on top */
void tg_bind_secrets(lua_State *L); /* getenv, placeholder, rest */
/* gateway.sink: api/bind_sink.c. */
void tg_bind_sinks(lua_State *L); /* adds sink_names, sink_function, sink_assign, sink_queue */
/* The function of that sink; NULL: none was ever set. */
struct tg_sink_function *tg_sink_function(struct tg_state *state, const char *name);
struct tg_sink_function *tg_sink_function_add(struct tg_state *state, const char *name);
int tg_sink_deliver(lua_State *L); /* core.sink_deliver: api/bind_delivery.c */
void tg_bind_timers(lua_State *L);  /* adds sleep, spawn, after, every */
void tg_bind_broadcast(lua_State *L); /* adds broadcast */
void tg_bind_storm(lua_State *L);     /* adds storm */
void tg_bind_metrics(lua_State *L); /* adds metric */
void tg_bind_log(lua_State *L);     /* adds log, log_on, log_fields */
void tg_bind_utf8(lua_State *L);    /* adds utf8 */
void tg_bind_crypto(lua_State *L);  /* adds crypto */
void tg_bind_plugin(lua_State *L);  /* adds what lua/tidegate/plugin/ is built on */
