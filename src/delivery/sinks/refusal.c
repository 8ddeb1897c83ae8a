#include "base/log.h"
#include "delivery/lanes/batch.h"
#include "delivery/lanes/lanes.h"
#include "delivery/lanes/queue.h"
#include "delivery/sinks/dead_letter.h"
#include "delivery/sinks/lane_parcel.h"

#include <stdio.h>
#include <string.h>

/* What becomes of events that the event handler does not want: they are tried
 * again, in halves where they came together, and in the end each to blame is a
 * dead letter, and the lane goes on. */

/* --- answers of 413 --------------------------------------------------------------- */

/* What no request of the bot's framework may exceed is rarely known to who writes
 * the bot: guilds grow. The first such event is told at once, others by their number. */
static void note_too_large(const struct tg_lane_answer *of, const char *type, bool written)
{
  struct tg_sender *sender = of->judgement->sender;
  tg_ms now = tg_env_now(sender->all->env);
  sender->too_large.events++;
  if (of->bytes > sender->too_large.bytes)
    sender->too_large.bytes = of->bytes;
  const char *advice = of->judgement->answer->advice;
  if (sender->too_large.told_at != 0 && now - sender->too_large.told_at < TG_REPORT_INTERVAL)
    return;
  sender->too_large.told_at = now ? now : 1;
  sender->too_large.events = sender->too_large.bytes = 0;
  tg_log_with(TG_ERROR, of->lane->feed->shard_id,
              TG_WITH(TG_TEXT(URL, sender->public_url), TG_TEXT(EVENT, type), TG_NUMBER(BYTES, of->bytes),
                      TG_NUMBER(EPOCH, of->event->epoch), TG_NUMBER(SEQUENCE, of->event->sequence)),
              "an event of %zu bytes is too large for %s (413): %s; %s", of->bytes, sender->all->lanes->title,
              written ? "it is in dead.jsonl of the state directory" : "it is lost",
              advice ? advice : "raise what it takes");
}

void tg_refusals_report(struct tg_sender *sender)
{
  if (sender->too_large.events == 0)
    return;
  tg_log_with(TG_ERROR, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, sender->public_url), TG_NUMBER(EVENTS, sender->too_large.events),
                      TG_NUMBER(BYTES, sender->too_large.bytes)),
              "more events were too large for %s (413), the largest of them of %zu bytes",
              sender->all->lanes->title, sender->too_large.bytes);
  sender->too_large.told_at = tg_env_now(sender->all->env);
  sender->too_large.events = sender->too_large.bytes = 0;
}

/* --- dead letters ------------------------------------------------------------------- */

/* False: it is lost, and `error` says why. */
static bool write_letter(const struct tg_lane_answer *of, char type[TG_STATS_NAME_SIZE],
                         struct tg_error *error)
{
  struct tg_lane *lane = of->lane;
  struct tg_event event;
  char text[TG_MARKER_MAX];
  const struct tg_config *config = lane->lanes->env->config;
  struct tg_strings secrets = tg_config_secrets(config);
  tg_queued_event(lane, of->event, text, &event);
  struct tg_dead_letter letter = {
      .shard_id = lane->feed->shard_id,
      .total_shards = event.total_shards,
      .epoch = event.epoch,
      .sequence = event.sequence,
      .name = {"", 0},
      .status = of->judgement->answer->status,
      .answer = of->judgement->answer->body,
      .message = event.raw,
      .bytes = of->bytes,
      .guild_create = tg_guild_create_name(event.guild_create),
      .deferred = event.deferred,
      .late = event.late,
      .marker = event.marker != TG_MARKER_NONE,
      .sink = lane->lanes->index == TG_SINK_BOT ? NULL : lane->lanes->name,
      .secrets = &secrets,
  };
  if (event.name.at && !event.marker)
    letter.name = event.name;
  if (!config->state_dir)
    tg_fail(error, "failed", "there is no state directory");
  bool written =
      config->state_dir && tg_dead_letter_write(config->state_dir, TG_DEAD_FILE_BYTES, &letter, error);
  tg_strings_free(&secrets);
  snprintf(type, TG_STATS_NAME_SIZE, "%.*s", (int)letter.name.length, letter.name.at);
  return written;
}

static void bury(const struct tg_lane_answer *of)
{
  struct tg_lane *lane = of->lane;
  const struct tg_queued *event = of->event;
  long status = of->judgement->answer->status;
  char type[TG_STATS_NAME_SIZE];
  struct tg_error error = {0};
  bool written = write_letter(of, type, &error);
  if (status == TG_TOO_LARGE)
    note_too_large(of, type, written);
  tg_log_with(status == TG_TOO_LARGE && written ? TG_DEBUG : TG_WARN, lane->feed->shard_id,
              TG_WITH(TG_TEXT(EVENT, type), TG_NUMBER(EPOCH, event->epoch),
                      TG_NUMBER(SEQUENCE, event->sequence), TG_NUMBER(ATTEMPT, event->refusals),
                      TG_NUMBER(BYTES, of->bytes), TG_NUMBER(CODE, status),
                      TG_TEXT(REASON, of->judgement->answer->error.message)),
              "%s refuses this event: %s%s", lane->lanes->title,
              written ? "it is in dead.jsonl of the state directory" : "it is lost: ", error.message);
  tg_lane_count(lane, dead, 1);
  tg_lane_remove(lane, of->event);
}

static void split(const struct tg_lane_answer *of)
{
  if (tg_log_on(TG_DEBUG))
    tg_log_with(TG_DEBUG, of->lane->feed->shard_id,
                TG_WITH(TG_NUMBER(EPOCH, of->event->epoch), TG_NUMBER(SEQUENCE, of->event->sequence),
                        TG_NUMBER(EVENTS, of->count), TG_NUMBER(BYTES, of->bytes),
                        TG_TEXT(REASON, of->judgement->answer->error.message)),
                "events are refused together");
  tg_lane_count(of->lane, retried, (uint64_t)of->count);
  if (of->judgement->answer->status == TG_TOO_LARGE)
    tg_batch_shrink(of->parcel, of->count);
  else
    tg_batch_split(of->parcel, of->count);
}

bool tg_lane_refused(const struct tg_lane_answer *of, tg_ms *delay)
{
  struct tg_queued *event = of->event;
  if (of->count > 1) {
    split(of);
    return true;
  }
  tg_ms now = tg_env_now(of->lane->lanes->env);
  if (event->refusals++ == 0)
    event->refused_first = now;
  if (!tg_refused_for_good(of->judgement->answer->status, event->refusals, event->refused_first, now, delay))
    return false;
  bury(of);
  return true;
}
