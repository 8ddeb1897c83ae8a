#include "control/page/snapshot.h"

#include "control/event_totals.h"
#include "control/metrics.h"
#include "control/routes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- shards ---- */

static void put_states(struct tg_buf *out)
{
  tg_buf_puts(out, ",\"states\":[");
  for (int state = 0; state <= TG_SHARD_CONNECTED; state++)
    tg_buf_printf(out, "%s\"%s\"", state > 0 ? "," : "", tg_shard_state_name((enum tg_shard_state)state));
  tg_buf_puts(out, "]");
}

/* A row without names: of a thousand shards they would be most of it. */
static void put_shard(struct tg_buf *out, const struct tg_managed_shard *shard, tg_ms now)
{
  struct tg_shard_row *row = tg_shard_row_of(shard);
  tg_ms oldest = atomic_load(&row->oldest_queued_at);
  tg_buf_printf(
      out, "[%d,%d,%d,%d,%" PRIu64 ",%lld,%u,%" PRIu64 ",%d]", shard->id, shard->worker_id,
      (int)atomic_load(&row->state), (int)atomic_load(&row->rtt), (uint64_t)atomic_load(&row->queued_events),
      (long long)(oldest > 0 && oldest < now ? now - oldest : 0), (unsigned)atomic_load(&row->guilds),
      (uint64_t)atomic_load(&row->reconnects), (int)atomic_load(&row->last_close_code));
}

static void put_sets(struct tg_buf *out, struct tg_manager *manager)
{
  const struct tg_shard_set *set;
  tg_ms now = tg_steady_clock();
  tg_buf_puts(out,
              ",\"columns\":[\"shardId\",\"workerId\",\"state\",\"rtt\",\"queued\",\"oldest\",\"guilds\","
              "\"reconnects\",\"closeCode\"],\"sets\":[");
  for (int place = 0; (set = tg_gateway_set(manager, place)); place++) {
    tg_buf_printf(out, "%s{\"total\":%d,\"shards\":[", place > 0 ? "," : "", set->range.total);
    bool any = false;
    for (int i = 0; i < set->count; i++) {
      if (!set->list[i].held)
        continue;
      tg_buf_puts(out, any ? "," : "");
      any = true;
      put_shard(out, &set->list[i], now);
    }
    tg_buf_puts(out, "]}");
  }
  tg_buf_puts(out, "]");
}

/* ---- events and processes ---- */

static void put_events(struct tg_buf *out, struct tg_manager *manager)
{
  struct tg_event_totals *totals = tg_event_totals(manager);
  tg_buf_puts(out, ",\"events\":{");
  for (int i = 0; i < totals->count; i++) {
    const struct tg_event_total *total = &totals->items[i];
    json_t *name = json_string(total->name); /* names that Discord has made up may be anything */
    tg_buf_puts(out, i > 0 ? "," : "");
    tg_buf_put_json(out, name ? total->name : "?", name ? strlen(total->name) : 1);
    tg_buf_printf(out, ":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", total->received, total->filtered,
                  total->delivered);
    json_decref(name);
  }
  tg_buf_puts(out, "}");
  free(totals);
}

static void put_processes(struct tg_buf *out, struct tg_manager *manager)
{
  struct tg_process_usage usage;
  tg_buf_puts(out, ",\"processes\":[");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    tg_gateway_usage(manager, worker, &usage);
    tg_buf_printf(out, "%s{\"worker\":", worker == TG_MANAGER_ITSELF ? "" : ",");
    if (worker == TG_MANAGER_ITSELF)
      tg_buf_puts(out, "\"manager\"");
    else
      tg_buf_printf(out, "%d", worker);
    tg_buf_printf(out, ",\"cpu\":%" PRIu64 ",\"memory\":%" PRIu64 ",\"lag\":%lld,\"lua\":%" PRIu64 "}",
                  usage.cpu, usage.memory, (long long)tg_gateway_loop_lag(manager, worker),
                  tg_load(&stats->lua_memory));
  }
  tg_buf_puts(out, "]");
}

void tg_snapshot_write(struct tg_manager *manager, struct tg_buf *out)
{
  json_t *status = tg_status_json(manager);
  char *text = json_dumps(status, JSON_COMPACT);
  json_decref(status);
  tg_buf_printf(out, "{\"at\":%lld,\"status\":", (long long)tg_wall_clock());
  tg_buf_puts(out, text ? text : "null");
  free(text);
  put_states(out);
  put_sets(out, manager);
  put_events(out, manager);
  put_processes(out, manager);
  tg_buf_puts(out, "}");
}

/* ---- warnings ---- */

/* Where a line lies. */
struct warning_place {
  int64_t at;
  const struct tg_recent *recent;
  int worker, line;
  uint64_t number; /* of the lines of its process */
};

static int by_age(const void *a, const void *b)
{
  const struct warning_place *left = a, *right = b;
  if (left->at != right->at)
    return left->at > right->at ? -1 : 1;
  if (left->worker != right->worker)
    return left->worker - right->worker;
  return left->number > right->number ? -1 : 1;
}

uint64_t tg_snapshot_warning_count(struct tg_manager *manager)
{
  uint64_t count = 0;
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  count += tg_load(&stats->recent.count);
  return count;
}

/* All places in which there may be a line. */
static struct warning_place *find_places(struct tg_manager *manager, int *count)
{
  struct warning_place *places =
      tg_calloc((size_t)(tg_worker_places(manager) + 1) * TG_RECENT_LINES, sizeof *places);
  *count = 0;
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    uint64_t lines = tg_load(&stats->recent.count);
    for (uint64_t back = 1; back <= lines && back <= TG_RECENT_LINES; back++) {
      int line = (int)((lines - back) % TG_RECENT_LINES);
      places[(*count)++] =
          (struct warning_place){stats->recent.list[line].at, &stats->recent, worker, line, lines - back};
    }
  }
  qsort(places, (size_t)*count, sizeof *places, by_age);
  return places;
}

static void put_warning(struct tg_buf *out, const struct tg_recent_line *line, int worker)
{
  tg_buf_printf(out, "{\"at\":%lld,\"level\":\"%s\",\"worker\":", (long long)line->at,
                line->level == TG_ERROR ? "error" : "warn");
  tg_buf_printf(out, worker == TG_MANAGER_ITSELF ? "null" : "%d", worker);
  tg_buf_printf(out, line->shard_id < 0 ? ",\"shard\":null" : ",\"shard\":%d", line->shard_id);
  tg_buf_puts(out, ",\"text\":");
  tg_buf_put_json(out, line->text, strlen(line->text));
  tg_buf_puts(out, "}");
}

void tg_snapshot_warnings(struct tg_manager *manager, struct tg_buf *out)
{
  int count, written = 0;
  struct warning_place *places = find_places(manager, &count);
  tg_buf_puts(out, "[");
  for (int i = 0; i < count && written < TG_RECENT_LINES; i++) {
    struct tg_recent_line line;
    if (!tg_recent_read(places[i].recent, places[i].line, &line))
      continue;
    tg_buf_puts(out, written++ > 0 ? "," : "");
    put_warning(out, &line, places[i].worker);
  }
  tg_buf_puts(out, "]");
  free(places);
}
