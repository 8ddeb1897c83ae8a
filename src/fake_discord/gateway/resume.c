#include "fake_discord/gateway/identify.h"

#include "fake_discord/gateway/feeding.h"
#include "fake_discord/gateway/points.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <string.h>

static void record(struct tg_fake_conn *conn, const char *session_id, json_int_t seq,
                   const struct tg_fake_session *session, const char *result)
{
  tg_fake_note(
      conn->fake, TG_FAKE_LIST_resumes,
      json_pack("{s:i, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:s, s:s}", "connection", (int)conn->id, "shard",
                session ? json_integer(session->identify.shard_id) : json_null(), "total",
                session ? json_integer(session->identify.total) : json_null(), "session_id", session_id,
                "seq", seq, "current", session ? json_integer((json_int_t)session->sequence) : json_null(),
                "replayed", session ? json_integer((json_int_t)session->sequence - seq) : json_null(),
                "taken_from", session && session->conn ? json_integer((int)session->conn->id) : json_null(),
                "result", result, "host", conn->host));
}

static void refuse(struct tg_fake_conn *conn, const char *session_id, json_int_t seq,
                   struct tg_fake_session *session, int code, const char *rule, const char *text)
{
  bool op9 = code < 0;
  record(conn, session_id, seq, session, op9 ? "op9" : code == 4007 ? "4007" : "4002");
  if (session) {
    conn->shard_id = session->identify.shard_id;
    conn->total = session->identify.total;
  }
  tg_fake_violation(conn->fake, conn, rule, op9 ? "op9" : code == 4007 ? "4007" : "4002", "%s", text);
  /* A sequence that does not fit means that client and session have parted. */
  if (session && strcmp(rule, "resume_sequence") == 0 && !session->conn)
    tg_fake_session_kill(session, "resumed with a sequence that does not fit");
  if (op9)
    tg_fake_conn_send_op(conn, TG_OP_INVALID_SESSION, "false");
  else
    tg_fake_conn_close(conn, code, code == 4007 ? "Invalid seq." : "Error while decoding payload.");
}

static void on_cut(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  tg_fake_conn_drop(conn, TG_STREAM_FIN);
}

static void judge_host(struct tg_fake_conn *conn, const struct tg_fake_session *session)
{
  if (strcmp(conn->host, session->resume_host) == 0)
    return;
  bool cut = strcmp(conn->fake->settings.resume_host, "cut") == 0;
  tg_fake_violation(conn->fake, conn, "resume_host", cut ? "cut" : "none", "resumed on %s; READY named %s",
                    conn->host, session->resume_host);
  if (cut)
    tg_fake_after(conn->fake, &conn->closing, conn->fake->settings.cut_after, on_cut, conn);
}

void tg_fake_resume(struct tg_fake_conn *conn, const json_t *d)
{
  struct tg_fake *fake = conn->fake;
  const char *token = NULL, *session_id = NULL;
  json_int_t seq = -1;
  fake->journal->counters.resumes++;
  if (json_unpack((json_t *)(uintptr_t)d, "{s:s, s:s, s:I}", "token", &token, "session_id", &session_id,
                  "seq", &seq) != 0 ||
      seq < 0) {
    tg_fake_violation(fake, conn, "resume_shape", "4001", "op 6 needs token, session_id and seq");
    tg_fake_conn_close(conn, 4001, "Unknown opcode.");
    return;
  }
  if (conn->session || conn->state == TG_FAKE_IDENTIFYING || conn->state == TG_FAKE_RESUMING) {
    refuse(conn, session_id, seq, NULL, 4002, "already_identified", "op 6 while there is a session");
    return;
  }
  struct tg_fake_session *session = tg_fake_session_find(fake, session_id);
  if ((uint64_t)seq > conn->known)
    conn->known = (uint64_t)seq;
  if (!tg_fake_token_is_right(fake, token))
    refuse(conn, session_id, seq, session, -1, "resume_token", "the token is not that of the session");
  else if (!session)
    refuse(conn, session_id, seq, NULL, -1, "resume_session", "there is no such session (any more)");
  else if (conn->version != session->version && strcmp(fake->settings.resume_query, "ignore") != 0)
    refuse(conn, session_id, seq, session, 4002, "resume_query", "v is not that of the first connection");
  else if ((uint64_t)seq > session->sequence || (uint64_t)seq < tg_fake_session_oldest(session))
    refuse(conn, session_id, seq, session, strcmp(fake->settings.bad_sequence, "op9") == 0 ? -1 : 4007,
           "resume_sequence",
           (uint64_t)seq > session->sequence ? "seq is greater than what was sent" : "seq is no longer kept");
  else {
    record(conn, session_id, seq, session, "ok");
    fake->journal->counters.resumes_ok++;
    conn->shard_id = session->identify.shard_id;
    conn->total = session->identify.total;
    conn->state = TG_FAKE_RESUMING;
    judge_host(conn, session);
    if (conn->fake->points->resume(conn, session_id, (uint64_t)seq) == TG_FAKE_GO_ON)
      tg_fake_resume_finish(conn, session_id, (uint64_t)seq, true);
  }
}

void tg_fake_resume_finish(struct tg_fake_conn *conn, const char *session_id, uint64_t seq, bool resumed)
{
  struct tg_fake_session *session = tg_fake_session_find(conn->fake, session_id);
  if (!session) { /* it ended while the answer was put off */
    conn->state = TG_FAKE_UNIDENTIFIED;
    tg_fake_conn_send_op(conn, TG_OP_INVALID_SESSION, "false");
    return;
  }
  if (seq < tg_fake_session_oldest(session)) {
    tg_fake_conn_close(conn, 4007, "Invalid seq.");
    return;
  }
  if (conn->fake->settings.trim_by_heartbeat && session->beaten > seq)
    seq = session->beaten;
  tg_fake_session_attach(session, conn, seq + 1);
  if (resumed && !conn->fake->settings.number_resumed) {
    static const char text[] = "{\"t\":\"RESUMED\",\"s\":null,\"op\":0,\"d\":{}}";
    tg_fake_conn_send(conn, text, sizeof text - 1);
  } else if (resumed) {
    struct tg_fake_event *event = tg_fake_make_resumed();
    tg_fake_session_append(session, event);
    tg_fake_event_unref(event);
  }
  conn->fake->feeding->kick(conn->fake);
}
