/* JSON text into MessagePack. The head of a text or a container says how long it
 * is, which is known only at its end: a container gets one byte in front, and what
 * follows makes room where that was not enough. Most have fewer than 16 members. */

#include "base/msgpack.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- heads and numbers ---- */

enum {
  NIL = 0xC0,
  FALSE_BYTE = 0xC2,
  TRUE_BYTE = 0xC3,
  FLOAT_64 = 0xCB,
  UINT_8 = 0xCC, /* and 16, 32, 64 behind it */
  INT_8 = 0xD0,
  TEXT_8 = 0xD9,
  ARRAY_16 = 0xDC,
  MAP_16 = 0xDE,
  FIX_MAP = 0x80, /* ORed with what is small enough */
  FIX_ARRAY = 0x90,
  FIX_TEXT = 0xA0,
  FIX_CONTAINER_MAX = 15,
  FIX_TEXT_MAX = 31,
  HEAD_MAX = 9,
};

/* The most significant byte first. Returns how many. */
static size_t put_bytes(unsigned char *at, uint64_t number, size_t count)
{
  for (size_t i = 0; i < count; i++)
    at[i] = (unsigned char)(number >> 8 * (count - 1 - i));
  return count;
}

static void put_head(struct tg_buf *out, int first, uint64_t number, size_t count)
{
  unsigned char *at = (unsigned char *)tg_buf_reserve(out, HEAD_MAX);
  at[0] = (unsigned char)first;
  out->length += 1 + put_bytes(at + 1, number, count);
}

static void put_uint(struct tg_buf *out, uint64_t number)
{
  if (number < 0x80)
    put_head(out, (int)number, 0, 0);
  else if (number <= UINT8_MAX)
    put_head(out, UINT_8, number, 1);
  else if (number <= UINT16_MAX)
    put_head(out, UINT_8 + 1, number, 2);
  else if (number <= UINT32_MAX)
    put_head(out, UINT_8 + 2, number, 4);
  else
    put_head(out, UINT_8 + 3, number, 8);
}

void tg_msgpack_put_int(struct tg_buf *out, int64_t number)
{
  if (number >= 0)
    put_uint(out, (uint64_t)number);
  else if (number >= -32)
    put_head(out, (int)(number & 0xFF), 0, 0);
  else if (number >= INT8_MIN)
    put_head(out, INT_8, (uint64_t)number, 1);
  else if (number >= INT16_MIN)
    put_head(out, INT_8 + 1, (uint64_t)number, 2);
  else if (number >= INT32_MIN)
    put_head(out, INT_8 + 2, (uint64_t)number, 4);
  else
    put_head(out, INT_8 + 3, (uint64_t)number, 8);
}

static void put_double(struct tg_buf *out, double number)
{
  const double exact = 9007199254740991; /* whole numbers that a double tells apart */
  uint64_t bits;
  if (number >= -exact && number <= exact && number == floor(number)) {
    tg_msgpack_put_int(out, (int64_t)number); /* 1.0 and 1e3 are whole, too */
    return;
  }
  memcpy(&bits, &number, sizeof bits);
  put_head(out, FLOAT_64, bits, 8);
}

/* Writes the head of a text to `at`, which has room for it; returns its length. */
static size_t text_head(unsigned char *at, size_t length)
{
  size_t bytes = length <= FIX_TEXT_MAX ? 0 : length <= UINT8_MAX ? 1 : length <= UINT16_MAX ? 2 : 4;
  at[0] = (unsigned char)(bytes == 0 ? FIX_TEXT | length : TEXT_8 + bytes / 2);
  return 1 + put_bytes(at + 1, length, bytes);
}

void tg_msgpack_put_text(struct tg_buf *out, const char *text, size_t length)
{
  char *at = tg_buf_reserve(out, HEAD_MAX + length);
  size_t head = text_head((unsigned char *)at, length);
  memcpy(at + head, text, length);
  out->length += head + length;
}

void tg_msgpack_put_map(struct tg_buf *out, uint32_t count)
{
  if (count <= FIX_CONTAINER_MAX)
    put_head(out, FIX_MAP | (int)count, 0, 0);
  else
    put_head(out, count <= UINT16_MAX ? MAP_16 : MAP_16 + 1, count, count <= UINT16_MAX ? 2 : 4);
}

/* The container whose one byte in front stands at `start` has come to its end. */
static void close_container(struct tg_buf *out, size_t start, bool is_map, size_t count)
{
  size_t bytes = count <= FIX_CONTAINER_MAX ? 0 : count <= UINT16_MAX ? 2 : 4;
  tg_buf_reserve(out, bytes);
  unsigned char *head = (unsigned char *)out->data + start;
  if (bytes == 0) {
    head[0] = (unsigned char)((is_map ? FIX_MAP : FIX_ARRAY) | (int)count);
    return;
  }
  memmove(head + 1 + bytes, head + 1, out->length - start - 1);
  head[0] = (unsigned char)((is_map ? MAP_16 : ARRAY_16) + (bytes == 4));
  put_bytes(head + 1, count, bytes);
  out->length += bytes;
}

/* ---- texts ---- */

struct text_reader {
  struct tg_buf *out;
  const char *at, *end;
  int depth;
};

/* The first byte that is not plain: a quote, a backslash, a control character, or
 * not ASCII; the end if there is none. */
static const char *skip_plain(const char *at, const char *end)
{
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  uint64_t eight;
  for (; end - at >= 8; at += 8) {
    memcpy(&eight, at, 8);
    uint64_t quote = eight ^ ones * '"', backslash = eight ^ ones * '\\';
    uint64_t found = (quote - ones) | (backslash - ones) | (eight - ones * ' ') | eight;
    if (found & high)
      break; /* or a false alarm, which the bytes tell */
  }
  for (; at < end && *at != '"' && *at != '\\'; at++) {
    if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x80)
      break;
  }
  return at;
}

/* Four hexadecimal digits; -1: they are not. */
static int read_unit(const char *at, const char *end)
{
  int unit = 0;
  if (end - at < 4)
    return -1;
  for (int i = 0; i < 4; i++) {
    char c = at[i], letter = (char)(c | 0x20);
    if (c >= '0' && c <= '9')
      unit = unit << 4 | (c - '0');
    else if (letter >= 'a' && letter <= 'f')
      unit = unit << 4 | (letter - 'a' + 10);
    else
      return -1;
  }
  return unit;
}

static void put_code_point(struct tg_buf *out, unsigned code)
{
  unsigned char *at = (unsigned char *)tg_buf_reserve(out, 4);
  size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const unsigned char leads[] = {0, 0xC0, 0xE0, 0xF0};
  at[0] = (unsigned char)(leads[more] | code >> 6 * more);
  for (size_t i = 1; i <= more; i++)
    at[i] = (unsigned char)(0x80 | (code >> 6 * (more - i) & 0x3F));
  out->length += 1 + more;
}

/* `at` stands behind "\u". */
static const char *put_unicode(struct tg_buf *out, const char *at, const char *end)
{
  enum { HIGH = 0xD800, LOW = 0xDC00, BEHIND = 0xE000, REPLACEMENT = 0xFFFD };
  int unit = read_unit(at, end), second;
  if (unit < 0)
    return NULL;
  at += 4;
  if (unit < HIGH || unit >= BEHIND) {
    put_code_point(out, (unsigned)unit);
    return at;
  }
  bool is_pair = unit < LOW && end - at >= 6 && at[0] == '\\' && at[1] == 'u' &&
                 (second = read_unit(at + 2, end)) >= LOW && second < BEHIND;
  if (!is_pair) {
    put_code_point(out, REPLACEMENT);
    return at;
  }
  put_code_point(out, 0x10000u + ((unsigned)(unit - HIGH) << 10) + (unsigned)(second - LOW));
  return at + 6;
}

/* `at` stands behind the backslash. Returns the byte behind the escape, or NULL. */
static const char *put_escape(struct tg_buf *out, const char *at, const char *end)
{
  static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  if (at == end)
    return NULL;
  if (*at == 'u')
    return put_unicode(out, at + 1, end);
  const char *name = memchr(names, *at, sizeof names - 1);
  if (!name)
    return NULL;
  tg_buf_append(out, meanings + (name - names), 1);
  return at + 1;
}

/* The content of a text up to its closing quote, with what it means. */
static bool put_content(struct text_reader *reader)
{
  const char *at = reader->at, *end = reader->end, *start = at;
  while (at && at < end && *at != '"') {
    if (*at == '\\') {
      tg_utf8_mend(reader->out, start, (size_t)(at - start));
      start = at = put_escape(reader->out, at + 1, end);
    } else if ((unsigned char)*at < ' ') {
      return false;
    } else {
      at++;
    }
  }
  if (!at || at >= end)
    return false;
  tg_utf8_mend(reader->out, start, (size_t)(at - start));
  reader->at = at + 1;
  return true;
}

/* `at` stands behind the opening quote. */
static bool put_string(struct text_reader *reader)
{
  struct tg_buf *out = reader->out;
  const char *plain = skip_plain(reader->at, reader->end);
  if (plain < reader->end && *plain == '"') {
    tg_msgpack_put_text(out, reader->at, (size_t)(plain - reader->at));
    reader->at = plain + 1;
    return true;
  }
  size_t start = out->length;
  tg_buf_reserve(out, HEAD_MAX);
  out->length += HEAD_MAX;
  if (!put_content(reader))
    return false;
  char *text = out->data + start;
  size_t length = out->length - start - HEAD_MAX;
  size_t head = text_head((unsigned char *)text, length);
  memmove(text + head, text + HEAD_MAX, length);
  out->length = start + head + length;
  return true;
}

/* ---- the others ---- */

static const char *skip_digits(const char *at, const char *end)
{
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return at;
}

/* The byte behind the number; NULL: it is none. */
static const char *number_end(const char *at, const char *end, bool *is_whole)
{
  const char *digits = at + (at < end && *at == '-');
  const char *behind = skip_digits(digits, end);
  *is_whole = true;
  if (behind == digits || (*digits == '0' && behind - digits > 1))
    return NULL;
  if (behind < end && *behind == '.') {
    *is_whole = false;
    digits = behind + 1;
    behind = skip_digits(digits, end);
    if (behind == digits)
      return NULL;
  }
  if (behind < end && (*behind | 0x20) == 'e') {
    *is_whole = false;
    digits = behind + 1;
    digits += digits < end && (*digits == '-' || *digits == '+');
    behind = skip_digits(digits, end);
    if (behind == digits)
      return NULL;
  }
  return behind;
}

static bool put_whole(struct tg_buf *out, const char *at, size_t length)
{
  bool is_negative = *at == '-';
  struct tg_span digits = {at + is_negative, length - is_negative};
  uint64_t number;
  if (!tg_json_uint(digits, &number) || (is_negative && number > (uint64_t)INT64_MAX + 1))
    return false;
  if (is_negative)
    tg_msgpack_put_int(out, (int64_t)(0 - number));
  else
    put_uint(out, number);
  return true;
}

static bool put_number(struct text_reader *reader)
{
  bool is_whole;
  const char *behind = number_end(reader->at, reader->end, &is_whole);
  if (!behind)
    return false;
  size_t length = (size_t)(behind - reader->at);
  if (!is_whole || !put_whole(reader->out, reader->at, length)) {
    char *copy = tg_buf_reserve(reader->out, length + 1); /* strtod wants an end */
    memcpy(copy, reader->at, length);
    copy[length] = '\0';
    put_double(reader->out, strtod(copy, NULL));
  }
  reader->at = behind;
  return true;
}

static bool put_literal(struct text_reader *reader, const char *word, int byte)
{
  size_t length = strlen(word);
  if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
    return false;
  reader->at += length;
  put_head(reader->out, byte, 0, 0);
  return true;
}

static void skip_space(struct text_reader *reader)
{
  reader->at = tg_json_skip_space(reader->at, reader->end);
}

/* Passes over the byte if it is what comes next. */
static bool take(struct text_reader *reader, char c)
{
  skip_space(reader);
  if (reader->at == reader->end || *reader->at != c)
    return false;
  reader->at++;
  return true;
}

static bool put_value(struct text_reader *reader);

static bool put_key(struct text_reader *reader)
{
  return take(reader, '"') && put_string(reader) && take(reader, ':');
}

/* `at` stands behind the opening bracket. */
static bool put_container(struct text_reader *reader, bool is_map)
{
  char closing = is_map ? '}' : ']';
  size_t start = reader->out->length, count = 0;
  if (reader->depth == TG_MSGPACK_DEPTH)
    return false;
  reader->depth++;
  put_head(reader->out, 0, 0, 0);
  bool ends = take(reader, closing);
  while (!ends) {
    if ((is_map && !put_key(reader)) || !put_value(reader))
      return false;
    count++;
    ends = take(reader, closing);
    if (!ends && !take(reader, ','))
      return false;
  }
  reader->depth--;
  close_container(reader->out, start, is_map, count);
  return true;
}

static bool put_value(struct text_reader *reader)
{
  skip_space(reader);
  if (reader->at == reader->end)
    return false;
  char c = *reader->at;
  switch (c) {
  case '"':
    reader->at++;
    return put_string(reader);
  case '{':
  case '[':
    reader->at++;
    return put_container(reader, c == '{');
  case 'n':
    return put_literal(reader, "null", NIL);
  case 't':
    return put_literal(reader, "true", TRUE_BYTE);
  case 'f':
    return put_literal(reader, "false", FALSE_BYTE);
  default:
    return put_number(reader);
  }
}

bool tg_msgpack_put_json(struct tg_buf *out, struct tg_span json)
{
  struct text_reader reader = {.out = out, .at = json.at, .end = json.at + json.length};
  size_t start = out->length;
  bool is_json = put_value(&reader);
  skip_space(&reader);
  if (is_json && reader.at == reader.end)
    return true;
  out->length = start;
  return false;
}
