#include "base/log.h"
#include "base/timer.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/redis_carrier.h"
#include "net/redis.h"

#include <inttypes.h>

/* Every few seconds each stream is looked at, as redis_stream.h has it. What was accepted `settle` ago is let
 * go, but not while it is not known whether Redis still has it: then a connection that has ended is made
 * again, although nobody may have anything to send. */

enum {
  TICK = 1000,
  LOOK_TICKS = 5,
};

static bool is_due(const struct tg_redis_carrier *redis, tg_ms *told_at)
{
  tg_ms now = tg_env_now(redis->env);
  if (*told_at != 0 && now - *told_at < tg_patience(TG_REPORT_INTERVAL))
    return false;
  *told_at = now;
  return true;
}

/* --- alarms ------------------------------------------------------------------------------------- */

void tg_redis_alarm(struct tg_redis_lane *at, const struct tg_answer *answer)
{
  if (!is_due(at->of, &at->alarmed_at))
    return;
  tg_log_with(TG_ERROR, at->place.shard_id,
              TG_WITH(TG_TEXT(URL, at->of->carrier.name), TG_TEXT(REASON, answer->error.message),
                      TG_NUMBER(EVENTS, at->lane->queue.events)),
              "the events of this shard wait, and only a person can help: %s", answer->advice);
}

void tg_redis_alarm_over(struct tg_redis_lane *at)
{
  if (at->alarmed_at == 0)
    return;
  at->alarmed_at = 0;
  tg_log_with(TG_INFO, at->place.shard_id, TG_WITH(TG_TEXT(URL, at->of->carrier.name)),
              "the events of this shard go on");
}

static void tell_full(struct tg_redis_stream *stream)
{
  struct tg_redis_carrier *redis = stream->of;
  if (!tg_redis_stream_is_full(stream, redis->config.max_length) || !is_due(redis, &redis->full_at))
    return;
  tg_log_with(TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, redis->carrier.name), TG_NUMBER(EVENTS, tg_lanes_waiting(redis->lanes))),
              "the stream %s is full (%" PRIu64 " entries, max_length): its group \"%s\" has %" PRIu64
              " entries to read and %" PRIu64 " to acknowledge. Events wait here until it goes on",
              stream->key, stream->length, stream->slowest, stream->unread, stream->pending);
}

static void tell_untrimmed(struct tg_redis_stream *stream, const struct tg_error *error)
{
  struct tg_redis_carrier *redis = stream->of;
  if (is_due(redis, &redis->untrimmed_at))
    tg_log_with(TG_WARN, TG_NO_SHARD,
                TG_WITH(TG_TEXT(URL, redis->carrier.name), TG_TEXT(REASON, error->message)),
                "the stream %s cannot be trimmed", stream->key);
}

/* --- a look ---------------------------------------------------------------------------------------- */

static void on_trimmed(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error);

static void end_look(struct tg_redis_stream *stream)
{
  stream->looked_at = false;
  tell_full(stream);
}

static void trim(struct tg_redis_stream *stream)
{
  struct tg_redis *redis = stream->of->redis;
  if (tg_redis_stream_trim(stream, tg_redis_out(redis)))
    tg_redis_send(redis, 1, on_trimmed, stream);
  else
    end_look(stream);
}

static void fail_look(struct tg_redis_stream *stream, const struct tg_error *error)
{
  stream->looked_at = false;
  tell_untrimmed(stream, error);
}

static void on_trimmed(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct tg_redis_stream *stream = ctx;
  struct tg_error refused = {0};
  (void)count;
  (void)error;
  if (!replies)
    return;
  if (tg_redis_stream_take_trimmed(stream, &replies[0], &refused))
    trim(stream);
  else if (refused.code[0])
    fail_look(stream, &refused);
  else
    end_look(stream);
}

static void on_pending(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct tg_redis_stream *stream = ctx;
  struct tg_error refused;
  (void)error;
  if (!replies)
    return;
  if (tg_redis_stream_take_pending(stream, replies, count, &refused))
    trim(stream);
  else
    fail_look(stream, &refused);
}

static void on_groups(void *ctx, const struct tg_redis_reply *replies, int count,
                      const struct tg_error *error)
{
  struct tg_redis_stream *stream = ctx;
  struct tg_error refused;
  (void)count;
  (void)error;
  if (!replies)
    return;
  struct tg_redis *redis = stream->of->redis;
  int asked = tg_redis_stream_take_groups(stream, replies, tg_redis_out(redis), &refused);
  if (asked > 0)
    tg_redis_send(redis, asked, on_pending, stream);
  else if (asked == 0)
    trim(stream);
  else
    fail_look(stream, &refused);
}

void tg_redis_keep(struct tg_redis_stream *stream)
{
  struct tg_redis *redis = stream->of->redis;
  if (stream->looked_at || !tg_redis_is_up(redis))
    return;
  stream->looked_at = true;
  tg_redis_stream_look(stream, tg_redis_out(redis));
  tg_redis_send(redis, TG_REDIS_LOOK, on_groups, stream);
}

void tg_redis_keeper_down(struct tg_redis_carrier *redis)
{
  struct tg_redis_stream *stream;
  LIST_FOREACH(stream, &redis->streams, link)
  {
    stream->looked_at = false;
    stream->trimmed = (struct tg_redis_id){0, 0}; /* it may come back with others */
  }
}

/* --- its turn ---------------------------------------------------------------------------------------- */

static void on_pong(void *ctx, const struct tg_redis_reply *replies, int count, const struct tg_error *error)
{
  struct tg_redis_carrier *redis = ctx;
  tg_ms before = redis->pinged_at - redis->config.settle;
  (void)count;
  (void)error;
  redis->pinged_at = 0;
  for (int i = 0; replies && i < redis->count; i++)
    if (redis->at[i] && redis->at[i]->lane)
      tg_lane_release(redis->at[i]->lane, before);
}

/* A machine that has lost its power says nothing: it has to answer first. */
static void let_go(struct tg_redis_carrier *redis)
{
  struct tg_buf *out = tg_redis_out(redis->redis);
  if (redis->pinged_at != 0 || !tg_redis_is_up(redis->redis) || !tg_lanes_keep_some(redis->lanes))
    return;
  redis->pinged_at = tg_env_now(redis->env);
  tg_resp_begin(out, 1);
  tg_resp_string(out, "PING");
  tg_redis_send(redis->redis, 1, on_pong, redis);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_redis_carrier *redis = timer->data;
  struct tg_redis_stream *stream;
  if (!redis->unsure)
    let_go(redis);
  else if (!tg_redis_is_up(redis->redis))
    tg_redis_connect(redis->redis);
  else
    tg_redis_check(redis);
  if (++redis->ticks < LOOK_TICKS)
    return;
  redis->ticks = 0;
  LIST_FOREACH(stream, &redis->streams, link)
  {
    tg_redis_keep(stream);
  }
}

void tg_redis_keeper_begin(struct tg_redis_carrier *redis)
{
  uint64_t interval = (uint64_t)tg_patience(TICK);
  redis->timer = tg_timer_new(redis->env->loop, redis);
  uv_timer_start(redis->timer, on_timer, interval, interval);
}

void tg_redis_keeper_end(struct tg_redis_carrier *redis)
{
  tg_timer_free(redis->timer);
}
