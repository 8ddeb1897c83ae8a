#include "delivery/sinks/dead_files_impl.h"

#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- lines ------------------------------------------------------------------------------ */

bool tg_dead_lines(int fd, uint64_t from, uint64_t size, tg_dead_each *each, void *ctx)
{
  enum { BLOCK = 1 << 20 };
  struct tg_buf text = {0};
  bool ok = true, goes_on = true;
  while (goes_on && from + text.length < size) {
    uint64_t left = size - from - text.length;
    size_t seen = text.length;
    ssize_t got = pread(fd, tg_buf_reserve(&text, BLOCK), left < BLOCK ? (size_t)left : BLOCK,
                        (off_t)(from + text.length));
    ok = got >= 0;
    if (got <= 0)
      break;
    text.length += (size_t)got;
    const char *line = text.data, *end = text.data + text.length, *found = text.data + seen;
    while (goes_on && (found = memchr(found, '\n', (size_t)(end - found)))) {
      goes_on =
          each(ctx, from + (uint64_t)(line - text.data), (struct tg_span){line, (size_t)(found - line)});
      line = ++found;
    }
    from += (uint64_t)(line - text.data);
    tg_buf_consume(&text, (size_t)(line - text.data));
  }
  tg_buf_free(&text);
  return ok;
}

/* --- all files -------------------------------------------------------------------------- */

/* All that there are, from the oldest on, as they were at one moment. */
struct opened {
  int fds[TG_DEAD_FILES];
  struct stat facts[TG_DEAD_FILES];
  int count;
};

static bool open_locked(int directory, int flags, struct opened *files)
{
  char name[TG_DEAD_NAME_MAX];
  files->count = 0;
  for (int i = TG_DEAD_FILES - 1; i >= 0; i--) {
    tg_dead_name(name, i);
    int fd = tg_state_open(directory, name, flags);
    if (fd < 0 && errno == ENOENT)
      continue;
    if (fd < 0)
      return false;
    files->fds[files->count] = fd;
    if (fstat(fd, &files->facts[files->count++]) != 0)
      return false;
  }
  return true;
}

static void close_all(struct opened *files)
{
  int code = errno;
  for (int i = 0; i < files->count; i++)
    close(files->fds[i]);
  errno = code;
}

/* With the lock in `*directory`, or -1: it has been let go. */
static bool open_all(const char *state_dir, int flags, struct opened *files, int *directory,
                     struct tg_error *error)
{
  files->count = 0;
  *directory = tg_dead_lock(state_dir);
  if (*directory >= 0 && open_locked(*directory, flags, files))
    return true;
  tg_dead_fail(error, flags == O_RDONLY ? "read" : "write to", state_dir);
  close_all(files);
  if (*directory >= 0)
    close(*directory);
  return false;
}

struct dead_walk {
  tg_dead_visit *visit;
  void *ctx;
  uint64_t inode;
  bool goes_on;
};

static bool show(void *ctx, uint64_t at, struct tg_span line)
{
  struct dead_walk *walk = ctx;
  if (!tg_dead_is_there(line))
    return true;
  struct tg_dead_place place = {.number = tg_dead_number(line.at, line.at + line.length),
                                .inode = walk->inode,
                                .at = at,
                                .length = line.length};
  walk->goes_on = place.number == 0 || walk->visit(walk->ctx, &place, line);
  return walk->goes_on;
}

bool tg_dead_walk(const char *state_dir, tg_dead_visit *visit, void *ctx, struct tg_error *error)
{
  struct dead_walk walk = {.visit = visit, .ctx = ctx, .goes_on = true};
  struct opened files;
  int directory;
  bool ok = true;
  if (!open_all(state_dir, O_RDONLY, &files, &directory, error))
    return false;
  close(directory);
  for (int i = 0; ok && walk.goes_on && i < files.count; i++) {
    walk.inode = files.facts[i].st_ino;
    ok = tg_dead_lines(files.fds[i], 0, (uint64_t)files.facts[i].st_size, show, &walk);
  }
  if (!ok)
    tg_dead_fail(error, "read", state_dir);
  close_all(&files);
  return ok;
}

/* --- one letter --------------------------------------------------------------------------- */

static bool read_at(int fd, const struct tg_dead_place *place, struct tg_buf *line)
{
  line->length = 0;
  char *to = tg_buf_reserve(line, place->length + 1);
  for (size_t had = 0; had < place->length;) {
    ssize_t got = pread(fd, to + had, place->length - had, (off_t)(place->at + had));
    if (got <= 0)
      return false;
    had += (size_t)got;
  }
  line->length = place->length;
  struct tg_span text = {line->data, line->length};
  return tg_dead_is_there(text) && tg_dead_number(text.at, text.at + text.length) == place->number;
}

struct search {
  struct tg_dead_place *place;
  struct tg_buf *line;
  bool found;
};

static bool compare(void *ctx, const struct tg_dead_place *place, struct tg_span line)
{
  struct search *search = ctx;
  if (place->number != search->place->number)
    return true;
  search->found = true;
  *search->place = *place;
  search->line->length = 0;
  tg_buf_append(search->line, line.at, line.length);
  return false;
}

bool tg_dead_take(const char *state_dir, struct tg_dead_place *place, struct tg_buf *line,
                  struct tg_error *error)
{
  struct search search = {.place = place, .line = line};
  struct opened files;
  int directory;
  bool found = false;
  if (!open_all(state_dir, O_RDONLY, &files, &directory, error))
    return false;
  for (int i = 0; i < files.count && !found; i++)
    found = files.facts[i].st_ino == place->inode && place->length > 0 &&
            place->at + place->length <= (uint64_t)files.facts[i].st_size &&
            read_at(files.fds[i], place, line);
  close(directory);
  close_all(&files);
  if (!found && !tg_dead_walk(state_dir, compare, &search, error))
    return false;
  return found || search.found ||
         tg_fail(error, "no_letter", "there is no dead letter %llu", (unsigned long long)place->number);
}

/* --- removing ------------------------------------------------------------------------------- */

enum { VERSION_AT = 5 /* of {"v":1, */, TAIL = 32 };

/* Whether the letter still stands there, by both ends of its line. */
static bool is_at(int fd, const struct tg_dead_place *place)
{
  char text[TAIL];
  size_t length = place->length < TAIL ? place->length : TAIL;
  if (pread(fd, text, length, (off_t)place->at) != (ssize_t)length ||
      !tg_dead_is_there((struct tg_span){text, length}))
    return false;
  return pread(fd, text, length, (off_t)(place->at + place->length - length)) == (ssize_t)length &&
         tg_dead_number(text, text + length) == place->number;
}

static bool remove_one(const struct opened *files, const struct tg_dead_place *place, size_t *removed)
{
  for (int i = 0; i < files->count; i++) {
    if (files->facts[i].st_ino != place->inode || !is_at(files->fds[i], place))
      continue;
    if (pwrite(files->fds[i], "0", 1, (off_t)(place->at + VERSION_AT)) != 1)
      return false;
    ++*removed;
  }
  return true;
}

bool tg_dead_remove(const char *state_dir, const struct tg_dead_place *places, size_t count, size_t *removed,
                    struct tg_error *error)
{
  enum { AT_ONCE = 1000 }; /* workers wait meanwhile */
  bool ok = true;
  for (size_t i = 0; ok && i < count;) {
    struct opened files;
    int directory;
    if (!open_all(state_dir, O_RDWR, &files, &directory, error))
      return false;
    size_t end = count - i > AT_ONCE ? i + AT_ONCE : count;
    for (; ok && i < end; i++)
      ok = remove_one(&files, &places[i], removed);
    if (!ok)
      tg_dead_fail(error, "write to", state_dir);
    close_all(&files);
    close(directory);
  }
  return ok;
}

/* --- how much there is ------------------------------------------------------------------------ */

static bool count_one(void *ctx, uint64_t at, struct tg_span line)
{
  struct tg_dead_known *known = ctx;
  (void)at;
  uint64_t number = tg_dead_is_there(line) ? tg_dead_number(line.at, line.at + line.length) : 0;
  known->letters += number > 0;
  known->newest = number > 0 ? number : known->newest;
  known->size += line.length + 1;
  return true;
}

static struct tg_dead_known known_of(const struct tg_dead_sum *sum, const struct stat *facts)
{
  for (int i = 0; i < sum->count; i++)
    if (sum->known[i].inode == facts->st_ino && sum->known[i].size <= (uint64_t)facts->st_size)
      return sum->known[i];
  return (struct tg_dead_known){.inode = facts->st_ino};
}

_Static_assert((int)TG_DEAD_FILES <=
                   (int)(sizeof((struct tg_dead_sum){0}).known / sizeof(struct tg_dead_known)),
               "each file has its place");

bool tg_dead_look(const char *state_dir, struct tg_dead_sum *sum, struct tg_error *error)
{
  struct tg_dead_sum now = {0};
  struct opened files;
  int directory;
  bool ok = true;
  if (!open_all(state_dir, O_RDONLY, &files, &directory, error))
    return false;
  close(directory);
  for (int i = 0; ok && i < files.count; i++) {
    struct tg_dead_known *known = &now.known[now.count++];
    *known = known_of(sum, &files.facts[i]);
    ok = tg_dead_lines(files.fds[i], known->size, (uint64_t)files.facts[i].st_size, count_one, known);
    now.letters += known->letters;
    now.bytes += (uint64_t)files.facts[i].st_size;
    now.newest = known->newest > now.newest ? known->newest : now.newest;
  }
  if (ok)
    *sum = now;
  else
    tg_dead_fail(error, "read", state_dir);
  close_all(&files);
  return ok;
}
