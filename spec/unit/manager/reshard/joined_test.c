/* A host of a cluster starts, and hears how many shards there are now: what it had goes on, or is of before.
 */

#include "base/buf.h"
#include "manager/reshard/reshard_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { OLD = 4, NEW = 8, BOT = 0xb07 };

static char dir[64];
static struct tg_config config;
static struct tg_manager_env env;
static struct tg_reshard reshard;

static void make_table(int side, int total)
{
  struct tg_error error;
  struct tg_shard_table *table = tg_shard_table_open(dir, side, total, tg_identity(BOT, total), 0, &error);
  assert_non_null(table);
  tg_shard_table_set_bot(table, BOT);
  tg_shard_table_close(table);
}

static int begin(void **state)
{
  (void)state;
  strcpy(dir, "/tmp/tidegate-joined-XXXXXX");
  if (!mkdtemp(dir))
    return -1;
  config = (struct tg_config){0};
  env = (struct tg_manager_env){
      .state_dir = dir, .config = &config, .bot_with_intents = BOT, .clustered = true};
  reshard = (struct tg_reshard){.env = &env, .dropping = -1};
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_reshard_record_free(&reshard.record);
  for (int side = 0; side < TG_SIDES; side++)
    tg_shard_table_remove(dir, side);
  return rmdir(dir);
}

/* It was in the middle of the change 20 when it ended. */
static void was_going_over(void)
{
  make_table(1, OLD);
  make_table(0, NEW);
  reshard.recorded = true;
  reshard.record = (struct tg_reshard_record){.phase = TG_RESHARD_SWITCHING,
                                              .current = {1, OLD},
                                              .next = {0, NEW},
                                              .deal = tg_calloc(OLD, sizeof(int)),
                                              .classes = OLD,
                                              .change = 20,
                                              .ended = 10,
                                              .done = 10};
}

static void assert_current(int side, int total, int before)
{
  assert_int_equal(reshard.record.phase, TG_RESHARD_NONE);
  assert_int_equal(reshard.record.current.side, side);
  assert_int_equal(reshard.record.current.total, total);
  assert_int_equal(reshard.record.next.total, 0);
  assert_int_equal(reshard.record.before, before);
}

static void a_change_goes_on_that_is_not_over(void **state)
{
  (void)state;
  struct tg_member_past past;
  was_going_over();
  tg_reshard_past(&reshard, &past);
  assert_int_equal(past.side, 1);
  assert_int_equal(past.total, OLD);
  assert_int_equal(past.next, NEW);
  assert_int_equal(past.change, 20);
  assert_int_equal(past.done, 10);
  tg_reshard_joined(&reshard, OLD, 10);
  assert_int_equal(reshard.record.phase, TG_RESHARD_SWITCHING);
  assert_int_equal(reshard.record.change, 20);
}

static void one_that_has_ended_meanwhile_has_made_its_new_shards_the_shards(void **state)
{
  (void)state;
  was_going_over();
  tg_reshard_joined(&reshard, NEW, 20);
  assert_current(0, NEW, OLD);
  assert_int_equal(reshard.record.done, 20);
  assert_int_equal(reshard.record.ended, 20);
  assert_int_equal(tg_shard_table_peek(dir, 0, BOT), NEW); /* what they had */
  assert_int_equal(tg_shard_table_peek(dir, 1, BOT), OLD); /* and what is left of the others */
}

static void one_that_it_has_never_heard_of_leaves_what_it_had_where_it_is(void **state)
{
  (void)state;
  make_table(0, OLD);
  tg_reshard_joined(&reshard, NEW, 20);
  assert_current(1, NEW, OLD);
  assert_true(reshard.recorded);
  assert_int_equal(tg_shard_table_peek(dir, 0, BOT), OLD);
}

/* The one that it was in was taken back, and another one has ended. */
static void another_one_has_ended_meanwhile(void **state)
{
  (void)state;
  was_going_over();
  tg_reshard_joined(&reshard, NEW, 30);
  assert_current(0, NEW, OLD);
  assert_int_equal(tg_shard_table_peek(dir, 0, BOT), 0); /* those were of the other one */
  assert_int_equal(tg_shard_table_peek(dir, 1, BOT), OLD);
}

static void a_fresh_host_has_nothing_of_before(void **state)
{
  (void)state;
  tg_reshard_joined(&reshard, NEW, 20);
  assert_int_equal(reshard.record.done, 20);
  assert_int_equal(reshard.record.before, 0);
  assert_int_equal(reshard.record.current.side, 0);
}

static void hosts_that_were_all_stopped_may_begin_with_another_number(void **state)
{
  (void)state;
  was_going_over();
  tg_reshard_joined(&reshard, 2, 10);
  assert_current(1, OLD, 0); /* the table of the side is made anew, as ever */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_change_goes_on_that_is_not_over, begin, end),
      cmocka_unit_test_setup_teardown(one_that_has_ended_meanwhile_has_made_its_new_shards_the_shards, begin,
                                      end),
      cmocka_unit_test_setup_teardown(one_that_it_has_never_heard_of_leaves_what_it_had_where_it_is, begin,
                                      end),
      cmocka_unit_test_setup_teardown(another_one_has_ended_meanwhile, begin, end),
      cmocka_unit_test_setup_teardown(a_fresh_host_has_nothing_of_before, begin, end),
      cmocka_unit_test_setup_teardown(hosts_that_were_all_stopped_may_begin_with_another_number, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
