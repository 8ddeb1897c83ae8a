#pragma once

/* A class in a cluster: what others know of it, and what becomes of it when its host dies, and another one gets
 * it. That one has neither log nor file of the dead one, but what Redis has: how far the rows were at the last
 * beat, and the text of the file. */

#include "unit/delivery/reshard/fake_worker.h"

#include "delivery/reshard/skip_text.h"

enum { BEAT = 1000, TEXT_TAKES = 1000 /* ms */ };

static struct {
  bool published;
  char *text;
  struct {
    uint64_t epoch, durable, delivered;
    bool is_near; /* nothing of an earlier epoch waits */
  } rows[SESSIONS_MAX];
} redis;

static tg_ms beat_at, told_at;
static uint64_t told_uses; /* 0: nothing was told */
static int moves, published_moves, undone;

static void begin_redis(void)
{
  free(redis.text);
  memset(&redis, 0, sizeof redis);
  beat_at = told_at = 0;
  told_uses = 0;
}

/* --- what others are told --------------------------------------------------------------------- */

static void read_rows(void)
{
  for (int m = 0; m < lane_count; m++) {
    const struct lane *lane = &lanes[m];
    int at = lane->head;
    while (at < lane->count && events[lane->records[at].event].own)
      at++; /* READY waits until it takes over, and what came behind it does not */
    const struct record *first = at < lane->count ? &lane->records[at] : NULL;
    uint64_t bound, delivered = first ? first->sequence - 1 : lane->received;
    if (tg_class_bound(class, m, &bound) && bound < delivered)
      delivered = bound;
    redis.rows[m].epoch = lane->row.epoch;
    redis.rows[m].durable = lane->row.durable;
    redis.rows[m].is_near = !first || first->epoch == lane->row.epoch;
    redis.rows[m].delivered = redis.rows[m].is_near ? delivered : lane->row.durable;
  }
}

static void tell_text(void)
{
  if (told_uses == tg_class_uses(class))
    return;
  free(redis.text);
  redis.text = tg_skip_text(tg_class_skip_list(class));
  told_uses = tg_class_uses(class);
  told_at = now;
}

static bool is_switched(void)
{
  return class && tg_class_ruling_side(class) == 1;
}

static bool old_owes(void)
{
  for (int m = 0; m < lane_count; m++)
    if (!rules(&lanes[m]) && lanes[m].head < lanes[m].count)
      return true;
  return false;
}

static void tell_others(void)
{
  if (beat_at <= now) {
    read_rows();
    beat_at = now + BEAT;
  }
  if (!is_switched())
    return;
  if (told_uses && now - told_at >= TEXT_TAKES)
    tg_class_told(class, told_uses);
  if (!told_uses || now - told_at >= TEXT_TAKES)
    tell_text();
  if (!redis.published && !old_owes() && chance(10)) {
    TRACE("all know that it has switched");
    read_rows(); /* what is forgotten since they stood behind it must not come again */
    redis.published = true;
  }
  if (redis.published && chance(10))
    tg_class_publish(class);
  if (!old_owes())
    tg_class_emptied(class, now);
}

/* --- another host gets it --------------------------------------------------------------------------- */

/* What the dead host has alone, of earlier sessions and up to there: it comes late, when it is back. */
static void deliver_late(struct lane *lane, uint64_t through)
{
  for (int i = lane->head; i < lane->count; i++) {
    const struct record *record = &lane->records[i];
    bool comes_again = record->session == lane->row.session && record->sequence > through;
    if (!record->flushed || comes_again || is_known(lane, record))
      continue;
    note_delivered(lane, record);
    if (is_watched(record->event))
      TRACE("%s: event %d is delivered late", name_of(lane), record->event);
  }
}

/* What Discord sends again; if it can: a session that is lost meanwhile leaves it to the dead host, late. */
static void empty(struct lane *lane)
{
  for (int i = lane->head; i < lane->count; i++)
    events[lane->records[i].event].secure = events[lane->records[i].event].delivered > 0;
  lane->head = lane->count;
  lane->flushed_epoch = lane->flushed_sequence = 0;
}

static void go_on_from(int m, bool is_far)
{
  struct lane *lane = &lanes[m];
  uint64_t from = is_far ? redis.rows[m].durable : redis.rows[m].delivered;
  if (lane->row.session > 0 && redis.rows[m].epoch != lane->row.epoch)
    from = 0; /* it has begun, or risen, since the last beat */
  deliver_late(lane, is_far || !redis.rows[m].is_near ? from : 0);
  lane->row.durable = lane->row.delivered = from;
  redis.rows[m].durable = redis.rows[m].delivered = from;
  redis.rows[m].epoch = lane->row.epoch;
  redis.rows[m].is_near = true;
  empty(lane);
}

/* It lost its session when the new ones had taken over, and nobody but this host knew: what came since is
 * lost with both. */
static void give_up_between(struct lane *lane)
{
  if (lane->taken_from > 0 && (lane->taken_from != lane->row.session || lane->lost_since > 0))
    give_up_all(lane);
  lane->taken_from = 0;
}

static void begin_anew(struct lane *lane)
{
  lane->row.session = 0;
  lane->row.durable = lane->row.delivered = 0;
  lane->row.loaded = false;
  empty(lane);
}

static void move_to_another_host(void)
{
  struct tg_skip_list of = {.number = plan.number, .from = plan.from, .to = plan.to};
  struct tg_error error;
  TRACE("another host gets it%s", redis.published ? ", and knows that it has switched" : "");
  moves++;
  published_moves += redis.published;
  tg_skip_file_remove(state_dir, plan.number);
  if (redis.published)
    assert_true(tg_skip_text_keep(state_dir, &of, redis.text, &error));
  for (int m = lane_count - 1; m >= 0; m--) { /* what goes with the new ones is not secure any more */
    struct lane *lane = &lanes[m];
    bool is_old = tg_ref_side(lane->ref) == 0;
    if (is_old && !redis.published)
      give_up_between(lane);
    if (is_old == redis.published)
      begin_anew(lane);
    else
      go_on_from(m, chance(30));
    lane->is_no_more = is_old && redis.published;
  }
  told_uses = 0;
}

/* --- it is taken back ---------------------------------------------------------------------------------- */

/* And begins again. */
static void take_back(void)
{
  TRACE("it is taken back");
  undone++;
  tg_class_free(class);
  class = NULL;
  tg_skip_file_remove(state_dir, plan.number);
  for (int m = lane_count - 1; m >= 0; m--)
    if (tg_ref_side(lanes[m].ref) == 1) {
      begin_anew(&lanes[m]);
    } else {
      give_up_between(&lanes[m]);
      lanes[m].flushed_epoch = lanes[m].flushed_sequence = 0; /* the row alone says from where on */
    }
  told_uses = 0;
  start();
}
