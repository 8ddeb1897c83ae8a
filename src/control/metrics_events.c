/* Metrics of events by their type, of event handlers, of the interaction
 * fallback and of calls into Lua: from the statistics pages. */

#include "control/event_totals.h"
#include "control/metrics.h"
#include "delivery/sinks/outcome.h"
#include "shared/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- events by type, all workers together ---- */

static void write_types(struct tg_exposition *exposition, struct tg_manager *manager)
{
#define FIELD(field) offsetof(struct tg_event_total, field)
  static const struct {
    const char *name, *help;
    size_t offset; /* of a uint64_t */
  } families[] = {
      {"tidegate_events_received_total", "Events received, replayed ones left out.", FIELD(received)},
      {"tidegate_events_filtered_total",
       "Events that filters, caches, rules against storms or event_handler.events drop.", FIELD(filtered)},
      {"tidegate_events_delivered_total", "Events the event handler has accepted.", FIELD(delivered)},
      {"tidegate_events_received_bytes_total", "Bytes of the events received, inflated.", FIELD(bytes)},
  };
#undef FIELD
  struct tg_event_totals *totals = tg_event_totals(manager);
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    tg_family(exposition, families[i].name, "counter", families[i].help);
    for (int k = 0; k < totals->count; k++) {
      uint64_t value;
      memcpy(&value, (const char *)&totals->items[k] + families[i].offset, sizeof value);
      tg_label(exposition, "type", totals->items[k].name);
      tg_sample_uint(exposition, value);
    }
  }
  free(totals);
}

/* ---- storms, all workers together ---- */

static void write_storms(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_storm_status storms[TG_STATS_STORMS];
  int count = tg_gateway_storms(manager, storms);
  tg_family(exposition, "tidegate_storm_dropped_total", "counter",
            "Events that a rule against storms has dropped.");
  for (int i = 0; i < count; i++) {
    tg_label(exposition, "rule", storms[i].rule);
    tg_sample_uint(exposition, storms[i].dropped);
  }
  tg_family(exposition, "tidegate_storm_released_total", "counter",
            "Events that a rule with keep = last has dropped, and that came later after all.");
  for (int i = 0; i < count; i++) {
    tg_label(exposition, "rule", storms[i].rule);
    tg_sample_uint(exposition, storms[i].released);
  }
  tg_family(exposition, "tidegate_storms_total", "counter", "Storms that have begun.");
  for (int i = 0; i < count; i++) {
    tg_label(exposition, "rule", storms[i].rule);
    tg_sample_uint(exposition, storms[i].storms);
  }
  tg_family(exposition, "tidegate_storms_running", "gauge",
            "Guilds, users, shards or types, as the rule has it, that are in a storm now.");
  for (int i = 0; i < count; i++) {
    tg_label(exposition, "rule", storms[i].rule);
    tg_sample_uint(exposition, (uint64_t)storms[i].running);
  }
}

/* ---- event handlers ---- */

/* A handler as one worker sees it. */
struct view {
  int worker;
  const struct tg_stats_handler *handler;
  bool used; /* now; else only its counters say something */
  char url[TG_STATS_URL_SIZE];
};

struct views {
  struct view *items;
  int count;
};

static void add_views(struct views *views, const struct tg_stats *stats, int worker)
{
  for (int i = 0; i < TG_STATS_HANDLERS && stats->handlers[i].url[0]; i++) {
    const struct tg_stats_handler *handler = &stats->handlers[i];
    views->items = tg_realloc(views->items, (size_t)(views->count + 1) * sizeof *views->items);
    struct view *view = &views->items[views->count++];
    view->worker = worker;
    view->handler = handler;
    view->used = atomic_load(&handler->users) > 0;
    memcpy(view->url, handler->url, sizeof view->url);
    view->url[sizeof view->url - 1] = '\0';
  }
}

static void label_view(struct tg_exposition *exposition, const struct view *view)
{
  tg_label(exposition, "url", view->url);
  tg_label_process(exposition, view->worker);
}

static void write_handler_states(struct tg_exposition *exposition, const struct view *views, int count)
{
  tg_family(exposition, "tidegate_handler_up", "gauge", "0 when the event handler counts as down.");
  for (int i = 0; i < count; i++) {
    if (!views[i].used)
      continue;
    label_view(exposition, &views[i]);
    tg_sample_uint(exposition, atomic_load(&views[i].handler->down) <= 0);
  }
  tg_family(exposition, "tidegate_handler_changed_timestamp_seconds", "gauge",
            "When the event handler last went down or came up again.");
  for (int i = 0; i < count; i++) {
    int64_t since = atomic_load(&views[i].handler->since);
    if (!views[i].used || since <= 0)
      continue;
    label_view(exposition, &views[i]);
    tg_sample_ms(exposition, tg_wall_at(since));
  }
  tg_family(exposition, "tidegate_handler_requests_in_flight", "gauge",
            "Requests that wait for their answer.");
  for (int i = 0; i < count; i++) {
    int32_t in_flight = atomic_load(&views[i].handler->in_flight);
    if (!views[i].used)
      continue;
    label_view(exposition, &views[i]);
    tg_sample_uint(exposition, in_flight > 0 ? (uint64_t)in_flight : 0);
  }
}

static void write_handler_requests(struct tg_exposition *exposition, const struct view *views, int count)
{
  tg_family(exposition, "tidegate_handler_requests_total", "counter",
            "Requests to the event handler, by what became of them.");
  for (int i = 0; i < count; i++) {
    for (int outcome = 0; outcome <= TG_OUTCOME_CANCELLED; outcome++) {
      uint64_t requests = tg_load(&views[i].handler->requests[outcome]);
      if (requests == 0 && outcome != TG_OUTCOME_DELIVERED)
        continue;
      label_view(exposition, &views[i]);
      tg_label(exposition, "outcome", tg_outcome_name((enum tg_outcome)outcome));
      tg_sample_uint(exposition, requests);
    }
  }
  tg_family(exposition, "tidegate_handler_request_seconds_total", "counter",
            "Time that requests to the event handler took.");
  for (int i = 0; i < count; i++) {
    label_view(exposition, &views[i]);
    tg_sample_double(exposition, (double)tg_load(&views[i].handler->microseconds) / 1e6);
  }
}

static void write_interactions(struct tg_exposition *exposition, struct tg_manager *manager)
{
  uint64_t answered = 0, failed = 0, expired = 0, express = 0;
  TG_EACH_PAGE(manager, 0, worker, stats)
  {
    answered += tg_load(&stats->interactions.answered);
    failed += tg_load(&stats->interactions.failed);
    expired += tg_load(&stats->interactions.expired);
    express += tg_load(&stats->interactions.express);
  }
  tg_family(exposition, "tidegate_interactions_total", "counter",
            "Interactions: answered in place of the bot, not answered (failed), dropped since they were too "
            "old (expired), sent ahead of a backlog (express).");
  tg_label(exposition, "result", "answered");
  tg_sample_uint(exposition, answered);
  tg_label(exposition, "result", "failed");
  tg_sample_uint(exposition, failed);
  tg_label(exposition, "result", "expired");
  tg_sample_uint(exposition, expired);
  tg_label(exposition, "result", "express");
  tg_sample_uint(exposition, express);
}

void tg_metrics_events(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct views views = {0};
  TG_EACH_PAGE(manager, 0, worker, stats)
  add_views(&views, stats, worker);
  write_types(exposition, manager);
  write_storms(exposition, manager);
  write_handler_states(exposition, views.items, views.count);
  write_handler_requests(exposition, views.items, views.count);
  write_interactions(exposition, manager);
  free(views.items);
}

/* ---- calls into Lua ---- */

static void write_lua_states(struct tg_exposition *exposition, struct tg_manager *manager)
{
  tg_family(exposition, "tidegate_lua_memory_bytes", "gauge", "Memory of the Lua state, of script.memory.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    tg_label_process(exposition, worker);
    tg_sample_uint(exposition, tg_load(&stats->lua_memory));
  }
  tg_family(exposition, "tidegate_lua_states_replaced_total", "counter",
            "Lua states that were at script.memory, and were replaced by a fresh one.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    tg_label_process(exposition, worker);
    tg_sample_uint(exposition, tg_load(&stats->lua_renewed));
  }
  tg_family(exposition, "tidegate_lua_groups_switched_off", "gauge",
            "Kinds of functions that are off until a reload, since the script came back to script.memory.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    tg_label_process(exposition, worker);
    tg_sample_uint(exposition, (uint64_t)__builtin_popcount(atomic_load(&stats->lua_off)));
  }
  tg_family(exposition, "tidegate_lua_events_waiting", "gauge",
            "Events that wait for handlers of gateway.on, counted for each handler.");
  TG_EACH_PAGE(manager, 0, worker, stats)
  {
    tg_label_process(exposition, worker);
    tg_sample_uint(exposition, tg_load(&stats->lua_waiting));
  }
  tg_family(exposition, "tidegate_lua_events_skipped_total", "counter",
            "Events that were not handed to a handler of gateway.on: too much waited, or it has gone.");
  TG_EACH_PAGE(manager, 0, worker, stats)
  {
    tg_label_process(exposition, worker);
    tg_sample_uint(exposition, tg_load(&stats->lua_skipped));
  }
  tg_family(exposition, "tidegate_lua_methods_switched_off", "gauge",
            "Functions of the script that failed, or ended their process, too often and wait for a reload.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    int count = atomic_load(&stats->lua_switched_off) + tg_poison_count_off(worker == TG_MANAGER_ITSELF);
    tg_label_process(exposition, worker);
    tg_sample_uint(exposition, count > 0 ? (uint64_t)count : 0);
  }
}

void tg_metrics_lua(struct tg_exposition *exposition, struct tg_manager *manager)
{
  static const struct {
    const char *name, *help;
  } families[] = {
      {"tidegate_lua_calls_total", "Calls of the script's functions, by what they are."},
      {"tidegate_lua_errors_total", "Errors of the script's functions."},
      {"tidegate_lua_seconds_total", "Time in the script's functions; of those called per event by sample."},
  };
  for (int i = 0; i < 3; i++) {
    tg_family(exposition, families[i].name, "counter", families[i].help);
    TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
    {
      for (int group = 0; group < TG_LUA_GROUP_COUNT; group++) {
        const struct tg_stats_lua *lua = &stats->lua[group];
        if (tg_load(&lua->calls) == 0 && tg_load(&lua->errors) == 0)
          continue;
        tg_label_process(exposition, worker);
        tg_label(exposition, "group", tg_lua_group_names[group]);
        if (i == 2)
          tg_sample_double(exposition, (double)tg_load(&lua->nanoseconds) / 1e9);
        else
          tg_sample_uint(exposition, tg_load(i == 0 ? &lua->calls : &lua->errors));
      }
    }
    if (i == 1)
      tg_metrics_plugin_errors(exposition, manager);
  }
  write_lua_states(exposition, manager);
}
