#pragma once

/* A gateway connection: a client's WebSocket from the upgrade to its end. It
 * may carry a session (session.h), which outlives it. */

#include "fake_discord/wire/compress.h"
#include "fake_discord/wire/http.h"
#include "fake_discord/wire/websocket.h"
#include "fake_discord/wire/wire.h"

#include <jansson.h>

struct tg_fake_conn;
struct tg_fake_session;
struct tg_fake_identify;

enum tg_fake_state {
  TG_FAKE_CONNECTED,    /* upgraded, HELLO not sent yet */
  TG_FAKE_UNIDENTIFIED, /* HELLO sent */
  TG_FAKE_IDENTIFYING,  /* op 2 taken, READY not sent yet */
  TG_FAKE_RESUMING,     /* op 6 taken, RESUMED not sent yet */
  TG_FAKE_READY,        /* a session is attached */
  TG_FAKE_CLOSING,      /* a Close frame was sent */
  TG_FAKE_GONE,
};

enum { TG_FAKE_BEATS_KEPT = 32, TG_FAKE_PRESENCES_KEPT = 64 };

typedef void tg_fake_receive(struct tg_fake_conn *conn, const struct tg_fake_frame *frame);

struct tg_fake_conn {
  LIST_ENTRY(tg_fake_conn) link;
  struct tg_fake *fake;
  struct tg_fake_http *http; /* carries it */
  struct tg_stream *stream;
  tg_fake_receive *receive;
  unsigned id;
  enum tg_fake_state state;
  tg_ms opened_at;

  char host[128]; /* Host header */
  int version;    /* v of the query; -1: none */
  enum tg_compression compression;
  struct tg_fake_encoder *encoder;
  struct tg_fake_reader reader;
  struct tg_fake_wire wire;
  struct tg_fake_pump *pump; /* bulk.h; NULL: not part of one */

  int shard_id, total; /* of the last op 2 or 6 that was taken; -1 */
  struct tg_fake_session *session;
  uint64_t next; /* s of the next event to be written */
  uint64_t known; /* without a session: the greatest sequence that the client may know of */
  uint64_t dispatches;

  uint64_t pongs;
  char last_pong[126]; /* payload */

  uint64_t frames;
  tg_ms *sent_at; /* times of the last frames, a ring of sent_limit */
  size_t sent_limit;
  uint64_t sent;
  tg_ms presences_at[TG_FAKE_PRESENCES_KEPT]; /* a ring, too */
  uint64_t presences;

  struct {
    uint64_t count, acked;
    struct {
      tg_ms at;
      int64_t d; /* -1: null */
      bool acked;
    } last[TG_FAKE_BEATS_KEPT];
    struct tg_fake_timer *deadline;
  } beats;

  /* Faults that last (faults.h). */
  int64_t withhold_acks; /* how many more; -1: all */
  bool withhold_dispatches;
  bool deaf;   /* half-open: neither reads nor writes */
  bool unread; /* writes alone */

  /* A step that a fault has put off. */
  struct tg_fake_timer *delayed;
  struct tg_fake_identify *pending_identify;
  char pending_session[TG_FAKE_SESSION_ID_MAX + 1];
  uint64_t pending_seq;

  struct tg_fake_timer *closing; /* deadline of the close handshake, or time to cut */
  bool peer_closed;
};

/* A request to upgrade, judged: answers it, or makes a connection of it, and
 * greets it (upgrade.c). */
void tg_fake_conn_upgrade(struct tg_fake *fake, struct tg_fake_http *http,
                          const struct tg_fake_request *request);

/* Answers with `head` and takes the HTTP connection over. Whole messages of the client go to `receive`. */
struct tg_fake_conn *tg_fake_conn_new(struct tg_fake *fake, struct tg_fake_http *http, const char *host,
                                      int version, enum tg_compression compression, const char *head,
                                      tg_fake_receive *receive);

/* One gateway message: {"op":...,"d":...} as JSON text. */
void tg_fake_conn_send(struct tg_fake_conn *conn, const char *text, size_t length);
void tg_fake_conn_send_op(struct tg_fake_conn *conn, int op, const char *d);

void tg_fake_conn_hello(struct tg_fake_conn *conn);

/* Sends a Close frame (code 0: an empty one) and ends the connection when the
 * client has answered, or soon. The session, if any, is detached and lives on. */
void tg_fake_conn_close(struct tg_fake_conn *conn, int code, const char *reason);

/* Ends the connection at once; `how` as in stream.h. */
void tg_fake_conn_drop(struct tg_fake_conn *conn, enum tg_stream_close how);

/* A whole message of the client, judged and done. */
tg_fake_receive tg_fake_conn_receive;

/* The interval starts anew: a heartbeat came, or HELLO went. */
void tg_fake_conn_expect_beat(struct tg_fake_conn *conn);

json_t *tg_fake_conn_to_json(const struct tg_fake_conn *conn);
const char *tg_fake_state_name(enum tg_fake_state state);
struct tg_fake_conn *tg_fake_conn_find(struct tg_fake *fake, unsigned id);

static inline json_t *tg_fake_conn_shard_json(const struct tg_fake_conn *conn)
{
  return conn->shard_id >= 0 ? json_integer(conn->shard_id) : json_null();
}

static inline json_t *tg_fake_conn_total_json(const struct tg_fake_conn *conn)
{
  return conn->total >= 0 ? json_integer(conn->total) : json_null();
}
