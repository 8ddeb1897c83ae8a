#include "delivery/reshard/seats.h"

#include "base/log.h"
#include "delivery/delivery_internal.h"
#include "delivery/reshard/skip_text.h"

#include <stdlib.h>

enum { TEXT_TAKES = 1000 /* ms, at most, on its way to those who read rows */ };

/* Classes where several hosts share the shards. A class is on the host that has its shards, goes with them,
 * and others go by what they are told of it: so what it takes over by its switch is kept back until all know
 * of that. Killed in between it has not switched for the host that gets it, which loses nothing by that, and
 * gets nothing twice: the old shard's row stands at the switch (tg_class_bound()), and nothing that came
 * behind it was delivered (tg_lane_gate.ruled). */

bool tg_seats_hold(const struct tg_seated_class *seated)
{
  bool held = !seated->all->delivery->feeds.clustered;
  for (int m = 0; m < seated->members && !held; m++)
    held = atomic_load_explicit(&seated->feeds[m]->row->fence, memory_order_relaxed) != 0;
  return held;
}

static bool is_switched(const struct tg_seated_class *seated)
{
  return tg_class_ruling_side(seated->class) != seated->all->old_side;
}

void tg_seats_forget_switch(struct tg_seated_class *seated)
{
  const char *state_dir = seated->all->delivery->env.config->state_dir;
  tg_skip_file_remove(state_dir, tg_class_number(seated->class));
  tg_seats_renew(seated);
}

/* --- shards that come and go ---------------------------------------------------------------- */

void tg_delivery_shard_comes(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  if (!feed->seat)
    return;
  if (feed->seat->of->begun)
    tg_seat_begin(feed);
  else
    tg_seats_begin(feed->seat->of);
}

void tg_seat_left(struct tg_feed *feed)
{
  struct tg_seated_class *seated = feed->seat->of;
  tg_ms now = tg_env_now(&seated->all->delivery->env);
  if (!seated->begun)
    return;
  if (!tg_seats_hold(seated)) {
    tg_seats_forget_switch(seated);
  } else if (!tg_seat_rules(feed)) { /* it was closed elsewhere */
    tg_class_link(seated->class, feed->seat->member, TG_CLASS_DOWN, now);
    tg_class_lost(seated->class, feed->seat->member, now);
    tg_seats_apply_bounds(seated);
  }
}

bool tg_delivery_class_comes(struct tg_delivery *delivery, int number, const char *text,
                             struct tg_error *error)
{
  struct tg_seated_class *seated = tg_seats_find(delivery->seats, number);
  if (!seated)
    return tg_fail(error, "no_class", "class %d is none of worker %d", number, delivery->env.worker_id);
  for (int m = 0; m < seated->members; m++)
    if (seated->feeds[m]->session.epoch > 0)
      return tg_fail(error, "not_ready", "a shard of class %d runs here", number);
  const struct tg_skip_list of = {.number = number,
                                  .from = delivery->seats->from,
                                  .to = delivery->seats->to,
                                  .old_side = delivery->seats->old_side};
  if (!text[0])
    tg_skip_file_remove(delivery->env.config->state_dir, number);
  else if (!tg_skip_text_keep(delivery->env.config->state_dir, &of, text, error))
    return false;
  tg_seats_renew(seated);
  return true;
}

/* --- guilds ------------------------------------------------------------------------------------ */

static const struct tg_guild_cache *cache_of(const struct tg_seated_class *seated, uint64_t guild, bool old)
{
  const struct tg_seats *seats = seated->all;
  int total = old ? seats->from : seats->to, side = old ? seats->old_side : !seats->old_side;
  return &tg_guilds_of(seats->delivery, tg_ref_of((int)((guild >> 22) % (uint64_t)total), side))->cache;
}

void tg_seat_meets_guild(struct tg_feed *feed, const struct tg_event *event)
{
  struct tg_seated_class *seated = feed->seat->of;
  uint64_t guild;
  if (!feed->all->clustered || tg_ref_side(feed->ref) != seated->all->old_side || is_switched(seated) ||
      event->type == TG_EVENT_GUILD_DELETE || !tg_event_guild_id(event, &guild))
    return;
  if (tg_guild_cache_is_down(cache_of(seated, guild, false), guild) &&
      !tg_guild_cache_is_down(cache_of(seated, guild, true), guild))
    seated->met = guild;
}

uint64_t tg_seats_missing_guild(struct tg_seated_class *seated)
{
  if (seated->met && !tg_guild_cache_is_down(cache_of(seated, seated->met, false), seated->met))
    seated->met = 0;
  return seated->met;
}

/* --- what others know ------------------------------------------------------------------------- */

bool tg_seats_are_through(const struct tg_seated_class *seated)
{
  for (int m = 0; m < seated->members; m++)
    if (!tg_class_rules(seated->class, m) && tg_feed_owes(seated->feeds[m]))
      return false;
  return true;
}

char *tg_seats_text(struct tg_seated_class *seated)
{
  uint64_t uses = tg_class_uses(seated->class);
  if (!seated->all->delivery->feeds.clustered || !is_switched(seated) || uses == seated->told_uses)
    return NULL;
  seated->told_uses = uses;
  seated->told_uses_at = tg_env_now(&seated->all->delivery->env);
  return tg_skip_text(tg_class_skip_list(seated->class));
}

/* In the cluster the file goes before all that a row says later: whoever tells both has had it for long. */
void tg_seats_text_is_known(struct tg_seated_class *seated)
{
  tg_ms now = tg_env_now(&seated->all->delivery->env);
  if (seated->told_uses != UINT64_MAX && now - seated->told_uses_at >= TEXT_TAKES)
    tg_class_told(seated->class, seated->told_uses);
}

void tg_delivery_class_published(struct tg_delivery *delivery, int number)
{
  struct tg_seated_class *seated = tg_seats_find(delivery->seats, number);
  if (!seated || !tg_class_waits_for_word(seated->class))
    return;
  int side = !seated->all->old_side;
  tg_class_publish(seated->class);
  seated->gate.ruled[side] = true;
  tg_seats_apply_bounds(seated);
  for (int m = 0; m < seated->members; m++) {
    tg_feed_publish(seated->feeds[m]);
    tg_feed_touch(seated->feeds[m]);
  }
  tg_gate_open(&seated->gate, side);
  tg_seats_tell(seated, true);
}

/* The row says from where on the old shard is resumed. What the log has behind that is its session's own, and
 * no sign that the rest is there. */
static void go_back_to_row(struct tg_feed *feed)
{
  struct tg_session session;
  tg_feed_publish(feed);
  if (feed->session.epoch > 0 && tg_session_load(feed->row, &session))
    tg_feed_adopt(feed, session.epoch, session.sequence, false);
}

bool tg_delivery_switch_undone(struct tg_delivery *delivery, int number,
                               void (*again)(void *ctx, tg_shard_ref ref), void *ctx, struct tg_error *error)
{
  struct tg_seated_class *seated = tg_seats_find(delivery->seats, number);
  if (!seated || !is_switched(seated))
    return true;
  if (!tg_class_waits_for_word(seated->class))
    return tg_fail(error, "published", "all hosts know that class %d has switched", number);
  for (int m = 0; m < seated->members; m++)
    if (!tg_seat_rules(seated->feeds[m]))
      go_back_to_row(seated->feeds[m]);
  tg_skip_file_remove(delivery->env.config->state_dir, number);
  tg_seats_renew(seated);
  tg_seats_begin(seated);
  for (int m = 0; m < seated->members; m++)
    if (tg_seat_rules(seated->feeds[m]))
      again(ctx, seated->feeds[m]->ref);
  tg_seats_tell(seated, true);
  return true;
}
