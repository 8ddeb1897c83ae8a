#pragma once

/* Three hosts that post to each other by a real Redis, and what each does with calls. */

#include "manager/cluster/post.h"
#include "redis_world.h"

#include "manager/calls.h"

enum { HOSTS = 3, SHARDS = 4, NEW_SHARD = 6 /* of 8 */, A = 0, B = 1, C = 2 };

struct host {
  const char *name;
  struct redis_world *world;
  struct tg_hooks hooks;
  struct tg_manager_env env;
  struct tg_managed_shard shards[NEW_SHARD + 1];
  struct tg_redis_link *link;
  struct tg_post_office *office;
  bool is_up;
  struct tg_buf done; /* what was done here, a line a call */
  /* How the default answers. */
  size_t size;      /* with a text of so many bytes, if not 0 */
  const char *code; /* with that error */
  bool is_nil, is_silent;
  tg_manager_reply *waiting; /* of the call that was not answered */
  void *waiting_ctx;
};

struct post_world {
  struct redis_world *redis;
  struct host hosts[HOSTS];
  struct tg_buf replies; /* a line each */
  int replied;
  size_t size; /* of the text in the last reply */
};

/* ---- a host ---- */

static inline void on_up_there(void *ctx, const char *run_id)
{
  struct host *host = ctx;
  (void)run_id;
  host->is_up = true;
  tg_post_up(host->office, host->link);
}

static inline void on_down_there(void *ctx, const struct tg_error *error)
{
  struct host *host = ctx;
  (void)error;
  host->is_up = false;
}

static inline void on_posted_there(void *ctx, const char *word, const char *body, size_t length)
{
  struct host *host = ctx;
  tg_post_heard(host->office, word, body, length);
}

static const struct tg_redis_link_events there = {on_up_there, on_down_there, on_posted_there};

static inline void answer(const struct host *host, tg_manager_reply *reply, void *ctx)
{
  if (host->code) {
    tg_reply_error(reply, ctx, host->code, "it is %s", host->code);
  } else if (host->is_nil) {
    tg_reply_value(reply, ctx, NULL);
  } else if (host->size > 0) {
    char *text = tg_alloc(host->size + 1);
    for (size_t i = 0; i < host->size; i++)
      text[i] = (char)('a' + i % 26);
    memcpy(text, "\xc3\xa4", 2); /* all of it may be cut anywhere */
    text[host->size] = '\0';
    tg_reply_value(reply, ctx, json_string(text));
    free(text);
  } else {
    tg_reply_value(reply, ctx, json_pack("{s:s}", "by", host->name));
  }
}

static inline void do_there(struct host *host, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  char *text = json_dumps(args, JSON_COMPACT);
  tg_buf_printf(&host->done, "%s\n", text);
  free(text);
  host->waiting = reply;
  host->waiting_ctx = ctx;
  if (!host->is_silent)
    answer(host, reply, ctx);
}

/* As the defaults of commands/ do: elsewhere, or here. */
static inline void send_payload_default(void *room, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  struct host *host = room;
  int shard_id = (int)json_integer_value(json_array_get(args, 0));
  tg_ms patience = (tg_ms)json_integer_value(json_array_get(args, 2));
  if (!tg_post_elsewhere(host->office, &host->shards[shard_id], TG_METHOD_manager_send_payload, args,
                         patience ? patience : 10000, reply, ctx))
    do_there(host, args, reply, ctx);
}

static inline void reshard_default(void *room, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  struct host *host = room;
  if (!tg_post_to_leader(host->office, TG_METHOD_manager_reshard, args, 600, reply, ctx))
    do_there(host, args, reply, ctx);
}

static inline void open_host(struct host *host)
{
  char url[200];
  snprintf(url, sizeof url, "redis+unix://%s:geheim@%s", host->name, host->world->path);
  host->link = tg_redis_link_new(&(struct tg_redis_link_options){.loop = &host->world->loop,
                                                                 .url = url,
                                                                 .name = "bot",
                                                                 .host = host->name,
                                                                 .events = &there,
                                                                 .ctx = host},
                                 &host->world->error);
  tg_redis_link_connect(host->link);
}

static inline void let_in(struct host *host, bool may)
{
  char words[80];
  snprintf(words, sizeof words, "ACL SETUSER %s %s >geheim ~* +@all", host->name, may ? "on" : "off");
  expect_ok(host->world, words);
}

static inline void make_host(struct host *host, struct redis_world *world, const char *name)
{
  static const struct tg_default defaults[] = {{TG_METHOD_manager_send_payload, send_payload_default},
                                               {TG_METHOD_manager_reshard, reshard_default}};
  host->name = name;
  host->world = world;
  let_in(host, true);
  host->env = (struct tg_manager_env){.loop = &world->loop, .hooks = &host->hooks, .clustered = true};
  host->env.calls = tg_calls_new(&host->hooks);
  host->office = host->env.post = tg_post_new(&host->env, name);
  tg_calls_offer(host->env.calls, defaults, 2, host);
  for (int i = 0; i <= NEW_SHARD; i++)
    host->shards[i] = (struct tg_managed_shard){.id = i, .ref = i};
  open_host(host);
}

/* Neither hears nor speaks, until it is let in again: its entries wait. */
static inline void stop(struct host *host)
{
  let_in(host, false);
  tg_redis_link_break(host->link, "for a try");
  RUN_UNTIL(host->world, !host->is_up);
}

/* ---- Redis' record ---- */

static inline void beat_as(struct post_world *world, int host)
{
  json_t *body = json_pack("{s:s, s:i, s:i, s:s, s:s, s:i, s:s, s:b, s:b, s:[], s:[]}", "host",
                           world->hosts[host].name, "life", 1, "link", 1, "home", "h", "bot", "1", "total",
                           SHARDS, "digest", "d", "draining", 0, "last", 1, "held", "left");
  int answered = world->redis->answered;
  assert_true(tg_redis_link_ask(world->hosts[host].link, "beat", body, on_answer, world->redis));
  RUN_UNTIL(world->redis, world->redis->answered > answered);
}

/* From now on that host has the shard; NULL: nobody. */
static inline void give(struct post_world *world, int shard, const char *host)
{
  char lease[80];
  double now = strtod(command(world->redis, "HGET tidegate:{bot}:c now"), NULL);
  struct tg_buf *out = tg_redis_out(world->redis->other);
  snprintf(lease, sizeof lease, "7 %.0f 0 %s", now + 1e6, host ? host : "");
  tg_resp_begin(out, host ? 4 : 3);
  tg_resp_string(out, host ? "HSET" : "HDEL");
  tg_resp_string(out, "tidegate:{bot}:lease");
  tg_resp_number(out, shard);
  if (host)
    tg_resp_string(out, lease);
  wait_for_other(world->redis);
}

/* From now on that host leads; NULL: nobody. */
static inline void let_lead(struct post_world *world, const char *host)
{
  char words[100];
  double now = strtod(command(world->redis, "HGET tidegate:{bot}:c now"), NULL);
  snprintf(words, sizeof words, "HSET tidegate:{bot}:c leader %s leader_till %.0f", host ? host : "a",
           host ? now + 1e6 : 0);
  command(world->redis, words);
}

static inline void may_begin(struct post_world *world, const char *id)
{
  command(world->redis, "PING");
  struct tg_buf *out = tg_redis_out(world->redis->other);
  tg_resp_begin(out, 4);
  tg_resp_string(out, "HSET");
  tg_resp_string(out, "tidegate:{bot}:calls");
  tg_resp_string(out, id);
  tg_resp_string(out, "99999999999999 0");
  wait_for_other(world->redis);
}

/* ---- the world ---- */

static inline int setup(void **state)
{
  struct post_world *world = calloc(1, sizeof *world);
  static const char *const names[] = {"a", "b", "c"};
  void *redis;
  world_setup(&redis);
  world->redis = redis;
  command(world->redis, "PING");
  for (int i = 0; i < HOSTS; i++)
    make_host(&world->hosts[i], world->redis, names[i]);
  RUN_UNTIL(world->redis, world->hosts[A].is_up && world->hosts[B].is_up && world->hosts[C].is_up);
  for (int i = 0; i < HOSTS; i++)
    beat_as(world, i);
  for (int i = 0; i < SHARDS; i++) {
    give(world, i, "b");
    world->hosts[B].shards[i].held = true;
  }
  *state = world;
  return 0;
}

static inline int teardown(void **state)
{
  struct post_world *world = *state;
  for (int i = 0; i < HOSTS; i++) {
    struct host *host = &world->hosts[i];
    tg_post_end(host->office);
    if (host->is_silent && host->waiting)
      answer(host, host->waiting, host->waiting_ctx); /* comes too late for the office */
    tg_redis_link_free(host->link);
    tg_post_free(host->office);
    tg_calls_end(host->env.calls);
    tg_calls_free(host->env.calls);
    tg_buf_free(&host->done);
  }
  void *redis = world->redis;
  world_teardown(&redis);
  tg_buf_free(&world->replies);
  free(world);
  return 0;
}

/* ---- asking ---- */

static inline void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  struct post_world *world = ctx;
  world->replied++;
  if (error) {
    tg_buf_printf(&world->replies, "%s: %s\n", error->code, error->message);
    return;
  }
  world->size = json_string_length(value);
  char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : tg_strdup("nil");
  tg_buf_printf(&world->replies, "%.200s\n", text);
  free(text);
}

static inline void ask_of(struct post_world *world, int host, int shard, const char *what, int patience)
{
  json_t *args = json_pack("[i, s, i]", shard, what, patience);
  tg_call(world->hosts[host].env.calls, TG_METHOD_manager_send_payload, args, on_reply, world);
  json_decref(args);
}

static inline void ask_leader(struct post_world *world, int host)
{
  json_t *args = json_pack("[{s:i}]", "to", 8);
  tg_call(world->hosts[host].env.calls, TG_METHOD_manager_reshard, args, on_reply, world);
  json_decref(args);
}

static const char *wait_for_reply(struct post_world *world)
{
  int replied = world->replied;
  RUN_UNTIL(world->redis, world->replied > replied);
  return text_of(&world->replies);
}

#define ASSERT_SAYS(text, words)                                                                             \
  do {                                                                                                       \
    const char *said = (text);                                                                               \
    if (!strstr(said, words))                                                                                \
      fail_msg("\"%s\" does not say \"%s\"", said, words);                                                   \
  } while (0)

/* How many entries wait for a host that was stopped. */
static inline int waiting_for(struct post_world *world, const char *host)
{
  char words[60];
  snprintf(words, sizeof words, "XLEN tidegate:{bot}:cmd:%s", host);
  return atoi(command(world->redis, words));
}

static inline int script_calls(struct post_world *world)
{
  const char *at = strstr(command(world->redis, "INFO commandstats"), "cmdstat_evalsha:calls=");
  assert_non_null(at);
  return atoi(strchr(at, '=') + 1);
}
