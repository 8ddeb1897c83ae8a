#include "fake_discord/faults/faults.h"

#include "fake_discord/gateway/identify.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is(const json_t *request, const char *action)
{
  return strcmp(json_string_value(json_object_get(request, "do")), action) == 0;
}

static tg_ms delay_of(const json_t *request)
{
  return json_integer_value(json_object_get(request, "ms"));
}

/* ---- HTTP ---- */

static const char blocked[] =
    "<!DOCTYPE html>\n<html><head><title>Error</title></head><body>"
    "<h1>Error</h1><p>The web server reported an error. Ray ID: 0000</p></body></html>\n";

static void append_headers(const json_t *request, struct tg_buf *out)
{
  const json_t *retry_after = json_object_get(request, "retry_after");
  if (json_is_number(retry_after))
    tg_buf_printf(out, "Retry-After: %g\r\n", json_number_value(retry_after));
  const char *name;
  json_t *value;
  json_object_foreach(json_object_get(request, "headers"), name, value) if (json_is_string(value))
      tg_buf_printf(out, "%s: %s\r\n", name, json_string_value(value));
  *tg_buf_reserve(out, 1) = '\0';
}

static void reply(struct tg_fake_http *http, const json_t *request)
{
  struct tg_buf headers = {0};
  append_headers(request, &headers);
  int status = (int)json_integer_value(json_object_get(request, "status"));
  const json_t *body = json_object_get(request, "body");
  char *text = json_is_string(body) ? strdup(json_string_value(body)) : json_dumps(body, JSON_COMPACT);
  if (json_is_true(json_object_get(request, "html")))
    tg_fake_http_reply(http, status, "text/html", headers.data, blocked, sizeof blocked - 1);
  else if (text)
    tg_fake_http_reply(http, status, json_is_string(body) ? "text/plain" : "application/json", headers.data,
                       text, strlen(text));
  else
    tg_fake_http_reply(http, status, NULL, headers.data, "", 0);
  free(text);
  tg_buf_free(&headers);
}

static enum tg_fake_outcome at_http(struct tg_fake *fake, struct tg_fake_http *http,
                                        const struct tg_fake_request *request, bool upgrade,
                                        void (*go_on)(void *http))
{
  json_t *fault = tg_fake_fault_take(fake, upgrade ? TG_FAKE_AT_upgrade : TG_FAKE_AT_rest, -1, -1,
                                     upgrade ? NULL : request->path);
  if (!fault)
    return TG_FAKE_GO_ON;
  json_t *entry = json_pack("{s:s, s:s, s:o, s:O}", upgrade ? "target" : "path", request->target, "method",
                            request->method, "status", json_null(), "fault", json_object_get(fault, "do"));
  if (is(fault, "status"))
    json_object_set(entry, "status", json_object_get(fault, "status"));
  tg_fake_note(fake, upgrade ? TG_FAKE_LIST_handshakes : TG_FAKE_LIST_rest, entry);
  if (upgrade && !is(fault, "delay"))
    fake->journal->counters.refused_upgrades++;
  if (is(fault, "status"))
    reply(http, fault);
  else if (is(fault, "delay"))
    tg_fake_http_later(http, delay_of(fault), go_on);
  else if (is(fault, "rst"))
    tg_fake_http_drop(http, TG_STREAM_RESET);
  else if (is(fault, "fin"))
    tg_fake_http_drop(http, TG_STREAM_FIN);
  json_decref(fault); /* and "hang" does nothing, for ever */
  return TG_FAKE_INSTEAD;
}

/* ---- hello ---- */

static void hello_delayed(void *ctx)
{
  tg_fake_conn_hello(ctx);
}

static enum tg_fake_outcome at_hello(struct tg_fake_conn *conn)
{
  json_t *fault = tg_fake_fault_take(conn->fake, TG_FAKE_AT_hello, -1, -1, NULL);
  if (!fault)
    return TG_FAKE_GO_ON;
  enum tg_fake_outcome outcome = TG_FAKE_INSTEAD;
  if (is(fault, "delay"))
    tg_fake_after(conn->fake, &conn->delayed, delay_of(fault), hello_delayed, conn);
  else
    outcome = tg_fake_action_run(conn, fault);
  json_decref(fault);
  return outcome;
}

/* ---- identify ---- */

static void identify_delayed(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  tg_fake_identify_finish(conn, conn->pending_identify);
}

static enum tg_fake_outcome at_identify(struct tg_fake_conn *conn,
                                            const struct tg_fake_identify *identify)
{
  json_t *fault =
      tg_fake_fault_take(conn->fake, TG_FAKE_AT_identify, identify->shard_id, identify->total, NULL);
  if (!fault)
    return TG_FAKE_GO_ON;
  enum tg_fake_outcome outcome = TG_FAKE_INSTEAD;
  if (is(fault, "delay")) {
    free(conn->pending_identify);
    conn->pending_identify = tg_alloc(sizeof *identify);
    *conn->pending_identify = *identify;
    tg_fake_after(conn->fake, &conn->delayed, delay_of(fault), identify_delayed, conn);
  } else {
    outcome = tg_fake_action_run(conn, fault);
  }
  json_decref(fault);
  return outcome;
}

/* ---- resume ---- */

static void resume_delayed(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  tg_fake_resume_finish(conn, conn->pending_session, conn->pending_seq, true);
}

static void resumed_delayed(void *ctx)
{
  struct tg_fake_conn *conn = ctx;
  if (!conn->session)
    return;
  struct tg_fake_event *event = tg_fake_make_resumed();
  tg_fake_session_append(conn->session, event);
  tg_fake_event_unref(event);
}

static enum tg_fake_outcome at_resume(struct tg_fake_conn *conn, const char *session_id, uint64_t seq)
{
  json_t *fault = tg_fake_fault_take(conn->fake, TG_FAKE_AT_resume, conn->shard_id, conn->total, NULL);
  if (!fault)
    return TG_FAKE_GO_ON;
  enum tg_fake_outcome outcome = TG_FAKE_INSTEAD;
  snprintf(conn->pending_session, sizeof conn->pending_session, "%s", session_id);
  conn->pending_seq = seq;
  bool replay = json_is_true(json_object_get(fault, "replay"));
  if (replay)
    tg_fake_resume_finish(conn, session_id, seq, false);
  if (is(fault, "delay"))
    tg_fake_after(conn->fake, &conn->delayed, delay_of(fault), replay ? resumed_delayed : resume_delayed,
                  conn);
  else
    outcome = tg_fake_action_run(conn, fault);
  json_decref(fault);
  return outcome;
}

/* ---- heartbeat ---- */

static bool at_beat(struct tg_fake_conn *conn)
{
  json_t *fault = tg_fake_fault_take(conn->fake, TG_FAKE_AT_heartbeat, conn->shard_id, conn->total, NULL);
  if (fault) {
    enum tg_fake_outcome outcome = tg_fake_action_run(conn, fault);
    json_decref(fault);
    return outcome == TG_FAKE_GO_ON && conn->state < TG_FAKE_CLOSING;
  }
  if (conn->withhold_acks == 0)
    return true;
  conn->withhold_acks -= conn->withhold_acks > 0;
  return false;
}

const struct tg_fake_points tg_fake_fault_points = {
    .accept = tg_fake_fault_accept,
    .http = at_http,
    .hello = at_hello,
    .identify = at_identify,
    .resume = at_resume,
    .beat = at_beat,
};
