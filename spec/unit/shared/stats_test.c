#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/series.h"
#include "shared/shard_table.h"

#include <string.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct tg_stats *page;
static int page_fd;

static int make_page(void **state)
{
  (void)state;
  struct tg_error error;
  page = tg_stats_make(&page_fd, &error);
  return page ? 0 : -1;
}

static int drop_page(void **state)
{
  (void)state;
  tg_stats_unmap(page);
  close(page_fd);
  return 0;
}

/* Runs body() as a worker's process would: attached to the page, then killed. */
static void in_a_worker(void (*body)(void))
{
  pid_t pid = fork();
  if (pid == 0) {
    struct tg_error error;
    if (!tg_stats_attach(dup(page_fd), &error))
      _exit(1);
    body();
    kill(getpid(), SIGKILL);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void count_some(void)
{
  tg_count(&tg_stats_type(TG_EVENT_MESSAGE_CREATE)->received);
  tg_count_by(&tg_stats_type(TG_EVENT_MESSAGE_CREATE)->bytes, 100);
  tg_count(&tg_stats_type(tg_event_type("BRAND_NEW", 9))->received);
  struct tg_stats_handler *handler = tg_stats_handler("http://bot");
  atomic_store(&handler->in_flight, 3);
  tg_count(&handler->requests[0]);
  struct tg_stats_sink *bot = tg_stats_sink("bot");
  tg_stats_latency(bot, 7);
  tg_stats_latency(bot, 1000000);
  atomic_store(&bot->log_bytes, 5);
  atomic_store(&bot->up, 1);
}

static void count_in_another_order(void)
{
  tg_event_type("UNRELATED", 9); /* numbers differ from process to process */
  count_some();
}

static void counters_outlive_the_worker(void **state)
{
  (void)state;
  char buffer[TG_STATS_NAME_SIZE];
  in_a_worker(count_some);
  in_a_worker(count_in_another_order);
  assert_int_equal(page->types[TG_EVENT_MESSAGE_CREATE].received, 2);
  assert_int_equal(page->types[TG_EVENT_MESSAGE_CREATE].bytes, 200);
  assert_int_equal(page->types[TG_EVENT_KNOWN_COUNT].received, 2);
  assert_string_equal(tg_stats_type_name(page, TG_EVENT_KNOWN_COUNT, buffer), "BRAND_NEW");
  assert_string_equal(tg_stats_type_name(page, TG_EVENT_MESSAGE_CREATE, buffer), "MESSAGE_CREATE");
  assert_null(tg_stats_type_name(page, TG_EVENT_KNOWN_COUNT + 1, buffer));
  assert_null(tg_stats_type_name(page, TG_EVENT_TYPING_START, buffer));
  assert_string_equal(page->handlers[0].url, "http://bot");
  assert_string_equal(page->handlers[1].url, "");
  assert_int_equal(page->handlers[0].requests[0], 2);
  assert_int_equal(page->handlers[0].in_flight, 3);
  assert_string_equal(page->sinks[0].name, "bot");
  assert_string_equal(page->sinks[1].name, "");
  assert_int_equal(page->sinks[0].latency.counts[3], 2); /* up to 10 ms */
  assert_int_equal(page->sinks[0].latency.counts[TG_LATENCY_COUNT], 2);
  assert_int_equal(page->sinks[0].latency.milliseconds, 2000014);
  assert_int_equal(page->sinks[0].log_bytes, 5);
  tg_stats_clear_gauges(page);
  assert_int_equal(page->handlers[0].in_flight, 0);
  assert_int_equal(page->handlers[0].requests[0], 2);
  assert_int_equal(page->sinks[0].log_bytes, -1);
  assert_int_equal(page->sinks[0].up, -1);
  assert_int_equal(page->sinks[0].latency.milliseconds, 2000014);
}

static void a_foreign_file_is_refused(void **state)
{
  (void)state;
  struct tg_error error;
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  assert_false(tg_stats_attach(fds[0], &error));
  assert_int_equal(close(fds[0]), -1);
  close(fds[1]);
  assert_int_equal(ftruncate(page_fd, 0), -1); /* sealed */
}

static void use_more_sinks_than_there_are_places(void)
{
  char name[TG_STATS_SINK_NAME_SIZE];
  for (int i = 0; i < TG_STATS_SINKS + 10; i++) {
    snprintf(name, sizeof name, "sink-%d", i);
    tg_count(&tg_stats_sink(name)->delivered);
    tg_count(&tg_stats_sink(name)->delivered);
  }
}

static void sinks_have_places_by_their_names(void **state)
{
  (void)state;
  char name[TG_STATS_SINK_NAME_SIZE];
  in_a_worker(use_more_sinks_than_there_are_places);
  assert_true(tg_stats_sink_name(page, 0, name));
  assert_string_equal(name, "sink-0");
  assert_int_equal(page->sinks[0].delivered, 2);
  assert_int_equal(page->sinks[0].up, -1);
  assert_int_equal(page->sinks[0].log_bytes, -1);
  assert_true(tg_stats_sink_name(page, TG_STATS_SINKS - 1, name));
  assert_string_equal(name, "_others");
  assert_int_equal(page->sinks[TG_STATS_SINKS - 1].delivered, 22);
}

static void say_where_events_wait(void)
{
  struct tg_stats_lanes lanes = {.waiting = 70, .count = 2};
  lanes.list[0] = (struct tg_stats_lane){.ref = tg_ref_of(3, 1), .events = 9, .bytes = 90, .oldest_queued_at = 900};
  lanes.list[1].events = 5;
  tg_stats_set_lanes(tg_stats_sink("bot"), &lanes);
}

static void lanes_are_read_whole_or_not_at_all(void **state)
{
  (void)state;
  struct tg_stats_lanes lanes;
  in_a_worker(say_where_events_wait);
  assert_true(tg_stats_get_lanes(&page->sinks[0], &lanes));
  assert_int_equal(lanes.waiting, 70);
  assert_int_equal(lanes.count, 2);
  assert_int_equal(lanes.list[0].ref, tg_ref_of(3, 1));
  assert_int_equal(lanes.list[0].bytes, 90);
  page->sinks[0].lanes_guard++; /* as if it had been killed while it wrote */
  assert_false(tg_stats_get_lanes(&page->sinks[0], &lanes));
  page->sinks[0].lanes.count = 4000000000;
  page->sinks[0].lanes_guard++;
  assert_true(tg_stats_get_lanes(&page->sinks[0], &lanes));
  assert_int_equal(lanes.count, TG_STATS_LANES); /* a script scribbles */
  page->sinks[0].lanes_guard++;
  tg_stats_clear_gauges(page);
  assert_true(tg_stats_get_lanes(&page->sinks[0], &lanes));
  assert_int_equal(lanes.count, 0);
}

static void what_a_script_scribbles_is_no_name(void **state)
{
  (void)state;
  char name[TG_STATS_SINK_NAME_SIZE];
  in_a_worker(count_some);
  assert_true(tg_stats_sink_name(page, 0, name));
  assert_false(tg_stats_sink_name(page, 1, name)); /* free */
  strcpy(page->sinks[1].name, "bot");
  assert_false(tg_stats_sink_name(page, 1, name)); /* there is one already */
  strcpy(page->sinks[1].name, "x\"} 1\n");
  assert_false(tg_stats_sink_name(page, 1, name));
  memset(page->sinks[1].name, 'x', sizeof page->sinks[1].name);
  assert_false(tg_stats_sink_name(page, 1, name)); /* without an end */
}

static void use_more_urls_than_there_are_places(void)
{
  char url[600];
  for (int i = 0; i < TG_STATS_HANDLERS + 10; i++) {
    snprintf(url, sizeof url, "http://bot-%d/", i);
    tg_count(&tg_stats_handler(url)->requests[0]);
  }
  memset(url, 'x', sizeof url - 1);
  url[sizeof url - 1] = '\0';
  tg_stats_handler(url);
}

static void what_does_not_fit_shares_a_place(void **state)
{
  (void)state;
  in_a_worker(use_more_urls_than_there_are_places);
  const struct tg_stats_handler *last = &page->handlers[TG_STATS_HANDLERS - 1];
  assert_string_equal(last->url, "others");
  assert_int_equal(last->requests[0], 11);
  assert_string_equal(page->handlers[TG_STATS_HANDLERS - 2].url, "http://bot-62/");
}

/* ---- series ---- */

static const double limits[] = {1, 10};

static struct tg_series *make(enum tg_series_kind kind, const char *name, const char *labels)
{
  struct tg_series_text text = {.name = name, .labels = labels, .help = "What it is."};
  return tg_series(tg_stats(), kind, &text, limits, 2);
}

static void count_series(void)
{
  tg_series_add(make(TG_SERIES_COUNTER, "seen", "a=\"1\""), 2);
  tg_series_add(make(TG_SERIES_COUNTER, "seen", "a=\"2\""), 0.5);
  tg_series_set(make(TG_SERIES_GAUGE, "level", ""), -3);
  make(TG_SERIES_GAUGE, "not_set", "");
  tg_series_observe(make(TG_SERIES_HISTOGRAM, "took", ""), 10);
  tg_series_observe(make(TG_SERIES_HISTOGRAM, "took", ""), 11);
}

static void die_while_making_one(void)
{
  struct tg_stats *stats = tg_stats();
  memset(stats->series + stats->series_used, 0xff, 4096);
}

static void series_go_on_where_the_last_process_was(void **state)
{
  (void)state;
  in_a_worker(count_series);
  in_a_worker(die_while_making_one);
  in_a_worker(count_series);
  struct tg_series_view view;
  size_t offset = 0;
  assert_true(tg_series_next(page, &offset, &view));
  assert_string_equal(view.text.name, "seen");
  assert_string_equal(view.text.labels, "a=\"1\"");
  assert_string_equal(view.text.help, "What it is.");
  assert_true(view.value == 4);
  assert_true(tg_series_next(page, &offset, &view) && view.value == 1);
  assert_true(tg_series_next(page, &offset, &view) && view.value == -3);
  assert_true(tg_series_next(page, &offset, &view));
  assert_int_equal(view.kind, TG_SERIES_HISTOGRAM);
  assert_int_equal(view.limit_count, 2);
  assert_true(view.limits[1] == 10);
  assert_int_equal(view.counts[0], 0);
  assert_int_equal(view.counts[1], 2);
  assert_int_equal(view.counts[2], 2);
  assert_true(view.value == 42);
  assert_false(tg_series_next(page, &offset, &view));

  tg_stats_clear_gauges(page); /* a gauge of nobody says nothing */
  int count = 0;
  for (offset = 0; tg_series_next(page, &offset, &view); count++)
    assert_int_not_equal(view.kind, TG_SERIES_GAUGE);
  assert_int_equal(count, 3);
}

static void series_have_a_bound(void **state)
{
  (void)state;
  char labels[32];
  struct tg_series *first = make(TG_SERIES_COUNTER, "many", "n=\"0\"");
  int made = 1;
  while (snprintf(labels, sizeof labels, "n=\"%d\"", made) && make(TG_SERIES_COUNTER, "many", labels))
    made++;
  assert_int_equal(made, TG_SERIES_MAX);
  assert_ptr_equal(make(TG_SERIES_COUNTER, "many", "n=\"0\""), first);
  enum tg_series_kind kind;
  assert_true(tg_series_kind(tg_stats(), "many", &kind) && kind == TG_SERIES_COUNTER);
  assert_false(tg_series_kind(tg_stats(), "others", &kind));
}

static void scribble(void)
{
  count_series();
  struct tg_stats *stats = tg_stats();
  uint32_t seed = 1;
  for (int i = 0; i < 40; i++) {
    seed = seed * 1664525 + 1013904223;
    stats->series[seed % stats->series_used] = (char)(seed >> 24);
  }
}

/* A script may write anywhere, through FFI. Reading stays within the page, and
 * the next process cuts off what it cannot walk. */
static void a_page_that_was_scribbled_over_is_survived(void **state)
{
  (void)state;
  struct tg_series_view view;
  for (int i = 0; i < 20; i++) {
    in_a_worker(scribble);
    for (size_t offset = 0; tg_series_next(page, &offset, &view);)
      assert_true(strlen(view.text.name) + strlen(view.text.labels) < TG_STATS_SERIES_BYTES);
    in_a_worker(count_series);
  }
  atomic_store(&page->series_used, UINT32_MAX);
  size_t offset = 0;
  assert_false(tg_series_next(page, &offset, &view));
  in_a_worker(count_series);
  offset = 0;
  assert_true(tg_series_next(page, &offset, &view));
}

static void limit_a_level(void)
{
  struct tg_series *level = make(TG_SERIES_GAUGE, "level", "");
  tg_series_set(level, 1);
  level->limit_count = 16;
}

/* Its text would be looked for behind limits that are not there. */
static void only_histograms_have_limits(void **state)
{
  (void)state;
  struct tg_series_view view;
  size_t offset = 0;
  in_a_worker(limit_a_level);
  assert_false(tg_series_next(page, &offset, &view));
}

/* ---- pages of other programs ---- */

static void a_page_of_another_layout_is_not_read(void **state)
{
  (void)state;
  struct tg_error error;
  struct tg_stats *same = tg_stats_map(page_fd, &error);
  assert_non_null(same);
  tg_stats_unmap(same);
  page->layout[TG_STATS_LAYOUT_SIZE - 4] ^= 1;
  assert_null(tg_stats_map(page_fd, &error));
  assert_string_equal(error.code, "layout");
  in_a_worker(count_some); /* which has it from the program that has made it */
  assert_int_equal(page->types[TG_EVENT_MESSAGE_CREATE].received, 1);
}

/* ---- close codes of a shard ---- */

static void close_codes_have_places(void **state)
{
  (void)state;
  for (int code = 0; code < 6000; code++) {
    int place = tg_close_place(code);
    assert_in_range(place, 0, TG_CLOSE_CODES - 1);
    assert_true(place == TG_CLOSE_CODES - 1 || tg_close_code(place) == code);
  }
  assert_int_equal(tg_close_code(tg_close_place(4014)), 4014);
  assert_int_equal(tg_close_code(tg_close_place(1006)), 1006);
  assert_int_equal(tg_close_code(tg_close_place(4900)), 0);
}

int main(void)
{
#define PAGE_TEST(name) cmocka_unit_test_setup_teardown(name, make_page, drop_page)
  const struct CMUnitTest tests[] = {
      PAGE_TEST(counters_outlive_the_worker),
      PAGE_TEST(a_foreign_file_is_refused),
      PAGE_TEST(what_does_not_fit_shares_a_place),
      PAGE_TEST(sinks_have_places_by_their_names),
      PAGE_TEST(what_a_script_scribbles_is_no_name),
      PAGE_TEST(lanes_are_read_whole_or_not_at_all),
      PAGE_TEST(series_go_on_where_the_last_process_was),
      cmocka_unit_test(series_have_a_bound),
      PAGE_TEST(a_page_that_was_scribbled_over_is_survived),
      PAGE_TEST(only_histograms_have_limits),
      PAGE_TEST(a_page_of_another_layout_is_not_read),
      cmocka_unit_test(close_codes_have_places),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
