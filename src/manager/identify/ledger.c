#include "manager/identify/ledger.h"

#include "base/buf.h"
#include "base/log.h"
#include "manager/state_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  DEFAULT_TOTAL = 1000,
  DAY = 24 * 60 * 60 * 1000,
  LATEST_AHEAD = 1000,  /* ms that a grant is valid at most */
  STARTS_MAX = 1 << 24, /* a day: more than any bot has */
};

static const char file_name[] = "identify.json";

struct use {
  tg_ms last;     /* when it left at the latest; 0: never */
  tg_ms previous; /* what `last` was before, for give_back */
};

struct tg_ledger {
  char *state_dir;
  char bot[20];
  int total;
  int used;
  tg_ms reset_at;
  int max_concurrency;
  struct use *buckets;
  bool unsaved;
  bool failing; /* the file could not be written; said once */
};

static tg_ms integer(const json_t *object, const char *key)
{
  return (tg_ms)json_integer_value(json_object_get(object, key));
}

/* Of a clock that was ahead: else the bucket would rest until that time. */
static tg_ms last_use(const json_t *list, size_t i, tg_ms now)
{
  tg_ms last = (tg_ms)json_integer_value(json_array_get(list, i));
  return last < 0 ? 0 : last > now + LATEST_AHEAD ? now + LATEST_AHEAD : last;
}

static void read_buckets(struct tg_ledger *ledger, const json_t *content, tg_ms now)
{
  const json_t *list = json_object_get(content, "buckets");
  size_t count = json_array_size(list);
  tg_ms latest = 0;
  for (size_t i = 0; i < count; i++) {
    tg_ms last = last_use(list, i, now);
    if (last > latest)
      latest = last;
  }
  for (int i = 0; i < ledger->max_concurrency; i++) {
    /* With other buckets than now, each may hold the shard that came last. */
    ledger->buckets[i].last =
        count == (size_t)ledger->max_concurrency ? last_use(list, (size_t)i, now) : latest;
  }
}

static void read_file(struct tg_ledger *ledger, tg_ms now)
{
  struct tg_error error = {0};
  json_t *content = tg_state_file_read(ledger->state_dir, file_name, &error);
  if (!content) {
    if (strcmp(error.code, "missing") == 0)
      return;
    tg_log(TG_WARN, TG_NO_SHARD,
           "the ledger of identifies is lost: %s. Counting starts again from what Discord says",
           error.message);
    for (int i = 0; i < ledger->max_concurrency; i++)
      ledger->buckets[i].last = now;
    return;
  }
  const char *bot = json_string_value(json_object_get(content, "bot"));
  if (bot && strcmp(bot, ledger->bot) == 0) {
    json_int_t total = integer(content, "total"), used = integer(content, "used");
    if (total > 0 && total <= STARTS_MAX && used >= 0 && used <= STARTS_MAX) {
      ledger->total = (int)total;
      ledger->used = (int)used;
      ledger->reset_at = integer(content, "resetAt");
    }
    if (ledger->reset_at > now + DAY) /* of an earlier start of the machine, whose clock was ahead */
      ledger->reset_at = now + DAY;
    read_buckets(ledger, content, now);
  }
  json_decref(content);
}

struct tg_ledger *tg_ledger_open(const char *state_dir, uint64_t bot, int max_concurrency, tg_ms now)
{
  struct tg_ledger *ledger = tg_calloc(1, sizeof *ledger);
  ledger->state_dir = tg_strdup(state_dir);
  snprintf(ledger->bot, sizeof ledger->bot, "%016" PRIx64, bot);
  ledger->total = DEFAULT_TOTAL;
  ledger->max_concurrency = max_concurrency;
  ledger->buckets = tg_calloc((size_t)max_concurrency, sizeof *ledger->buckets);
  read_file(ledger, now);
  return ledger;
}

void tg_ledger_save(struct tg_ledger *ledger)
{
  if (!ledger->unsaved)
    return;
  ledger->unsaved = false;
  json_t *buckets = json_array();
  for (int i = 0; i < ledger->max_concurrency; i++)
    json_array_append_new(buckets, json_integer(ledger->buckets[i].last));
  json_t *content = json_pack("{s:s, s:i, s:i, s:I, s:o}", "bot", ledger->bot, "total", ledger->total, "used",
                              ledger->used, "resetAt", (json_int_t)ledger->reset_at, "buckets", buckets);
  struct tg_error error = {0};
  bool written = tg_state_file_write(ledger->state_dir, file_name, content, &error);
  json_decref(content);
  if (!written && !ledger->failing)
    tg_log(
        TG_ERROR, TG_NO_SHARD,
        "the ledger of identifies cannot be kept: %s. A restart will not know what was spent; make room or "
        "mend the permissions",
        error.message);
  ledger->failing = !written;
}

void tg_ledger_close(struct tg_ledger *ledger)
{
  if (!ledger)
    return;
  tg_ledger_save(ledger);
  free(ledger->state_dir);
  free(ledger->buckets);
  free(ledger);
}

/* A window that has ended is forgotten; the next identify begins a new one. */
static void roll(struct tg_ledger *ledger, tg_ms now)
{
  if (ledger->reset_at && now >= ledger->reset_at) {
    ledger->reset_at = 0;
    ledger->used = 0;
  }
}

void tg_ledger_set_limit(struct tg_ledger *ledger, int total, int remaining, tg_ms reset_after, tg_ms now)
{
  roll(ledger, now);
  int used = total - remaining;
  if (used > ledger->used) /* by other processes with this token, or before this ledger began */
    ledger->used = used;
  ledger->total = total;
  if (ledger->used > 0) {
    tg_ms reset_at = now + (reset_after > 0 && reset_after < DAY ? reset_after : DAY);
    if (!ledger->reset_at || reset_at < ledger->reset_at)
      ledger->reset_at = reset_at;
  }
  ledger->unsaved = true;
  tg_ledger_save(ledger);
}

void tg_ledger_take(struct tg_ledger *ledger, int bucket, tg_ms now, tg_ms latest)
{
  roll(ledger, now);
  if (!ledger->reset_at)
    ledger->reset_at = now + DAY;
  ledger->used++;
  struct use *use = &ledger->buckets[bucket];
  use->previous = use->last;
  use->last = latest;
  ledger->unsaved = true;
}

void tg_ledger_give_back(struct tg_ledger *ledger, int bucket)
{
  if (ledger->used > 0)
    ledger->used--;
  ledger->buckets[bucket].last = ledger->buckets[bucket].previous;
  ledger->unsaved = true;
}

int tg_ledger_remaining(struct tg_ledger *ledger, tg_ms now)
{
  roll(ledger, now);
  return ledger->used < ledger->total ? ledger->total - ledger->used : 0;
}

int tg_ledger_reserve(const struct tg_ledger *ledger, int percent)
{
  return (int)(((int64_t)ledger->total * percent + 99) / 100);
}

int tg_ledger_allowance(struct tg_ledger *ledger, int reserve, tg_ms now)
{
  int allowance = tg_ledger_remaining(ledger, now) - tg_ledger_reserve(ledger, reserve);
  return allowance > 0 ? allowance : 0;
}

int tg_ledger_total(const struct tg_ledger *ledger)
{
  return ledger->total;
}
tg_ms tg_ledger_reset_at(const struct tg_ledger *ledger)
{
  return ledger->reset_at;
}

tg_ms tg_ledger_rest(const struct tg_ledger *ledger, int bucket, tg_ms spacing, tg_ms now)
{
  tg_ms last = ledger->buckets[bucket].last;
  if (last == 0 || last + spacing <= now)
    return 0;
  tg_ms rest = last + spacing - now, most = spacing + LATEST_AHEAD;
  return rest < most ? rest : most;
}
