#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "delivery/reshard/skip_file.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64], path[128];

static int begin(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/tidegate-skip-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  snprintf(path, sizeof path, "%s/reshard.3", directory);
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_skip_file_remove(directory, 3);
  return rmdir(directory); /* nothing else is there */
}

static struct tg_skip_file *make(int ruling)
{
  struct tg_skip_member members[] = {{.ref = 3, .seen = 70, .passed = 2, .epoch = 12},
                                     {.ref = tg_ref_of(3, 1), .seen = 9, .epoch = 13}};
  struct tg_skip_entry entries[] = {
      {.guild = 1, .hash = 11, .given = {3, 70, 12}, .use = {.ref = TG_NO_SHARD}, .type = 1},
      {.guild = 2, .hash = 22, .given = {3, 69, 12}, .use = {tg_ref_of(3, 1), 8, 13}, .flags = TG_SKIP_SAFE}};
  char names[2][TG_SKIP_NAME_MAX] = {"PRESENCE_UPDATE", "MESSAGE_CREATE"};
  struct tg_skip_list list = {.number = 3,
                              .from = 8,
                              .to = 12,
                              .old_side = 0,
                              .ruling = ruling,
                              .seed = 4711,
                              .members = members,
                              .member_count = 2,
                              .entries = entries,
                              .entry_count = 2,
                              .names = names,
                              .name_count = 2,
                              .cut_count = 1};
  struct tg_error error;
  return tg_skip_file_make(directory, &list, &error);
}

static struct tg_skip_file *open_again(void) { return tg_skip_file_open(directory, 3, 8, 12, 0); }

static void test_comes_back_as_it_was_written(void **state)
{
  (void)state;
  assert_null(open_again());
  tg_skip_file_close(make(1));
  struct tg_skip_file *file = open_again();
  assert_non_null(file);
  const struct tg_skip_list *list = tg_skip_file_list(file);
  assert_int_equal(list->ruling, 1);
  assert_int_equal(list->seed, 4711);
  assert_int_equal(list->member_count, 2);
  assert_int_equal(list->members[1].ref, tg_ref_of(3, 1));
  assert_int_equal(list->members[1].epoch, 13);
  assert_int_equal(list->members[0].seen, 70);
  assert_int_equal(list->members[0].passed, 2);
  assert_int_equal(list->entry_count, 2);
  assert_int_equal(list->entries[0].hash, 11);
  assert_int_equal(list->entries[0].use.ref, TG_NO_SHARD);
  assert_int_equal(list->entries[1].use.sequence, 8);
  assert_int_equal(list->entries[1].flags, TG_SKIP_SAFE);
  assert_string_equal(list->names[list->entries[0].type], "MESSAGE_CREATE");
  assert_int_equal(list->cut_count, 1);
  tg_skip_file_close(file);
}

/* Without a close: the process that noted it may be dead by the next line. */
static void test_a_use_is_there_at_once(void **state)
{
  (void)state;
  struct tg_skip_file *file = make(1), *again = open_again();
  tg_skip_file_use(file, 0, (struct tg_skip_place){tg_ref_of(3, 1), 10, 13});
  tg_skip_file_safe(file, 0);
  const struct tg_skip_entry *entry = &tg_skip_file_list(again)->entries[0];
  assert_int_equal(entry->use.ref, tg_ref_of(3, 1));
  assert_int_equal(entry->use.sequence, 10);
  assert_int_equal(entry->use.epoch, 13);
  assert_int_equal(entry->flags, TG_SKIP_SAFE);
  tg_skip_file_close(file);
  tg_skip_file_close(again);
}

static void test_takes_the_place_of_the_one_before(void **state)
{
  (void)state;
  struct tg_skip_file *first = make(1), *second = make(0);
  tg_skip_file_use(first, 0, TG_SKIP_NEVER); /* of the old one: no matter */
  struct tg_skip_file *file = open_again();
  assert_int_equal(tg_skip_file_list(file)->ruling, 0);
  assert_int_equal(tg_skip_file_list(file)->entries[0].use.ref, TG_NO_SHARD);
  tg_skip_file_close(first);
  tg_skip_file_close(second);
  tg_skip_file_close(file);
}

static void test_of_another_change_is_none(void **state)
{
  (void)state;
  tg_skip_file_close(make(1));
  assert_null(tg_skip_file_open(directory, 3, 8, 16, 0));
  assert_null(tg_skip_file_open(directory, 3, 4, 12, 0));
  assert_null(tg_skip_file_open(directory, 3, 8, 12, 1));
  assert_null(tg_skip_file_open(directory, 4, 8, 12, 0));
}

/* Whatever is cut off or overwritten: it is said to be damaged, or read within its bounds. */
static void test_damage(void **state)
{
  struct stat status;
  (void)state;
  tg_skip_file_close(make(1));
  assert_int_equal(stat(path, &status), 0);
  for (off_t size = 0; size < status.st_size; size += 7) {
    tg_skip_file_close(make(1));
    assert_int_equal(truncate(path, size), 0);
    assert_null(open_again());
  }
  for (off_t at = 0; at < status.st_size; at++) {
    tg_skip_file_close(make(1));
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\xff", 1, at), 1);
    close(fd);
    struct tg_skip_file *file = open_again();
    if (!file)
      continue;
    const struct tg_skip_list *list = tg_skip_file_list(file);
    for (int i = 0; i < list->entry_count; i++)
      assert_true(strlen(list->names[list->entries[i].type]) < TG_SKIP_NAME_MAX);
    tg_skip_file_close(file);
  }
}

static void test_where_nothing_can_be_written(void **state)
{
  struct tg_skip_list list = {.number = 3};
  struct tg_error error;
  (void)state;
  assert_null(tg_skip_file_make("/nonexistent/place", &list, &error));
  assert_string_equal(error.code, "disk");
  assert_non_null(strstr(error.message, "/nonexistent/place/reshard.3"));
}

static void test_remove(void **state)
{
  (void)state;
  tg_skip_file_close(make(1));
  tg_skip_file_remove(directory, 3);
  assert_null(open_again());
  tg_skip_file_remove(directory, 3);
}

int main(void)
{
#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      FILE_TEST(test_comes_back_as_it_was_written), FILE_TEST(test_a_use_is_there_at_once),
      FILE_TEST(test_takes_the_place_of_the_one_before), FILE_TEST(test_of_another_change_is_none),
      FILE_TEST(test_damage), FILE_TEST(test_where_nothing_can_be_written),
      FILE_TEST(test_remove),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
