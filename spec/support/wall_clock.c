/* The wall clock of the processes under test, moved without touching the
 * machine's. Preloaded (LD_PRELOAD) by spec/support/wall_clock.lua: the file
 * that TG_WALL_CLOCK names holds one number of 8 bytes, the nanoseconds by
 * which the wall clock of these processes is ahead, and may be written at any
 * time. The monotonic clock, and what the kernel writes (times of files), stay
 * as they are. */

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { NANO = 1000000000 };

static _Atomic int64_t at_the_machines = 0;
static const _Atomic int64_t *ahead = &at_the_machines;

static void __attribute__((constructor)) open_file(void)
{
  const char *path = getenv("TG_WALL_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *page = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED)
    ahead = page;
  close(fd);
}

static int64_t now(clockid_t clock)
{
  struct timespec real;
  syscall(SYS_clock_gettime, clock, &real);
  return (int64_t)real.tv_sec * NANO + real.tv_nsec + atomic_load_explicit(ahead, memory_order_relaxed);
}

EXPORTED int clock_gettime(clockid_t clock, struct timespec *out)
{
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
    return (int)syscall(SYS_clock_gettime, clock, out);
  int64_t nanoseconds = now(clock);
  *out = (struct timespec){.tv_sec = nanoseconds / NANO, .tv_nsec = nanoseconds % NANO};
  return 0;
}

EXPORTED int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
  (void)zone;
  int64_t nanoseconds = now(CLOCK_REALTIME);
  *out = (struct timeval){.tv_sec = nanoseconds / NANO, .tv_usec = nanoseconds % NANO / 1000};
  return 0;
}

EXPORTED time_t time(time_t *out)
{
  time_t seconds = (time_t)(now(CLOCK_REALTIME_COARSE) / NANO);
  if (out)
    *out = seconds;
  return seconds;
}
