/* By what number the cluster speaks of a shard, before, during and after a change of how many there are; and
 * what of those that were is kept. */

#include "base/clock.h"
#include "manager/cluster/member_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { OLD = 4, NEW = 8, BOT = 0xb07 };

static char dir[64];
static struct tg_manager_env env;
static struct tg_member member;

static struct tg_shard_table *open_table(int side, int total)
{
  struct tg_error error;
  struct tg_shard_table *table = tg_shard_table_open(dir, side, total, tg_identity(BOT, total), 0, &error);
  assert_non_null(table);
  return table;
}

static void make_set(struct tg_shard_set *set, int side, int total)
{
  const struct tg_shard_range range = {0, total - 1, total};
  tg_shard_set_make(set, side, &range);
  set->table = open_table(side, total);
}

static int begin(void **state)
{
  (void)state;
  strcpy(dir, "/tmp/tidegate-sides-XXXXXX");
  if (!mkdtemp(dir))
    return -1;
  env = (struct tg_manager_env){.state_dir = dir, .clustered = true};
  member = (struct tg_member){.env = &env};
  make_set(&env.shards, 0, OLD);
  tg_member_take_sides(&member, OLD);
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_member_free_sides(&member);
  tg_shard_set_clear(&env.shards);
  tg_shard_set_clear(&env.next);
  for (int side = 0; side < TG_SIDES; side++)
    tg_shard_table_remove(dir, side);
  return rmdir(dir);
}

static void begin_change(void)
{
  make_set(&env.next, 1, NEW);
  member.to = NEW;
  tg_member_list(&member, 1, NEW);
}

/* As the gateway does when all classes have closed their old shards. */
static void end_change(void)
{
  struct tg_shard_set over = {0};
  member.sides[0].table = open_table(0, OLD);
  tg_shard_set_move(&over, &env.shards);
  tg_shard_set_move(&env.shards, &env.next);
  tg_shard_set_clear(&over);
  tg_member_change_sides(&member, NEW);
}

static void assert_ref(int number, int total, tg_shard_ref ref)
{
  const struct tg_member_shard *shard = tg_member_find(&member, number, total);
  assert_non_null(shard);
  assert_int_equal(shard->ref, ref);
}

static void a_new_shard_has_its_number_and_next(void **state)
{
  (void)state;
  assert_ref(3, OLD, tg_ref_of(3, 0));
  assert_null(tg_member_find(&member, OLD, OLD));
  assert_null(tg_member_find(&member, TG_CLUSTER_NEXT, OLD));
  begin_change();
  assert_ref(3, OLD, tg_ref_of(3, 0));
  assert_ref(TG_CLUSTER_NEXT + 5, OLD, tg_ref_of(5, 1));
  assert_ref(5, NEW, tg_ref_of(5, 1)); /* of a hole */
  assert_null(tg_member_find(&member, TG_CLUSTER_NEXT + NEW, OLD));
  assert_null(tg_member_find(&member, 3, 2 * NEW));
  assert_int_equal(tg_member_number(&member, &env.next.list[5]), TG_CLUSTER_NEXT + 5);
  assert_ptr_equal(tg_member_managed(&member, TG_CLUSTER_NEXT + 5), &env.next.list[5]);
  assert_ptr_equal(tg_member_row_of(&member, TG_CLUSTER_NEXT + 5), tg_shard_row_of(&env.next.list[5]));
}

static void a_change_that_is_over_gives_the_numbers_to_the_new_ones(void **state)
{
  (void)state;
  begin_change();
  struct tg_member_shard *old = tg_member_find(&member, 3, OLD);
  struct tg_member_shard *new = tg_member_find(&member, TG_CLUSTER_NEXT + 3, OLD);
  end_change();
  assert_ptr_equal(tg_member_find(&member, 3, NEW), new);
  assert_ptr_equal(tg_member_find(&member, 3, OLD), old);
  assert_null(tg_member_find(&member, TG_CLUSTER_NEXT + 3, NEW));
  assert_int_equal(tg_member_number(&member, &env.shards.list[3]), 3);
  assert_ptr_equal(tg_member_row_of(&member, 3), tg_shard_row_of(&env.shards.list[3]));
  assert_non_null(tg_member_row(&member, old->ref)); /* of the table that is kept */
}

static void what_is_left_of_old_shards_is_kept_until_nobody_asks_for_it(void **state)
{
  (void)state;
  begin_change();
  struct tg_shard_row *row = tg_shard_row_of(&env.shards.list[2]);
  atomic_store(&row->fence, 7);
  tg_row_leave(row);
  end_change();
  assert_true(tg_member_has_old(&member));
  row = tg_member_row(&member, tg_ref_of(2, 0));
  assert_int_equal(atomic_load(&row->left_fence), 7);
  atomic_store(&row->left_fence, 0); /* void */
  assert_false(tg_member_has_old(&member));
  tg_member_forget_old(&member);
  assert_null(tg_member_find(&member, 2, OLD));
  assert_null(tg_member_row(&member, tg_ref_of(2, 0)));
}

/* What waits for a worker, or for its answer, is of the shard as it was. */
static void an_answer_that_comes_late_finds_its_shard_over(void **state)
{
  (void)state;
  begin_change();
  struct tg_member_shard *shard = tg_member_find(&member, TG_CLUSTER_NEXT + 1, OLD);
  const struct tg_cluster_word word = {.kind = TG_CLUSTER_RUN, .shard = TG_CLUSTER_NEXT + 1};
  tg_task_append(&shard->tasks, tg_task_new(&word));
  tg_member_unlist(&member, 1);
  assert_null(shard->member);
  assert_null(shard->tasks);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_new_shard_has_its_number_and_next, begin, end),
      cmocka_unit_test_setup_teardown(a_change_that_is_over_gives_the_numbers_to_the_new_ones, begin, end),
      cmocka_unit_test_setup_teardown(what_is_left_of_old_shards_is_kept_until_nobody_asks_for_it, begin,
                                      end),
      cmocka_unit_test_setup_teardown(an_answer_that_comes_late_finds_its_shard_over, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
