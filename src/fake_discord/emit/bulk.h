#pragma once

/* For benchmarks: one recording of numbered messages, made and compressed
 * beforehand, is sent to many connections at the speed of memory.
 *
 * The recording begins with the same s on all connections (those that are
 * behind get a few TYPING_START first), and so is the same bytes for all of
 * them. It refers to nothing before it, and every 64 events to nothing before
 * them: there other messages (op 11) can be put between. Events of a recording
 * are not kept for a replay, do not appear in GET /sent, and all shards get
 * the guild ids of the recording. */

#include "fake_discord/gateway/conn.h"

struct tg_fake_pump;

struct tg_fake_bulk *tg_fake_bulk_new(struct tg_fake *fake);
void tg_fake_bulk_free(struct tg_fake *fake);

/* POST /bulk {"events": a connection, "size": bytes, "writes": "event" | "bulk", "rate": events a second over
 * all connections, "shard" or "shards"}. With "event" each event is a write, so a TLS record, of its own. */
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
