/* What is not a file is never taken for one, whatever it is opened for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[64];
static int at;

static int begin(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/tidegate-open-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int fd = openat(at, "victim", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  return at >= 0 && write(fd, "precious", 8) == 8 ? close(fd) : -1;
}

static int end(void **state)
{
  (void)state;
  char command[100];
  snprintf(command, sizeof command, "rm -r %s", directory);
  close(at);
  return system(command);
}

static void put_pipe(const char *name) { assert_int_equal(mkfifoat(at, name, 0600), 0); }
static void put_link(const char *name) { assert_int_equal(symlinkat("victim", at, name), 0); }
static void put_loose_link(const char *name) { assert_int_equal(symlinkat("nothing", at, name), 0); }
static void put_directory(const char *name) { assert_int_equal(mkdirat(at, name, 0700), 0); }

static void put_socket(const char *name)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  close(fd);
}

static const struct {
  const char *name;
  void (*put)(const char *name);
  const char *problem;
} others[] = {
    {"pipe", put_pipe, "regular file"},         {"link", put_link, "symbolic link"},
    {"loose-link", put_loose_link, "symbolic"}, {"directory", put_directory, "directory"},
    {"socket", put_socket, "regular file"},
};
enum { OTHERS = sizeof others / sizeof *others };

static void put_others(void)
{
  for (int i = 0; i < OTHERS; i++)
    others[i].put(others[i].name);
}

static void expect_victim(void)
{
  char text[20] = "";
  struct stat status;
  int fd = openat(at, "victim", O_RDONLY | O_CLOEXEC);
  assert_int_equal(read(fd, text, sizeof text), 8);
  assert_string_equal(text, "precious");
  close(fd);
  assert_int_equal(fstatat(at, "nothing", &status, 0), -1);
}

static void only_files_are_opened(void **state)
{
  (void)state;
  static const int ways[] = {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_APPEND};
  put_others();
  for (int i = 0; i < OTHERS; i++)
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
      assert_int_equal(tg_state_open(at, others[i].name, ways[way]), -1);
      assert_true(tg_state_is_other(errno));
      assert_non_null(strstr(tg_state_problem(errno), others[i].problem));
    }
  assert_int_equal(tg_state_open(at, "/dev/zero", O_RDONLY), -1);
  assert_true(tg_state_is_other(errno));
  expect_victim();
}

static void a_new_file_takes_the_place_of_all_but_directories(void **state)
{
  (void)state;
  put_others();
  for (int i = 0; i < OTHERS; i++) {
    int fd = tg_state_make(at, others[i].name);
    if (others[i].put == put_directory) {
      assert_int_equal(fd, -1);
      assert_true(tg_state_is_other(errno));
      continue;
    }
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
  }
  expect_victim();
}

static void a_file_is_opened_as_ever(void **state)
{
  (void)state;
  assert_int_equal(tg_state_open(at, "nothing", O_RDWR), -1);
  assert_int_equal(errno, ENOENT);
  assert_false(tg_state_is_other(ENOENT));
  assert_string_equal(tg_state_problem(ENOENT), strerror(ENOENT));
  int fd = tg_state_open(at, "victim", O_RDWR | O_CREAT);
  assert_true(fd >= 0);
  close(fd);
  expect_victim();
}

static void only_directories_are_opened_as_such(void **state)
{
  (void)state;
  put_others();
  assert_int_equal(symlinkat("directory", at, "link-to-directory"), 0);
  int fd = tg_state_directory(at, "directory");
  assert_true(fd >= 0);
  close(fd);
  assert_int_equal(tg_state_directory(at, "link-to-directory"), -1);
  assert_non_null(strstr(tg_state_problem(errno), "symbolic link"));
  for (int i = 0; i < OTHERS; i++)
    if (others[i].put != put_directory) {
      assert_int_equal(tg_state_directory(at, others[i].name), -1);
      assert_true(tg_state_is_other(errno));
    }
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(only_files_are_opened),
      IN_DIRECTORY(a_new_file_takes_the_place_of_all_but_directories),
      IN_DIRECTORY(a_file_is_opened_as_ever),
      IN_DIRECTORY(only_directories_are_opened_as_such),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
