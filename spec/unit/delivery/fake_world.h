#pragma once

/* Everything around the delivery, under the test's thumb: timers and their
 * clock, chance, the HTTP client, the log, the shard table, the hooks. Each of
 * these takes the place of the real function when the program is linked.
 * Include it once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/log_line.h"
#include "delivery/delivery.h"
#include "delivery/lanes/lane_queue.h"
#include "net/http.h"
#include "proto/envelope.h"
#include "proto/event_types.h"
#include "shard/shard.h"
#include "shared/shard_table.h"
#include "shared/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* --- clock and timers --------------------------------------------------------- */

enum { TIMERS = 256, WALL = 1000000000 };

static uint64_t now;
static double chance = 0.999999; /* the longest delay */
static struct fake_timer {
  uv_timer_t *timer;
  uv_timer_cb callback;
  uint64_t due, repeat;
  bool active;
} timers[TIMERS];
static struct {
  uv_handle_t *handle;
  uv_close_cb callback;
} closing[TIMERS];
static int closing_count;

uint64_t uv_now(const uv_loop_t *loop)
{
  (void)loop;
  return now;
}

static inline struct fake_timer *timer_of(const uv_timer_t *timer)
{
  for (int i = 0; i < TIMERS; i++)
    if (timers[i].timer == timer)
      return &timers[i];
  fail_msg("a timer that was never made");
  return NULL;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
  (void)loop;
  memset(timer, 0, sizeof *timer);
  for (int i = 0; i < TIMERS; i++)
    if (!timers[i].timer) {
      timers[i] = (struct fake_timer){.timer = timer};
      return 0;
    }
  fail_msg("too many timers");
  return -1;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout, uint64_t repeat)
{
  struct fake_timer *fake = timer_of(timer);
  *fake = (struct fake_timer){timer, callback, now + timeout, repeat, true};
  timer->timer_cb = callback;
  return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
  timer_of(timer)->active = false;
  return 0;
}

int uv_is_active(const uv_handle_t *handle) { return timer_of((const uv_timer_t *)handle)->active; }
uint64_t uv_timer_get_due_in(const uv_timer_t *timer)
{
  return timer_of(timer)->due - now;
}
int uv_is_closing(const uv_handle_t *handle)
{
  for (int i = 0; i < closing_count; i++)
    if (closing[i].handle == handle)
      return 1;
  return 0;
}
void uv_unref(uv_handle_t *handle) { (void)handle; }

/* What is to be called once a turn of the loop, by each sink. */
static uv_check_t *turn_ends[TG_SINKS_MAX];

void uv_close(uv_handle_t *handle, uv_close_cb callback)
{
  assert_false(uv_is_closing(handle));
  if (handle->type == UV_UNKNOWN_HANDLE)
    timer_of((uv_timer_t *)handle)->active = false;
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if ((uv_handle_t *)turn_ends[i] == handle)
      turn_ends[i] = NULL;
  closing[closing_count].handle = handle;
  closing[closing_count++].callback = callback;
}

/* The end of a loop's turn. */
static inline void run_closes(void)
{
  while (closing_count > 0) {
    uv_handle_t *handle = closing[--closing_count].handle;
    if (handle->type == UV_UNKNOWN_HANDLE)
      memset(timer_of((uv_timer_t *)handle), 0, sizeof timers[0]);
    closing[closing_count].callback(handle);
  }
}

int uv_prepare_init(uv_loop_t *loop, uv_prepare_t *prepare)
{
  (void)loop;
  memset(prepare, 0, sizeof *prepare);
  prepare->type = UV_PREPARE;
  return 0;
}

int uv_prepare_start(uv_prepare_t *prepare, uv_prepare_cb callback)
{
  prepare->prepare_cb = callback;
  return 0;
}

int uv_check_init(uv_loop_t *loop, uv_check_t *check)
{
  (void)loop;
  memset(check, 0, sizeof *check);
  check->type = UV_CHECK;
  int place = 0;
  while (turn_ends[place])
    place++;
  turn_ends[place] = check;
  return 0;
}

int uv_check_start(uv_check_t *check, uv_check_cb callback)
{
  check->check_cb = callback;
  return 0;
}

static inline void end_turn(void)
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (turn_ends[i])
      turn_ends[i]->check_cb(turn_ends[i]);
}

/* Lets time pass, timer by timer. */
static inline void advance(uint64_t ms)
{
  uint64_t until = now + ms;
  for (;;) {
    struct fake_timer *next = NULL;
    for (int i = 0; i < TIMERS; i++)
      if (timers[i].active && timers[i].due <= until && (!next || timers[i].due < next->due))
        next = &timers[i];
    if (!next)
      break;
    now = next->due > now ? next->due : now;
    next->active = next->repeat > 0;
    next->due = now + next->repeat;
    next->callback(next->timer);
    run_closes();
  }
  now = until;
}

tg_ms tg_now(void) { return (tg_ms)now; }
tg_ms tg_boot_clock(void) { return (tg_ms)now; }
tg_ms tg_wall_clock(void) { return (tg_ms)(WALL + now); }
tg_ms tg_wall_at(tg_ms at) { return at + WALL; }
tg_ms tg_steady_ahead(void) { return WALL; }
tg_ms tg_steady_clock(void) { return (tg_ms)(WALL + now); }
tg_ms tg_patience(tg_ms wait) { return wait; }
uint64_t tg_random(uint64_t below) { return below ? 12345 % below : 0; }
double tg_random_unit(void) { return chance; }
tg_ms tg_backoff(int attempt, tg_ms base, tg_ms cap)
{
  (void)attempt;
  (void)cap;
  return base;
}

/* --- log -------------------------------------------------------------------------- */

static char logged[1 << 16];
static int log_lines[TG_ERROR + 1];

__attribute__((format(printf, 4, 0))) static void note_line(enum tg_log_level level, int shard_id,
                                                            const struct tg_log_field *fields,
                                                            const char *format, va_list args)
{
  char text[2048], message[4096];
  vsnprintf(text, sizeof text, format, args);
  struct tg_log_line line = {level, "test", -1, shard_id, text, fields};
  tg_log_line_message(&line, message, sizeof message);
  log_lines[level]++;
  size_t length = strlen(logged);
  snprintf(logged + length, sizeof logged - length, "[%d] %s\n", shard_id, message);
}

void tg_log(enum tg_log_level level, int shard_id, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  note_line(level, shard_id, TG_WITH(TG_NONE), format, args);
  va_end(args);
}

void tg_log_with(enum tg_log_level level, int shard_id, const struct tg_log_field *fields, const char *format,
                 ...)
{
  va_list args;
  va_start(args, format);
  note_line(level, shard_id, fields, format, args);
  va_end(args);
}

enum tg_log_level tg_log_get_level(void) { return TG_INFO; }

static inline void clear_log(void)
{
  logged[0] = '\0';
  memset(log_lines, 0, sizeof log_lines);
}

/* --- HTTP ------------------------------------------------------------------------- */

enum { POSTS = 4096 };

static struct fake_post {
  char url[128], key[96], authorization[96], content_type[64];
  char *body;
  bool open;
  tg_http_done *done;
  void *ctx;
} posts[POSTS];
static int post_count, open_posts, most_open;

static inline void take_header(char *into, size_t size, const char *line, const char *name)
{
  if (strncmp(line, name, strlen(name)) == 0)
    snprintf(into, size, "%s", line + strlen(name));
}

uint64_t tg_http_start(struct tg_http *http, const struct tg_http_request *request, tg_http_done *done, void *ctx)
{
  (void)http;
  assert_true(post_count < POSTS);
  assert_string_equal(request->method, "POST");
  struct fake_post *post = &posts[post_count++];
  memset(post, 0, sizeof *post);
  snprintf(post->url, sizeof post->url, "%s", request->url);
  for (const char *const *line = request->headers; *line; line++) {
    take_header(post->key, sizeof post->key, *line, "Idempotency-Key: ");
    take_header(post->authorization, sizeof post->authorization, *line, "Authorization: ");
    take_header(post->content_type, sizeof post->content_type, *line, "Content-Type: ");
  }
  post->body = tg_strndup(request->body.at, request->body.length);
  post->done = done;
  post->ctx = ctx;
  post->open = true;
  open_posts++;
  if (open_posts > most_open)
    most_open = open_posts;
  return (uint64_t)post_count;
}

void tg_http_cancel(struct tg_http *http, uint64_t id)
{
  (void)http;
  assert_true(id > 0 && posts[id - 1].open);
  posts[id - 1].open = false;
  open_posts--;
}

static inline void respond(int number, struct tg_http_response response)
{
  struct fake_post *post = &posts[number];
  assert_true(post->open);
  post->open = false;
  open_posts--;
  if (!response.headers)
    response.headers = "";
  if (!response.body.at)
    response.body = (struct tg_span){"", 0};
  post->done(post->ctx, &response);
  run_closes();
}

static inline void answer(int number, long status)
{
  respond(number, (struct tg_http_response){.status = status, .retry_after = -1, .seconds = 0.001});
}

static inline void answer_later(int number, long status, tg_ms retry_after)
{
  respond(number, (struct tg_http_response){.status = status, .retry_after = retry_after, .seconds = 0.001});
}

static inline void fail_with(int number, const char *code)
{
  struct tg_http_response response = {.retry_after = -1};
  tg_fail(&response.error, code, "http://bot: %s", code);
  respond(number, response);
}

/* The last request that was sent; fails when there is not exactly one open. */
static inline int the_open_post(void)
{
  assert_int_equal(open_posts, 1);
  for (int i = post_count - 1; i >= 0; i--)
    if (posts[i].open)
      return i;
  return -1;
}

/* --- shard table, shard, hooks -------------------------------------------------------- */

static struct tg_shard_row rows[16];
static struct tg_shard_row *next_rows; /* as many, of the other set of shards; NULL: there is none */
static uint64_t delivered_without_row; /* of a set that is over */
static int total_shards = 16; /* at most */

struct tg_shard_row *tg_shard_table_row(struct tg_shard_table *table, int shard_id)
{
  return shard_id < 16 ? (struct tg_shard_row *)table + shard_id : NULL;
}

int tg_shard_table_total(const struct tg_shard_table *table)
{
  (void)table;
  return total_shards;
}

bool tg_session_load(struct tg_shard_row *row, struct tg_session *session)
{
  *session =
      (struct tg_session){.epoch = row->session.epoch, .sequence = atomic_load(&row->durable_sequence)};
  snprintf(session->id, sizeof session->id, "%s", row->session.id);
  return session->id[0] != '\0';
}

void tg_session_raise(struct tg_shard_row *row, uint64_t epoch)
{
  row->session.epoch = epoch;
}

void tg_shard_raise_epoch(struct tg_shard *shard, uint64_t epoch)
{
  (void)shard, (void)epoch;
}

static inline uint64_t value(_Atomic uint64_t *counter) { return atomic_load(counter); }

static struct tg_hooks hooks;
static char calls[4096]; /* what the script was asked */

__attribute__((format(printf, 1, 2))) static inline void note_call(const char *format, ...)
{
  size_t length = strlen(calls);
  va_list args;
  va_start(args, format);
  vsnprintf(calls + length, sizeof calls - length, format, args);
  va_end(args);
}

static inline void on_life(struct tg_script *script, enum tg_life what, struct tg_shard *shard, const json_t *details)
{
  static const char *const names[] = {
#define X(name) #name,
      TG_LIFE_EVENTS(X)
#undef X
  };
  (void)script;
  (void)shard;
  char *text = json_dumps(details, JSON_COMPACT | JSON_SORT_KEYS);
  note_call("%s%s;", names[what], text ? text : "");
  free(text);
}

/* --- the delivery ------------------------------------------------------------------------ */

static char *url_items[8];
static char *drop_items[] = {(char *)"TYPING_START", (char *)"PRESENCE_UPDATE"};
static struct tg_config config;
static struct tg_delivery *delivery;
static uint64_t next_sequence[16];
static uint64_t epochs[16];
static char state_dir[] = "/tmp/tidegate-delivery-XXXXXX";

static inline void set_urls(const char *first, const char *second)
{
  url_items[0] = (char *)first;
  url_items[1] = (char *)second;
  config.event_handler.urls = (struct tg_strings){url_items, !!first + !!second};
}

static inline int begin_world(void **state)
{
  (void)state;
  now = 1000;
  chance = 0.999999;
  post_count = open_posts = most_open = 0;
  memset(rows, 0, sizeof rows);
  memset(tg_stats()->sinks, 0, sizeof tg_stats()->sinks);
  next_rows = NULL;
  delivered_without_row = 0;
  memset(&hooks, 0, sizeof hooks);
  memset(timers, 0, sizeof timers);
  memset(next_sequence, 0, sizeof next_sequence);
  closing_count = 0;
  calls[0] = '\0';
  clear_log();
  hooks.life = on_life;
  config = (struct tg_config){
      .intents = 0x8201, .message_updates = TG_UPDATES_CONTENT, .storm = {.self_updates = true}};
  config.event_handler.authorization = (char *)"opensesame";
  config.event_handler.timeout = 10000;
  config.queue.memory_bytes = 64 << 20;
  config.queue.drop_first = (struct tg_strings){drop_items, 2};
  snprintf(state_dir, sizeof state_dir, "/tmp/tidegate-delivery-XXXXXX");
  assert_non_null(mkdtemp(state_dir));
  config.state_dir = state_dir;
  set_urls("http://bot/", NULL);
  struct tg_delivery_options options = {
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  delivery = tg_delivery_new(&options);
  for (int i = 0; i < 16; i++) {
    epochs[i] = 7;
    tg_delivery_new_session(delivery, i, 7);
  }
  return 0;
}

static inline uint64_t of_all_sinks(size_t offset)
{
  uint64_t sum = 0;
  for (int i = 0; i < TG_STATS_SINKS; i++)
    sum += value((_Atomic uint64_t *)((char *)&tg_stats()->sinks[i] + offset));
  return sum;
}

/* What was counted of shards was counted of the sinks, too. */
static inline void assert_sinks_counted(void)
{
  uint64_t delivered = delivered_without_row, retried = 0, dropped = 0, dead = 0;
  for (int i = 0; i < (next_rows ? 32 : 16); i++) {
    struct tg_shard_row *row = i < 16 ? &rows[i] : &next_rows[i - 16];
    delivered += value(&row->delivered);
    retried += value(&row->retried);
    dropped += value(&row->dropped);
    dead += value(&row->dead);
  }
  assert_int_equal(of_all_sinks(offsetof(struct tg_stats_sink, delivered)), delivered);
  assert_int_equal(of_all_sinks(offsetof(struct tg_stats_sink, retried)), retried);
  assert_int_equal(of_all_sinks(offsetof(struct tg_stats_sink, dropped)), dropped);
  assert_int_equal(of_all_sinks(offsetof(struct tg_stats_sink, dead)), dead);
}

static inline int end_world(void **state)
{
  (void)state;
  char path[128];
  assert_sinks_counted();
  tg_delivery_free(delivery);
  run_closes();
  assert_int_equal(open_posts, 0); /* what was in flight was cancelled */
  for (int i = 0; i < TIMERS; i++)
    assert_null(timers[i].timer);
  for (int i = 0; i < post_count; i++)
    free(posts[i].body);
  snprintf(path, sizeof path, "%s/dead.jsonl", state_dir);
  remove(path);
  assert_int_equal(remove(state_dir), 0);
  return 0;
}

/* An event as the shard makes it. */
static inline void make_event(struct tg_event *event, int shard_id, uint64_t sequence, const char *text)
{
  struct tg_envelope envelope;
  assert_true(tg_envelope_scan(text, strlen(text), &envelope));
  *event = (struct tg_event){.type = tg_event_type(envelope.name.at, envelope.name.length),
                             .shard_id = shard_id,
                             .total_shards = total_shards,
                             .epoch = epochs[shard_id],
                             .sequence = sequence,
                             .name = envelope.name,
                             .raw = {text, strlen(text)},
                             .data = envelope.data};
}

static inline void deliver_as(int shard_id, uint64_t sequence, const char *text)
{
  struct tg_event event;
  make_event(&event, shard_id, sequence, text);
  if (sequence > next_sequence[shard_id])
    next_sequence[shard_id] = sequence;
  tg_delivery_event(delivery, NULL, &event);
}

/* The next event of a shard; `data` is d. */
static inline void deliver(int shard_id, const char *name, const char *data)
{
  struct tg_buf text = {0};
  uint64_t sequence = next_sequence[shard_id] + 1;
  tg_buf_printf(&text, "{\"t\":\"%s\",\"s\":%llu,\"op\":0,\"d\":%s}", name, (unsigned long long)sequence, data);
  char *message = tg_buf_take(&text);
  deliver_as(shard_id, sequence, message);
  free(message);
}
