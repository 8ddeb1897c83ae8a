#include "delivery/reshard/seats.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/delivery_internal.h"

#include <stdlib.h>

enum {
  LOOK = 250,          /* ms between two looks at connections and clocks */
  GUILDS_LOOK = 1000,  /* ... at guilds that one side alone has */
  FIGURES_TOLD = 1000, /* how often figures are told */
};

/* --- who sits where ------------------------------------------------------------ */

struct tg_seated_class *tg_seats_find(struct tg_seats *seats, int number)
{
  for (int i = 0; seats && i < seats->count; i++)
    if (tg_class_number(seats->at[i]->class) == number)
      return seats->at[i];
  return NULL;
}

bool tg_seat_rules(const struct tg_feed *feed)
{
  return tg_class_rules(feed->seat->of->class, feed->seat->member);
}

static tg_ms now_of(const struct tg_seated_class *seated)
{
  return tg_env_now(&seated->all->delivery->env);
}

/* --- sessions and connections ------------------------------------------------------ */

static enum tg_class_link link_of(const struct tg_feed *feed)
{
  switch ((enum tg_shard_state)atomic_load_explicit(&feed->row->state, memory_order_relaxed)) {
  case TG_SHARD_CONNECTED:
    return TG_CLASS_UP;
  case TG_SHARD_RESUMING:
    return TG_CLASS_REPLAYING;
  case TG_SHARD_IDENTIFYING:
    return TG_CLASS_ASKING;
  default:
    return TG_CLASS_DOWN;
  }
}

void tg_seat_session(struct tg_feed *feed, bool fresh, uint64_t through)
{
  struct tg_seated_class *seated = feed->seat->of;
  const struct tg_class_session session = {
      .epoch = feed->session.epoch,
      .through = through,
      .logged = fresh ? 0 : tg_feed_last_logged(feed, feed->session.epoch),
      .fresh = fresh,
  };
  tg_ms now = now_of(seated);
  tg_class_session(seated->class, feed->seat->member, &session, now);
  if (fresh)
    tg_class_link(seated->class, feed->seat->member, TG_CLASS_UP, now);
  tg_seats_apply_bounds(seated);
}

void tg_delivery_session_lost(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  if (!feed->seat)
    return;
  struct tg_seated_class *seated = feed->seat->of;
  tg_class_link(seated->class, feed->seat->member, TG_CLASS_DOWN, now_of(seated));
  tg_class_lost(seated->class, feed->seat->member, now_of(seated));
  tg_take_over_if_urged(seated);
  tg_seats_apply_bounds(seated);
  tg_seats_tell(seated, true);
}

bool tg_seat_skipped(struct tg_feed *feed)
{
  struct tg_seated_class *seated = feed->seat->of;
  tg_class_skipped(seated->class, feed->seat->member, now_of(seated));
  tg_take_over_if_urged(seated);
  return !tg_seat_rules(feed);
}

void tg_seat_loaded(struct tg_feed *feed)
{
  struct tg_seated_class *seated = feed->seat->of;
  tg_class_loaded(seated->class, feed->seat->member, now_of(seated));
}

uint64_t tg_delivery_last_epoch(struct tg_delivery *delivery, tg_shard_ref ref)
{
  const struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  return feed->seat ? tg_class_next_epoch(feed->seat->of->class) - 1 : 0;
}

/* --- events -------------------------------------------------------------------------- */

/* Whether the guild is in outage for the other side: then what is loading for this one is its return. */
static bool is_down_elsewhere(struct tg_delivery *delivery, const struct tg_feed *feed, uint64_t guild)
{
  const struct tg_seats *seats = delivery->seats;
  int side = !tg_ref_side(feed->ref), total = side == seats->old_side ? seats->from : seats->to;
  tg_shard_ref ref = tg_ref_of((int)((guild >> 22) % (uint64_t)total), side);
  if (tg_class_member_of(feed->seat->of->class, ref) < 0)
    return false;
  return tg_guild_cache_is_down(&tg_guilds_of(delivery, ref)->cache, guild);
}

/* Keeps the guild cache up, which the usual path does not see before the event is released. */
static enum tg_guild_change note_guild(struct tg_delivery *delivery, struct tg_feed *feed,
                                       struct tg_event *event)
{
  static const enum tg_guild_change changes[] = {[TG_GUILD_NONE] = TG_GUILD_CHANGE_NONE,
                                                 [TG_GUILD_LOADING] = TG_GUILD_CHANGE_LOADING,
                                                 [TG_GUILD_JOINED] = TG_GUILD_CHANGE_JOINED,
                                                 [TG_GUILD_AVAILABLE] = TG_GUILD_CHANGE_AVAILABLE};
  uint64_t guild;
  if (event->type == TG_EVENT_GUILD_CREATE) {
    tg_guilds_note_create(tg_guilds_of(delivery, feed->ref), event);
    if (event->guild_create == TG_GUILD_LOADING && tg_event_guild_id(event, &guild) &&
        is_down_elsewhere(delivery, feed, guild))
      event->guild_create = TG_GUILD_AVAILABLE;
    return changes[event->guild_create];
  }
  if (event->type != TG_EVENT_GUILD_DELETE)
    return TG_GUILD_CHANGE_NONE;
  return tg_guilds_note_delete(tg_guilds_of(delivery, feed->ref), event) ? TG_GUILD_CHANGE_LEFT
                                                                         : TG_GUILD_CHANGE_OUTAGE;
}

bool tg_seat_takes(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_event *event)
{
  struct tg_seated_class *seated = feed->seat->of;
  int m = feed->seat->member;
  enum tg_guild_change change = note_guild(delivery, feed, event);
  tg_seat_voice(seated, feed, event);
  tg_seat_meets_guild(feed, event);
  if (event->replayed)
    tg_class_link(seated->class, m, TG_CLASS_REPLAYING, now_of(seated));
  switch (tg_class_show(seated->class, m, event, change, now_of(seated))) {
  case TG_CLASS_PASS:
    return false;
  case TG_CLASS_SKIP:
    if (event->type == TG_EVENT_READY) /* the usual path does not see it */
      tg_guilds_on_ready(tg_guilds_of(delivery, feed->ref), event);
    break;
  case TG_CLASS_HOLD:
    tg_take_over_if_urged(seated);
    break;
  }
  tg_seats_apply_bounds(seated);
  return true;
}

/* --- what is durable --------------------------------------------------------------------- */

void tg_seats_apply_bounds(struct tg_seated_class *seated)
{
  for (int m = 0; m < seated->members; m++) {
    uint64_t through;
    bool bound = tg_class_bound(seated->class, m, &through);
    if (bound || seated->feeds[m]->session.held_from != 0)
      tg_feed_hold_from(seated->feeds[m], bound ? through + 1 : 0);
  }
}

void tg_seat_settled(struct tg_feed *feed)
{
  struct tg_class_seat *seat = feed->seat;
  uint64_t through = tg_feed_durable_alone(feed);
  if (feed->session.epoch == 0 || (through == seat->settled && seat->settled_epoch == feed->session.epoch))
    return;
  seat->settled = through;
  seat->settled_epoch = feed->session.epoch;
  tg_class_settled(seat->of->class, seat->member, feed->session.epoch, through);
  tg_seats_apply_bounds(seat->of);
}

/* --- what the owner hears ------------------------------------------------------------------ */

static void add_types(const struct tg_seated_class *seated, json_t *figures)
{
  json_t *unmatched = json_object(), *cut = json_array();
  for (uint16_t type = 0; type < tg_event_type_count(); type++) {
    uint64_t count = tg_class_unmatched(seated->class, type);
    if (count > 0)
      json_object_set_new(unmatched, tg_event_type_name(type), json_integer((json_int_t)count));
    if (tg_class_is_cut(seated->class, type))
      json_array_append_new(cut, json_string(tg_event_type_name(type)));
  }
  json_object_set_new(figures, "unmatched", unmatched);
  json_object_set_new(figures, "cut", cut);
}

static uint64_t count_guilds(const struct tg_seated_class *seated)
{
  uint64_t guilds = 0;
  for (int m = 0; m < seated->members; m++)
    if (tg_class_rules(seated->class, m))
      guilds += atomic_load_explicit(&seated->feeds[m]->row->guilds, memory_order_relaxed);
  return guilds;
}

static int count_loading(const struct tg_seated_class *seated)
{
  int loading = 0;
  for (int m = 0; m < seated->members; m++)
    loading += tg_guilds_of(seated->all->delivery, seated->feeds[m]->ref)->loading;
  return loading;
}

static json_t *guild_ids(const struct tg_seated_class *seated)
{
  json_t *guilds = json_array();
  for (int m = 0; m < seated->members; m++) {
    uint64_t id;
    if (!tg_class_rules(seated->class, m))
      continue;
    const struct tg_guild_cache *cache = &tg_guilds_of(seated->all->delivery, seated->feeds[m]->ref)->cache;
    for (uint32_t at = 0; tg_guild_cache_next(cache, &at, &id);)
      json_array_append_new(guilds, json_sprintf("%llu", (unsigned long long)id));
  }
  return guilds;
}

static bool is_through(const struct tg_seated_class *seated)
{
  bool shared =
      seated->all->delivery->feeds.clustered && tg_class_ruling_side(seated->class) != seated->all->old_side;
  return shared ? tg_seats_are_through(seated) : tg_class_is_through(seated->class);
}

static json_t *describe(const struct tg_seated_class *seated, enum tg_class_state state,
                        const struct tg_class_figures *figures)
{
  char waits_for[160];
  json_t *json = json_pack("{s:I, s:I, s:I}", "held", (json_int_t)figures->held, "held_bytes",
                           (json_int_t)figures->held_bytes, "guilds", (json_int_t)count_guilds(seated));
  if (tg_class_waits_for(seated->class, waits_for, sizeof waits_for))
    json_object_set_new(json, "waits_for", json_string(waits_for));
  json_object_set_new(json, "loading", json_integer(count_loading(seated)));
  json_object_set_new(json, "through", json_boolean(is_through(seated)));
  if (state >= TG_CLASS_SWITCHED &&
      (seated->told_state < TG_CLASS_SWITCHED || seated->told_state == TG_CLASS_STATES))
    json_object_set_new(json, "guild_ids", guild_ids(seated));
  if (figures->lost >= 0)
    json_object_set_new(json, "lost", json_integer(figures->lost));
  add_types(seated, json);
  return json;
}

void tg_seats_tell(struct tg_seated_class *seated, bool at_once)
{
  const struct tg_delivery *delivery = seated->all->delivery;
  enum tg_class_state state = tg_class_state(seated->class);
  struct tg_class_figures figures;
  tg_ms now = now_of(seated);
  if (!tg_seats_hold(seated))
    return;
  bool changed = state != seated->told_state;
  if (!changed && !at_once && now - seated->told_at < FIGURES_TOLD)
    return;
  tg_class_figures(seated->class, &figures);
  uint64_t sum = figures.held * 31 + figures.held_bytes + figures.unmatched * 1009 +
                 (uint64_t)(figures.lost + 1) + is_through(seated) * 7919 +
                 (seated->told_uses != tg_class_uses(seated->class)) * 104729;
  if (!changed && !at_once && sum == seated->told_figures)
    return;
  json_t *json = describe(seated, state, &figures);
  char *file = tg_seats_text(seated);
  seated->told_at = now;
  seated->told_state = state;
  seated->told_figures = sum;
  if (delivery->class_told)
    delivery->class_told(delivery->ctx, tg_class_number(seated->class), tg_class_state_name(state), json,
                         file ? file : "");
  json_decref(json);
  free(file);
}

/* --- the clock ------------------------------------------------------------------------------- */

/* Guilds that one side has, and that are away for the other: if the new one lacks them the bot would, too; if
 * the old one does, it has told the bot so, and tells it when they are back. */
static void look_for_missing(struct tg_seated_class *seated)
{
  struct tg_delivery *delivery = seated->all->delivery;
  uint32_t missing = 0;
  uint64_t id, example = 0;
  for (int m = 0; m < seated->members; m++) {
    const struct tg_feed *feed = seated->feeds[m];
    if (tg_ref_side(feed->ref) == seated->all->old_side)
      continue;
    const struct tg_guild_cache *cache = &tg_guilds_of(delivery, feed->ref)->cache;
    for (uint32_t at = 0; tg_guild_cache_next(cache, &at, &id);) {
      tg_shard_ref ref = tg_ref_of((int)((id >> 22) % (uint64_t)seated->all->from), seated->all->old_side);
      const struct tg_guild_cache *old = &tg_guilds_of(delivery, ref)->cache;
      if (tg_guild_cache_is_up(cache, id) ? !tg_guild_cache_is_down(old, id) : !tg_guild_cache_is_up(old, id))
        continue;
      missing++;
      example = id;
    }
  }
  if (missing == 0 && (example = tg_seats_missing_guild(seated)) != 0)
    missing = 1;
  tg_class_missing(seated->class, missing, example, now_of(seated));
}

static bool is_empty(const struct tg_seated_class *seated)
{
  for (int m = 0; m < seated->members; m++)
    if (!tg_class_rules(seated->class, m) && tg_feed_waits(seated->feeds[m]))
      return false;
  return true;
}

static void look(struct tg_seated_class *seated)
{
  tg_ms now = now_of(seated);
  if (!seated->begun || !tg_seats_hold(seated))
    return;
  for (int m = 0; m < seated->members; m++)
    tg_class_link(seated->class, m, link_of(seated->feeds[m]), now);
  enum tg_class_state state = tg_class_state(seated->class);
  if (state >= TG_CLASS_LOADING && state <= TG_CLASS_READY && now - seated->looked_at >= GUILDS_LOOK) {
    seated->looked_at = now;
    look_for_missing(seated);
  }
  if (state == TG_CLASS_SWITCHED && is_empty(seated))
    tg_class_emptied(seated->class, now);
  tg_seats_text_is_known(seated);
  tg_class_tick(seated->class, now);
  tg_voices_keep(seated->voices);
  tg_take_over_if_urged(seated);
  tg_seats_apply_bounds(seated);
  tg_seats_tell(seated, false);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_seats *seats = timer->data;
  for (int i = 0; i < seats->count; i++)
    look(seats->at[i]);
}

/* --- made and ended ----------------------------------------------------------------------------- */

static uint64_t random_seed(void)
{
  return tg_random(UINT64_MAX);
}

/* A number of epochs may have been raised when the last process died. */
static void know_epoch(struct tg_seated_class *seated, int m)
{
  struct tg_shard_row *row = seated->feeds[m]->row;
  struct tg_session session;
  tg_session_load(row, &session);
  tg_class_know(seated->class, m, session.epoch);
  uint64_t epoch = tg_class_epoch(seated->class, m);
  if (epoch > session.epoch)
    tg_session_raise(row, epoch);
}

/* What runs already, or is to be resumed, with all that is known of it. */
static void take_session(struct tg_seated_class *seated, int m)
{
  struct tg_feed *feed = seated->feeds[m];
  struct tg_delivery *delivery = seated->all->delivery;
  struct tg_session session;
  bool resumable = tg_session_load(feed->row, &session);
  if (!resumable || (delivery->feeds.clustered && atomic_load(&feed->row->fence) == 0))
    return;
  if (feed->session.epoch == 0)
    tg_delivery_adopt(delivery, feed, session.epoch, session.sequence);
  tg_seat_session(feed, false, feed->session.received);
  if (!tg_guilds_of(delivery, feed->ref)->loading)
    tg_seat_loaded(feed);
}

static void seat_members(struct tg_seated_class *seated)
{
  struct tg_feeds *feeds = &seated->all->delivery->feeds;
  for (int m = 0; m < seated->members; m++) {
    struct tg_feed *feed = tg_feed_of(feeds, tg_class_ref(seated->class, m));
    int side = tg_ref_side(feed->ref);
    seated->feeds[m] = feed;
    seated->seats[m] = (struct tg_class_seat){.of = seated, .member = m};
    if (seated->gate.counts[side]++ == 0)
      seated->gate.feeds[side] = &seated->feeds[m];
    seated->gate.ruled[side] = tg_class_has_ruled(seated->class, m);
    feed->gate = &seated->gate;
    feed->seat = &seated->seats[m];
  }
}

/* By the skip file, if there is one. NULL: there is no such class. */
static struct tg_class *make_class(struct tg_seats *seats, int number)
{
  struct tg_delivery *delivery = seats->delivery;
  const struct tg_config *config = delivery->env.config;
  struct tg_class_options options = {
      .number = number,
      .from = seats->from,
      .to = seats->to,
      .old_side = seats->old_side,
      .seed = random_seed(),
      .held_bytes = &seats->held_bytes,
      .grace = config->interaction.grace,
      .clustered = delivery->feeds.clustered,
      .skip = tg_skip_file_open(config->state_dir, number, seats->from, seats->to, seats->old_side),
  };
  return tg_class_new(&options);
}

static struct tg_seated_class *new_class(struct tg_seats *seats, int number)
{
  struct tg_class *class = make_class(seats, number);
  if (!class)
    return NULL;
  struct tg_seated_class *seated = tg_calloc(1, sizeof *seated);
  seated->all = seats;
  seated->class = class;
  seated->voices = tg_voices_open(seats->delivery->env.config->state_dir, number);
  seated->told_state = TG_CLASS_STATES;
  seated->told_uses = UINT64_MAX;
  seated->members = tg_class_members(class);
  seated->feeds = tg_calloc((size_t)seated->members, sizeof(struct tg_feed *));
  seated->seats = tg_calloc((size_t)seated->members, sizeof *seated->seats);
  seat_members(seated);
  return seated;
}

void tg_seats_renew(struct tg_seated_class *seated)
{
  int number = tg_class_number(seated->class);
  tg_class_free(seated->class);
  seated->class = make_class(seated->all, number);
  seated->told_state = TG_CLASS_STATES;
  seated->told_uses = UINT64_MAX;
  seated->begun = false;
  seated->met = 0;
  for (int m = 0; m < seated->members; m++) {
    struct tg_feed *feed = seated->feeds[m];
    seated->seats[m] = (struct tg_class_seat){.of = seated, .member = m};
    seated->gate.ruled[tg_ref_side(feed->ref)] = tg_class_has_ruled(seated->class, m);
    tg_feed_hold_from(feed, 0);
  }
}

void tg_seat_begin(struct tg_feed *feed)
{
  know_epoch(feed->seat->of, feed->seat->member);
  take_session(feed->seat->of, feed->seat->member);
  tg_seats_apply_bounds(feed->seat->of);
}

void tg_seats_begin(struct tg_seated_class *seated)
{
  if (seated->begun)
    return;
  seated->begun = true;
  for (int m = 0; m < seated->members; m++)
    know_epoch(seated, m);
  for (int m = 0; m < seated->members; m++)
    take_session(seated, m);
  tg_seats_apply_bounds(seated);
  tg_gate_open(&seated->gate, 0);
  tg_gate_open(&seated->gate, 1);
}

void tg_delivery_take_seats(struct tg_delivery *delivery, const struct tg_delivery_classes *classes)
{
  struct tg_seats *seats = tg_calloc(1, sizeof *seats);
  seats->delivery = delivery;
  seats->from = classes->from;
  seats->to = classes->to;
  seats->old_side = classes->old_side;
  seats->at = tg_calloc((size_t)classes->count + 1, sizeof *seats->at);
  delivery->seats = seats;
  delivery->feeds.settled = tg_seat_settled;
  for (int i = 0; i < classes->count; i++) {
    struct tg_seated_class *seated = new_class(seats, classes->numbers[i]);
    if (seated)
      seats->at[seats->count++] = seated;
  }
  for (int i = 0; i < seats->count; i++)
    if (tg_seats_hold(seats->at[i]))
      tg_seats_begin(seats->at[i]);
    else
      tg_seats_forget_switch(seats->at[i]); /* what it was here is over */
  tg_feeds_unshut(&delivery->feeds);
  tg_handles_timer(&delivery->env.handles, &seats->timer, seats);
  uint64_t pace = (uint64_t)tg_patience(LOOK);
  uv_timer_start(&seats->timer, on_timer, pace, pace);
  uv_unref((uv_handle_t *)&seats->timer);
}

static void free_class(struct tg_seated_class *seated)
{
  for (int m = 0; m < seated->members; m++) {
    struct tg_feed *feed = seated->feeds[m];
    feed->gate = NULL;
    feed->seat = NULL;
    feed->session.held_from = 0;
  }
  tg_class_free(seated->class);
  tg_voices_close(seated->voices);
  free(seated->feeds);
  free(seated->seats);
  free(seated);
}

static void end_classes(struct tg_seats *seats)
{
  for (int i = 0; i < seats->count; i++)
    free_class(seats->at[i]);
  seats->count = 0;
}

static void on_closed(uv_handle_t *timer)
{
  struct tg_seats *seats = timer->data;
  struct tg_handles *handles = &seats->delivery->env.handles;
  free(seats->at);
  free(seats);
  tg_handles_closed(handles);
}

void tg_seats_remove_files(struct tg_delivery *delivery)
{
  const char *state_dir = delivery->env.config->state_dir;
  for (int i = 0; delivery->seats && i < delivery->seats->count; i++) {
    tg_skip_file_remove(state_dir, tg_class_number(delivery->seats->at[i]->class));
    tg_voices_remove(state_dir, tg_class_number(delivery->seats->at[i]->class));
  }
}

void tg_seats_end(struct tg_delivery *delivery)
{
  struct tg_seats *seats = delivery->seats;
  if (!seats)
    return;
  end_classes(seats);
  delivery->seats = NULL;
  uv_close((uv_handle_t *)&seats->timer, on_closed);
}
