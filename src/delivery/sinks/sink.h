#pragma once

/* A sink: where events go, as it is configured. event_handler is the one named "bot", which is always there;
 * `sinks` adds others. Each has its own lanes and event log, its own senders, bounds and figures: what
 * happens to one costs the others nothing.
 *
 *     feed of a shard --> lane at the sink --> sender of its URL --> carrier: HTTP, Redis, a script
 *
 * Made and ended by the delivery (delivery/sink_set.c). Loop thread only. */

#include "delivery/lanes/lanes.h"
#include "delivery/sinks/sender.h"

struct tg_sink {
  struct tg_delivery_env env; /* its own: it may end before the others */
  struct tg_lanes lanes;
  struct tg_senders senders;
  char *name;
  bool is_untaken; /* as it was when somebody looked last */
  char *title;     /* as logs name it: "the event handler", "the sink \"stats\"" */
  /* What is left of its configuration when that is gone: as much as its end needs. */
  struct tg_handler_config last_handler;
  struct tg_queue_config last_limits;
};

struct tg_sink_options {
  const struct tg_delivery_env *env; /* of the delivery; copied */
  struct tg_feeds *feeds;
  int index; /* TG_SINK_BOT, or a free one */
  const char *name;
  struct tg_http *http;
  void (*tell)(void *ctx, const char *url, bool up, tg_ms asked); /* as in tg_delivery_options */
  void *ctx;
};

/* Not configured yet. */
struct tg_sink *tg_sink_new(const struct tg_sink_options *options);

/* Its part of the configuration; borrowed until the next call, or the end. `redis`: NULL for the bot. */
void tg_sink_configure(struct tg_sink *sink, const struct tg_config *config,
                       const struct tg_handler_config *handler, const struct tg_queue_config *limits,
                       const struct tg_redis_config *redis);

/* Whether anybody takes what is put into its lanes. */
static inline bool tg_sink_is_taken(const struct tg_sink *sink)
{
  return sink->senders.count > 0;
}

/* Once a minute: what is too old goes, and the log hears how it is. */
void tg_sink_report(struct tg_sink *sink);

/* Whether it is worth waiting for what its lanes hold: without a log it would be lost, and with one a handler
 * that is up may take it soon. */
bool tg_sink_has_hope(const struct tg_sink *sink);

/* No more will come: what waits for others to go with goes now. */
void tg_sink_drain(struct tg_sink *sink);

/* The sink's part of the configuration is gone, and the sink is about to end. */
void tg_sink_unconfigure(struct tg_sink *sink);

/* What is in flight is cancelled, what no log has is lost. The feeds are to know nothing of it any more. Its
 * memory goes with a later turn of the loop. */
void tg_sink_end(struct tg_sink *sink);
