#pragma once

/* Transport compression of one connection, the sending side. */

#include "base/buf.h"
#include "config/config.h"

struct tg_fake_encoder;

/* `level` is zlib's. Contexts are kept small: thousands of connections. */
struct tg_fake_encoder *tg_fake_encoder_new(enum tg_compression compression, int level);
void tg_fake_encoder_free(struct tg_fake_encoder *encoder);

/* Whether anything was encoded yet: the first piece carries the header. */
bool tg_fake_encoder_begun(const struct tg_fake_encoder *encoder);

/* Appends the next piece of the stream, flushed. A gateway message may be
 * encoded in several pieces. */
void tg_fake_encode(struct tg_fake_encoder *encoder, const void *text, size_t length, struct tg_buf *out);

/* A piece of zstd-stream that refers to nothing before it begins with the end of the frame that is open: an
 * empty last block. */
#define TG_FAKE_ZSTD_END "\x01\x00\x00"
enum { TG_FAKE_ZSTD_END_SIZE = 3, TG_FAKE_ZSTD_WINDOW_LOG = 18 /* as captured from Discord */ };

/* From here on nothing refers to what was sent before. */
void tg_fake_encoder_forget(struct tg_fake_encoder *encoder);
