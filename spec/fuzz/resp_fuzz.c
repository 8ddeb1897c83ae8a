/* What a Redis sends, cut at a place that the input chooses: the same replies come out as of one piece, or
 * the same refusal; errors among them are told in words that harm no terminal. */

#include "fuzz.h"

#include "net/redis_refusal.h"
#include "net/resp.h"

#include <ctype.h>

static void check_refusal(struct tg_span said)
{
  struct tg_error error = {0};
  tg_redis_refusal("redis://host:6379/0", said, &error);
  require(error.code[0] && !strpbrk(error.code, " ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
  for (const char *at = error.message; *at; at++)
    require(isprint((unsigned char)*at));
}

/* Each byte of a reply is looked at. */
static void put_reply(struct tg_buf *out, const struct tg_redis_reply *reply)
{
  tg_buf_printf(out, "%d:%lld:%zu:", (int)reply->kind, (long long)reply->integer, reply->count);
  if (reply->kind <= TG_REDIS_ERROR)
    tg_buf_append(out, reply->text.at, reply->text.length);
  if (reply->kind == TG_REDIS_ERROR)
    check_refusal(reply->text);
  for (size_t i = 0; i < reply->count; i++)
    put_reply(out, &reply->items[i]);
}

/* All replies are kept to the end, as those of a batch are. */
static struct tg_buf read_replies(const char *bytes, size_t length, size_t cut)
{
  enum { REPLIES_MAX = 64 };
  struct tg_resp_reader *reader = tg_resp_reader_new();
  struct tg_redis_reply replies[REPLIES_MAX];
  struct tg_buf out = {0};
  struct tg_error error = {0};
  int count = 0, next = 0;
  for (int part = 0; part < 2 && next >= 0; part++) {
    char *piece = fuzz_text(part ? bytes + cut : bytes, part ? length - cut : cut);
    bool fed = tg_resp_feed(reader, piece, part ? length - cut : cut, &error);
    next = fed ? 0 : -1;
    free(piece);
    while (next >= 0 && count < REPLIES_MAX && (next = tg_resp_next(reader, &replies[count], &error)) > 0)
      count++;
  }
  for (int i = 0; i < count; i++)
    put_reply(&out, &replies[i]);
  require(next >= 0 || (strcmp(error.code, "protocol") == 0 && error.message[0]));
  tg_buf_printf(&out, "%s", next < 0 ? "refused" : "all");
  tg_resp_reset(reader);
  tg_resp_reader_free(reader);
  return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length < 3)
    return 0;
  size_t cut = (size_t)(bytes[0] << 8 | bytes[1]) % (length - 2);
  const char *text = (const char *)bytes + 2;
  struct tg_buf whole = read_replies(text, length - 2, length - 2),
                other = read_replies(text, length - 2, cut);
  require(whole.length == other.length && memcmp(whole.data, other.data, whole.length) == 0);
  tg_buf_free(&whole);
  tg_buf_free(&other);
  return 0;
}
