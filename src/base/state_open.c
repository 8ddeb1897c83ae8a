#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  SAFELY = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
  FOR_OWNER = 0600,
  NO_FILE = ENXIO, /* also of open(), for a socket, and a pipe that nobody reads */
};

int tg_state_open(int directory, const char *path, int flags)
{
  struct stat status;
  int fd = openat(directory, path, flags | SAFELY, FOR_OWNER);
  if (fd < 0)
    return -1;
  int code = fstat(fd, &status) != 0    ? errno
             : S_ISDIR(status.st_mode)  ? EISDIR
             : !S_ISREG(status.st_mode) ? NO_FILE
                                        : 0;
  if (code == 0)
    return fd;
  close(fd);
  errno = code;
  return -1;
}

int tg_state_make(int directory, const char *path)
{
  if (unlinkat(directory, path, 0) != 0 && errno != ENOENT)
    return -1;
  return tg_state_open(directory, path, O_RDWR | O_CREAT | O_EXCL);
}

int tg_state_directory(int directory, const char *path)
{
  int fd = openat(directory, path, O_RDONLY | O_DIRECTORY | SAFELY);
  struct stat status;
  /* A link is ENOTDIR here, too. */
  if (fd < 0 && errno == ENOTDIR && fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0)
    errno = S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR;
  return fd;
}

bool tg_state_is_other(int code)
{
  return code == ELOOP || code == NO_FILE || code == EISDIR || code == ENOTDIR;
}

const char *tg_state_problem(int code)
{
  switch (code) {
  case ELOOP:
    return "it is a symbolic link, and none is followed in the state directory: remove it";
  case NO_FILE:
    return "it is not a regular file: remove it";
  case EISDIR:
    return "it is a directory, in the place of a file: remove it";
  default:
    return strerror(code);
  }
}
