#include "proto/envelope.h"

#include <jansson.h>
#include <string.h>

enum { OP_MAX = 0xffff };

/* Members that have been met: of equal keys the first one counts. */
enum { SEEN_OP = 1, SEEN_SEQUENCE = 2, SEEN_NAME = 4, SEEN_DATA = 8 };

/* A number proper: tg_json_uint() also takes numbers in quotes. */
static bool read_number(struct tg_span value, uint64_t *number)
{
  return value.at[0] != '"' && tg_json_uint(value, number);
}

static bool read_sequence(struct tg_span value, uint64_t *sequence)
{
  if (read_number(value, sequence))
    return true;
  for (size_t i = 0; i < value.length; i++)
    if (value.at[i] < '0' || value.at[i] > '9')
      return false;
  *sequence = UINT64_MAX;
  return value.length > 0;
}

static void take(struct tg_envelope *envelope, unsigned *seen, struct tg_span key, struct tg_span value)
{
  unsigned which = 0;
  if (key.length == 1)
    which = key.at[0] == 't'   ? SEEN_NAME
            : key.at[0] == 's' ? SEEN_SEQUENCE
            : key.at[0] == 'd' ? SEEN_DATA
                               : 0;
  else if (key.length == 2 && key.at[0] == 'o' && key.at[1] == 'p')
    which = SEEN_OP;
  if (!which || (*seen & which))
    return;
  *seen |= which;

  uint64_t number;
  switch (which) {
  case SEEN_OP:
    if (read_number(value, &number) && number <= OP_MAX)
      envelope->op = (int)number;
    break;
  case SEEN_SEQUENCE:
    envelope->has_sequence = read_sequence(value, &envelope->sequence);
    break;
  case SEEN_NAME:
    if (value.at[0] != '"')
      break;
    envelope->name = (struct tg_span){value.at + 1, value.length - 2};
    envelope->name_escaped = memchr(value.at, '\\', value.length) != NULL;
    break;
  case SEEN_DATA:
    envelope->data = value;
    break;
  }
}

/* One `"key": value`; returns the byte behind it, NULL when it is none. */
static const char *scan_member(const char *at, const char *end, struct tg_envelope *envelope, unsigned *seen)
{
  if (at >= end || *at != '"')
    return NULL;
  const char *behind = tg_json_skip_value(at, end);
  if (!behind)
    return NULL;
  struct tg_span key = {at + 1, (size_t)(behind - at) - 2};
  at = tg_json_skip_space(behind, end);
  if (at >= end || *at != ':')
    return NULL;
  at = tg_json_skip_space(at + 1, end);
  const char *last = tg_json_skip_value(at, end);
  if (last)
    take(envelope, seen, key, (struct tg_span){at, (size_t)(last - at)});
  return last;
}

bool tg_envelope_scan(const char *text, size_t length, struct tg_envelope *envelope)
{
  *envelope = (struct tg_envelope){.op = -1};
  if (length == 0)
    return false;
  const char *end = text + length;
  const char *at = tg_json_skip_space(text, end);
  if (at >= end || *at != '{')
    return false;
  unsigned seen = 0;
  do {
    at = scan_member(tg_json_skip_space(at + 1, end), end, envelope, &seen);
    if (!at)
      return false;
    at = tg_json_skip_space(at, end);
  } while (at < end && *at == ',');
  if (at >= end || *at != '}' || tg_json_skip_space(at + 1, end) != end)
    return false;
  return envelope->op >= 0;
}

struct tg_span tg_envelope_name(const struct tg_envelope *envelope, char *buffer, size_t size)
{
  struct tg_span name = envelope->name;
  if (!name.at)
    return (struct tg_span){"", 0};
  if (!envelope->name_escaped)
    return name;
  json_t *text = json_loadb(name.at - 1, name.length + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  size_t length = json_string_length(text);
  if (text && length <= size) {
    memcpy(buffer, json_string_value(text), length);
    name = (struct tg_span){buffer, length};
  }
  json_decref(text);
  return name;
}
