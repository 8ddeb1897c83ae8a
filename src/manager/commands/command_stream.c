#include "manager/commands/command_stream.h"

#include "base/buf.h"
#include "base/timer.h"
#include "net/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STREAM "gateway_send"

enum {
  CONNECT_TIMEOUT = 5000, /* ms */
  BLOCK = 1000,           /* a read waits for so long; what is done meanwhile is acknowledged behind it */
  REPLY_TIMEOUT = BLOCK + 4000,
  UNDER_WAY_MAX = 64, /* more stay in the stream */
  TRIM_AGE = 3600000,
  CLAIM_IDLE = 90000, /* longer than any command may take */
  CLAIM_EVERY = 30000,
  RETRY_BASE = 500,
  RETRY_CAP = 15000,
  ID_SIZE = 48,
  NAME_SIZE = 256,
};

struct tg_stream_command {
  struct tg_stream_command *next;
  struct tg_command_stream *stream;
  char id[ID_SIZE];
  bool done, acknowledging;
};

/* What is asked next on a connection. */
enum step { MAKE_GROUP, READ_OWN, READ_NEW };

struct tg_command_stream {
  struct tg_command_stream_options options; /* without its texts */
  char *group, consumer[NAME_SIZE];
  struct tg_redis *redis; /* NULL: closed */
  uv_timer_t *timer;
  int attempt;
  bool asking, acknowledging, stopped, failing;
  enum step step;
  char own_after[ID_SIZE]; /* READ_OWN: behind this */
  tg_ms ahead;             /* the clock of Redis, of tg_now() */
  tg_ms claim_at;
  struct tg_stream_command *commands;
  int count;
};

static void pump(struct tg_command_stream *stream);

/* ---- pauses ---- */

static void on_retry(uv_timer_t *timer)
{
  struct tg_command_stream *stream = timer->data;
  if (tg_redis_is_up(stream->redis))
    pump(stream);
  else
    tg_redis_connect(stream->redis);
}

static void retry(struct tg_command_stream *stream, const struct tg_error *error)
{
  stream->asking = false;
  if (!stream->failing && error)
    stream->options.failed(stream->options.ctx, error);
  stream->failing = stream->failing || error;
  tg_timer_start(stream->timer, on_retry, tg_backoff(stream->attempt, RETRY_BASE, RETRY_CAP));
  stream->attempt += stream->attempt < 30;
}

static void note_success(struct tg_command_stream *stream)
{
  if (stream->failing)
    stream->options.works(stream->options.ctx);
  stream->failing = false;
  stream->attempt = 0;
}

/* ---- acknowledging ---- */

static void take_out(struct tg_stream_command *command)
{
  struct tg_command_stream *stream = command->stream;
  struct tg_stream_command **at = &stream->commands;
  while (*at != command)
    at = &(*at)->next;
  *at = command->next;
  free(command);
  stream->count--;
}

static void on_acknowledged(void *ctx, const struct tg_redis_reply *replies, int count,
                            const struct tg_error *error)
{
  struct tg_command_stream *stream = ctx;
  (void)count, (void)error;
  stream->acknowledging = false;
  struct tg_stream_command *command = stream->commands, *next;
  for (; command; command = next) {
    next = command->next;
    bool is_told = command->acknowledging;
    command->acknowledging = false;
    if (is_told && replies)
      take_out(command);
  }
  if (replies)
    pump(stream);
}

static void acknowledge(struct tg_command_stream *stream)
{
  int count = 0;
  for (const struct tg_stream_command *command = stream->commands; command; command = command->next)
    count += command->done;
  if (count == 0 || stream->acknowledging)
    return;
  struct tg_buf *out = tg_redis_out(stream->redis);
  tg_resp_begin(out, 3 + count);
  tg_resp_string(out, "XACK");
  tg_resp_string(out, STREAM);
  tg_resp_string(out, stream->group);
  for (struct tg_stream_command *command = stream->commands; command; command = command->next) {
    if (!command->done)
      continue;
    command->acknowledging = true;
    tg_resp_string(out, command->id);
  }
  stream->acknowledging = true;
  tg_redis_send(stream->redis, 1, on_acknowledged, stream);
}

/* ---- entries ---- */

static bool is_under_way(const struct tg_command_stream *stream, const char *id)
{
  const struct tg_stream_command *command = stream->commands;
  while (command && strcmp(command->id, id) != 0)
    command = command->next;
  return command != NULL;
}

/* The clock of Redis, as ids have it. */
static tg_ms redis_now(const struct tg_command_stream *stream)
{
  return tg_now() + stream->ahead;
}

static struct tg_span field(const struct tg_redis_reply *fields, const char *name)
{
  size_t length = strlen(name);
  for (size_t i = 0; fields->kind == TG_REDIS_ARRAY && i + 1 < fields->count; i += 2) {
    struct tg_span key = fields->items[i].text;
    if (key.length == length && memcmp(key.at, name, length) == 0)
      return fields->items[i + 1].text;
  }
  return (struct tg_span){NULL, 0};
}

static void start(struct tg_command_stream *stream, const char *id, struct tg_span data)
{
  struct tg_stream_command *command = tg_calloc(1, sizeof *command), **last = &stream->commands;
  command->stream = stream;
  snprintf(command->id, sizeof command->id, "%s", id);
  while (*last)
    last = &(*last)->next;
  *last = command;
  stream->count++;
  stream->options.take(stream->options.ctx, command, redis_now(stream) - strtoll(id, NULL, 10), data);
}

/* `entries` is a list of [id, fields]; the last id goes to `last`. */
static void take_entries(struct tg_command_stream *stream, const struct tg_redis_reply *entries,
                         char last[ID_SIZE])
{
  for (size_t i = 0; entries->kind == TG_REDIS_ARRAY && i < entries->count; i++) {
    const struct tg_redis_reply *entry = &entries->items[i];
    if (entry->kind != TG_REDIS_ARRAY || entry->count != 2 || entry->items[0].text.length >= ID_SIZE)
      continue; /* it has been trimmed */
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%.*s", (int)entry->items[0].text.length, entry->items[0].text.at);
    memcpy(last, id, ID_SIZE);
    if (!is_under_way(stream, id))
      start(stream, id, field(&entry->items[1], "data"));
  }
}

/* ---- asking ---- */

/* False: what there is to say was said, and it is tried again. */
static bool is_good(struct tg_command_stream *stream, const struct tg_redis_reply *replies, int count)
{
  struct tg_error error;
  for (int i = 0; i < count; i++) {
    if (replies[i].kind != TG_REDIS_ERROR)
      continue;
    tg_redis_explain(stream->redis, &replies[i], &error);
    bool is_gone = strcmp(error.code, "nogroup") == 0 || strcmp(error.code, "unblocked") == 0;
    stream->step = MAKE_GROUP;
    retry(stream, is_gone ? NULL : &error); /* the stream may be deleted at any time, and is made again */
    return false;
  }
  note_success(stream);
  return true;
}

/* The answer to what was asked has been looked at. */
static void go_on(struct tg_command_stream *stream)
{
  stream->asking = false;
  pump(stream);
}

static void ask(struct tg_command_stream *stream, int replies, tg_redis_replied *done)
{
  stream->asking = true;
  tg_redis_send(stream->redis, replies, done, stream);
}

static void on_group(void *ctx, const struct tg_redis_reply *replies, int count, const struct tg_error *error)
{
  struct tg_command_stream *stream = ctx;
  (void)error;
  if (!replies)
    return;
  struct tg_error refusal = {0};
  if (replies->kind == TG_REDIS_ERROR)
    tg_redis_explain(stream->redis, replies, &refusal);
  if (strcmp(refusal.code, "busygroup") != 0 && !is_good(stream, replies, count))
    return;
  stream->step = READ_OWN;
  strcpy(stream->own_after, "0");
  go_on(stream);
}

static void make_group(struct tg_command_stream *stream)
{
  char id[ID_SIZE];
  snprintf(id, sizeof id, "%" PRId64 "-0", redis_now(stream) - TG_COMMAND_AGE_MAX);
  struct tg_buf *out = tg_redis_out(stream->redis);
  tg_resp_begin(out, 6);
  tg_resp_string(out, "XGROUP");
  tg_resp_string(out, "CREATE");
  tg_resp_string(out, STREAM);
  tg_resp_string(out, stream->group);
  tg_resp_string(out, id);
  tg_resp_string(out, "MKSTREAM");
  ask(stream, 1, on_group);
}

static void read_clock(struct tg_command_stream *stream, const struct tg_redis_reply *time)
{
  char seconds[24];
  if (time->kind != TG_REDIS_ARRAY || time->count < 1 || time->items[0].text.length >= sizeof seconds)
    return;
  snprintf(seconds, sizeof seconds, "%.*s", (int)time->items[0].text.length, time->items[0].text.at);
  stream->ahead = strtoll(seconds, NULL, 10) * 1000 - tg_now();
}

static void on_time(void *ctx, const struct tg_redis_reply *replies, int count, const struct tg_error *error)
{
  struct tg_command_stream *stream = ctx;
  (void)error;
  if (!replies || !is_good(stream, replies, count))
    return;
  read_clock(stream, replies);
  make_group(stream);
}

static void ask_time(struct tg_command_stream *stream)
{
  tg_resp_begin(tg_redis_out(stream->redis), 1);
  tg_resp_string(tg_redis_out(stream->redis), "TIME");
  ask(stream, 1, on_time);
}

/* [[stream, entries]], or nil. */
static void on_read(void *ctx, const struct tg_redis_reply *replies, int count, const struct tg_error *error)
{
  struct tg_command_stream *stream = ctx;
  (void)error;
  if (!replies || !is_good(stream, replies, count))
    return;
  const struct tg_redis_reply *list = replies->count > 0 ? &replies->items[0] : NULL;
  const struct tg_redis_reply *entries = list && list->count == 2 ? &list->items[1] : NULL;
  if (stream->step == READ_OWN && (!entries || entries->count == 0))
    stream->step = READ_NEW;
  char last[ID_SIZE] = "0";
  if (entries)
    take_entries(stream, entries, stream->step == READ_OWN ? stream->own_after : last);
  go_on(stream);
}

static void read_more(struct tg_command_stream *stream)
{
  bool is_own = stream->step == READ_OWN;
  struct tg_buf *out = tg_redis_out(stream->redis);
  tg_resp_begin(out, is_own ? 9 : 11);
  tg_resp_string(out, "XREADGROUP");
  tg_resp_string(out, "GROUP");
  tg_resp_string(out, stream->group);
  tg_resp_string(out, stream->consumer);
  tg_resp_string(out, "COUNT");
  tg_resp_number(out, UNDER_WAY_MAX - stream->count);
  if (!is_own) {
    tg_resp_string(out, "BLOCK");
    tg_resp_number(out, BLOCK);
  }
  tg_resp_string(out, "STREAMS");
  tg_resp_string(out, STREAM);
  tg_resp_string(out, is_own ? stream->own_after : ">");
  ask(stream, 1, on_read);
}

/* [cursor, entries, ...], the clock, and how many were trimmed. */
static void on_claimed(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct tg_command_stream *stream = ctx;
  char last[ID_SIZE];
  (void)error;
  if (!replies || !is_good(stream, replies, count))
    return;
  read_clock(stream, &replies[1]);
  if (replies[0].count >= 2)
    take_entries(stream, &replies[0].items[1], last);
  go_on(stream);
}

/* What somebody of the group has read, and left. */
static void claim(struct tg_command_stream *stream)
{
  char id[ID_SIZE];
  struct tg_buf *out = tg_redis_out(stream->redis);
  stream->claim_at = tg_now() + tg_patience(CLAIM_EVERY);
  tg_resp_begin(out, 8);
  tg_resp_string(out, "XAUTOCLAIM");
  tg_resp_string(out, STREAM);
  tg_resp_string(out, stream->group);
  tg_resp_string(out, stream->consumer);
  tg_resp_number(out, tg_patience(CLAIM_IDLE));
  tg_resp_string(out, "0-0");
  tg_resp_string(out, "COUNT");
  tg_resp_number(out, UNDER_WAY_MAX - stream->count);
  tg_resp_begin(out, 1);
  tg_resp_string(out, "TIME");
  snprintf(id, sizeof id, "%" PRId64, redis_now(stream) - TRIM_AGE);
  tg_resp_begin(out, 5);
  tg_resp_string(out, "XTRIM");
  tg_resp_string(out, STREAM);
  tg_resp_string(out, "MINID");
  tg_resp_string(out, "~");
  tg_resp_string(out, id);
  ask(stream, 3, on_claimed);
}

static void pump(struct tg_command_stream *stream)
{
  if (!stream->redis || !tg_redis_is_up(stream->redis))
    return;
  acknowledge(stream);
  if (stream->asking || stream->stopped || stream->count >= UNDER_WAY_MAX)
    return;
  if (stream->step == MAKE_GROUP)
    ask_time(stream);
  else if (tg_now() >= stream->claim_at)
    claim(stream);
  else
    read_more(stream);
}

/* ---- the connection ---- */

static void on_up(void *ctx)
{
  struct tg_command_stream *stream = ctx;
  stream->step = MAKE_GROUP;
  stream->asking = false;
  pump(stream);
}

static void on_down(void *ctx, const struct tg_error *error)
{
  retry(ctx, error);
}

/* ---- life ---- */

struct tg_command_stream *tg_command_stream_new(const struct tg_command_stream_options *options,
                                                struct tg_error *error)
{
  struct tg_command_stream *stream = tg_calloc(1, sizeof *stream);
  stream->redis = tg_redis_new(&(struct tg_redis_options){.loop = options->loop,
                                                          .url = options->url,
                                                          .ca_file = options->ca_file,
                                                          .connect_timeout = CONNECT_TIMEOUT,
                                                          .reply_timeout = REPLY_TIMEOUT,
                                                          .on_up = on_up,
                                                          .on_down = on_down,
                                                          .ctx = stream},
                               error);
  if (!stream->redis) {
    free(stream);
    return NULL;
  }
  stream->options = *options;
  stream->group = tg_strdup(options->group);
  if (gethostname(stream->consumer, NAME_SIZE) != 0 || !stream->consumer[0])
    snprintf(stream->consumer, NAME_SIZE, "tidegate");
  stream->consumer[NAME_SIZE - 1] = '\0';
  stream->timer = tg_timer_new(options->loop, stream);
  tg_redis_connect(stream->redis);
  return stream;
}

void tg_command_stream_stop(struct tg_command_stream *stream)
{
  stream->stopped = true;
}

static void free_if_over(struct tg_command_stream *stream)
{
  if (stream->redis || stream->count > 0)
    return;
  free(stream->group);
  free(stream);
}

void tg_command_stream_free(struct tg_command_stream *stream)
{
  if (!stream)
    return;
  tg_redis_close(stream->redis);
  tg_timer_free(stream->timer);
  stream->redis = NULL;
  struct tg_stream_command *command = stream->commands, *next;
  for (; command; command = next) {
    next = command->next;
    if (command->done)
      take_out(command);
  }
  free_if_over(stream);
}

const char *tg_command_id(const struct tg_stream_command *command)
{
  return command->id;
}

void tg_command_done(struct tg_stream_command *command, bool keep)
{
  struct tg_command_stream *stream = command->stream;
  command->done = true;
  if (!stream->redis || keep)
    take_out(command);
  if (!stream->redis)
    free_if_over(stream);
  else
    pump(stream);
}
