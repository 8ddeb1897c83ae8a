#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/poison_impl.h"

#include "base/log.h"
#include "hooks/methods.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], path[80];
static char bot[TG_WHERE_SIZE] = "bot.lua:12", other[TG_WHERE_SIZE] = "bot.lua:30";

static int begin(void **state)
{
  (void)state;
  struct tg_error error;
  strcpy(directory, "/tmp/tidegate-poison-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  snprintf(path, sizeof path, "%s/poison", directory);
  return tg_poison_open(directory, &error) ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  char shards[80];
  snprintf(shards, sizeof shards, "%s/shards", directory);
  tg_poison_close();
  unlink(path);
  unlink(shards);
  return rmdir(directory);
}

static void open_again(void)
{
  struct tg_error error;
  tg_poison_close();
  assert_true(tg_poison_open(directory, &error));
}

static struct tg_poison_call filter_of(uint64_t sequence)
{
  return (struct tg_poison_call){.group = TG_LUA_filter,
                                 .type = TG_EVENT_MESSAGE_CREATE,
                                 .shard_id = 3,
                                 .epoch = 7,
                                 .sequence = sequence,
                                 .last = sequence};
}

static const struct tg_poison_call heartbeat = {
    .group = TG_LUA_shard, .number = TG_METHOD_shard_heartbeat, .shard_id = 3};

/* As a worker that is killed inside of these calls. */
static void die_in(int worker, const struct tg_poison_call *calls, int count, const char *where)
{
  pid_t pid = fork();
  if (pid == 0) {
    struct tg_error error;
    if (!tg_poison_attach(dup(tg_poison_fd()), worker, &error))
      _exit(1);
    for (int i = 0; i < count; i++)
      tg_poison_enter(&calls[i], where);
    raise(SIGKILL);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_true(WIFSIGNALED(status));
}

static struct tg_poison_death killed(struct tg_poison_call call, bool guilty)
{
  struct tg_poison_death death;
  die_in(0, &call, 1, bot);
  assert_true(tg_poison_take(0, guilty, &death));
  return death;
}

static bool skipped(struct tg_poison_call call, const char *where)
{
  return tg_poison_skips(&call, where);
}

/* Hooks that are off are off in workers. */
static bool off_in_a_worker(struct tg_poison_call call, const char *where)
{
  pid_t pid = fork();
  if (pid == 0) {
    struct tg_error error;
    _exit(tg_poison_attach(dup(tg_poison_fd()), 5, &error) && tg_poison_skips(&call, where));
  }
  int status;
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status) == 1;
}

static void the_innermost_call_is_told(void **state)
{
  (void)state;
  struct tg_poison_death death;
  struct tg_poison_call calls[] = {heartbeat, filter_of(41)};
  assert_false(tg_poison_take(0, true, &death));
  die_in(0, calls, 2, bot);
  assert_false(tg_poison_take(1, true, &death)); /* another worker's place */
  assert_true(tg_poison_take(0, true, &death));
  assert_string_equal(death.hook, "gateway.filter");
  assert_string_equal(death.where, "bot.lua:12");
  assert_string_equal(death.event, "MESSAGE_CREATE");
  assert_int_equal(death.call.shard_id, 3);
  assert_int_equal(death.call.sequence, 41);
  assert_false(tg_poison_take(0, true, &death)); /* once */
  die_in(0, calls, 1, bot);
  assert_true(tg_poison_take(0, true, &death));
  assert_string_equal(death.hook, "gateway.shard:heartbeat");
  assert_string_equal(death.event, "");
}

static void what_has_returned_leaves_nothing(void **state)
{
  (void)state;
  struct tg_poison_death death;
  struct tg_poison_call call = filter_of(41);
  for (int i = 0; i < 3 * TG_POISON_NOTES; i++)
    tg_poison_enter(&call, NULL);
  for (int i = 0; i < 3 * TG_POISON_NOTES; i++)
    tg_poison_leave();
  assert_false(tg_poison_take(TG_POISON_MANAGER, true, &death));
}

static void calls_too_deep_are_told_by_an_outer_one(void **state)
{
  (void)state;
  struct tg_poison_death death;
  struct tg_poison_call calls[3 * TG_POISON_NOTES];
  for (int i = 0; i < 3 * TG_POISON_NOTES; i++)
    calls[i] = filter_of((uint64_t)i + 1);
  die_in(0, calls, 3 * TG_POISON_NOTES, bot);
  assert_true(tg_poison_take(0, true, &death));
  assert_int_equal(death.call.sequence, TG_POISON_NOTES);
}

static void several_filters_are_one_call(void **state)
{
  (void)state;
  struct tg_poison_death death;
  struct tg_poison_call call = filter_of(41);
  tg_poison_enter(&call, bot);
  tg_poison_at(other);
  assert_true(tg_poison_take(TG_POISON_MANAGER, true, &death));
  assert_string_equal(death.where, "bot.lua:30");
}

static void types_without_a_number_are_told_by_name(void **state)
{
  (void)state;
  struct tg_poison_call call = filter_of(41);
  call.type = tg_event_type("BRAND_NEW", 9);
  assert_string_equal(killed(call, true).event, "BRAND_NEW");
}

static void an_event_passes_without_that_hook(void **state)
{
  (void)state;
  struct tg_poison_call method = filter_of(41);
  method.group = TG_LUA_delivery;
  method.number = TG_METHOD_delivery_handle_discord_payload;
  assert_false(skipped(filter_of(41), bot));
  assert_false(killed(filter_of(41), true).every_hook);
  assert_true(skipped(filter_of(41), bot));
  assert_false(skipped(filter_of(41), other)); /* another filter */
  assert_false(skipped(filter_of(40), bot));
  assert_false(skipped(method, NULL));
  struct tg_poison_call later = filter_of(41), elsewhere = filter_of(41);
  later.epoch = 8;
  elsewhere.shard_id = 4;
  assert_false(skipped(later, bot));
  assert_false(skipped(elsewhere, bot));
}

static void at_its_second_death_it_passes_without_any(void **state)
{
  (void)state;
  struct tg_poison_call method = filter_of(41);
  method.group = TG_LUA_delivery;
  method.number = TG_METHOD_delivery_handle_discord_payload;
  killed(filter_of(41), true);
  assert_true(killed(method, true).every_hook);
  assert_true(skipped(method, NULL));
  assert_true(skipped(filter_of(41), other));
  assert_false(skipped(filter_of(42), other));
}

static void of_several_events_each_may_show(void **state)
{
  (void)state;
  struct tg_poison_call list = {.group = TG_LUA_delivery,
                                .number = TG_METHOD_delivery_deliver,
                                .shard_id = 3,
                                .epoch = 7,
                                .sequence = 10};
  list.last = 20;
  killed(list, true);
  struct tg_poison_call one = list, half = list, behind = list;
  one.sequence = one.last = 15;
  half.sequence = 15;
  half.last = 30;
  behind.sequence = 21;
  behind.last = 30;
  assert_true(tg_poison_has_event(&half, NULL));
  assert_false(tg_poison_has_event(&behind, NULL));
  assert_false(tg_poison_has_event(&one, NULL));
  killed(one, true);
  assert_true(tg_poison_has_event(&one, NULL));
}

static void a_hook_without_events_is_off_at_its_second_death(void **state)
{
  (void)state;
  assert_false(killed(heartbeat, true).off);
  assert_false(off_in_a_worker(heartbeat, NULL));
  assert_true(killed(heartbeat, false).off); /* there is no other reason to be in there */
  assert_true(off_in_a_worker(heartbeat, NULL));
  assert_false(skipped(heartbeat, NULL)); /* in the manager it never ran */
  assert_int_equal(tg_poison_count_off(false), 1);
  assert_int_equal(tg_poison_count_off(true), 0);
  tg_poison_forgive();
  assert_false(off_in_a_worker(heartbeat, NULL));
  assert_int_equal(tg_poison_count_off(false), 0);
}

static void one_with_events_at_its_fifth(void **state)
{
  (void)state;
  for (uint64_t s = 1; s < TG_POISON_EVENT_DEATHS; s++)
    assert_false(killed(filter_of(s), true).off);
  for (uint64_t s = 101; s < 110; s++) /* killed by somebody: an event passes through it all the time */
    assert_false(killed(filter_of(s), false).off);
  assert_true(skipped(filter_of(101), bot));
  struct tg_poison_death death = killed(filter_of(200), true);
  assert_true(death.off);
  assert_int_equal(death.deaths, TG_POISON_EVENT_DEATHS);
  assert_true(off_in_a_worker(filter_of(300), bot));
  assert_false(off_in_a_worker(filter_of(300), other));
}

static void long_ago_is_forgiven(void **state)
{
  (void)state;
  killed(heartbeat, true);
  tg_poison_file()->hooks[0].died_at -= TG_POISON_WINDOW + 1000;
  struct tg_poison_death death = killed(heartbeat, true);
  assert_false(death.off);
  assert_int_equal(death.deaths, 1);
  tg_poison_file()->hooks[0].died_at += 3600000; /* the clock was set back */
  assert_int_equal(killed(heartbeat, true).deaths, 1);
}

static void loading_in_a_reload_is_not_loading(void **state)
{
  (void)state;
  struct tg_poison_call load = {.group = TG_LUA_load, .shard_id = TG_NO_SHARD}, reload = load;
  reload.number = 1;
  for (int i = 0; i < 5; i++)
    assert_false(killed(reload, true).off);
  assert_false(tg_poison_load_is_off());
  killed(load, true);
  assert_true(killed(load, true).off);
  assert_true(tg_poison_load_is_off());
}

static void the_file_outlives_everything(void **state)
{
  (void)state;
  struct tg_poison_death death;
  struct tg_poison_call call = filter_of(41);
  tg_poison_script(1);
  killed(filter_of(5), true);
  killed(heartbeat, true);
  killed(heartbeat, true);
  die_in(0, &call, 1, bot);
  open_again();
  tg_poison_script(1);
  assert_true(tg_poison_take(0, false, &death));
  assert_int_equal(death.call.sequence, 41);
  assert_true(skipped(filter_of(5), bot));
  assert_true(skipped(filter_of(41), bot));
  assert_int_equal(tg_poison_count_off(false), 1);
  tg_poison_script(2); /* another script: the events are poison to it until it has shown otherwise */
  assert_int_equal(tg_poison_count_off(false), 0);
  assert_true(skipped(filter_of(41), bot));
}

static void spoil(long offset, const char *bytes, size_t length)
{
  int fd = open(path, O_RDWR);
  assert_int_equal(pwrite(fd, bytes, length, offset), length);
  close(fd);
}

static void another_files_content_is_not_believed(void **state)
{
  (void)state;
  killed(filter_of(41), true);
  spoil(offsetof(struct tg_poison_file, version), "\2\0\0\0", 4);
  open_again();
  assert_false(skipped(filter_of(41), bot));
  killed(filter_of(41), true);
  spoil(offsetof(struct tg_poison_file, layout), "xxxx", 4); /* numbers of another version */
  open_again();
  assert_false(skipped(filter_of(41), bot));
  killed(filter_of(41), true);
  assert_int_equal(truncate(path, 1000), 0);
  open_again();
  assert_false(skipped(filter_of(41), bot));
}

static void a_note_that_a_script_scribbled_over_is_harmless(void **state)
{
  (void)state;
  struct tg_poison_death death;
  struct tg_poison_place *place = &tg_poison_file()->places[1];
  memset(place, 0xff, sizeof *place);
  assert_false(tg_poison_take(0, true, &death));
  memset(place, 'x', sizeof *place);
  place->notes[TG_POISON_NOTES - 1].call = filter_of(41);
  place->notes[TG_POISON_NOTES - 1].where[2] = '\n';
  assert_true(tg_poison_take(0, true, &death));
  assert_int_equal(strlen(death.where), TG_WHERE_SIZE - 1);
  assert_null(strchr(death.where, '\n'));
}

static void hooks_that_were_scribbled_over_are_harmless(void **state)
{
  (void)state;
  struct tg_poison_hook *hooks = tg_poison_file()->hooks;
  for (int i = 0; i < TG_POISON_HOOKS; i++)
    memset(&hooks[i], 0xff, sizeof hooks[i]);
  open_again(); /* each of them is off, for neither the manager nor workers */
  assert_int_equal(tg_poison_count_off(true) + tg_poison_count_off(false), 0);
  assert_false(skipped(heartbeat, bot));
  static const struct {
    int32_t deaths;
    int64_t died_at;
  } rows[] = {{INT32_MAX, INT64_MIN}, {INT32_MIN, INT64_MAX}, {INT32_MAX, 0}, {-1, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tg_poison_forgive();
    hooks[0] = (struct tg_poison_hook){.group = heartbeat.group, .number = heartbeat.number, .deaths = 1};
    hooks[0].died_at = rows[i].died_at == 0 ? tg_wall_clock() : rows[i].died_at;
    hooks[0].deaths = rows[i].deaths;
    struct tg_poison_death death = killed(heartbeat, true);
    assert_int_equal(death.deaths, 1);
    assert_true(killed(heartbeat, true).off);
  }
}

static void counts_that_were_scribbled_over_are_made_anew(void **state)
{
  (void)state;
  killed(filter_of(41), true);
  killed(heartbeat, true);
  killed(heartbeat, true);
  spoil(offsetof(struct tg_poison_file, event_count), "\0\0\0\0\0\0\0\0", 8);
  assert_false(skipped(filter_of(41), bot));
  open_again();
  assert_true(skipped(filter_of(41), bot));
  assert_true(off_in_a_worker(heartbeat, NULL));
}

static void the_oldest_go(void **state)
{
  (void)state;
  for (uint64_t s = 1; s <= TG_POISON_EVENTS + 1; s++)
    killed(filter_of(s), false);
  assert_false(skipped(filter_of(1), bot));
  assert_true(skipped(filter_of(2), bot));
  assert_true(skipped(filter_of(TG_POISON_EVENTS + 1), bot));
}

static void what_has_passed_is_dropped(void **state)
{
  (void)state;
  struct tg_error error;
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 4, 1, 0, &error);
  struct tg_shard_row *row = tg_shard_table_row(table, 3);
  struct tg_session session = {.id = "x", .epoch = 7, .sequence = 40};
  tg_session_store(row, &session);
  killed(filter_of(41), true);
  tg_poison_tidy(table, NULL);
  assert_true(skipped(filter_of(41), bot));
  atomic_store(&row->queued_events, 3); /* it may be among these, for all that the other figure says */
  atomic_store(&row->delivered_sequence, 41);
  tg_poison_tidy(table, NULL);
  assert_true(skipped(filter_of(41), bot));
  atomic_store(&row->queued_events, 0);
  tg_poison_tidy(table, NULL);
  assert_false(skipped(filter_of(41), bot));
  killed(filter_of(42), true);
  session.epoch = 8;
  tg_session_store(row, &session);
  tg_poison_tidy(table, NULL);
  assert_false(skipped(filter_of(42), bot));
  tg_shard_table_close(table);
}

/* Both have a shard 3; the epoch says whose the event is. */
static void what_has_passed_in_both_sets_is_dropped(void **state)
{
  (void)state;
  struct tg_error error;
  struct tg_shard_table *tables[TG_SIDES];
  for (int side = 0; side < TG_SIDES; side++) {
    tables[side] = tg_shard_table_open(directory, side, 4 + side, 1, 0, &error);
    struct tg_session session = {.id = "x", .epoch = 7 - (uint64_t)side, .sequence = 40};
    tg_session_store(tg_shard_table_row(tables[side], 3), &session);
  }
  killed(filter_of(41), true); /* of epoch 7 */
  tg_poison_tidy(tables[0], tables[1]);
  assert_true(skipped(filter_of(41), bot));
  tg_poison_tidy(tables[1], tables[0]);
  assert_true(skipped(filter_of(41), bot));
  atomic_store(&tg_shard_table_row(tables[0], 3)->delivered_sequence, 41);
  struct tg_session next = {.id = "y", .epoch = 8};
  tg_session_store(tg_shard_table_row(tables[1], 3), &next);
  tg_poison_tidy(tables[0], tables[1]);
  assert_false(skipped(filter_of(41), bot));
  for (int side = 0; side < TG_SIDES; side++) {
    tg_shard_table_close(tables[side]);
    tg_shard_table_remove(directory, side);
  }
}

static void without_a_directory_workers_are_safe_all_the_same(void **state)
{
  (void)state;
  struct tg_error error;
  tg_poison_close();
  assert_int_equal(tg_poison_fd(), -1);
  assert_false(tg_poison_open("/nowhere/at/all", &error));
  assert_non_null(strstr(error.message, "/nowhere/at/all/poison"));
  killed(filter_of(41), true);
  assert_true(skipped(filter_of(41), bot));
  open_again();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(the_innermost_call_is_told),
      TEST(what_has_returned_leaves_nothing),
      TEST(calls_too_deep_are_told_by_an_outer_one),
      TEST(several_filters_are_one_call),
      TEST(types_without_a_number_are_told_by_name),
      TEST(an_event_passes_without_that_hook),
      TEST(at_its_second_death_it_passes_without_any),
      TEST(of_several_events_each_may_show),
      TEST(a_hook_without_events_is_off_at_its_second_death),
      TEST(one_with_events_at_its_fifth),
      TEST(long_ago_is_forgiven),
      TEST(loading_in_a_reload_is_not_loading),
      TEST(the_file_outlives_everything),
      TEST(another_files_content_is_not_believed),
      TEST(a_note_that_a_script_scribbled_over_is_harmless),
      TEST(hooks_that_were_scribbled_over_are_harmless),
      TEST(counts_that_were_scribbled_over_are_made_anew),
      TEST(the_oldest_go),
      TEST(what_has_passed_is_dropped),
      TEST(what_has_passed_in_both_sets_is_dropped),
      TEST(without_a_directory_workers_are_safe_all_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
