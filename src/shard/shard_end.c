/* The end of a connection, and what follows it. */

#include "base/log.h"
#include "shard/shard_impl.h"

#include <stdio.h>
#include <string.h>

/* Where other hosts may take a session from us: so many RESUMED of theirs there may be until we have it
 * again, each with a number that nobody is sent once more. */
enum { RESUMED_ELSEWHERE = 2 };

static void report_fatal(struct tg_shard *shard, int code)
{
  tg_shard_set_phase(shard, TG_PHASE_OFF);
  if (code == TG_CLOSE_DISALLOWED_INTENTS) /* if it goes on, then with others */
    tg_shard_forget_session(shard);
  shard->env->on_fatal(shard->env->owner, shard, code, shard->env->config->intents & ~shard->without);
}

/* The connection is gone and its traces are cleared: what `plan` says. */
static void follow_plan(struct tg_shard *shard)
{
  if (shard->ws && shard->phase > TG_PHASE_CONNECTING && shard->plan != TG_PLAN_STOP)
    atomic_fetch_add(&shard->row->reconnects, 1);
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

tg_ms tg_shard_next_delay(struct tg_shard *shard)
{
  if (shard->phase == TG_PHASE_CLOSING) /* it is decided already */
    return shard->delay;
  int failures = shard->backoff++;
  if (shard->phase == TG_PHASE_READY) {
    bool held = tg_now() - shard->settled_at > tg_patience(TG_T_STEADY);
    shard->flaps = held ? 0 : shard->flaps + 1;
    failures = shard->flaps - TG_FLAPS_MAX;
  }
  if (failures <= 0)
    return 0;
  return tg_backoff(failures - 1, tg_patience(TG_BACKOFF_BASE), tg_patience(TG_BACKOFF_CAP));
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
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_close, args, 3, NULL))
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
  /* A script closes: 1000 and 1001 end the session. */
  if (code == 1000 || code == 1001)
    tg_shard_forget_session(shard);
  plan(shard, tg_shard_has_session(shard) ? TG_PLAN_RECONNECT : TG_PLAN_LOST, 0);
  tell_disconnected(shard, code, reason);
  tg_shard_end_slot(shard, NULL, 0);
  tg_shard_end_handshake(shard);
  uv_timer_stop(shard->beat_timer);
  tg_shard_set_phase(shard, TG_PHASE_CLOSING);
  tg_shard_set_timer(shard, tg_patience(TG_T_CLOSE) + 1000);
  tg_ws_close(shard->ws, code, reason, tg_patience(TG_T_CLOSE));
}

bool tg_shard_reconnect(struct tg_shard *shard, struct tg_error *error)
{
  if (shard->phase == TG_PHASE_OFF || shard->plan == TG_PLAN_STOP)
    return tg_fail(error, "refused", "shard %d is off, so that there is nothing to reconnect", shard->id);
  if (!tg_shard_has_session(shard))
    return tg_fail(error, "refused", "shard %d has no session to resume: reconnecting would cost an identify",
                   shard->id);
  if (shard->phase != TG_PHASE_READY)
    return true;
  tg_log(TG_INFO, shard->id, "reconnecting by request");
  tg_shard_leave(shard, TG_CLOSE_KEEP, "", TG_PLAN_RECONNECT, 0);
  return true;
}

static void pause_everybody(struct tg_shard *shard, const struct tg_ws_end *end)
{
  tg_ms pause = end->retry_after > 0 ? end->retry_after : tg_patience(TG_BLOCKED_PAUSE);
  tg_ms until = tg_now() + pause;
  if (until > shard->env->paused_until)
    shard->env->paused_until = until;
  tg_log_with(TG_ERROR, shard->id,
              TG_WITH(TG_NUMBER(CODE, end->http_status), TG_NUMBER(DELAY, pause),
                      TG_TEXT(REASON, end->error.message)),
              "this address is blocked for a while; no shard of this worker connects until then");
}

/* Nothing but a HELLO shows that the resume URL leads to Discord. */
static void count_url_fail(struct tg_shard *shard)
{
  if (shard->on_resume_url && ++shard->url_fails == TG_URL_FAILS_MAX)
    tg_log_with(TG_WARN, shard->id, TG_WITH(TG_NUMBER(ATTEMPT, TG_URL_FAILS_MAX)),
                "the resume URL has failed too often: resuming over the main URL");
}

static void connect_failed(struct tg_shard *shard, const struct tg_ws_end *end)
{
  count_url_fail(shard);
  shard->backoff += shard->backoff == 0;
  tg_ms delay = tg_shard_next_delay(shard);
  if (end->http_status == 429 || end->http_status == 403) {
    pause_everybody(shard, end);
  } else {
    tg_log_with(end->http_status == 400 ? TG_ERROR : TG_WARN, shard->id,
                TG_WITH(TG_NUMBER_IF(end->http_status, CODE, end->http_status),
                        TG_NUMBER(ATTEMPT, shard->backoff - 1), TG_NUMBER(DELAY, delay),
                        TG_TEXT(NEXT, tg_shard_has_session(shard) ? "resume" : "identify"),
                        TG_TEXT(REASON, end->error.message)),
                "connecting failed");
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
  if (tg_hook_call(shard->env->hooks, TG_METHOD_shard_handle_close, args, 3, &result)) {
    char name[16] = "";
    if (result.string.length < sizeof name)
      memcpy(name, result.string.at, result.string.length);
    if (!tg_close_action_parse(name, &action))
      tg_log(TG_ERROR, shard->id,
             "shard.handle_close returned \"%.*s\"; expected \"resume\", \"identify\" "
             "or \"stop\": taking \"%s\"",
             (int)result.string.length, result.string.at, tg_close_action_name(action));
  }
  return action;
}

/* A RESUME that ends without an answer, three times: the session is bricked. */
static bool resume_is_hopeless(struct tg_shard *shard)
{
  return shard->phase == TG_PHASE_RESUMING && ++shard->resume_fails >= TG_RESUME_FAILS_MAX;
}

static void give_session_up(struct tg_shard *shard, const char *why)
{
  tg_log_with(TG_WARN, shard->id, TG_WITH(TG_TEXT(NEXT, "identify"), TG_TEXT(REASON, why)),
              "the session is given up");
  tg_shard_forget_session(shard);
}

void tg_shard_give_up(struct tg_shard *shard, int code, tg_ms delay)
{
  if (shard->phase == TG_PHASE_CLOSING)
    return;
  bool lost = tg_shard_needs_identify(shard);
  if (resume_is_hopeless(shard)) {
    give_session_up(shard, "three RESUMEs in a row came to nothing");
    lost = true;
  }
  tg_shard_leave(shard, code, "", lost ? TG_PLAN_LOST : TG_PLAN_RECONNECT, delay);
}

static void count_close(struct tg_shard *shard, int code)
{
  atomic_store(&shard->row->last_close_code, code);
  atomic_fetch_add(&shard->row->closes[tg_close_place(code)], 1);
}

static void lost_connection(struct tg_shard *shard, const struct tg_ws_end *end)
{
  enum tg_close_action action = decide(shard, end->code, end->reason);
  const char *meaning = tg_close_meaning(end->code);
  const char *what = end->error.code[0] ? end->error.message : meaning;
  count_close(shard, end->code);
  if (action == TG_CLOSE_STOP) {
    tg_log_with(TG_INFO, shard->id,
                TG_WITH(TG_NUMBER(CODE, end->code), TG_TEXT(REASON, end->reason), TG_TEXT(NEXT, "stop")),
                "disconnected: %s", what);
    tg_shard_end_slot(shard, "closed", end->code);
    tg_shard_drop(shard);
    report_fatal(shard, end->code);
    return;
  }
  bool hopeless = resume_is_hopeless(shard);
  bool lost = action == TG_CLOSE_IDENTIFY || hopeless || tg_shard_needs_identify(shard);
  bool resumes = !lost && tg_shard_has_session(shard);
  tg_ms delay = tg_shard_next_delay(shard);
  if (tg_close_wants_pause(end->code))
    delay += tg_patience(2000 + (tg_ms)tg_random(3000));
  /* An answer that did not come is worth a warning: shards that wait for one get no events. */
  tg_log_with(strcmp(end->error.code, "timeout") == 0 ? TG_WARN : TG_INFO, shard->id,
              TG_WITH(TG_NUMBER(CODE, end->code), TG_TEXT(REASON, end->reason),
                      TG_TEXT(NEXT, resumes ? "resume" : "identify"), TG_NUMBER(DELAY, delay)),
              "disconnected: %s", what);
  tg_shard_end_slot(shard, "closed", end->code);
  if (shard->phase == TG_PHASE_HELLO) {
    count_url_fail(shard);
    tg_ws_blame_address(shard->ws);
  }
  if (action == TG_CLOSE_IDENTIFY)
    give_session_up(shard, meaning);
  else if (hopeless)
    give_session_up(shard, "three RESUMEs in a row came to nothing");
  plan(shard, lost ? TG_PLAN_LOST : TG_PLAN_RECONNECT, delay);
  follow_plan(shard);
}

void tg_shard_hurry(struct tg_shard *shard)
{
  if (shard->phase == TG_PHASE_CLOSING)
    follow_plan(shard);
}

static void take_end(struct tg_shard *shard, const struct tg_ws_end *end)
{
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

/* If another connection had taken the session over, this one would end so. */
void tg_shard_on_end(void *ctx, const struct tg_ws_end *end)
{
  struct tg_shard *shard = ctx;
  bool had = shard->env->clustered && shard->phase != TG_PHASE_CLOSING && shard->in_session;
  take_end(shard, end);
  if (!had || !tg_shard_has_session(shard))
    return;
  shard->cut = true;
  atomic_fetch_add(&shard->row->unheard, RESUMED_ELSEWHERE);
  shard->env->connection_cut(shard->env->owner, shard);
}

/* ---- deadlines ---- */

static void deadline_passed(struct tg_shard *shard, const char *what)
{
  struct tg_ws_end end = {.code = TG_CLOSE_NONE, .reason = "", .retry_after = -1};
  tg_fail(&end.error, "timeout", "%s", what);
  if (shard->ws)
    tg_ws_blame_address(shard->ws);
  take_end(shard, &end);
}

static void connecting_takes_too_long(struct tg_shard *shard)
{
  char progress[400] = "gateway.shard:connect has not connected", text[480];
  if (shard->ws)
    tg_ws_progress(shard->ws, progress, sizeof progress);
  snprintf(text, sizeof text, "no connection within the time allowed: %s", progress);
  deadline_passed(shard, text);
}

/* Only events show that a RESUME is being answered: ACKs and pings come from a
 * Discord that has forgotten it, too. Before READY there are no events, and Discord
 * may be slow with it in bad hours; so one IDENTIFY gets a fair time, and the next
 * ones more and more, as each of them costs one of the day's. */
static tg_ms answer_due(const struct tg_shard *shard)
{
  if (shard->phase == TG_PHASE_IDENTIFYING) {
    int doublings = shard->unanswered < 3 ? shard->unanswered : 3;
    tg_ms wait = (tg_ms)TG_T_READY << doublings;
    return shard->asked_at + tg_patience(wait < TG_T_READY_MAX ? wait : TG_T_READY_MAX);
  }
  tg_ms quiet = shard->event_at + tg_patience(TG_T_RESUMED);
  tg_ms last = shard->asked_at + tg_patience(TG_T_REPLAY_MAX);
  return quiet < last ? quiet : last;
}

void tg_shard_await(struct tg_shard *shard, enum tg_phase phase)
{
  shard->asked_at = shard->event_at = tg_now();
  shard->beats_before_ready = 0;
  shard->overdue = false;
  tg_shard_set_phase(shard, phase);
  tg_shard_set_timer(shard, answer_due(shard) - shard->asked_at);
}

static void look_for_answer(struct tg_shard *shard)
{
  tg_ms left = answer_due(shard) - tg_now();
  if (left <= 0 && shard->overdue) {
    bool resuming = shard->phase == TG_PHASE_RESUMING;
    shard->unanswered += !resuming;
    deadline_passed(shard, resuming ? "no RESUMED came" : "no READY came");
    return;
  }
  /* It may be this loop that is late: what has come meanwhile is read first. */
  shard->overdue = left <= 0;
  tg_shard_set_timer(shard, left > 0 ? left : 1);
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
    connecting_takes_too_long(shard);
    break;
  case TG_PHASE_HELLO:
    deadline_passed(shard, "connected, but no HELLO came");
    break;
  case TG_PHASE_SLOT:
    tg_shard_slot_expired(shard);
    break;
  case TG_PHASE_IDENTIFYING:
  case TG_PHASE_RESUMING:
    look_for_answer(shard);
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
