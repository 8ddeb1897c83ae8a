/* A class of the change from 2 shards to 4: the old shard 0, the new ones 0 and 2. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "delivery/reshard/class.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OLD = 0, NEW = 1, OTHER = 2, EPOCH = 7, LATER = 40000 };

static char directory[64];
static struct tg_class *class;
static uint64_t worker_bytes, sequences[3];
static tg_ms now;
static char released[200];

static int open_class(struct tg_skip_file *skip, size_t member_bytes)
{
  struct tg_class_options options = {.from = 2, .to = 4, .seed = 1, .held_bytes = &worker_bytes,
                                     .member_bytes = member_bytes, .grace = 1500, .skip = skip};
  class = tg_class_new(&options);
  return class ? 0 : -1;
}

static int begin(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/tidegate-class-XXXXXX");
  now = 1000;
  worker_bytes = 0;
  memset(sequences, 0, sizeof sequences);
  released[0] = '\0';
  return mkdtemp(directory) ? open_class(NULL, 0) : -1;
}

static int end(void **state)
{
  (void)state;
  tg_class_free(class);
  tg_skip_file_remove(directory, 0);
  return rmdir(directory) != 0 || worker_bytes != 0; /* nothing is left to be held */
}

static void session(int m, uint64_t epoch)
{
  tg_class_session(class, m, &(struct tg_class_session){.epoch = epoch, .fresh = true}, now);
  tg_class_link(class, m, TG_CLASS_UP, now);
  sequences[m] = 0;
}

/* All are there, and have their guilds. */
static void come_up(void)
{
  for (int m = OLD; m <= OTHER; m++) {
    session(m, EPOCH + (uint64_t)m);
    tg_class_loaded(class, m, now);
  }
}

static void pass_time(tg_ms ms)
{
  for (tg_ms until = now + ms; now < until;) {
    now += 500;
    tg_class_tick(class, now);
  }
}

static enum tg_class_verdict show_type(int m, const char *name, const char *data)
{
  char raw[300];
  int length = snprintf(raw, sizeof raw, "{\"t\":\"%s\",\"s\":%d,\"op\":0,\"d\":%s}", name,
                        (int)++sequences[m], data);
  struct tg_event event = {
      .type = tg_event_type(name, strlen(name)),
      .shard_id = tg_ref_id(tg_class_ref(class, m)),
      .side = (uint8_t)tg_ref_side(tg_class_ref(class, m)),
      .epoch = tg_class_epoch(class, m),
      .sequence = sequences[m],
      .name = {raw + 6, strlen(name)},
      .raw = {raw, (size_t)length},
      .data = {raw + length - 1 - strlen(data), strlen(data)},
  };
  return tg_class_show(class, m, &event, TG_GUILD_CHANGE_NONE, now);
}

/* A message of a guild that old 0 and new 0 have. */
static enum tg_class_verdict show(int m, int id)
{
  char data[80];
  snprintf(data, sizeof data, "{\"id\":\"%d\",\"guild_id\":\"%d\"}", id, 4 << 22);
  return show_type(m, "MESSAGE_CREATE", data);
}

static void on_release(void *ctx, int m, const struct tg_class_held *held)
{
  (void)ctx;
  size_t length = strlen(released);
  snprintf(released + length, sizeof released - length, "%d:%llu.%llu ", m,
           (unsigned long long)held->event->epoch, (unsigned long long)held->event->sequence);
}

static void do_switch(void)
{
  struct tg_skip_list list;
  struct tg_error error;
  for (int m = OLD; m <= OTHER; m++)
    tg_class_settled(class, m, tg_class_epoch(class, m), sequences[m]);
  tg_class_list(class, &list);
  struct tg_skip_file *file = tg_skip_file_make(directory, &list, &error);
  tg_skip_list_free(&list);
  assert_non_null(file);
  tg_class_switch(class, file, now, on_release, NULL);
}

static void test_members(void **state)
{
  (void)state;
  assert_int_equal(tg_class_members(class), 3);
  assert_int_equal(tg_class_member_of(class, 0), OLD);
  assert_int_equal(tg_class_member_of(class, tg_ref_of(0, 1)), NEW);
  assert_int_equal(tg_class_member_of(class, tg_ref_of(2, 1)), OTHER);
  assert_int_equal(tg_class_member_of(class, 1), -1);
  assert_int_equal(tg_class_member_of(class, 2), -1);
  assert_int_equal(tg_class_member_of(class, tg_ref_of(4, 1)), -1);
  assert_int_equal(tg_class_count(16, 24), 8);
  struct tg_class_options options = {.number = 2, .from = 2, .to = 4, .held_bytes = &worker_bytes};
  assert_null(tg_class_new(&options));
}

static void test_states(void **state)
{
  char text[100];
  (void)state;
  assert_int_equal(tg_class_state(class), TG_CLASS_WAITING);
  session(OLD, 7);
  session(NEW, 8);
  assert_true(tg_class_waits_for(class, text, sizeof text));
  assert_string_equal(text, "new shard 2 has no session");
  session(OTHER, 9);
  assert_int_equal(tg_class_state(class), TG_CLASS_LOADING);
  tg_class_loaded(class, NEW, now);
  tg_class_loaded(class, OTHER, now);
  tg_class_missing(class, 1, 815, now);
  assert_int_equal(tg_class_state(class), TG_CLASS_LOADING);
  assert_true(tg_class_waits_for(class, text, sizeof text));
  assert_non_null(strstr(text, "815"));
  tg_class_missing(class, 0, 0, now);
  assert_int_equal(tg_class_state(class), TG_CLASS_OVERLAP);
  pass_time(14000);
  assert_false(tg_class_may_switch(class, false));
  pass_time(1500);
  assert_int_equal(tg_class_state(class), TG_CLASS_READY);
  assert_true(tg_class_may_switch(class, false));
  assert_false(tg_class_may_switch(class, true));
  assert_false(tg_class_waits_for(class, text, sizeof text));
  do_switch();
  assert_int_equal(tg_class_state(class), TG_CLASS_SWITCHED);
  assert_true(tg_class_may_switch(class, true));
  tg_class_emptied(class, now);
  pass_time(500);
  assert_int_equal(tg_class_state(class), TG_CLASS_SETTLED);
  tg_class_closed(class, now);
  assert_int_equal(tg_class_state(class), TG_CLASS_GONE);
}

/* Time in which a shard has no connection is none in which both show the same. */
static void test_a_connection_that_is_away_takes_no_time(void **state)
{
  (void)state;
  come_up();
  pass_time(10000);
  tg_class_link(class, OTHER, TG_CLASS_DOWN, now);
  pass_time(10000);
  tg_class_link(class, OTHER, TG_CLASS_REPLAYING, now);
  pass_time(10000);
  assert_int_equal(tg_class_state(class), TG_CLASS_OVERLAP);
  tg_class_link(class, OTHER, TG_CLASS_UP, now);
  pass_time(6000);
  assert_int_equal(tg_class_state(class), TG_CLASS_READY);
}

static void test_each_event_once(void **state)
{
  (void)state;
  come_up();
  assert_int_equal(show(OLD, 1), TG_CLASS_PASS);
  assert_int_equal(show(NEW, 1), TG_CLASS_SKIP);
  assert_int_equal(show(NEW, 2), TG_CLASS_HOLD);
  assert_int_equal(show(OLD, 2), TG_CLASS_PASS);
  assert_int_equal(show(OLD, 3), TG_CLASS_PASS); /* its copy comes after the switch */
  assert_int_equal(show(NEW, 4), TG_CLASS_HOLD);
  assert_int_equal(show(NEW, 5), TG_CLASS_HOLD);
  do_switch();
  assert_string_equal(released, "1:10.3 1:10.4 ");
  assert_int_equal(show(NEW, 3), TG_CLASS_SKIP);
  assert_int_equal(show(OLD, 4), TG_CLASS_SKIP);
  assert_int_equal(show(OLD, 6), TG_CLASS_HOLD);
  assert_int_equal(show(NEW, 6), TG_CLASS_PASS);
  do_switch(); /* back, at once */
  assert_int_equal(show(OLD, 5), TG_CLASS_SKIP);
  assert_int_equal(show(OLD, 7), TG_CLASS_PASS);
  assert_int_equal(show(NEW, 7), TG_CLASS_SKIP);
  assert_int_equal(tg_class_epoch(class, OLD), 11);
}

static void test_what_belongs_to_a_session_passes(void **state)
{
  (void)state;
  come_up();
  assert_int_equal(show_type(OLD, "GUILD_MEMBERS_CHUNK", "{}"), TG_CLASS_PASS);
  assert_int_equal(show_type(NEW, "GUILD_MEMBERS_CHUNK", "{}"), TG_CLASS_PASS);
}

static void test_bound(void **state)
{
  uint64_t bound;
  (void)state;
  come_up();
  assert_false(tg_class_bound(class, NEW, &bound));
  show(OLD, 1);
  show(NEW, 1); /* 1 */
  assert_true(tg_class_bound(class, NEW, &bound));
  assert_int_equal(bound, 0); /* the copy that was delivered may be lost */
  tg_class_settled(class, OLD, EPOCH, 1);
  assert_false(tg_class_bound(class, NEW, &bound));
  show(NEW, 2); /* 2 */
  show(OLD, 3);
  show(NEW, 3); /* 3 */
  tg_class_settled(class, OLD, EPOCH, 2);
  assert_true(tg_class_bound(class, NEW, &bound));
  assert_int_equal(bound, 1);
  show(OLD, 2);
  assert_true(tg_class_bound(class, NEW, &bound));
  assert_int_equal(bound, 1);
  tg_class_settled(class, OLD, EPOCH, 3);
  assert_false(tg_class_bound(class, NEW, &bound));
  assert_false(tg_class_bound(class, OLD, &bound));
}

/* Soon, if the other shard has shown later events of its guild; else once it is certainly beyond it. */
static void test_what_has_no_copy_is_given_up(void **state)
{
  struct tg_class_figures figures;
  (void)state;
  come_up();
  show(NEW, 1);
  show_type(NEW, "MESSAGE_CREATE", "{\"id\":\"9\",\"guild_id\":\"33554432\"}");
  for (int i = 2; i < 20; i++) {
    pass_time(1000);
    show(NEW, i);
    show(OLD, i);
    tg_class_figures(class, &figures);
    assert_int_equal(figures.held, i <= 5 ? 2 : i <= 10 ? 1 : figures.held);
  }
  assert_int_equal(figures.held, 0);
  assert_int_equal(figures.unmatched, 2);
  assert_int_equal(tg_class_unmatched(class, TG_EVENT_MESSAGE_CREATE), 2);
}

/* Its heart beats, but it is 30 s behind: what it has not shown yet is not given up. */
static void test_a_shard_that_is_behind(void **state)
{
  struct tg_class_figures figures;
  (void)state;
  come_up();
  for (int i = 1; i <= 30; i++) {
    pass_time(1000);
    show(NEW, i);
  }
  tg_class_figures(class, &figures);
  assert_int_equal(figures.held, 30);
  assert_int_equal(tg_class_state(class), TG_CLASS_OVERLAP);
  for (int i = 1; i <= 30; i++)
    assert_int_equal(show(OLD, i), TG_CLASS_PASS);
  tg_class_figures(class, &figures);
  assert_int_equal(figures.held, 0);
}

/* It is behind, and has left something out before: it will do so again if it is switched. */
static void test_nothing_is_switched_while_a_shard_is_behind(void **state)
{
  char text[100];
  (void)state;
  come_up();
  pass_time(LATER);
  tg_class_skipped(class, NEW, now);
  for (int i = 1; i <= 20; i++) {
    pass_time(1000);
    show(OLD, i);
  }
  assert_int_equal(tg_class_state(class), TG_CLASS_OVERLAP);
  assert_true(tg_class_waits_for(class, text, sizeof text));
  assert_string_equal(text, "one set of shards is behind the other");
  for (int i = 1; i <= 20; i++)
    show(NEW, i);
  pass_time(1000);
  assert_int_equal(tg_class_state(class), TG_CLASS_READY);
}

/* A class has tried for a minute; `goes_on`: the shard that lacks a copy has shown what came behind it. */
static enum tg_class_state try_long(bool goes_on)
{
  come_up();
  tg_class_missing(class, 1, 815, now);
  pass_time(61000);
  show_type(NEW, "MESSAGE_CREATE", "{\"id\":\"9\",\"guild_id\":\"33554432\"}");
  for (int i = 1; goes_on && i <= 4; i++) {
    pass_time(1000);
    show(NEW, i);
    show(OLD, i);
  }
  pass_time(13000);
  tg_class_missing(class, 0, 0, now);
  pass_time(500);
  return tg_class_state(class);
}

static void test_what_has_no_copy_does_not_keep_a_class_for_ever(void **state)
{
  (void)state;
  assert_int_equal(try_long(true), TG_CLASS_READY);
}

static void test_a_shard_that_is_behind_keeps_it(void **state)
{
  (void)state;
  assert_int_equal(try_long(false), TG_CLASS_OVERLAP);
}

static void test_a_lost_session_of_the_ruler(void **state)
{
  (void)state;
  come_up();
  tg_class_lost(class, OLD, now);
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM); /* it is not known what both have shown */
  session(OLD, 20);
  pass_time(LATER);
  show(NEW, 1);
  tg_class_lost(class, OLD, now);
  assert_int_equal(tg_class_urges(class), TG_CLASS_LOST);
  do_switch();
  assert_string_equal(released, "1:21.1 ");
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
  assert_false(tg_class_may_switch(class, true));
}

/* As one that Discord has refused: the other side is not kept waiting for it. */
static void test_a_shard_of_the_ruler_that_gets_no_session(void **state)
{
  (void)state;
  session(NEW, EPOCH);
  session(OTHER, EPOCH);
  tg_class_loaded(class, NEW, now);
  tg_class_loaded(class, OTHER, now);
  assert_int_equal(show(NEW, 1), TG_CLASS_HOLD);
  tg_class_link(class, OLD, TG_CLASS_DOWN, now);
  pass_time(13000);
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
  pass_time(2000);
  assert_int_equal(tg_class_urges(class), TG_CLASS_LOST);
  do_switch();
  assert_string_equal(released, "1:8.1 ");
  pass_time(LATER);
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
}

/* Of equal events: what was shown before a session began does not take the copy of what it shows. */
static void test_a_fresh_session_shows_nothing_of_before(void **state)
{
  (void)state;
  come_up();
  do_switch();
  assert_int_equal(show(NEW, 1), TG_CLASS_PASS);
  do_switch(); /* back */
  tg_class_lost(class, OLD, now);
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
  session(OLD, 20);
  assert_int_equal(show(OLD, 1), TG_CLASS_PASS);
  assert_int_equal(show(NEW, 1), TG_CLASS_SKIP);
}

static void test_what_is_shown_while_a_session_begins(void **state)
{
  static const char direct[] = "{\"id\":\"9\"}", of_other[] = "{\"id\":\"9\",\"guild_id\":\"25165824\"}";
  (void)state;
  come_up();
  show_type(OLD, "MESSAGE_CREATE", direct);
  show_type(OLD, "MESSAGE_CREATE", of_other);
  tg_class_lost(class, NEW, now);
  show(OLD, 1);
  tg_class_link(class, NEW, TG_CLASS_DOWN, now);
  tg_class_link(class, NEW, TG_CLASS_ASKING, now);
  show(OLD, 2); /* before or after Discord had op 2 */
  session(NEW, 30);
  assert_int_equal(show_type(OTHER, "MESSAGE_CREATE", of_other), TG_CLASS_SKIP);
  assert_int_equal(show_type(NEW, "MESSAGE_CREATE", direct), TG_CLASS_HOLD);
  assert_int_equal(show(NEW, 1), TG_CLASS_HOLD);
  assert_int_equal(show(NEW, 2), TG_CLASS_SKIP);
}

static enum tg_class_verdict show_equal(int m, uint64_t guild)
{
  char data[80];
  snprintf(data, sizeof data, "{\"emoji\":9,\"guild_id\":\"%llu\"}", (unsigned long long)guild << 22);
  return show_type(m, "MESSAGE_REACTION_ADD", data);
}

/* The next one is of both, and so is the one behind it, whoever delivers that. */
static void check_equal_events(uint64_t guild)
{
  assert_int_equal(show_equal(OLD, guild), TG_CLASS_PASS);
  assert_int_equal(show_equal(NEW, guild), TG_CLASS_SKIP);
  do_switch();
  assert_int_equal(show_equal(NEW, guild), TG_CLASS_PASS);
  assert_int_equal(show_equal(OLD, guild), TG_CLASS_SKIP);
}

/* Which of equal events has no copy is known by what else comes in their guild... */
static void test_equal_events_do_not_wait_for_each_other(void **state)
{
  (void)state;
  come_up();
  show_equal(OLD, 4); /* the new shard never does */
  pass_time(2500);
  show(OLD, 1);
  show(NEW, 1);
  check_equal_events(4);
}

static void test_equal_events_at_once(void **state)
{
  (void)state;
  come_up();
  show_equal(OLD, 4);
  show_equal(NEW, 4);
  show_equal(OLD, 4); /* the new shard never does */
  show(OLD, 1);
  show(NEW, 1);
  check_equal_events(4);
}

/* ... or in others. */
static void test_equal_events_and_nothing_else(void **state)
{
  (void)state;
  come_up();
  show_equal(OLD, 8); /* the new shard never does */
  for (int id = 1; id <= 8; id++) {
    pass_time(1000);
    show(OLD, id);
    show(NEW, id);
    if (id != 4)
      continue;
    assert_int_equal(show_equal(OLD, 8), TG_CLASS_PASS);
    assert_int_equal(show_equal(NEW, 8), TG_CLASS_SKIP);
  }
  check_equal_events(8);
}

/* What is held of it is delivered, though it waits in vain for its copy. */
static void test_what_the_ruler_can_show_no_more_is_delivered(void **state)
{
  (void)state;
  come_up();
  pass_time(LATER);
  show(NEW, 1);
  tg_class_lost(class, OLD, now);
  pass_time(500); /* the disk is full for a while */
  do_switch();
  assert_string_equal(released, "1:10.1 ");
}

static void test_numbers_that_the_ruler_was_not_shown(void **state)
{
  (void)state;
  come_up();
  pass_time(LATER);
  tg_class_skipped(class, NEW, now);
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
  assert_int_equal(tg_class_state(class), TG_CLASS_OVERLAP);
  pass_time(LATER);
  tg_class_skipped(class, OLD, now);
  assert_int_equal(tg_class_urges(class), TG_CLASS_MISSED);
  show(OLD, 1); /* the disk was full: it goes on as it is */
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
  assert_int_equal(tg_class_state(class), TG_CLASS_OVERLAP);
}

static void test_an_interaction_does_not_wait_for_a_connection(void **state)
{
  (void)state;
  come_up();
  pass_time(LATER);
  tg_class_link(class, OLD, TG_CLASS_DOWN, now);
  show_type(NEW, "INTERACTION_CREATE", "{\"id\":\"9\"}");
  tg_class_tick(class, now + 700);
  assert_int_equal(tg_class_urges(class), TG_CLASS_CALM);
  tg_class_tick(class, now + 800);
  assert_int_equal(tg_class_urges(class), TG_CLASS_AWAY);
}

static void test_too_much_is_held(void **state)
{
  struct tg_class_figures figures;
  (void)state;
  tg_class_free(class);
  open_class(NULL, 3000);
  come_up();
  while (show(NEW, (int)sequences[NEW]) == TG_CLASS_HOLD)
    ;
  tg_class_figures(class, &figures);
  assert_int_equal(figures.held, 0); /* the ruler shows it all */
  assert_true(figures.overflowed > 3);
  pass_time(LATER);
  while (tg_class_urges(class) == TG_CLASS_CALM)
    assert_int_equal(show(NEW, 1000 + (int)sequences[NEW]), TG_CLASS_HOLD);
  assert_int_equal(tg_class_urges(class), TG_CLASS_OVERFULL);
}

static void test_a_type_that_differs_is_cut_by_time(void **state)
{
  char data[60];
  (void)state;
  come_up();
  for (int i = 1; i < 60; i++) {
    pass_time(1000);
    for (int m = OLD; m <= NEW; m++) {
      snprintf(data, sizeof data, "{\"guild_id\":\"%d\",\"n\":%d,\"side\":%d}", 4 << 22, i, m);
      show(m, i);
      show_type(m, "PRESENCE_UPDATE", data);
    }
  }
  assert_true(tg_class_is_cut(class, TG_EVENT_PRESENCE_UPDATE));
  assert_false(tg_class_is_cut(class, TG_EVENT_MESSAGE_CREATE));
  assert_int_equal(show_type(NEW, "PRESENCE_UPDATE", data), TG_CLASS_SKIP);
  assert_int_equal(show_type(OLD, "PRESENCE_UPDATE", data), TG_CLASS_PASS);
}

/* Dies right after the switch: the next process drops what the old shard has delivered, and delivers the rest. */
static void test_a_death_after_the_switch(void **state)
{
  (void)state;
  come_up();
  show(NEW, 9); /* held: the number from which RESUME starts */
  show(OLD, 1);
  show(NEW, 1);
  show(OLD, 2);
  do_switch();
  tg_class_free(class);
  worker_bytes = 0;
  open_class(tg_skip_file_open(directory, 0, 2, 4, 0), 0);
  assert_int_equal(tg_class_ruling_side(class), 1);
  assert_int_equal(tg_class_epoch(class, NEW), 10);
  assert_true(tg_class_has_ruled(class, NEW));
  tg_class_session(class, OLD, &(struct tg_class_session){.epoch = 7, .through = 2}, now);
  tg_class_session(class, NEW, &(struct tg_class_session){.epoch = 10, .through = 0}, now);
  sequences[NEW] = 0;
  assert_int_equal(show(NEW, 9), TG_CLASS_PASS);
  assert_int_equal(show(NEW, 1), TG_CLASS_SKIP);
  assert_int_equal(show(NEW, 2), TG_CLASS_SKIP);
  assert_int_equal(show(NEW, 2), TG_CLASS_PASS); /* another one */
}

int main(void)
{
#define CLASS_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      CLASS_TEST(test_members),
      CLASS_TEST(test_states),
      CLASS_TEST(test_a_connection_that_is_away_takes_no_time),
      CLASS_TEST(test_each_event_once),
      CLASS_TEST(test_what_belongs_to_a_session_passes),
      CLASS_TEST(test_bound),
      CLASS_TEST(test_what_has_no_copy_is_given_up),
      CLASS_TEST(test_a_shard_that_is_behind),
      CLASS_TEST(test_nothing_is_switched_while_a_shard_is_behind),
      CLASS_TEST(test_what_has_no_copy_does_not_keep_a_class_for_ever),
      CLASS_TEST(test_a_shard_that_is_behind_keeps_it),
      CLASS_TEST(test_a_lost_session_of_the_ruler),
      CLASS_TEST(test_a_shard_of_the_ruler_that_gets_no_session),
      CLASS_TEST(test_a_fresh_session_shows_nothing_of_before),
      CLASS_TEST(test_what_is_shown_while_a_session_begins),
      CLASS_TEST(test_equal_events_do_not_wait_for_each_other),
      CLASS_TEST(test_equal_events_at_once),
      CLASS_TEST(test_equal_events_and_nothing_else),
      CLASS_TEST(test_what_the_ruler_can_show_no_more_is_delivered),
      CLASS_TEST(test_numbers_that_the_ruler_was_not_shown),
      CLASS_TEST(test_an_interaction_does_not_wait_for_a_connection),
      CLASS_TEST(test_too_much_is_held),
      CLASS_TEST(test_a_type_that_differs_is_cut_by_time),
      CLASS_TEST(test_a_death_after_the_switch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
