#include "delivery/sinks/dead_files_impl.h"

#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that is written anew. */
#define NEW_NAME "dead.jsonl.new"

enum { BLOCK = 1 << 20 };

struct tidying {
  const struct tg_dead_answer *answers;
  size_t count;
  int out;            /* -1: it is only looked whether there is anything to do */
  bool wanted;        /* there is */
  struct tg_buf text; /* not written yet */
  uint64_t lines;     /* that stay */
  uint64_t highest;   /* number, of all lines */
  uint64_t written;   /* number, of the last line that stays */
  uint64_t end;       /* of the last whole line that was read */
  int problem;        /* errno; 0: none */
};

static const struct tg_dead_answer *answer_to(const struct tidying *tidying, uint64_t number)
{
  size_t low = 0, high = tidying->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (tidying->answers[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  bool found = low < tidying->count && tidying->answers[low].number == number;
  return found ? &tidying->answers[low] : NULL;
}

static bool is_removed(struct tg_span line)
{
  static const char removed[] = "{\"v\":0,";
  return line.length >= sizeof removed && memcmp(line.at, removed, sizeof removed - 1) == 0;
}

/* --- writing ------------------------------------------------------------------------------ */

static bool flush(struct tidying *tidying)
{
  size_t done = 0;
  while (tidying->problem == 0 && done < tidying->text.length) {
    ssize_t wrote = write(tidying->out, tidying->text.data + done, tidying->text.length - done);
    if (wrote > 0)
      done += (size_t)wrote;
    else
      tidying->problem = wrote < 0 ? errno : ENOSPC;
  }
  tg_buf_reset(&tidying->text, 4 * BLOCK);
  return tidying->problem == 0;
}

/* Lines that are no letters stay: somebody else has written them. */
static bool put_line(void *ctx, uint64_t at, struct tg_span line)
{
  struct tidying *tidying = ctx;
  tidying->end = at + line.length + 1;
  uint64_t number = tg_dead_number(line.at, line.at + line.length);
  tidying->highest = number > tidying->highest ? number : tidying->highest;
  if (is_removed(line))
    return true;
  const struct tg_dead_answer *answer = tg_dead_is_there(line) ? answer_to(tidying, number) : NULL;
  tidying->lines++;
  tidying->written = number > 0 ? number : tidying->written;
  if (answer)
    tg_dead_line_answer(line, answer, &tidying->text);
  else
    tg_buf_append(&tidying->text, line.at, line.length);
  tg_buf_puts(&tidying->text, "\n");
  return tidying->text.length < BLOCK || flush(tidying);
}

static bool look_at_line(void *ctx, uint64_t at, struct tg_span line)
{
  struct tidying *tidying = ctx;
  (void)at;
  /* What keeps a file's last number stays until there is another. */
  bool short_one = line.length < 48 && is_removed(line);
  tidying->wanted |= (is_removed(line) && !short_one) ||
                     (tidying->count > 0 && tg_dead_is_there(line) &&
                      answer_to(tidying, tg_dead_number(line.at, line.at + line.length)));
  return !tidying->wanted;
}

/* Numbers go on from the last one, also where its letter is gone. */
static void put_number(struct tidying *tidying)
{
  if (tidying->highest > tidying->written)
    tg_buf_printf(&tidying->text, "{\"v\":0,\"n\":%llu}\n", (unsigned long long)tidying->highest);
}

/* --- one file ------------------------------------------------------------------------------- */

/* What it is called by now. False: it was the oldest, and is gone. */
static bool find_name(int directory, const struct stat *file, char name[TG_DEAD_NAME_MAX], int *index)
{
  struct stat facts;
  for (int i = 0; i < TG_DEAD_FILES; i++) {
    tg_dead_name(name, i);
    if (fstatat(directory, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && facts.st_ino == file->st_ino) {
      *index = i;
      return true;
    }
  }
  return false;
}

/* Whether the numbers of new letters follow another file's than this one's. */
static bool is_needless(int directory, int index)
{
  struct stat facts;
  int fd = index > 0 ? tg_state_open(directory, "dead.jsonl", O_RDONLY) : -1;
  bool needless = fd >= 0 && fstat(fd, &facts) == 0 && tg_dead_last_number(fd, (uint64_t)facts.st_size) > 0;
  if (fd >= 0)
    close(fd);
  return needless;
}

static bool take_place(int directory, int fd, const struct stat *before, struct tidying *tidying)
{
  struct stat now;
  char name[TG_DEAD_NAME_MAX];
  int index;
  if (!find_name(directory, before, name, &index) || fstat(fd, &now) != 0)
    return unlinkat(directory, NEW_NAME, 0) == 0;
  if (!tg_dead_lines(fd, tidying->end, (uint64_t)now.st_size, put_line, tidying))
    tidying->problem = errno;
  put_number(tidying);
  if (!flush(tidying))
    return false;
  if (tidying->lines == 0 && is_needless(directory, index))
    return unlinkat(directory, name, 0) == 0 && unlinkat(directory, NEW_NAME, 0) == 0;
  return renameat(directory, NEW_NAME, directory, name) == 0;
}

static bool look_for_rest(void *ctx, uint64_t at, struct tg_span line)
{
  struct tidying *tidying = ctx;
  (void)at;
  uint64_t number = tg_dead_number(line.at, line.at + line.length);
  tidying->highest = number > tidying->highest ? number : tidying->highest;
  tidying->lines += !is_removed(line);
  return tidying->lines == 0;
}

/* The disk has no room for a second file: if nothing of the first one is to stay, that gets shorter where it
 * is. A death in the middle leaves a piece of a line that was removed. */
static bool shrink(int fd)
{
  struct tidying rest = {.out = -1};
  struct stat now;
  if (fstat(fd, &now) != 0 || !tg_dead_lines(fd, 0, (uint64_t)now.st_size, look_for_rest, &rest) ||
      rest.lines > 0)
    return false;
  put_number(&rest);
  size_t length = rest.text.length;
  bool done = length > 0 && length <= (size_t)now.st_size &&
              pwrite(fd, rest.text.data, length, 0) == (ssize_t)length && ftruncate(fd, (off_t)length) == 0;
  tg_buf_free(&rest.text);
  return done;
}

/* All that was there when it was opened; workers append meanwhile. */
static void copy(int fd, const struct stat *before, struct tidying *tidying)
{
  if (tidying->out < 0 || !tg_dead_lines(fd, 0, (uint64_t)before->st_size, put_line, tidying))
    tidying->problem = tidying->problem ? tidying->problem : errno;
  else if (flush(tidying) && fdatasync(tidying->out) != 0) /* else a power cut could leave neither */
    tidying->problem = errno;
}

static bool write_anew(const char *state_dir, int directory, int fd, const struct stat *before,
                       struct tidying *tidying)
{
  tidying->out = tg_state_make(directory, NEW_NAME);
  copy(fd, before, tidying);
  int locked = tg_dead_lock(state_dir);
  bool done = locked >= 0 && tidying->problem == 0 && take_place(directory, fd, before, tidying);
  int code = tidying->problem ? tidying->problem : errno;
  if (!done && tidying->out >= 0)
    unlinkat(directory, NEW_NAME, 0);
  if (!done && (code == ENOSPC || code == EDQUOT) && locked >= 0)
    done = shrink(fd);
  if (locked >= 0)
    close(locked);
  if (tidying->out >= 0)
    close(tidying->out);
  errno = code;
  return done;
}

static bool tidy_file(const char *state_dir, int directory, const char *name,
                      const struct tg_dead_answer *answers, size_t count)
{
  struct tidying tidying = {.answers = answers, .count = count, .out = -1};
  struct stat facts;
  int fd = tg_state_open(directory, name, O_RDWR);
  if (fd < 0)
    return errno == ENOENT;
  bool done = fstat(fd, &facts) == 0 && tg_dead_lines(fd, 0, (uint64_t)facts.st_size, look_at_line, &tidying);
  if (done && tidying.wanted)
    done = write_anew(state_dir, directory, fd, &facts, &tidying);
  tg_buf_free(&tidying.text);
  int code = errno;
  close(fd);
  errno = code;
  return done;
}

bool tg_dead_tidy(const char *state_dir, const struct tg_dead_answer *answers, size_t count,
                  struct tg_error *error)
{
  char name[TG_DEAD_NAME_MAX];
  int directory = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool done = directory >= 0;
  if (!done)
    return tg_dead_fail(error, "write to", state_dir);
  unlinkat(directory, NEW_NAME, 0); /* of a process that was killed */
  /* From the newest on: a file that is rotated meanwhile comes again under its next name, and is as it should
   * be by then. */
  for (int i = 0; i < TG_DEAD_FILES; i++) {
    tg_dead_name(name, i);
    if (!tidy_file(state_dir, directory, name, answers, count) && done) {
      tg_dead_fail(error, "write anew", state_dir);
      done = false;
    }
  }
  close(directory);
  return done;
}
