#include "delivery/reshard/seats.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/delivery_internal.h"
#include "shard/shard.h"

#include <stdlib.h>

/* The switch of a class. It is decided by its skip file, which takes the place of the one before by a rename:
 *
 *     killed before    the side that ruled goes on, as if nothing had been
 *     killed after     the other side rules, and RESUMEs from before what it held; the file says which of
 * what comes again is delivered
 *
 * What is in the log by then is whole, since it is flushed first. */

/* All that was delivered by the side that rules is safe; without a log as far as the bot has it. */
static bool settle(struct tg_seated_class *seated, struct tg_error *error)
{
  if (!tg_feeds_flush(&seated->all->delivery->feeds))
    return tg_fail(error, "disk", "the event log cannot be written: class %d stays as it is",
                   tg_class_number(seated->class));
  for (int m = 0; m < seated->members; m++) {
    struct tg_feed *feed = seated->feeds[m];
    tg_feed_flushed(feed); /* the class and the row hear of it */
    if (feed->session.epoch > 0)
      tg_class_settled(seated->class, m, feed->session.epoch, tg_feed_durable_alone(feed));
  }
  tg_seats_apply_bounds(seated);
  return true;
}

static struct tg_skip_file *decide(const struct tg_seated_class *seated, struct tg_error *error)
{
  struct tg_skip_list list = {0};
  tg_class_list(seated->class, &list);
  struct tg_skip_file *file = tg_skip_file_make(seated->all->delivery->env.config->state_dir, &list, error);
  tg_skip_list_free(&list);
  return file;
}

/* What the bot has kept of a shard is the highest (epoch, s): those that take over come behind it. */
static void raise_epoch(const struct tg_seated_class *seated, int m, uint64_t epoch)
{
  struct tg_delivery *delivery = seated->all->delivery;
  struct tg_feed *feed = seated->feeds[m];
  struct tg_shard *shard = delivery->find_shard ? delivery->find_shard(delivery->ctx, feed->ref) : NULL;
  if (epoch <= feed->session.epoch)
    return;
  if (shard)
    tg_shard_raise_epoch(shard, epoch);
  else
    tg_session_raise(feed->row, epoch);
  tg_feed_raise_epoch(feed, epoch);
  tg_guild_cache_rename(&tg_guilds_of(delivery, feed->ref)->cache, epoch);
}

static void on_release(void *ctx, int m, const struct tg_class_held *held)
{
  static const enum tg_guild_create kinds[] = {[TG_GUILD_CHANGE_LOADING] = TG_GUILD_LOADING,
                                               [TG_GUILD_CHANGE_JOINED] = TG_GUILD_JOINED,
                                               [TG_GUILD_CHANGE_AVAILABLE] = TG_GUILD_AVAILABLE,
                                               [TG_GUILD_CHANGE_LEFT] = TG_GUILD_NONE};
  const struct tg_seated_class *seated = ctx;
  struct tg_delivery *delivery = seated->all->delivery;
  struct tg_feed *feed = seated->feeds[m];
  struct tg_shard *shard = delivery->find_shard ? delivery->find_shard(delivery->ctx, feed->ref) : NULL;
  held->event->noted = true;
  held->event->came_at = held->came_at;
  held->event->guild_create = kinds[held->change];
  tg_delivery_pass_on(delivery, feed, shard, held->event);
}

/* --- markers ----------------------------------------------------------------------------- */

/* The guilds of one feed that are another one's from now on. */
static void tell_between(const struct tg_seated_class *seated, struct tg_feed *before, struct tg_feed *after)
{
  const struct tg_guild_cache *cache = &tg_guilds_of(seated->all->delivery, before->ref)->cache;
  uint64_t *guilds = tg_calloc((size_t)cache->count + 1, sizeof *guilds), id;
  struct tg_handover handover = {
      before->shard_id, before->total_shards, after->shard_id, after->total_shards, guilds, 0};
  for (uint32_t at = 0; tg_guild_cache_next(cache, &at, &id) && handover.count < cache->count;)
    if ((int)((id >> 22) % (uint64_t)after->total_shards) == after->shard_id)
      guilds[handover.count++] = id;
  uint64_t held = after->session.held_from;
  if (handover.count > 0) {
    tg_feed_tell_handover(before, before->session.received, &handover);
    tg_feed_tell_handover(after, held > 0 ? held - 1 : after->session.received, &handover);
  }
  free(guilds);
}

/* In the feed that had them behind its last event, in the one that has them in front of its first. */
static void tell_handover(const struct tg_seated_class *seated, int side)
{
  if (!seated->all->delivery->env.config->event_handler.markers)
    return;
  for (int o = 0; o < seated->members; o++)
    for (int n = 0; n < seated->members; n++)
      if (tg_ref_side(seated->feeds[o]->ref) != side && tg_ref_side(seated->feeds[n]->ref) == side)
        tell_between(seated, seated->feeds[o], seated->feeds[n]);
}

/* --- the switch ---------------------------------------------------------------------------- */

static void go_over(struct tg_seated_class *seated, struct tg_skip_file *file)
{
  struct tg_delivery *delivery = seated->all->delivery;
  int side = !tg_class_ruling_side(seated->class);
  seated->gate.ruled[side] = !delivery->feeds.clustered;
  tell_handover(seated, side);
  tg_class_switch(seated->class, file, tg_env_now(&delivery->env), on_release, seated);
  for (int m = 0; m < seated->members; m++)
    if (tg_ref_side(seated->feeds[m]->ref) == side)
      tg_guild_cache_all_known(&tg_guilds_of(delivery, seated->feeds[m]->ref)->cache);
  tg_feeds_write(&seated->all->delivery->feeds);
  tg_seats_apply_bounds(seated);
  for (int m = 0; m < seated->members; m++) {
    tg_feed_publish(seated->feeds[m]);
    tg_feed_touch(seated->feeds[m]);
  }
  tg_gate_open(&seated->gate, side);
}

bool tg_take_over(struct tg_seated_class *seated, struct tg_error *error)
{
  struct tg_skip_file *file;
  if (seated->all->taking_over)
    return tg_fail(error, "not_ready", "another class is being switched");
  seated->all->taking_over = true; /* what is held back goes out as long as they are asked who have it */
  tg_last_release(&seated->all->delivery->storms.last, TG_ALL_SHARDS);
  seated->all->taking_over = false;
  if (!settle(seated, error) || !(file = decide(seated, error)))
    return false;
  seated->all->taking_over = true;
  int side = !tg_class_ruling_side(seated->class);
  for (int m = 0; m < seated->members; m++)
    if (tg_ref_side(seated->feeds[m]->ref) == side)
      raise_epoch(seated, m, tg_skip_file_list(file)->members[m].epoch);
  go_over(seated, file);
  seated->all->taking_over = false;
  tg_seats_tell(seated, true);
  return true;
}

void tg_take_over_if_urged(struct tg_seated_class *seated)
{
  struct tg_error error = {0};
  enum tg_class_urge urge = tg_class_urges(seated->class);
  bool back = tg_class_ruling_side(seated->class) != seated->all->old_side;
  if (urge == TG_CLASS_CALM || seated->all->taking_over)
    return;
  if (back && seated->all->delivery->feeds.clustered)
    return; /* other hosts know that it has switched, or may do so by now */
  bool done = tg_take_over(seated, &error);
  tg_log_with(done ? TG_INFO : TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT_IF(!done, REASON, error.message)),
              "class %d of the guilds %s to the %s shards at once: %s", tg_class_number(seated->class),
              done ? "goes over" : "could not go over", back ? "old" : "new", tg_class_urge_text(urge));
}

bool tg_delivery_switch(struct tg_delivery *delivery, int number, bool back, struct tg_error *error)
{
  struct tg_seated_class *seated = tg_seats_find(delivery->seats, number);
  if (!seated)
    return tg_fail(error, "no_class", "class %d does not run in worker %d", number, delivery->env.worker_id);
  if ((tg_class_ruling_side(seated->class) == delivery->seats->old_side) == back)
    return true; /* by itself, a moment ago */
  if (!tg_class_may_switch(seated->class, back))
    return tg_fail(error, "not_ready", "class %d is not ready to be switched", number);
  return tg_take_over(seated, error);
}

bool tg_delivery_each_silent(struct tg_delivery *delivery, int number,
                             void (*each)(void *ctx, tg_shard_ref ref), void *ctx)
{
  struct tg_seated_class *seated = tg_seats_find(delivery->seats, number);
  for (int m = 0; seated && m < seated->members; m++)
    if (!tg_class_rules(seated->class, m))
      each(ctx, seated->feeds[m]->ref);
  return seated != NULL;
}

void tg_delivery_class_closed(struct tg_delivery *delivery, int number)
{
  struct tg_seated_class *seated = tg_seats_find(delivery->seats, number);
  if (!seated)
    return;
  tg_class_closed(seated->class, tg_env_now(&delivery->env));
  tg_seats_tell(seated, true);
}
