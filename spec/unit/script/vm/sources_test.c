#include "script/vm/sources.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/tidegate-sources-XXXXXX";

static const char *path_of(const char *name)
{
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void write_file(const char *name, const char *bytes, size_t length)
{
  char temporary[160];
  snprintf(temporary, sizeof temporary, "%s/new", directory);
  FILE *file = fopen(temporary, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
  assert_int_equal(rename(temporary, path_of(name)), 0);
}

static int set_up(void **state)
{
  (void)state;
  return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  unlink(path_of("a.lua"));
  unlink(path_of("b.lua"));
  return rmdir(directory);
}

static void reads_each_file_once(void **state)
{
  (void)state;
  struct tg_sources sources = {0};
  write_file("a.lua", "one", 3);
  assert_null(tg_sources_find(&sources, path_of("a.lua")));
  assert_string_equal(tg_sources_read(&sources, path_of("a.lua"))->bytes, "one");
  write_file("a.lua", "two", 3);
  assert_string_equal(tg_sources_read(&sources, path_of("a.lua"))->bytes, "one");
  assert_null(tg_sources_read(&sources, path_of("nowhere.lua")));
  assert_int_equal(errno, ENOENT);
  assert_null(tg_sources_read(&sources, directory));
  assert_int_equal(errno, EISDIR);
  assert_int_equal(sources.count, 1);
  tg_sources_free(&sources);
}

static void travels_to_another_process(void **state)
{
  (void)state;
  struct tg_sources here = {0}, there = {0};
  write_file("a.lua", "return '\0\xff'", 11);
  write_file("b.lua", "", 0);
  tg_sources_read(&here, path_of("a.lua"));
  tg_sources_read(&here, path_of("b.lua"));
  int fd = tg_sources_to_fd(&here, "{}");
  assert_true(fd >= 0);
  assert_true(tg_sources_take_fd(&there, fd));
  assert_int_equal(there.count, 3);
  const struct tg_source *settings = tg_sources_find(&there, TG_SOURCE_SETTINGS);
  assert_true(settings && settings->length == 2);
  const struct tg_source *a = tg_sources_find(&there, path_of("a.lua"));
  assert_true(a && a->given);
  assert_int_equal(a->length, 11);
  assert_memory_equal(a->bytes, "return '\0\xff'", 11);
  const struct tg_source *b = tg_sources_find(&there, path_of("b.lua"));
  assert_true(b && b->length == 0);
  tg_sources_free(&here);
  tg_sources_free(&there);
}

static int file_of(const char *bytes, size_t length)
{
  int fd = memfd_create("test", MFD_CLOEXEC);
  assert_int_equal(write(fd, bytes, length), length);
  lseek(fd, 0, SEEK_SET);
  return fd;
}

static void refuses_what_is_cut_short(void **state)
{
  (void)state;
  static const char whole[] = "p\0\3\0\0\0\0\0\0\0abc";
  for (size_t length = 0; length < sizeof whole; length++) {
    struct tg_sources sources = {0};
    assert_int_equal(tg_sources_take_fd(&sources, file_of(whole, length)),
                     length == 0 || length == sizeof whole - 1);
    tg_sources_free(&sources);
  }
}

static void sees_what_changed(void **state)
{
  (void)state;
  struct tg_sources sources = {0};
  uint64_t before, after;
  write_file("a.lua", "one", 3);
  write_file("b.lua", "one", 3);
  tg_sources_read(&sources, path_of("a.lua"));
  tg_sources_read(&sources, path_of("b.lua"));
  assert_null(tg_sources_changed(&sources, &before));
  write_file("b.lua", "two", 3);
  assert_string_equal(tg_sources_changed(&sources, &after), path_of("b.lua"));
  assert_true(before != after);
  unlink(path_of("b.lua"));
  assert_null(tg_sources_changed(&sources, &after));
  tg_sources_free(&sources);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_each_file_once),
      cmocka_unit_test(travels_to_another_process),
      cmocka_unit_test(refuses_what_is_cut_short),
      cmocka_unit_test(sees_what_changed),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
