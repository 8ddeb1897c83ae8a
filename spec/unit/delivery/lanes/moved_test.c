/* Shards that go from one worker to another while the gateway runs: what waits for
 * them in the log of a process that has ended goes with them, once and in order. */

#include "unit/delivery/logged_world.h"

#include <unistd.h>

static bool is_odd(void *ctx, tg_shard_ref ref)
{
  (void)ctx;
  return tg_ref_id(ref) % 2 == 1;
}

static bool is_even(void *ctx, tg_shard_ref ref)
{
  return !is_odd(ctx, ref);
}

static void start_worker(int id, bool (*wanted)(void *ctx, tg_shard_ref ref), bool moved)
{
  struct tg_error error = {0};
  struct tg_delivery_options options = {
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
      .worker_id = id,
  };
  delivery = tg_delivery_new(&options);
  if (!tg_delivery_open_logs(delivery, wanted, 1, moved, &error))
    fail_msg("%s", error.message);
}

static bool is_low(void *ctx, tg_shard_ref ref)
{
  (void)ctx;
  return tg_ref_id(ref) < 2;
}

static bool is_high(void *ctx, tg_shard_ref ref)
{
  return !is_low(ctx, ref);
}

static void receive(int shard_id, int count)
{
  for (int i = 0; i < count; i++)
    deliver(shard_id, "MESSAGE_DELETE", "{}");
}

/* Until nothing is under way; how many that were. */
static int answer_until_quiet(void)
{
  int count = 0;
  end_turn();
  for (int i = 0; i < post_count; i++)
    if (posts[i].open) {
      answer(i, 200);
      end_turn();
      count++;
      i = -1;
    }
  return count;
}

/* The keys of a shard, as they came, from that post on. */
static void expect_in_order(int from, int shard_id, int first, int last)
{
  char key[40];
  for (int i = from; i < post_count; i++) {
    if (atoi(posts[i].key) != shard_id)
      continue;
    snprintf(key, sizeof key, "%d.7.%d", shard_id, first++);
    assert_string_equal(posts[i].key, key);
  }
  assert_int_equal(first, last + 1);
}

static int count_logs(void)
{
  char parent[128];
  int count = 0;
  snprintf(parent, sizeof parent, "%s/log", state_dir);
  char **names = tg_event_log_list(parent);
  while (names && names[count])
    count++;
  tg_event_log_list_free(names);
  return count;
}

/* Worker 0 has the shards 0 and 1, worker 1 has 2 and 3; then it is 0 and 2, 1 and 3. */
static void begin_two_workers(void)
{
  end_process(); /* that of the fixture */
  start_worker(0, is_low, false);
  receive(0, 3);
  receive(1, 4);
  end_process();
  start_worker(1, is_high, false);
  receive(2, 5);
  receive(3, 6);
  end_process();
}

static void what_waits_goes_with_its_shard(void **state)
{
  (void)state;
  begin_two_workers();
  int from = post_count;
  start_worker(1, is_odd, true);
  tg_delivery_adopt_session(delivery, 1, 7, 4);
  tg_delivery_adopt_session(delivery, 3, 7, 6);
  receive(1, 1); /* behind what waits */
  assert_int_equal(answer_until_quiet(), 4 + 6 + 1);
  expect_in_order(from, 1, 1, 5);
  expect_in_order(from, 3, 1, 6);
  expect_in_order(from, 0, 1, 0);
  expect_in_order(from, 2, 1, 0);
  end_process();
  assert_int_equal(count_logs(), 2); /* something waits for other shards */
  from = post_count;
  start_worker(0, is_even, true);
  assert_int_equal(answer_until_quiet(), 3 + 5);
  expect_in_order(from, 0, 1, 3);
  expect_in_order(from, 2, 1, 5);
  assert_int_equal(count_logs(), 1);
}

static void back_and_forth_keeps_the_order(void **state)
{
  (void)state;
  begin_two_workers();
  start_worker(1, is_odd, true);
  receive(1, 2);
  end_process();
  start_worker(0, is_low, true);
  receive(1, 2);
  end_process();
  int from = post_count;
  start_worker(1, is_odd, true);
  answer_until_quiet();
  expect_in_order(from, 1, 1, 8);
  expect_in_order(from, 3, 1, 6);
}

/* It has the lock for as long as it lives: to wait for it would be of no use. */
static void what_a_living_worker_writes_is_left_to_it(void **state)
{
  (void)state;
  struct tg_error error = {0};
  char directory[160];
  struct tg_span part = {"{\"shardId\":1}", 13};
  begin_two_workers();
  snprintf(directory, sizeof directory, "%s/log/worker-2.1-1", state_dir);
  struct tg_event_log_options options = {.directory = directory, .mode = TG_LOG_WRITE};
  struct tg_event_log *living = tg_event_log_open(&options, &error);
  struct tg_log_event event = {
      .shard_id = 1, .epoch = 7, .sequence = 100, .kind = TG_LOG_EVENT, .parts = &part, .part_count = 1};
  assert_non_null(living);
  assert_true(tg_event_log_append(living, &event, &error) > 0 && tg_event_log_flush(living, &error));
  clear_log();
  start_worker(1, is_odd, true);
  assert_int_equal(log_lines[TG_ERROR] + log_lines[TG_WARN], 0);
  assert_int_equal(answer_until_quiet(), 4 + 6);
  tg_event_log_close(living);
}

/* Where none has moved the logs of other workers are not even looked into: they may be large. */
static void without_a_move_each_has_its_own(void **state)
{
  (void)state;
  begin_two_workers();
  start_worker(1, is_odd, false);
  assert_int_equal(answer_until_quiet(), 6);
  assert_int_equal(count_logs(), 3);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      LOGGED(what_waits_goes_with_its_shard),
      LOGGED(back_and_forth_keeps_the_order),
      LOGGED(what_a_living_worker_writes_is_left_to_it),
      LOGGED(without_a_move_each_has_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
