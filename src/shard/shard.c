#include "base/log.h"
#include "shard/shard_impl.h"

#include <stdlib.h>
#include <string.h>

static void free_handle(uv_handle_t *handle) { free(handle); }

static uv_timer_t *new_timer(struct tg_shard *shard)
{
  uv_timer_t *timer = tg_calloc(1, sizeof *timer);
  uv_timer_init(shard->env->loop, timer);
  timer->data = shard;
  return timer;
}

struct tg_shard *tg_shard_new(struct tg_shard_env *env, const struct tg_shard_side *of, int shard_id)
{
  struct tg_shard *shard = tg_calloc(1, sizeof *shard);
  shard->env = env;
  shard->of = of;
  shard->id = shard_id;
  shard->row = tg_shard_table_row(of->table, shard_id);
  shard->rtt = -1;
  shard->timer = new_timer(shard);
  shard->beat_timer = new_timer(shard);
  shard->send_timer = new_timer(shard);
  for (int i = 0; i < 3; i++)
    TAILQ_INIT(&shard->commands[i]);
  shard->has_sequence = tg_session_load(shard->row, &shard->session);
  shard->without = atomic_load(&shard->row->missing_intents);
  atomic_store(&shard->row->worker_id, env->worker_id);
  atomic_store(&shard->row->rtt, -1);
  tg_shard_set_phase(shard, TG_PHASE_OFF);
  return shard;
}

void tg_shard_free(struct tg_shard *shard)
{
  if (!shard)
    return;
  struct tg_error error;
  tg_fail(&error, "gone", "shard %d is gone", shard->id);
  tg_shard_fail_commands(shard, &error);
  tg_shard_drop(shard);
  tg_shard_set_phase(shard, TG_PHASE_OFF);
  uv_close((uv_handle_t *)shard->timer, free_handle);
  uv_close((uv_handle_t *)shard->beat_timer, free_handle);
  uv_close((uv_handle_t *)shard->send_timer, free_handle);
  json_decref(shard->presence);
  json_decref(shard->next_presence);
  tg_buf_free(&shard->partial);
  tg_buf_free(&shard->packet);
  free(shard);
}

static enum tg_shard_state public_state(enum tg_phase phase)
{
  switch (phase) {
  case TG_PHASE_OFF:
    return TG_SHARD_OFFLINE;
  case TG_PHASE_WAITING:
  case TG_PHASE_QUEUED:
  case TG_PHASE_CLOSING:
    return TG_SHARD_DISCONNECTED;
  case TG_PHASE_CONNECTING:
    return TG_SHARD_CONNECTING;
  case TG_PHASE_HELLO:
  case TG_PHASE_SLOT:
    return TG_SHARD_UNIDENTIFIED;
  case TG_PHASE_IDENTIFYING:
    return TG_SHARD_IDENTIFYING;
  case TG_PHASE_RESUMING:
    return TG_SHARD_RESUMING;
  case TG_PHASE_READY:
    return TG_SHARD_CONNECTED;
  }
  return TG_SHARD_OFFLINE;
}

void tg_shard_set_phase(struct tg_shard *shard, enum tg_phase phase)
{
  enum tg_shard_state before = public_state(shard->phase), after = public_state(phase);
  if (shard->phase == TG_PHASE_QUEUED && phase != TG_PHASE_QUEUED)
    TAILQ_REMOVE(&shard->env->waiting, shard, waiting);
  shard->phase = phase;
  uv_timer_stop(shard->timer);
  atomic_store(&shard->row->state, after);
  if (before != after && tg_log_on(TG_DEBUG))
    tg_log(TG_DEBUG, shard->id, "%s, was %s", tg_shard_state_name(after), tg_shard_state_name(before));
}

void tg_shard_set_timer(struct tg_shard *shard, tg_ms delay)
{
  uv_timer_start(shard->timer, tg_shard_on_timer, (uint64_t)delay, 0);
}

bool tg_shard_has_session(const struct tg_shard *shard) { return shard->session.id[0] != '\0'; }

bool tg_shard_is_withheld(const struct tg_shard *shard)
{
  if (!shard->env->clustered || !tg_shard_has_session(shard))
    return false;
  return atomic_load(&shard->row->no_resume) != 0 || atomic_load(&shard->row->lease_until) <= tg_boot_clock();
}

bool tg_shard_needs_identify(const struct tg_shard *shard)
{
  return shard->phase == TG_PHASE_IDENTIFYING || (shard->in_session && !tg_shard_has_session(shard));
}

void tg_shard_forget_session(struct tg_shard *shard)
{
  shard->session.id[0] = shard->session.resume_url[0] = '\0';
  shard->session.sequence = 0;
  shard->has_sequence = shard->in_session = false;
  shard->resume_fails = shard->url_fails = 0;
  tg_session_forget(shard->row);
}

void tg_shard_raise_epoch(struct tg_shard *shard, uint64_t epoch)
{
  shard->session.epoch = epoch;
  tg_session_raise(shard->row, epoch);
}

void tg_shard_life(struct tg_shard *shard, enum tg_life what, json_t *details)
{
  tg_hook_life(shard->env->hooks, what, shard, details);
  json_decref(details);
}

static void end_stop(struct tg_shard *shard)
{
  void (*stopped)(void *ctx) = shard->stopped;
  shard->stopped = NULL;
  if (stopped)
    stopped(shard->stopped_ctx);
}

void tg_shard_start(struct tg_shard *shard)
{
  if (shard->phase == TG_PHASE_CLOSING && shard->plan == TG_PLAN_STOP && tg_shard_has_session(shard)) {
    shard->plan = TG_PLAN_RECONNECT;
    shard->delay = 0;
    end_stop(shard);
    return;
  }
  if (shard->phase != TG_PHASE_OFF)
    return;
  shard->plan = TG_PLAN_RECONNECT;
  tg_shard_begin(shard);
}

static void end_by_hook(struct tg_shard *shard)
{
  struct tg_value self = tg_value_shard(shard);
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_shutdown, &self, 1, NULL))
    tg_shard_close(shard, TG_CLOSE_END, "");
}

void tg_shard_stop(struct tg_shard *shard, bool keep_session, void (*done)(void *ctx), void *ctx)
{
  if (shard->stopped) /* asked twice: whoever was first does not wait for the other */
    shard->stopped(shard->stopped_ctx);
  shard->stopped = done;
  shard->stopped_ctx = ctx;
  shard->plan = TG_PLAN_STOP;
  bool connected = shard->ws && shard->phase > TG_PHASE_CONNECTING && shard->phase != TG_PHASE_CLOSING;
  if (!connected) {
    tg_shard_leave(shard, 0, "", TG_PLAN_STOP, 0);
  } else if (keep_session) {
    tg_shard_leave(shard, TG_CLOSE_KEEP, "", TG_PLAN_STOP, 0);
  } else {
    end_by_hook(shard);
    tg_shard_leave(shard, TG_CLOSE_END, "", TG_PLAN_STOP, 0);
  }
  if (!keep_session)
    tg_shard_forget_session(shard);
}

/* ---- what others may ask ---- */

int tg_shard_id(const struct tg_shard *shard) { return shard->id; }
int tg_shard_total(const struct tg_shard *shard)
{
  return shard->of->total_shards;
}
tg_shard_ref tg_shard_get_ref(const struct tg_shard *shard)
{
  return tg_ref_of(shard->id, shard->of->side);
}
enum tg_shard_state tg_shard_state(const struct tg_shard *shard) { return public_state(shard->phase); }
const char *tg_shard_session_id(const struct tg_shard *shard) { return shard->session.id; }
uint64_t tg_shard_epoch(const struct tg_shard *shard) { return shard->session.epoch; }
int tg_shard_rtt(const struct tg_shard *shard) { return shard->rtt; }
bool tg_shard_is_open(const struct tg_shard *shard) { return shard->phase == TG_PHASE_READY; }
struct tg_span tg_shard_decompressed(const struct tg_shard *shard) { return shard->text; }

bool tg_shard_sequence(const struct tg_shard *shard, uint64_t *sequence)
{
  *sequence = shard->session.sequence;
  return shard->has_sequence;
}

bool tg_shard_durable_sequence(const struct tg_shard *shard, uint64_t *sequence)
{
  const struct tg_shard_env *env = shard->env;
  *sequence = shard->session.sequence;
  if (shard->has_sequence && env->durable_sequence)
    env->durable_sequence(env->owner, shard, sequence);
  return shard->has_sequence && *sequence > 0;
}
