/* The connection: when and where to connect, how long to wait for what, and
 * what follows when it ends (reference, 1.4, 3.2 and 4). */

#include "base/log.h"
#include "shard/shard_impl.h"

#include <string.h>

static void on_open(void *ctx);
static void on_data(void *ctx, const void *bytes, size_t length);
static void on_message_end(void *ctx);
static void on_end(void *ctx, const struct tg_ws_end *end);

static const struct tg_ws_callbacks ws_callbacks = {
    .on_open = on_open, .on_data = on_data, .on_message_end = on_message_end, .on_end = on_end};

enum { SPARE_TEXT_MAX = 1024 * 1024 };

static bool has_session(const struct tg_shard *shard) { return shard->session.id[0] != '\0'; }

/* ---- handshakes in their turn ---- */

void tg_shard_end_handshake(struct tg_shard *shard)
{
  if (!shard->counted)
    return;
  shard->counted = false;
  shard->env->handshakes--;
  struct tg_shard *next = TAILQ_FIRST(&shard->env->waiting);
  if (next)
    tg_shard_begin(next);
}

void tg_shard_drop(struct tg_shard *shard)
{
  shard->connection++;
  if (shard->ws) {
    tg_ws_free(shard->ws);
    shard->ws = NULL;
    struct tg_value self = tg_value_shard(shard);
    if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_stop_heartbeating, &self, 1, TG_NIL, NULL))
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

void tg_shard_begin(struct tg_shard *shard)
{
  struct tg_shard_env *env = shard->env;
  tg_ms pause = env->paused_until - tg_now();
  if (pause > 0) {
    tg_shard_set_phase(shard, TG_PHASE_WAITING);
    tg_shard_set_timer(shard, pause + (tg_ms)tg_random(1000));
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
  if (!tg_hook_call(env->hooks, TG_METHOD_shard_connect, &self, 1, TG_NIL, NULL))
    tg_shard_connect(shard);
}

/* Identify always goes to the main URL; so does a RESUME once its own URL has
 * failed again and again. */
static const char *choose_url(struct tg_shard *shard)
{
  shard->on_resume_url =
      has_session(shard) && shard->session.resume_url[0] && shard->url_fails < TG_URL_FAILS_MAX;
  return shard->on_resume_url ? shard->session.resume_url : shard->env->gateway_url;
}

void tg_shard_connect(struct tg_shard *shard)
{
  struct tg_shard_env *env = shard->env;
  if (shard->ws || shard->phase != TG_PHASE_CONNECTING)
    return;
  struct tg_gateway_url url;
  struct tg_error error;
  const char *base = choose_url(shard);
  if (!tg_gateway_url_parse(base, env->config->transport_compression, &url, &error) && shard->on_resume_url) {
    tg_log(TG_WARN, shard->id, "the resume URL is unusable, taking the main one: %s", error.message);
    shard->url_fails = TG_URL_FAILS_MAX;
    base = choose_url(shard);
    tg_gateway_url_parse(base, env->config->transport_compression, &url, &error);
  }
  tg_log(TG_DEBUG, shard->id, "connecting to %s:%s to %s", url.host, url.port,
         has_session(shard) ? "resume" : "identify");
  shard->inflate = tg_inflate_new(env->config->transport_compression, TG_MESSAGE_MAX);
  shard->ws = tg_ws_open(env->loop, env->tls, &url, &ws_callbacks, shard);
  tg_shard_life(shard, TG_LIFE_connecting, NULL);
}

static void on_open(void *ctx)
{
  struct tg_shard *shard = ctx;
  tg_shard_set_phase(shard, TG_PHASE_HELLO);
  tg_shard_set_timer(shard, tg_patience(TG_T_HELLO));
  tg_shard_open_sends(shard);
  tg_shard_life(shard, TG_LIFE_connected, NULL);
}

void tg_shard_settled(struct tg_shard *shard)
{
  tg_shard_set_phase(shard, TG_PHASE_READY);
  tg_shard_end_handshake(shard);
  shard->settled_at = tg_now();
  shard->resume_fails = shard->url_fails = 0;
  tg_shard_pump(shard);
}

void tg_shard_send_frame(struct tg_shard *shard, const struct tg_buf *frame)
{
  if (shard->ws)
    tg_ws_send(shard->ws, frame->data, frame->length);
}

/* ---- what arrives ---- */

static void break_off(struct tg_shard *shard, const char *what)
{
  tg_log(TG_WARN, shard->id, "%s: reconnecting to resume", what);
  tg_shard_leave(shard, TG_CLOSE_KEEP, "", TG_PLAN_RECONNECT, 0);
}

static bool inflate_ok(struct tg_shard *shard, enum tg_inflate_result result)
{
  if (result == TG_INFLATE_CORRUPT)
    break_off(shard, "the compressed stream is corrupt");
  else if (result == TG_INFLATE_TOO_LARGE)
    break_off(shard, "a message is larger than 64 MiB");
  else
    return true;
  return false;
}

/* The loop keeps one spare text buffer for all its shards: whoever begins a
 * message takes it, and gives it back when the message is done, so that a
 * quiet shard holds none. */
static void take_text_buffer(struct tg_shard *shard)
{
  if (shard->partial.data)
    return;
  shard->partial = *shard->env->text;
  *shard->env->text = (struct tg_buf){0};
}

static void give_back_text_buffer(struct tg_shard_env *env, struct tg_buf *text)
{
  tg_buf_reset(text, SPARE_TEXT_MAX);
  if (env->text->data)
    tg_buf_free(text);
  else
    *env->text = *text;
}

static void on_data(void *ctx, const void *bytes, size_t length)
{
  struct tg_shard *shard = ctx;
  shard->heard_since_beat = shard->packets_since_check = true;
  if (!shard->inflate)
    return;
  take_text_buffer(shard);
  if (tg_hooked(shard->env->hooks, TG_METHOD_shard_decompress_packet))
    tg_buf_append(&shard->packet, bytes, length);
  inflate_ok(shard, tg_inflate_feed(shard->inflate, bytes, length, &shard->partial));
}

/* A script may decompress instead; C does it anyway, so that its stream stays
 * in step and its text is there when the script fails. */
static struct tg_span decompress_by_hook(struct tg_shard *shard, struct tg_span text)
{
  struct tg_value result;
  struct tg_value args[] = {tg_value_shard(shard), tg_value_string(shard->packet.data, shard->packet.length)};
  if (tg_hook_call(shard->env->hooks, TG_METHOD_shard_decompress_packet, args, 2, TG_STRING, &result))
    text = result.string;
  shard->packet.length = 0;
  return text;
}

static void handle_text(struct tg_shard *shard, struct tg_span text)
{
  struct tg_hooks *hooks = shard->env->hooks;
  shard->text = text;
  if (tg_hooked(hooks, TG_METHOD_shard_decompress_packet))
    text = decompress_by_hook(shard, text);
  struct tg_value args[] = {tg_value_shard(shard), tg_value_string(text.at, text.length)};
  if (!tg_hook_call(hooks, TG_METHOD_shard_handle_packet, args, 2, TG_NIL, NULL))
    tg_shard_handle_packet(shard, text.at, text.length);
  shard->text = (struct tg_span){0};
}

static void on_message_end(void *ctx)
{
  struct tg_shard *shard = ctx;
  if (!shard->inflate)
    return;
  enum tg_inflate_result result = tg_inflate_end_of_message(shard->inflate, &shard->partial);
  if (!inflate_ok(shard, result) || result == TG_INFLATE_MORE)
    return;
  /* Handling the packet may end this connection: the text is taken out first. */
  struct tg_buf text = shard->partial;
  shard->partial = (struct tg_buf){0};
  handle_text(shard, (struct tg_span){text.data, text.length});
  give_back_text_buffer(shard->env, &text);
}

/* ---- the end of a connection ---- */

static void report_fatal(struct tg_shard *shard, int code)
{
  tg_shard_set_phase(shard, TG_PHASE_OFF);
  shard->env->on_fatal(shard->env->owner, shard, code);
}

/* The connection is gone and its traces are cleared: what `plan` says. */
static void follow_plan(struct tg_shard *shard)
{
  tg_shard_drop(shard);
  if (shard->plan == TG_PLAN_STOP) {
    void (*stopped)(void *ctx) = shard->stopped;
    shard->stopped = NULL;
    tg_shard_set_phase(shard, TG_PHASE_OFF);
    if (stopped)
      stopped(shard->stopped_ctx);
    return;
  }
  tg_shard_set_phase(shard, TG_PHASE_WAITING);
  tg_shard_set_timer(shard, shard->delay);
}

/* No way back: without a session the owner has to be asked. */
static void plan(struct tg_shard *shard, enum tg_plan what, tg_ms delay)
{
  if (shard->plan == TG_PLAN_STOP)
    return;
  shard->plan = what;
  shard->delay = delay;
}

/* The delay before the next try; grows with each one that did not last. */
static tg_ms next_delay(struct tg_shard *shard)
{
  if (shard->backoff++ == 0)
    return 0;
  return tg_backoff(shard->backoff - 2, tg_patience(TG_BACKOFF_BASE), tg_patience(TG_BACKOFF_CAP));
}

static void tell_disconnected(struct tg_shard *shard, int code, const char *reason)
{
  if (!shard->env->hooks->want_life[TG_LIFE_disconnected])
    return;
  json_t *text = json_string(reason);
  tg_shard_life(shard, TG_LIFE_disconnected,
                json_pack("{s:i, s:o}", "code", code, "reason", text ? text : json_string("")));
}

void tg_shard_leave(struct tg_shard *shard, int code, const char *reason, enum tg_plan what, tg_ms delay)
{
  if (what == TG_PLAN_STOP)
    shard->plan = TG_PLAN_STOP;
  else
    plan(shard, what, delay);
  if (shard->phase == TG_PHASE_CLOSING)
    return;
  bool polite = code != 0 && shard->ws && shard->phase > TG_PHASE_CONNECTING;
  if (shard->ws)
    tell_disconnected(shard, code, reason);
  if (!polite) {
    follow_plan(shard);
    return;
  }
  tg_shard_end_slot(shard, NULL, 0);
  tg_shard_end_handshake(shard);
  uv_timer_stop(shard->beat_timer);
  tg_shard_set_phase(shard, TG_PHASE_CLOSING);
  tg_shard_set_timer(shard, tg_patience(TG_T_CLOSE) + 1000);
  struct tg_value args[] = {tg_value_shard(shard), tg_value_int(code),
                            tg_value_string(reason, strlen(reason))};
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_close, args, 3, TG_NIL, NULL))
    tg_shard_close(shard, code, reason);
}

void tg_shard_close(struct tg_shard *shard, int code, const char *reason)
{
  if (!shard->ws)
    return;
  if (shard->phase == TG_PHASE_CLOSING) {
    tg_ws_close(shard->ws, code, reason, tg_patience(TG_T_CLOSE));
    return;
  }
  /* A script closes: 1000 and 1001 end the session (reference, 3). */
  if (code == 1000 || code == 1001)
    tg_shard_forget_session(shard);
  plan(shard, has_session(shard) ? TG_PLAN_RECONNECT : TG_PLAN_LOST, 0);
  tell_disconnected(shard, code, reason);
  tg_shard_end_slot(shard, NULL, 0);
  tg_shard_end_handshake(shard);
  uv_timer_stop(shard->beat_timer);
  tg_shard_set_phase(shard, TG_PHASE_CLOSING);
  tg_shard_set_timer(shard, tg_patience(TG_T_CLOSE) + 1000);
  tg_ws_close(shard->ws, code, reason, tg_patience(TG_T_CLOSE));
}

static void pause_everybody(struct tg_shard *shard, const struct tg_ws_end *end)
{
  tg_ms pause = end->retry_after > 0 ? end->retry_after : tg_patience(TG_BLOCKED_PAUSE);
  tg_ms until = tg_now() + pause;
  if (until > shard->env->paused_until)
    shard->env->paused_until = until;
  tg_log(TG_ERROR, shard->id, "%s: this address is blocked for a while; no shard of this worker connects "
                              "for the next %lld s", end->error.message, (long long)((pause + 999) / 1000));
}

static void connect_failed(struct tg_shard *shard, const struct tg_ws_end *end)
{
  if (shard->on_resume_url && ++shard->url_fails == TG_URL_FAILS_MAX)
    tg_log(TG_WARN, shard->id, "the resume URL has failed %d times: resuming over the main URL", TG_URL_FAILS_MAX);
  shard->backoff += shard->backoff == 0;
  tg_ms delay = next_delay(shard);
  if (end->http_status == 429 || end->http_status == 403) {
    pause_everybody(shard, end);
  } else {
    tg_log(end->http_status == 400 ? TG_ERROR : TG_WARN, shard->id,
           "connecting failed (try %d): %s; next try in %lld ms%s", shard->backoff - 1, end->error.message,
           (long long)delay, has_session(shard) ? ", the session is kept" : "");
  }
  plan(shard, TG_PLAN_RECONNECT, delay);
  follow_plan(shard);
}

static enum tg_close_action decide(struct tg_shard *shard, int code, const char *reason)
{
  enum tg_close_action action = tg_close_action(code);
  struct tg_value args[] = {tg_value_shard(shard), tg_value_int(code),
                            tg_value_string(reason, strlen(reason))};
  struct tg_value result;
  if (tg_hook_call(shard->env->hooks, TG_METHOD_shard_handle_close, args, 3, TG_STRING, &result)) {
    char name[16] = "";
    if (result.string.length < sizeof name)
      memcpy(name, result.string.at, result.string.length);
    if (!tg_close_action_parse(name, &action))
      tg_log(TG_ERROR, shard->id, "shard.handle_close returned \"%.*s\"; expected \"resume\", \"identify\" "
             "or \"stop\": taking \"%s\"", (int)result.string.length, result.string.at,
             tg_close_action_name(action));
  }
  return action;
}

/* A RESUME that ends without an answer, three times: the session is bricked. */
static bool resume_is_hopeless(struct tg_shard *shard)
{
  return shard->phase == TG_PHASE_RESUMING && ++shard->resume_fails >= TG_RESUME_FAILS_MAX;
}

static void session_ended_by_close(struct tg_shard *shard, const char *why)
{
  tg_log(TG_WARN, shard->id, "%s: the session is given up, a new one will be identified", why);
  tg_shard_forget_session(shard);
}

static void lost_connection(struct tg_shard *shard, const struct tg_ws_end *end)
{
  enum tg_close_action action = decide(shard, end->code, end->reason);
  tg_log(TG_INFO, shard->id, "disconnected: %s (%d%s%s); %s",
         end->error.code[0] ? end->error.message : tg_close_meaning(end->code), end->code,
         end->reason[0] ? ", " : "", end->reason, tg_close_action_name(action));
  atomic_store(&shard->row->last_close_code, end->code);
  tg_shard_end_slot(shard, "closed", end->code);
  if (action == TG_CLOSE_STOP) {
    tg_shard_drop(shard);
    report_fatal(shard, end->code);
    return;
  }
  bool waited_for_ready = shard->phase == TG_PHASE_IDENTIFYING;
  bool hopeless = resume_is_hopeless(shard);
  if (shard->phase == TG_PHASE_READY && tg_now() - shard->settled_at > tg_patience(TG_T_STEADY))
    shard->backoff = 0;
  tg_ms delay = next_delay(shard);
  if (tg_close_wants_pause(end->code))
    delay += tg_patience(2000 + (tg_ms)tg_random(3000));
  if (action == TG_CLOSE_IDENTIFY)
    session_ended_by_close(shard, tg_close_meaning(end->code));
  else if (hopeless)
    session_ended_by_close(shard, "three RESUMEs in a row were cut off");
  bool lost = action == TG_CLOSE_IDENTIFY || hopeless || waited_for_ready;
  plan(shard, lost ? TG_PLAN_LOST : TG_PLAN_RECONNECT, delay);
  follow_plan(shard);
}

static void on_end(void *ctx, const struct tg_ws_end *end)
{
  struct tg_shard *shard = ctx;
  enum tg_phase phase = shard->phase;
  if (phase == TG_PHASE_CLOSING) {
    follow_plan(shard);
    return;
  }
  tell_disconnected(shard, end->code, end->reason);
  if (phase == TG_PHASE_CONNECTING)
    connect_failed(shard, end);
  else
    lost_connection(shard, end);
}

/* ---- deadlines ---- */

static void deadline_passed(struct tg_shard *shard, const char *what)
{
  struct tg_ws_end end = {.code = TG_CLOSE_NONE, .reason = "", .retry_after = -1};
  tg_fail(&end.error, "timeout", "%s", what);
  on_end(shard, &end);
}

/* Discord may be slow in bad hours: READY and RESUMED are given up only when
 * nothing at all arrives (reference, 3.2). */
static bool still_talking(struct tg_shard *shard, tg_ms wait)
{
  if (!shard->packets_since_check)
    return false;
  shard->packets_since_check = false;
  tg_shard_set_timer(shard, tg_patience(wait));
  return true;
}

static void end_of_delay(struct tg_shard *shard)
{
  if (shard->plan == TG_PLAN_RECONNECT) {
    tg_shard_begin(shard);
    return;
  }
  tg_shard_set_phase(shard, TG_PHASE_OFF);
  shard->env->session_lost(shard->env->owner, shard, "session lost");
}

void tg_shard_on_timer(uv_timer_t *timer)
{
  struct tg_shard *shard = timer->data;
  switch (shard->phase) {
  case TG_PHASE_WAITING:
    end_of_delay(shard);
    break;
  case TG_PHASE_CONNECTING:
    deadline_passed(shard, "no connection within the time allowed");
    break;
  case TG_PHASE_HELLO:
    deadline_passed(shard, "connected, but no HELLO came");
    break;
  case TG_PHASE_SLOT:
    tg_shard_slot_expired(shard);
    break;
  case TG_PHASE_IDENTIFYING:
    if (!still_talking(shard, TG_T_READY))
      deadline_passed(shard, "no READY came");
    break;
  case TG_PHASE_RESUMING:
    if (!still_talking(shard, TG_T_RESUMED))
      deadline_passed(shard, "no RESUMED came");
    break;
  case TG_PHASE_CLOSING:
    follow_plan(shard);
    break;
  case TG_PHASE_OFF:
  case TG_PHASE_QUEUED:
  case TG_PHASE_READY:
    break;
  }
}
