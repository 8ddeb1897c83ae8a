#include "delivery/sinks/redis_carrier.h"

#include "base/log.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/redis_meaning.h"
#include "delivery/sinks/sender.h"
#include "net/redis.h"

#include <stdlib.h>
#include <string.h>

enum {
  CONNECT_TIMEOUT = 5000,
  REPLY_TIMEOUT = 3000,
};

static struct tg_redis_carrier *carrier_of(struct tg_carrier *carrier)
{
  return (struct tg_redis_carrier *)carrier;
}

static const struct tg_redis_layout_kind *layout_of(enum tg_redis_layout layout)
{
  static const struct tg_redis_layout_kind *const layouts[] = {
      [TG_LAYOUT_OWN] = &tg_redis_own_layout,
      [TG_LAYOUT_DISCORDJS] = &tg_redis_discordjs_layout,
  };
  return layouts[layout];
}

/* --- what a lane has there ---------------------------------------------------------------- */

static struct tg_redis_stream *stream_of(struct tg_redis_carrier *redis, struct tg_span key)
{
  struct tg_redis_stream *stream;
  LIST_FOREACH(stream, &redis->streams, link)
  {
    if (strlen(stream->key) == key.length && memcmp(stream->key, key.at, key.length) == 0)
      return stream;
  }
  stream = tg_calloc(1, sizeof *stream);
  stream->of = redis;
  stream->server = redis->carrier.name;
  stream->key = tg_strndup(key.at, key.length);
  stream->set = tg_redis_streams_key(redis->config.prefix);
  LIST_INSERT_HEAD(&redis->streams, stream, link);
  return stream;
}

static struct tg_redis_stream *own_stream(struct tg_redis_carrier *redis, int total, int shard_id, bool late)
{
  char *key = tg_redis_stream_key(redis->config.prefix, total, shard_id);
  struct tg_buf text = {0};
  tg_buf_printf(&text, "%s%s", key, late ? ":late" : "");
  struct tg_redis_stream *stream = stream_of(redis, (struct tg_span){text.data, text.length});
  tg_buf_free(&text);
  free(key);
  return stream;
}

static struct tg_redis_lane *new_place(struct tg_redis_carrier *redis)
{
  struct tg_redis_lane *at = tg_calloc(1, sizeof *at);
  at->of = redis;
  at->stale = true;
  return at;
}

static struct tg_redis_lane *lane_at(struct tg_redis_carrier *redis, tg_shard_ref ref)
{
  int index = tg_ref_index(ref);
  if (index >= redis->count) {
    int count = (index | 15) + 1;
    redis->at = tg_realloc(redis->at, (size_t)count * sizeof *redis->at);
    memset(redis->at + redis->count, 0, (size_t)(count - redis->count) * sizeof *redis->at);
    redis->count = count;
  }
  if (!redis->at[index])
    redis->at[index] = new_place(redis);
  return redis->at[index];
}

/* For all that lanes have. */
static void each_place(struct tg_redis_carrier *redis, void (*each)(struct tg_redis_lane *at))
{
  for (int i = 0; i < redis->count; i++) {
    if (redis->at[i] && redis->at[i]->late)
      each(redis->at[i]->late);
    if (redis->at[i])
      each(redis->at[i]);
  }
}

/* What goes behind others has no place among the ids that its lane has written. */
static struct tg_redis_lane *place_for(struct tg_redis_carrier *redis, const struct tg_parcel *parcel)
{
  struct tg_redis_lane *at = lane_at(redis, parcel->lane->feed->ref);
  if (__builtin_expect(!parcel->late, 1))
    return at;
  if (!at->late)
    at->late = new_place(redis);
  return at->late;
}

/* A dead letter has a place for itself, beside what waits in its lane. */
static bool is_letter(const struct tg_redis_lane *at)
{
  return at->parcel->way == TG_WAY_LETTER;
}

/* Of the set that its events are of: what an earlier one has left in the logs goes to that one's streams. */
static int total_of(const struct tg_redis_lane *at)
{
  const struct tg_queued *head = at->lane->queue.head;
  int total = is_letter(at) ? tg_letter_event(at->parcel)->total_shards : head ? head->total_shards : 0;
  return total > 0 ? total : at->lane->feed->total_shards;
}

/* The highest that this gateway knows of: of the session, or of what has waited since before it was adopted.
 */
static uint64_t last_epoch(const struct tg_lane *lane)
{
  uint64_t last = lane->feed->session.epoch, epoch, sequence;
  if (lane->queue.tail && lane->queue.tail->epoch > last)
    last = lane->queue.tail->epoch;
  for (const struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next)
    if (tg_event_log_last(source->log, lane->feed->ref, &epoch, &sequence) && epoch > last)
      last = epoch;
  return last;
}

static void refresh(struct tg_redis_lane *at, int total)
{
  struct tg_redis_carrier *redis = at->of;
  struct tg_redis_place *place = &at->place;
  const struct tg_feed *feed = at->lane->feed;
  if (at->stale || place->total_shards != total || at->tenure != feed->tenure) {
    int shard_id = feed->shard_id;
    bool own = redis->config.layout == TG_LAYOUT_OWN, late = feed->left || at->parcel->late;
    *place = (struct tg_redis_place){
        .server = redis->carrier.name,
        .shard_id = shard_id,
        .total_shards = total,
        .late = late,
        .stream = own ? own_stream(redis, total, shard_id, late) : NULL,
        .stream_of = stream_of,
        .carrier = redis,
    };
    at->layout = layout_of(redis->config.layout);
    at->stale = false;
    at->tenure = feed->tenure;
  }
  place->config = &redis->config;
  if (!place->asked)
    place->epoch = last_epoch(at->lane);
}

/* --- the batch ----------------------------------------------------------------------------- */

static struct tg_redis_id id_behind(const struct tg_queued *event)
{
  while (event && (event->marker || event->named_epoch))
    event = event->next;
  return event ? (struct tg_redis_id){event->epoch, event->sequence} : (struct tg_redis_id){0, 0};
}

static struct tg_redis_batch batch_of(struct tg_redis_lane *at)
{
  struct tg_redis_carrier *redis = at->of;
  if (is_letter(at)) {
    redis->events[0] = *tg_letter_event(at->parcel);
    return (struct tg_redis_batch){.events = redis->events, .count = 1};
  }
  const struct tg_queued *event = at->lane->queue.head;
  struct tg_redis_batch batch = {.events = redis->events, .count = at->parcel->count};
  redis->texts.length = 0;
  char *texts = NULL;
  for (int i = 0; i < batch.count; i++, event = event->next) {
    if (event->gap && !texts)
      texts = tg_buf_reserve(&redis->texts, (size_t)(batch.count - i) * TG_GAP_MAX);
    redis->events[i] = tg_lane_stored(at->lane, event, texts);
    if (event->gap)
      texts += TG_GAP_MAX;
  }
  batch.next = id_behind(event);
  return batch;
}

/* --- what Redis may have lost ------------------------------------------------------------------ */

/* It has accepted something on a connection that has ended since, and nobody has looked whether that is still
 * there. */
static bool is_unsure(const struct tg_redis_lane *at)
{
  return !at->stale && !at->sure && !tg_redis_id_is_none(at->place.accepted);
}

static void look_if_sure(struct tg_redis_carrier *redis)
{
  bool unsure = false;
  for (int i = 0; i < redis->count; i++)
    unsure |= redis->at[i] && is_unsure(redis->at[i]);
  redis->unsure = unsure;
}

static enum tg_redis_step learn(struct tg_redis_lane *at, const struct tg_redis_batch *batch,
                                const struct tg_redis_reply *replies, int count, struct tg_answer *answer)
{
  enum tg_redis_step step = at->layout->learn(&at->place, batch, replies, count, answer);
  at->sure |= step != TG_REDIS_END;
  look_if_sure(at->of);
  return step;
}

/* --- its way ---------------------------------------------------------------------------------- */

static void begin(struct tg_redis_lane *at);
static void check(struct tg_redis_lane *at);

/* One at a time. */
static void begin_letter(struct tg_redis_carrier *redis)
{
  struct tg_redis_lane *first = TAILQ_FIRST(&redis->letters);
  if (first && first->began == 0)
    begin(first);
}

static void leave(struct tg_redis_lane *at)
{
  if (is_letter(at)) {
    TAILQ_REMOVE(&at->of->letters, at, turn);
    free(at);
  } else {
    at->parcel = NULL;
  }
}

/* Redis ends a connection over which an event has come that is too large: nobody else is to be sent there. */
static void end(struct tg_redis_lane *at, struct tg_answer *answer)
{
  struct tg_redis_carrier *redis = at->of;
  struct tg_parcel *parcel = at->parcel;
  struct tg_redis_lane *other = parcel->late ? lane_at(redis, at->lane->feed->ref) : NULL;
  answer->seconds = (double)(uv_hrtime() - at->began) / 1e9;
  leave(at);
  redis->carrier.ended(parcel, answer);
  if (answer->status == TG_TOO_LARGE)
    tg_redis_drop(redis->redis, "an event was too large for it");
  begin_letter(redis);
  if (other && tg_redis_is_up(redis->redis)) /* it could not as long as that was in flight */
    check(other);
}

static void go(struct tg_redis_lane *at);
static void write_batch(struct tg_redis_lane *at);

static void tell_loss(const struct tg_redis_lane *at, const struct tg_answer *answer)
{
  tg_log_with(TG_WARN, at->place.shard_id, TG_WITH(TG_TEXT(URL, at->of->carrier.name)),
              "Redis has lost events that it had taken: %s. Those of the last %lld ms are sent again",
              answer->error.message, (long long)at->place.config->settle);
}

/* It was to be written when that was allowed; by now another host may have the shard. */
static bool is_withheld(struct tg_redis_lane *at)
{
  struct tg_answer answer = {.outcome = TG_OUTCOME_CANCELLED, .retry_after = -1};
  if (is_letter(at) || !tg_lane_is_withheld(at->lane))
    return false;
  end(at, &answer);
  return true;
}

static void take_step(struct tg_redis_lane *at, enum tg_redis_step step, struct tg_answer *answer)
{
  switch (step) {
  case TG_REDIS_WRITE:
    if (!is_withheld(at))
      write_batch(at);
    return;
  case TG_REDIS_ASK:
    go(at);
    return;
  case TG_REDIS_END:
    if (answer->outcome == TG_OUTCOME_DELIVERED)
      tg_redis_alarm_over(at);
    break;
  case TG_REDIS_FULL:
    tg_redis_keep(at->place.stream);
    break;
  case TG_REDIS_HOLD:
    if (!is_letter(at)) /* who wants it sent is told */
      tg_redis_alarm(at, answer);
    break;
  case TG_REDIS_LOST:
    tell_loss(at, answer);
    answer->lost = true;
    answer->epoch = at->place.accepted.epoch;
    answer->sequence = at->place.accepted.sequence;
    break;
  }
  end(at, answer);
}

/* There is no reply, and there will be none. */
static void break_off(struct tg_redis_lane *at, const struct tg_error *error)
{
  struct tg_answer answer = {.retry_after = -1};
  at->place.asked = at->place.listed = false;
  tg_redis_broke(&answer, error);
  end(at, &answer);
}

static void on_learned(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct tg_redis_lane *at = ctx;
  struct tg_answer answer = {.retry_after = -1};
  if (!replies) {
    break_off(at, error);
    return;
  }
  struct tg_redis_batch batch = batch_of(at);
  take_step(at, learn(at, &batch, replies, count, &answer), &answer);
}

static void on_written(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct tg_redis_lane *at = ctx;
  struct tg_answer answer = {.retry_after = -1};
  at->place.doubtful = !replies;
  if (replies)
    take_step(at, at->layout->judge(&at->place, replies, count, &answer), &answer);
  else
    break_off(at, error);
}

static void write_batch(struct tg_redis_lane *at)
{
  struct tg_redis_carrier *redis = at->of;
  struct tg_redis_batch batch = batch_of(at);
  int replies = at->layout->write(&at->place, &batch, tg_redis_out(redis->redis));
  at->place.doubtful = true;
  tg_redis_send(redis->redis, replies, on_written, at);
}

static void go(struct tg_redis_lane *at)
{
  struct tg_redis_carrier *redis = at->of;
  struct tg_redis_batch batch = batch_of(at);
  int replies = at->layout->ask(&at->place, &batch, tg_redis_out(redis->redis));
  if (replies > 0)
    tg_redis_send(redis->redis, replies, on_learned, at);
  else
    write_batch(at);
}

/* What goes behind others is of the same lane. */
static bool is_busy(const struct tg_redis_lane *at)
{
  return at->parcel || (at->late && at->late->parcel);
}

static void on_checked(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct tg_redis_lane *at = ctx;
  struct tg_redis_batch none = {0};
  struct tg_answer answer = {.retry_after = -1};
  (void)error;
  if (!replies || is_busy(at)) /* its batch asks itself */
    return;
  if (learn(at, &none, replies, count, &answer) != TG_REDIS_LOST)
    return;
  tell_loss(at, &answer);
  tg_lane_rewind(at->lane, at->place.accepted.epoch, at->place.accepted.sequence);
  tg_lane_go_on(at->lane);
}

static void check(struct tg_redis_lane *at)
{
  struct tg_redis_carrier *redis = at->of;
  struct tg_redis_batch none = {0};
  if (is_busy(at) || !is_unsure(at))
    return;
  int replies = at->layout->ask(&at->place, &none, tg_redis_out(redis->redis));
  if (replies > 0)
    tg_redis_send(redis->redis, replies, on_checked, at);
}

void tg_redis_check(struct tg_redis_carrier *redis)
{
  for (int i = 0; i < redis->count; i++)
    if (redis->at[i])
      check(redis->at[i]);
}

/* --- the connection -------------------------------------------------------------------------- */

/* What is told to those that wait may let others wait. */
static void take_waiting(struct tg_redis_carrier *redis, struct tg_redis_lanes *taken)
{
  struct tg_redis_lane *first = LIST_FIRST(&redis->waiting);
  *taken = redis->waiting;
  LIST_INIT(&redis->waiting);
  if (first)
    first->link.le_prev = &LIST_FIRST(taken);
}

static struct tg_redis_lane *next_of(struct tg_redis_lanes *taken)
{
  struct tg_redis_lane *at = LIST_FIRST(taken);
  if (at) {
    LIST_REMOVE(at, link);
    at->waits = false;
  }
  return at;
}

static void on_up(void *ctx)
{
  struct tg_redis_carrier *redis = ctx;
  struct tg_redis_lanes taken;
  struct tg_redis_lane *at;
  take_waiting(redis, &taken);
  while ((at = next_of(&taken)))
    if (!is_withheld(at))
      go(at);
  tg_redis_check(redis);
}

static void forget_connection(struct tg_redis_lane *at)
{
  at->sure = at->place.asked = at->place.listed = false;
}

static void on_down(void *ctx, const struct tg_error *error)
{
  struct tg_redis_carrier *redis = ctx;
  struct tg_redis_lanes taken;
  struct tg_redis_lane *at;
  each_place(redis, forget_connection);
  tg_redis_keeper_down(redis);
  look_if_sure(redis);
  take_waiting(redis, &taken);
  while ((at = next_of(&taken)))
    break_off(at, error);
}

/* --- what senders see -------------------------------------------------------------------------- */

static void begin(struct tg_redis_lane *at)
{
  struct tg_redis_carrier *redis = at->of;
  at->began = uv_hrtime();
  refresh(at, total_of(at));
  if (tg_redis_is_up(redis->redis)) {
    go(at);
    return;
  }
  at->waits = true;
  LIST_INSERT_HEAD(&redis->waiting, at, link);
  tg_redis_connect(redis->redis);
}

static void start(struct tg_carrier *carrier, struct tg_parcel *parcel)
{
  struct tg_redis_carrier *redis = carrier_of(carrier);
  bool letter = parcel->way == TG_WAY_LETTER;
  struct tg_redis_lane *at = letter ? new_place(redis) : place_for(redis, parcel);
  parcel->call = at;
  at->lane = parcel->lane;
  at->parcel = parcel;
  if (letter) {
    TAILQ_INSERT_TAIL(&redis->letters, at, turn);
    begin_letter(redis);
  } else {
    begin(at);
  }
}

static void cancel(struct tg_carrier *carrier, struct tg_parcel *parcel)
{
  struct tg_redis_carrier *redis = carrier_of(carrier);
  struct tg_redis_lane *at = parcel->call;
  if (at->waits)
    LIST_REMOVE(at, link);
  else
    tg_redis_forget(redis->redis, at);
  at->waits = at->place.asked = false;
  leave(at);
  begin_letter(redis);
}

static void outdate(struct tg_redis_lane *at)
{
  at->stale = true;
}

static void reconfigure(struct tg_carrier *carrier, const struct tg_senders *senders)
{
  struct tg_redis_carrier *redis = carrier_of(carrier);
  const struct tg_redis_config *config = senders->lanes->redis;
  char *before = redis->config.prefix;
  bool same = before && strcmp(before, config->prefix) == 0 && config->layout == redis->config.layout;
  redis->config = *config;
  redis->config.prefix = tg_strdup(config->prefix);
  redis->config.commands_group = NULL; /* not ours */
  free(before);
  redis->lanes->keeps |= config->settle > 0;
  if (!same)
    each_place(redis, outdate);
}

static void free_place(struct tg_redis_lane *at)
{
  free(at);
}

static void free_carrier(struct tg_carrier *carrier)
{
  struct tg_redis_carrier *redis = carrier_of(carrier);
  struct tg_redis_stream *stream;
  tg_redis_close(redis->redis);
  tg_redis_keeper_end(redis);
  while ((stream = LIST_FIRST(&redis->streams))) {
    LIST_REMOVE(stream, link);
    free(stream->key);
    free(stream->set);
    free(stream);
  }
  each_place(redis, free_place);
  free(redis->at);
  free(redis->config.prefix);
  tg_buf_free(&redis->texts);
  free(carrier->name);
  free(redis);
}

struct tg_carrier *tg_redis_carrier_new(const struct tg_senders *senders, const char *url)
{
  static const struct tg_carrier_kind kind = {start, cancel, reconfigure, free_carrier};
  struct tg_redis_carrier *redis = tg_calloc(1, sizeof *redis);
  struct tg_redis_options options = {
      .loop = senders->env->loop,
      .url = url,
      .ca_file = senders->env->config->tls.ca_file,
      .connect_timeout = CONNECT_TIMEOUT,
      .reply_timeout = REPLY_TIMEOUT,
      .on_up = on_up,
      .on_down = on_down,
      .ctx = redis,
  };
  struct tg_error error;
  redis->redis = tg_redis_new(&options, &error);
  redis->carrier =
      (struct tg_carrier){.kind = &kind, .wide = true, .name = tg_strdup(tg_redis_name(redis->redis))};
  redis->env = senders->env;
  redis->lanes = senders->lanes;
  LIST_INIT(&redis->waiting);
  TAILQ_INIT(&redis->letters);
  LIST_INIT(&redis->streams);
  reconfigure(&redis->carrier, senders);
  tg_redis_keeper_begin(redis);
  return &redis->carrier;
}
