/* Processes that die in the middle of a turn. Preloaded (LD_PRELOAD) by
 * spec/support/sudden_death.lua: the file that TG_SUDDEN_DEATH names holds a
 * struct plan. Who comes to its last step, with all before it in the same
 * process, sends SIGKILL, once a plan. */

#include <errno.h>
#include <fcntl.h>
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

enum call { RENAME = 1, UNLINK, PWRITE };
enum victim { SELF, PARENT, GROUP };

struct step {
  int32_t call;  /* 0: there are no more */
  int32_t count; /* the so-manieth of them */
  int32_t after; /* 0: before it; else after it */
  char name[52]; /* in the last part of the file's path */
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
  const char *slash = strrchr(path, '/');
  if (step->call != (int32_t)call || (step->after != 0) != after ||
      !strstr(slash ? slash + 1 : path, step->name))
    return;
  if (++seen < step->count)
    return;
  seen = 0;
  if (plan->steps[++at].call == 0)
    strike(number);
}

EXPORTED int rename(const char *from, const char *to)
{
  come_to(RENAME, false, to);
  int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  int code = errno;
  come_to(RENAME, true, to);
  errno = code;
  return result;
}

EXPORTED int unlinkat(int directory, const char *path, int flags)
{
  come_to(UNLINK, false, path);
  int result = (int)syscall(SYS_unlinkat, directory, path, flags);
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
  char name[40], path[4096] = "";
  if (atomic_load(&plan->number) != 0) {
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(name, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = '\0';
  }
  come_to(PWRITE, false, path);
  ssize_t result = syscall(SYS_pwrite64, fd, bytes, length, offset);
  int code = errno;
  come_to(PWRITE, true, path);
  errno = code;
  return result;
}
