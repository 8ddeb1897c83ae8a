#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* What may follow a first byte: how many bytes, and the range of the first of
 * these; the others are 80 to BF. */
struct lead {
  unsigned char from, to; /* of the first byte */
  unsigned char more, least, most;
};

static const struct lead leads[] = {
    {0xC2, 0xDF, 1, 0x80, 0xBF}, {0xE0, 0xE0, 2, 0xA0, 0xBF}, {0xE1, 0xEC, 2, 0x80, 0xBF},
    {0xED, 0xED, 2, 0x80, 0x9F}, {0xEE, 0xEF, 2, 0x80, 0xBF}, {0xF0, 0xF0, 3, 0x90, 0xBF},
    {0xF1, 0xF3, 3, 0x80, 0xBF}, {0xF4, 0xF4, 3, 0x80, 0x8F},
};

/* The length of the code point at `at`, which is no ASCII. 0: it is none, and
 * `*torn` bytes from here (1 to 3) could not become one. */
static size_t sequence(const unsigned char *at, const unsigned char *end, size_t *torn)
{
  const struct lead *lead = leads, *behind = leads + sizeof leads / sizeof *leads;
  *torn = 1;
  while (lead < behind && (*at < lead->from || *at > lead->to))
    lead++;
  if (lead == behind)
    return 0;
  for (size_t i = 1; i <= lead->more; i++, (*torn)++) {
    unsigned char least = i == 1 ? lead->least : 0x80, most = i == 1 ? lead->most : 0xBF;
    if (at + i == end || at[i] < least || at[i] > most)
      return 0;
  }
  return lead->more + 1u;
}

/* The first byte that is not ASCII, or the end. */
static const unsigned char *skip_ascii(const unsigned char *at, const unsigned char *end)
{
  uint64_t eight;
  for (; end - at >= 8; at += 8) {
    memcpy(&eight, at, 8);
    if (eight & 0x8080808080808080u)
      break;
  }
  while (at < end && *at < 0x80)
    at++;
  return at;
}

size_t tg_utf8_valid(const char *text, size_t length)
{
  const unsigned char *start = (const unsigned char *)text, *end = start + length, *at = start;
  while ((at = skip_ascii(at, end)) < end) {
    size_t torn, whole = sequence(at, end, &torn);
    if (whole == 0)
      break;
    at += whole;
  }
  return (size_t)(at - start);
}

size_t tg_utf8_mend(struct tg_buf *out, const char *text, size_t length)
{
  size_t count = 0;
  for (;;) {
    size_t good = tg_utf8_valid(text, length), torn;
    tg_buf_append(out, text, good);
    if (good == length)
      return count;
    const unsigned char *at = (const unsigned char *)text + good;
    sequence(at, (const unsigned char *)text + length, &torn);
    tg_buf_puts(out, "\xEF\xBF\xBD");
    count++;
    text += good + torn;
    length -= good + torn;
  }
}

size_t tg_utf8_cut(const char *text, size_t length, size_t most)
{
  if (length <= most)
    return length;
  size_t at = most, back = 0;
  while (at > 0 && back < 3 && ((unsigned char)text[at] & 0xC0) == 0x80) {
    at--;
    back++;
  }
  size_t torn;
  const unsigned char *lead = (const unsigned char *)text + at;
  /* Bytes that are part of no code point are cut where they stand. */
  return sequence(lead, (const unsigned char *)text + length, &torn) > back ? at : most;
}

json_t *tg_json_text(const char *text)
{
  json_t *value = json_string(text);
  if (value)
    return value;
  struct tg_buf mended = {0};
  tg_utf8_mend(&mended, text, strlen(text));
  value = json_stringn(mended.data, mended.length);
  tg_buf_free(&mended);
  return value;
}
