/* order = "guild": which events may be sent, in which order lines come up, and what stands between. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/lanes/lane_queue.h"
#include "delivery/lanes/lines.h"
#include "proto/event_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
  struct tg_lane_queue queue;
  struct tg_queue_total total;
  struct tg_lines lines;
  uint64_t sequence, epoch;
};

static int begin(void **state)
{
  struct world *world = calloc(1, sizeof *world);
  tg_lines_init(&world->lines, NULL, &world->queue);
  world->queue.lines = &world->lines;
  world->epoch = 7;
  *state = world;
  return 0;
}

static void take(struct world *world, struct tg_queued *event)
{
  tg_lane_queue_remove(&world->queue, &world->total, event);
  free(event);
}

static int end(void **state)
{
  struct world *world = *state;
  while (world->queue.head)
    take(world, world->queue.head);
  tg_lines_free(&world->lines);
  free(world);
  return 0;
}

static struct tg_queued *make(struct world *world, uint16_t type, const char *data, enum tg_marker marker)
{
  char message[256];
  snprintf(message, sizeof message, "{\"t\":\"X\",\"s\":1,\"op\":0,\"d\":%s}", data);
  struct tg_stored stored = {.epoch = world->epoch,
                             .sequence = ++world->sequence,
                             .type = type,
                             .marker = marker,
                             .message = {message, strlen(message)}};
  return tg_queued_new(&stored);
}

static struct tg_queued *push_as(struct world *world, uint16_t type, const char *data, enum tg_marker marker)
{
  struct tg_queued *event = make(world, type, data, marker);
  tg_lane_queue_push(&world->queue, &world->total, event);
  return event;
}

/* An event of that guild; 0: of none. */
static struct tg_queued *push(struct world *world, int guild)
{
  char data[64] = "{}";
  if (guild > 0)
    snprintf(data, sizeof data, "{\"id\":\"1\",\"guild_id\":\"%d\"}", guild);
  return push_as(world, TG_EVENT_MESSAGE_CREATE, data, TG_MARKER_NONE);
}

/* The next line is that event's. It is on its way. */
static struct tg_guild_line *expect(struct world *world, struct tg_queued *event)
{
  struct tg_guild_line *line = tg_lines_choose(&world->lines, false);
  assert_non_null(line);
  assert_ptr_equal(line->first, event);
  tg_line_set_state(&world->lines, line, TG_LINE_SENDING);
  event->in_flight = event->trying = true;
  return line;
}

static void expect_none(struct world *world)
{
  assert_null(tg_lines_choose(&world->lines, false));
}

static void taken(struct world *world, struct tg_guild_line *line)
{
  line->first->in_flight = false;
  take(world, line->first);
  tg_line_rest(&world->lines, line);
}

static void guilds_go_past_each_other(void **state)
{
  struct world *world = *state;
  struct tg_queued *a1 = push(world, 1), *a2 = push(world, 1), *b1 = push(world, 2), *none1 = push(world, 0);
  struct tg_queued *none2 = push(world, 0), *b2 = push(world, 2);
  struct tg_guild_line *a = expect(world, a1), *b = expect(world, b1), *none = expect(world, none1);
  expect_none(world);
  taken(world, b);
  b = expect(world, b2);
  expect_none(world);
  taken(world, none);
  none = expect(world, none2);
  taken(world, a);
  a = expect(world, a2);
  taken(world, a);
  taken(world, b);
  taken(world, none);
  assert_null(world->queue.head);
  assert_int_equal(world->lines.count, 0);
}

/* Guilds themselves have their id elsewhere. */
static void a_guild_is_known_by_its_own_events(void **state)
{
  struct world *world = *state;
  struct tg_queued *created = push_as(world, TG_EVENT_GUILD_CREATE, "{\"id\":\"5\"}", TG_MARKER_NONE);
  push(world, 5);
  struct tg_queued *other = push(world, 6);
  expect(world, created);
  expect(world, other);
  expect_none(world);
}

static void it_looks_no_further_than_it_must(void **state)
{
  struct world *world = *state;
  struct tg_queued *first = push(world, 1), *second = push(world, 2);
  push(world, 3);
  expect(world, first);
  assert_null(second->line);
  expect(world, second);
  assert_ptr_equal(world->lines.looked, second);
}

static void nobody_looks_beyond_a_barrier(void **state)
{
  static const struct {
    uint16_t type;
    enum tg_marker marker;
  } barriers[] = {{TG_EVENT_READY, 0}, {TG_EVENT_OTHER, TG_MARKER_GAP}, {TG_EVENT_OTHER, TG_MARKER_HANDOVER}};
  struct world *world = *state;
  for (size_t i = 0; i < 3; i++) {
    struct tg_queued *before = push(world, 1);
    struct tg_queued *barrier = push_as(world, barriers[i].type, "{}", barriers[i].marker);
    struct tg_queued *behind = push(world, 2);
    struct tg_guild_line *line = expect(world, before);
    expect_none(world);
    assert_false(tg_lines_stand_before_barrier(&world->lines));
    taken(world, line);
    expect_none(world);
    assert_true(tg_lines_stand_before_barrier(&world->lines));
    take(world, barrier);
    taken(world, expect(world, behind));
  }
}

static void nor_into_another_session(void **state)
{
  struct world *world = *state;
  struct tg_queued *before = push(world, 1);
  world->epoch++;
  struct tg_queued *behind = push(world, 2);
  struct tg_guild_line *line = expect(world, before);
  expect_none(world);
  taken(world, line);
  expect(world, behind);
}

static void nor_too_far_from_the_first(void **state)
{
  struct world *world = *state;
  struct tg_queued *first = push(world, 1), *second = push(world, 2);
  world->sequence += TG_LINES_AHEAD;
  struct tg_queued *far = push(world, 3);
  struct tg_guild_line *line = expect(world, first);
  struct tg_guild_line *near = expect(world, second);
  expect_none(world);
  taken(world, near);
  expect_none(world);
  taken(world, line);
  expect(world, far);
}

static void what_comes_in_between_is_a_barrier_for_what_was_not_sent(void **state)
{
  struct world *world = *state;
  struct tg_queued *a1 = push(world, 1), *b1 = push(world, 2), *c1 = push(world, 3), *a2 = push(world, 1);
  struct tg_queued *b2 = push(world, 2);
  struct tg_guild_line *a = expect(world, a1), *c = NULL;
  assert_ptr_equal(tg_lines_choose(&world->lines, true)->first, b1); /* all were looked at */
  struct tg_guild_line *b = expect(world, b1);
  c = expect(world, c1);
  struct tg_queued *marker = make(world, TG_EVENT_OTHER, "{}", TG_MARKER_GAP);
  tg_lane_queue_insert(&world->queue, &world->total, marker, c1);
  assert_ptr_equal(c1->line, c); /* it is on its way */
  assert_null(a2->line);
  assert_null(b2->line);
  taken(world, c);
  taken(world, a);
  expect_none(world);
  taken(world, b);
  assert_true(tg_lines_stand_before_barrier(&world->lines));
  take(world, marker);
  expect(world, a2);
  expect(world, b2);
}

static void what_leaves_the_queue_leaves_its_line(void **state)
{
  struct world *world = *state;
  struct tg_queued *a1 = push(world, 1), *a2 = push(world, 1), *a3 = push(world, 1), *b1 = push(world, 2);
  tg_lines_choose(&world->lines, true);
  take(world, a2);
  take(world, b1);
  assert_int_equal(world->lines.count, 1);
  taken(world, expect(world, a1));
  take(world, a3);
  assert_int_equal(world->lines.count, 0);
  struct tg_queued *next = push(world, 2);
  expect(world, next);
}

static void who_waits_holds_up_nobody_else(void **state)
{
  struct world *world = *state;
  struct tg_queued *events[5];
  struct tg_guild_line *lines[5];
  static const tg_ms dues[] = {50, 20, 90, 20, 70};
  for (int i = 0; i < 5; i++) {
    events[i] = push(world, 1 + i);
    push(world, 1 + i);
    lines[i] = expect(world, events[i]);
  }
  for (int i = 0; i < 5; i++) {
    events[i]->in_flight = false;
    tg_line_wait(&world->lines, lines[i], dues[i]);
  }
  expect_none(world);
  struct tg_queued *other = push(world, 9);
  expect(world, other);
  static const int order[] = {1, 3, 0, 4, 2};
  for (int i = 0; i < 5; i++) {
    struct tg_guild_line *first = TAILQ_FIRST(&world->lines.of[TG_LINE_WAITING]);
    assert_ptr_equal(first, lines[order[i]]);
    tg_line_rest(&world->lines, first);
    assert_ptr_equal(expect(world, events[order[i]]), first);
  }
}

static void one_that_is_sent_beside_the_lane_is_held(void **state)
{
  struct world *world = *state;
  struct tg_queued *express = push(world, 1), *behind = push(world, 1), *other = push(world, 2);
  express->in_flight = true;
  expect(world, other);
  expect_none(world);
  express->in_flight = false;
  tg_lines_look_at_held(&world->lines);
  struct tg_guild_line *line = expect(world, express);
  taken(world, line);
  expect(world, behind);
}

static void there_may_be_thousands(void **state)
{
  enum { GUILDS = 3000 };
  struct world *world = *state;
  static struct tg_guild_line *lines[GUILDS];
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < GUILDS; i++)
      push(world, 1 + i * 7919);
  struct tg_queued *event = world->queue.head;
  for (int i = 0; i < GUILDS; i++, event = event->next)
    lines[i] = expect(world, event);
  expect_none(world);
  for (int i = GUILDS; i-- > 0;)
    taken(world, lines[i]);
  for (int i = GUILDS; i-- > 0;)
    assert_int_equal(tg_lines_choose(&world->lines, false)->guild, 1 + i * 7919),
        taken(world, expect(world, tg_lines_choose(&world->lines, false)->first));
  assert_int_equal(world->lines.count, 0);
}

static void all_may_end_at_once(void **state)
{
  struct world *world = *state;
  struct tg_queued *first = push(world, 1);
  push(world, 1);
  struct tg_queued *second = push(world, 2);
  expect(world, first);
  tg_line_wait(&world->lines, expect(world, second), 10);
  tg_lines_clear(&world->lines);
  assert_int_equal(world->lines.count, 0);
  assert_null(first->line);
  first->in_flight = second->in_flight = false;
  expect(world, first); /* from the front again */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(guilds_go_past_each_other),
      TEST(a_guild_is_known_by_its_own_events),
      TEST(it_looks_no_further_than_it_must),
      TEST(nobody_looks_beyond_a_barrier),
      TEST(nor_into_another_session),
      TEST(nor_too_far_from_the_first),
      TEST(what_comes_in_between_is_a_barrier_for_what_was_not_sent),
      TEST(what_leaves_the_queue_leaves_its_line),
      TEST(who_waits_holds_up_nobody_else),
      TEST(one_that_is_sent_beside_the_lane_is_held),
      TEST(there_may_be_thousands),
      TEST(all_may_end_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
