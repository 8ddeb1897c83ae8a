/* Processes that die in the middle of a turn. Preloaded (LD_PRELOAD) by
 * spec/support/sudden_death.lua: the file that TG_SUDDEN_DEATH names holds a
 * struct plan. Who comes to its last step, with all before it in the same
 * process, sends SIGKILL, once a plan. */

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum call { RENAME = 1, UNLINK, PWRITE, WRITE };
enum victim { SELF, PARENT, GROUP };

struct step {
  int32_t call;  /* 0: there are no more */
  int32_t count; /* the so-manieth of them */
  int32_t after; /* 0: before it; else after it */
  char name[52]; /* in the last part of the file's path; with a '/': a pattern somewhere in the path */
};

struct plan {
  _Atomic int32_t number; /* of this plan; 0: none, or carried out */
  int32_t victim;
  struct step steps[4];
};

static struct plan nothing;
static struct plan *plan = &nothing;

static int32_t followed; /* the number of the plan that these are about */
static int at, seen;     /* the step, and how many of it */

static void __attribute__((constructor)) open_file(void)
{
  const char *path = getenv("TG_SUDDEN_DEATH");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *page = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED)
    plan = page;
  close(fd);
}

static void strike(int32_t number)
{
  if (!atomic_compare_exchange_strong(&plan->number, &number, 0))
    return; /* another process was first */
  kill(plan->victim == SELF ? getpid() : plan->victim == PARENT ? getppid() : 0, SIGKILL);
}

static bool is_meant(const struct step *step, const char *path)
{
  const char *slash = strrchr(path, '/');
  char pattern[sizeof step->name + 2];
  if (!strchr(step->name, '/'))
    return strstr(slash ? slash + 1 : path, step->name) != NULL;
  snprintf(pattern, sizeof pattern, "*%s*", step->name);
  return fnmatch(pattern, path, 0) == 0;
}

/* Comes by before and after each call. */
static void come_to(enum call call, bool after, const char *path)
{
  int32_t number = atomic_load(&plan->number);
  if (number == 0)
    return;
  if (number != followed)
    at = seen = 0;
  followed = number;
  const struct step *step = &plan->steps[at];
  if (step->call != (int32_t)call || (step->after != 0) != after || !is_meant(step, path))
    return;
  if (++seen < step->count)
    return;
  seen = 0;
  if (plan->steps[++at].call == 0)
    strike(number);
}

/* Writes where an open file is, with '\0' behind it; nothing where no plan asks. */
static size_t path_of(int fd, char *path, size_t size)
{
  char name[40];
  ssize_t length = 0;
  if (atomic_load(&plan->number) != 0) {
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    length = readlink(name, path, size - 1);
  }
  path[length < 0 ? 0 : length] = '\0';
  return length < 0 ? 0 : (size_t)length;
}

/* Likewise of a file in an open directory. */
static const char *path_in(int directory, const char *name, char *path, size_t size)
{
  if (name[0] == '/' || directory == AT_FDCWD)
    return name;
  size_t length = path_of(directory, path, size);
  snprintf(path + length, size - length, "/%s", name);
  return path;
}

EXPORTED int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
  char buffer[4096];
  const char *path = path_in(to_directory, to, buffer, sizeof buffer);
  come_to(RENAME, false, path);
  int result = (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, 0);
  int code = errno;
  come_to(RENAME, true, path);
  errno = code;
  return result;
}

EXPORTED int rename(const char *from, const char *to)
{
  return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

EXPORTED int unlinkat(int directory, const char *name, int flags)
{
  char buffer[4096];
  const char *path = path_in(directory, name, buffer, sizeof buffer);
  come_to(UNLINK, false, path);
  int result = (int)syscall(SYS_unlinkat, directory, name, flags);
  int code = errno;
  come_to(UNLINK, true, path);
  errno = code;
  return result;
}

EXPORTED int unlink(const char *path)
{
  return unlinkat(AT_FDCWD, path, 0);
}

EXPORTED ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
  char path[4096];
  path_of(fd, path, sizeof path);
  come_to(PWRITE, false, path);
  ssize_t result = syscall(SYS_pwrite64, fd, bytes, length, offset);
  int code = errno;
  come_to(PWRITE, true, path);
  errno = code;
  return result;
}

/* The same, as programs know it that are built with _FILE_OFFSET_BITS=64. */
EXPORTED ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset)
    __attribute__((alias("pwrite")));

EXPORTED ssize_t write(int fd, const void *bytes, size_t length)
{
  char path[4096];
  path_of(fd, path, sizeof path);
  come_to(WRITE, false, path);
  ssize_t result = syscall(SYS_write, fd, bytes, length);
  int code = errno;
  come_to(WRITE, true, path);
  errno = code;
  return result;
}
