#include "fake_discord/faults/faults.h"

#include "base/suggest.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/payloads.h"
#include "fake_discord/world/target.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_int_t number(const json_t *request, const char *key, json_int_t otherwise)
{
  const json_t *value = json_object_get(request, key);
  return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static const char *text(const json_t *request, const char *key)
{
  const char *value = json_string_value(json_object_get(request, key));
  return value ? value : "";
}

/* The session that the connection has, or is about to resume. */
static struct tg_fake_session *session_of(struct tg_fake_conn *conn)
{
  if (conn->session || conn->state != TG_FAKE_RESUMING)
    return conn->session;
  return tg_fake_session_find(conn->fake, conn->pending_session);
}

/* "session": "keep" or "kill"; else `otherwise`. */
static void settle_session(struct tg_fake_conn *conn, const json_t *request, bool kill)
{
  if (json_object_get(request, "session"))
    kill = strcmp(text(request, "session"), "kill") == 0;
  struct tg_fake_session *session = session_of(conn);
  if (kill && session)
    tg_fake_session_kill(session, "fault");
}

/* After an op 9 or op 7 the client may identify or resume once more. */
static void back_to_start(struct tg_fake_conn *conn)
{
  if (conn->state == TG_FAKE_IDENTIFYING || conn->state == TG_FAKE_RESUMING)
    conn->state = TG_FAKE_UNIDENTIFIED;
}

/* ---- actions ---- */

/* Codes after which Discord wants a new session, or none at all. */
static bool code_ends_session(json_int_t code)
{
  return code == 4003 || code == 4004 || code == 4006 || code == 4007 || (code >= 4009 && code <= 4014);
}

static void do_close(struct tg_fake_conn *conn, const json_t *request)
{
  json_int_t code = number(request, "code", 4000);
  settle_session(conn, request, code_ends_session(code));
  tg_fake_conn_close(conn, (int)code, text(request, "reason"));
}

static void do_rst(struct tg_fake_conn *conn, const json_t *request)
{
  settle_session(conn, request, false);
  tg_fake_conn_drop(conn, TG_STREAM_RESET);
}

static void do_fin(struct tg_fake_conn *conn, const json_t *request)
{
  settle_session(conn, request, false);
  tg_fake_conn_drop(conn, TG_STREAM_FIN);
}

static void do_half_open(struct tg_fake_conn *conn, const json_t *request)
{
  bool writes = json_is_true(json_object_get(request, "writes"));
  conn->deaf = !writes;
  conn->unread = writes;
  tg_stream_set_reading(conn->stream, false);
}

static void do_withhold(struct tg_fake_conn *conn, const json_t *request)
{
  (void)conn;
  (void)request;
}

static void do_reconnect(struct tg_fake_conn *conn, const json_t *request)
{
  (void)request;
  tg_fake_conn_send_op(conn, TG_OP_RECONNECT, "null");
  back_to_start(conn);
}

static void do_invalid_session(struct tg_fake_conn *conn, const json_t *request)
{
  bool resumable = json_is_true(json_object_get(request, "resumable"));
  settle_session(conn, request, !resumable);
  if (conn->session) /* it stays, but has to be resumed */
    tg_fake_session_detach(conn->session);
  tg_fake_conn_send_op(conn, TG_OP_INVALID_SESSION, resumable ? "true" : "false");
  back_to_start(conn);
}

static void do_heartbeat_request(struct tg_fake_conn *conn, const json_t *request)
{
  for (json_int_t i = number(request, "times", 1); i > 0; i--)
    tg_fake_conn_send_op(conn, TG_OP_HEARTBEAT, "null");
}

static void do_message(struct tg_fake_conn *conn, const json_t *request)
{
  const json_t *given = json_object_get(request, "text");
  tg_fake_conn_send(conn, json_string_value(given), json_string_length(given));
}

static void do_bytes(struct tg_fake_conn *conn, const json_t *request)
{
  const char *hex = text(request, "hex");
  struct tg_buf out = {0};
  for (; hex[0] && hex[1]; hex += 2) {
    unsigned value = 0;
    sscanf(hex, "%2x", &value);
    char byte = (char)value;
    tg_buf_append(&out, &byte, 1);
  }
  tg_buf_puts(&out, text(request, "text"));
  tg_fake_wire_bytes(conn, out.data, out.length);
  tg_buf_free(&out);
}

static void do_frame(struct tg_fake_conn *conn, const json_t *request)
{
  struct tg_fake_head head = {.opcode = (int)number(request, "opcode", TG_WS_TEXT),
                              .fin = !json_is_false(json_object_get(request, "fin")),
                              .rsv = (int)number(request, "rsv", 0),
                              .masked = json_is_true(json_object_get(request, "masked"))};
  struct tg_buf out = {0};
  const char *payload = text(request, "payload");
  tg_fake_frame_write(&out, head, payload, strlen(payload));
  tg_fake_wire_bytes(conn, out.data, out.length);
  tg_buf_free(&out);
}

static void do_ping(struct tg_fake_conn *conn, const json_t *request)
{
  json_int_t times = number(request, "times", 0);
  char payload[126];
  for (json_int_t i = 1; i <= times; i++) {
    snprintf(payload, sizeof payload, "%.100s %" PRId64, text(request, "payload"), (int64_t)i);
    tg_fake_wire_control(conn, TG_WS_PING, payload, strlen(payload));
  }
  if (times == 0)
    tg_fake_wire_control(conn, TG_WS_PING, text(request, "payload"), strlen(text(request, "payload")));
}

static void do_wire(struct tg_fake_conn *conn, const json_t *request)
{
  tg_fake_wire_parse(json_object_get(request, "wire"), &conn->wire);
}

static void do_corrupt(struct tg_fake_conn *conn, const json_t *request)
{
  conn->wire.corrupt = number(request, "times", 1);
}

static void do_truncate(struct tg_fake_conn *conn, const json_t *request)
{
  conn->wire.truncate = number(request, "times", 1);
}

static void do_withhold_acks(struct tg_fake_conn *conn, const json_t *request)
{
  conn->withhold_acks = number(request, "times", -1);
  conn->withhold_dispatches = json_is_true(json_object_get(request, "dispatches"));
}

static void do_deafen(struct tg_fake_conn *conn, const json_t *request)
{
  if (!conn->session)
    return;
  const char *event = text(request, "event");
  snprintf(conn->session->deaf_to, sizeof conn->session->deaf_to, "%s", event[0] ? event : "*");
  conn->session->heals = json_is_true(json_object_get(request, "heals"));
}

static void do_duplicate(struct tg_fake_conn *conn, const json_t *request)
{
  if (conn->session)
    tg_fake_session_repeat(conn->session, (int)number(request, "times", 1));
}

static void do_skip(struct tg_fake_conn *conn, const json_t *request)
{
  if (conn->session)
    tg_fake_session_skip(conn->session, (int)number(request, "times", 1));
}

/* Each of the first `guilds` guilds goes and comes back, `times` times. */
static void do_outage(struct tg_fake_conn *conn, const json_t *request)
{
  struct tg_fake *fake = conn->fake;
  json_int_t times = number(request, "times", 1), guilds = number(request, "guilds", 1);
  bool stays = json_is_true(json_object_get(request, "stays"));
  size_t at = 0;
  struct tg_fake_guild *guild;
  while (conn->session && guilds-- > 0 &&
         (guild = tg_fake_guild_next(fake, conn->shard_id, conn->total, &at)))
    for (json_int_t i = 0; i < times * 2 && conn->session; i++) {
      if (stays && i == times * 2 - 1)
        break;
      guild->out_for = i % 2 == 0 ? conn->total : 0;
      guild->unavailable = guild->unavailable && i % 2 == 0;
      struct tg_fake_event *event =
          tg_fake_make_guild(fake, guild, guild->out_for ? TG_FAKE_GUILD_OUTAGE : TG_FAKE_GUILD_LAZY, 0);
      tg_fake_session_append(conn->session, event);
      tg_fake_event_unref(event);
    }
}

static void do_big_guild(struct tg_fake_conn *conn, const json_t *request)
{
  size_t at = 0;
  struct tg_fake_guild *guild =
      conn->session ? tg_fake_guild_next(conn->fake, conn->shard_id, conn->total, &at) : NULL;
  if (!guild)
    return;
  struct tg_fake_event *event = tg_fake_make_guild(conn->fake, guild, TG_FAKE_GUILD_LAZY,
                                                   (size_t)number(request, "bytes", 20 * 1024 * 1024));
  tg_fake_session_append(conn->session, event);
  tg_fake_event_unref(event);
}

/* ---- the table ---- */

#define AT(point) (1u << TG_FAKE_AT_##point)
#define AT_FRAMES (AT(now) | AT(hello) | AT(identify) | AT(resume) | AT(heartbeat))
#define AT_ALL (AT_FRAMES | AT(accept) | AT(upgrade) | AT(rest))

static const struct action {
  const char *name;
  unsigned points;
  bool goes_on;                                                  /* what usually comes follows */
  void (*run)(struct tg_fake_conn *conn, const json_t *request); /* NULL: not done to connections */
  const char *format;                                            /* of its arguments, for json_unpack */
  const char *keys[6];
} actions[] = {
    {"close", AT_FRAMES, false, do_close, "iss", {"code", "reason", "session"}},
    {"rst", AT_ALL, false, do_rst, "s", {"session"}},
    {"fin", AT_ALL, false, do_fin, "s", {"session"}},
    {"half_open", AT_FRAMES, false, do_half_open, "b", {"writes"}},
    {"withhold", AT_FRAMES & ~AT(now), false, do_withhold, "b", {"replay"}},
    {"delay",
     AT(upgrade) | AT(rest) | AT(hello) | AT(identify) | AT(resume),
     false,
     NULL,
     "ib",
     {"ms", "replay"}},
    {"hang", AT(accept) | AT(upgrade) | AT(rest), false, NULL, "", {0}},
    {"status",
     AT(upgrade) | AT(rest),
     false,
     NULL,
     "ioobo",
     {"status", "headers", "body", "html", "retry_after"}},
    {"reconnect", AT_FRAMES, false, do_reconnect, "", {0}},
    {"invalid_session", AT_FRAMES, false, do_invalid_session, "bs", {"resumable", "session"}},
    {"heartbeat_request", AT_FRAMES, true, do_heartbeat_request, "i", {"times"}},
    {"message", AT_FRAMES, true, do_message, "s", {"text"}},
    {"bytes", AT_FRAMES, true, do_bytes, "ss", {"hex", "text"}},
    {"frame", AT_FRAMES, true, do_frame, "ibibs", {"opcode", "fin", "rsv", "masked", "payload"}},
    {"ping", AT_FRAMES, true, do_ping, "si", {"payload", "times"}},
    {"wire", AT_FRAMES, true, do_wire, "o", {"wire"}},
    {"corrupt", AT_FRAMES, true, do_corrupt, "i", {"times"}},
    {"truncate", AT_FRAMES, true, do_truncate, "i", {"times"}},
    {"withhold_acks", AT_FRAMES, true, do_withhold_acks, "ib", {"times", "dispatches"}},
    {"deafen", AT(now), true, do_deafen, "sb", {"event", "heals"}},
    {"duplicate", AT(now), true, do_duplicate, "i", {"times"}},
    {"skip", AT(now), true, do_skip, "i", {"times"}},
    {"outage", AT(now), true, do_outage, "iib", {"guilds", "times", "stays"}},
    {"big_guild", AT(now), true, do_big_guild, "i", {"bytes"}},
    {"kill_session", AT(now), true, NULL, "", {0}},
    {"reset_token", AT(now), true, NULL, "i", {"code"}},
    {"clear", AT(now), true, NULL, "", {0}},
};

enum { ACTIONS = sizeof actions / sizeof *actions };

static const struct action *find(const json_t *request, struct tg_error *error)
{
  const char *name = json_string_value(json_object_get(request, "do")), *names[ACTIONS];
  for (size_t i = 0; i < ACTIONS; i++) {
    if (name && strcmp(actions[i].name, name) == 0)
      return &actions[i];
    names[i] = actions[i].name;
  }
  const char *near = name ? tg_suggest(name, names, ACTIONS) : NULL;
  tg_fail(error, "unknown", "do: there is no action \"%s\"%s%s%s", name ? name : "",
          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
  return NULL;
}

static bool has_type(const json_t *value, char type)
{
  return type == 'i'   ? json_is_integer(value)
         : type == 's' ? json_is_string(value)
         : type == 'b' ? json_is_boolean(value)
                       : true;
}

bool tg_fake_action_check(const json_t *request, enum tg_fake_point point, struct tg_error *error)
{
  const struct action *action = find(request, error);
  if (!action)
    return false;
  if (!(action->points >> point & 1))
    return tg_fail(error, "point", "\"%s\" cannot be done there", action->name);
  const char *keys[16] = {"at", "do", "then"};
  size_t count = 3;
  if (point != TG_FAKE_AT_now) {
    keys[count++] = "count";
    keys[count++] = "skip";
    keys[count++] = "route";
  }
  for (size_t i = 0; action->format[i]; i++) {
    const json_t *value = json_object_get(request, action->keys[i]);
    keys[count++] = action->keys[i];
    if (value && !has_type(value, action->format[i]))
      return tg_fail(error, "type", "%s: wrong type for \"%s\"", action->keys[i], action->name);
  }
  const json_t *then = json_object_get(request, "then");
  if (then && strcmp(text(request, "then"), "continue") != 0 && strcmp(text(request, "then"), "instead") != 0)
    return tg_fail(error, "type", "then: expected \"continue\" or \"instead\"");
  struct tg_fake_wire wire;
  if (action->run == do_wire && !tg_fake_wire_parse(json_object_get(request, "wire"), &wire))
    return tg_fail(error, "type",
                   "wire: expected an object of dribble, split, split_walk, fragment, pings, "
                   "flush_inside, masked, rsv");
  if (action->run == do_message && !json_object_get(request, "text"))
    return tg_fail(error, "type", "text is missing");
  if (strcmp(action->name, "status") == 0 && !json_object_get(request, "status"))
    return tg_fail(error, "type", "status is missing");
  return tg_fake_check_keys(request, keys, error);
}

enum tg_fake_outcome tg_fake_action_run(struct tg_fake_conn *conn, const json_t *request)
{
  const struct action *action = find(request, NULL);
  const char *then = text(request, "then");
  bool goes_on = *then ? strcmp(then, "continue") == 0 : action->goes_on;
  if (action->run)
    action->run(conn, request);
  return goes_on ? TG_FAKE_GO_ON : TG_FAKE_INSTEAD;
}
