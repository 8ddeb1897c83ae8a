#include "manager/lock.h"

#include "base/log.h"
#include "base/state_open.h"

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

/* --- who else can write there ----------------------------------------------------- */

/* Who can write into the directory can have the gateway take his sessions and events
 * for its own. Root has everything to lose by that; who is not, is told. */
static bool distrust(const char *state_dir, const char *what, const char *remedy, struct tg_error *error)
{
  if (geteuid() == 0)
    return tg_fail(error, "state_dir",
                   "the state directory %s %s, and the gateway runs as root: it is not used. %s, or run the "
                   "gateway as another user",
                   state_dir, what, remedy);
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, state_dir)),
              "the state directory %s: whoever that is can have the gateway lose sessions and events, or "
              "take false ones. %s",
              what, remedy);
  return true;
}

static bool check_owner(const char *state_dir, const struct stat *status, struct tg_error *error)
{
  char what[80];
  if (status->st_uid == geteuid() || status->st_uid == 0)
    return true;
  snprintf(what, sizeof what, "belongs to another user (uid %ld)", (long)status->st_uid);
  return distrust(state_dir, what, "Change its owner (chown)", error);
}

static bool check_writers(const char *state_dir, const struct stat *status, struct tg_error *error)
{
  bool group = (status->st_mode & S_IWGRP) && (geteuid() != 0 || status->st_gid != 0);
  if (!group && !(status->st_mode & S_IWOTH))
    return true;
  return distrust(state_dir, "can be written by others", "Take that from them (chmod go-w)", error);
}

static bool check_folder(const char *state_dir, const char *name, struct tg_error *error)
{
  char path[PATH_MAX];
  struct stat status;
  snprintf(path, sizeof path, "%s/%s", state_dir, name);
  if (lstat(path, &status) != 0 || S_ISDIR(status.st_mode))
    return true;
  return tg_fail(error, "state_dir",
                 "%s is not a directory (no link is followed in the state directory): remove it", path);
}

static bool check(const char *state_dir, struct tg_error *error)
{
  struct stat status;
  if (stat(state_dir, &status) != 0)
    return tg_fail(error, code_word(errno), "the state directory %s cannot be looked at: %s", state_dir,
                   strerror(errno));
  return check_owner(state_dir, &status, error) && check_writers(state_dir, &status, error) &&
         check_folder(state_dir, "log", error) && check_folder(state_dir, "guilds", error);
}

/* --- the lock ------------------------------------------------------------------------ */

static long read_pid(int fd)
{
  char text[32] = "";
  ssize_t length = pread(fd, text, sizeof text - 1, 0);
  return length > 0 ? strtol(text, NULL, 10) : 0;
}

int tg_lock_state_dir(const char *state_dir, struct tg_error *error)
{
  if (!make_directories(state_dir, error) || !check(state_dir, error))
    return -1;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/lock", state_dir);
  int fd = tg_state_open(AT_FDCWD, path, O_RDWR | O_CREAT);
  if (fd < 0) {
    tg_fail(error, code_word(errno), "%s cannot be opened: %s%s", path, tg_state_problem(errno),
            advice(errno));
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
