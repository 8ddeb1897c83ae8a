#include "delivery/lanes/batch.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/lane_parcel.h"

#include "base/buf.h"

/* A lane with order = "guild": each of its lines (lanes/lines.h) has a parcel of its own, and up to in_flight
 * of them are at the sender. The lane itself is idle meanwhile, but for what goes alone: that goes in its own
 * parcel, and while it is under way no line begins. Where the order is "shard" again, or a script's
 * handle_queue is to have the queue, what is under way ends first. */

static void on_timer(uv_timer_t *timer);

static struct tg_lines *open_lines(struct tg_lane *lane)
{
  if (!lane->lines) {
    lane->lines = tg_alloc(sizeof *lane->lines);
    tg_lines_init(lane->lines, lane, &lane->queue);
    tg_handles_timer(&lane->lanes->env->handles, &lane->lines->timer, lane);
  }
  /* They were sent beside others, of other guilds. */
  for (struct tg_queued *event = lane->queue.head; event && event->trying; event = event->next)
    event->trying = false;
  return lane->queue.lines = lane->lines;
}

static void close_lines(struct tg_lane *lane)
{
  if (!lane->queue.lines)
    return;
  uv_timer_stop(&lane->lines->timer);
  tg_lines_clear(lane->lines);
  lane->queue.lines = NULL;
  for (struct tg_queued *event = lane->queue.head; event; event = event->next)
    event->trying = false; /* they stand apart */
}

/* --- their turns ---------------------------------------------------------------------- */

static void take_turns(struct tg_lane *lane)
{
  const struct tg_handler_config *handler = lane->lanes->handler;
  struct tg_lines *lines = lane->queue.lines;
  struct tg_guild_line *line;
  tg_lines_look_at_held(lines);
  while (lines->in[TG_LINE_TURN] + lines->in[TG_LINE_SENDING] < (uint32_t)handler->in_flight &&
         (line = tg_lines_choose(lines, handler->batch.events > 0))) {
    if (line->first->in_flight) {
      tg_line_set_state(lines, line, TG_LINE_HELD);
      continue;
    }
    tg_line_set_state(lines, line, TG_LINE_TURN);
    line->parcel =
        (struct tg_parcel){.owner = lane->parcel.owner, .lane = lane, .line = line, .way = TG_WAY_LANE};
    tg_sender_queue(lane->sender, &line->parcel);
  }
}

bool tg_lines_take_turn(struct tg_lane *lane)
{
  bool wanted = lane->lanes->handler->order == TG_ORDERED_BY_GUILD && !tg_script_has_queue(lane);
  struct tg_lines *lines = lane->queue.lines;
  if (__builtin_expect(!wanted && !lines, 1))
    return false;
  if (!wanted) {
    tg_lines_give_turns_back(lane);
    if (tg_lines_are_under_way(lines))
      return true;
    close_lines(lane);
    return false;
  }
  if (!lines)
    lines = open_lines(lane);
  if (tg_lines_stand_before_barrier(lines))
    return false;
  take_turns(lane);
  return true;
}

static void look_at_first(struct tg_guild_line *line, struct tg_lane *lane)
{
  while (line->first && lane->lanes->watch->has_turn(lane, line->first))
    ;
}

bool tg_line_prepare(struct tg_guild_line *line, struct tg_lane *lane)
{
  struct tg_lines *lines = lane->queue.lines;
  tg_line_set_state(lines, line, TG_LINE_SENDING);
  look_at_first(line, lane);
  if (line->first && !line->first->in_flight && lane->state == TG_LANE_IDLE && !tg_gate_holds(lane)) {
    tg_batch_lend(&line->parcel, tg_sender_batch_bytes(lane->sender));
    return true;
  }
  tg_line_rest(lines, line);
  tg_lane_wants_turn(lane); /* another one may have its place */
  return false;
}

void tg_lines_give_turns_back(struct tg_lane *lane)
{
  struct tg_lines *lines = lane->queue.lines;
  struct tg_guild_line *line;
  while (lines && (line = TAILQ_FIRST(&lines->of[TG_LINE_TURN]))) {
    tg_sender_forget(&line->parcel);
    tg_line_rest(lines, line);
  }
}

/* --- their ends ------------------------------------------------------------------------ */

static void set_timer(struct tg_lines *lines, tg_ms now)
{
  const struct tg_guild_line *first = TAILQ_FIRST(&lines->of[TG_LINE_WAITING]);
  if (first)
    uv_timer_start(&lines->timer, on_timer, (uint64_t)(first->due > now ? first->due - now : 0), 0);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_lane *lane = timer->data;
  struct tg_lines *lines = lane->queue.lines;
  tg_ms now = tg_env_now(lane->lanes->env);
  struct tg_guild_line *first;
  while ((first = TAILQ_FIRST(&lines->of[TG_LINE_WAITING])) && first->due <= now)
    tg_line_rest(lines, first);
  set_timer(lines, now);
  tg_lane_go_on(lane);
}

void tg_line_wait_for(struct tg_guild_line *line, struct tg_lane *lane, tg_ms delay)
{
  tg_ms now = tg_env_now(lane->lanes->env);
  tg_line_wait(lane->queue.lines, line, now + delay);
  set_timer(lane->queue.lines, now);
}

void tg_line_is_over(struct tg_guild_line *line, struct tg_lane *lane)
{
  if (line->state != TG_LINE_WAITING)
    tg_line_rest(lane->queue.lines, line);
}

bool tg_lines_are_busy(const struct tg_lane *lane)
{
  return lane->queue.lines && lane->queue.lines->in[TG_LINE_SENDING] > 0;
}

void tg_lines_stop(struct tg_lane *lane)
{
  struct tg_lines *lines = lane->queue.lines;
  struct tg_guild_line *line;
  if (!lines)
    return;
  TAILQ_FOREACH(line, &lines->of[TG_LINE_SENDING], link)
  {
    tg_batch_take_back(&line->parcel);
    tg_sender_withdraw(&line->parcel);
  }
  tg_lines_give_turns_back(lane);
  close_lines(lane);
}

struct tg_parcel *tg_lane_parcel_of(struct tg_lane *lane, uint64_t epoch, uint64_t sequence)
{
  struct tg_guild_line *line;
  if (!lane->queue.lines || tg_parcel_in_flight(&lane->parcel))
    return tg_parcel_in_flight(&lane->parcel) ? &lane->parcel : NULL;
  TAILQ_FOREACH(line, &lane->queue.lines->of[TG_LINE_SENDING], link)
  {
    const struct tg_queued *event = line->first;
    for (int i = 0; i < line->parcel.count; i++, event = event->line_next)
      if (event->epoch == epoch && event->sequence == sequence)
        return &line->parcel;
  }
  return NULL;
}
