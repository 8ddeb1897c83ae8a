#include "net/redis.h"

#include "base/timer.h"
#include "net/redis_dial.h"
#include "net/redis_refusal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_KEPT = 256 * 1024, LEAST_MAJOR = 7 };

/* Commands that were sent together. */
struct redis_batch {
  struct redis_batch *next;
  int count, come; /* replies */
  struct tg_redis_reply *replies;
  tg_ms sent_at;
  tg_redis_replied *done; /* NULL: not wanted any more */
  void *ctx;
};

/* ENDING: those whose batches are under way are being told. */
enum redis_state { REDIS_DOWN, REDIS_DIALING, REDIS_GREETING, REDIS_UP, REDIS_ENDING, REDIS_CLOSED };

struct tg_redis {
  struct tg_redis_options options; /* without its texts */
  struct tg_redis_url url;
  struct tg_tls *tls;
  enum redis_state state;
  struct tg_address_memory memory;
  struct tg_address address; /* where the stream leads */
  struct tg_redis_dial *dial;
  struct tg_stream *stream;
  struct tg_resp_reader *reader;
  struct tg_buf out;
  struct redis_batch *first, **last;
  uv_timer_t timer; /* of the attempt, then of replies */
  tg_ms due;        /* of the attempt */
  tg_ms heard_at;   /* the last reply */
  bool second_look; /* the time is over, but what has come meanwhile is not read yet */
};

struct tg_redis *tg_redis_new(const struct tg_redis_options *options, struct tg_error *error)
{
  struct tg_redis_url url;
  struct tg_tls *tls = NULL;
  if (!tg_redis_url_parse(options->url, &url, error) ||
      (url.tls && !(tls = tg_tls_client(options->ca_file, error))))
    return tg_redis_url_free(&url), NULL;
  struct tg_redis *redis = tg_calloc(1, sizeof *redis);
  redis->options = *options;
  redis->options.url = redis->options.ca_file = NULL;
  redis->url = url;
  redis->tls = tls;
  redis->last = &redis->first;
  uv_timer_init(options->loop, &redis->timer);
  redis->timer.data = redis;
  return redis;
}

bool tg_redis_is_up(const struct tg_redis *redis)
{
  return redis->state == REDIS_UP;
}

const char *tg_redis_name(const struct tg_redis *redis)
{
  return redis->url.name;
}

struct tg_buf *tg_redis_out(struct tg_redis *redis)
{
  return &redis->out;
}

void tg_redis_explain(const struct tg_redis *redis, const struct tg_redis_reply *refusal,
                      struct tg_error *error)
{
  tg_redis_refusal(redis->url.name, refusal->text, error);
}

/* ---- the end ---- */

static struct redis_batch *take_batch(struct tg_redis *redis)
{
  struct redis_batch *batch = redis->first;
  redis->first = batch->next;
  if (!redis->first)
    redis->last = &redis->first;
  return batch;
}

static void disconnect(struct tg_redis *redis)
{
  uv_timer_stop(&redis->timer);
  tg_redis_dial_free(redis->dial);
  redis->dial = NULL;
  tg_stream_close(redis->stream, TG_STREAM_FIN);
  redis->stream = NULL;
  tg_buf_reset(&redis->out, 0);
}

static void end(struct tg_redis *redis, const struct tg_error *why)
{
  struct tg_error error = *why;
  redis->state = REDIS_ENDING;
  disconnect(redis);
  while (redis->state == REDIS_ENDING && redis->first) {
    struct redis_batch *batch = take_batch(redis);
    if (batch->done)
      batch->done(batch->ctx, NULL, 0, &error);
    free(batch);
  }
  if (redis->state != REDIS_ENDING)
    return; /* closed meanwhile */
  tg_resp_reader_free(redis->reader);
  redis->reader = NULL;
  redis->state = REDIS_DOWN;
  redis->options.on_down(redis->options.ctx, &error);
}

void tg_redis_drop(struct tg_redis *redis, const char *why)
{
  struct tg_error error;
  if (redis->state != REDIS_UP)
    return;
  tg_fail(&error, "closed", "Redis at %.400s: the connection is ended, as %s", redis->url.name, why);
  end(redis, &error);
}

static void on_closed(uv_handle_t *handle)
{
  struct tg_redis *redis = handle->data;
  tg_resp_reader_free(redis->reader); /* a callback that closes may still hold what it has read */
  tg_redis_url_free(&redis->url);
  tg_tls_free(redis->tls);
  tg_buf_free(&redis->out);
  free(redis);
}

void tg_redis_close(struct tg_redis *redis)
{
  if (!redis)
    return;
  redis->state = REDIS_CLOSED;
  disconnect(redis);
  while (redis->first)
    free(take_batch(redis));
  uv_close((uv_handle_t *)&redis->timer, on_closed);
}

/* ---- deadlines ---- */

/* Whoever says nothing at all may wait for TLS. */
static const char *is_it_one(const struct tg_redis *redis)
{
  return redis->url.tls || redis->url.path
             ? " (is it a Redis?)"
             : " (is it a Redis? The URL of a port with TLS begins with rediss://)";
}

static void explain_lateness(const struct tg_redis *redis, struct tg_error *error)
{
  char what[700];
  if (redis->dial) {
    tg_redis_dial_progress(redis->dial, what, sizeof what);
    tg_fail(error, "timeout", "%s, after %lld ms", what, (long long)redis->options.connect_timeout);
  } else if (redis->state == REDIS_GREETING) {
    tg_fail(error, "timeout", "Redis at %.400s takes the connection, but does not answer for %lld ms%s",
            redis->url.name, (long long)redis->options.connect_timeout, is_it_one(redis));
  } else {
    tg_fail(error, "timeout", "Redis at %.400s does not answer for %lld ms", redis->url.name,
            (long long)redis->options.reply_timeout);
  }
}

static void watch_time(struct tg_redis *redis);

/* After a long turn of the loop timers come before sockets: what has come meanwhile is read first. A timer
 * of no time at all would come before them, too. */
static void on_timer(uv_timer_t *timer)
{
  struct tg_redis *redis = timer->data;
  struct tg_error error;
  if (!redis->second_look) {
    redis->second_look = true;
    tg_timer_start(timer, on_timer, 1);
    return;
  }
  explain_lateness(redis, &error);
  if (redis->state == REDIS_GREETING)
    tg_address_failed(&redis->memory, &redis->address, tg_now());
  end(redis, &error);
}

static void watch_time(struct tg_redis *redis)
{
  tg_ms due = redis->due;
  redis->second_look = false;
  if (redis->state == REDIS_UP) {
    if (!redis->first || redis->options.reply_timeout == 0) {
      uv_timer_stop(&redis->timer);
      return;
    }
    tg_ms since = redis->first->sent_at > redis->heard_at ? redis->first->sent_at : redis->heard_at;
    due = since + redis->options.reply_timeout;
  }
  tg_timer_start(&redis->timer, on_timer, due - tg_now());
}

/* ---- replies ---- */

/* "ERR Protocol error: invalid bulk length": Redis says so once, and nothing behind it. */
static bool is_last_word(const struct tg_redis_reply *reply)
{
  static const char words[] = "ERR Protocol error";
  return reply->kind == TG_REDIS_ERROR && reply->text.length >= sizeof words - 1 &&
         memcmp(reply->text.at, words, sizeof words - 1) == 0;
}

/* False: the connection has ended, or was closed. */
static bool take_reply(struct tg_redis *redis, const struct tg_redis_reply *reply)
{
  struct redis_batch *batch = redis->first;
  struct tg_resp_reader *reader = redis->reader;
  struct tg_error error;
  if (!batch) {
    tg_fail(&error, "protocol", "Redis at %.400s sends what nobody has asked for", redis->url.name);
    end(redis, &error);
    return false;
  }
  if (!batch->replies)
    batch->replies = tg_resp_room(reader, (size_t)batch->count);
  do
    batch->replies[batch->come++] = *reply;
  while (batch->come < batch->count && is_last_word(reply));
  if (batch->come < batch->count)
    return true;
  take_batch(redis);
  if (batch->done)
    batch->done(batch->ctx, batch->replies, batch->count, NULL);
  free(batch);
  if (redis->reader != reader || !redis->stream)
    return false;
  tg_resp_reset(reader);
  return true;
}

static void on_data(void *ctx, const char *bytes, size_t length)
{
  struct tg_redis *redis = ctx;
  struct tg_redis_reply reply;
  struct tg_error error, why;
  int next = tg_resp_feed(redis->reader, bytes, length, &why) ? 0 : -1;
  bool heard = false;
  while (next >= 0 && (next = tg_resp_next(redis->reader, &reply, &why)) > 0) {
    heard = true;
    if (!take_reply(redis, &reply))
      return;
  }
  if (next < 0) {
    tg_fail(&error, why.code, "Redis at %.400s: %.900s", redis->url.name, why.message);
    end(redis, &error);
  } else if (heard) {
    redis->heard_at = tg_now();
    watch_time(redis);
  }
}

static void on_end(void *ctx, const struct tg_error *why)
{
  struct tg_redis *redis = ctx;
  struct tg_error error;
  const struct redis_batch *batch = redis->first;
  const char *code = strcmp(why->code, "tls") == 0 ? "tls" : "closed";
  if (redis->state != REDIS_GREETING)
    tg_fail(&error, code, "%s", why->message);
  else if (batch->come > 0 && batch->replies[0].kind == TG_REDIS_ERROR)
    tg_redis_explain(redis, &batch->replies[0], &error); /* it has said why, and hung up */
  else
    tg_fail(&error, code, "%s before it answered%s", why->message, is_it_one(redis));
  end(redis, &error);
}

/* ---- the way up ---- */

static const struct tg_redis_reply *member(const struct tg_redis_reply *map, const char *name)
{
  for (size_t i = 0; i + 1 < map->count; i += 2)
    if (map->items[i].text.length == strlen(name) && memcmp(map->items[i].text.at, name, strlen(name)) == 0)
      return &map->items[i + 1];
  return NULL;
}

/* What cannot be read as a version is somebody's who calls itself otherwise. */
static int major_of(const struct tg_redis_reply *version)
{
  char digits[8] = "";
  if (version && version->kind == TG_REDIS_TEXT && version->text.length > 0)
    snprintf(digits, sizeof digits, "%.*s", (int)(version->text.length < 7 ? version->text.length : 7),
             version->text.at);
  return digits[0] >= '0' && digits[0] <= '9' ? atoi(digits) : LEAST_MAJOR;
}

static void explain_age(const struct tg_redis *redis, const struct tg_redis_reply *version,
                        struct tg_error *error)
{
  char text[32] = "";
  if (version)
    snprintf(text, sizeof text, ", version %.*s",
             (int)(version->text.length < 20 ? version->text.length : 20), version->text.at);
  tg_fail(error, "old", "Redis at %.400s is too old%s: 7.0 or later is needed", redis->url.name, text);
}

/* Who does not know HELLO is of a time before it. */
static bool is_ancient(const struct tg_redis_reply *hello)
{
  return hello->kind == TG_REDIS_ERROR && memmem(hello->text.at, hello->text.length, "unknown command", 15);
}

/* The answers to HELLO and, for another database than 0, to SELECT. */
static void on_greeted(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *gone)
{
  struct tg_redis *redis = ctx;
  struct tg_error error;
  if (gone)
    return; /* on_down tells */
  const struct tg_redis_reply *hello = &replies[0], *last = &replies[count - 1], *version = NULL;
  if (hello->kind == TG_REDIS_ARRAY)
    version = member(hello, "version");
  if (is_ancient(hello) || (version && major_of(version) < LEAST_MAJOR)) {
    explain_age(redis, version, &error);
  } else if (hello->kind == TG_REDIS_ERROR || last->kind == TG_REDIS_ERROR) {
    tg_redis_explain(redis, hello->kind == TG_REDIS_ERROR ? hello : last, &error);
  } else if (!version) {
    tg_fail(&error, "protocol", "Redis at %.400s does not answer HELLO as Redis does", redis->url.name);
  } else {
    redis->state = REDIS_UP;
    redis->options.on_up(redis->options.ctx);
    return;
  }
  end(redis, &error);
}

static void send_batch(struct tg_redis *redis, int replies, tg_redis_replied *done, void *ctx)
{
  struct redis_batch *batch = tg_calloc(1, sizeof *batch);
  *batch = (struct redis_batch){.count = replies, .sent_at = tg_now(), .done = done, .ctx = ctx};
  *redis->last = batch;
  redis->last = &batch->next;
  tg_stream_write(redis->stream, redis->out.data, redis->out.length);
  tg_buf_reset(&redis->out, OUT_KEPT);
}

/* HELLO, and the login in it, is allowed to every user. */
static void greet(struct tg_redis *redis)
{
  const struct tg_redis_url *url = &redis->url;
  struct tg_buf *out = &redis->out;
  bool login = url->user || url->password;
  tg_buf_reset(out, OUT_KEPT);
  tg_resp_begin(out, login ? 7 : 4);
  tg_resp_string(out, "HELLO");
  tg_resp_string(out, "2");
  if (login) {
    tg_resp_string(out, "AUTH");
    tg_resp_string(out, url->user ? url->user : "default");
    tg_resp_string(out, url->password ? url->password : "");
  }
  tg_resp_string(out, "SETNAME");
  tg_resp_string(out, "tidegate");
  if (url->database) {
    tg_resp_begin(out, 2);
    tg_resp_string(out, "SELECT");
    tg_resp_number(out, url->database);
  }
  send_batch(redis, url->database ? 2 : 1, on_greeted, redis);
}

static void on_dialed(void *ctx, struct tg_stream *stream, const struct tg_address *address)
{
  static const struct tg_stream_callbacks callbacks = {.on_data = on_data, .on_end = on_end};
  struct tg_redis *redis = ctx;
  tg_redis_dial_free(redis->dial);
  redis->dial = NULL;
  redis->stream = stream;
  redis->address = *address;
  redis->reader = tg_resp_reader_new();
  redis->state = REDIS_GREETING;
  tg_stream_hand_over(stream, &callbacks, redis);
  greet(redis);
}

static void on_lost(void *ctx, const struct tg_error *error)
{
  end(ctx, error);
}

void tg_redis_connect(struct tg_redis *redis)
{
  static const struct tg_redis_dial_callbacks callbacks = {.on_open = on_dialed, .on_end = on_lost};
  if (redis->state != REDIS_DOWN)
    return;
  redis->state = REDIS_DIALING;
  redis->due = tg_now() + redis->options.connect_timeout;
  redis->dial =
      tg_redis_dial_begin(redis->options.loop, &redis->url, redis->tls, &redis->memory, &callbacks, redis);
  watch_time(redis);
}

/* ---- commands ---- */

void tg_redis_send(struct tg_redis *redis, int replies, tg_redis_replied *done, void *ctx)
{
  if (redis->state != REDIS_UP) {
    tg_buf_reset(&redis->out, 0);
    return;
  }
  bool waits = redis->first != NULL;
  send_batch(redis, replies, done, ctx);
  if (!waits)
    watch_time(redis);
}

void tg_redis_forget(struct tg_redis *redis, const void *ctx)
{
  for (struct redis_batch *batch = redis->first; batch; batch = batch->next)
    if (batch->ctx == ctx)
      batch->done = NULL;
}
