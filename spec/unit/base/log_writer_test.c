/* Lines on their way to somebody who may not read them. The writer is one for the process: each test leads
 * its descriptor elsewhere. */

#include "base/log_writer.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

enum { FD = 100, LINE = 1000 };

static void lead_to(int fd)
{
  assert_int_equal(dup2(fd, FD), FD);
  close(fd);
}

/* Returns the end that is to be read. */
static int lead_to_pipe(int flags)
{
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
  lead_to(fds[1]);
  return fds[0];
}

static bool put(const char *line)
{
  return tg_log_writer_put(1, "", line, strlen(line));
}

static bool put_number(int number)
{
  char line[LINE + 1];
  snprintf(line, sizeof line, "%0*d\n", LINE - 1, number);
  return put(line);
}

static void read_all(int fd, char *text, size_t size)
{
  size_t length = 0;
  tg_ms until = tg_now() + 10000;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  for (;;) {
    bool written = tg_log_writer_behind() == 0;
    ssize_t n = read(fd, text + length, size - 1 - length);
    length += n > 0 ? (size_t)n : 0;
    if ((written && n <= 0) || tg_now() > until)
      break;
    if (n <= 0)
      poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10);
  }
  text[length] = '\0';
}

/* Then the thread is held up by a line that does not fit. */
static void wait_until_full(int reader)
{
  int held = 0;
  for (tg_ms until = tg_now() + 10000; held <= 65536 - LINE && tg_now() < until;) {
    poll(NULL, 0, 1);
    assert_int_equal(ioctl(reader, FIONREAD, &held), 0);
  }
}

static uint64_t lost(int expected_code)
{
  int code = -1;
  uint64_t lines = tg_log_writer_lost(&code);
  if (lines > 0)
    assert_int_equal(code, expected_code);
  return lines;
}

static void lines_come_whole_and_in_order_however_the_descriptor_blocks(void **state)
{
  (void)state;
  static char text[300 * LINE + 1];
  for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
    int reader = lead_to_pipe(flags);
    for (int i = 0; i < 200; i++)
      assert_true(put_number(i)); /* three times what a pipe holds */
    assert_true(tg_log_writer_behind() > 0);
    read_all(reader, text, sizeof text);
    assert_int_equal(strlen(text), 200 * LINE);
    for (int i = 0; i < 200; i++)
      assert_int_equal(atoi(text + i * LINE), i);
    assert_int_equal(lost(0), 0);
    close(reader);
  }
}

static void draining_ends_though_nobody_reads(void **state)
{
  (void)state;
  static char text[300 * LINE + 1];
  int reader = lead_to_pipe(0);
  tg_ms began = tg_now();
  tg_log_writer_drain();
  assert_true(tg_now() - began < 400);
  for (int i = 0; i < 100; i++)
    assert_true(put_number(i));
  began = tg_now();
  tg_log_writer_drain();
  assert_in_range(tg_now() - began, 400, 10000);
  assert_true(tg_log_writer_behind() > 0);
  read_all(reader, text, sizeof text);
  assert_int_equal(strlen(text), 100 * LINE);
  close(reader);
}

static void what_has_no_room_is_counted_when_there_is_room_again(void **state)
{
  (void)state;
  static char text[3 * TG_LOG_WRITER_ROOM];
  int reader = lead_to_pipe(0), taken = 0, dropped = 0;
  while (taken < 100)
    taken += put_number(taken);
  wait_until_full(reader);
  while (taken + dropped < 2000)
    *(put_number(taken + dropped) ? &taken : &dropped) += 1;
  assert_in_range(taken * LINE, TG_LOG_WRITER_ROOM / 2, TG_LOG_WRITER_ROOM + 100 * LINE);
  assert_int_equal(lost(0), 0); /* there is no place for it yet */
  read_all(reader, text, sizeof text);
  assert_int_equal(strlen(text), taken * LINE);
  for (int i = 0; i < taken; i++)
    assert_int_equal(atoi(text + i * LINE), i); /* the first ones, without a hole */
  assert_int_equal(lost(0), dropped);
  assert_int_equal(lost(0), 0);
  assert_true(put_number(1));
  tg_log_writer_drain();
  close(reader);
}

static void what_cannot_be_written_is_counted_for_what_it_stands(void **state)
{
  (void)state;
  lead_to(open("/dev/full", O_WRONLY));
  assert_true(put("one\n") && put("two\n"));
  assert_true(tg_log_writer_put(40, "", "forty\n", 6));
  assert_true(tg_log_writer_put(0, "", "a drawing", 9));
  tg_log_writer_drain();
  assert_int_equal(lost(ENOSPC), 42);
  int reader = lead_to_pipe(0);
  close(reader);
  assert_true(put("nobody\n"));
  tg_log_writer_drain();
  assert_int_equal(lost(EPIPE), 1);
}

static void limit_files(rlim_t bytes)
{
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_line_that_was_cut_off_does_not_run_into_the_next(void **state)
{
  (void)state;
  char path[] = "/tmp/tidegate-log-XXXXXX", text[100] = "";
  lead_to(mkstemp(path));
  limit_files(10);
  assert_true(put("123456\n") && put("1234567\n"));
  tg_log_writer_drain();
  limit_files(RLIM_INFINITY);
  assert_true(tg_log_writer_put(1, "<4>", "next\n", 5));
  tg_log_writer_drain();
  assert_int_equal(lost(EFBIG), 1);
  assert_true(pread(FD, text, sizeof text - 1, 0) > 0);
  assert_string_equal(text, "123456\n123\n<4>next\n");
  unlink(path);
}

static int begin(void **state)
{
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  return tg_log_writer_start(FD) ? 0 : -1;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lines_come_whole_and_in_order_however_the_descriptor_blocks),
      cmocka_unit_test(draining_ends_though_nobody_reads),
      cmocka_unit_test(what_has_no_room_is_counted_when_there_is_room_again),
      cmocka_unit_test(what_cannot_be_written_is_counted_for_what_it_stands),
      cmocka_unit_test(a_line_that_was_cut_off_does_not_run_into_the_next),
  };
  return cmocka_run_group_tests(tests, begin, NULL);
}
