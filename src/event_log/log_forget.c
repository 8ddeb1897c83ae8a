#include "event_log/log_internal.h"

#include "base/log.h"
#include "base/state_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Logs that nobody wants any more, whatever waits in them. Their directory gets a hidden name first: that is
 * the moment from which on they are gone. */

struct held {
  int directory_fd, lock_fd;
};

static void let_go(struct held *held, int count)
{
  for (int i = 0; i < count; i++) {
    if (held[i].lock_fd >= 0)
      close(held[i].lock_fd);
    if (held[i].directory_fd >= 0)
      close(held[i].directory_fd);
  }
  free(held);
}

/* All of them, or none. One that somebody has removed meanwhile is no hindrance. */
static struct held *hold_all(const char *parent, char *const *names, int count, struct tg_error *error)
{
  struct held *held = tg_calloc((size_t)count + 1, sizeof *held);
  for (int i = 0; i < count; i++) {
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s/%s", parent, names[i]);
    char *directory = tg_buf_take(&path);
    held[i] = (struct held){-1, -1};
    held[i].directory_fd = tg_log_directory_open(directory, false, error);
    if (held[i].directory_fd >= 0)
      held[i].lock_fd = tg_log_directory_lock(held[i].directory_fd, directory, false, error);
    free(directory);
    if (held[i].lock_fd < 0 && strcmp(error->code, "missing") != 0) {
      let_go(held, i + 1);
      return NULL;
    }
  }
  return held;
}

/* What is no log stays, and with it the directory. */
static void remove_hidden(const char *hidden)
{
  char **names = tg_event_log_list(hidden);
  for (int i = 0; names && names[i]; i++) {
    struct tg_error error;
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s/%s", hidden, names[i]);
    char *directory = tg_buf_take(&path);
    int fd = tg_log_directory_open(directory, false, &error);
    if (fd >= 0) {
      if (!tg_log_directory_remove(directory, fd))
        rmdir(directory); /* its lock was gone already */
      close(fd);
    }
    free(directory);
  }
  tg_event_log_list_free(names);
  if (rmdir(hidden) != 0 && errno != ENOENT)
    tg_log(TG_WARN, TG_NO_SHARD, "%s cannot be removed: %s", hidden, strerror(errno));
}

static bool hide_and_remove(const char *parent, struct tg_error *error)
{
  const char *slash = strrchr(parent, '/');
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%.*s/.%s", (int)(slash - parent), parent, slash + 1);
  char *hidden = tg_buf_take(&path);
  remove_hidden(hidden); /* of a process that was killed, and this name again since */
  bool gone = rename(parent, hidden) == 0;
  if (gone)
    remove_hidden(hidden);
  else
    tg_fail(error, errno == ENOENT ? "missing" : "disk", "%s cannot be removed: %s", parent, strerror(errno));
  free(hidden);
  return gone;
}

bool tg_event_logs_forget(const char *parent, struct tg_error *error)
{
  char **names = tg_event_log_list(parent);
  int count = 0;
  while (names && names[count])
    count++;
  struct held *held = hold_all(parent, names, count, error);
  bool gone = held && hide_and_remove(parent, error);
  if (held)
    let_go(held, count);
  tg_event_log_list_free(names);
  return gone;
}

void tg_event_logs_tidy(const char *above)
{
  int fd = tg_state_directory(AT_FDCWD, above);
  DIR *walk = fd < 0 ? NULL : fdopendir(fd);
  for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;) {
    const char *name = entry->d_name;
    if (name[0] != '.' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
      continue;
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s/%s", above, name);
    char *hidden = tg_buf_take(&path);
    remove_hidden(hidden);
    free(hidden);
  }
  if (walk)
    closedir(walk);
  else if (fd >= 0)
    close(fd);
}
