#include "shared/poison_impl.h"

#include "base/log.h"
#include "base/state_open.h"
#include "hooks/methods.h"
#include "proto/event_types.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1 };

static const char magic[8] = "tg-poisn";

static struct tg_poison_file the_own; /* mostly never touched, and so no memory */

static struct {
  struct tg_poison_file *file;
  struct tg_poison_place *place;
  bool in_manager;
  int fd;
} the_poison = {.file = &the_own, .place = &the_own.places[0], .in_manager = true, .fd = -1};

/* What is noted by number means something to this version alone. */
static uint32_t layout(void)
{
  return (uint32_t)TG_METHOD_COUNT << 20 | (uint32_t)TG_LIFE_COUNT << 12 | TG_EVENT_KNOWN_COUNT;
}

struct tg_poison_file *tg_poison_file(void)
{
  return the_poison.file;
}

/* ---- whoever runs scripts ---- */

static bool is_off(const struct tg_poison_file *file, const struct tg_poison_call *call, const char *where)
{
  for (int i = 0; i < TG_POISON_HOOKS; i++) {
    const struct tg_poison_hook *hook = &file->hooks[i];
    if (hook->off && hook->manager == the_poison.in_manager &&
        tg_poison_same_hook(call, where, hook->group, hook->number, hook->where))
      return true;
  }
  return false;
}

bool tg_poison_has_event(const struct tg_poison_call *call, const char *where)
{
  const struct tg_poison_file *file = the_poison.file;
  if (call->sequence == 0 || atomic_load_explicit(&file->event_count, memory_order_acquire) == 0)
    return false;
  for (int i = 0; i < TG_POISON_EVENTS; i++) {
    const struct tg_poison_event *event = &file->events[i];
    uint64_t first = atomic_load_explicit(&event->sequence, memory_order_acquire);
    if (first == 0 || first > call->last || event->last < call->sequence || event->epoch != call->epoch ||
        event->shard_id != call->shard_id)
      continue;
    if (event->last > first && call->last == call->sequence)
      continue; /* not known to be this one: it may show */
    if (event->deaths >= TG_POISON_DEATHS_OF_EVENT ||
        tg_poison_same_hook(call, where, event->group, event->number, event->where))
      return true;
  }
  return false;
}

bool tg_poison_skips(const struct tg_poison_call *call, const char *where)
{
  const struct tg_poison_file *file = the_poison.file;
  if (atomic_load_explicit(&file->off_count, memory_order_acquire) > 0 && is_off(file, call, where))
    return true;
  return tg_poison_has_event(call, where);
}

void tg_poison_enter(const struct tg_poison_call *call, const char *where)
{
  struct tg_poison_place *place = the_poison.place;
  uint32_t depth = atomic_load_explicit(&place->depth, memory_order_relaxed);
  if (depth < TG_POISON_NOTES) {
    struct tg_poison_note *note = &place->notes[depth];
    note->call = *call;
    note->event[0] = note->where[0] = '\0';
    if (where)
      memcpy(note->where, where, TG_WHERE_SIZE);
    if (__builtin_expect(call->type >= TG_EVENT_KNOWN_COUNT, 0))
      snprintf(note->event, sizeof note->event, "%s", tg_event_type_name(call->type));
  }
  atomic_store_explicit(&place->depth, depth + 1, memory_order_release);
}

void tg_poison_at(const char *where)
{
  struct tg_poison_place *place = the_poison.place;
  uint32_t depth = atomic_load_explicit(&place->depth, memory_order_relaxed);
  if (depth > 0 && depth <= TG_POISON_NOTES)
    memcpy(place->notes[depth - 1].where, where, TG_WHERE_SIZE);
}

void tg_poison_leave(void)
{
  struct tg_poison_place *place = the_poison.place;
  uint32_t depth = atomic_load_explicit(&place->depth, memory_order_relaxed);
  atomic_store_explicit(&place->depth, depth - 1, memory_order_release);
}

static struct tg_poison_file *map(int fd, struct tg_error *error)
{
  void *memory = mmap(NULL, sizeof(struct tg_poison_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return tg_fail(error, "memory", "the notes on scripts cannot be mapped: %s", strerror(errno)), NULL;
  return memory;
}

bool tg_poison_attach(int fd, int worker, struct tg_error *error)
{
  struct stat status;
  struct tg_poison_file *file = NULL;
  if (worker < 0 || worker + 1 >= TG_POISON_PLACES || fstat(fd, &status) != 0 ||
      status.st_size != sizeof(struct tg_poison_file))
    tg_fail(error, "memory", "file descriptor %d has no notes on scripts", fd);
  else
    file = map(fd, error);
  close(fd);
  the_poison.in_manager = false;
  if (!file)
    return false;
  the_poison.file = file;
  the_poison.place = &file->places[worker + 1];
  atomic_store(&the_poison.place->depth, 0);
  return true;
}

/* ---- the file ---- */

static bool is_current(int fd)
{
  struct tg_poison_file *head = NULL;
  char bytes[offsetof(struct tg_poison_file, script)];
  struct stat status;
  if (fstat(fd, &status) != 0 || status.st_size != sizeof *head ||
      pread(fd, bytes, sizeof bytes, 0) != sizeof bytes)
    return false;
  uint32_t version, its_layout;
  memcpy(&version, bytes + offsetof(struct tg_poison_file, version), sizeof version);
  memcpy(&its_layout, bytes + offsetof(struct tg_poison_file, layout), sizeof its_layout);
  return memcmp(bytes, magic, sizeof magic) == 0 && version == VERSION && its_layout == layout();
}

/* Room is taken now: a full disk must not turn into a SIGBUS later. */
static bool begin_empty(int fd, const char *path, struct tg_error *error)
{
  int code = ftruncate(fd, 0) == 0 ? posix_fallocate(fd, 0, sizeof(struct tg_poison_file)) : errno;
  if (code != 0)
    return tg_fail(error, "disk", "%s cannot be made (%zu bytes): %s", path, sizeof(struct tg_poison_file),
                   strerror(code));
  return true;
}

/* Another file is of another version, whose workers may still have it mapped: it is theirs. */
static int open_file(const char *state_dir, struct tg_error *error)
{
  char path[1024];
  snprintf(path, sizeof path, "%s/poison", state_dir);
  int fd = tg_state_open(AT_FDCWD, path, O_RDWR);
  if (fd >= 0 && is_current(fd))
    return fd;
  if (fd >= 0) {
    close(fd);
    unlink(path);
  }
  fd = tg_state_open(AT_FDCWD, path, O_RDWR | O_CREAT);
  if (fd < 0)
    tg_fail(error, "disk", "%s cannot be opened: %s", path, tg_state_problem(errno));
  else if (begin_empty(fd, path, error))
    return fd;
  if (fd >= 0)
    close(fd);
  return -1;
}

/* Better than nothing: it outlives the workers. */
static int open_memory(void)
{
  int fd = memfd_create("tidegate-poison", MFD_CLOEXEC);
  if (fd >= 0 && ftruncate(fd, sizeof(struct tg_poison_file)) != 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

void tg_poison_count(struct tg_poison_file *file)
{
  uint32_t events = 0, off = 0;
  for (int i = 0; i < TG_POISON_EVENTS; i++)
    events += atomic_load(&file->events[i].sequence) != 0;
  for (int i = 0; i < TG_POISON_HOOKS; i++)
    off += file->hooks[i].off != 0;
  atomic_store_explicit(&file->off_count, off, memory_order_release);
  atomic_store_explicit(&file->event_count, events, memory_order_release);
}

bool tg_poison_open(const char *state_dir, struct tg_error *error)
{
  struct tg_error ignored;
  int fd = open_file(state_dir, error);
  bool lasts = fd >= 0;
  if (!lasts)
    fd = open_memory();
  struct tg_poison_file *file = fd >= 0 ? map(fd, lasts ? error : &ignored) : NULL;
  if (!file) {
    if (fd >= 0)
      close(fd);
    return false;
  }
  memcpy(file->magic, magic, sizeof magic);
  file->version = VERSION;
  file->layout = layout();
  tg_poison_count(file);
  the_poison.file = file;
  the_poison.place = &file->places[0];
  the_poison.fd = fd;
  return lasts;
}

void tg_poison_close(void)
{
  if (the_poison.fd < 0)
    return;
  munmap(the_poison.file, sizeof(struct tg_poison_file));
  close(the_poison.fd);
  the_poison.file = &the_own;
  the_poison.place = &the_own.places[0];
  the_poison.fd = -1;
}

int tg_poison_fd(void)
{
  return the_poison.fd;
}

/* ---- hooks that are off ---- */

void tg_poison_forgive(void)
{
  struct tg_poison_file *file = the_poison.file;
  atomic_store(&file->off_count, 0);
  memset(file->hooks, 0, sizeof file->hooks);
}

void tg_poison_script(uint64_t sum)
{
  if (the_poison.file->script != sum)
    tg_poison_forgive();
  the_poison.file->script = sum;
}

int tg_poison_count_off(bool manager)
{
  const struct tg_poison_file *file = the_poison.file;
  int count = 0;
  for (int i = 0; i < TG_POISON_HOOKS; i++)
    count += file->hooks[i].off && file->hooks[i].manager == manager;
  return count;
}

bool tg_poison_load_is_off(void)
{
  const struct tg_poison_file *file = the_poison.file;
  for (int i = 0; i < TG_POISON_HOOKS; i++)
    if (file->hooks[i].off && !file->hooks[i].manager && file->hooks[i].group == TG_LUA_load)
      return true;
  return false;
}
