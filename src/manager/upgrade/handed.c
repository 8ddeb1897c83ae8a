#include "manager/upgrade/handed.h"

#include "base/buf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Names of descriptors begin with this, so that they are found wherever they stand. */
static const char prefix[] = "fd:";

enum { KEY_SIZE = 64 };

static const char *key_of(const char *name, char key[KEY_SIZE])
{
  snprintf(key, KEY_SIZE, "%s%s", prefix, name);
  return key;
}

int tg_handed_write(const json_t *state)
{
  int fd = memfd_create("tidegate-handover", MFD_CLOEXEC);
  if (fd >= 0 && json_dumpfd(state, fd, JSON_COMPACT) != 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

json_t *tg_handed_read(int fd)
{
  if (fd < 0 || lseek(fd, 0, SEEK_SET) != 0)
    return NULL;
  return json_loadfd(fd, 0, NULL);
}

void tg_handed_put_fd(json_t *object, const char *name, int fd)
{
  char key[KEY_SIZE];
  if (fd >= 0)
    json_object_set_new(object, key_of(name, key), json_integer(fd));
}

int tg_handed_copy(int fd)
{
  return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int tg_handed_fd(const json_t *object, const char *name)
{
  char key[KEY_SIZE];
  const json_t *fd = json_object_get(object, key_of(name, key));
  return json_is_integer(fd) ? tg_handed_copy((int)json_integer_value(fd)) : -1;
}

static void collect(const json_t *value, struct tg_buf *list)
{
  const char *key;
  json_t *member;
  size_t index;
  json_object_foreach((json_t *)value, key, member)
  {
    int fd = (int)json_integer_value(member);
    if (strncmp(key, prefix, sizeof prefix - 1) == 0 && json_is_integer(member))
      tg_buf_append(list, &fd, sizeof fd);
    else
      collect(member, list);
  }
  json_array_foreach(value, index, member)
  {
    collect(member, list);
  }
}

int *tg_handed_fds(const json_t *state, int *count)
{
  struct tg_buf list = {0};
  collect(state, &list);
  *count = (int)(list.length / sizeof(int));
  return (int *)(void *)list.data;
}
