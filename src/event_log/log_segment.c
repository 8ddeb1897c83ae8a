#include "event_log/log_segment.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_FILES_MAX = 32, NAME_SIZE = 32, DIGITS = 10 };
static const char suffix[] = ".segment";

static void make_name(char name[NAME_SIZE], uint32_t number)
{
  snprintf(name, NAME_SIZE, "%0*u%s", DIGITS, number, suffix);
}

static bool fail(const struct tg_log_segments *segments, uint32_t number, const char *verb, int code,
                 struct tg_error *error)
{
  char name[NAME_SIZE];
  make_name(name, number);
  const char *kind = "disk", *advice = "";
  if (code == ENOSPC || code == EDQUOT) {
    kind = "disk_full";
    advice = ". Give the state directory more room, or lower queue.disk_bytes";
  } else if (code == EFBIG) {
    kind = "file_size";
    advice = ". Raise the process' limit on the size of files (LimitFSIZE of a service, ulimit -f)";
  }
  return tg_fail(error, kind, "%s/%s cannot be %s: %s%s", segments->directory, name, verb,
                 tg_state_problem(code), advice);
}

/* The last number is never used, so that there is always a next one. */
static bool read_name(const char *name, uint32_t *number)
{
  if (strlen(name) != DIGITS + sizeof suffix - 1 || strcmp(name + DIGITS, suffix) != 0)
    return false;
  uint64_t value = 0;
  for (int i = 0; i < DIGITS; i++) {
    if (name[i] < '0' || name[i] > '9')
      return false;
    value = value * 10 + (uint64_t)(name[i] - '0');
  }
  *number = (uint32_t)value;
  return value > 0 && value < UINT32_MAX;
}

static struct tg_log_segment *add(struct tg_log_segments *segments, uint32_t number)
{
  if (segments->count == segments->capacity) {
    segments->capacity = segments->capacity ? segments->capacity * 2 : 16;
    segments->at = tg_realloc(segments->at, segments->capacity * sizeof *segments->at);
  }
  struct tg_log_segment *segment = tg_calloc(1, sizeof *segment);
  *segment = (struct tg_log_segment){.number = number, .fd = -1, .end = TG_SEGMENT_HEADER};
  segments->at[segments->count++] = segment;
  return segment;
}

static int by_number(const void *one, const void *two)
{
  uint32_t a = (*(struct tg_log_segment *const *)one)->number,
           b = (*(struct tg_log_segment *const *)two)->number;
  return (a > b) - (a < b);
}

void tg_segment_measure(struct tg_log_segments *segments, struct tg_log_segment *segment)
{
  char name[NAME_SIZE];
  struct stat status;
  make_name(name, segment->number);
  if (fstatat(segments->directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
    return;
  segments->disk -= segment->disk;
  segment->disk = (uint64_t)status.st_blocks * 512;
  segments->disk += segment->disk;
  segment->size = status.st_size < UINT32_MAX ? (uint32_t)status.st_size : UINT32_MAX;
}

bool tg_segments_list(struct tg_log_segments *segments, struct tg_error *error)
{
  int fd = openat(segments->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd < 0 ? NULL : fdopendir(fd);
  if (!directory) {
    tg_fail(error, "disk", "%s cannot be read: %s", segments->directory, strerror(errno));
    if (fd >= 0)
      close(fd);
    return false;
  }
  uint32_t number;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (read_name(entry->d_name, &number)) {
      struct tg_log_segment *segment = add(segments, number);
      segment->sealed = true;
      segment->unsynced =
          true; /* by what an earlier process knows, which may have been killed before it was */
    }
  closedir(directory);
  if (segments->count > 0)
    qsort(segments->at, segments->count, sizeof *segments->at, by_number);
  for (size_t i = 0; i < segments->count; i++)
    tg_segment_measure(segments, segments->at[i]);
  return true;
}

static void close_file(struct tg_log_segments *segments, struct tg_log_segment *segment)
{
  if (segment->fd < 0)
    return;
  close(segment->fd);
  segment->fd = -1;
  segments->open_files--;
}

void tg_segments_free(struct tg_log_segments *segments)
{
  for (size_t i = 0; i < segments->count; i++) {
    close_file(segments, segments->at[i]);
    free(segments->at[i]);
  }
  free(segments->at);
  segments->at = NULL;
  segments->count = segments->capacity = 0;
}

/* The place of the first one that is not below `number`. */
static size_t place(const struct tg_log_segments *segments, uint32_t number)
{
  size_t low = 0, high = segments->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (segments->at[middle]->number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct tg_log_segment *tg_segments_find(const struct tg_log_segments *segments, uint32_t number)
{
  size_t at = place(segments, number);
  return at < segments->count && segments->at[at]->number == number ? segments->at[at] : NULL;
}

struct tg_log_segment *tg_segments_create(struct tg_log_segments *segments, uint32_t number, uint32_t size,
                                          struct tg_error *error)
{
  char name[NAME_SIZE], header[TG_SEGMENT_HEADER];
  make_name(name, number);
  int fd = tg_state_open(segments->directory_fd, name, O_RDWR | O_CREAT | O_EXCL);
  if (fd < 0)
    return fail(segments, number, "made", errno, error), NULL;
  int code;
  while ((code = posix_fallocate(fd, 0, size)) == EINTR)
    ;
  tg_ms now = tg_steady_clock();
  tg_segment_header_encode(header, number, now);
  if (code == 0 && pwrite(fd, header, sizeof header, 0) != (ssize_t)sizeof header)
    code = errno ? errno : ENOSPC;
  if (code != 0) {
    close(fd);
    unlinkat(segments->directory_fd, name, 0);
    return fail(segments, number, "made", code, error), NULL;
  }
  struct tg_log_segment *segment = add(segments, number);
  segment->fd = fd;
  segment->size = size;
  segment->disk = size;
  segment->created = now;
  segment->unsynced = true;
  segments->disk += size;
  segments->open_files++;
  return segment;
}

void tg_segments_forget(struct tg_log_segments *segments, struct tg_log_segment *segment)
{
  close_file(segments, segment);
  segments->disk -= segment->disk;
  size_t at = place(segments, segment->number);
  segments->count--;
  memmove(segments->at + at, segments->at + at + 1, (segments->count - at) * sizeof *segments->at);
  free(segment);
}

void tg_segments_remove(struct tg_log_segments *segments, struct tg_log_segment *segment)
{
  char name[NAME_SIZE];
  make_name(name, segment->number);
  if (unlinkat(segments->directory_fd, name, 0) != 0 && errno != ENOENT)
    tg_log(TG_WARN, TG_NO_SHARD, "%s/%s cannot be removed: %s", segments->directory, name, strerror(errno));
  tg_segments_forget(segments, segment);
}

int tg_segment_fd(struct tg_log_segments *segments, struct tg_log_segment *segment, struct tg_error *error)
{
  if (segment->fd >= 0)
    return segment->fd;
  for (size_t i = 0; segments->open_files >= OPEN_FILES_MAX && i < segments->count; i++)
    if (segments->at[i]->sealed)
      close_file(segments, segments->at[i]);
  char name[NAME_SIZE];
  make_name(name, segment->number);
  segment->fd = tg_state_open(segments->directory_fd, name, O_RDWR);
  if (segment->fd < 0)
    fail(segments, segment->number, "opened", errno, error);
  else
    segments->open_files++;
  return segment->fd;
}

bool tg_segment_write(struct tg_log_segments *segments, struct tg_log_segment *segment, uint32_t offset,
                      const char *bytes, size_t length, struct tg_error *error)
{
  int fd = tg_segment_fd(segments, segment, error);
  if (fd < 0)
    return false;
  segment->unsynced = true;
  while (length > 0) {
    ssize_t written = pwrite(fd, bytes, length, offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return fail(segments, segment->number, "written", written < 0 ? errno : ENOSPC, error);
    bytes += written;
    length -= (size_t)written;
    offset += (uint32_t)written;
  }
  return true;
}

ssize_t tg_segment_read(struct tg_log_segments *segments, struct tg_log_segment *segment, uint32_t offset,
                        char *bytes, size_t length, struct tg_error *error)
{
  int fd = tg_segment_fd(segments, segment, error);
  if (fd < 0)
    return -1;
  size_t done = 0;
  while (done < length) {
    ssize_t got = pread(fd, bytes + done, length - done, (off_t)offset + (off_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail(segments, segment->number, "read", errno, error), -1;
    if (got == 0)
      break;
    done += (size_t)got;
  }
  return (ssize_t)done;
}

void tg_segment_seal(struct tg_log_segments *segments, struct tg_log_segment *segment)
{
  struct tg_error error = {0};
  segment->sealed = true;
  int fd = tg_segment_fd(segments, segment, &error);
  if (fd >= 0 && ftruncate(fd, segment->end) != 0)
    fail(segments, segment->number, "cut to its end", errno, &error);
  if (error.code[0])
    tg_log(TG_WARN, TG_NO_SHARD, "%s", error.message);
  tg_segment_measure(segments, segment);
}

bool tg_segment_punch(struct tg_log_segments *segments, struct tg_log_segment *segment, uint32_t from,
                      uint32_t to, struct tg_error *error)
{
  char header[TG_RECORD_HEADER];
  struct tg_log_record nothing = {.position = tg_log_position_of(segment->number, from)};
  tg_record_encode(header, &nothing, TG_LOG_SKIP, 0, NULL, to - from - TG_RECORD_HEADER);
  if (!tg_segment_write(segments, segment, from, header, sizeof header, error))
    return false;
  off_t start = (off_t)from + TG_RECORD_HEADER;
  if (fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, (off_t)to - start) != 0)
    return fail(segments, segment->number, "thinned", errno, error);
  return true;
}
