#include "script/vm/sources.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 16 * 1024 };

const struct tg_source *tg_sources_find(const struct tg_sources *sources, const char *path)
{
  for (int i = 0; i < sources->count; i++) {
    if (strcmp(sources->items[i].path, path) == 0)
      return &sources->items[i];
  }
  return NULL;
}

static struct tg_source *add(struct tg_sources *sources, char *path, struct tg_buf *bytes)
{
  sources->items = tg_realloc(sources->items, (size_t)(sources->count + 1) * sizeof *sources->items);
  struct tg_source *source = &sources->items[sources->count++];
  *source = (struct tg_source){.path = path, .length = bytes->length};
  source->bytes = tg_buf_take(bytes);
  return source;
}

/* ---- disk ---- */

static struct tg_source_stamp stamp_of(const struct stat *info)
{
  return (struct tg_source_stamp){
      .changed_at = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec,
      .size = info->st_size,
      .inode = info->st_ino,
  };
}

/* False: errno. */
static bool read_all(int fd, struct tg_buf *bytes)
{
  for (;;) {
    ssize_t n = read(fd, tg_buf_reserve(bytes, READ_SIZE), READ_SIZE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n == 0;
    bytes->length += (size_t)n;
  }
}

const struct tg_source *tg_sources_read(struct tg_sources *sources, const char *path)
{
  const struct tg_source *known = tg_sources_find(sources, path);
  if (known)
    return known;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return NULL;
  struct stat info;
  struct tg_buf bytes = {0};
  if (fstat(fd, &info) != 0 || !read_all(fd, &bytes)) {
    int why = errno;
    tg_buf_free(&bytes);
    close(fd);
    errno = why;
    return NULL;
  }
  close(fd);
  struct tg_source *source = add(sources, tg_strdup(path), &bytes);
  source->stamp = stamp_of(&info);
  return source;
}

void tg_sources_free(struct tg_sources *sources)
{
  for (int i = 0; i < sources->count; i++) {
    free(sources->items[i].path);
    free(sources->items[i].bytes);
  }
  free(sources->items);
  *sources = (struct tg_sources){0};
}

void tg_sources_copy(struct tg_sources *to, const struct tg_sources *from)
{
  for (int i = 0; i < from->count; i++) {
    const struct tg_source *source = &from->items[i];
    struct tg_buf bytes = {0};
    tg_buf_append(&bytes, source->bytes, source->length);
    struct tg_source *copy = add(to, tg_strdup(source->path), &bytes);
    copy->given = source->given;
    copy->stamp = source->stamp;
  }
}

static uint64_t mix(uint64_t sum, uint64_t value)
{
  sum = (sum ^ value) * 0x9e3779b97f4a7c15u;
  return sum ^ sum >> 29;
}

const char *tg_sources_changed(const struct tg_sources *sources, uint64_t *sum)
{
  const char *changed = NULL;
  *sum = 0;
  for (int i = 0; i < sources->count; i++) {
    const struct tg_source *source = &sources->items[i];
    struct stat info;
    if (source->given || stat(source->path, &info) != 0)
      continue;
    struct tg_source_stamp now = stamp_of(&info), then = source->stamp;
    *sum = mix(mix(mix(*sum, (uint64_t)now.changed_at), (uint64_t)now.size), now.inode);
    if (!changed && (now.changed_at != then.changed_at || now.size != then.size || now.inode != then.inode))
      changed = source->path;
  }
  return changed;
}

uint64_t tg_sources_sum(const struct tg_sources *sources)
{
  uint64_t sum = 0;
  for (int i = 0; i < sources->count; i++) {
    const struct tg_source *source = &sources->items[i];
    for (const char *at = source->path; *at; at++)
      sum = mix(sum, (unsigned char)*at);
    for (size_t k = 0; k < source->length; k++)
      sum = mix(sum, (unsigned char)source->bytes[k]);
  }
  return sum;
}

/* ---- from the manager to a worker: path, NUL, length, bytes; again and again ---- */

static bool write_all(int fd, const char *bytes, size_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return false;
    bytes += n;
    length -= (size_t)n;
  }
  return true;
}

static void put(struct tg_buf *all, const char *path, const char *bytes, uint64_t length)
{
  tg_buf_append(all, path, strlen(path) + 1);
  tg_buf_append(all, &length, sizeof length);
  tg_buf_append(all, bytes, length);
}

int tg_sources_to_fd(const struct tg_sources *sources, const char *settings)
{
  struct tg_buf all = {0};
  for (int i = 0; i < sources->count; i++)
    if (strcmp(sources->items[i].path, TG_SOURCE_SETTINGS) != 0)
      put(&all, sources->items[i].path, sources->items[i].bytes, sources->items[i].length);
  put(&all, TG_SOURCE_SETTINGS, settings, strlen(settings));
  int fd = memfd_create("tidegate-sources", MFD_CLOEXEC);
  if (fd >= 0 && (!write_all(fd, all.data, all.length) || lseek(fd, 0, SEEK_SET) != 0)) {
    int why = errno;
    close(fd);
    errno = why;
    fd = -1;
  }
  tg_buf_free(&all);
  return fd;
}

bool tg_sources_take_fd(struct tg_sources *sources, int fd)
{
  struct tg_buf all = {0};
  bool ok = read_all(fd, &all);
  close(fd);
  for (size_t at = 0; ok && at < all.length;) {
    const char *path = all.data + at;
    size_t left = all.length - at, path_size = strnlen(path, left) + 1;
    uint64_t length;
    ok = path_size + sizeof length <= left;
    if (!ok)
      break;
    memcpy(&length, path + path_size, sizeof length);
    ok = length <= left - path_size - sizeof length;
    if (!ok)
      break;
    struct tg_buf bytes = {0};
    tg_buf_append(&bytes, path + path_size + sizeof length, length);
    add(sources, tg_strdup(path), &bytes)->given = true;
    at += path_size + sizeof length + length;
  }
  tg_buf_free(&all);
  return ok;
}
