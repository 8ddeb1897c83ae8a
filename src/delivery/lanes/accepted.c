#include "delivery/lanes/lanes.h"

#include "base/buf.h"

#include <stdlib.h>

/* What a sink has accepted, and may still lose: a Redis that a power cut, or a failover, takes back to what
 * it was a second ago. Such events have left the queue, but stay in the event log for a while
 * (tg_lanes.keeps), from which they are sent again if the sink comes back without them. A process that takes
 * over in that time finds them waiting, and sends them again, too: only a sink that knows repeats may keep
 * them. */

/* A run of them, accepted together. */
struct tg_accepted {
  struct tg_accepted *next;
  struct tg_log_source *source;
  tg_log_position first, last;
  uint64_t epoch, sequence; /* of the last */
  uint64_t events, bytes;
  tg_ms at; /* uv_now() */
};

static bool joins(const struct tg_accepted *run, const struct tg_queued *event, tg_ms now)
{
  return run && run->source == event->source && run->at == now && run->epoch == event->epoch &&
         run->last < event->position;
}

void tg_lane_accepted(struct tg_lane *lane, const struct tg_queued *event)
{
  struct tg_lane_log *log = &lane->log;
  tg_ms now = tg_env_now(lane->lanes->env);
  if (!joins(log->last_accepted, event, now)) {
    struct tg_accepted *run = tg_alloc(sizeof *run);
    *run = (struct tg_accepted){.source = event->source, .first = event->position, .at = now};
    *(log->last_accepted ? &log->last_accepted->next : &log->accepted) = run;
    log->last_accepted = run;
  }
  struct tg_accepted *run = log->last_accepted;
  run->last = event->position;
  run->epoch = event->epoch;
  run->sequence = event->sequence;
  run->events++;
  run->bytes += tg_queued_record_length(event);
}

static void take_first(struct tg_lane_log *log)
{
  struct tg_accepted *run = log->accepted;
  log->accepted = run->next;
  if (!log->accepted)
    log->last_accepted = NULL;
  free(run);
}

/* The log is done with those that are in front of what waits of the run's end. */
static void ack_run(struct tg_lane *lane, const struct tg_accepted *run)
{
  tg_log_position position = run->first - 1;
  while ((position = tg_event_log_next(run->source->log, lane->feed->ref, position, NULL)) != 0 &&
         position <= run->last)
    tg_lane_ack(lane, run->source, position);
}

void tg_lane_release(struct tg_lane *lane, tg_ms before)
{
  while (lane->log.accepted && lane->log.accepted->at <= before) {
    ack_run(lane, lane->log.accepted);
    take_first(&lane->log);
  }
}

void tg_lanes_release(struct tg_lanes *lanes, tg_ms before)
{
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i])
      tg_lane_release(lanes->at[i], before);
}

bool tg_lanes_keep_some(const struct tg_lanes *lanes)
{
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i] && lanes->at[i]->log.accepted)
      return true;
  return false;
}

void tg_lane_forget_accepted(struct tg_lane *lane)
{
  while (lane->log.accepted)
    take_first(&lane->log);
}

void tg_lane_count_accepted(const struct tg_lane *lane, uint64_t *events, uint64_t *bytes)
{
  *events = *bytes = 0;
  for (const struct tg_accepted *run = lane->log.accepted; run; run = run->next) {
    *events += run->events;
    *bytes += run->bytes;
  }
}

/* --- back ------------------------------------------------------------------------------ */

static bool is_behind(const struct tg_accepted *run, uint64_t epoch, uint64_t sequence)
{
  return run->epoch > epoch || (run->epoch == epoch && run->sequence > sequence);
}

bool tg_lane_rewind(struct tg_lane *lane, uint64_t epoch, uint64_t sequence)
{
  struct tg_accepted **at = &lane->log.accepted, *before = NULL;
  while (*at && !is_behind(*at, epoch, sequence)) {
    before = *at;
    at = &(*at)->next;
  }
  struct tg_accepted *run = *at;
  if (!run || lane->state == TG_LANE_SENDING)
    return false;
  tg_lane_read_again(lane, run->source, run->first);
  *at = NULL;
  lane->log.last_accepted = before;
  while (run) {
    struct tg_accepted *next = run->next;
    free(run);
    run = next;
  }
  tg_lane_recount(lane);
  tg_lane_refill(lane);
  tg_feed_publish(lane->feed);
  return true;
}
