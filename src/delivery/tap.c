#include "delivery/tap.h"

#include "delivery/sinks/dead_files.h"
#include "delivery/sinks/dead_letter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct tg_tap_viewer *find(const struct tg_tap *tap, int64_t id)
{
  for (int i = 0; i < TG_TAP_VIEWERS; i++)
    if (tap->viewers[i].id == id)
      return &tap->viewers[i];
  return NULL;
}

/* One that has looked before keeps its bucket. */
static struct tg_tap_viewer read_viewer(const struct tg_tap *tap, const json_t *given)
{
  int64_t id = json_integer_value(json_object_get(given, "id"));
  const struct tg_tap_viewer *before = find(tap, id);
  const json_t *types = json_object_get(given, "types"), *shard = json_object_get(given, "shard");
  const char *guild = json_string_value(json_object_get(given, "guild"));
  struct tg_tap_viewer viewer = {.id = id,
                                 .guild_id = guild ? strtoull(guild, NULL, 10) : 0,
                                 .shard_id = shard ? (int)json_integer_value(shard) : -1,
                                 .tokens = before ? before->tokens : TG_TAP_RATE,
                                 .filled_at = before ? before->filled_at : 0,
                                 .skipped = before ? before->skipped : 0};
  size_t i;
  json_t *type;
  json_array_foreach((json_t *)types, i, type)
  {
    viewer.types = viewer.types ? viewer.types : json_object();
    json_object_set_new(viewer.types, json_string_value(type), json_true());
  }
  return viewer;
}

void tg_tap_set(struct tg_tap *tap, const json_t *viewers)
{
  struct tg_tap_viewer now[TG_TAP_VIEWERS] = {{0}};
  size_t count = json_array_size(viewers);
  for (size_t i = 0; i < count && i < TG_TAP_VIEWERS; i++)
    now[i] = read_viewer(tap, json_array_get(viewers, i));
  for (int i = 0; i < TG_TAP_VIEWERS; i++)
    json_decref(tap->viewers[i].types);
  memcpy(tap->viewers, now, sizeof now);
  tap->on = count > 0;
}

static bool matches(const struct tg_tap_viewer *viewer, const struct tg_event *event, uint64_t guild_id)
{
  return viewer->id != 0 && (viewer->shard_id < 0 || viewer->shard_id == event->shard_id) &&
         (viewer->guild_id == 0 || viewer->guild_id == guild_id) &&
         (!viewer->types || json_object_getn(viewer->types, event->name.at, event->name.length));
}

static bool may_see(struct tg_tap_viewer *viewer, tg_ms now)
{
  if (viewer->filled_at > 0)
    viewer->tokens += (double)(now - viewer->filled_at) * TG_TAP_RATE / 1000;
  if (viewer->tokens > TG_TAP_RATE)
    viewer->tokens = TG_TAP_RATE;
  viewer->filled_at = now;
  bool may = viewer->tokens >= 1;
  viewer->tokens -= may;
  viewer->skipped += !may;
  return may;
}

/* All but what is each viewer's own. */
static void write_line(struct tg_tap *tap, const struct tg_event *event, uint64_t guild_id)
{
  struct tg_buf *line = &tap->line;
  tg_buf_reset(line, 64 << 10);
  tg_buf_printf(line, "{\"at\":%lld,\"shard\":%d,\"epoch\":%" PRIu64 ",\"s\":%" PRIu64 ",\"t\":",
                (long long)tg_wall_clock(), event->shard_id, event->epoch, event->sequence);
  tg_dead_put_string(line, event->name);
  if (guild_id)
    tg_buf_printf(line, ",\"guild\":\"%" PRIu64 "\"", guild_id);
  tg_buf_printf(line, ",\"bytes\":%zu,\"event\":", event->raw.length);
  if (event->raw.length <= TG_TAP_MESSAGE_MAX)
    tg_dead_put_masked(line, event->name, event->raw);
  else
    tg_buf_puts(line, "null");
}

void tg_tap_event(struct tg_tap *tap, const struct tg_event *event, tg_ms now)
{
  uint64_t guild_id = 0;
  bool written = false;
  if (!tg_event_guild_id(event, &guild_id))
    guild_id = 0;
  for (int i = 0; i < TG_TAP_VIEWERS; i++) {
    struct tg_tap_viewer *viewer = &tap->viewers[i];
    if (!matches(viewer, event, guild_id) || !may_see(viewer, now))
      continue;
    if (!written)
      write_line(tap, event, guild_id);
    written = true;
    size_t length = tap->line.length;
    tg_buf_printf(&tap->line, ",\"skipped\":%" PRIu64 "}", viewer->skipped);
    *tg_buf_reserve(&tap->line, 1) = '\0';
    tap->shown(tap->ctx, viewer->id, tap->line.data);
    tap->line.length = length;
    viewer->skipped = 0;
  }
}

void tg_tap_free(struct tg_tap *tap)
{
  tg_tap_set(tap, NULL);
  tg_buf_free(&tap->line);
}
