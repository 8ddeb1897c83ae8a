#include "base/json_scan.h"

#include <string.h>

const char *tg_json_skip_space(const char *at, const char *end)
{
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
    at++;
  return at;
}

/* `at` stands behind the opening quote; returns the byte behind the closing one. */
static const char *skip_string(const char *at, const char *end)
{
  for (;;) {
    const char *quote = memchr(at, '"', (size_t)(end - at));
    if (!quote)
      return NULL;
    const char *back = quote;
    while (back > at && back[-1] == '\\')
      back--;
    at = quote + 1;
    if ((quote - back) % 2 == 0)
      return at;
  }
}

/* Brackets are counted, not matched by kind: enough to find the end of text
 * that came from a JSON writer, and harmless on anything else. */
static const char *skip_nested(const char *at, const char *end)
{
  size_t depth = 0;
  while (at < end) {
    switch (*at++) {
    case '"':
      at = skip_string(at, end);
      if (!at)
        return NULL;
      break;
    case '{':
    case '[':
      depth++;
      break;
    case '}':
    case ']':
      if (--depth == 0)
        return at;
      break;
    }
  }
  return NULL;
}

static bool is_scalar_byte(char c)
{
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

const char *tg_json_skip_value(const char *at, const char *end)
{
  if (at >= end)
    return NULL;
  if (*at == '"')
    return skip_string(at + 1, end);
  if (*at == '{' || *at == '[')
    return skip_nested(at, end);
  const char *start = at;
  while (at < end && is_scalar_byte(*at))
    at++;
  return at > start ? at : NULL;
}

bool tg_json_find(const char *at, const char *end, const char *key, struct tg_span *value)
{
  size_t key_length = strlen(key);
  at = tg_json_skip_space(at, end);
  if (at >= end || *at != '{')
    return false;
  at = tg_json_skip_space(at + 1, end);
  while (at < end && *at == '"') {
    const char *name = at + 1;
    const char *behind = skip_string(name, end);
    if (!behind)
      return false;
    at = tg_json_skip_space(behind, end);
    if (at >= end || *at != ':')
      return false;
    at = tg_json_skip_space(at + 1, end);
    const char *last = tg_json_skip_value(at, end);
    if (!last)
      return false;
    if ((size_t)(behind - 1 - name) == key_length && memcmp(name, key, key_length) == 0) {
      *value = (struct tg_span){at, (size_t)(last - at)};
      return true;
    }
    at = tg_json_skip_space(last, end);
    if (at >= end || *at != ',')
      return false;
    at = tg_json_skip_space(at + 1, end);
  }
  return false;
}

bool tg_json_plain_string(struct tg_span value, struct tg_span *content)
{
  if (value.length < 2 || value.at[0] != '"' || value.at[value.length - 1] != '"')
    return false;
  *content = (struct tg_span){value.at + 1, value.length - 2};
  return memchr(content->at, '\\', content->length) == NULL;
}

bool tg_json_uint(struct tg_span value, uint64_t *number)
{
  struct tg_span digits = value;
  if (value.length && value.at[0] == '"' && !tg_json_plain_string(value, &digits))
    return false;
  if (digits.length == 0)
    return false;
  uint64_t result = 0;
  for (size_t i = 0; i < digits.length; i++) {
    char c = digits.at[i];
    if (c < '0' || c > '9')
      return false;
    if (__builtin_mul_overflow(result, 10, &result) ||
        __builtin_add_overflow(result, (uint64_t)(c - '0'), &result))
      return false;
  }
  *number = result;
  return true;
}

bool tg_json_is(struct tg_span value, const char *literal)
{
  return value.at && value.length == strlen(literal) && memcmp(value.at, literal, value.length) == 0;
}

bool tg_json_next(struct tg_span array, const char **at, struct tg_span *element)
{
  const char *end = array.at + array.length;
  const char *here = *at;
  if (!here) {
    here = tg_json_skip_space(array.at, end);
    if (here >= end || *here != '[')
      return false;
    here = tg_json_skip_space(here + 1, end);
    if (here < end && *here == ']')
      return false;
  } else {
    here = tg_json_skip_space(here, end);
    if (here >= end || *here != ',')
      return false;
    here = tg_json_skip_space(here + 1, end);
  }
  const char *last = tg_json_skip_value(here, end);
  if (!last)
    return false;
  *element = (struct tg_span){here, (size_t)(last - here)};
  *at = last;
  return true;
}
