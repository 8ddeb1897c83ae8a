/* What the manager makes of the statistics pages of its workers. */

#include "manager/workers/workers_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 3 };

static struct tg_managed_worker list[WORKERS]; /* the last one has no page yet */
static struct tg_workers workers = {.list = list, .count = WORKERS};
static struct tg_sink_status sinks[TG_STATS_SINKS];

static int make_pages(void **state)
{
  (void)state;
  struct tg_error error;
  for (int i = 0; i < WORKERS - 1; i++)
    if (!(list[i].stats = tg_stats_make(&list[i].stats_fd, &error)))
      return -1;
  return 0;
}

static int drop_pages(void **state)
{
  (void)state;
  for (int i = 0; i < WORKERS - 1; i++) {
    tg_stats_unmap(list[i].stats);
    close(list[i].stats_fd);
  }
  return 0;
}

/* As that worker's process finds or takes it. */
static struct tg_stats_sink *sink(int worker, const char *name)
{
  struct tg_stats *own = tg_stats_page;
  tg_stats_page = list[worker].stats;
  struct tg_stats_sink *found = tg_stats_sink(name);
  tg_stats_page = own;
  return found;
}

static void sums_go_by_name(void **state)
{
  (void)state;
  tg_count_by(&sink(0, "bot")->delivered, 10);
  tg_count_by(&sink(0, "copy")->delivered, 1);
  tg_count_by(&sink(1, "copy")->delivered, 2);
  tg_count_by(&sink(1, "archive")->dead, 3);
  tg_count_by(&sink(1, "bot")->delivered, 20);
  tg_count_by(&sink(1, "bot")->retried, 5);
  tg_count_by(&sink(1, "copy")->dropped, 7);
  tg_stats_latency(sink(0, "copy"), 1);
  tg_stats_latency(sink(1, "copy"), 100000);
  assert_int_equal(tg_workers_sinks(&workers, sinks), 3);
  assert_string_equal(sinks[0].name, "bot");
  assert_int_equal(sinks[0].delivered, 30);
  assert_int_equal(sinks[0].retried, 5);
  assert_int_equal(sinks[0].milliseconds, 0);
  assert_string_equal(sinks[1].name, "archive");
  assert_int_equal(sinks[1].dead, 3);
  assert_string_equal(sinks[2].name, "copy");
  assert_int_equal(sinks[2].delivered, 3);
  assert_int_equal(sinks[2].dropped, 7);
  assert_int_equal(sinks[2].latency[0], 1);
  assert_int_equal(sinks[2].latency[TG_LATENCY_COUNT], 1);
  assert_int_equal(sinks[2].milliseconds, 100001);
}

static void gauges_are_of_those_that_use_the_sink(void **state)
{
  (void)state;
  sink(0, "bot");
  assert_int_equal(tg_workers_sinks(&workers, sinks), 1);
  assert_false(sinks[0].used || sinks[0].logged);
  for (int i = 0; i < 2; i++) {
    struct tg_stats_sink *bot = sink(i, "bot");
    atomic_store(&bot->up, 1);
    atomic_store(&bot->queued_events, 4);
    atomic_store(&bot->queued_bytes, 400);
    atomic_store(&bot->oldest_queued_at, i == 0 ? 0 : 5000);
    atomic_store(&bot->log_bytes, 1000);
  }
  assert_int_equal(tg_workers_sinks(&workers, sinks), 1);
  assert_true(sinks[0].used && sinks[0].up && sinks[0].logged);
  assert_int_equal(sinks[0].queued_events, 8);
  assert_int_equal(sinks[0].queued_bytes, 800);
  assert_int_equal(sinks[0].oldest_queued_at, 5000);
  assert_int_equal(sinks[0].log_bytes, 2000);
  atomic_store(&sink(0, "bot")->up, 0);
  tg_workers_sinks(&workers, sinks);
  assert_true(sinks[0].used && !sinks[0].up);
  atomic_store(&sink(0, "bot")->oldest_queued_at, 3000);
  tg_workers_sinks(&workers, sinks);
  assert_int_equal(sinks[0].oldest_queued_at, 3000);
  tg_stats_clear_gauges(list[0].stats); /* its process is gone */
  tg_workers_sinks(&workers, sinks);
  assert_true(sinks[0].used && sinks[0].up);
  assert_int_equal(sinks[0].queued_events, 4);
  assert_int_equal(sinks[0].log_bytes, 1000);
}

static void scribbled_pages_give_no_more_than_there_is_room_for(void **state)
{
  (void)state;
  for (int i = 0; i < 2; i++)
    for (int place = 0; place < TG_STATS_SINKS; place++)
      snprintf(list[i].stats->sinks[place].name, TG_STATS_SINK_NAME_SIZE, "s-%d-%d", i, place);
  assert_int_equal(tg_workers_sinks(&workers, sinks), TG_STATS_SINKS);
  memset(list[0].stats->sinks, 0xff, sizeof list[0].stats->sinks);
  memset(list[1].stats->sinks, 0xff, sizeof list[1].stats->sinks);
  assert_int_equal(tg_workers_sinks(&workers, sinks), 0);
}

int main(void)
{
#define PAGE_TEST(name) cmocka_unit_test_setup_teardown(name, make_pages, drop_pages)
  const struct CMUnitTest tests[] = {
      PAGE_TEST(sums_go_by_name),
      PAGE_TEST(gauges_are_of_those_that_use_the_sink),
      PAGE_TEST(scribbled_pages_give_no_more_than_there_is_room_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
