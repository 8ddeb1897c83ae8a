#include "proto/inflate.h"

#include "base/json_scan.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { FIRST_ROOM = 4096, ZLIB_HEADER = 2, ZSTD_WINDOW_LOG_MAX = 23, LARGEST_LIMIT = 1 << 30 };

/* The end of a Z_SYNC_FLUSH: an empty stored block. */
static const uint32_t FLUSH_MARKER = 0x0000ffff;

/* How far a text has been looked through for the end of its object. Each byte is looked at once, in however
 * many messages the text comes: the other side may send as many, and as small ones, as it likes. */
struct outline {
  size_t seen;
  int depth;
  bool in_string, escaped;
  bool over; /* the object has ended, and was not the whole text */
};

struct tg_inflate {
  enum tg_compression compression;
  size_t limit;
  enum tg_inflate_result failure; /* TG_INFLATE_MORE: none so far */

  z_stream zlib;
  bool zlib_started;
  unsigned header_length; /* bytes of the zlib header that have come */
  unsigned char header[ZLIB_HEADER];
  uint32_t tail; /* the last four compressed bytes */
  struct outline outline;

  ZSTD_DStream *zstd;
};

struct tg_inflate *tg_inflate_new(enum tg_compression compression, size_t limit)
{
  struct tg_inflate *context = tg_calloc(1, sizeof *context);
  context->compression = compression;
  context->limit = limit < LARGEST_LIMIT ? limit : LARGEST_LIMIT;
  return context;
}

void tg_inflate_free(struct tg_inflate *context)
{
  if (!context)
    return;
  if (context->zlib_started)
    inflateEnd(&context->zlib);
  ZSTD_freeDStream(context->zstd);
  free(context);
}

/* Room for output: all that the buffer has, at least FIRST_ROOM, and one byte
 * more than the limit allows, so that too much shows. 0: the limit is passed. */
static size_t make_room(const struct tg_inflate *context, struct tg_buf *text)
{
  if (text->length > context->limit)
    return 0;
  size_t allowed = context->limit + 1 - text->length;
  if (text->capacity - text->length < FIRST_ROOM)
    tg_buf_reserve(text, FIRST_ROOM);
  size_t room = text->capacity - text->length;
  return room < allowed ? room : allowed;
}

static void remember_tail(struct tg_inflate *context, const unsigned char *bytes, size_t length)
{
  size_t from = length > sizeof context->tail ? length - sizeof context->tail : 0;
  for (size_t i = from; i < length; i++)
    context->tail = context->tail << 8 | bytes[i];
}

/* The two header bytes are checked here and the rest is inflated raw: that
 * leaves out the Adler-32 over all text, whose value is never sent because the
 * stream never ends. Returns how many of the bytes were header. */
static bool start_zlib(struct tg_inflate *context, const unsigned char *bytes, size_t length, size_t *taken)
{
  *taken = 0;
  while (context->header_length < ZLIB_HEADER && *taken < length)
    context->header[context->header_length++] = bytes[(*taken)++];
  if (context->header_length < ZLIB_HEADER || context->zlib_started)
    return true;
  unsigned method = context->header[0], flags = context->header[1];
  bool deflate = (method & 0x0f) == Z_DEFLATED && method >> 4 <= 7;
  bool has_dictionary = flags & 0x20;
  if (!deflate || has_dictionary || (method << 8 | flags) % 31 != 0)
    return false;
  context->zlib_started = inflateInit2(&context->zlib, -MAX_WBITS) == Z_OK;
  return context->zlib_started;
}

static enum tg_inflate_result feed_zlib(struct tg_inflate *context, const unsigned char *bytes, size_t length,
                                        struct tg_buf *text)
{
  remember_tail(context, bytes, length);
  size_t taken;
  if (!start_zlib(context, bytes, length, &taken))
    return TG_INFLATE_CORRUPT;
  z_stream *zlib = &context->zlib;
  zlib->next_in = (z_const Bytef *)(bytes + taken);
  zlib->avail_in = (uInt)(length - taken);
  /* Output that fills its room may have more behind it, with all input eaten. */
  bool filled = false;
  while (zlib->avail_in > 0 || filled) {
    size_t room = make_room(context, text);
    if (room == 0)
      return TG_INFLATE_TOO_LARGE;
    zlib->next_out = (Bytef *)text->data + text->length;
    zlib->avail_out = (uInt)room;
    int result = inflate(zlib, Z_SYNC_FLUSH);
    text->length += room - zlib->avail_out;
    if (result == Z_BUF_ERROR)
      break;
    if (result != Z_OK)
      return TG_INFLATE_CORRUPT;
    filled = zlib->avail_out == 0;
  }
  return text->length > context->limit ? TG_INFLATE_TOO_LARGE : TG_INFLATE_MORE;
}

static enum tg_inflate_result feed_zstd(struct tg_inflate *context, const void *bytes, size_t length,
                                        struct tg_buf *text)
{
  if (!context->zstd) {
    context->zstd = ZSTD_createDStream();
    if (!context->zstd ||
        ZSTD_isError(ZSTD_DCtx_setParameter(context->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
      return TG_INFLATE_CORRUPT;
  }
  ZSTD_inBuffer in = {bytes, length, 0};
  bool filled = false;
  while (in.pos < in.size || filled) {
    size_t room = make_room(context, text);
    if (room == 0)
      return TG_INFLATE_TOO_LARGE;
    ZSTD_outBuffer out = {text->data + text->length, room, 0};
    size_t result = ZSTD_decompressStream(context->zstd, &out, &in);
    text->length += out.pos;
    if (ZSTD_isError(result))
      return TG_INFLATE_CORRUPT;
    filled = out.pos == room;
  }
  return text->length > context->limit ? TG_INFLATE_TOO_LARGE : TG_INFLATE_MORE;
}

enum tg_inflate_result tg_inflate_feed(struct tg_inflate *context, const void *bytes, size_t length,
                                       struct tg_buf *text)
{
  if (context->failure != TG_INFLATE_MORE || length == 0)
    return context->failure;
  enum tg_inflate_result result = TG_INFLATE_MORE;
  switch (context->compression) {
  case TG_COMPRESSION_ZLIB:
    result = feed_zlib(context, bytes, length, text);
    break;
  case TG_COMPRESSION_ZSTD:
    result = feed_zstd(context, bytes, length, text);
    break;
  case TG_COMPRESSION_NONE:
    if (text->length > context->limit || length > context->limit - text->length)
      result = TG_INFLATE_TOO_LARGE;
    else
      tg_buf_append(text, bytes, length);
    break;
  }
  context->failure = result;
  return result;
}

/* Whether the text ends with the end of what it began with. */
static bool ends_here(struct outline *outline, const struct tg_buf *text)
{
  while (outline->seen < text->length && !outline->over) {
    char c = text->data[outline->seen++];
    if (outline->in_string) {
      outline->in_string = outline->escaped || c != '"';
      outline->escaped = !outline->escaped && c == '\\';
    } else if (c == '"') {
      outline->in_string = true;
    } else if (c == '{' || c == '[') {
      outline->depth++;
    } else if (c == '}' || c == ']') {
      outline->depth--;
      outline->over = outline->depth <= 0;
    }
  }
  return outline->over && outline->depth == 0 && outline->seen == text->length;
}

static bool is_whole_object(struct outline *outline, const struct tg_buf *text)
{
  if (outline->over || !ends_here(outline, text))
    return false;
  const char *end = text->data + text->length;
  const char *at = tg_json_skip_space(text->data, end);
  return *at == '{' && tg_json_skip_value(at, end) == end;
}

/* The marker alone may also be bytes of a message that was cut just there; in
 * that case the decoder does not stand between two blocks, on a whole byte. */
static bool at_flush(const struct tg_inflate *context)
{
  enum { BETWEEN_BLOCKS = 128 };
  return context->zlib_started && context->tail == FLUSH_MARKER && context->zlib.data_type == BETWEEN_BLOCKS;
}

enum tg_inflate_result tg_inflate_end_of_message(struct tg_inflate *context, struct tg_buf *text)
{
  if (context->failure != TG_INFLATE_MORE)
    return context->failure;
  if (context->compression != TG_COMPRESSION_ZLIB)
    return TG_INFLATE_MESSAGE;
  /* No text: the marker of a message that was complete without it. */
  if (text->length == 0)
    return TG_INFLATE_MORE;
  if (!at_flush(context) && !is_whole_object(&context->outline, text))
    return TG_INFLATE_MORE;
  context->outline = (struct outline){0};
  return TG_INFLATE_MESSAGE;
}
