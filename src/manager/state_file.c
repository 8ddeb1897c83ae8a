#include "manager/state_file.h"

#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *tg_state_file_read(const char *state_dir, const char *name, struct tg_error *error)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", state_dir, name);
  int fd = tg_state_open(AT_FDCWD, path, O_RDONLY);
  if (fd < 0)
    return tg_fail(error, errno == ENOENT ? "missing" : "damaged", "%s cannot be opened: %s", path,
                   tg_state_problem(errno)),
           NULL;
  json_error_t problem;
  FILE *file = fdopen(fd, "r"); /* json_loadfd() asks the kernel for each byte */
  json_t *content = file ? json_loadf(file, 0, &problem) : json_loadfd(fd, 0, &problem);
  if (file)
    fclose(file);
  else
    close(fd);
  if (!json_is_object(content)) {
    tg_fail(error, "damaged", "%s is damaged (%s)", path, content ? "not an object" : problem.text);
    json_decref(content);
    return NULL;
  }
  return content;
}

static bool write_all(int fd, const char *text, size_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, text, length);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    text += n;
    length -= (size_t)n;
  }
  return true;
}

bool tg_state_file_write(const char *state_dir, const char *name, const json_t *content,
                         struct tg_error *error)
{
  char path[PATH_MAX], next[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", state_dir, name);
  snprintf(next, sizeof next, "%s/.%s.next", state_dir, name);
  char *text = json_dumps(content, JSON_INDENT(2));
  if (!text)
    return tg_fail(error, "failed", "%s cannot be written: its content is no JSON", path);
  int fd = tg_state_make(AT_FDCWD, next);
  /* Before it takes the other's place: else a power cut could leave a name with nothing behind it. */
  bool written = fd >= 0 && write_all(fd, text, strlen(text)) && write_all(fd, "\n", 1) && fdatasync(fd) == 0;
  int problem = errno;
  if (fd >= 0 && close(fd) != 0 && written) {
    problem = errno;
    written = false;
  }
  free(text);
  if (written && rename(next, path) != 0) {
    problem = errno;
    written = false;
  }
  if (!written)
    return tg_fail(error, "failed", "%s cannot be written: %s", path, tg_state_problem(problem));
  return true;
}
