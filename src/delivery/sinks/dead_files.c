#include "delivery/sinks/dead_files_impl.h"

#include "base/log.h"
#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void tg_dead_name(char name[TG_DEAD_NAME_MAX], int index)
{
  if (index == 0)
    snprintf(name, TG_DEAD_NAME_MAX, "dead.jsonl");
  else
    snprintf(name, TG_DEAD_NAME_MAX, "dead.jsonl.%d", index);
}

int tg_dead_lock(const char *state_dir)
{
  int directory = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0)
    flock(directory, LOCK_EX);
  return directory;
}

bool tg_dead_fail(struct tg_error *error, const char *what, const char *state_dir)
{
  return tg_fail(error, "disk", "cannot %s %s/dead.jsonl: %s", what, state_dir, tg_state_problem(errno));
}

/* --- rotation -------------------------------------------------------------------------- */

/* dead.jsonl -> dead.jsonl.1 -> ..., up to the first name that is free. */
static void rotate(int directory)
{
  char from[TG_DEAD_NAME_MAX], to[TG_DEAD_NAME_MAX];
  int last = 0;
  for (tg_dead_name(to, 1); last < TG_DEAD_FILES - 1; tg_dead_name(to, last + 1))
    if (faccessat(directory, to, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
      break;
    else
      last++;
  if (last == TG_DEAD_FILES - 1) {
    tg_dead_name(from, last);
    tg_log(TG_WARN, TG_NO_SHARD, "there are too many dead letters: the oldest, those of %s, are gone", from);
    last--;
  }
  for (int i = last; i >= 0; i--) {
    tg_dead_name(from, i);
    tg_dead_name(to, i + 1);
    renameat(directory, from, directory, to);
  }
}

/* Events of people stand there: it is for the owner alone, whoever has made it. */
static int open_file(int directory)
{
  int fd = tg_state_open(directory, "dead.jsonl", O_RDWR | O_APPEND | O_CREAT);
  if (fd >= 0)
    fchmod(fd, 0600);
  return fd;
}

/* --- numbers ------------------------------------------------------------------------------ */

/* A line's number stands at its end, so that the last one is found without reading the line, as a rule. */
uint64_t tg_dead_last_number(int fd, uint64_t size)
{
  enum { BLOCK = 4096, OVERLAP = 32 /* a number may lie on both sides of a block's edge */ };
  char block[BLOCK + OVERLAP];
  uint64_t number = 0;
  for (uint64_t end = size; number == 0 && end > 0;) {
    uint64_t from = end > BLOCK ? end - BLOCK : 0;
    uint64_t to = end + OVERLAP < size ? end + OVERLAP : size;
    ssize_t got = pread(fd, block, (size_t)(to - from), (off_t)from);
    if (got <= 0)
      return 0;
    for (const char *at = block + got; number == 0 && (at = memrchr(block, '\n', (size_t)(at - block)));)
      number = tg_dead_number(block, at);
    end = from;
  }
  return number;
}

static uint64_t number_of_old_files(int directory)
{
  struct stat now;
  int fd = tg_state_open(directory, "dead.jsonl.1", O_RDONLY);
  uint64_t number = fd >= 0 && fstat(fd, &now) == 0 ? tg_dead_last_number(fd, (uint64_t)now.st_size) : 0;
  if (fd >= 0)
    close(fd);
  return number;
}

/* --- appending ----------------------------------------------------------------------------- */

/* Gives the line its end, and what comes before it: a line that a full disk or a
 * death has cut short has none. */
static void finish_line(struct tg_buf *line, int directory, int fd, off_t size)
{
  char last = '\n';
  uint64_t number = tg_dead_last_number(fd, (uint64_t)size);
  if (number == 0)
    number = number_of_old_files(directory);
  tg_buf_printf(line, ",\"n\":%llu}\n", (unsigned long long)number + 1);
  if (size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n') {
    *tg_buf_reserve(line, 1) = '\0';
    memmove(line->data + 1, line->data, line->length++);
    line->data[0] = '\n';
  }
}

/* The directory's lock is held, so that numbers and rotation are one process's affair at a time. */
static bool append_locked(int directory, uint64_t file_bytes, struct tg_buf *line)
{
  enum { ROOM_FOR_END = 32 };
  struct stat now;
  int fd = open_file(directory);
  if (fd >= 0 && fstat(fd, &now) == 0 && now.st_size > 0 &&
      (uint64_t)now.st_size + line->length + ROOM_FOR_END > file_bytes) {
    close(fd);
    rotate(directory);
    fd = open_file(directory);
  }
  if (fd < 0 || fstat(fd, &now) != 0)
    return false;
  finish_line(line, directory, fd, now.st_size);
  ssize_t written = write(fd, line->data, line->length);
  if (written >= 0 && written < (ssize_t)line->length)
    errno = ENOSPC;
  int code = errno;
  close(fd);
  errno = code;
  return written == (ssize_t)line->length;
}

bool tg_dead_append(const char *state_dir, uint64_t file_bytes, struct tg_buf *line, struct tg_error *error)
{
  int directory = tg_dead_lock(state_dir);
  bool ok = directory >= 0 && append_locked(directory, file_bytes, line);
  if (!ok)
    tg_dead_fail(error, "write to", state_dir);
  if (directory >= 0)
    close(directory); /* and with it the lock */
  return ok;
}
