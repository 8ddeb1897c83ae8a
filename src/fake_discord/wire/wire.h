#pragma once

/* How gateway messages become bytes on a connection: compression, WebSocket
 * messages and frames, and all the ways in which this can be awkward or wrong. */

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct tg_fake_conn;

/* All off: one gateway message = one WebSocket message = one frame = one write. */
struct tg_fake_wire {
  bool dribble;     /* each byte in a write of its own */
  bool split_walk;  /* two WebSocket messages for each, cut one byte further each time (zlib only) */
  bool pings;       /* a ping between fragments */
  bool flush_inside; /* 00 00 FF FF also in the middle of each message, where a fragment ends */
  bool masked;      /* frames are masked: wrong for a server */
  int split;        /* WebSocket messages of at most so many bytes (zlib only: else fragments) */
  int fragment;     /* frames of at most so many bytes */
  int rsv;          /* reserved bits of each frame */
  int64_t corrupt;  /* how many more messages get a wrong byte */
  int64_t truncate; /* how many more messages lose the second half of their text */
  uint64_t walk;    /* state of split_walk */
};

/* Reads {"dribble":true, "split":1, "split_walk":..., "fragment":..., ...}. */
bool tg_fake_wire_parse(const json_t *given, struct tg_fake_wire *wire);

void tg_fake_wire_message(struct tg_fake_conn *conn, const char *text, size_t length);
void tg_fake_wire_control(struct tg_fake_conn *conn, int opcode, const void *payload, size_t length);
void tg_fake_wire_bytes(struct tg_fake_conn *conn, const void *bytes, size_t length);

/* Appends one message as the plain modes write it, without sending. */
void tg_fake_wire_append(struct tg_fake_conn *conn, const char *text, size_t length, struct tg_buf *out);

/* Nothing unusual is asked for: messages may share a write. */
bool tg_fake_wire_is_plain(const struct tg_fake_wire *wire);
