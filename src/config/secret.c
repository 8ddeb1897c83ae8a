#include "config/secret.h"

#include "base/buf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SIZE = 4096 };

static char *credential_path(const char *directory, const char *variable)
{
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/", directory);
  for (const char *at = variable; *at; at++) {
    char letter = (char)tolower((unsigned char)*at);
    tg_buf_append(&path, &letter, 1);
  }
  return tg_buf_take(&path);
}

char *tg_secret_path(const char *variable, const char *(*env)(const char *name),
                     char named_by[TG_SECRET_NAME])
{
  snprintf(named_by, TG_SECRET_NAME, "%s_FILE", variable);
  const char *path = env(named_by);
  if (path && *path)
    return tg_strdup(path);
  snprintf(named_by, TG_SECRET_NAME, "CREDENTIALS_DIRECTORY");
  const char *directory = env(named_by);
  if (!directory || !*directory)
    return NULL;
  char *credential = credential_path(directory, variable);
  if (access(credential, F_OK) == 0 || errno != ENOENT)
    return credential;
  free(credential);
  return NULL;
}

/* Bytes read, or -1 with errno. A file that is another one at each reading, such
 * as a pipe, would be empty for the workers. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0)
    return -1;
  struct stat status;
  ssize_t length = -1;
  if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode))
    errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
  else
    length = read(fd, text, size);
  int why = errno;
  close(fd);
  errno = why;
  return length;
}

char *tg_secret_read(const char *path, struct tg_error *error)
{
  char text[MAX_SIZE + 1];
  ssize_t length = read_file(path, text, sizeof text);
  if (length < 0)
    return tg_fail(error, "unreadable", "cannot read %s: %s", path,
                   errno == EINVAL ? "not a regular file" : strerror(errno)),
           NULL;
  if (length > MAX_SIZE)
    return tg_fail(error, "too_long", "%s has more than %d bytes: that is no secret", path, MAX_SIZE), NULL;
  while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
    length--;
  if (length == 0)
    return tg_fail(error, "empty", "%s is empty", path), NULL;
  if (memchr(text, '\0', (size_t)length))
    return tg_fail(error, "not_text", "%s has a NUL byte in it", path), NULL;
  return tg_strndup(text, (size_t)length);
}
