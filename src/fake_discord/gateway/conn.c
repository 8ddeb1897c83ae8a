#include "fake_discord/gateway/conn.h"

#include "base/utf8.h"
#include "fake_discord/gateway/feeding.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/journal.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSE_TIMEOUT = 2000 };

const char *tg_fake_state_name(enum tg_fake_state state)
{
  static const char *const names[] = {"connected", "unidentified", "identifying", "resuming",
                                      "ready",     "closing",      "gone"};
  return names[state];
}

struct tg_fake_conn *tg_fake_conn_find(struct tg_fake *fake, unsigned id)
{
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  if (conn->id == id)
    return conn;
  return NULL;
}

/* ---- sending ---- */

void tg_fake_conn_send(struct tg_fake_conn *conn, const char *text, size_t length)
{
  if (conn->state >= TG_FAKE_CLOSING)
    return;
  if (conn->pump)
    conn->fake->feeding->hold(conn->pump, text, length);
  else
    tg_fake_wire_message(conn, text, length);
}

void tg_fake_conn_send_op(struct tg_fake_conn *conn, int op, const char *d)
{
  char text[160];
  int length = snprintf(text, sizeof text, "{\"t\":null,\"s\":null,\"op\":%d,\"d\":%s}", op, d);
  tg_fake_conn_send(conn, text, (size_t)length);
}

void tg_fake_conn_hello(struct tg_fake_conn *conn)
{
  char d[120];
  snprintf(d, sizeof d,
           "{\"heartbeat_interval\":%" PRId64 ",\"_trace\":[\"[\\\"fake\\\",{\\\"micros\\\":0.0}]\"]}",
           conn->fake->settings.heartbeat_interval);
  tg_fake_conn_send_op(conn, TG_OP_HELLO, d);
  if (conn->state == TG_FAKE_CONNECTED)
    conn->state = TG_FAKE_UNIDENTIFIED;
  tg_fake_conn_expect_beat(conn);
}

/* ---- heartbeats ---- */

static void on_missed_beat(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  struct tg_fake *fake = conn->fake;
  const char *mode = fake->settings.missed_heartbeat;
  if (conn->deaf || conn->unread || conn->state >= TG_FAKE_CLOSING || strcmp(mode, "off") == 0)
    return;
  tg_fake_note(fake, TG_FAKE_LIST_heartbeats_missed,
               json_pack("{s:i, s:o, s:o}", "connection", (int)conn->id, "shard",
                         tg_fake_conn_shard_json(conn), "total", tg_fake_conn_total_json(conn)));
  tg_fake_violation(fake, conn, "heartbeat_missed", mode, "no op 1 for %" PRId64 " ms",
                    fake->settings.heartbeat_interval * 3 / 2);
  if (strcmp(mode, "drop") == 0) {
    tg_fake_conn_drop(conn, TG_STREAM_RESET);
    return;
  }
  if (conn->session)
    tg_fake_session_kill(conn->session, "heartbeat missed");
  tg_fake_conn_close(conn, atoi(mode), strcmp(mode, "4009") == 0 ? "Session timed out." : "");
}

void tg_fake_conn_expect_beat(struct tg_fake_conn *conn)
{
  tg_fake_after(conn->fake, &conn->beats.deadline, conn->fake->settings.heartbeat_interval * 3 / 2,
                on_missed_beat, conn);
}

/* ---- the end ---- */

static void record_end(struct tg_fake_conn *conn, const char *by, const char *how, int code,
                       const char *reason)
{
  json_t *text = json_string(reason ? reason : "");
  tg_fake_note(conn->fake, TG_FAKE_LIST_closes,
               json_pack("{s:i, s:o, s:o, s:s, s:s, s:o, s:o}", "connection", (int)conn->id, "shard",
                         tg_fake_conn_shard_json(conn), "total", tg_fake_conn_total_json(conn), "by", by,
                         "how", how, "code", code ? json_integer(code) : json_null(), "reason",
                         text ? text : json_null()));
  char name[16];
  snprintf(name, sizeof name, "%d", code);
  if (strcmp(how, "close") == 0)
    tg_fake_count(json_object_get(conn->fake->journal->closes_by_code, by), name);
}

static void let_session_go(struct tg_fake_conn *conn)
{
  if (conn->session)
    tg_fake_session_detach(conn->session);
  tg_fake_cancel(&conn->delayed);
  tg_fake_cancel(&conn->beats.deadline);
}

static void destroy(struct tg_fake_conn *conn, enum tg_stream_close how)
{
  if (conn->state == TG_FAKE_GONE)
    return;
  let_session_go(conn);
  tg_fake_note(conn->fake, TG_FAKE_LIST_closed_connections, tg_fake_conn_to_json(conn));
  conn->state = TG_FAKE_GONE;
  tg_fake_cancel(&conn->closing);
  LIST_REMOVE(conn, link);
  tg_fake_encoder_free(conn->encoder);
  tg_fake_reader_free(&conn->reader);
  free(conn->sent_at);
  free(conn->pending_identify);
  tg_fake_http_drop(conn->http, how);
  tg_fake_bury(conn->fake, conn);
}

void tg_fake_conn_drop(struct tg_fake_conn *conn, enum tg_stream_close how)
{
  if (conn->state == TG_FAKE_GONE)
    return;
  if (conn->state != TG_FAKE_CLOSING)
    record_end(conn, "server", how == TG_STREAM_RESET ? "reset" : "fin", 0, NULL);
  destroy(conn, how);
}

/* Discord ends TLS without close_notify. */
static enum tg_stream_close usual_end(const struct tg_fake_conn *conn)
{
  return conn->fake->settings.close_notify ? TG_STREAM_GRACEFUL : TG_STREAM_FIN;
}

static void on_close_timeout(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  destroy(conn, usual_end(conn));
}

static void finish_if_closed(struct tg_fake_conn *conn)
{
  if (conn->peer_closed && tg_stream_unsent(conn->stream) == 0)
    destroy(conn, usual_end(conn));
}

static void send_close(struct tg_fake_conn *conn, int code, const char *reason)
{
  let_session_go(conn);
  char payload[125];
  size_t length = tg_fake_close_payload(payload, code, reason);
  tg_fake_wire_control(conn, TG_WS_CLOSE, payload, length);
  conn->state = TG_FAKE_CLOSING;
  tg_fake_after(conn->fake, &conn->closing, CLOSE_TIMEOUT, on_close_timeout, conn);
}

void tg_fake_conn_close(struct tg_fake_conn *conn, int code, const char *reason)
{
  if (conn->state >= TG_FAKE_CLOSING)
    return;
  record_end(conn, "server", "close", code, reason);
  send_close(conn, code, reason);
}

/* ---- receiving ---- */

static void on_client_close(struct tg_fake_conn *conn, const struct tg_fake_frame *frame)
{
  conn->peer_closed = true;
  if (conn->state == TG_FAKE_CLOSING) {
    finish_if_closed(conn);
    return;
  }
  const unsigned char *payload = (const unsigned char *)frame->payload;
  int code = frame->length >= 2 ? payload[0] << 8 | payload[1] : 0;
  char reason[124] = "";
  if (frame->length > 2)
    snprintf(reason, sizeof reason, "%.*s", (int)frame->length - 2, frame->payload + 2);
  record_end(conn, "client", "close", code, reason);
  bool wrong = frame->length == 1 || (code && !tg_fake_close_code_is_legal(code)) ||
               tg_utf8_valid(reason, strlen(reason)) < strlen(reason);
  if (wrong)
    tg_fake_violation(conn->fake, conn, "close_frame", "1002", "Close frame with code %d", code);
  /* Our own 1000 or 1001 ends the session. */
  if (conn->session && (code == 1000 || code == 1001))
    tg_fake_session_kill(conn->session, "closed by the client");
  send_close(conn, wrong ? 1002 : code, "");
  finish_if_closed(conn);
}

static void on_pong(struct tg_fake_conn *conn, const struct tg_fake_frame *frame)
{
  conn->pongs++;
  snprintf(conn->last_pong, sizeof conn->last_pong, "%.*s", (int)frame->length,
           frame->length ? frame->payload : "");
}

static void on_control(struct tg_fake_conn *conn, const struct tg_fake_frame *frame)
{
  if (frame->opcode == TG_WS_PING)
    tg_fake_wire_control(conn, TG_WS_PONG, frame->payload, frame->length);
  else if (frame->opcode == TG_WS_PONG)
    on_pong(conn, frame);
  else if (frame->opcode == TG_WS_CLOSE)
    on_client_close(conn, frame);
}

static void on_wrong_frame(struct tg_fake_conn *conn, const struct tg_fake_frame *frame)
{
  char verdict[8];
  snprintf(verdict, sizeof verdict, "%d", frame->code);
  tg_fake_violation(conn->fake, conn, frame->code == 4002 ? "frame_size" : "websocket", verdict, "%s",
                    frame->reason);
  tg_fake_conn_close(conn, frame->code, frame->reason);
}

static void on_data(void *ctx, const char *bytes, size_t length)
{
  struct tg_fake_conn *conn = ctx;
  if (conn->deaf || conn->peer_closed)
    return;
  if (conn->reader.broken) { /* its Close cannot be read any more; that it answered is enough */
    conn->peer_closed = true;
    finish_if_closed(conn);
    return;
  }
  tg_fake_reader_feed(&conn->reader, bytes, length);
  for (;;) {
    struct tg_fake_frame frame;
    enum tg_fake_read what = tg_fake_reader_next(&conn->reader, &frame);
    if (what == TG_FAKE_READ_MORE)
      return;
    if (what == TG_FAKE_READ_CONTROL)
      on_control(conn, &frame);
    else if (conn->state == TG_FAKE_CLOSING)
      continue; /* what crossed our Close does not count */
    else if (what == TG_FAKE_READ_WRONG)
      on_wrong_frame(conn, &frame);
    else
      conn->receive(conn, &frame);
    if (conn->state == TG_FAKE_GONE || conn->peer_closed)
      return;
  }
}

static void on_end(void *ctx, const struct tg_error *error)
{
  struct tg_fake_conn *conn = ctx;
  if (conn->state != TG_FAKE_CLOSING)
    record_end(conn, "client", strcmp(error->code, "eof") == 0 ? "fin" : "reset", 0, NULL);
  destroy(conn, TG_STREAM_FIN);
}

static void on_drain(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  if (conn->state == TG_FAKE_CLOSING) {
    finish_if_closed(conn);
    return;
  }
  if (conn->pump)
    conn->fake->feeding->run(conn->pump);
  if (conn->session)
    tg_fake_session_pump(conn->session);
  conn->fake->feeding->kick(conn->fake);
}

/* ---- the beginning ---- */

static const struct tg_stream_callbacks callbacks = {
    .on_data = on_data, .on_end = on_end, .on_drain = on_drain};

struct tg_fake_conn *tg_fake_conn_new(struct tg_fake *fake, struct tg_fake_http *http, const char *host,
                                      int version, enum tg_compression compression, const char *head,
                                      tg_fake_receive *receive)
{
  struct tg_fake_conn *conn = tg_calloc(1, sizeof *conn);
  conn->fake = fake;
  conn->http = http;
  conn->receive = receive;
  conn->id = ++fake->next_conn_id;
  conn->shard_id = conn->total = -1;
  conn->opened_at = tg_fake_at(fake);
  conn->version = version;
  conn->compression = compression;
  conn->encoder = tg_fake_encoder_new(compression, (int)fake->settings.zlib_level);
  snprintf(conn->host, sizeof conn->host, "%s", host);
  LIST_INSERT_HEAD(&fake->conns, conn, link);
  conn->stream = tg_fake_http_upgrade(http, head, &callbacks, conn);
  fake->journal->counters.upgrades++;
  return conn;
}

json_t *tg_fake_conn_to_json(const struct tg_fake_conn *conn)
{
  static const char *const compressions[] = {"none", "zlib-stream", "zstd-stream"};
  json_t *beats = json_array();
  uint64_t kept = conn->beats.count < TG_FAKE_BEATS_KEPT ? conn->beats.count : TG_FAKE_BEATS_KEPT;
  for (uint64_t i = conn->beats.count - kept; i < conn->beats.count; i++) {
    int64_t d = conn->beats.last[i % TG_FAKE_BEATS_KEPT].d;
    json_array_append_new(beats, json_pack("{s:I, s:o, s:b}", "at",
                                           (json_int_t)conn->beats.last[i % TG_FAKE_BEATS_KEPT].at, "d",
                                           d < 0 ? json_null() : json_integer(d), "acked",
                                           conn->beats.last[i % TG_FAKE_BEATS_KEPT].acked));
  }
  return json_pack("{s:i, s:o, s:i, s:s, s:s, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:I, s:b, s:I, s:s}",
                   "connection", (int)conn->id, "shard", tg_fake_conn_shard_json(conn), "total", conn->total,
                   "state", tg_fake_state_name(conn->state), "host", conn->host, "compress",
                   compressions[conn->compression], "opened_at", (json_int_t)conn->opened_at, "session_id",
                   conn->session ? json_string(conn->session->id) : json_null(), "frames",
                   (json_int_t)conn->frames, "dispatches", (json_int_t)conn->dispatches, "heartbeats",
                   (json_int_t)conn->beats.count, "heartbeats_acked", (json_int_t)conn->beats.acked,
                   "last_heartbeats", beats, "unsent", (json_int_t)tg_stream_unsent(conn->stream), "deaf",
                   conn->deaf, "pongs", (json_int_t)conn->pongs, "last_pong", conn->last_pong);
}
