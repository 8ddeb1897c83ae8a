#pragma once

/* For benchmarks: one recording of numbered messages (recording.h), made and
 * compressed beforehand, is sent to many connections at the speed of memory.
 *
 * The recording begins with the same s on all connections (those that are
 * behind get a few TYPING_START first), and so is the same bytes for all of
 * them. Other messages (op 11) are put between its groups. Events of a recording
 * are not kept for a replay, do not appear in GET /sent, and all shards get
 * the guild ids of the recording.
 *
 * "numbered": each connection has a recording of its own, of its own guilds:
 * events are numbered by guild and appear in GET /sent, from the beginning on,
 * and sessions of several numbers of shards get the same d of each, at the same
 * time if there is a rate. Sessions that come later get none of them. */

#include "fake_discord/gateway/conn.h"

struct tg_fake_pump;

struct tg_fake_bulk *tg_fake_bulk_new(struct tg_fake *fake);
void tg_fake_bulk_free(struct tg_fake *fake);

/* POST /bulk {"events": a connection, "size": bytes, "writes": "event" | "bulk", "rate": events a second over
 * all connections, "numbered": false, WHO}. With "event" each event is a write, so a TLS record, of its own.
 * With "numbered", events and rate are those of all guilds together, however many connections see each. */
json_t *tg_fake_bulk_start(struct tg_fake *fake, const json_t *request, struct tg_error *error);

/* GET /bulk: {"connections": still being fed, "events": written, "bytes": of the recording}. */
json_t *tg_fake_bulk_to_json(const struct tg_fake *fake);

/* GET /bulk/recording: the frames as they were sent; NULL: there is none. */
const struct tg_buf *tg_fake_bulk_recording(const struct tg_fake *fake);

/* What the connection may send next. */
void tg_fake_pump_run(struct tg_fake_pump *pump);
/* Keeps a message back until it may be put between two events. */
void tg_fake_pump_hold(struct tg_fake_pump *pump, const char *text, size_t length);
/* Ends the feeding of a connection, done or not; what was held back is sent. */
void tg_fake_pump_free(struct tg_fake_conn *conn);
