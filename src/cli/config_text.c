#include "cli/config_text.h"

#include "config/batch_values.h"
#include "proto/intents.h"

#include <stdlib.h>
#include <string.h>

struct unit {
  int64_t size;
  const char *name;
};

/* In the largest unit that leaves no fraction. */
static void print_number(struct tg_buf *out, int64_t number, const struct unit *units)
{
  while (units->size > 1 && (number == 0 || number % units->size != 0))
    units++;
  tg_buf_printf(out, "%lld %s", (long long)(number / units->size), units->name);
}

static void put_keys(struct tg_buf *out, const json_t *object)
{
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value)
      tg_buf_printf(out, "%s%s", out->length > 0 ? ", " : "", key);
}

/* What an empty list says. */
static const char *where_none(const char *path)
{
  if (strcmp(path, "urls") == 0)
    return "none: a script takes the events";
  return strcmp(path, "event_handler.urls") == 0 ? "none: events only reach Lua" : "none";
}

static const struct unit times[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
static const struct unit sizes[] = {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "bytes"}};

static void print_batch(const json_t *batch, struct tg_buf *out)
{
  tg_buf_printf(out, "up to %lld events, ", (long long)json_integer_value(json_object_get(batch, "events")));
  print_number(out, json_integer_value(json_object_get(batch, "bytes")), sizes);
  tg_buf_puts(out, ", linger ");
  print_number(out, json_integer_value(json_object_get(batch, "linger")), times);
}

void tg_config_text(const struct tg_option *option, const json_t *value, struct tg_buf *out)
{
  if (strcmp(option->path, "intents") == 0 || strcmp(option->path, "optional_intents") == 0) {
    char names[TG_INTENTS_TEXT];
    tg_intents_format((uint64_t)json_integer_value(value), names, sizeof names);
    tg_buf_printf(out, "%s (%lld)", names[0] ? names : "none", (long long)json_integer_value(value));
  } else if (json_is_integer(value) && (option->kind == TG_OPTION_MS || option->kind == TG_OPTION_SIZE)) {
    print_number(out, json_integer_value(value), option->kind == TG_OPTION_MS ? times : sizes);
  } else if (json_is_object(value) && option->write == tg_write_batch) {
    print_batch(value, out);
  } else if (strcmp(option->path, "plugins") == 0) {
    put_keys(out, value); /* what each is configured with is told with it */
  } else if (json_is_string(value)) {
    tg_buf_puts(out, json_string_value(value));
  } else if (json_is_array(value) && option->kind == TG_OPTION_STRINGS) {
    for (size_t i = 0; i < json_array_size(value); i++)
      tg_buf_printf(out, "%s%s", i > 0 ? ", " : "", json_string_value(json_array_get(value, i)));
    if (json_array_size(value) == 0)
      tg_buf_puts(out, where_none(option->path));
  } else {
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    tg_buf_puts(out, text ? text : "");
    free(text);
  }
}
