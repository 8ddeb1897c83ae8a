#pragma once

/* The test kit's half in C: a script of the real script layer and the real
 * event path of a worker, but with a core that does nothing and tells the test
 * (test_kit_core.c), and a clock that stands still. The delivery is real, with its
 * caches and queues, but nothing leaves it by itself.
 *
 * Two Lua states: the test's (T, busted's) and the script's. Values cross as
 * JSON. What the script wants is told to the test at once, by calling one of
 * the functions of its `watch` table; the functions' results are the answers
 * (lua/tidegate/test.lua). One kit is one script in one role. */

#include "script/vm/state.h"

struct tg_kit_shard {
  struct tg_kit *kit;
  int id;
  char state[16]; /* as scripts see it */
  char session_id[TG_SESSION_ID_MAX];
  uint64_t epoch, sequence; /* sequence 0: none yet */
  int rtt, safe_requests;
  uint64_t told_epoch; /* what the delivery knows of it */
};

struct tg_kit_request;

struct tg_kit {
  struct tg_script *script;
  struct tg_stats *stats; /* the script's */
  struct tg_clock clock;
  uv_loop_t loop;               /* the delivery's; turned only to close its timers */
  struct tg_config config;      /* the script's, but for where events go; owns nothing, but ... */
  struct tg_sink_config sinks[TG_SINKS_MAX]; /* ... its sinks, of which the same is true */
  struct tg_delivery *delivery; /* NULL: a manager */
  struct tg_hooks hooks;        /* the script's, with an eye on them */
  int worker_id, total_shards;
  struct tg_kit_shard *shards;
  json_t *variables; /* of the environment while the script loads */

  struct tg_kit_request *requests;
  uint64_t last_request;

  /* Of the event on its way. */
  bool arrived; /* at handle_discord_payload */
  bool replaced;

  lua_State *T;  /* the test, while it is inside of the kit; else NULL */
  int ref_watch; /* likewise */
  int ref_error; /* what a watching function raised */
};

/* Calls the watching function `name` with `args` (a list; stolen). Returns what
 * it returned (new reference), NULL: nil, or nobody watches. */
json_t *tg_kit_tell(struct tg_kit *kit, const char *name, json_t *args);

extern const struct tg_core tg_kit_core;

/* "shard:heartbeat", its shard (or TG_NO_SHARD), its arguments (stolen; NULL:
 * none). Returns the test's answer. */
json_t *tg_kit_called(struct tg_kit *kit, const char *name, int shard_id, json_t *args);
/* {"error": {"code":, "message":}}. False: it is something else. */
bool tg_kit_read_error(const json_t *answer, struct tg_error *error);

/* test_kit_queue.c: the delivery's own queues, from which nothing is sent by itself. */
void tg_kit_queue_push(struct tg_kit *kit, int shard_id, const char *name, const json_t *data);
json_t *tg_kit_queued(struct tg_kit *kit, int shard_id); /* [{"type":, "sequence":, "data":}, ..] */
#define X(name) __typeof__(tg_##name) tg_kit_##name;
TG_CORE_QUEUE_FUNCTIONS(X)
#undef X

/* Before the delivery is asked for anything: the script may have changed its hooks. */
void tg_kit_watch_hooks(struct tg_kit *kit);

/* The event would go to the bot. */
void tg_kit_deliver(struct tg_kit *kit, const struct tg_event *event);

/* `answer` {"status":, "body":, "headers":, "retry_after":, "delay":} or
 * {"error": {"code":, "message":}} ends the request after its delay. False:
 * there is no such request (any more). */
bool tg_kit_answer(struct tg_kit *kit, uint64_t id, const json_t *answer);
void tg_kit_free_requests(struct tg_kit *kit);

/* Loads the script, with the kit's variables in the place of the tester's. */
bool tg_kit_load(struct tg_kit *kit, const char *path, char **problem);
bool tg_kit_reload(struct tg_kit *kit, char **problem);

/* Events and calls, on their way into the script: test_kit_run.c. Results are
 * new references; NULL: `*problem` (malloc) is the error with its traceback. */
void tg_kit_begin(struct tg_kit *kit); /* makes the delivery; after the load */
/* A dispatch made from its parts; the text is the caller's to free. */
struct tg_event tg_kit_make_event(const struct tg_kit *kit, int shard_id, uint64_t epoch, uint64_t sequence,
                                  const char *name, const json_t *data, struct tg_buf *text);
/* "dropped", "passed" or "replaced". */
const char *tg_kit_event(struct tg_kit *kit, int shard_id, uint64_t epoch, uint64_t sequence,
                         const char *name, const json_t *data);
json_t *tg_kit_call(struct tg_kit *kit, enum tg_method method, int shard_id, const json_t *args,
                    char **problem);
/* gateway.sink(name).deliver */
json_t *tg_kit_call_sink(struct tg_kit *kit, const char *name, const json_t *args, char **problem);
json_t *tg_kit_eval(struct tg_kit *kit, const char *text, size_t length, char **problem);
/* A request for /plugins/..., `body` (borrowed) NULL for none: {"status":, "body":, "allow":}, the latter two
 * if there. Lets time pass until it is answered. */
json_t *tg_kit_ask(struct tg_kit *kit, const char *method, const char *target, json_t *body);
/* Runs what is due up to `until`. False: it never comes to an end. */
bool tg_kit_run_until(struct tg_kit *kit, tg_ms until);

/* ---- test_kit.c: in the test's Lua ---- */

#define TG_KIT_TYPE "tidegate.kit"

/* Being inside of a kit, with what was so outside: kits may be used inside of
 * each other's functions. */
struct tg_visit {
  struct tg_kit *kit, *logging;
  lua_State *T;
  int ref_watch;
  enum tg_log_level level;
};

/* `index`: of the userdata, whose environment is the table of watchers. Nothing
 * may raise in T until the kit is left. */
void tg_kit_enter(struct tg_visit *visit, lua_State *T, struct tg_kit *kit, int index);
/* Raises what a watching function has raised. */
void tg_kit_leave(const struct tg_visit *visit, lua_State *T);
/* Whatever was started runs as far as it can now; then leaves. */
void tg_kit_settle(const struct tg_visit *visit, lua_State *T);

struct tg_kit *tg_check_kit(lua_State *T); /* at index 1 */
/* [-0, +1] The value at `index`, in a box on the stack; nil: `otherwise` (stolen). */
json_t *tg_check_json(lua_State *T, int index, json_t *otherwise);
/* [-0, +1] Takes over `problem`; NULL: nil. */
void tg_kit_push_problem(lua_State *T, char *problem);

/* open(path or nil, {role=, worker_id=, shards=}, variables, watch) -> kit */
int tg_kit_open(lua_State *T);
int tg_kit_reopen(lua_State *T); /* kit:reload() -> true, or nil and the problem */
int tg_kit_close(lua_State *T);

/* [-0, +1] The module "tidegate.test.host": test_kit_bind.c. */
int tg_open_test_kit(lua_State *T);
