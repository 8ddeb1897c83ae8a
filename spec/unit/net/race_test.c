/* Which address is tried when. */

#include "net/race.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What is begun at that moment, -1: nothing; nobody is given up for it. */
static int next(struct tg_race *race, tg_ms now)
{
  int give_up, index = tg_race_next(race, now, &give_up);
  assert_int_equal(give_up, -1);
  return index;
}

static void the_next_begins_after_a_quarter_of_a_second(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 3);
  assert_int_equal(next(&race, 1000), 0);
  assert_int_equal(next(&race, 1000), -1);
  assert_int_equal(tg_race_due(&race), 1250);
  assert_int_equal(next(&race, 1249), -1);
  assert_int_equal(next(&race, 1250), 1);
  assert_int_equal(next(&race, 1500), 2);
  assert_int_equal(tg_race_due(&race), -1);
  assert_false(tg_race_lost(&race));
}

static void or_at_once_when_one_has_failed(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 3);
  assert_int_equal(next(&race, 1000), 0);
  tg_race_failed(&race, 0);
  assert_int_equal(next(&race, 1001), 1);
  assert_int_equal(next(&race, 1001), -1);
  tg_race_failed(&race, 1);
  assert_int_equal(next(&race, 1002), 2);
  assert_false(tg_race_lost(&race));
  tg_race_failed(&race, 2);
  assert_int_equal(next(&race, 1003), -1);
  assert_true(tg_race_lost(&race));
}

static void the_failure_of_an_older_one_hurries_nobody(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 3);
  next(&race, 1000);
  next(&race, 1250);
  tg_race_failed(&race, 0);
  assert_int_equal(next(&race, 1300), -1);
  assert_int_equal(next(&race, 1500), 2);
}

static void a_connection_has_seconds_for_its_handshake(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 2);
  next(&race, 1000);
  tg_race_connected(&race, 0, 1100);
  assert_int_equal(tg_race_due(&race), 1100 + TG_RACE_HANDSHAKE);
  assert_int_equal(next(&race, 1100 + TG_RACE_HANDSHAKE - 1), -1);
  assert_false(tg_race_is_late(&race, 0, 1100 + TG_RACE_HANDSHAKE - 1));
  assert_true(tg_race_is_late(&race, 0, 1100 + TG_RACE_HANDSHAKE));
  assert_int_equal(next(&race, 1100 + TG_RACE_HANDSHAKE), 1);
}

static void so_has_the_one_that_came_second(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 3);
  next(&race, 1000);
  next(&race, 1250);
  tg_race_connected(&race, 1, 1300);
  tg_race_connected(&race, 0, 1400);
  assert_int_equal(tg_race_due(&race), 1400 + TG_RACE_HANDSHAKE);
  assert_true(tg_race_is_late(&race, 1, 1300 + TG_RACE_HANDSHAKE));
  assert_false(tg_race_is_late(&race, 2, 1000000)); /* it has not begun */
}

static void a_handshake_that_fails_gives_way_at_once(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 2);
  next(&race, 1000);
  tg_race_connected(&race, 0, 1100);
  tg_race_failed(&race, 0);
  assert_int_equal(next(&race, 1200), 1);
}

static void no_more_run_than_allowed(void **state)
{
  (void)state;
  struct tg_race race;
  int give_up;
  tg_race_begin(&race, TG_RACE_AT_ONCE + 2);
  for (int i = 0; i < TG_RACE_AT_ONCE; i++)
    assert_int_equal(next(&race, 1000 + 250 * i), i);
  /* The oldest without a connection goes. */
  assert_int_equal(tg_race_next(&race, 3000, &give_up), TG_RACE_AT_ONCE);
  assert_int_equal(give_up, 0);
  /* One with a connection stays, while others have none. */
  tg_race_connected(&race, 1, 3000);
  assert_int_equal(tg_race_next(&race, 3000 + TG_RACE_HANDSHAKE, &give_up), TG_RACE_AT_ONCE + 1);
  assert_int_equal(give_up, 2);
}

static void of_mute_ones_the_oldest_goes(void **state)
{
  (void)state;
  struct tg_race race;
  int give_up;
  tg_ms now = 1000;
  tg_race_begin(&race, TG_RACE_AT_ONCE + 1);
  for (int i = 0; i < TG_RACE_AT_ONCE; i++, now += TG_RACE_HANDSHAKE) {
    assert_int_equal(next(&race, now), i);
    tg_race_connected(&race, i, now);
  }
  assert_int_equal(tg_race_next(&race, now, &give_up), TG_RACE_AT_ONCE);
  assert_int_equal(give_up, 0);
}

static void without_addresses_it_is_lost(void **state)
{
  (void)state;
  struct tg_race race;
  tg_race_begin(&race, 0);
  assert_int_equal(next(&race, 1000), -1);
  assert_true(tg_race_lost(&race));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_next_begins_after_a_quarter_of_a_second),
      cmocka_unit_test(or_at_once_when_one_has_failed),
      cmocka_unit_test(the_failure_of_an_older_one_hurries_nobody),
      cmocka_unit_test(a_connection_has_seconds_for_its_handshake),
      cmocka_unit_test(so_has_the_one_that_came_second),
      cmocka_unit_test(a_handshake_that_fails_gives_way_at_once),
      cmocka_unit_test(no_more_run_than_allowed),
      cmocka_unit_test(of_mute_ones_the_oldest_goes),
      cmocka_unit_test(without_addresses_it_is_lost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
