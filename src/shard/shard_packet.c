/* The opcodes that Discord sends, in each phase. */

#include "base/log.h"
#include "proto/event_types.h"
#include "proto/payload.h"
#include "shard/shard_impl.h"

#include <stdio.h>
#include <string.h>

enum { BEAT_MIN = 100, BEAT_MAX = 600000, BEAT_USUAL = 41250 };

static tg_ms read_interval(struct tg_shard *shard, const struct tg_envelope *packet)
{
  struct tg_span value;
  uint64_t interval;
  if (tg_json_member(packet->data, "heartbeat_interval", &value) && tg_json_uint(value, &interval) &&
      interval >= BEAT_MIN && interval <= BEAT_MAX)
    return (tg_ms)interval;
  tg_log(TG_WARN, shard->id, "HELLO has no sensible heartbeat_interval: taking %d ms", BEAT_USUAL);
  return BEAT_USUAL;
}

static void on_hello(struct tg_shard *shard, const struct tg_envelope *packet)
{
  if (shard->phase != TG_PHASE_HELLO)
    return;
  tg_shard_end_handshake(shard);
  tg_shard_hello(shard, read_interval(shard, packet));
  tg_shard_limit_sends(shard);
  tg_shard_life(shard, TG_LIFE_hello, NULL);
  if (shard->phase != TG_PHASE_HELLO)
    return; /* a script has closed */
  if (!tg_shard_has_session(shard)) {
    tg_shard_prepare_identify(shard);
    return;
  }
  if (__builtin_expect(tg_shard_is_withheld(shard), 0)) {
    tg_shard_leave(shard, TG_CLOSE_KEEP, "", TG_PLAN_RECONNECT, TG_WITHHELD_LOOK);
    return;
  }
  struct tg_value self = tg_value_shard(shard);
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_resume, &self, 1, NULL))
    tg_shard_resume(shard);
}

void tg_shard_resume(struct tg_shard *shard)
{
  if (shard->phase != TG_PHASE_HELLO) {
    /* Scripts may ask at any time: a fresh connection for the same session. */
    if (shard->phase == TG_PHASE_READY)
      tg_shard_leave(shard, TG_CLOSE_KEEP, "",
                     tg_shard_needs_identify(shard) ? TG_PLAN_LOST : TG_PLAN_RECONNECT, 0);
    return;
  }
  struct tg_buf frame = {0};
  uint64_t sequence;
  tg_shard_durable_sequence(shard, &sequence);
  tg_payload_resume(&frame, shard->env->config->token, shard->session.id, sequence);
  shard->resumed_from = sequence;
  shard->in_session = true;
  atomic_fetch_add(&shard->row->unheard, 1);
  tg_shard_await(shard, TG_PHASE_RESUMING);
  tg_shard_send_frame(shard, &frame);
  tg_buf_free(&frame);
  tg_log_with(TG_DEBUG, shard->id,
              TG_WITH(TG_NUMBER(EPOCH, shard->session.epoch), TG_NUMBER(SEQUENCE, sequence)), "resuming");
  tg_shard_life(shard, TG_LIFE_resuming, NULL);
}

/* ---- op 0 ---- */

/* Reads a text of READY's d. One that is not there, or that `to` cannot hold, is
 * left empty; the log says so, and what it means. */
static void read_text(struct tg_shard *shard, const struct tg_envelope *packet, const char *key, char *to,
                      size_t size, const char *meaning)
{
  struct tg_span value = {0};
  tg_json_member(packet->data, key, &value);
  json_t *text = value.at ? json_loadb(value.at, value.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
  size_t length = json_string_length(text);
  bool fits = length < size && (length == 0 || strlen(json_string_value(text)) == length);
  if (length == 0 || !fits)
    tg_log(TG_WARN, shard->id, "READY has %s %s: %s", fits ? "no" : "too long or too strange a", key,
           meaning);
  else
    memcpy(to, json_string_value(text), length + 1);
  json_decref(text);
}

static uint64_t next_epoch(const struct tg_shard *shard)
{
  tg_ms now = tg_wall_clock();
  if (shard->session.epoch == 0 && !tg_clock_is_sane(now))
    tg_log(TG_WARN, shard->id,
           "the clock of this machine is wrong: it says %lld seconds since 1970. A bot that has seen later "
           "epochs than those that begin now takes new events for old ones",
           (long long)(now / 1000));
  const struct tg_shard_env *env = shard->env;
  uint64_t last = env->last_epoch ? env->last_epoch(env->owner, shard) : 0;
  if (last < shard->session.epoch)
    last = shard->session.epoch;
  return shard->granted_epoch > last ? shard->granted_epoch : tg_next_epoch(last, now);
}

static void tell_up(struct tg_shard *shard, bool resumed)
{
  if (shard->env->clustered)
    shard->env->session_up(shard->env->owner, shard, resumed);
}

static void begin_session(struct tg_shard *shard, const struct tg_envelope *packet)
{
  struct tg_session session = {.epoch = next_epoch(shard), .seen_at = tg_wall_clock()};
  read_text(shard, packet, "session_id", session.id, sizeof session.id,
            "this session cannot be resumed, when its connection ends the shard identifies");
  read_text(shard, packet, "resume_gateway_url", session.resume_url, sizeof session.resume_url,
            "resumes go to the main URL");
  tg_session_store(shard->row, &session);
  atomic_store(&shard->row->missing_intents, shard->without);
  atomic_store(&shard->row->unheard, 0);
  shard->session = session;
  shard->in_session = true;
  shard->env->on_session(shard->env->owner, shard, session.epoch);
  tg_shard_settled(shard);
  tg_shard_end_slot(shard, "ready", 0);
  tell_up(shard, false);
  tg_log_with(TG_INFO, shard->id, TG_WITH(TG_NUMBER(EPOCH, session.epoch)), "ready: a new session");
  tg_shard_life(shard, TG_LIFE_ready, NULL);
}

static void end_replay(struct tg_shard *shard, bool numbered)
{
  if (!numbered) /* nothing will be missing where it stood */
    atomic_fetch_sub(&shard->row->unheard, 1);
  atomic_fetch_add(&shard->row->resumes, 1);
  tg_shard_settled(shard);
  tell_up(shard, true);
  tg_log_with(TG_INFO, shard->id,
              TG_WITH(TG_NUMBER(EPOCH, shard->session.epoch), TG_NUMBER(SEQUENCE, shard->resumed_from)),
              "resumed");
  tg_shard_send_presence(shard);
  tg_shard_life(shard, TG_LIFE_resumed, NULL);
}

/* Once a connection: whoever sends one such event may send them all like that. */
static void tell_unnamed(struct tg_shard *shard, const struct tg_event *event, const char *what)
{
  if (shard->told_unnamed)
    return;
  shard->told_unnamed = true;
  char type[48];
  snprintf(type, sizeof type, "%.*s", (int)event->name.length, event->name.at);
  tg_log_with(TG_WARN, shard->id, TG_WITH(TG_TEXT(EVENT, type), TG_TEXT(REASON, what)),
              "Discord has sent an event that nothing can name: it does not reach the bot");
}

/* Hands it on. What has no number is no part of the session's stream: it cannot be
 * told from another one, nor be acknowledged. But READY is always the first. */
static void take_event(struct tg_shard *shard, struct tg_event *event, const struct tg_envelope *packet)
{
  event->epoch = shard->session.epoch;
  event->sequence = packet->has_sequence ? packet->sequence : 0;
  if (event->sequence == 0 && event->type == TG_EVENT_READY)
    event->sequence = 1;
  if (event->sequence == 0) {
    tell_unnamed(shard, event, "it has no sequence");
    return;
  }
  if (event->sequence > shard->session.sequence)
    shard->session.sequence = event->sequence;
  shard->has_sequence = true;
  shard->env->on_dispatch(shard->env->owner, shard, event);
}

enum { NAME_MAX_BYTES = 256 };

static void on_dispatch(struct tg_shard *shard, const char *text, size_t length,
                        const struct tg_envelope *packet)
{
  char name[NAME_MAX_BYTES];
  struct tg_event event = {
      .shard_id = shard->id,
      .side = (uint8_t)shard->of->side,
      .total_shards = shard->of->total_shards,
      .name = tg_envelope_name(packet, name, sizeof name),
      .raw = {text, length},
      .data = packet->data,
      .replayed = shard->phase == TG_PHASE_RESUMING,
  };
  event.type = tg_event_type(event.name.at, event.name.length);
  bool begins = shard->phase == TG_PHASE_IDENTIFYING && event.type == TG_EVENT_READY;
  if (!begins && !shard->in_session) {
    if (shard->phase != TG_PHASE_CLOSING) /* late ones of a session that is no more */
      tell_unnamed(shard, &event, "there is no session");
    return;
  }
  if (begins)
    begin_session(shard, packet);
  if (event.replayed) { /* the session lives, whatever cuts this replay off */
    shard->resume_fails = 0;
    shard->event_at = tg_now();
  }
  unsigned connection = shard->connection;
  take_event(shard, &event, packet);
  if (event.type == TG_EVENT_RESUMED && shard->phase == TG_PHASE_RESUMING && shard->connection == connection)
    end_replay(shard, event.sequence > 0);
}

/* ---- op 1, 7, 9, 11 ---- */

static void on_reconnect(struct tg_shard *shard)
{
  tg_ms delay = tg_shard_next_delay(shard);
  if (shard->phase == TG_PHASE_HELLO)
    delay += tg_patience(TG_T_EMPTY);
  tg_log_with(TG_INFO, shard->id, TG_WITH(TG_NUMBER(DELAY, delay)), "Discord asks for a reconnect");
  tg_shard_life(shard, TG_LIFE_requested_reconnect, NULL);
  enum tg_plan plan = tg_shard_needs_identify(shard) ? TG_PLAN_LOST : TG_PLAN_RECONNECT;
  tg_shard_leave(shard, TG_CLOSE_KEEP, "", plan, delay);
}

/* The wait before the next try spreads the load. */
static tg_ms invalid_session_wait(void)
{
  return tg_patience(1000 + (tg_ms)tg_random(4000));
}

static void on_invalid_session(struct tg_shard *shard, bool resumable)
{
  enum tg_phase phase = shard->phase;
  if (phase < TG_PHASE_SLOT)
    return;
  bool identifying = phase == TG_PHASE_IDENTIFYING, resumes = resumable && tg_shard_has_session(shard);
  if (phase == TG_PHASE_RESUMING && resumable && ++shard->resume_fails >= TG_RESUME_FAILS_MAX)
    resumes = false;
  tg_ms delay = invalid_session_wait();
  tg_log_with(TG_INFO, shard->id,
              TG_WITH(TG_TEXT(NEXT, resumes ? "resume" : "identify"), TG_NUMBER(DELAY, delay)),
              "the session is invalid");
  tg_shard_life(shard, TG_LIFE_invalid_session, json_pack("{s:b}", "resumable", resumable));
  if (identifying)
    tg_shard_end_slot(shard, "invalid", 0);
  else if (!resumes)
    tg_shard_forget_session(shard);
  tg_shard_leave(shard, TG_CLOSE_KEEP, "", resumes ? TG_PLAN_RECONNECT : TG_PLAN_LOST, delay);
}

static void on_ack(struct tg_shard *shard)
{
  if (!shard->beat_sent || shard->beat_acked)
    return;
  shard->beat_acked = true;
  shard->unacked_since = 0;
  shard->rtt = (int)(tg_now() - shard->beat_sent);
  atomic_store(&shard->row->rtt, shard->rtt);
  if (shard->env->hooks->want_life[TG_LIFE_heartbeat_ack])
    tg_shard_life(shard, TG_LIFE_heartbeat_ack, json_pack("{s:i}", "rtt", shard->rtt));
}

bool tg_shard_packet_event(const struct tg_shard *shard, uint64_t *epoch, uint64_t *sequence, uint16_t *type)
{
  struct tg_envelope packet;
  if (!shard->text.at || !tg_envelope_scan(shard->text.at, shard->text.length, &packet) ||
      packet.op != TG_OP_DISPATCH || !packet.has_sequence || !packet.name.at)
    return false;
  *epoch = shard->session.epoch + (shard->phase == TG_PHASE_IDENTIFYING);
  *sequence = packet.sequence;
  *type = tg_event_type(packet.name.at, packet.name.length);
  return true;
}

void tg_shard_handle_packet(struct tg_shard *shard, const char *text, size_t length)
{
  struct tg_envelope packet;
  if (!shard->ws)
    return;
  if (!tg_envelope_scan(text, length, &packet)) {
    char what[80];
    snprintf(what, sizeof what, "Discord sent %zu bytes that are not a gateway message", length);
    tg_shard_break_off(shard, what);
    return;
  }
  if (packet.op == TG_OP_DISPATCH && packet.has_sequence && packet.sequence > TG_SEQUENCE_MAX) {
    char what[80];
    snprintf(what, sizeof what, "Discord sent an event with a sequence above %u", TG_SEQUENCE_MAX);
    tg_shard_break_off(shard, what);
    return;
  }
  if (shard->phase == TG_PHASE_CLOSING && packet.op != TG_OP_DISPATCH)
    return; /* only events still count, the rest comes too late */
  switch (packet.op) {
  case TG_OP_DISPATCH:
    on_dispatch(shard, text, length, &packet);
    break;
  case TG_OP_HEARTBEAT:
    tg_shard_answer_heartbeat(shard);
    break;
  case TG_OP_RECONNECT:
    on_reconnect(shard);
    break;
  case TG_OP_INVALID_SESSION:
    on_invalid_session(shard, tg_json_is(packet.data, "true"));
    break;
  case TG_OP_HELLO:
    on_hello(shard, &packet);
    break;
  case TG_OP_HEARTBEAT_ACK:
    on_ack(shard);
    break;
  default:
    tg_log(TG_DEBUG, shard->id, "op %d is unknown and ignored", packet.op);
  }
}
