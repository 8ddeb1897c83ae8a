#include "fake_discord/wire/compress.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum {
  /* 13 and 5 take 48 KB a connection where zlib's defaults take 256. The
   * header below still announces 32 KB, as Discord's does. */
  WINDOW_BITS = 13,
  MEMORY_LEVEL = 5,
};

struct tg_fake_encoder {
  enum tg_compression compression;
  bool begun;
  bool forgotten; /* the next piece ends the frame that is open */
  z_stream zlib;
  ZSTD_CCtx *zstd;
};

struct tg_fake_encoder *tg_fake_encoder_new(enum tg_compression compression, int level)
{
  struct tg_fake_encoder *encoder = tg_calloc(1, sizeof *encoder);
  encoder->compression = compression;
  if (compression == TG_COMPRESSION_ZLIB) {
    /* Raw, so that tg_fake_encoder_forget() does not write a second header. */
    if (deflateInit2(&encoder->zlib, level, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) !=
        Z_OK)
      abort();
  } else if (compression == TG_COMPRESSION_ZSTD) {
    encoder->zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_windowLog, TG_FAKE_ZSTD_WINDOW_LOG);
    ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_hashLog, 13);
  }
  return encoder;
}

void tg_fake_encoder_free(struct tg_fake_encoder *encoder)
{
  if (!encoder)
    return;
  if (encoder->compression == TG_COMPRESSION_ZLIB)
    deflateEnd(&encoder->zlib);
  ZSTD_freeCCtx(encoder->zstd);
  free(encoder);
}

bool tg_fake_encoder_begun(const struct tg_fake_encoder *encoder)
{
  return encoder->begun;
}

static void encode_zlib(struct tg_fake_encoder *encoder, const void *text, size_t length, struct tg_buf *out)
{
  if (!encoder->begun)
    tg_buf_append(out, "\x78\x9c", 2);
  z_stream *zlib = &encoder->zlib;
  zlib->next_in = (unsigned char *)(uintptr_t)text;
  zlib->avail_in = (unsigned)length;
  do {
    size_t room = length / 2 + 256;
    zlib->next_out = (unsigned char *)tg_buf_reserve(out, room);
    zlib->avail_out = (unsigned)room;
    deflate(zlib, Z_SYNC_FLUSH);
    out->length += room - zlib->avail_out;
  } while (zlib->avail_out == 0);
}

static void encode_zstd(struct tg_fake_encoder *encoder, const void *text, size_t length, struct tg_buf *out)
{
  if (encoder->forgotten)
    tg_buf_append(out, TG_FAKE_ZSTD_END, TG_FAKE_ZSTD_END_SIZE);
  encoder->forgotten = false;
  ZSTD_inBuffer input = {text, length, 0};
  size_t left;
  do {
    size_t room = length / 2 + 256;
    ZSTD_outBuffer output = {tg_buf_reserve(out, room), room, 0};
    left = ZSTD_compressStream2(encoder->zstd, &output, &input, ZSTD_e_flush);
    if (ZSTD_isError(left))
      abort();
    out->length += output.pos;
  } while (left > 0);
}

void tg_fake_encode(struct tg_fake_encoder *encoder, const void *text, size_t length, struct tg_buf *out)
{
  switch (encoder->compression) {
  case TG_COMPRESSION_NONE:
    tg_buf_append(out, text, length);
    break;
  case TG_COMPRESSION_ZLIB:
    encode_zlib(encoder, text, length, out);
    break;
  case TG_COMPRESSION_ZSTD:
    encode_zstd(encoder, text, length, out);
    break;
  }
  encoder->begun = true;
}

void tg_fake_encoder_forget(struct tg_fake_encoder *encoder)
{
  if (encoder->compression == TG_COMPRESSION_ZLIB)
    deflateReset(&encoder->zlib);
  if (encoder->compression == TG_COMPRESSION_ZSTD && encoder->begun) {
    ZSTD_CCtx_reset(encoder->zstd, ZSTD_reset_session_only);
    encoder->forgotten = true;
  }
}
