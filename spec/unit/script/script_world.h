#pragma once

/* What the tests of the script layer stand on: a script made from text, fakes
 * of the core's functions that scripts call, and the log of a test. */

#include "script/script.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/delivery.h"
#include "delivery/formats/format.h"
#include "delivery/interactions/interaction_facts.h"
#include "manager/manager.h"
#include "net/http.h"
#include "proto/event.h"
#include "proto/event_types.h"
#include "shard/shard.h"
#include "worker/worker.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- fakes ---- */

struct tg_shard {
  int id;
};

static struct {
  char calls[4096]; /* "heartbeat 3;enqueue 7;..." */
  json_t *payload;  /* of the last tg_shard_send() */
  const char *send_error;
  bool shards_gone;
  void (*on_packet)(void); /* what comes of tg_shard_handle_packet() */
  tg_http_done *http_done;
  tg_interaction_answered *answered;
  void *answered_ctx;
  void *http_ctx;
  char http_text[4096]; /* of the last request: "POST url|header|...|body" */
  uint64_t http_cancelled;
  tg_manager_reply *manager_reply; /* of a call that is held back */
  void *manager_ctx;
  bool manager_holds;
  tg_worker_reply *worker_reply;
  void *worker_ctx;
  bool worker_holds;
  void (*slot)(void *ctx, bool allowed);
  void *slot_ctx;
  tg_posted *posted;
  void *posted_ctx;
  void (*drained)(void *ctx);
  void *drained_ctx;
} fake;

static struct tg_shard fake_shards[4] = {{0}, {1}, {2}, {3}};
enum { TOTAL_SHARDS = 4 };

static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
  size_t at = strlen(fake.calls);
  va_list args;
  va_start(args, format);
  vsnprintf(fake.calls + at, sizeof fake.calls - at, format, args);
  va_end(args);
}

int tg_shard_id(const struct tg_shard *shard)
{
  return shard->id;
}
enum tg_shard_state tg_shard_state(const struct tg_shard *shard)
{
  return shard ? TG_SHARD_CONNECTED : 0;
}
const char *tg_shard_state_name(enum tg_shard_state state)
{
  return state ? "Connected" : "Offline";
}
const char *tg_shard_session_id(const struct tg_shard *shard)
{
  return shard->id == 1 ? "session" : "";
}
uint64_t tg_shard_epoch(const struct tg_shard *shard)
{
  return (uint64_t)shard->id + 5;
}
int tg_shard_rtt(const struct tg_shard *shard)
{
  return shard->id == 1 ? 42 : -1;
}
int tg_shard_total(const struct tg_shard *shard)
{
  (void)shard;
  return TOTAL_SHARDS;
}
bool tg_shard_is_open(const struct tg_shard *shard)
{
  return shard->id == 1;
}
int tg_shard_safe_requests(const struct tg_shard *shard)
{
  return 110 + shard->id;
}
bool tg_shard_sequence(const struct tg_shard *shard, uint64_t *sequence)
{
  *sequence = 77;
  return shard->id == 1;
}
void tg_shard_connect(struct tg_shard *shard)
{
  note("connect %d;", shard->id);
}
void tg_shard_identify(struct tg_shard *shard)
{
  note("identify %d;", shard->id);
}
void tg_shard_resume(struct tg_shard *shard)
{
  note("resume %d;", shard->id);
}
void tg_shard_heartbeat(struct tg_shard *shard)
{
  note("heartbeat %d;", shard->id);
}
void tg_shard_stop_heartbeating(struct tg_shard *shard)
{
  note("stop_heartbeating %d;", shard->id);
}
void tg_shard_close(struct tg_shard *shard, int code, const char *reason)
{
  note("close %d %d %s;", shard->id, code, reason);
}
void tg_shard_start_heartbeating(struct tg_shard *shard, tg_ms interval)
{
  note("start_heartbeating %d %d;", shard->id, (int)interval);
}
void tg_shard_handle_packet(struct tg_shard *shard, const char *text, size_t length)
{
  note("handle_packet %d %.*s;", shard->id, (int)length, text);
  if (fake.on_packet)
    fake.on_packet();
}
struct tg_span tg_shard_decompressed(const struct tg_shard *shard)
{
  return shard->id == 1 ? (struct tg_span){"plain", 5} : (struct tg_span){0};
}
bool tg_shard_packet_event(const struct tg_shard *shard, uint64_t *epoch, uint64_t *sequence, uint16_t *type)
{
  *epoch = tg_shard_epoch(shard);
  *sequence = 42;
  *type = TG_EVENT_MESSAGE_CREATE;
  return shard->id == 1;
}
const json_t *tg_shard_presence(const struct tg_shard *shard)
{
  (void)shard;
  return NULL;
}
void tg_shard_request_identify(struct tg_shard *shard, void (*done)(void *ctx, bool allowed), void *ctx)
{
  note("request_identify %d;", shard->id);
  fake.slot = done;
  fake.slot_ctx = ctx;
}
void tg_shard_send(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                   tg_ms timeout, tg_shard_sent *sent, void *ctx)
{
  note("send %d %d %d;", shard->id, (int)priority, (int)timeout);
  json_decref(fake.payload);
  fake.payload = json_deep_copy(payload);
  struct tg_error error = {0};
  if (fake.send_error)
    tg_fail(&error, fake.send_error, "refused by the test");
  sent(ctx, fake.send_error ? &error : NULL);
}

struct tg_shard *tg_worker_shard(struct tg_worker *worker, int shard_id)
{
  return worker && !fake.shards_gone && shard_id >= 0 && shard_id < 4 ? &fake_shards[shard_id] : NULL;
}
struct tg_delivery *tg_worker_delivery(struct tg_worker *worker)
{
  return (struct tg_delivery *)worker;
}
void tg_worker_call_manager(struct tg_worker *worker, enum tg_method method, bool use_default,
                            const json_t *args, tg_worker_reply *reply, void *ctx)
{
  char *text = json_dumps(args, JSON_COMPACT);
  note("call_manager %d%s %s;", worker ? (int)method : -1, use_default ? " default" : "", text);
  free(text);
  if (fake.worker_holds) {
    fake.worker_reply = reply;
    fake.worker_ctx = ctx;
    return;
  }
  reply(ctx, json_array_get(args, 0), NULL);
}

void tg_manager_call_default(struct tg_manager *manager, enum tg_method method, const json_t *args,
                             tg_manager_reply *reply, void *ctx)
{
  char *text = json_dumps(args, JSON_COMPACT);
  note("manager_default %d %s;", manager ? (int)method : -1, text);
  free(text);
  if (fake.manager_holds) {
    fake.manager_reply = reply;
    fake.manager_ctx = ctx;
    return;
  }
  json_t *value = json_integer(100);
  reply(ctx, value, NULL);
  json_decref(value);
}

void tg_worker_broadcast(struct tg_worker *worker, const char *topic, json_t *value)
{
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
  note("worker_broadcast %d %s %s;", worker != NULL, topic, text);
  free(text);
}

void tg_manager_broadcast(struct tg_manager *manager, const char *topic, json_t *value, int from)
{
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
  note("manager_broadcast %d %s %s %d;", manager != NULL, topic, text, from);
  free(text);
}

void tg_worker_set_storm(struct tg_worker *worker, json_t *storm, int generation)
{
  char *text = storm ? json_dumps(storm, JSON_COMPACT | JSON_SORT_KEYS) : strdup("nil");
  note("worker_storm %d %s %d;", worker != NULL, text, generation);
  free(text);
}

void tg_manager_set_storm(struct tg_manager *manager, json_t *storm, int generation)
{
  char *text = storm ? json_dumps(storm, JSON_COMPACT | JSON_SORT_KEYS) : strdup("nil");
  note("manager_storm %d %s %d;", manager != NULL, text, generation);
  free(text);
}

void tg_delivery_enqueue(struct tg_delivery *delivery, const struct tg_event *event)
{
  note("enqueue %d;", delivery ? (int)event->sequence : -1);
}
enum tg_guild_create tg_delivery_guild_create_kind(struct tg_delivery *delivery, const struct tg_event *event)
{
  return delivery && event ? TG_GUILD_JOINED : TG_GUILD_NONE;
}
bool tg_delivery_message_changed(struct tg_delivery *delivery, const struct tg_event *event)
{
  return delivery && event;
}

struct tg_callback *tg_delivery_answer_interaction(struct tg_delivery *delivery,
                                                   const struct tg_interaction_facts *facts,
                                                   tg_interaction_answered *done, void *ctx)
{
  note("answer %llu %.*s %d;", (unsigned long long)facts->id, (int)facts->token.length, facts->token.at,
       facts->type);
  fake.answered = done;
  fake.answered_ctx = ctx;
  return (struct tg_callback *)delivery;
}
void tg_delivery_cancel_answer(struct tg_callback *answer)
{
  note("cancel_answer %d;", answer != NULL);
}

/* Queues: of shard 1, with what a test has put there. */
static struct tg_event fake_waiting[8];
static int fake_waiting_count;

/* There is a sink "stats", whose queue is the bot's. */
bool tg_delivery_has_sink(const struct tg_delivery *delivery, const char *sink)
{
  return delivery && (!sink || strcmp(sink, "stats") == 0);
}
void tg_delivery_queue_figures(struct tg_delivery *delivery, const char *sink, int shard_id,
                               struct tg_queue_figures *figures)
{
  (void)delivery, (void)sink;
  bool any = shard_id == 1 || shard_id == TG_ALL_SHARDS;
  *figures = (struct tg_queue_figures){any ? (uint64_t)fake_waiting_count : 0, any ? 4096 : 0, any ? 1500 : 0};
}
int tg_delivery_queue_next_shard(struct tg_delivery *delivery, const char *sink, int after)
{
  (void)sink;
  return delivery && after < 1 && fake_waiting_count > 0 ? 1 : -1;
}
uint64_t tg_delivery_queue_walk(struct tg_delivery *delivery, const char *sink, int shard_id,
                                tg_queue_visit *visit, void *ctx)
{
  (void)sink;
  uint64_t dropped = 0;
  for (int i = 0; delivery && i < fake_waiting_count; i++) {
    enum tg_queue_verdict verdict = visit(ctx, &fake_waiting[i]);
    if (verdict == TG_QUEUE_STOP)
      break;
    if (verdict == TG_QUEUE_DROP) {
      dropped++;
      note("drop %d of %d;", (int)fake_waiting[i].sequence, shard_id);
    }
  }
  return dropped;
}
uint64_t tg_delivery_queue_drop(struct tg_delivery *delivery, const char *sink, int shard_id, uint64_t count)
{
  (void)sink;
  note("drop the oldest %d of %d;", (int)count, shard_id);
  return delivery ? count : 0;
}
bool tg_delivery_queue_ack(struct tg_delivery *delivery, const char *sink, const struct tg_event *event)
{
  (void)sink;
  note("ack %d;", (int)event->sequence);
  return delivery != NULL;
}
void tg_delivery_queue_overflow(struct tg_delivery *delivery)
{
  note("overflow%s;", delivery ? "" : " nowhere");
}
struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const char *sink,
                                 const struct tg_event *events, int count, tg_posted *done, void *ctx)
{
  note("post %d from %d on%s%s;", count, (int)events[0].sequence, sink ? " to " : "", sink ? sink : "");
  fake.posted = done;
  fake.posted_ctx = ctx;
  return (struct tg_post *)delivery;
}
void tg_delivery_cancel_post(struct tg_post *post)
{
  note("cancel the post%s;", post ? "" : " that is none");
  fake.posted = NULL;
}
bool tg_delivery_drain_queue(struct tg_delivery *delivery, int shard_id, void (*done)(void *ctx), void *ctx)
{
  note("drain %d;", shard_id);
  fake.drained = done;
  fake.drained_ctx = ctx;
  return delivery != NULL;
}
void tg_delivery_forget_drain(struct tg_delivery *delivery, void *ctx)
{
  (void)ctx;
  note("forget the drain%s;", delivery ? "" : " of nobody");
  fake.drained = NULL;
}
void tg_format_write_event(const struct tg_config *of, const struct tg_event *event, struct tg_buf *body)
{
  (void)of;
  tg_buf_printf(body, "body of %d", (int)event->sequence);
}

uint64_t tg_http_start(struct tg_http *http, const struct tg_http_request *request, tg_http_done *done,
                       void *ctx)
{
  size_t at = (size_t)snprintf(fake.http_text, sizeof fake.http_text, "%s %s", request->method, request->url);
  for (const char *const *header = request->headers; header && *header; header++)
    at += (size_t)snprintf(fake.http_text + at, sizeof fake.http_text - at, "|%s", *header);
  snprintf(fake.http_text + at, sizeof fake.http_text - at, "|%.*s", (int)request->body.length,
           request->body.at ? request->body.at : "");
  fake.http_done = done;
  fake.http_ctx = ctx;
  return http ? 9 : 0;
}
void tg_http_cancel(struct tg_http *http, uint64_t id)
{
  fake.http_cancelled = http ? id : 0;
}

static inline void answer_http(long status, const char *body, const char *headers)
{
  struct tg_http_response response = {
      .status = status, .body = {body, strlen(body)}, .retry_after = -1, .headers = headers, .seconds = 0.25};
  tg_http_done *done = fake.http_done;
  fake.http_done = NULL;
  done(fake.http_ctx, &response);
}

/* ---- a script made from text ---- */

static uv_loop_t world_loop;
static char world_directory[64];
static int world_stderr = -1;

static void write_file(const char *name, const char *text)
{
  char path[160];
  snprintf(path, sizeof path, "%s/%s", world_directory, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static int open_world(void **state)
{
  (void)state;
  json_decref(fake.payload);
  memset(&fake, 0, sizeof fake);
  uv_loop_init(&world_loop);
  strcpy(world_directory, "/tmp/tidegate-script-XXXXXX");
  assert_non_null(mkdtemp(world_directory));
  assert_int_equal(chdir(world_directory), 0);
  setenv("DISCORD_TOKEN", "secret-token-of-the-test", 1);
  setenv("INTENTS", "513", 1);
  unsetenv("EVENT_HANDLER_URL");
  fflush(stderr);
  world_stderr = dup(2);
  int log = open("log", O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0600);
  dup2(log, 2);
  close(log);
  tg_log_set_level(TG_DEBUG);
  return 0;
}

/* What was logged since the test began. */
static inline const char *logged(void)
{
  static char text[65536];
  int log = open("log", O_RDONLY);
  ssize_t length = read(log, text, sizeof text - 1);
  close(log);
  text[length > 0 ? length : 0] = '\0';
  return text;
}

static int close_world(void **state)
{
  (void)state;
  while (uv_run(&world_loop, UV_RUN_NOWAIT))
    ;
  int closed = uv_loop_close(&world_loop);
  dup2(world_stderr, 2);
  close(world_stderr);
  json_decref(fake.payload);
  fake.payload = NULL;
  char command[160];
  snprintf(command, sizeof command, "rm -rf %s", world_directory);
  assert_int_equal(chdir("/"), 0);
  assert_int_equal(system(command), 0);
  assert_int_equal(closed, 0); /* no handle is left behind */
  return 0;
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

#define HEAD "local gateway = require 'tidegate'\n"

static inline char *load_problem(enum tg_role role, const char *text)
{
  write_file("bot.lua", text);
  struct tg_script *script = tg_script_new(role, &world_loop, 2);
  char *problem = NULL;
  bool loaded = tg_script_load(script, "bot.lua", &problem);
  tg_script_free(script);
  assert_true(loaded == (problem == NULL));
  return problem;
}

/* Loads a script that is right, and attaches everything to it. */
static inline struct tg_script *load_as(enum tg_role role, const char *text)
{
  write_file("bot.lua", text);
  struct tg_script *script = tg_script_new(role, &world_loop, 2);
  char *problem = NULL;
  if (!tg_script_load(script, "bot.lua", &problem)) {
    dprintf(world_stderr, "%s\n", problem);
    fail();
  }
  tg_script_attach_http(script, (struct tg_http *)&world_loop);
  if (role == TG_ROLE_MANAGER)
    tg_script_attach_manager(script, (struct tg_manager *)&world_loop);
  else
    tg_script_attach_worker(script, (struct tg_worker *)&world_loop);
  tg_script_started(script);
  return script;
}

static inline struct tg_script *load(const char *text)
{
  return load_as(TG_ROLE_WORKER, text);
}

static inline void assert_contains(const char *text, const char *part)
{
  if (text && strstr(text, part))
    return;
  dprintf(world_stderr, "'%s' is not in: %s\n", part, text ? text : "(null)");
  fail();
}

static inline void assert_not_contains(const char *text, const char *part)
{
  if (!strstr(text, part))
    return;
  dprintf(world_stderr, "'%s' is in: %s\n", part, text);
  fail();
}

/* Turns the loop until `condition` holds, at most ten seconds. */
#define TURN_UNTIL(condition)                                                                                \
  do {                                                                                                       \
    for (tg_ms give_up = tg_now() + 10000; !(condition);) {                                                  \
      assert_true(tg_now() < give_up);                                                                       \
      uv_run(&world_loop, UV_RUN_NOWAIT);                                                                    \
    }                                                                                                        \
  } while (0)

/* ---- events ---- */

static inline struct tg_event make_event(const char *name, int shard_id, uint64_t sequence, const char *data)
{
  static char text[8][8192];
  static int next;
  char *at = text[next++ % 8];
  int head = snprintf(at, sizeof text[0], "{\"t\":\"%s\",\"s\":%llu,\"op\":0,\"d\":", name,
                      (unsigned long long)sequence);
  int length = head + snprintf(at + head, sizeof text[0] - (size_t)head, "%s}", data);
  struct tg_event event = {.type = tg_event_type(name, strlen(name)),
                           .shard_id = shard_id,
                           .epoch = 4,
                           .sequence = sequence,
                           .name = {at + 6, strlen(name)},
                           .raw = {at, (size_t)length},
                           .data = {at + head, strlen(data)}};
  return event;
}

/* Hands a dispatch to the handlers, as the delivery does. */
static inline void dispatch(struct tg_script *script, struct tg_event *event)
{
  struct tg_hooks *hooks = tg_script_hooks(script);
  if (hooks->want[event->type] & TG_WANT_HANDLER)
    hooks->dispatch(script, &fake_shards[event->shard_id], event);
  memset((char *)event->raw.at, 'x', event->raw.length); /* the bytes are gone afterwards */
}

static inline enum tg_verdict run_filter(struct tg_script *script, struct tg_event *event)
{
  return tg_script_hooks(script)->filter(script, event);
}
