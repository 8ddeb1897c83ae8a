/* When and where to connect. */

#include "base/log.h"
#include "proto/gateway_trust.h"
#include "shard/shard_impl.h"

/* ---- handshakes in their turn ---- */

void tg_shard_end_handshake(struct tg_shard *shard)
{
  if (!shard->counted)
    return;
  shard->counted = false;
  shard->env->handshakes--;
  struct tg_shard *next; /* one that may not connect yet leaves its turn to others */
  while (shard->env->handshakes < TG_HANDSHAKES_MAX && (next = TAILQ_FIRST(&shard->env->waiting)))
    tg_shard_begin(next);
}

void tg_shard_drop(struct tg_shard *shard)
{
  shard->connection++;
  if (shard->ws) {
    tg_ws_free(shard->ws);
    shard->ws = NULL;
    struct tg_value self = tg_value_shard(shard);
    if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_stop_heartbeating, &self, 1, NULL))
      tg_shard_stop_heartbeating(shard);
  }
  uv_timer_stop(shard->beat_timer);
  tg_inflate_free(shard->inflate);
  shard->inflate = NULL;
  tg_buf_free(&shard->partial);
  tg_buf_free(&shard->packet);
  tg_shard_end_slot(shard, NULL, 0);
  tg_shard_end_handshake(shard);
}

/* ---- connect ---- */

/* Whoever has taken the session may be another host, of which the owner hears in a moment if Redis is away.
 */
static tg_ms wait_for_word(struct tg_shard *shard)
{
  bool cut = shard->cut;
  shard->cut = false;
  if (tg_shard_is_withheld(shard))
    return TG_WITHHELD_LOOK;
  return cut && atomic_load(&shard->row->lease_until) == INT64_MAX ? TG_CUT_PAUSE : 0;
}

void tg_shard_begin(struct tg_shard *shard)
{
  struct tg_shard_env *env = shard->env;
  tg_ms pause = env->paused_until - tg_now(), word = env->clustered ? wait_for_word(shard) : 0;
  if (word > 0) {
    tg_shard_set_phase(shard, TG_PHASE_WAITING);
    tg_shard_set_timer(shard, word);
    return;
  }
  if (pause > 0) {
    tg_shard_set_phase(shard, TG_PHASE_WAITING);
    tg_shard_set_timer(shard, pause + tg_patience((tg_ms)tg_random(1000)));
    return;
  }
  if (env->handshakes >= TG_HANDSHAKES_MAX) {
    if (shard->phase != TG_PHASE_QUEUED) {
      tg_shard_set_phase(shard, TG_PHASE_QUEUED);
      TAILQ_INSERT_TAIL(&env->waiting, shard, waiting);
    }
    return;
  }
  /* Should an override not connect, the deadline tries again. */
  tg_shard_set_phase(shard, TG_PHASE_CONNECTING);
  tg_shard_set_timer(shard, tg_patience(TG_T_CONNECT));
  shard->counted = true;
  env->handshakes++;
  struct tg_value self = tg_value_shard(shard);
  if (!tg_hook_call(env->hooks, TG_METHOD_shard_connect, &self, 1, NULL))
    tg_shard_connect(shard);
}

/* What READY or the state directory says of where to resume is taken on trust
 * only so far. False: not to be used, now or later. */
static bool resume_url_is_good(struct tg_shard *shard, const struct tg_gateway_url *main,
                               struct tg_gateway_url *url)
{
  struct tg_error error;
  if (tg_gateway_url_parse(shard->session.resume_url, shard->env->config->transport_compression, url,
                           &error) &&
      tg_resume_url_trusted(url, main, &error))
    return true;
  tg_log_with(TG_WARN, shard->id, TG_WITH(TG_TEXT(REASON, error.message)),
              "the resume URL is refused, the session is resumed over the main URL");
  shard->session.resume_url[0] = '\0';
  return false;
}

/* Identify always goes to the main URL; so does a RESUME without a URL of its own
 * that may be used, or once that one has failed again and again. */
static bool choose_url(struct tg_shard *shard, struct tg_gateway_url *url)
{
  struct tg_error error;
  struct tg_gateway_url main;
  shard->on_resume_url = false;
  if (!tg_gateway_url_parse(shard->env->gateway_url, shard->env->config->transport_compression, &main,
                            &error)) {
    tg_log(TG_ERROR, shard->id, "cannot connect: %s", error.message);
    return false;
  }
  if (tg_shard_has_session(shard) && shard->session.resume_url[0] && shard->url_fails < TG_URL_FAILS_MAX)
    shard->on_resume_url = resume_url_is_good(shard, &main, url);
  if (!shard->on_resume_url)
    *url = main;
  return true;
}

static void on_open(void *ctx)
{
  struct tg_shard *shard = ctx;
  tg_shard_set_phase(shard, TG_PHASE_HELLO);
  tg_shard_set_timer(shard, tg_patience(TG_T_HELLO));
  tg_shard_open_sends(shard);
  tg_shard_life(shard, TG_LIFE_connected, NULL);
}

static const struct tg_ws_callbacks callbacks = {.on_open = on_open,
                                                 .on_data = tg_shard_on_data,
                                                 .on_message_end = tg_shard_on_message_end,
                                                 .on_drain = tg_shard_on_drain,
                                                 .on_end = tg_shard_on_end};

void tg_shard_connect(struct tg_shard *shard)
{
  struct tg_shard_env *env = shard->env;
  if (shard->ws || shard->phase != TG_PHASE_CONNECTING)
    return;
  struct tg_gateway_url url;
  if (!choose_url(shard, &url))
    return;
  tg_log_with(TG_DEBUG, shard->id,
              TG_WITH(TG_TEXT(NEXT, tg_shard_has_session(shard) ? "resume" : "identify")),
              "connecting to %s:%s", url.host, url.port);
  shard->in_session = shard->told_unnamed = false;
  shard->inflate = tg_inflate_new(env->config->transport_compression, TG_MESSAGE_MAX);
  shard->ws = tg_ws_open(env->loop, env->dialer, &url, &callbacks, shard);
  tg_shard_life(shard, TG_LIFE_connecting, NULL);
}

void tg_shard_settled(struct tg_shard *shard)
{
  tg_shard_set_phase(shard, TG_PHASE_READY);
  tg_shard_end_handshake(shard);
  shard->settled_at = tg_now();
  shard->unacked_since = 0; /* what went before may have been taken late, or never */
  shard->backoff = shard->unanswered = shard->resume_fails = shard->url_fails = 0;
  tg_shard_pump(shard);
}

void tg_shard_send_frame(struct tg_shard *shard, const struct tg_buf *frame)
{
  if (shard->ws)
    tg_ws_send(shard->ws, frame->data, frame->length);
}
