#include "fake_discord/gateway/conn.h"

#include "fake_discord/gateway/commands.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/gateway/points.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/world/journal.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void decode_error(struct tg_fake_conn *conn, const char *rule, const char *text)
{
  tg_fake_violation(conn->fake, conn, rule, "4002", "%s", text);
  tg_fake_conn_close(conn, 4002, "Error while decoding payload.");
}

/* Reference, 5.1: all frames count, in any window of 60 s. */
static bool is_within_send_limit(struct tg_fake_conn *conn)
{
  const struct tg_fake_settings *settings = &conn->fake->settings;
  size_t limit = (size_t)settings->send_limit;
  if (!conn->sent_at || conn->sent_limit != limit) {
    free(conn->sent_at);
    conn->sent_at = tg_calloc(limit, sizeof *conn->sent_at);
    conn->sent_limit = limit;
    conn->sent = 0;
  }
  tg_ms now = tg_fake_at(conn->fake), *oldest = &conn->sent_at[conn->sent % limit];
  bool within = conn->sent < limit || now - *oldest >= settings->send_window;
  *oldest = now;
  conn->sent++;
  return within;
}

static void acknowledge(struct tg_fake_conn *conn, json_int_t d)
{
  unsigned place = (unsigned)(conn->beats.count % TG_FAKE_BEATS_KEPT);
  conn->beats.last[place].at = tg_fake_at(conn->fake);
  conn->beats.last[place].d = d;
  conn->beats.last[place].acked = false;
  conn->beats.count++;
  conn->fake->journal->counters.heartbeats++;
  tg_fake_conn_expect_beat(conn);
  if (!conn->fake->points->beat(conn))
    return;
  conn->beats.last[place].acked = true;
  conn->beats.acked++;
  conn->fake->journal->counters.heartbeats_acked++;
  tg_fake_conn_send_op(conn, TG_OP_HEARTBEAT_ACK, "null");
}

static void on_heartbeat(struct tg_fake_conn *conn, const json_t *d)
{
  const char *problem = NULL;
  uint64_t sent = conn->session ? conn->session->written : conn->known;
  if (!json_is_null(d) && !json_is_integer(d))
    problem = "d of op 1 is neither null nor a number";
  else if (json_is_integer(d) && (json_integer_value(d) < 0 || (uint64_t)json_integer_value(d) > sent))
    problem = "d of op 1 is greater than the last sequence sent";
  if (problem && strcmp(conn->fake->settings.bad_heartbeat, "ignore") != 0) {
    decode_error(conn, "heartbeat_d", problem);
    return;
  }
  if (conn->session && json_is_integer(d) && (uint64_t)json_integer_value(d) > conn->session->beaten)
    conn->session->beaten = (uint64_t)json_integer_value(d);
  acknowledge(conn, json_is_integer(d) ? json_integer_value(d) : -1);
}

static void on_payload(struct tg_fake_conn *conn, json_int_t op, const json_t *d)
{
  switch (op) {
  case TG_OP_HEARTBEAT:
    on_heartbeat(conn, d);
    break;
  case TG_OP_IDENTIFY:
    if (conn->state == TG_FAKE_CONNECTED)
      tg_fake_violation(conn->fake, conn, "before_hello", "none", "op 2 before HELLO");
    tg_fake_identify(conn, d);
    break;
  case TG_OP_RESUME:
    if (conn->state == TG_FAKE_CONNECTED)
      tg_fake_violation(conn->fake, conn, "before_hello", "none", "op 6 before HELLO");
    tg_fake_resume(conn, d);
    break;
  case TG_OP_PRESENCE_UPDATE:
  case TG_OP_VOICE_STATE_UPDATE:
  case TG_OP_REQUEST_GUILD_MEMBERS:
  case TG_OP_REQUEST_SOUNDBOARD_SOUNDS:
  case TG_OP_REQUEST_CHANNEL_INFO:
    if (!conn->session) {
      tg_fake_violation(conn->fake, conn, "not_authenticated", "4003", "op %d without a session", (int)op);
      tg_fake_conn_close(conn, 4003, "Not authenticated.");
      return;
    }
    tg_fake_command(conn, (int)op, d);
    break;
  default:
    tg_fake_violation(conn->fake, conn, "unknown_op", "4001", "op %" PRId64, (int64_t)op);
    tg_fake_conn_close(conn, 4001, "Unknown opcode.");
  }
}

void tg_fake_conn_receive(struct tg_fake_conn *conn, const struct tg_fake_frame *frame)
{
  struct tg_fake *fake = conn->fake;
  conn->frames++;
  fake->journal->counters.frames_received++;
  if (!is_within_send_limit(conn)) {
    tg_fake_violation(fake, conn, "send_limit", "4008", "more than %" PRId64 " frames in %" PRId64 " ms",
                      fake->settings.send_limit, fake->settings.send_window);
    tg_fake_conn_close(conn, 4008, "Rate limited.");
    return;
  }
  if (frame->opcode == TG_WS_BINARY) {
    if (strcmp(fake->settings.binary_frame, "ignore") != 0)
      decode_error(conn, "binary_frame", "a binary frame");
    return;
  }
  json_t *payload = json_loadb(frame->payload ? frame->payload : "", frame->length, JSON_ALLOW_NUL, NULL);
  const json_t *op = json_object_get(payload, "op");
  if (!json_is_object(payload))
    decode_error(conn, "not_json", "the text is not a JSON object");
  else if (!json_is_integer(op))
    decode_error(conn, "no_op", "op is not a number");
  else
    on_payload(conn, json_integer_value(op), json_object_get(payload, "d"));
  json_decref(payload);
}
