/* Metrics of each shard, from its row of the shard table. */

#include "control/metrics.h"
#include "proto/intents.h"

#include <stddef.h>

#define STATES                                                                                               \
  "0 Offline, 1 Disconnected, 2 Connecting, 3 Unidentified, 4 Identifying, 5 Resuming, 6 Connected"

static const struct {
  const char *name, *help;
  size_t offset; /* of an _Atomic uint64_t */
} counters[] = {
#define FIELD(field) offsetof(struct tg_shard_row, field)
    {"tidegate_shard_received_total", "Events received, replayed ones left out.", FIELD(received)},
    {"tidegate_shard_recovered_total", "Events received before the start that waited in the logs then.",
     FIELD(recovered)},
    {"tidegate_shard_filtered_total", "Events that filters, caches or event_handler.events drop.",
     FIELD(filtered)},
    {"tidegate_shard_delivered_total", "Events the event handler has accepted.", FIELD(delivered)},
    {"tidegate_shard_retried_total", "Deliveries that failed and were tried again.", FIELD(retried)},
    {"tidegate_shard_dropped_total", "Events lost to the bounds of the queue.", FIELD(dropped)},
    {"tidegate_shard_dead_total", "Events refused for good: dead letters.", FIELD(dead)},
    {"tidegate_shard_replayed_total", "Events that came again after a resume.", FIELD(replayed)},
    {"tidegate_shard_gaps_total", "Gaps in the events of the shard.", FIELD(gaps)},
    {"tidegate_shard_reconnects_total", "Connections that were followed by another one.", FIELD(reconnects)},
    {"tidegate_shard_resumes_total", "Sessions resumed.", FIELD(resumes)},
    {"tidegate_shard_identifies_total", "Identifies sent.", FIELD(identifies)},
#undef FIELD
};

enum { COUNTERS = sizeof counters / sizeof *counters };

/* For each row: the walk that all families share. */
#define EACH_SHARD(manager, status, id, row)                                                                 \
  for (int id = (status)->first; id <= (status)->last; id++)                                                 \
    for (const struct tg_shard_row *row = tg_gateway_held_shard(manager, id); row; row = NULL)

static void write_states(struct tg_exposition *exposition, struct tg_manager *manager,
                         const struct tg_gateway_status *status)
{
  int counts[TG_SHARD_CONNECTED + 1] = {0};
  tg_family(exposition, "tidegate_shard_state", "gauge", "State of the shard: " STATES ".");
  EACH_SHARD(manager, status, id, row)
  {
    int state = atomic_load(&row->state);
    tg_label_int(exposition, "shard", id);
    tg_label_int(exposition, "worker", atomic_load(&row->worker_id));
    tg_sample_uint(exposition, (uint64_t)state);
    if (state >= 0 && state <= TG_SHARD_CONNECTED)
      counts[state]++;
  }
  tg_family(exposition, "tidegate_shards", "gauge", "Shards of this gateway, by their state.");
  for (int state = 0; state <= TG_SHARD_CONNECTED; state++) {
    tg_label(exposition, "state", tg_shard_state_name((enum tg_shard_state)state));
    tg_sample_uint(exposition, (uint64_t)counts[state]);
  }
}

static void write_connection(struct tg_exposition *exposition, struct tg_manager *manager,
                             const struct tg_gateway_status *status)
{
  tg_family(exposition, "tidegate_shard_rtt_seconds", "gauge", "Time from the last heartbeat to its answer.");
  EACH_SHARD(manager, status, id, row)
  {
    int rtt = atomic_load(&row->rtt);
    if (rtt < 0)
      continue;
    tg_label_int(exposition, "shard", id);
    tg_sample_ms(exposition, rtt);
  }
  tg_family(exposition, "tidegate_shard_guilds", "gauge", "Guilds of the shard.");
  EACH_SHARD(manager, status, id, row)
  {
    tg_label_int(exposition, "shard", id);
    tg_sample_uint(exposition, atomic_load(&row->guilds));
  }
  tg_family(exposition, "tidegate_shard_closes_total", "counter",
            "Connections ended by Discord or the network, by close code (1006: cut off, \"other\": none of "
            "the usual codes).");
  EACH_SHARD(manager, status, id, row)
  {
    for (int place = 0; place < TG_CLOSE_CODES; place++) {
      uint32_t count = atomic_load(&row->closes[place]);
      int code = tg_close_code(place);
      if (count == 0)
        continue;
      tg_label_int(exposition, "shard", id);
      if (code > 0)
        tg_label_int(exposition, "code", code);
      else
        tg_label(exposition, "code", "other");
      tg_sample_uint(exposition, count);
    }
  }
}

/* All privileged ones, so that an alert sees the end, too. */
static void write_intents(struct tg_exposition *exposition, struct tg_manager *manager,
                          const struct tg_gateway_status *status)
{
  static const uint64_t privileged[] = {TG_INTENT_GUILD_MEMBERS, TG_INTENT_GUILD_PRESENCES,
                                        TG_INTENT_MESSAGE_CONTENT};
  enum { PRIVILEGED = sizeof privileged / sizeof *privileged };
  uint64_t counts[PRIVILEGED] = {0};
  EACH_SHARD(manager, status, id, row)
  {
    for (int i = 0; i < PRIVILEGED; i++)
      counts[i] += (atomic_load(&row->missing_intents) & privileged[i]) != 0;
  }
  tg_family(exposition, "tidegate_shards_without_intent", "gauge",
            "Shards whose session does without an optional intent that Discord had refused.");
  for (int i = 0; i < PRIVILEGED; i++) {
    char name[TG_INTENTS_TEXT];
    tg_intents_format(privileged[i], name, sizeof name);
    tg_label(exposition, "intent", name);
    tg_sample_uint(exposition, counts[i]);
  }
}

static void write_queue(struct tg_exposition *exposition, struct tg_manager *manager,
                        const struct tg_gateway_status *status)
{
  tg_family(exposition, "tidegate_shard_queue_events", "gauge", "Events that wait for the event handler.");
  EACH_SHARD(manager, status, id, row)
  {
    tg_label_int(exposition, "shard", id);
    tg_sample_uint(exposition, atomic_load(&row->queued_events));
  }
  tg_family(exposition, "tidegate_shard_queue_bytes", "gauge", "What the events that wait take.");
  EACH_SHARD(manager, status, id, row)
  {
    tg_label_int(exposition, "shard", id);
    tg_sample_uint(exposition, atomic_load(&row->queued_bytes));
  }
  int64_t now = tg_steady_clock();
  tg_family(exposition, "tidegate_shard_queue_oldest_seconds", "gauge",
            "How long the oldest event has waited; 0: none waits.");
  EACH_SHARD(manager, status, id, row)
  {
    int64_t oldest = atomic_load(&row->oldest_queued_at);
    tg_label_int(exposition, "shard", id);
    tg_sample_ms(exposition, oldest > 0 && oldest < now ? now - oldest : 0);
  }
}

void tg_metrics_shards(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_gateway_status status;
  tg_gateway_status(manager, &status);
  write_states(exposition, manager, &status);
  write_intents(exposition, manager, &status);
  write_connection(exposition, manager, &status);
  for (int i = 0; i < COUNTERS; i++) {
    tg_family(exposition, counters[i].name, "counter", counters[i].help);
    EACH_SHARD(manager, &status, id, row)
    {
      const char *field = (const char *)row + counters[i].offset;
      tg_label_int(exposition, "shard", id);
      tg_sample_uint(exposition, atomic_load_explicit((const _Atomic uint64_t *)(const void *)field,
                                                      memory_order_relaxed));
    }
  }
  write_queue(exposition, manager, &status);
}
