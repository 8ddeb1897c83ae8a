#include "event_log/log_internal.h"

#include "base/state_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char cursor_prefix[] = "cursor.", unfinished[] = ".next", segment_suffix[] = ".segment";

static bool ends_with(const char *name, const char *end)
{
  size_t length = strlen(name), tail = strlen(end);
  return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* The log's own, a reader's, or one that was being made. */
static bool is_cursor(const char *name)
{
  return strncmp(name, "cursor", 6) == 0;
}

/* --- open and lock --------------------------------------------------------------- */

static int make_directories(const char *path)
{
  char part[PATH_MAX];
  if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
    return ENAMETOOLONG;
  for (char *at = part + 1;; at++) {
    if (*at != '/' && *at != '\0')
      continue;
    char end = *at;
    *at = '\0';
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
      return errno;
    if (end == '\0')
      return 0;
    *at = end;
  }
}

/* Neither it nor the directory of all logs, in which it is, may be a link. */
static int open_below(const char *directory)
{
  char parent[PATH_MAX];
  const char *slash = strrchr(directory, '/');
  if (!slash || slash == directory)
    return tg_state_directory(AT_FDCWD, directory);
  snprintf(parent, sizeof parent, "%.*s", (int)(slash - directory), directory);
  int parent_fd = tg_state_directory(AT_FDCWD, parent);
  int fd = parent_fd < 0 ? -1 : tg_state_directory(parent_fd, slash + 1), code = errno;
  if (parent_fd >= 0)
    close(parent_fd);
  errno = code;
  return fd;
}

int tg_log_directory_open(const char *directory, bool make, struct tg_error *error)
{
  int code = make ? make_directories(directory) : 0;
  int fd = code == 0 ? open_below(directory) : -1;
  if (fd >= 0)
    return fd;
  if (code == 0)
    code = errno;
  tg_fail(error, code == ENOENT ? "missing" : "disk", "the log directory %s cannot be %s: %s. %s", directory,
          make ? "made" : "opened", tg_state_problem(code),
          make ? "The state directory has to be writable for this user (state_dir, or TIDEGATE_STATE_DIR)"
               : "");
  return -1;
}

static long read_pid(int fd)
{
  char text[32] = "";
  ssize_t length = pread(fd, text, sizeof text - 1, 0);
  return length > 0 ? strtol(text, NULL, 10) : 0;
}

static int open_lock(int directory_fd, const char *directory, struct tg_error *error)
{
  int fd = tg_state_open(directory_fd, "lock", O_RDWR | O_CREAT);
  if (fd < 0)
    tg_fail(error, errno == ENOENT ? "missing" : "disk",
            "%s/lock cannot be opened: %s. The state directory has to be writable for this user", directory,
            tg_state_problem(errno));
  return fd;
}

/* False: the file was removed while we waited for it. */
static bool is_current(int directory_fd, int fd)
{
  struct stat held, named;
  return fstat(fd, &held) == 0 && fstatat(directory_fd, "lock", &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

int tg_log_directory_lock(int directory_fd, const char *directory, bool shared, struct tg_error *error)
{
  for (;;) {
    int fd = open_lock(directory_fd, directory, error);
    if (fd < 0)
      return -1;
    if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
      int code = errno;
      if (code == EWOULDBLOCK)
        tg_fail(error, "locked", "the log %s is in use by another process (pid %ld)", directory,
                read_pid(fd));
      else
        tg_fail(error, "disk", "%s/lock cannot be locked: %s", directory, strerror(code));
      close(fd);
      return -1;
    }
    if (!is_current(directory_fd, fd)) {
      close(fd);
      continue;
    }
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)length, 0) == length)
      return fd;
    tg_fail(error, errno == ENOSPC ? "disk_full" : "disk", "%s/lock cannot be written: %s", directory,
            strerror(errno));
    close(fd);
    return -1;
  }
}

/* Whoever has it may have looked through it before the last of our events was done, and be about to leave it
 * for us: he is waited for, but not whoever drains it. */
bool tg_log_directory_seize(int directory_fd, int lock_fd, const char *directory, struct tg_error *error)
{
  enum { TRIES = 25, STEP = 1000 /* us */ };
  for (int tries = 0; tries < TRIES; tries++) {
    if (flock(lock_fd, LOCK_EX | LOCK_NB) == 0)
      return is_current(directory_fd, lock_fd) ||
             tg_fail(error, "locked", "the log %s was removed by another process", directory);
    usleep(STEP);
  }
  return tg_fail(error, "locked", "the log %s is in use by another process (pid %ld)", directory,
                 read_pid(lock_fd));
}

/* --- walks ---------------------------------------------------------------------------- */

static DIR *open_walk(int directory_fd)
{
  int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *walk = fd < 0 ? NULL : fdopendir(fd);
  if (!walk && fd >= 0)
    close(fd);
  return walk;
}

void tg_log_each_reader_cursor(int directory_fd, void (*each)(void *ctx, const char *name), void *ctx)
{
  DIR *walk = open_walk(directory_fd);
  if (!walk)
    return;
  for (struct dirent *entry; (entry = readdir(walk)) != NULL;)
    if (strncmp(entry->d_name, cursor_prefix, sizeof cursor_prefix - 1) == 0 &&
        !ends_with(entry->d_name, unfinished))
      each(ctx, entry->d_name);
  closedir(walk);
}

struct found {
  char *name;
  tg_ms age;
};

/* What a directory has of a log in it. */
struct content {
  char first[NAME_MAX + 1]; /* segment; "": none */
  bool own, foreign;        /* files */
};

static struct content look_into(DIR *walk)
{
  struct content content = {0};
  for (struct dirent *entry; (entry = readdir(walk)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
      continue;
    bool segment = ends_with(name, segment_suffix);
    if (segment || is_cursor(name) || strcmp(name, "lock") == 0)
      content.own = true;
    else
      content.foreign = true;
    if (segment && (content.first[0] == '\0' || strcmp(name, content.first) < 0))
      snprintf(content.first, sizeof content.first, "%s", name);
  }
  return content;
}

/* A process that is killed while it makes or removes its log leaves some of
 * its files, or none: that has to be found, too, or nobody would ever remove it. */
static bool is_log(const char *name, const struct content *content)
{
  return content->own || (!content->foreign && strncmp(name, "worker-", 7) == 0);
}

/* When the log's first segment was made; without one, when it was last used. False: it is no log. */
static bool read_age(int parent_fd, const char *name, tg_ms *age)
{
  char header[TG_SEGMENT_HEADER];
  int directory_fd = tg_state_directory(parent_fd, name);
  DIR *walk = directory_fd < 0 ? NULL : fdopendir(directory_fd);
  if (!walk) {
    if (directory_fd >= 0)
      close(directory_fd);
    return false;
  }
  struct content content = look_into(walk);
  int fd = content.first[0] ? tg_state_open(directory_fd, content.first, O_RDONLY) : -1;
  ssize_t length = fd < 0 ? -1 : pread(fd, header, sizeof header, 0);
  uint32_t number = (uint32_t)strtoul(content.first, NULL, 10);
  if (length != sizeof header || !tg_segment_header_decode(header, number, age)) {
    struct stat status = {0};
    if (fd >= 0)
      fstat(fd, &status);
    else if (fstatat(directory_fd, "cursor", &status, AT_SYMLINK_NOFOLLOW) != 0)
      fstat(directory_fd, &status);
    *age = (tg_ms)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
  }
  if (fd >= 0)
    close(fd);
  closedir(walk);
  return is_log(name, &content);
}

tg_ms tg_event_log_number(const char *name)
{
  const char *dot = strrchr(name, '.');
  unsigned long long run, number;
  int end = 0;
  if (!dot || sscanf(dot, ".%llu-%llu%n", &run, &number, &end) != 2 || dot[end])
    return -1;
  return number < INT64_MAX ? (tg_ms)number : -1;
}

static int by_age(const void *one, const void *two)
{
  const struct found *a = one, *b = two;
  return a->age != b->age ? (a->age > b->age) - (a->age < b->age) : strcmp(a->name, b->name);
}

char **tg_event_log_list(const char *parent)
{
  struct tg_buf found = {0};
  int fd = tg_state_directory(AT_FDCWD, parent);
  DIR *walk = fd < 0 ? NULL : open_walk(fd);
  tg_ms age;
  for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;)
    if (entry->d_name[0] != '.' && read_age(fd, entry->d_name, &age)) {
      tg_ms number = tg_event_log_number(entry->d_name);
      struct found one = {tg_strdup(entry->d_name), number >= 0 ? number : age};
      tg_buf_append(&found, &one, sizeof one);
    }
  if (walk)
    closedir(walk);
  if (fd >= 0)
    close(fd);
  size_t count = found.length / sizeof(struct found);
  if (count == 0)
    return NULL;
  struct found *all = (struct found *)found.data;
  qsort(all, count, sizeof *all, by_age);
  char **names = tg_calloc(count + 1, sizeof *names);
  for (size_t i = 0; i < count; i++)
    names[i] = all[i].name;
  tg_buf_free(&found);
  return names;
}

void tg_event_log_list_free(char **names)
{
  for (size_t i = 0; names && names[i]; i++)
    free(names[i]);
  free(names);
}

/* --- removal ----------------------------------------------------------------------------- */

/* The lock goes last: whoever gets it then finds an empty directory, or none. */
static bool is_segment(const char *name)
{
  return ends_with(name, segment_suffix);
}

static bool is_own_cursor(const char *name)
{
  return strcmp(name, "cursor") == 0;
}

static bool remove_all(int directory_fd, bool (*is_one)(const char *name))
{
  DIR *walk = open_walk(directory_fd);
  if (!walk)
    return false;
  for (struct dirent *entry; (entry = readdir(walk)) != NULL;)
    if (is_one(entry->d_name))
      unlinkat(directory_fd, entry->d_name, 0);
  closedir(walk);
  return true;
}

/* The log's own cursor says what was written, those of its readers that it is done with: without them the
 * next process, should this one be killed here, would take all that they had for lost. */
bool tg_log_directory_remove(const char *directory, int directory_fd)
{
  if (!remove_all(directory_fd, is_segment) || !remove_all(directory_fd, is_own_cursor) ||
      !remove_all(directory_fd, is_cursor))
    return false;
  return unlinkat(directory_fd, "lock", 0) == 0 && rmdir(directory) == 0;
}
