#include "manager/reshard/record.h"

#include "base/buf.h"
#include "manager/state_file.h"
#include "proto/shard_ref.h"
#include "shared/class_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

static const char file_name[] = "resharding.json";

static const char *const phases[] = {
    [TG_RESHARD_NONE] = "none",           [TG_RESHARD_WAITING] = "waiting",
    [TG_RESHARD_PREPARING] = "preparing", [TG_RESHARD_IDENTIFYING] = "identifying",
    [TG_RESHARD_MATCHING] = "matching",   [TG_RESHARD_SWITCHING] = "switching",
    [TG_RESHARD_SETTLING] = "settling",   [TG_RESHARD_CLOSING] = "closing",
    [TG_RESHARD_ABORTING] = "aborting",
};

enum { PHASES = sizeof phases / sizeof *phases };

const char *tg_reshard_phase_name(enum tg_reshard_phase phase)
{
  return phases[phase];
}

static void format_bot(uint64_t bot, char name[20])
{
  snprintf(name, 20, "%016" PRIx64, bot);
}

/* ---- reading: the key that is not as it has to be; NULL: all are ---- */

static bool read_number(const json_t *object, const char *key, json_int_t low, json_int_t high,
                        json_int_t *number)
{
  const json_t *value = json_object_get(object, key);
  *number = json_integer_value(value);
  return json_is_integer(value) && *number >= low && *number <= high;
}

static bool read_int(const json_t *object, const char *key, int low, int high, int *number)
{
  json_int_t value;
  bool good = read_number(object, key, low, high, &value);
  *number = good ? (int)value : 0;
  return good;
}

static bool read_set(const json_t *value, int least, struct tg_set_name *set)
{
  return json_is_object(value) && read_int(value, "side", 0, TG_SIDES - 1, &set->side) &&
         read_int(value, "total", least, TG_SHARDS_MAX, &set->total);
}

static bool read_phase(const json_t *value, enum tg_reshard_phase *phase)
{
  const char *name = json_string_value(value);
  for (int i = 0; name && i < PHASES; i++) {
    if (strcmp(phases[i], name) == 0) {
      *phase = (enum tg_reshard_phase)i;
      return true;
    }
  }
  return false;
}

static bool read_deal(const json_t *list, struct tg_reshard_record *record)
{
  int classes = tg_class_count(record->current.total, record->next.total);
  if (!json_is_array(list) || json_array_size(list) != (size_t)classes)
    return false;
  record->deal = tg_calloc((size_t)classes, sizeof *record->deal);
  record->classes = classes;
  for (int i = 0; i < classes; i++) {
    const json_t *worker = json_array_get(list, (size_t)i);
    json_int_t number = json_integer_value(worker);
    if (!json_is_integer(worker) || number < 0 || number >= TG_MAX_WORKERS)
      return false;
    record->deal[i] = (int)number;
  }
  return true;
}

static const char *read_next(const json_t *content, struct tg_reshard_record *record)
{
  const json_t *next = json_object_get(content, "next");
  bool runs = record->phase != TG_RESHARD_NONE;
  if (json_is_null(next))
    return runs ? "next" : NULL;
  if (!runs || !read_set(next, 1, &record->next) || record->next.side == record->current.side ||
      record->next.total == record->current.total)
    return "next";
  return read_deal(json_object_get(content, "deal"), record) ? NULL : "deal";
}

/* A gateway that was never a host of a cluster has not written them. */
static uint64_t read_mark(const json_t *content, const char *key)
{
  json_int_t number = json_integer_value(json_object_get(content, key));
  return number > 0 ? (uint64_t)number : 0;
}

static void read_changes(const json_t *content, struct tg_reshard_record *record)
{
  record->change = read_mark(content, "change");
  record->ended = read_mark(content, "ended");
  record->done = read_mark(content, "done");
  read_int(content, "before", 0, TG_SHARDS_MAX, &record->before);
}

static const char *read_record(const json_t *content, struct tg_reshard_record *record)
{
  json_int_t epoch, began, intents, most = INT64_MAX;
  if (!read_phase(json_object_get(content, "phase"), &record->phase))
    return "phase";
  int least = record->phase == TG_RESHARD_NONE ? 0 : 1;
  if (!read_set(json_object_get(content, "current"), least, &record->current))
    return "current";
  if (!read_int(content, "configured_total", 0, TG_SHARDS_MAX, &record->configured_total))
    return "configured_total";
  if (!read_number(content, "intents", 0, most, &intents))
    return "intents";
  if (!read_number(content, "epoch", 0, most, &epoch))
    return "epoch";
  if (!read_number(content, "began", 0, most, &began))
    return "began";
  record->intents = (uint64_t)intents;
  record->epoch = (uint64_t)epoch;
  record->began = began;
  read_changes(content, record);
  return read_next(content, record);
}

/* What is damaged in it; NULL: nothing. `*other`: it is another bot's. */
static const char *read_content(const json_t *content, uint64_t bot, struct tg_reshard_record *record,
                                bool *other)
{
  int version;
  char ours[20];
  format_bot(bot, ours);
  const char *whose = json_string_value(json_object_get(content, "bot"));
  if (!read_int(content, "version", VERSION, VERSION, &version))
    return "version";
  if (!whose || strlen(whose) != strlen(ours))
    return "bot";
  record->bot = bot;
  *other = strcmp(whose, ours) != 0;
  return *other ? NULL : read_record(content, record);
}

bool tg_reshard_record_read(const char *state_dir, uint64_t bot, struct tg_reshard_record *record,
                            struct tg_error *error)
{
  bool other = false;
  *record = (struct tg_reshard_record){0};
  json_t *content = tg_state_file_read(state_dir, file_name, error);
  if (!content)
    return false;
  const char *wrong = read_content(content, bot, record, &other);
  json_decref(content);
  if (!wrong && !other)
    return true;
  tg_reshard_record_free(record);
  if (other)
    return tg_fail(error, "missing", "%s/%s is of another bot", state_dir, file_name);
  return tg_fail(error, "damaged", "%s/%s is damaged (\"%s\" is missing or not as it has to be)", state_dir,
                 file_name, wrong);
}

/* ---- writing ---- */

static json_t *set_to_json(const struct tg_set_name *set)
{
  return json_pack("{s:i, s:i}", "side", set->side, "total", set->total);
}

bool tg_reshard_record_write(const char *state_dir, const struct tg_reshard_record *record,
                             struct tg_error *error)
{
  char bot[20];
  format_bot(record->bot, bot);
  json_t *deal = json_array();
  for (int i = 0; i < record->classes; i++)
    json_array_append_new(deal, json_integer(record->deal[i]));
  json_t *content = json_pack(
      "{s:i, s:s, s:s, s:o, s:o, s:o, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "version", VERSION, "bot",
      bot, "phase", phases[record->phase], "current", set_to_json(&record->current), "next",
      record->next.total == 0 ? json_null() : set_to_json(&record->next), "deal", deal, "configured_total",
      record->configured_total, "intents", (json_int_t)record->intents, "epoch", (json_int_t)record->epoch,
      "began", (json_int_t)record->began, "change", (json_int_t)record->change, "ended",
      (json_int_t)record->ended, "done", (json_int_t)record->done, "before", record->before);
  bool written = tg_state_file_write(state_dir, file_name, content, error);
  json_decref(content);
  return written;
}

void tg_reshard_record_free(struct tg_reshard_record *record)
{
  free(record->deal);
  *record = (struct tg_reshard_record){0};
}
