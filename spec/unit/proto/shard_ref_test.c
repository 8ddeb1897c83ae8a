/* References of shards, and their places in arrays. */

#include "proto/shard_ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void each_reference_has_a_place_of_its_own(void **state)
{
  (void)state;
  enum { IDS = 5 };
  bool seen[IDS * TG_REF_PLACES];
  memset(seen, 0, sizeof seen);
  for (int id = 0; id < IDS; id++) {
    for (int side = 0; side < TG_SIDES; side++) {
      const tg_shard_ref refs[] = {tg_ref_of(id, side), tg_ref_left(tg_ref_of(id, side))};
      for (int i = 0; i < 2; i++) {
        int index = tg_ref_index(refs[i]);
        assert_in_range(index, 0, IDS * TG_REF_PLACES - 1);
        assert_false(seen[index]);
        seen[index] = true;
        assert_int_equal(tg_ref_at(index), refs[i]);
      }
    }
  }
}

static void what_is_left_keeps_the_name_of_its_shard(void **state)
{
  (void)state;
  const tg_shard_ref shards[] = {0, 7, tg_ref_of(7, 1), tg_ref_of(TG_REF_ID_MASK, 1)};
  for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
    tg_shard_ref left = tg_ref_left(shards[i]);
    assert_false(tg_ref_is_left(shards[i]));
    assert_true(tg_ref_is_left(left));
    assert_true(left > 0);
    assert_int_equal(tg_ref_id(left), tg_ref_id(shards[i]));
    assert_int_equal(tg_ref_side(left), tg_ref_side(shards[i]));
    assert_int_equal(tg_ref_live(left), shards[i]);
    assert_int_equal(tg_ref_live(shards[i]), shards[i]);
    assert_int_equal(tg_ref_left(left), left);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_reference_has_a_place_of_its_own),
      cmocka_unit_test(what_is_left_keeps_the_name_of_its_shard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
