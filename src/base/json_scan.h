#pragma once

/* Finds things in JSON text without building a tree.
 *
 * All functions work on [at, end) and never read outside of it; text that is
 * not JSON makes them return NULL or false, never more. They check what they
 * pass over only as far as needed to find its end. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of somebody else's text. */
struct tg_span {
  const char *at; /* NULL: there is none */
  size_t length;
};

static inline const char *tg_json_skip_space(const char *at, const char *end)
{
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
    at++;
  return at;
}

/* `at` stands on the first byte of a value; returns the byte behind it. */
const char *tg_json_skip_value(const char *at, const char *end);

/* The value of `key` at the top level of the object at `at` (nested objects
 * are passed over). The span is the value's own text, with quotes if it is a
 * string. False: no such key, or not an object. The first of equal keys wins. */
bool tg_json_find(const char *at, const char *end, const char *key, struct tg_span *value);

/* The same, in a piece of text that may be none. */
static inline bool tg_json_member(struct tg_span object, const char *key, struct tg_span *value)
{
  return object.at && tg_json_find(object.at, object.at + object.length, key, value);
}

/* The content of a string value without escapes, as it stands. False for
 * other values and for strings with a backslash. */
bool tg_json_plain_string(struct tg_span value, struct tg_span *content);

/* A whole number that fits. Also reads it out of a string ("123"), as
 * snowflakes are written. */
bool tg_json_uint(struct tg_span value, uint64_t *number);

bool tg_json_is(struct tg_span value, const char *literal);

/* Walks the elements of the array at `array`. Start with *at = NULL; each call
 * gives one element; false at the end or on bad text. */
bool tg_json_next(struct tg_span array, const char **at, struct tg_span *element);
