#include "manager/arguments.h"

#include "config/config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above it a number with fraction, as Lua has them, no longer holds every integer. */
#define EXACT_MAX 9007199254740992.0

void tg_arg_bad(const struct tg_args *args, const char *format, ...)
{
  char text[TG_ERROR_MESSAGE_SIZE];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  tg_reply_error(args->reply, args->ctx, "bad_argument", "gateway.manager:%s: %s", args->method, text);
}

static const char *kind(const json_t *value)
{
  static const char *const names[] = {"a table",  "a list", "a string", "an integer",
                                      "a number", "true",   "false",    "nil"};
  return value ? names[json_typeof(value)] : "nothing";
}

static bool read_integer(const json_t *value, json_int_t *number)
{
  if (json_is_integer(value)) {
    *number = json_integer_value(value);
    return true;
  }
  double real = json_real_value(value); /* Lua has but one kind of number */
  if (!json_is_real(value) || !(real >= -EXACT_MAX && real <= EXACT_MAX))
    return false;
  *number = (json_int_t)real;
  return (double)*number == real;
}

bool tg_arg_int(const struct tg_args *args, size_t index, const char *name, json_int_t low, json_int_t high,
                int *value)
{
  const json_t *given = json_array_get(args->list, index);
  json_int_t number;
  if (!read_integer(given, &number)) {
    tg_arg_bad(args, "%s (argument %zu) has to be an integer, not %s", name, index + 1, kind(given));
    return false;
  }
  if (number < low || number > high) {
    tg_arg_bad(args,
               "%s (argument %zu) is %" JSON_INTEGER_FORMAT ", but has to be from %" JSON_INTEGER_FORMAT
               " to %" JSON_INTEGER_FORMAT,
               name, index + 1, number, low, high);
    return false;
  }
  *value = (int)number;
  return true;
}

bool tg_arg_shard(const struct tg_args *args, size_t index, const struct tg_shard_set *shards,
                  struct tg_managed_shard **shard)
{
  if (shards->count == 0) {
    tg_reply_error(args->reply, args->ctx, "not_ready",
                   "gateway.manager:%s: the shards are not known yet: gateway information is being fetched",
                   args->method);
    return false;
  }
  int id;
  if (!tg_arg_int(args, index, "shard_id", 0, TG_SHARDS_MAX - 1, &id))
    return false;
  *shard = tg_shard_set_find(shards, id);
  if (!*shard)
    tg_reply_error(args->reply, args->ctx, "no_shard",
                   "gateway.manager:%s: shard %d is not run by this gateway: it has %d to %d", args->method,
                   id, shards->range.first, shards->range.last);
  return *shard != NULL;
}

bool tg_read_id(const json_t *value, uint64_t *id)
{
  const char *text = json_string_value(value);
  if (text) {
    char *end;
    *id = strtoull(text, &end, 10);
    size_t length = strlen(text);
    return length > 0 && length <= 20 && strspn(text, "0123456789") == length && *id > 0;
  }
  json_int_t number;
  if (!read_integer(value, &number) || number <= 0 || (double)number >= EXACT_MAX)
    return false;
  *id = (uint64_t)number;
  return true;
}

bool tg_arg_id(const struct tg_args *args, size_t index, const char *name, uint64_t *id)
{
  const json_t *given = json_array_get(args->list, index);
  if (tg_read_id(given, id))
    return true;
  tg_arg_bad(
      args,
      "%s (argument %zu) has to be an id as a string of digits (as a number it would lose some), not %s",
      name, index + 1, json_is_string(given) ? json_string_value(given) : kind(given));
  return false;
}

bool tg_arg_options(const struct tg_args *args, size_t index, const json_t **options)
{
  const json_t *given = json_array_get(args->list, index);
  *options = json_is_object(given) ? given : NULL;
  /* An empty table of Lua may arrive as a list. */
  if (!given || json_is_null(given) || json_is_object(given) ||
      (json_is_array(given) && !json_array_size(given)))
    return true;
  tg_arg_bad(args, "argument %zu has to be a table of options, not %s", index + 1, kind(given));
  return false;
}
