#pragma once

/* A manager with workers that are played by the test program itself: the
 * manager starts its own binary again, which is the test, and main() hands over
 * to play_worker(). What the workers do is written to a journal in the state
 * directory, a word and a shard a line.
 *
 * The "script" names how they behave:
 *   plain      as a worker should
 *   refuse     exits with 78, as with a script that does not load
 *   fatal      Discord closes shard 1 with the code in TG_TEST_CODE
 *   unused     gives the first grant of each shard back
 *   stuck      does not answer STOP */

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/manager.h"
#include "shared/poison.h"
#include "shared/shard_table.h"
#include "shared/stats.h"
#include "worker/messages.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST_TOKEN "a.test.token"
enum { TEST_INTENTS = 2, PATIENCE = 15000, MAX_TEST_SHARDS = 16 };

static inline void write_journal(const char *word, int shard_id)
{
  char path[PATH_MAX], line[64];
  snprintf(path, sizeof path, "%s/journal", getenv("TG_TEST_DIR"));
  int length = snprintf(line, sizeof line, "%s %d\n", word, shard_id);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0 || write(fd, line, (size_t)length) != length)
    abort();
  close(fd);
}

static inline bool marked(const char *name)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", getenv("TG_TEST_DIR"), name);
  return access(path, F_OK) == 0;
}

static inline bool take_mark(const char *name)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", getenv("TG_TEST_DIR"), name);
  return unlink(path) == 0;
}

/* ---- the worker ---- */

static struct {
  uv_loop_t loop;
  struct tg_ipc *ipc;
  struct tg_shard_table *table;
  const char *script;
  int id;
  int grants[MAX_TEST_SHARDS];
} played;

static inline void play_ready(int shard_id, bool resumed)
{
  struct tg_shard_row *row = tg_shard_table_row(played.table, shard_id);
  struct tg_session session = {.epoch = 1, .sequence = 5};
  snprintf(session.id, sizeof session.id, "session-%d", shard_id);
  tg_session_store(row, &session);
  atomic_store(&row->state, TG_SHARD_CONNECTED);
  write_journal(resumed ? "resume" : "ready", shard_id);
}

static inline void play_start(int shard_id)
{
  struct tg_session session;
  if (strcmp(played.script, "fatal") == 0 && shard_id == 1)
    tg_say(played.ipc, shard_fatal, .ref = shard_id, .code = atoi(getenv("TG_TEST_CODE")));
  else if (tg_session_load(tg_shard_table_row(played.table, shard_id), &session))
    play_ready(shard_id, true);
  else
    tg_say(played.ipc, request_identify, .ref = shard_id);
}

static inline void play_identify(int shard_id, tg_ms deadline)
{
  if (deadline <= tg_now() || deadline > tg_now() + 400)
    abort();
  if (strcmp(played.script, "unused") == 0 && played.grants[shard_id]++ == 0) {
    write_journal("unused", shard_id);
    tg_say(played.ipc, identify_unused, .ref = shard_id);
    tg_say(played.ipc, request_identify, .ref = shard_id);
    return;
  }
  write_journal("identify", shard_id);
  tg_say(played.ipc, identify_sent, .ref = shard_id);
  play_ready(shard_id, false);
  tg_say(played.ipc, identify_done, .ref = shard_id, .result = "ready");
}

/* Op 8: each id comes back as a member, two chunks a request, the first one twice. */
static inline void limit_members(int shard_id, json_t *data)
{
  tg_say(played.ipc, members_limited, .ref = shard_id, .data = data);
  json_decref(data);
}

static inline void play_members(const struct tg_message_shard_payload *payload)
{
  const json_t *d = json_object_get(payload->data, "d"), *ids = json_object_get(d, "user_ids");
  write_journal("members", (int)json_array_size(ids));
  if (payload->forward_until <= 0)
    abort();
  if (marked("mute")) {
    write_journal(json_string_value(json_object_get(d, "nonce")), 8);
    return;
  }
  if (take_mark("limited")) {
    limit_members(payload->ref, json_pack("{s:f, s:i, s:{s:O}}", "retry_after", 0.2, "opcode", 8, "meta",
                                               "nonce", json_object_get(d, "nonce")));
    return;
  }
  if (take_mark("limited without nonce")) {
    limit_members(payload->ref, json_pack("{s:f, s:i, s:{s:O}}", "retry_after", 30.0, "opcode", 8, "meta",
                                               "guild_id", json_object_get(d, "guild_id")));
    return;
  }
  for (int i = 0; i < 3; i++) {
    int index = i == 0 ? 1 : 0;
    json_t *members = json_array();
    for (size_t k = (size_t)index; k < json_array_size(ids); k += 2)
      json_array_append_new(members, json_pack("{s:O}", "id", json_array_get(ids, k)));
    json_t *data = json_pack("{s:o, s:i, s:i, s:O, s:[s]}", "members", members, "chunk_index", index,
                             "chunk_count", 2, "nonce", json_object_get(d, "nonce"), "not_found", "9");
    tg_say(played.ipc, members_chunk, .ref = payload->ref, .data = data);
    json_decref(data);
  }
}

static inline void play_payload(const struct tg_message *message)
{
  const struct tg_message_shard_payload *payload = &message->shard_payload;
  int op = (int)json_integer_value(json_object_get(payload->data, "op"));
  if (take_mark("die") || marked("deadly"))
    raise(SIGSEGV);
  if (take_mark("hang")) {
    for (;;)
      pause();
  }
  write_journal("payload", op);
  tg_ipc_answer(played.ipc, message->nonce, json_true(), NULL);
  if (op == 8)
    play_members(payload);
}

static inline void play_reload(const struct tg_message *message)
{
  bool broken = message->type == TG_MESSAGE_prepare_reload && marked("broken") && played.id == 1;
  write_journal(tg_message_name(message->type), played.id);
  tg_ipc_answer(played.ipc, message->nonce,
                broken ? json_pack("{s:s}", "problem", "bot.lua:3: boom\nstack traceback") : json_true(),
                NULL);
}

static inline void play_stop(bool keep_sessions)
{
  if (strcmp(played.script, "stuck") == 0)
    return;
  write_journal(keep_sessions ? "keep" : "end", played.id);
  tg_say(played.ipc, stopped);
  uv_run(&played.loop, UV_RUN_NOWAIT);
  _exit(0);
}

static inline void play_kill(const struct tg_message *message)
{
  int shard_id = message->kill_shard.ref;
  atomic_store(&tg_shard_table_row(played.table, shard_id)->state, TG_SHARD_OFFLINE);
  write_journal("kill", shard_id);
  tg_ipc_answer(played.ipc, message->nonce, json_true(), NULL);
}

static inline void play_begin(const struct tg_message_start *start)
{
  struct tg_error error;
  uint64_t bot = tg_identity_bot(TEST_TOKEN, TEST_INTENTS);
  played.table = tg_shard_table_open(getenv("TG_TEST_DIR"), 0, start->total_shards,
                                     tg_identity(bot, start->total_shards), 0, &error);
  if (!played.table)
    abort();
  tg_say(played.ipc, hello, .generation = start->generation);
}

static inline void play_message(void *ctx, const char *type, const json_t *json)
{
  (void)ctx;
  struct tg_message message;
  struct tg_error error;
  if (!tg_message_read(type, json, &message, &error))
    abort();
  switch (message.type) {
  case TG_MESSAGE_start:
    play_begin(&message.start);
    break;
  case TG_MESSAGE_identify_shard:
    play_start(message.identify_shard.ref);
    break;
  case TG_MESSAGE_allow_identify:
    play_identify(message.allow_identify.ref, message.allow_identify.deadline);
    break;
  case TG_MESSAGE_shard_payload:
    play_payload(&message);
    break;
  case TG_MESSAGE_set_presence:
    write_journal(message.set_presence.presence ? "presence" : "no-presence",
                  message.set_presence.ref);
    tg_ipc_answer(played.ipc, message.nonce, json_true(), NULL);
    break;
  case TG_MESSAGE_kill_shard:
    play_kill(&message);
    break;
  case TG_MESSAGE_prepare_reload:
  case TG_MESSAGE_commit_reload:
  case TG_MESSAGE_abort_reload:
    play_reload(&message);
    break;
  case TG_MESSAGE_stop:
    play_stop(message.stop.keep_sessions);
    break;
  default:
    break;
  }
}

static inline void play_end(void *ctx)
{
  (void)ctx;
  _exit(1); /* the manager is gone */
}

static inline void play_alive(uv_timer_t *timer)
{
  (void)timer;
  tg_say(played.ipc, still_alive);
}

static inline int play_worker_with(const struct tg_ipc_callbacks *callbacks, int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  struct tg_error error;
  if (argc != 12 || strcmp(argv[2], "--id") != 0 || strcmp(argv[4], "--fd") != 0 ||
      strcmp(argv[6], "--stats") != 0 || strcmp(argv[8], "--poison") != 0 || strcmp(argv[10], "--") != 0 ||
      !tg_stats_attach(atoi(argv[7]), &error) || !tg_poison_attach(atoi(argv[9]), atoi(argv[3]), &error))
    return 3;
  played.id = atoi(argv[3]);
  played.script = argv[11];
  if (strcmp(played.script, "refuse") == 0)
    return 78;
  uv_loop_init(&played.loop);
  played.ipc = tg_ipc_new(&played.loop, atoi(argv[5]), callbacks, NULL);
  uv_timer_t alive;
  uv_timer_init(&played.loop, &alive);
  uv_timer_start(&alive, play_alive, 0, 100);
  uv_run(&played.loop, UV_RUN_DEFAULT);
  return 0;
}

static inline int play_worker(int argc, char **argv)
{
  static const struct tg_ipc_callbacks callbacks = {play_message, play_end};
  return play_worker_with(&callbacks, argc, argv);
}

/* ---- the manager ---- */

static struct {
  uv_loop_t loop;
  uv_timer_t tick;
  char dir[64];
  struct tg_config config;
  struct tg_config next_config; /* after a reload; zeroed: stays the same */
  struct tg_hooks hooks;
  struct tg_manager *manager;
  int exits, exit_code;
  int prepared, committed, aborted, generation; /* of the manager's own script */
  bool own_script_broken;
} fixture;

struct reply {
  int count;
  json_t *value;
  struct tg_error error;
};

static inline void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  struct reply *reply = ctx;
  reply->count++;
  reply->value = json_incref(value);
  if (error)
    reply->error = *error;
}

static inline void on_exit_code(void *ctx, int exit_code)
{
  (void)ctx;
  fixture.exits++;
  fixture.exit_code = exit_code;
}

static inline bool on_prepare(void *ctx, char **problem)
{
  (void)ctx;
  fixture.prepared++;
  if (fixture.own_script_broken)
    *problem = tg_strdup("bot.lua:1: no");
  return !fixture.own_script_broken;
}

static inline void on_commit(void *ctx, int generation)
{
  (void)ctx;
  fixture.committed++;
  fixture.generation = generation;
  if (fixture.next_config.token)
    tg_manager_reconfigure(fixture.manager, &fixture.next_config);
}

static inline void on_abort(void *ctx)
{
  (void)ctx;
  fixture.aborted++;
}

static inline void on_tick(uv_timer_t *timer)
{
  (void)timer;
}

/* Turns the loop until the condition holds; fails after PATIENCE. */
#define wait_for(condition)                                                                                  \
  do {                                                                                                       \
    tg_ms deadline_ = tg_now() + PATIENCE;                                                                   \
    while (!(condition) && tg_now() < deadline_)                                                             \
      uv_run(&fixture.loop, UV_RUN_ONCE);                                                                    \
    assert_true(condition);                                                                                  \
  } while (0)

/* How often the workers wrote this line; shard_id -1: any. */
static inline int journal_count(const char *word, int shard_id)
{
  char path[PATH_MAX], seen[32];
  int count = 0, id;
  snprintf(path, sizeof path, "%s/journal", fixture.dir);
  FILE *file = fopen(path, "r");
  while (file && fscanf(file, "%31s %d", seen, &id) == 2)
    count += strcmp(seen, word) == 0 && (shard_id < 0 || id == shard_id);
  if (file)
    fclose(file);
  return count;
}

static inline void mark(const char *name, bool on)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", fixture.dir, name);
  if (on)
    close(open(path, O_WRONLY | O_CREAT, 0600));
  else
    unlink(path);
}

static inline struct reply call(enum tg_method method, json_t *args)
{
  struct reply reply = {0};
  tg_manager_call(fixture.manager, method, args, on_reply, &reply);
  json_decref(args);
  wait_for(reply.count == 1);
  return reply;
}

/* Arguments of send_payload. */
static inline json_t *some_payload(int shard_id)
{
  return json_pack("[i, {s:i, s:{s:[s]}}]", shard_id, "op", 31, "d", "guild_ids", "820588789004115970");
}

/* Four shards in two workers, all buckets free, quick spacing. */
static inline int set_up(void **state)
{
  (void)state;
  memset(&fixture, 0, sizeof fixture);
  strcpy(fixture.dir, "/tmp/tidegate-manager-XXXXXX");
  if (!mkdtemp(fixture.dir))
    return -1;
  setenv("TG_TEST_DIR", fixture.dir, 1);
  uv_loop_init(&fixture.loop);
  uv_timer_init(&fixture.loop, &fixture.tick); /* so that the loop never waits for good */
  uv_timer_start(&fixture.tick, on_tick, 10, 10);
  static char token[] = TEST_TOKEN, url[] = "wss://gateway.test", rest[] = "http://127.0.0.1:1",
              secret[] = "Bot x";
  struct tg_config *config = &fixture.config;
  config->token = token;
  config->intents = TEST_INTENTS;
  config->rest.url = rest;
  config->rest.authorization = secret;
  config->gateway_bot.url = url;
  config->gateway_bot.shards = 4;
  config->gateway_bot.max_concurrency = 4;
  config->last_shard_id = -1;
  config->shards_per_worker = 2;
  config->total_workers = 2;
  config->spawn_shard_delay = 300;
  config->resharding.identify_reserve = 10;
  config->script.kill_after = 1000;
  config->script.load_budget = 500;
  config->state_dir = fixture.dir;
  return 0;
}

static inline struct tg_manager *make_manager(const char *script, struct tg_error *error)
{
  struct tg_manager_options options = {
      .loop = &fixture.loop,
      .config = &fixture.config,
      .hooks = &fixture.hooks,
      .reload = {.prepare = on_prepare, .commit = on_commit, .abort = on_abort},
      .script_path = script,
      .on_exit = on_exit_code,
  };
  return tg_manager_new(&options, error);
}

static inline void begin(const char *script)
{
  fixture.exits = 0;
  fixture.manager = make_manager(script, NULL);
  assert_non_null(fixture.manager);
  tg_manager_start(fixture.manager);
}

static inline void end(void)
{
  tg_manager_free(fixture.manager);
  fixture.manager = NULL;
}

static inline void stop(bool keep)
{
  tg_manager_stop(fixture.manager, keep, 0);
  wait_for(fixture.exits == 1);
  end();
}

static inline int shards_up(void)
{
  int up = 0;
  struct reply reply = call(TG_METHOD_manager_get_shard_info, NULL);
  for (size_t i = 0; i < json_array_size(reply.value); i++)
    up +=
        strcmp(json_string_value(json_object_get(json_array_get(reply.value, i), "state")), "Connected") == 0;
  json_decref(reply.value);
  return up;
}

static inline int tear_down(void **state)
{
  (void)state;
  if (fixture.manager)
    end();
  uv_close((uv_handle_t *)&fixture.tick, NULL);
  uv_run(&fixture.loop, UV_RUN_DEFAULT);
  static const char *const files[] = {"journal", "lock", "shards", "shards.1", "identify.json",
                                      "gateway_bot.json",
                                      "die",     "hang", "broken", "limited",       "mute"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    mark(files[i], false);
  rmdir(fixture.dir);
  return uv_loop_close(&fixture.loop);
}

#define MANAGER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
