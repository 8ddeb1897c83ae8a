#include "config/batch_values.h"

#include "config/schema_map.h"

#include <stdio.h>
#include <string.h>

/* Bounds that only keep out slips of the pen. */
enum { EVENTS_MAX = 10000, BYTES_MIN = 1 << 10, BYTES_MAX = 64 << 20, LINGER_MAX = 60 * 1000 };
enum { PREFIX_SIZE = 96 };

#define FIELD(name)                                                                                          \
  .offset = offsetof(struct tg_batch_config, name), .size = sizeof((struct tg_batch_config *)0)->name

static const struct tg_option options[] = {
    {.path = "events",
     FIELD(events),
     .kind = TG_OPTION_INT,
     .min = 1,
     .max = EVENTS_MAX,
     .number = TG_BATCH_EVENTS},
    {.path = "bytes",
     FIELD(bytes),
     .kind = TG_OPTION_SIZE,
     .min = BYTES_MIN,
     .max = BYTES_MAX,
     .number = TG_BATCH_BYTES},
    {.path = "linger", FIELD(linger), .kind = TG_OPTION_MS, .max = LINGER_MAX},
};

enum { OPTIONS = sizeof options / sizeof options[0] };

void tg_read_batch(const struct tg_reader *reader, const json_t *value, void *field)
{
  struct tg_batch_config *batch = field;
  char prefix[PREFIX_SIZE], got[TG_DESCRIPTION_SIZE];
  *batch = (struct tg_batch_config){0};
  if (json_is_object(value)) {
    snprintf(prefix, sizeof prefix, "%s.", reader->path);
    tg_schema_read_table(prefix, options, OPTIONS, value, NULL, batch, reader->problems);
  } else if (json_is_true(value)) {
    *batch = TG_BATCH_USUAL;
  } else if (!json_is_false(value)) {
    tg_describe(reader, value, got, sizeof got);
    tg_problem(reader, 0,
               "expected true, false or a table like { events = %d, bytes = %d, linger = 0 }, got %s",
               TG_BATCH_EVENTS, TG_BATCH_BYTES, got);
  }
}

json_t *tg_write_batch(const void *field)
{
  const struct tg_batch_config *batch = field;
  bool usual = batch->events == TG_BATCH_EVENTS && batch->bytes == TG_BATCH_BYTES && batch->linger == 0;
  if (batch->events == 0 || usual)
    return json_boolean(usual);
  return tg_schema_write(options, OPTIONS, batch, TG_SECRETS_SHOWN);
}
