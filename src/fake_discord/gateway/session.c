#include "fake_discord/gateway/session.h"

#include "base/buf.h"
#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/feeding.h"
#include "fake_discord/gateway/pace.h"
#include "fake_discord/gateway/voice.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  HIGH_WATER = 256 * 1024, /* bytes that may wait in a stream */
  ROOM = 64,               /* events that may wait for a connection */
  KEPT_BACK = 200000,      /* events that a pace may keep back */
  COALESCE = 32 * 1024,
};

/* ---- the log ---- */

static uint64_t first_of(const struct tg_fake_session *session)
{
  return session->sequence + 1 - session->count;
}

uint64_t tg_fake_session_oldest(const struct tg_fake_session *session)
{
  return first_of(session) - 1;
}

static struct tg_fake_entry *entry_at(const struct tg_fake_session *session, uint64_t s)
{
  size_t index = (session->head + (size_t)(s - first_of(session))) & (session->capacity - 1);
  return &session->entries[index];
}

static void drop_oldest(struct tg_fake_session *session)
{
  struct tg_fake_entry *entry = &session->entries[session->head];
  if (entry->event)
    session->bytes -= entry->event->length;
  tg_fake_event_unref(entry->event);
  session->head = (session->head + 1) & (session->capacity - 1);
  session->count--;
}

static bool is_fed(const struct tg_fake_session *session)
{
  const struct tg_fake_conn *conn = session->conn;
  return conn && !conn->deaf && !conn->withhold_dispatches;
}

static void trim(struct tg_fake_session *session)
{
  const struct tg_fake_settings *settings = &session->fake->settings;
  size_t limit = (size_t)settings->replay_events;
  if (limit == 0) { /* Discord keeps about so many */
    limit = (size_t)session->guilds * 75;
    limit = limit > 3500 ? 3500 : limit < 100 ? 100 : limit;
  }
  while (session->count > limit || (session->bytes > (size_t)settings->replay_bytes && session->count > 1)) {
    if (is_fed(session) && session->conn->next <= first_of(session))
      return; /* still to be written */
    drop_oldest(session);
  }
}

static void push(struct tg_fake_session *session, struct tg_fake_event *event)
{
  if (session->count == session->capacity) {
    size_t capacity = session->capacity ? session->capacity * 2 : 16;
    struct tg_fake_entry *entries = tg_alloc(capacity * sizeof *entries);
    for (size_t i = 0; i < session->count; i++)
      entries[i] = session->entries[(session->head + i) & (session->capacity - 1)];
    free(session->entries);
    session->entries = entries;
    session->capacity = capacity;
    session->head = 0;
  }
  session->entries[(session->head + session->count) & (session->capacity - 1)].event = event;
  session->count++;
  session->sequence++;
  trim(session);
}

/* Such events never were, as far as the session goes: they have no numbers. */
static bool is_deaf_to(const struct tg_fake_session *session, const struct tg_fake_event *event)
{
  return session->deaf_to[0] && !event->once &&
         (strcmp(session->deaf_to, "*") == 0 || strcmp(session->deaf_to, event->name) == 0);
}

void tg_fake_session_append(struct tg_fake_session *session, struct tg_fake_event *event)
{
  if (is_deaf_to(session, event))
    return;
  if (session->pace && !event->once)
    tg_fake_pace_keep(session, event);
  else
    tg_fake_session_log(session, event);
}

void tg_fake_session_log(struct tg_fake_session *session, struct tg_fake_event *event)
{
  if (event->number > 0) {
    if (session->numbered_count++ == 0)
      session->numbered_first = event->number;
    session->numbered_last = event->number;
  }
  session->bytes += event->length;
  push(session, tg_fake_event_ref(event));
  tg_fake_session_pump(session);
}

void tg_fake_session_skip(struct tg_fake_session *session, int count)
{
  for (int i = 0; i < count; i++)
    push(session, NULL);
  tg_fake_session_pump(session);
}

void tg_fake_session_reserve(struct tg_fake_session *session, uint64_t count)
{
  while (session->count > 0)
    drop_oldest(session);
  session->sequence += count;
}

/* ---- writing ---- */

static void write_event(struct tg_fake_session *session, uint64_t s, struct tg_buf *frames)
{
  struct tg_fake_conn *conn = session->conn;
  struct tg_fake_event *event = entry_at(session, s)->event;
  if (!event)
    return;
  struct tg_buf *text = &session->fake->text;
  text->length = 0;
  if (event->t)
    tg_buf_printf(text, "{\"t\":%s,\"s\":", event->t);
  else
    tg_buf_printf(text, "{\"t\":\"%s\",\"s\":", event->name);
  if (s == 1 && !session->fake->settings.number_ready)
    tg_buf_puts(text, "null,\"op\":0,\"d\":");
  else
    tg_buf_printf(text, "%" PRIu64 ",\"op\":0,\"d\":", s);
  tg_buf_append(text, event->data, event->length);
  tg_buf_append(text, "}", 1);
  if (frames)
    tg_fake_wire_append(conn, text->data, text->length, frames);
  else
    tg_fake_wire_message(conn, text->data, text->length);
  tg_buf_reset(text, 1 << 20);
  conn->dispatches++;
  if (s > session->written)
    session->written = s;
  session->fake->journal->counters.dispatches++;
  if (event->number > 0)
    session->numbered_written = event->number;
}

/* Several messages a write. */
static void write_together(struct tg_fake_session *session)
{
  struct tg_fake_conn *conn = session->conn;
  struct tg_buf *frames = &session->fake->frames;
  frames->length = 0;
  while (conn->next <= session->sequence && frames->length < COALESCE)
    write_event(session, conn->next++, frames);
  tg_fake_wire_bytes(conn, frames->data, frames->length);
  tg_buf_reset(frames, 1 << 20);
}

void tg_fake_session_pump(struct tg_fake_session *session)
{
  struct tg_fake_conn *conn = session->conn;
  if (!conn || conn->pump || !is_fed(session))
    return;
  if (conn->next < first_of(session)) { /* it was deaf for longer than the log reaches back */
    tg_fake_conn_close(conn, 4000, "Fell behind.");
    return;
  }
  while (conn->next <= session->sequence && tg_stream_unsent(conn->stream) < HIGH_WATER)
    if (session->fake->settings.coalesce && tg_fake_wire_is_plain(&conn->wire))
      write_together(session);
    else
      write_event(session, conn->next++, NULL);
  trim(session);
}

void tg_fake_session_repeat(struct tg_fake_session *session, int count)
{
  if (!is_fed(session))
    return;
  uint64_t from = session->conn->next > (uint64_t)count ? session->conn->next - (uint64_t)count : 1;
  if (from < first_of(session))
    from = first_of(session);
  for (uint64_t s = from; s < session->conn->next; s++)
    write_event(session, s, NULL);
}

bool tg_fake_session_has_room(const struct tg_fake_session *session)
{
  const struct tg_fake_conn *conn = session->conn;
  if (tg_fake_pace_count(session) >= KEPT_BACK)
    return false;
  if (!is_fed(session))
    return true;
  return !conn->pump && session->sequence + 1 - conn->next < ROOM &&
         tg_stream_unsent(conn->stream) < HIGH_WATER;
}

/* ---- life ---- */

static void host_of(const char *url, char *host, size_t size)
{
  const char *at = strstr(url, "://");
  at = at ? at + 3 : url;
  snprintf(host, size, "%.*s", (int)strcspn(at, "/?"), at);
}

static void append_ready(struct tg_fake_session *session)
{
  struct tg_fake_event *ready = tg_fake_make_ready(session);
  tg_fake_session_append(session, ready);
  tg_fake_event_unref(ready);
  if (!tg_fake_event_wanted("GUILD_CREATE", true, session->identify.intents))
    return;
  const struct tg_fake_settings *settings = &session->fake->settings;
  if (strcmp(settings->guild_create, "none") == 0)
    return;
  size_t at = 0;
  struct tg_fake_guild *guild;
  while (
      (guild = tg_fake_guild_next(session->fake, session->identify.shard_id, session->identify.total, &at))) {
    enum tg_fake_guild_kind kind = strcmp(settings->guild_create, "stub") == 0     ? TG_FAKE_GUILD_STUB
                                   : strcmp(settings->guild_create, "outage") == 0 ? TG_FAKE_GUILD_OUTAGE
                                   : tg_fake_guild_is_out(guild, session->identify.total)
                                       ? TG_FAKE_GUILD_OUTAGE
                                       : TG_FAKE_GUILD_LAZY;
    struct tg_fake_event *event =
        tg_fake_make_guild(session->fake, guild, kind, (size_t)settings->guild_size);
    tg_fake_session_append(session, event);
    tg_fake_event_unref(event);
  }
}

/* Hex digits; with `escapes` there are some bytes in front that JSON may, or has to, escape. */
static void make_id(struct tg_fake_session *session)
{
  const struct tg_fake_settings *settings = &session->fake->settings;
  size_t size = settings->session_id_size > 0 ? (size_t)settings->session_id_size : 32;
  size_t length =
      (size_t)snprintf(session->id, sizeof session->id, "%s", settings->escapes ? "a/b\"c\\d\xc3\xa9" : "");
  while (length < size)
    length += (size_t)snprintf(session->id + length, size + 1 - length, "%016" PRIx64,
                               tg_fake_random(session->fake));
  session->id[size] = '\0';
}

struct tg_fake_session *tg_fake_session_new(struct tg_fake_conn *conn,
                                            const struct tg_fake_identify *identify)
{
  struct tg_fake *fake = conn->fake;
  struct tg_fake_session *session = tg_calloc(1, sizeof *session);
  session->fake = fake;
  session->identify = *identify;
  session->version = conn->version;
  session->created_at = tg_fake_at(fake);
  make_id(session);
  const char *url = fake->settings.resume_url[0] ? fake->settings.resume_url : fake->gateway_url;
  host_of(url, session->resume_host, sizeof session->resume_host);
  LIST_INSERT_HEAD(&fake->sessions, session, link);
  tg_fake_routes_add(fake, session);
  tg_fake_pace_begin(session);
  tg_fake_session_attach(session, conn, 1);
  append_ready(session);
  fake->feeding->kick(fake);
  return session;
}

struct tg_fake_session *tg_fake_session_find(struct tg_fake *fake, const char *id)
{
  struct tg_fake_session *session;
  LIST_FOREACH(session, &fake->sessions, link)
  if (strcmp(session->id, id) == 0)
    return session;
  return NULL;
}

/* READY and RESUMED tell about one connection: they are not part of a replay. */
static void blank_once_events(struct tg_fake_session *session, uint64_t next)
{
  for (uint64_t s = next; s <= session->sequence; s++) {
    struct tg_fake_entry *entry = entry_at(session, s);
    if (entry->event && entry->event->once) {
      session->bytes -= entry->event->length;
      tg_fake_event_unref(entry->event);
      entry->event = NULL;
    }
  }
}

void tg_fake_session_attach(struct tg_fake_session *session, struct tg_fake_conn *conn, uint64_t next)
{
  struct tg_fake_conn *old = session->conn;
  if (old) {
    tg_fake_session_detach(session);
    if (session->fake->settings.detach_old)
      tg_fake_conn_drop(old, old->deaf ? TG_STREAM_RESET : TG_STREAM_FIN);
  }
  tg_fake_cancel(&session->expiry);
  if (session->heals && session->written > 0)
    session->deaf_to[0] = '\0';
  blank_once_events(session, next);
  session->conn = conn;
  conn->session = session;
  conn->next = next;
  conn->shard_id = session->identify.shard_id;
  conn->total = session->identify.total;
  conn->state = TG_FAKE_READY;
  tg_fake_session_pump(session);
}

static void leave_conn(struct tg_fake_session *session)
{
  struct tg_fake_conn *conn = session->conn;
  session->conn = NULL;
  conn->session = NULL;
  conn->known = session->written;
  if (conn->state == TG_FAKE_READY)
    conn->state = TG_FAKE_UNIDENTIFIED;
  conn->fake->feeding->end(conn);
}

static void on_expired(void *ctx)
{
  tg_fake_session_kill(ctx, "expired");
}

void tg_fake_session_detach(struct tg_fake_session *session)
{
  if (!session->conn)
    return;
  leave_conn(session);
  trim(session);
  tg_fake_after(session->fake, &session->expiry, session->fake->settings.session_timeout, on_expired,
                session);
  session->fake->feeding->kick(session->fake);
}

void tg_fake_session_kill(struct tg_fake_session *session, const char *why)
{
  struct tg_fake *fake = session->fake;
  tg_fake_note(fake, TG_FAKE_LIST_sessions_lost,
               json_pack("{s:s, s:i, s:i, s:s}", "session_id", session->id, "shard",
                         session->identify.shard_id, "total", session->identify.total, "why", why));
  if (session->conn)
    leave_conn(session);
  tg_fake_cancel(&session->expiry);
  tg_fake_routes_remove(fake, session);
  tg_fake_pace_end(session);
  tg_fake_voice_end(session);
  LIST_REMOVE(session, link);
  while (session->count > 0)
    drop_oldest(session);
  free(session->entries);
  tg_fake_bury(fake, session);
  fake->feeding->kick(fake);
}

json_t *tg_fake_session_to_json(const struct tg_fake_session *session)
{
  json_t *connection = session->conn ? json_integer(session->conn->id) : json_null();
  return json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I}", "session_id", session->id,
                   "shard", session->identify.shard_id, "total", session->identify.total, "sequence",
                   (json_int_t)session->sequence, "oldest", (json_int_t)tg_fake_session_oldest(session),
                   "retained", (json_int_t)session->count, "intents", (json_int_t)session->identify.intents,
                   "connection", connection, "created_at", (json_int_t)session->created_at, "written",
                   (json_int_t)session->written, "kept_back", (json_int_t)tg_fake_pace_count(session));
}
