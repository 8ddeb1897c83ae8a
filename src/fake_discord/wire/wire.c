#include "fake_discord/wire/wire.h"

#include "fake_discord/gateway/conn.h"
#include "fake_discord/world/journal.h"

#include <string.h>

bool tg_fake_wire_parse(const json_t *given, struct tg_fake_wire *wire)
{
  int dribble = 0, walk = 0, pings = 0, flush = 0, masked = 0, split = 0, fragment = 0, rsv = 0;
  int ok = json_unpack((json_t *)(uintptr_t)given, "{s?b, s?b, s?b, s?b, s?b, s?i, s?i, s?i !}", "dribble",
                       &dribble, "split_walk", &walk, "pings", &pings, "flush_inside", &flush, "masked",
                       &masked, "split", &split, "fragment", &fragment, "rsv", &rsv);
  if (ok != 0 || split < 0 || fragment < 0 || rsv < 0 || rsv > 7)
    return false;
  *wire = (struct tg_fake_wire){.dribble = dribble,
                                .split_walk = walk,
                                .pings = pings,
                                .flush_inside = flush,
                                .masked = masked,
                                .split = split,
                                .fragment = fragment,
                                .rsv = rsv};
  return true;
}

bool tg_fake_wire_is_plain(const struct tg_fake_wire *wire)
{
  return !wire->dribble && !wire->split_walk && !wire->pings && !wire->flush_inside && !wire->masked &&
         wire->split == 0 && wire->fragment == 0 && wire->rsv == 0 && wire->corrupt == 0 &&
         wire->truncate == 0;
}

void tg_fake_wire_bytes(struct tg_fake_conn *conn, const void *bytes, size_t length)
{
  if (conn->deaf || conn->state == TG_FAKE_GONE || length == 0)
    return;
  conn->fake->journal->counters.bytes_sent += length;
  if (!conn->wire.dribble) {
    tg_stream_write(conn->stream, bytes, length);
    return;
  }
  for (size_t i = 0; i < length; i++)
    tg_stream_write(conn->stream, (const char *)bytes + i, 1);
}

static struct tg_fake_head head_of(const struct tg_fake_conn *conn, int opcode, bool fin)
{
  return (struct tg_fake_head){
      .opcode = opcode, .fin = fin, .rsv = conn->wire.rsv, .masked = conn->wire.masked};
}

void tg_fake_wire_control(struct tg_fake_conn *conn, int opcode, const void *payload, size_t length)
{
  struct tg_buf out = {0};
  tg_fake_frame_write(&out, head_of(conn, opcode, true), payload, length);
  tg_fake_wire_bytes(conn, out.data, out.length);
  tg_buf_free(&out);
}

static int opcode_of(const struct tg_fake_conn *conn)
{
  return conn->compression == TG_COMPRESSION_NONE ? TG_WS_TEXT : TG_WS_BINARY;
}

/* One WebSocket message. `first` > 0: the first fragment ends there. */
static void append_message(struct tg_fake_conn *conn, const char *bytes, size_t length, size_t first,
                           struct tg_buf *out)
{
  int limit = conn->wire.fragment;
  if (limit == 0 && conn->compression != TG_COMPRESSION_ZLIB)
    limit = conn->wire.split; /* there a WebSocket message is a gateway message, always */
  size_t at = 0;
  do {
    size_t piece = length - at;
    if (limit > 0 && piece > (size_t)limit)
      piece = (size_t)limit;
    if (at < first && at + piece > first)
      piece = first - at;
    bool last = at + piece == length;
    tg_fake_frame_write(out, head_of(conn, at ? TG_WS_CONTINUATION : opcode_of(conn), last), bytes + at,
                        piece);
    at += piece;
    if (!last && conn->wire.pings)
      tg_fake_frame_write(out, head_of(conn, TG_WS_PING, true), "between", 7);
  } while (at < length);
}

static void append_split(struct tg_fake_conn *conn, const char *bytes, size_t length, struct tg_buf *out)
{
  struct tg_fake_wire *wire = &conn->wire;
  if (wire->split_walk && length > 1) {
    size_t cut = 1 + (size_t)(wire->walk++ % (length - 1));
    append_message(conn, bytes, cut, 0, out);
    append_message(conn, bytes + cut, length - cut, 0, out);
    return;
  }
  for (size_t at = 0; at < length; at += (size_t)wire->split) {
    size_t piece = length - at < (size_t)wire->split ? length - at : (size_t)wire->split;
    append_message(conn, bytes + at, piece, 0, out);
  }
}

static void append_plain(struct tg_fake_conn *conn, const char *text, size_t length, struct tg_buf *out)
{
  struct tg_fake_head head = {.opcode = opcode_of(conn), .fin = true};
  if (conn->compression == TG_COMPRESSION_NONE) {
    tg_fake_frame_write(out, head, text, length);
    return;
  }
  struct tg_buf *encoded = &conn->fake->encoded;
  encoded->length = 0;
  tg_fake_encode(conn->encoder, text, length, encoded);
  tg_fake_frame_write(out, head, encoded->data, encoded->length);
  tg_buf_reset(encoded, 1 << 20);
}

/* A block of the type that neither zlib nor zstd has: an error in any inflater.
 * Plain text gets a byte that is no UTF-8. */
static void corrupt(const struct tg_fake_conn *conn, bool begun, struct tg_buf *encoded)
{
  size_t head = begun ? 0 : conn->compression == TG_COMPRESSION_ZSTD ? 6 : 2;
  if (conn->compression == TG_COMPRESSION_NONE)
    encoded->data[0] = (char)0xff;
  else if (encoded->length > head)
    encoded->data[head] = (char)(encoded->data[head] | 6);
}

void tg_fake_wire_append(struct tg_fake_conn *conn, const char *text, size_t length, struct tg_buf *out)
{
  struct tg_fake_wire *wire = &conn->wire;
  if (tg_fake_wire_is_plain(wire)) {
    append_plain(conn, text, length, out);
    return;
  }
  if (wire->truncate != 0) {
    wire->truncate -= wire->truncate > 0;
    length /= 2;
  }
  struct tg_buf encoded = {0};
  size_t first = 0;
  bool begun = tg_fake_encoder_begun(conn->encoder);
  if (wire->flush_inside) {
    tg_fake_encode(conn->encoder, text, length / 2, &encoded);
    first = encoded.length;
    tg_fake_encode(conn->encoder, text + length / 2, length - length / 2, &encoded);
  } else {
    tg_fake_encode(conn->encoder, text, length, &encoded);
  }
  if (wire->corrupt != 0) {
    wire->corrupt -= wire->corrupt > 0;
    corrupt(conn, begun, &encoded);
  }
  bool can_split = conn->compression == TG_COMPRESSION_ZLIB;
  if (can_split && (wire->split > 0 || wire->split_walk))
    append_split(conn, encoded.data, encoded.length, out);
  else
    append_message(conn, encoded.data, encoded.length, first, out);
  tg_buf_free(&encoded);
}

void tg_fake_wire_message(struct tg_fake_conn *conn, const char *text, size_t length)
{
  if (conn->deaf || conn->state == TG_FAKE_GONE)
    return;
  struct tg_buf *frames = &conn->fake->frames;
  frames->length = 0;
  tg_fake_wire_append(conn, text, length, frames);
  tg_fake_wire_bytes(conn, frames->data, frames->length);
  tg_buf_reset(frames, 1 << 20);
}
