/* Any stream, cut anywhere. The first byte chooses the compression; each
 * further round takes a byte that says how long the next piece is, and whether
 * a WebSocket message ends behind it. Cut or in one piece, the text is the same. */

#include "fuzz.h"

#include "proto/inflate.h"

enum { LIMIT = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length == 0)
    return 0;
  enum tg_compression compression = (enum tg_compression)(*bytes++ % 3);
  length--;
  struct tg_inflate *cut = tg_inflate_new(compression, LIMIT);
  struct tg_inflate *whole = tg_inflate_new(compression, LIMIT);
  struct tg_buf cut_text = {0}, whole_text = {0}, stream = {0};
  enum tg_inflate_result result = TG_INFLATE_MORE;
  while (length > 0 && result == TG_INFLATE_MORE) {
    bool ends = *bytes & 1;
    size_t piece = *bytes >> 1;
    bytes++, length--;
    if (piece > length)
      piece = length;
    char *exact = tg_calloc(piece ? piece : 1, 1);
    memcpy(exact, bytes, piece);
    result = tg_inflate_feed(cut, exact, piece, &cut_text);
    free(exact);
    if (ends && result == TG_INFLATE_MORE) {
      enum tg_inflate_result end = tg_inflate_end_of_message(cut, &cut_text);
      require(end == TG_INFLATE_MORE || end == TG_INFLATE_MESSAGE);
    }
    tg_buf_append(&stream, bytes, piece);
    bytes += piece;
    length -= piece;
  }
  require(tg_inflate_feed(whole, stream.data, stream.length, &whole_text) == result);
  if (result == TG_INFLATE_MORE)
    require(cut_text.length == whole_text.length && cut_text.length <= LIMIT &&
            (cut_text.length == 0 || memcmp(cut_text.data, whole_text.data, cut_text.length) == 0));
  tg_inflate_free(cut);
  tg_inflate_free(whole);
  tg_buf_free(&cut_text);
  tg_buf_free(&whole_text);
  tg_buf_free(&stream);
  return 0;
}
