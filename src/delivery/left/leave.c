#include "base/buf.h"
#include "base/log.h"
#include "delivery/left/left.h"
#include "delivery/reshard/seats.h"

#include <stdlib.h>

enum { SLICE = 4 << 20 /* bytes that move in one turn of the loop */ };

/* A shard whose events go to what is left of it. */
struct tg_leaving {
  LIST_ENTRY(tg_leaving) link;
  struct tg_feed *feed;
  int sink; /* that is at it; those before are done */
  bool named;
  struct tg_left_names names; /* of that sink */
  struct tg_left_waiter *waiters;
};

/* --- whoever waits --------------------------------------------------------------------------- */

void tg_left_wait(struct tg_left_waiter **waiters, tg_left_done *done, void *ctx)
{
  while (*waiters)
    waiters = &(*waiters)->next;
  *waiters = tg_alloc(sizeof **waiters);
  **waiters = (struct tg_left_waiter){NULL, done, ctx};
}

void tg_left_tell(struct tg_left_waiter **waiters, const struct tg_error *error)
{
  struct tg_left_waiter *first = *waiters, *next;
  *waiters = NULL;
  for (; first; first = next) {
    next = first->next;
    first->done(first->ctx, error);
    free(first);
  }
}

/* --- its time ---------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  if (tg_leavings_tend(delivery))
    tg_left_wake(delivery);
  tg_fillings_tend(delivery);
}

void tg_left_wake(struct tg_delivery *delivery)
{
  uv_timer_start(&delivery->left_timer, on_timer, 0, 0);
}

/* --- leaving ------------------------------------------------------------------------------------ */

static struct tg_leaving *find(const struct tg_delivery *delivery, const struct tg_feed *feed)
{
  struct tg_leaving *leaving;
  LIST_FOREACH(leaving, &delivery->leavings, link)
  {
    if (leaving->feed == feed)
      return leaving;
  }
  return NULL;
}

static void end(struct tg_delivery *delivery, struct tg_leaving *leaving, const struct tg_error *error)
{
  struct tg_feed *feed = leaving->feed;
  struct tg_left_waiter *waiters = leaving->waiters;
  LIST_REMOVE(leaving, link);
  tg_left_names_free(&leaving->names);
  free(leaving);
  if (!error)
    feed->leaving = feed->let_go = false;
  else
    tg_fillings_fail(delivery, feed->ref, error);
  tg_left_wake(delivery);
  tg_left_tell(&waiters, error);
}

/* The shard is as if this host had never had it. */
static bool begin(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_error *error)
{
  feed->leaving = feed->let_go = true;
  for (int i = 0; i < delivery->feeds.places; i++)
    if (feed->lanes[i] && !tg_left_empty(feed->lanes[i], error))
      return false;
  feed->tenure++;
  tg_feed_set_session(feed, 0, 0);
  tg_guilds_forget(delivery, feed->ref);
  tg_feed_publish(feed);
  if (feed->seat)
    tg_seat_left(feed);
  return true;
}

/* False: there is nothing (any more) to do for it, and it is gone. */
static bool go_on(struct tg_delivery *delivery, struct tg_leaving *leaving, uint64_t *budget)
{
  struct tg_error error = {0};
  for (; leaving->sink < delivery->feeds.places; leaving->sink++) {
    struct tg_lane *lane = leaving->feed->lanes[leaving->sink];
    bool more;
    if (!lane || !lane->lanes->logs.own)
      continue;
    if (!leaving->named)
      tg_left_names_read(&leaving->names, lane);
    leaving->named = true;
    if (!tg_left_move(lane, &leaving->names, budget, &more, &error)) {
      end(delivery, leaving, &error);
      return false;
    }
    if (more)
      return true;
    tg_left_names_free(&leaving->names);
    leaving->named = false;
  }
  end(delivery, leaving, NULL);
  return false;
}

bool tg_leavings_tend(struct tg_delivery *delivery)
{
  uint64_t budget = SLICE;
  struct tg_leaving *leaving;
  while (budget > 0 && (leaving = LIST_FIRST(&delivery->leavings)) != NULL)
    go_on(delivery, leaving, &budget);
  return !LIST_EMPTY(&delivery->leavings);
}

void tg_delivery_leave(struct tg_delivery *delivery, tg_shard_ref ref, tg_left_done *done, void *ctx)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  struct tg_leaving *leaving = find(delivery, feed);
  struct tg_error error = {0};
  bool is_new = !leaving;
  if (is_new) {
    leaving = tg_calloc(1, sizeof *leaving);
    leaving->feed = feed;
    LIST_INSERT_HEAD(&delivery->leavings, leaving, link);
  }
  if (done)
    tg_left_wait(&leaving->waiters, done, ctx);
  tg_last_release(&delivery->storms.last, ref);
  if (is_new && !begin(delivery, feed, &error))
    end(delivery, leaving, &error);
  else
    tg_left_wake(delivery);
}

bool tg_delivery_is_leaving(struct tg_delivery *delivery, tg_shard_ref ref)
{
  return tg_feed_of(&delivery->feeds, ref)->leaving;
}

static bool is_in_logs(const struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++) {
    const struct tg_lane *lane = feed->lanes[i];
    for (struct tg_log_source *source = lane ? lane->lanes->logs.sources : NULL; source;
         source = source->next)
      if (tg_event_log_next(source->log, feed->ref, 0, NULL) != 0)
        return true;
  }
  return false;
}

/* Also one of a set that is not there: while this host was not, the bot may have gone over to another. Before
 * it is known which sets there are (tg_feeds.shut) that set may be yet to come. */
static bool is_lost(const struct tg_feed *feed)
{
  const struct tg_shard_row *row = feed->left ? NULL : tg_feeds_row(feed->all, feed->ref);
  bool is_not_here = row ? atomic_load(&row->fence) == 0 : feed->stray && !feed->all->shut;
  return is_not_here && is_in_logs(feed);
}

bool tg_left_is_due(struct tg_delivery *delivery, tg_shard_ref ref)
{
  const struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  return feed->leaving || is_lost(feed);
}

void tg_delivery_leave_lost(struct tg_delivery *delivery)
{
  for (int i = 0; i < delivery->feeds.count; i++) {
    const struct tg_feed *feed = delivery->feeds.at[i];
    if (feed && is_lost(feed))
      tg_delivery_leave(delivery, feed->ref, NULL, NULL);
  }
}

/* --- the whole ------------------------------------------------------------------------------------ */

static void left_moved(struct tg_feed *feed)
{
  struct tg_delivery *delivery =
      (struct tg_delivery *)((char *)feed->all - offsetof(struct tg_delivery, feeds));
  if (feed->hole && !delivery->env.stopping)
    tg_left_wake(delivery);
}

void tg_left_begin(struct tg_delivery *delivery)
{
  LIST_INIT(&delivery->leavings);
  LIST_INIT(&delivery->lefts);
  delivery->feeds.left_moved = left_moved;
  tg_handles_timer(&delivery->env.handles, &delivery->left_timer, delivery);
}

void tg_left_end(struct tg_delivery *delivery)
{
  struct tg_error error;
  tg_fail(&error, "closed", "this worker ends");
  while (!LIST_EMPTY(&delivery->leavings))
    end(delivery, LIST_FIRST(&delivery->leavings), &error);
  tg_fillings_end(delivery);
  tg_handles_close(&delivery->env.handles, &delivery->left_timer);
}
