#pragma once

/* Transport decompression of one connection.
 *
 * Feed every piece of every WebSocket message as it arrives; at the end of
 * each WebSocket message ask whether a gateway message is complete. The text
 * is appended to a buffer of the caller's, which may be shared by all
 * connections of a loop as long as messages are taken out before the next
 * connection writes; an unfinished one is the caller's to save.
 *
 * After a failure the context cannot be repaired: free it, reconnect. */

#include "base/buf.h"
#include "proto/compression.h"

#include <stdbool.h>

struct tg_inflate;

enum tg_inflate_result {
  TG_INFLATE_MORE,      /* message not complete yet */
  TG_INFLATE_MESSAGE,   /* a whole gateway message stands in the buffer */
  TG_INFLATE_CORRUPT,   /* not a valid stream */
  TG_INFLATE_TOO_LARGE, /* the text is over `limit` */
};

/* For TG_COMPRESSION_NONE, too: then bytes are copied as they are. `limit` is
 * the largest text accepted, in bytes. */
struct tg_inflate *tg_inflate_new(enum tg_compression compression, size_t limit);
void tg_inflate_free(struct tg_inflate *inflate);

/* Returns TG_INFLATE_MORE, or a failure. */
enum tg_inflate_result tg_inflate_feed(struct tg_inflate *inflate, const void *bytes, size_t length,
                                       struct tg_buf *text);

/* The WebSocket message has ended. zlib-stream: complete if its last four
 * bytes were 00 00 FF FF (or if the text is a whole JSON object: a peer
 * may flush in another way); zstd-stream and plain text: always complete. */
enum tg_inflate_result tg_inflate_end_of_message(struct tg_inflate *inflate, struct tg_buf *text);
