#include "base/program.h"

#include "base/error.h"
#include "base/log_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool told_to_ignore_pipe; /* by whoever has started this program */
static bool has_more;

/* The lowest free descriptor is the one that is opened. Where there is no
 * /dev/null any directory keeps the place: what is written to it is refused, as
 * it was before. */
static void open_standard_descriptors(void)
{
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
    if (fd < 0)
      fd = open("/", O_RDONLY | O_DIRECTORY);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO)
    close(fd);
}

void tg_program_begin(void)
{
  open_standard_descriptors();
  told_to_ignore_pipe = signal(SIGPIPE, SIG_IGN) == SIG_IGN;
}

void tg_program_serves(void)
{
  static const int numbers[] = {SIGUSR1, SIGUSR2, SIGXFSZ, SIGTTOU};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    signal(numbers[i], SIG_IGN);
}

void tg_program_keeps_secrets(void)
{
  const char *dumps = getenv("TIDEGATE_CORE_DUMPS");
  if (!dumps || strcmp(dumps, "1") != 0)
    prctl(PR_SET_DUMPABLE, 0);
}

bool tg_program_is_read(void)
{
  struct pollfd output = {.fd = STDOUT_FILENO};
  return poll(&output, 1, 0) <= 0 || !(output.revents & (POLLERR | POLLHUP));
}

void tg_program_has_more(void)
{
  has_more = true;
}

static void end_as_others_do(void)
{
  signal(SIGPIPE, SIG_DFL);
  raise(SIGPIPE);
}

int tg_program_end(const char *program, int exit_code)
{
  errno = 0;
  bool written = fflush(stdout) == 0 && !ferror(stdout) && !has_more;
  bool unread = !written && !tg_program_is_read(), leaves = unread && !told_to_ignore_pipe;
  if (!written && !leaves && exit_code == TG_EXIT_OK) {
    char text[200];
    int length = snprintf(text, sizeof text, "%s: standard output cannot be written: %s\n", program,
                          unread  ? strerror(EPIPE)
                          : errno ? strerror(errno)
                                  : "a part of it is lost");
    tg_log_writer_put(1, "", text, (size_t)length);
    exit_code = TG_EXIT_FAILED;
  }
  tg_log_writer_drain();
  if (leaves && exit_code == TG_EXIT_OK)
    end_as_others_do();
  return exit_code;
}
