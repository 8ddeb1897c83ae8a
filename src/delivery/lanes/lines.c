#include "delivery/lanes/lines.h"

#include "base/buf.h"
#include "delivery/lanes/lane_queue.h"
#include "proto/envelope.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 16 };

void tg_lines_init(struct tg_lines *lines, struct tg_lane *lane, struct tg_lane_queue *queue)
{
  *lines = (struct tg_lines){.lane = lane, .queue = queue, .bucket_count = FIRST_BUCKETS};
  lines->buckets = tg_calloc(FIRST_BUCKETS, sizeof lines->buckets[0]);
  for (int state = 0; state < TG_LINE_STATES; state++)
    TAILQ_INIT(&lines->of[state]);
}

void tg_lines_free(struct tg_lines *lines)
{
  tg_lines_clear(lines);
  free(lines->buckets);
}

/* --- which there are --------------------------------------------------------------- */

static struct tg_guild_line **bucket_of(const struct tg_lines *lines, uint64_t guild)
{
  return &lines->buckets[(guild * 0x9e3779b97f4a7c15u) >> 32 & (lines->bucket_count - 1)];
}

static void grow(struct tg_lines *lines)
{
  struct tg_guild_line **old = lines->buckets;
  uint32_t count = lines->bucket_count;
  lines->bucket_count = 2 * count;
  lines->buckets = tg_calloc(lines->bucket_count, sizeof lines->buckets[0]);
  for (uint32_t i = 0; i < count; i++)
    for (struct tg_guild_line *line = old[i], *next; line; line = next) {
      struct tg_guild_line **bucket = bucket_of(lines, line->guild);
      next = line->next;
      line->next = *bucket;
      *bucket = line;
    }
  free(old);
}

static struct tg_guild_line *find(const struct tg_lines *lines, uint64_t guild)
{
  struct tg_guild_line *line = *bucket_of(lines, guild);
  while (line && line->guild != guild)
    line = line->next;
  return line;
}

static struct tg_guild_line *add(struct tg_lines *lines, uint64_t guild)
{
  struct tg_guild_line *line = tg_calloc(1, sizeof *line);
  if (lines->count++ == lines->bucket_count)
    grow(lines);
  struct tg_guild_line **bucket = bucket_of(lines, guild);
  line->guild = guild;
  line->next = *bucket;
  *bucket = line;
  TAILQ_INSERT_TAIL(&lines->of[line->state], line, link);
  lines->in[line->state]++;
  return line;
}

static void remove_line(struct tg_lines *lines, struct tg_guild_line *line)
{
  struct tg_guild_line **at = bucket_of(lines, line->guild);
  while (*at != line)
    at = &(*at)->next;
  *at = line->next;
  TAILQ_REMOVE(&lines->of[line->state], line, link);
  lines->in[line->state]--;
  lines->count--;
  free(line);
}

/* --- what they have ------------------------------------------------------------------ */

static uint64_t guild_of(const struct tg_queued *queued)
{
  struct tg_span message = tg_queued_message(queued);
  struct tg_envelope envelope;
  uint64_t guild;
  if (!tg_envelope_scan(message.at, message.length, &envelope))
    return 0;
  const struct tg_event event = {.type = queued->type, .data = envelope.data};
  return tg_event_guild_id(&event, &guild) ? guild : 0;
}

static void append(struct tg_guild_line *line, struct tg_queued *event)
{
  event->line = line;
  event->line_next = NULL;
  event->line_previous = line->last;
  *(line->last ? &line->last->line_next : &line->first) = event;
  line->last = event;
}

static void unlink_event(struct tg_queued *event)
{
  struct tg_guild_line *line = event->line;
  *(event->line_previous ? &event->line_previous->line_next : &line->first) = event->line_next;
  *(event->line_next ? &event->line_next->line_previous : &line->last) = event->line_previous;
  event->line = NULL;
}

static bool is_at_sender(const struct tg_guild_line *line)
{
  return line->state == TG_LINE_TURN || line->state == TG_LINE_SENDING;
}

void tg_lines_leave(struct tg_lines *lines, struct tg_queued *event)
{
  struct tg_guild_line *line = event->line;
  if (lines->looked == event)
    lines->looked = event->previous;
  if (!line)
    return;
  unlink_event(event);
  if (!line->first && !is_at_sender(line))
    remove_line(lines, line);
}

/* Whether it stays in its line, whatever comes in between: it was sent before that. */
static bool was_sent(const struct tg_guild_line *line, const struct tg_queued *event)
{
  return event->trying && (line->state == TG_LINE_SENDING || line->state == TG_LINE_WAITING);
}

void tg_lines_look_again(struct tg_lines *lines)
{
  lines->looked = NULL;
  for (int state = 0; state < TG_LINE_STATES; state++)
    for (struct tg_guild_line *line = TAILQ_FIRST(&lines->of[state]), *next; line; line = next) {
      next = TAILQ_NEXT(line, link);
      while (line->last && !was_sent(line, line->last))
        unlink_event(line->last);
      if (!line->first && !is_at_sender(line))
        remove_line(lines, line);
    }
}

void tg_lines_clear(struct tg_lines *lines)
{
  lines->looked = NULL;
  for (int state = 0; state < TG_LINE_STATES; state++)
    for (struct tg_guild_line *line; (line = TAILQ_FIRST(&lines->of[state]));) {
      while (line->last)
        unlink_event(line->last);
      remove_line(lines, line);
    }
}

/* --- what they do ----------------------------------------------------------------------- */

void tg_line_set_state(struct tg_lines *lines, struct tg_guild_line *line, enum tg_line_state state)
{
  TAILQ_REMOVE(&lines->of[line->state], line, link);
  lines->in[line->state]--;
  line->state = state;
  TAILQ_INSERT_TAIL(&lines->of[state], line, link);
  lines->in[state]++;
}

void tg_line_wait(struct tg_lines *lines, struct tg_guild_line *line, tg_ms due)
{
  struct tg_guild_line_list *waiting = &lines->of[TG_LINE_WAITING];
  tg_line_set_state(lines, line, TG_LINE_WAITING);
  line->due = due;
  struct tg_guild_line *before = TAILQ_PREV(line, tg_guild_line_list, link);
  while (before && before->due > due)
    before = TAILQ_PREV(before, tg_guild_line_list, link);
  TAILQ_REMOVE(waiting, line, link);
  if (before)
    TAILQ_INSERT_AFTER(waiting, before, line, link);
  else
    TAILQ_INSERT_HEAD(waiting, line, link);
}

void tg_line_rest(struct tg_lines *lines, struct tg_guild_line *line)
{
  if (line->first)
    tg_line_set_state(lines, line, line->first->in_flight ? TG_LINE_HELD : TG_LINE_READY);
  else
    remove_line(lines, line);
}

void tg_lines_look_at_held(struct tg_lines *lines)
{
  for (struct tg_guild_line *line = TAILQ_FIRST(&lines->of[TG_LINE_HELD]), *next; line; line = next) {
    next = TAILQ_NEXT(line, link);
    if (!line->first->in_flight)
      tg_line_set_state(lines, line, TG_LINE_READY);
  }
}

/* --- looking ------------------------------------------------------------------------------ */

static bool is_barrier(const struct tg_queued *event)
{
  return event->marker || event->type == TG_EVENT_READY;
}

bool tg_lines_stand_before_barrier(const struct tg_lines *lines)
{
  const struct tg_queued *head = lines->queue->head;
  return head && !head->line && is_barrier(head);
}

/* False: there is nothing more to be looked at now. */
static bool look_on(struct tg_lines *lines)
{
  const struct tg_queued *head = lines->queue->head;
  struct tg_queued *event = lines->looked ? lines->looked->next : lines->queue->head;
  if (!event || is_barrier(event) || event->epoch != head->epoch ||
      event->sequence > head->sequence + TG_LINES_AHEAD)
    return false;
  lines->looked = event;
  if (event->line) /* under way since before something came in between */
    return true;
  uint64_t guild = guild_of(event);
  struct tg_guild_line *line = find(lines, guild);
  bool is_new = !line;
  if (is_new)
    line = add(lines, guild);
  append(line, event);
  if (is_new && event->in_flight)
    tg_line_set_state(lines, line, TG_LINE_HELD);
  return true;
}

struct tg_guild_line *tg_lines_choose(struct tg_lines *lines, bool all)
{
  while ((all || !TAILQ_FIRST(&lines->of[TG_LINE_READY])) && look_on(lines))
    ;
  return TAILQ_FIRST(&lines->of[TG_LINE_READY]);
}
