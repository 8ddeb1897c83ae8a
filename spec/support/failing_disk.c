/* A disk that fails under the processes under test. Preloaded (LD_PRELOAD) by
 * spec/support/failing_disk.lua: the file that TG_FAILING_DISK names holds the
 * error number, 4 bytes, with which segments of event logs and the files of a
 * resharding can be neither made nor written; 0: all is well. It may be written
 * at any time. With TG_FAILING_PATH, those alone whose path has that in it, and
 * dead letters, too. With TG_SLOW_SYNC=MS each fdatasync() takes that long. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static const _Atomic int no_error = 0;
static const _Atomic int *error_number = &no_error;
static const char *part_of_path = "";
static int slow_sync; /* ms */

static void __attribute__((constructor)) open_file(void)
{
  const char *slow = getenv("TG_SLOW_SYNC");
  slow_sync = slow ? atoi(slow) : 0;
  const char *path = getenv("TG_FAILING_DISK"), *part = getenv("TG_FAILING_PATH");
  part_of_path = part ? part : "";
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *page = mmap(NULL, sizeof *error_number, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED)
    error_number = page;
  close(fd);
}

static int is_meant(const char *path, size_t length)
{
  static const char suffix[] = ".segment";
  enum { LENGTH = sizeof suffix - 1 };
  const char *name = strrchr(path, '/');
  if (!strstr(path, part_of_path))
    return 0;
  return (length > LENGTH && strcmp(path + length - LENGTH, suffix) == 0) ||
         (name && (strncmp(name, "/reshard", 8) == 0 || strncmp(name, "/.reshard", 9) == 0)) ||
         (name && *part_of_path && strncmp(name, "/dead.jsonl", 11) == 0);
}

/* What happens to that file now; 0: nothing. */
static int fate(int fd)
{
  int number = atomic_load_explicit(error_number, memory_order_relaxed);
  char name[40], path[4096];
  if (number == 0)
    return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0)
    return 0;
  path[length] = '\0';
  return is_meant(path, (size_t)length) ? number : 0;
}

EXPORTED ssize_t write(int fd, const void *bytes, size_t length)
{
  int number = fate(fd);
  if (number == 0)
    return syscall(SYS_write, fd, bytes, length);
  errno = number;
  return -1;
}

EXPORTED ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
  int number = fate(fd);
  if (number == 0)
    return syscall(SYS_pwrite64, fd, bytes, length, offset);
  errno = number;
  return -1;
}

EXPORTED int posix_fallocate(int fd, off_t offset, off_t length)
{
  int number = fate(fd);
  return number != 0 || syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? number : errno;
}

EXPORTED int fdatasync(int fd)
{
  if (slow_sync > 0)
    poll(NULL, 0, slow_sync);
  return (int)syscall(SYS_fdatasync, fd);
}

/* The same, as programs know them that are built with _FILE_OFFSET_BITS=64. */
EXPORTED ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset)
    __attribute__((alias("pwrite")));
EXPORTED int posix_fallocate64(int fd, off_t offset, off_t length) __attribute__((alias("posix_fallocate")));
