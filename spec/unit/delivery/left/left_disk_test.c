/* What is left of shards, and the disk: logs that are larger than memory, bounds, a disk that is full,
 * processes that end and die. */

#include "unit/delivery/left/left_world.h"

#include <sys/wait.h>

/* --- logs that are larger than memory ---------------------------------------------------------- */

static char large_data[4000];

static void receive_large(int shard_id, int count)
{
  memset(large_data, 'x', sizeof large_data - 1);
  memcpy(large_data, "{\"a\":\"", 6);
  memcpy(large_data + sizeof large_data - 3, "\"}", 3);
  for (int i = 0; i < count; i++) {
    deliver(shard_id, "MESSAGE_CREATE", large_data);
    if (i % 50 == 0)
      end_turn();
  }
  end_turn();
}

static void a_lane_that_is_in_the_log_goes_in_slices(void **state)
{
  (void)state;
  enum { COUNT = 3000 };
  config.queue.memory_bytes = 1 << 20;
  receive_large(3, COUNT);
  int turns = 0;
  take_lease(3);
  tg_delivery_leave(delivery, 3, on_left, NULL);
  for (; left_done.count == 0; turns++)
    delivery->left_timer.timer_cb(&delivery->left_timer);
  assert_int_equal(turns, 3); /* of 4 MiB each, of 12 */
  assert_int_equal(open_posts, 0);
  restart_clustered();
  fill(3, 0, COUNT);
  take_late(1, COUNT);
  assert_int_equal(filled.count, 1);
}

static void the_bound_of_the_log_is_kept(void **state)
{
  (void)state;
  enum { COUNT = 3000 }; /* 12 of 16 MiB */
  config.queue.disk_bytes = 16 << 20;
  config.queue.memory_bytes = 1 << 20;
  config.event_handler.markers = true;
  restart_clustered(); /* with segments of that log */
  tg_delivery_adopt_session(delivery, 3, 7, 0);
  receive_large(3, COUNT);
  assert_int_equal(value(&rows[3].dropped), 0);
  left(3);
  assert_int_equal(value(&rows[3].dropped), 0);
  fill(3, 0, COUNT);
  take_late(1, COUNT);
  assert_int_equal(filled.count, 1);
}

/* --- the disk ------------------------------------------------------------------------------------ */

static void a_full_disk_is_told_and_tried_again(void **state)
{
  (void)state;
  receive(3, 5);
  take("3.7.1");
  disk_is_full = true;
  leave(3);
  advance(0);
  assert_int_equal(left_done.count, 1);
  assert_string_equal(left_done.code, "disk");
  assert_true(tg_delivery_is_leaving(delivery, 3));
  advance(10000);
  assert_int_equal(open_posts, 0); /* nothing of it is sent */
  fill(3, 0, 100);
  advance(0);
  assert_int_equal(filled.count, 1); /* nobody can say what is in there */
  assert_string_equal(filled.code, "disk");
  disk_is_full = false;
  left(3);
  assert_false(tg_delivery_is_leaving(delivery, 3));
  fill(3, 0, 100);
  take_late(2, 5);
  assert_int_equal(filled.count, 2);
}

/* Events wait in memory alone since the log refuses them, and then the shard goes. */
static void what_no_log_has_goes_into_it_or_stays(void **state)
{
  (void)state;
  receive(3, 2);
  disk_is_full = true;
  receive(3, 2);
  leave(3);
  assert_int_equal(left_done.count, 1);
  assert_string_equal(left_done.code, "disk");
  disk_is_full = false;
  left(3);
  fill(3, 0, 100);
  take_late(1, 4);
  assert_int_equal(filled.count, 1);
}

static void without_a_log_nothing_is_left(void **state)
{
  (void)state;
  tg_delivery_free(delivery);
  run_closes();
  config.queue.durability = TG_DURABILITY_MEMORY;
  begin_clustered_process();
  tg_delivery_new_session(delivery, 3, 7);
  next_sequence[3] = 0;
  for (int i = 0; i < 3; i++)
    deliver(3, "TYPING_START", "{}");
  expect_key("3.7.1");
  left(3);
  assert_int_equal(open_posts, 0);
  fill(3, 0, 100);
  assert_int_equal(filled.count, 1);
  config.queue.durability = TG_DURABILITY_LOG;
}

/* --- processes that end -------------------------------------------------------------------------- */

static void it_outlives_the_process(void **state)
{
  (void)state;
  receive(3, 5);
  left(3);
  fill(3, 0, 3);
  take_late(1, 1);
  restart_clustered(); /* in the middle of it */
  assert_int_equal(open_posts, 0);
  fill(3, 0, 3);
  take_late(2, 3);
  assert_int_equal(filled.count, 2); /* the first was told of the end */
  restart_clustered();
  tg_delivery_void(delivery, 3);
  restart_clustered();
  fill(3, 0, 100);
  assert_int_equal(filled.count, 3);
  assert_int_equal(open_posts, 0);
}

static void a_shard_that_was_lost_meanwhile_leaves_at_the_start(void **state)
{
  (void)state;
  receive(3, 3);
  receive(4, 1);
  end_process();
  take_lease(3);
  begin_clustered_process();
  open_log();
  tg_delivery_leave_lost(delivery);
  advance(TG_LEASE_LOOK);
  take("4.7.1"); /* this host's, as before */
  assert_int_equal(open_posts, 0);
  fill(3, 0, 3);
  take_late(1, 3);
  assert_int_equal(filled.count, 1);
}

/* --- whoever dies in the middle --------------------------------------------------------------------- */

enum { DYING = 2000 /* 8 MiB: two slices */ };

/* True: it was done before it came to die. */
static bool die_while_leaving(int writes)
{
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    begin_clustered_process();
    open_log();
    writes_to_live = writes;
    leave(3);
    for (int i = 0; i < 100 && left_done.count == 0; i++)
      advance(0);
    end_turn();
    _exit(left_done.count == 1 ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9);
  return WEXITSTATUS(status) == 0;
}

static void a_death_at_any_write_loses_nothing(void **state)
{
  (void)state;
  bool done = false;
  int deaths = 0;
  config.event_handler.batch = TG_BATCH_USUAL;
  config.queue.memory_bytes = 1 << 20;
  for (int writes = 0; !done; writes++, deaths++) {
    assert_in_range(writes, 0, 200);
    dies_behind = writes % 2 == 1;
    hold(3, INT64_MAX);
    receive_large(3, DYING);
    end_process();
    done = die_while_leaving((writes + 1) / 2);
    take_lease(3);
    begin_clustered_process();
    open_log();
    tg_delivery_leave_lost(delivery);
    advance(0);
    fill(3, 0, UINT32_MAX);
    take_all_late(next_sequence[3] - DYING + 1, next_sequence[3]);
    assert_int_equal(filled.count, writes + 1);
    assert_int_equal(open_posts, 0);
    tg_delivery_adopt_session(delivery, 3, 7, next_sequence[3]);
    tg_delivery_go_on(delivery, 3);
  }
  assert_true(deaths > 3);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      LEFT(a_lane_that_is_in_the_log_goes_in_slices),
      LEFT(the_bound_of_the_log_is_kept),
      LEFT(a_full_disk_is_told_and_tried_again),
      LEFT(what_no_log_has_goes_into_it_or_stays),
      LEFT(without_a_log_nothing_is_left),
      LEFT(it_outlives_the_process),
      LEFT(a_shard_that_was_lost_meanwhile_leaves_at_the_start),
      LEFT(a_death_at_any_write_loses_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
