/* Who is taken for deaf, over weeks: nobody who is not, and everybody who is, in time. */

#include "world.h"

static struct world world;

static void has_done(int asks, int resumes, int identifies)
{
  assert_int_equal(world.resumes, resumes);
  assert_int_equal(world.identifies, identifies);
  assert_int_equal(world.asks, asks);
}

static void nobody_is_touched(void)
{
  has_done(0, 0, 0);
  assert_int_equal(world.vanished, NOBODY);
}

/* ---- a month without a deaf session ---- */

static void a_month_with_nights_and_weekends(void **state)
{
  (void)state;
  world_begin(&world, 16, 60);
  world.night = 0.02;
  world.weekend = 0.5;
  world_live(&world, 30);
  nobody_is_touched();
  world_end(&world);
}

static void a_month_of_growth(void **state)
{
  (void)state;
  world_begin(&world, 8, 4);
  world.night = 0.1;
  world.growth = 1.1;
  world_live(&world, 30);
  nobody_is_touched();
  world_end(&world);
}

static void a_month_of_decline(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world.night = 0.1;
  world.growth = 0.8;
  world_live(&world, 30);
  nobody_is_touched();
  world_end(&world);
}

static void a_month_of_two_quiet_guilds(void **state)
{
  (void)state;
  for (int shards = 1; shards <= 2; shards++) {
    world_begin(&world, shards, 3);
    world.night = 0.01;
    for (int i = 0; i < shards; i++)
      world.shards[i].spell = 30;
    world_live(&world, 30);
    nobody_is_touched();
    world_end(&world);
  }
}

static void a_month_of_a_bot_with_one_shard(void **state)
{
  (void)state;
  world_begin(&world, 1, 40);
  world.night = 0.02;
  world.weekend = 0.3;
  world_live(&world, 30);
  nobody_is_touched();
  world_end(&world);
}

/* Talk comes in spells: whole spells of silence are usual there. A question may be asked now and then. */
static void a_month_of_spells(void **state)
{
  (void)state;
  world_begin(&world, 12, 30);
  for (int i = 0; i < 12; i++)
    world.shards[i].spell = 5 + 5 * i;
  world_live(&world, 30);
  assert_int_equal(world.resumes, 0);
  assert_int_equal(world.identifies, 0);
  assert_true(world.asks < 12);
  world_end(&world);
}

static void outages_of_all_and_of_half(void **state)
{
  (void)state;
  world_begin(&world, 16, 60);
  world.night = 0.1;
  for (int day = 0; day < 28; day++) {
    world.outage_from = world.minute + 600 + 31 * day;
    world.outage_to = world.outage_from + 5 + 11 * day;
    world.outage_shards = day % 2 ? 16 : 8;
    world_live(&world, 1);
  }
  nobody_is_touched();
  world_end(&world);
}

static void an_outage_of_a_bot_with_two_shards(void **state)
{
  (void)state;
  world_begin(&world, 2, 60);
  world_live(&world, 9);
  world.outage_from = world.minute + 100;
  world.outage_to = world.outage_from + 300;
  world_live(&world, 1);
  nobody_is_touched();
  world_end(&world);
}

/* The guilds of a shard have left the bot, all but some in which nothing happens: one question, whose answer
 * says so. What is usual of it is soon something else. */
static void a_shard_whose_guilds_fall_silent(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world_live(&world, 9);
  world.shards[3].left = true;
  world_run(&world, 14 * DAY);
  assert_int_equal(world.resumes, 0);
  assert_int_equal(world.identifies, 0);
  assert_int_equal(world.asks, 1);
  world_end(&world);
}

static void a_type_that_is_rarer_on_weekends_and_at_night(void **state)
{
  (void)state;
  world_begin(&world, 16, 120); /* INTERACTION_CREATE: 2.4 a minute by day, one in 20 minutes at night */
  world.night = 0.02;
  world.weekend = 0.2;
  world_live(&world, 30);
  nobody_is_touched();
  world_end(&world);
}

/* ---- deaf sessions ---- */

static void go_deaf(int shard, int type)
{
  world.shards[shard].deaf = type == EVERYTHING;
  world.shards[shard].deaf_to = type;
  world.first_act = -1;
  world.resumes = world.identifies = world.asks = world.heard = 0;
}

static void is_found_after_a_day(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world_live(&world, 2);
  go_deaf(3, EVERYTHING);
  world.shards[3].heals_by_resume = true;
  int began = world.minute;
  world_run(&world, 30);
  assert_in_range(world.first_act - began, PATIENCE - 1, PATIENCE + 1);
  has_done(2, 1, 0);
  assert_int_equal(world.heard, 1);
  world_end(&world);
}

static void gets_a_new_session_when_a_resume_does_not_help(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world_live(&world, 8);
  go_deaf(3, EVERYTHING);
  int began = world.minute;
  world_run(&world, 30);
  assert_in_range(world.first_act - began, PATIENCE - 1, PATIENCE + 1);
  has_done(3, 1, 1);
  assert_int_equal(world.heard, 1);
  world_run(&world, DAY);
  has_done(3, 1, 1);
  world_end(&world);
}

/* Its silences are longer then; and its sisters' too. */
static void is_found_at_night(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world.night = 0.05;
  world_live(&world, 10);
  world_run(&world, 4 * 60); /* the quietest hour */
  go_deaf(3, EVERYTHING);
  world.shards[3].heals_by_resume = true;
  int began = world.minute;
  world_run(&world, 90);
  assert_in_range(world.first_act - began, PATIENCE - 3, 60);
  assert_int_equal(world.heard, 1);
  world_end(&world);
}

static void of_two_shards_one_is_found(void **state)
{
  (void)state;
  world_begin(&world, 2, 60);
  world_live(&world, 8);
  go_deaf(1, EVERYTHING);
  int began = world.minute;
  world_run(&world, 30);
  assert_in_range(world.first_act - began, PATIENCE - 1, PATIENCE + 1);
  has_done(3, 1, 1);
  world_end(&world);
}

/* One after the other. */
static void of_many_a_few_are_found(void **state)
{
  (void)state;
  world_begin(&world, 32, 60);
  world_live(&world, 8);
  for (int i = 0; i < 4; i++)
    go_deaf(5 * i, EVERYTHING);
  world_run(&world, 60);
  has_done(12, 4, 4);
  assert_int_equal(world.heard, 4);
  world_end(&world);
}

static void alone_it_is_resumed_and_no_session_is_spent(void **state)
{
  (void)state;
  world_begin(&world, 1, 60);
  world_live(&world, 8);
  go_deaf(0, EVERYTHING);
  world_run(&world, 300);
  has_done(2, 1, 0);
  assert_int_equal(world.alone, 1);
  world_end(&world);
}

static void below_the_reserve_it_waits(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world_live(&world, 8);
  go_deaf(3, EVERYTHING);
  world.broke = true;
  world_run(&world, 120);
  assert_int_equal(world.resumes, 1);
  assert_int_equal(world.identifies, 0);
  assert_true(world.waits > 1);
  world.broke = false;
  world_run(&world, 60);
  assert_int_equal(world.resumes, 1);
  assert_int_equal(world.identifies, 1);
  assert_int_equal(world.heard, 1);
  world_end(&world);
}

/* An hour in which it was deaf is not what is usual of it. */
static void is_found_again_after_a_restart_that_kept_it_deaf(void **state)
{
  (void)state;
  world_begin(&world, 8, 60);
  world_live(&world, 8);
  for (int day = 0; day < 5; day++) {
    go_deaf(3, EVERYTHING);
    world_run(&world, 5);
    world_restart(&world);
    world_run(&world, 30);
    has_done(3, 1, 1);
    world_run(&world, DAY - 35);
  }
  world_end(&world);
}

/* ---- one type ---- */

enum { MESSAGES = TG_TRAFFIC_MESSAGE_CREATE - TG_TRAFFIC_FIRST_TYPE };

static void a_type_that_one_shard_loses_is_found(void **state)
{
  (void)state;
  for (int heals = 0; heals <= 1; heals++) {
    world_begin(&world, 8, 60);
    world_live(&world, 5);
    go_deaf(3, MESSAGES);
    world.shards[3].heals_by_resume = heals;
    int began = world.minute;
    world_run(&world, 150);
    assert_in_range(world.first_act - began, 3 * PATIENCE - 1, 3 * PATIENCE + 5);
    has_done(0, 1, !heals);
    assert_int_equal(world.heard, 1);
    assert_int_equal(world.vanished, NOBODY);
    world_end(&world);
  }
}

static void a_type_that_all_shards_lose_is_an_alarm_and_nothing_more(void **state)
{
  (void)state;
  for (int shards = 1; shards <= 8; shards += 7) {
    world_begin(&world, shards, 60);
    world_live(&world, 5);
    world.lost_everywhere = MESSAGES;
    int began = world.minute;
    world_run(&world, 120);
    has_done(0, 0, 0);
    assert_int_equal(world.vanished, MESSAGES);
    assert_in_range(world.vanished_at - began, 3 * PATIENCE - 1, 3 * PATIENCE + 5);
    world_end(&world);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_month_with_nights_and_weekends),
      cmocka_unit_test(a_month_of_growth),
      cmocka_unit_test(a_month_of_decline),
      cmocka_unit_test(a_month_of_two_quiet_guilds),
      cmocka_unit_test(a_month_of_a_bot_with_one_shard),
      cmocka_unit_test(a_month_of_spells),
      cmocka_unit_test(outages_of_all_and_of_half),
      cmocka_unit_test(an_outage_of_a_bot_with_two_shards),
      cmocka_unit_test(a_shard_whose_guilds_fall_silent),
      cmocka_unit_test(a_type_that_is_rarer_on_weekends_and_at_night),
      cmocka_unit_test(is_found_after_a_day),
      cmocka_unit_test(gets_a_new_session_when_a_resume_does_not_help),
      cmocka_unit_test(is_found_at_night),
      cmocka_unit_test(of_two_shards_one_is_found),
      cmocka_unit_test(of_many_a_few_are_found),
      cmocka_unit_test(alone_it_is_resumed_and_no_session_is_spent),
      cmocka_unit_test(below_the_reserve_it_waits),
      cmocka_unit_test(is_found_again_after_a_restart_that_kept_it_deaf),
      cmocka_unit_test(a_type_that_one_shard_loses_is_found),
      cmocka_unit_test(a_type_that_all_shards_lose_is_an_alarm_and_nothing_more),
  };
  return cmocka_run_group_tests_name("deaf/hearing", tests, NULL, NULL);
}
