#pragma once

/* Sessions: what an Identify makes. A session outlives its connections; all its
 * dispatches go through its log, which is also what a Resume replays.
 *
 * The log holds the events first..sequence. An attached connection has its own
 * place in it (conn->next) and is fed as fast as its socket takes the bytes;
 * what is behind that place stays only for a replay, within the limits of
 * replay_events and replay_bytes. */

#include "base/clock.h"
#include "fake_discord/fake.h"
#include "fake_discord/world/event.h"

#include <jansson.h>

struct tg_fake_conn;

struct tg_fake_identify { /* a valid op 2 */
  int shard_id, total;
  uint64_t intents;
  int large_threshold;
  int bucket;
};

struct tg_fake_session {
  LIST_ENTRY(tg_fake_session) link;
  LIST_ENTRY(tg_fake_session) route;
  struct tg_fake *fake;
  char id[TG_FAKE_SESSION_ID_MAX + 1];
  struct tg_fake_identify identify;
  int version;
  char resume_host[128]; /* "host:port" of the URL that READY named */
  tg_ms created_at;

  uint64_t sequence; /* the last one given */
  uint64_t written;  /* the greatest one that was sent */
  uint64_t beaten;   /* the greatest one that a heartbeat named */
  struct tg_fake_entry {
    struct tg_fake_event *event; /* NULL: a number that was skipped */
  } *entries; /* a ring */
  size_t head, count, capacity;
  size_t bytes;
  int guilds; /* in READY */

  struct tg_fake_conn *conn; /* NULL: detached */
  struct tg_fake_timer *expiry;
  struct tg_fake_pace *pace; /* NULL: in time */
  /* A fault that lasts: it gets no events of that name, "*": of none; "": it hears. READY and RESUMED come.
   */
  char deaf_to[64];
  bool heals; /* with the next RESUME */
  int voices; /* guilds in which the bot is in a channel through it */

  /* Numbered events that were put into the log, and the last one written. */
  uint64_t numbered_first, numbered_last, numbered_count, numbered_written;
};

/* Makes a session and attaches it. READY and what follows it go into the log. */
struct tg_fake_session *tg_fake_session_new(struct tg_fake_conn *conn,
                                            const struct tg_fake_identify *identify);
struct tg_fake_session *tg_fake_session_find(struct tg_fake *fake, const char *id);

/* `next` is the sequence to begin with. Cuts an older connection if settings
 * say so. */
void tg_fake_session_attach(struct tg_fake_session *session, struct tg_fake_conn *conn, uint64_t next);
/* The connection is gone or closing; the session waits for a Resume. */
void tg_fake_session_detach(struct tg_fake_session *session);
/* Its end; the connection stays, without a session. */
void tg_fake_session_kill(struct tg_fake_session *session, const char *why);

/* The oldest sequence that a Resume may name. */
uint64_t tg_fake_session_oldest(const struct tg_fake_session *session);

/* Gives the event the next number, now or when the session's pace (pace.h) lets it. Borrows. */
void tg_fake_session_append(struct tg_fake_session *session, struct tg_fake_event *event);
/* Now, whatever the pace. */
void tg_fake_session_log(struct tg_fake_session *session, struct tg_fake_event *event);
/* `count` numbers that no event will have. */
void tg_fake_session_skip(struct tg_fake_session *session, int count);
/* Writes the last `count` events once more, with their old numbers. */
void tg_fake_session_repeat(struct tg_fake_session *session, int count);

/* Takes the next `count` numbers for events that do not go through the log
 * (bulk.h), and empties it: a Resume from before them is refused. */
void tg_fake_session_reserve(struct tg_fake_session *session, uint64_t count);

/* Writes what the connection will take. */
void tg_fake_session_pump(struct tg_fake_session *session);

/* Whether its connection keeps up, or there is none that could. */
bool tg_fake_session_has_room(const struct tg_fake_session *session);

json_t *tg_fake_session_to_json(const struct tg_fake_session *session);

/* ---- which sessions see a guild ---- */

void tg_fake_routes_add(struct tg_fake *fake, struct tg_fake_session *session);
void tg_fake_routes_remove(struct tg_fake *fake, struct tg_fake_session *session);
void tg_fake_routes_free(struct tg_fake *fake);

/* Walks the sessions of the shards that `guild_id` belongs to, one for each
 * shard count in use, and all that share a shard. Start with *step = 0 and
 * NULL; the one returned must still be there at the next call. */
struct tg_fake_session *tg_fake_route_next(struct tg_fake *fake, uint64_t guild_id, size_t *step,
                                           struct tg_fake_session *last);
