#include "manager/taps.h"

#include "base/buf.h"
#include "delivery/tap.h"

#include <stdlib.h>

struct tg_taps {
  struct tg_workers *workers;
  int64_t last;
  int count;
  struct tap {
    int64_t id;
    json_t *filter; /* with its id */
    tg_tap_line *line;
    void *ctx;
  } taps[TG_TAP_VIEWERS];
};

struct tg_taps *tg_taps_new(struct tg_workers *workers)
{
  struct tg_taps *taps = tg_calloc(1, sizeof *taps);
  taps->workers = workers;
  return taps;
}

static json_t *describe(const struct tg_taps *taps)
{
  json_t *list = json_array();
  for (int i = 0; i < taps->count; i++)
    json_array_append(list, taps->taps[i].filter);
  return list;
}

static void tell_all(const struct tg_taps *taps)
{
  json_t *viewers = describe(taps);
  const struct tg_message message = {.type = TG_MESSAGE_tap, .tap = {viewers}};
  tg_workers_tell_all(taps->workers, &message, -1);
  json_decref(viewers);
}

int64_t tg_taps_add(struct tg_taps *taps, json_t *filter, tg_tap_line *line, void *ctx)
{
  if (taps->count == TG_TAP_VIEWERS) {
    json_decref(filter);
    return 0;
  }
  json_object_set_new(filter, "id", json_integer(++taps->last));
  taps->taps[taps->count++] = (struct tap){taps->last, filter, line, ctx};
  tell_all(taps);
  return taps->last;
}

static struct tap *find(struct tg_taps *taps, int64_t id)
{
  for (int i = 0; i < taps->count; i++)
    if (taps->taps[i].id == id)
      return &taps->taps[i];
  return NULL;
}

void tg_taps_remove(struct tg_taps *taps, int64_t id)
{
  struct tap *tap = find(taps, id);
  if (!tap)
    return;
  json_decref(tap->filter);
  *tap = taps->taps[--taps->count];
  tell_all(taps);
}

void tg_taps_tell(struct tg_taps *taps, int worker)
{
  struct tg_ipc *line = tg_workers_line(taps->workers, worker);
  if (!line || taps->count == 0)
    return;
  json_t *viewers = describe(taps);
  tg_say(line, tap, .viewers = viewers);
  json_decref(viewers);
}

void tg_taps_heard(struct tg_taps *taps, int64_t id, const char *line)
{
  const struct tap *tap = find(taps, id);
  if (tap)
    tap->line(tap->ctx, line);
}

void tg_taps_free(struct tg_taps *taps)
{
  while (taps->count > 0) {
    struct tap tap = taps->taps[--taps->count];
    json_decref(tap.filter);
    tap.line(tap.ctx, NULL);
  }
  free(taps);
}
