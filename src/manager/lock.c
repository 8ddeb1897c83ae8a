#include "manager/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is to be done about it; "" where the system's words say enough. */
static const char *advice(int code)
{
  switch (code) {
  case EACCES:
  case EPERM:
    return ". The state directory has to be writable for this user";
  case EROFS:
    return ". Name a state directory that can be written: state_dir, or TIDEGATE_STATE_DIR";
  case ENOTDIR:
    return ". state_dir (TIDEGATE_STATE_DIR) has to name a directory";
  default:
    return "";
  }
}

static const char *code_word(int code)
{
  return code == ENOSPC || code == EDQUOT ? "disk_full" : "state_dir";
}

int tg_state_dir_exit(const struct tg_error *error)
{
  return strcmp(error->code, "disk_full") == 0 ? TG_EXIT_FAILED : TG_EXIT_CONFIG;
}

static bool make_directories(const char *path, struct tg_error *error)
{
  char part[PATH_MAX];
  snprintf(part, sizeof part, "%s", path);
  for (char *at = part + 1;; at++) {
    if (*at != '/' && *at != '\0')
      continue;
    char end = *at;
    *at = '\0';
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
      return tg_fail(
          error, code_word(errno),
          "the state directory %s cannot be made: %s: %s. Name one that can be written: state_dir, or "
          "TIDEGATE_STATE_DIR",
          path, part, strerror(errno));
    if (end == '\0')
      return true;
    *at = end;
  }
}

static long read_pid(int fd)
{
  char text[32] = "";
  ssize_t length = pread(fd, text, sizeof text - 1, 0);
  return length > 0 ? strtol(text, NULL, 10) : 0;
}

int tg_lock_state_dir(const char *state_dir, struct tg_error *error)
{
  if (!make_directories(state_dir, error))
    return -1;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/lock", state_dir);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    tg_fail(error, code_word(errno), "%s cannot be opened: %s%s", path, strerror(errno), advice(errno));
    return -1;
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      tg_fail(error, "locked",
              "another gateway (pid %ld) runs with the state directory %s. Stop it first, or give this one "
              "another "
              "state_dir",
              read_pid(fd), state_dir);
    else
      tg_fail(error, "state_dir", "%s cannot be locked: %s", path, strerror(errno));
    close(fd);
    return -1;
  }
  char text[32];
  int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length) {
    tg_fail(error, code_word(errno), "%s cannot be written: %s", path, strerror(errno));
    close(fd);
    return -1;
  }
  return fd;
}
