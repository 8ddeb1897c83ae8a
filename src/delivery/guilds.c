#include "delivery/delivery_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/reshard/seats.h"
#include "proto/intents.h"

#include <stdlib.h>
#include <string.h>

/* What the guild cache has to do with events: READY, GUILD_CREATE, GUILD_DELETE, and the end of loading. */

enum { QUIET = 15000 /* ms after READY: so long without a GUILD_CREATE, and loading is over */ };

static struct tg_shard_guilds *new_guilds(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_shard_guilds *guilds = tg_calloc(1, sizeof *guilds);
  guilds->delivery = delivery;
  guilds->feed = tg_feed_of(&delivery->feeds, ref);
  tg_guild_cache_init(&guilds->cache, &delivery->guild_stores[tg_ref_side(ref)], tg_ref_id(ref));
  tg_handles_timer(&delivery->env.handles, &guilds->quiet, guilds);
  return guilds;
}

struct tg_shard_guilds *tg_guilds_of(struct tg_delivery *delivery, tg_shard_ref ref)
{
  int index = tg_ref_index(ref);
  if (index >= delivery->guilds_count) {
    int count = (index | 15) + 1;
    delivery->guilds = tg_realloc(delivery->guilds, (size_t)count * sizeof *delivery->guilds);
    memset(delivery->guilds + delivery->guilds_count, 0,
           (size_t)(count - delivery->guilds_count) * sizeof *delivery->guilds);
    delivery->guilds_count = count;
  }
  if (__builtin_expect(!delivery->guilds[index], 0))
    delivery->guilds[index] = new_guilds(delivery, ref);
  return delivery->guilds[index];
}

void tg_guilds_end(struct tg_delivery *delivery)
{
  for (int i = 0; i < delivery->guilds_count; i++)
    if (delivery->guilds[i])
      tg_handles_close(&delivery->env.handles, &delivery->guilds[i]->quiet);
  for (int side = 0; side < TG_SIDES; side++)
    tg_guild_store_close(&delivery->guild_stores[side]);
}

void tg_guilds_free(struct tg_delivery *delivery)
{
  for (int i = 0; i < delivery->guilds_count; i++)
    if (delivery->guilds[i]) {
      tg_guild_cache_free(&delivery->guilds[i]->cache);
      free(delivery->guilds[i]);
    }
  free(delivery->guilds);
}

void tg_guilds_new_session(struct tg_shard_guilds *guilds)
{
  tg_guild_cache_free(&guilds->cache);
  guilds->loading = false;
  uv_timer_stop(&guilds->quiet);
}

void tg_guilds_forget(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_shard_guilds *guilds = tg_guilds_of(delivery, ref);
  tg_guilds_new_session(guilds);
  if (!guilds->cache.set.store->directory)
    return;
  tg_guild_set_begin(&guilds->cache.set, 0, 0); /* of no session */
  tg_guild_set_publish(&guilds->cache.set);
  tg_guild_cache_free(&guilds->cache);
}

void tg_guilds_adopt(struct tg_shard_guilds *guilds, uint64_t epoch)
{
  tg_guild_cache_adopt(&guilds->cache, epoch);
  guilds->loading = tg_guild_cache_starting(&guilds->cache);
}

uint64_t tg_delivery_any_guild(struct tg_delivery *delivery, tg_shard_ref ref)
{
  const struct tg_guild_cache *cache = &tg_guilds_of(delivery, ref)->cache;
  uint64_t id, there = 0, other = 0, seen = 0;
  uint32_t at = 0;
  while (tg_guild_cache_next(cache, &at, &id)) {
    if (tg_guild_cache_is_up(cache, id) && tg_random(++seen) == 0)
      there = id;
    else if (!tg_guild_cache_is_down(cache, id))
      other = id;
  }
  return there ? there : other;
}

/* --- loading ----------------------------------------------------------------- */

static void guilds_loaded(struct tg_shard_guilds *guilds, struct tg_shard *shard)
{
  struct tg_delivery *delivery = guilds->delivery;
  guilds->loading = false;
  uv_timer_stop(&guilds->quiet);
  tg_guild_cache_loaded(&guilds->cache);
  if (guilds->feed->seat)
    tg_seat_loaded(guilds->feed);
  if (guilds->cache.loading > 0)
    tg_log_with(TG_INFO, guilds->feed->shard_id, TG_WITH(TG_TOLD_NUMBER(GUILDS, guilds->cache.loading)),
                "%u of %u guilds have not come yet", guilds->cache.loading, guilds->cache.count);
  if (!delivery->env.hooks->want_life[TG_LIFE_guilds_loaded])
    return;
  json_t *details = json_pack("{s:i, s:i, s:i}", "shard_id", guilds->feed->shard_id, "guilds",
                              (int)guilds->cache.count, "missing", (int)guilds->cache.loading);
  tg_hook_life(delivery->env.hooks, TG_LIFE_guilds_loaded, shard, details);
  json_decref(details);
}

static void on_quiet(uv_timer_t *timer)
{
  struct tg_shard_guilds *guilds = timer->data;
  struct tg_delivery *delivery = guilds->delivery;
  guilds_loaded(guilds, delivery->find_shard ? delivery->find_shard(delivery->ctx, guilds->feed->ref) : NULL);
}

/* Without READY's list the row's own count is carried on. */
static void publish_guilds(struct tg_shard_guilds *guilds, int change)
{
  struct tg_shard_row *row = guilds->feed->row;
  uint32_t count = atomic_load_explicit(&row->guilds, memory_order_relaxed);
  if (guilds->cache.complete)
    count = guilds->cache.count;
  else if (change > 0 || count > 0)
    count += (uint32_t)change;
  atomic_store_explicit(&row->guilds, count, memory_order_relaxed);
}

static void await_guilds(struct tg_shard_guilds *guilds)
{
  guilds->loading = true;
  if (guilds->delivery->env.config->intents & TG_INTENT_GUILDS)
    uv_timer_start(&guilds->quiet, on_quiet, QUIET, 0);
}

void tg_guilds_on_ready(struct tg_shard_guilds *guilds, struct tg_event *event)
{
  tg_guild_cache_ready(&guilds->cache, event->data, guilds->feed->session.epoch);
  publish_guilds(guilds, 0);
  await_guilds(guilds);
}

/* Guilds are still to come, or were at the last look. */
void tg_guilds_look(struct tg_shard_guilds *guilds, struct tg_shard *shard)
{
  bool loads = guilds->delivery->env.config->intents & TG_INTENT_GUILDS;
  if (guilds->cache.loading == 0 || !loads)
    guilds_loaded(guilds, shard);
  else if (!uv_is_active((uv_handle_t *)&guilds->quiet)) /* an earlier process was at it */
    await_guilds(guilds);
}

enum tg_guild_create tg_delivery_guild_create_kind(struct tg_delivery *delivery, const struct tg_event *event)
{
  if (event->guild_create != TG_GUILD_NONE || event->type != TG_EVENT_GUILD_CREATE)
    return event->guild_create;
  return tg_guild_cache_kind(&tg_guilds_of(delivery, tg_event_ref(event))->cache, event->data,
                             event->sequence);
}

static void ask_script_for_kind(struct tg_delivery *delivery, struct tg_event *event)
{
  struct tg_value argument = tg_value_event(event), result;
  if (!tg_hook_call(delivery->env.hooks, TG_METHOD_cache_guild_create_kind, &argument, 1, &result))
    return;
  for (int kind = TG_GUILD_LOADING; kind <= TG_GUILD_AVAILABLE; kind++) {
    const char *name = tg_guild_create_name(kind);
    if (strlen(name) == result.string.length && memcmp(name, result.string.at, result.string.length) == 0) {
      event->guild_create = kind;
      return;
    }
  }
  tg_log(
      TG_WARN, event->shard_id,
      "gateway.cache:guild_create_kind returned \"%.*s\"; expected \"loading\", \"joined\" or \"available\"; "
      "the default is used",
      (int)(result.string.length < 40 ? result.string.length : 40), result.string.at);
}

static void note_create(struct tg_shard_guilds *guilds, struct tg_event *event, int change)
{
  tg_guild_cache_create(&guilds->cache, event->data, event->sequence);
  publish_guilds(guilds, change);
  if (uv_is_active((uv_handle_t *)&guilds->quiet))
    uv_timer_start(&guilds->quiet, on_quiet, QUIET, 0);
}

void tg_guilds_note_create(struct tg_shard_guilds *guilds, struct tg_event *event)
{
  event->guild_create = tg_guild_cache_kind(&guilds->cache, event->data, event->sequence);
  event->noted = true;
  note_create(guilds, event, event->guild_create == TG_GUILD_JOINED);
}

bool tg_guilds_note_delete(struct tg_shard_guilds *guilds, struct tg_event *event)
{
  bool left = tg_guild_cache_delete(&guilds->cache, event->data);
  event->noted = true;
  publish_guilds(guilds, left ? -1 : 0);
  return left;
}

void tg_guilds_on_create(struct tg_shard_guilds *guilds, struct tg_event *event)
{
  if (!event->noted)
    event->guild_create = tg_guild_cache_kind(&guilds->cache, event->data, event->sequence);
  int change = event->guild_create == TG_GUILD_JOINED;
  if (tg_hooked(guilds->delivery->env.hooks, TG_METHOD_cache_guild_create_kind))
    ask_script_for_kind(guilds->delivery, event);
  if (!event->noted)
    note_create(guilds, event, change);
}

void tg_guilds_on_delete(struct tg_shard_guilds *guilds, struct tg_event *event)
{
  if (!event->noted)
    publish_guilds(guilds, tg_guild_cache_delete(&guilds->cache, event->data) ? -1 : 0);
}
