#include "base/msgpack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bytes_reader {
  const unsigned char *at, *end;
  int depth;
  struct tg_error *error;
};

static json_t *fail(struct bytes_reader *reader, const char *what)
{
  return tg_fail(reader->error, "bad_msgpack", "%s", what), NULL;
}

static json_t *fail_short(struct bytes_reader *reader)
{
  return fail(reader, "it ends in the middle of a value");
}

static size_t left(const struct bytes_reader *reader)
{
  return (size_t)(reader->end - reader->at);
}

/* The most significant byte first. */
static bool take_uint(struct bytes_reader *reader, size_t bytes, uint64_t *number)
{
  if (left(reader) < bytes)
    return false;
  *number = 0;
  for (size_t i = 0; i < bytes; i++)
    *number = *number << 8 | *reader->at++;
  return true;
}

static json_t *read_uint(struct bytes_reader *reader, size_t bytes)
{
  uint64_t number;
  if (!take_uint(reader, bytes, &number))
    return fail_short(reader);
  return number <= INT64_MAX ? json_integer((json_int_t)number)
                             : fail(reader, "a number is too large for a signed one of 64 bits");
}

static json_t *read_int(struct bytes_reader *reader, size_t bytes)
{
  uint64_t number;
  if (!take_uint(reader, bytes, &number))
    return fail_short(reader);
  uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
  return json_integer((json_int_t)((number ^ sign) - sign));
}

static json_t *read_double(struct bytes_reader *reader, size_t bytes)
{
  const double exact = 9007199254740991; /* a writer without whole numbers has these */
  uint64_t bits;
  double number;
  if (!take_uint(reader, bytes, &bits))
    return fail_short(reader);
  if (bytes == sizeof(float)) {
    uint32_t half = (uint32_t)bits;
    float single;
    memcpy(&single, &half, sizeof single);
    number = (double)single;
  } else {
    memcpy(&number, &bits, sizeof number);
  }
  if (!isfinite(number))
    return fail(reader, "a number is not finite");
  bool is_whole = number >= -exact && number <= exact && number == floor(number);
  return is_whole ? json_integer((json_int_t)number) : json_real(number);
}

/* How long the text is that begins here. False: it is none, or it is torn. */
static bool take_text(struct bytes_reader *reader, struct tg_span *text)
{
  if (left(reader) == 0)
    return false;
  unsigned char first = *reader->at++;
  uint64_t length;
  if ((first & 0xE0) == 0xA0)
    length = first & 0x1F;
  else if (first < 0xD9 || first > 0xDB || !take_uint(reader, (size_t)1 << (first - 0xD9), &length))
    return false;
  if (left(reader) < length)
    return false;
  *text = (struct tg_span){(const char *)reader->at, (size_t)length};
  reader->at += length;
  return true;
}

static json_t *read_text(struct bytes_reader *reader)
{
  struct tg_span text;
  reader->at--; /* its first byte */
  if (!take_text(reader, &text))
    return fail_short(reader);
  json_t *value = json_stringn(text.at, text.length);
  return value ? value : fail(reader, "a text is not UTF-8");
}

static json_t *read_value(struct bytes_reader *reader);

static json_t *read_array(struct bytes_reader *reader, uint64_t count)
{
  json_t *list = json_array();
  for (uint64_t i = 0; i < count; i++) {
    if (json_array_append_new(list, read_value(reader)) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

static bool read_member(struct bytes_reader *reader, json_t *object)
{
  struct tg_span key;
  if (!take_text(reader, &key))
    return fail(reader, "the key of a map is no text, or is torn");
  if (memchr(key.at, '\0', key.length))
    return fail(reader, "the key of a map has a NUL in it");
  json_t *value = read_value(reader);
  if (!value)
    return false;
  char *name = tg_strndup(key.at, key.length);
  bool is_set = json_object_set_new(object, name, value) == 0;
  free(name);
  return is_set || fail(reader, "the key of a map is not UTF-8");
}

static json_t *read_map(struct bytes_reader *reader, uint64_t count)
{
  json_t *object = json_object();
  for (uint64_t i = 0; i < count; i++) {
    if (!read_member(reader, object)) {
      json_decref(object);
      return NULL;
    }
  }
  return object;
}

/* `bytes` of a count stand in front of the members; 0: `count` is known already. */
static json_t *read_container(struct bytes_reader *reader, bool is_map, size_t bytes, uint64_t count)
{
  if (bytes > 0 && !take_uint(reader, bytes, &count))
    return fail_short(reader);
  if (reader->depth == TG_MSGPACK_DEPTH)
    return fail(reader, "it is nested too deeply");
  reader->depth++;
  json_t *value = is_map ? read_map(reader, count) : read_array(reader, count);
  reader->depth--;
  return value;
}

static json_t *read_value(struct bytes_reader *reader)
{
  if (left(reader) == 0)
    return fail_short(reader);
  unsigned char first = *reader->at++;
  if (first < 0x80)
    return json_integer(first);
  if (first < 0xA0)
    return read_container(reader, first < 0x90, 0, first & 0xF);
  if (first < 0xC0)
    return read_text(reader);
  if (first >= 0xE0)
    return json_integer((json_int_t)first - 0x100);
  switch (first) {
  case 0xC0:
    return json_null();
  case 0xC2:
    return json_false();
  case 0xC3:
    return json_true();
  case 0xCA:
  case 0xCB:
    return read_double(reader, first == 0xCA ? 4 : 8);
  case 0xCC:
  case 0xCD:
  case 0xCE:
  case 0xCF:
    return read_uint(reader, (size_t)1 << (first - 0xCC));
  case 0xD0:
  case 0xD1:
  case 0xD2:
  case 0xD3:
    return read_int(reader, (size_t)1 << (first - 0xD0));
  case 0xD9:
  case 0xDA:
  case 0xDB:
    return read_text(reader);
  case 0xDC:
  case 0xDD:
    return read_container(reader, false, first == 0xDC ? 2 : 4, 0);
  case 0xDE:
  case 0xDF:
    return read_container(reader, true, first == 0xDE ? 2 : 4, 0);
  default:
    return fail(reader, "it has bytes or an extension in it, which JSON does not know");
  }
}

json_t *tg_msgpack_read(struct tg_span bytes, struct tg_error *error)
{
  const unsigned char *at = (const unsigned char *)bytes.at;
  struct bytes_reader reader = {.at = at, .end = at + bytes.length, .error = error};
  json_t *value = read_value(&reader);
  if (value && left(&reader) > 0) {
    json_decref(value);
    return fail(&reader, "something stands behind its end");
  }
  return value;
}
