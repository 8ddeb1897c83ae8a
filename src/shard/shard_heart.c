/* Heartbeats. Each beat is scheduled from the moment the last
 * one was sent, and judged when the next is due: a shard is a zombie when by
 * then neither its ACK nor anything else has come. On a busy connection ACKs stand
 * behind megabytes of events; but when none has come for three intervals, whoever
 * acknowledges is gone, and events from such a session are not to be relied on. Nor is
 * a peer that has not even taken the last beat by then: nothing would ever reach it. */

#include "base/log.h"
#include "proto/payload.h"
#include "shard/shard_impl.h"

static void on_beat(uv_timer_t *timer);

static void schedule(struct tg_shard *shard, tg_ms delay)
{
  uv_timer_start(shard->beat_timer, on_beat, (uint64_t)delay, 0);
}

void tg_shard_start_heartbeating(struct tg_shard *shard, tg_ms interval)
{
  shard->beat_interval = interval;
  schedule(shard, (tg_ms)((double)interval * tg_random_unit()));
}

void tg_shard_stop_heartbeating(struct tg_shard *shard)
{
  uv_timer_stop(shard->beat_timer);
}

void tg_shard_heartbeat(struct tg_shard *shard)
{
  if (!shard->ws || shard->beat_waits) /* two would say no more than one */
    return;
  struct tg_buf frame = {0};
  uint64_t sequence;
  bool known = tg_shard_durable_sequence(shard, &sequence);
  tg_payload_heartbeat(&frame, known, sequence);
  tg_shard_send_frame(shard, &frame);
  tg_buf_free(&frame);
  shard->beat_sent = tg_now();
  shard->beat_acked = false;
  shard->beat_waits = tg_ws_unsent(shard->ws) > 0;
  if (!shard->unacked_since)
    shard->unacked_since = shard->beat_sent;
  shard->received_at_beat = tg_ws_received(shard->ws);
  tg_shard_life(shard, TG_LIFE_heartbeat, NULL);
}

/* The next beat is due an interval after this one, or it would be judged
 * before its answer can be there. */
void tg_shard_answer_heartbeat(struct tg_shard *shard)
{
  if (shard->beat_waits) /* it is about to be judged */
    return;
  if (!tg_shard_may_answer_heartbeat(shard)) {
    tg_log(TG_DEBUG, shard->id, "Discord asks for more heartbeats than the send limit allows");
    return;
  }
  if (uv_is_active((uv_handle_t *)shard->beat_timer))
    schedule(shard, shard->beat_interval);
  tg_shard_heartbeat(shard);
}

static bool is_zombie(struct tg_shard *shard)
{
  bool heard = shard->ws && tg_ws_received(shard->ws) != shard->received_at_beat;
  if (!shard->beat_sent || shard->beat_acked || heard)
    return false;
  /* While IDENTIFY or RESUME waits for its answer ACKs may be late. */
  bool answering = shard->phase == TG_PHASE_IDENTIFYING || shard->phase == TG_PHASE_RESUMING;
  return !answering || ++shard->beats_before_ready > 2;
}

/* Beats go out an interval apart, but for some ms. */
static bool is_unacknowledged(const struct tg_shard *shard)
{
  return shard->phase == TG_PHASE_READY && shard->unacked_since &&
         2 * (tg_now() - shard->unacked_since) >= (2 * TG_UNACKED_MAX - 1) * shard->beat_interval;
}

/* True: it is done for, and has been left. */
static bool is_dead(struct tg_shard *shard)
{
  bool zombie = is_zombie(shard), dead = zombie || shard->beat_waits || is_unacknowledged(shard);
  bool sure = dead && shard->suspect;
  shard->suspect = dead;
  if (!sure)
    return false;
  tg_ms delay = tg_shard_next_delay(shard), now = tg_now();
  if (zombie)
    tg_log_with(TG_WARN, shard->id,
                TG_WITH(TG_NUMBER(DURATION, now - shard->beat_sent), TG_NUMBER(DELAY, delay)),
                "nothing came since the last heartbeat: the connection is dead, reconnecting");
  else if (shard->beat_waits)
    tg_log_with(TG_WARN, shard->id,
                TG_WITH(TG_NUMBER(DURATION, now - shard->beat_sent), TG_NUMBER(DELAY, delay)),
                "Discord does not take what is sent, not even the last heartbeat: reconnecting");
  else
    tg_log_with(TG_WARN, shard->id,
                TG_WITH(TG_NUMBER(DURATION, now - shard->unacked_since), TG_NUMBER(DELAY, delay)),
                "heartbeats are no longer acknowledged, whatever else comes: reconnecting");
  tg_shard_give_up(shard, 0, delay);
  return true;
}

static void on_beat(uv_timer_t *timer)
{
  struct tg_shard *shard = timer->data;
  if (is_dead(shard))
    return;
  if (shard->suspect) { /* or is this loop late? What has come meanwhile is read first */
    schedule(shard, 1);
    return;
  }
  /* First the next beat: whatever the script does, the heart goes on. */
  schedule(shard, shard->beat_interval);
  struct tg_value args[] = {tg_value_shard(shard), tg_value_int(shard->beat_interval)};
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_heartbeat, args, 2, NULL))
    tg_shard_heartbeat(shard);
  if (shard->ws)
    tg_ws_trim(shard->ws);
}

void tg_shard_hello(struct tg_shard *shard, tg_ms interval)
{
  shard->beat_sent = shard->unacked_since = 0;
  shard->suspect = shard->beat_waits = false;
  shard->beats_before_ready = 0;
  shard->beat_interval = interval;
  struct tg_value args[] = {tg_value_shard(shard), tg_value_int(interval)};
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_start_heartbeating, args, 2, NULL))
    tg_shard_start_heartbeating(shard, interval);
}
