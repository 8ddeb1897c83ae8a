#include "delivery/caches/guild_set.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, ROOM_MIN = 16, CAPACITY_MAX = 1 << 24, PATH_SIZE = 1024, NAME_SIZE = 24 };
static const char magic[8] = "tg-guild";

/* Behind it the ids, and behind these the marks. A place is taken by its mark: the
 * id stands there before. */
struct tg_guild_page {
  char magic[8];
  uint32_t version, capacity;
  uint64_t identity, epoch;
  int32_t shard_id;
  uint32_t starting;
};

static uint64_t *ids_of(const struct tg_guild_page *page) { return (uint64_t *)(uintptr_t)(page + 1); }

static uint32_t *marks_of(const struct tg_guild_page *page)
{
  return (uint32_t *)(ids_of(page) + page->capacity);
}

static size_t size_for(uint32_t capacity)
{
  return sizeof(struct tg_guild_page) + (size_t)capacity * (sizeof(uint64_t) + sizeof(uint32_t));
}

/* The place of the guild, or the free one where it belongs; there always is one.
 * `capacity`: neither, as in a damaged file. */
static uint32_t place_of(const struct tg_guild_page *page, uint64_t id)
{
  const uint64_t *ids = ids_of(page);
  const uint32_t *marks = marks_of(page);
  uint32_t hash = (uint32_t)((id * 0x9e3779b97f4a7c15u) >> 32);
  uint32_t at = (uint32_t)(((uint64_t)hash * page->capacity) >> 32);
  for (uint32_t tries = 0; tries < page->capacity; tries++) {
    if (marks[at] == 0 || ids[at] == id)
      return at;
    at = at + 1 < page->capacity ? at + 1 : 0;
  }
  return page->capacity;
}

/* ---- files ---- */

/* In the store's directory. */
static void name_of(char name[NAME_SIZE], const struct tg_guild_set *set, const char *suffix)
{
  snprintf(name, NAME_SIZE, "%d%s", set->shard_id, suffix);
}

static void tell(struct tg_guild_store *store, const char *name, int code)
{
  char path[PATH_SIZE];
  if (store->told)
    return;
  store->told = true;
  snprintf(path, sizeof path, "%s/%s", store->directory, name);
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, path), TG_TEXT(REASON, tg_state_problem(code))),
              "the guilds that are known cannot be kept: after a restart they may count as joined");
}

/* All 0. NULL: no file can be had. */
static struct tg_guild_page *map_new(const struct tg_guild_set *set, size_t size)
{
  if (!set->store->directory)
    return NULL;
  char name[NAME_SIZE];
  name_of(name, set, ".new");
  void *memory = MAP_FAILED;
  int directory = tg_state_directory(AT_FDCWD, set->store->directory);
  /* Not what has that name already: it may be mapped now, if it could not be published. */
  int fd = directory < 0 ? -1 : tg_state_make(directory, name);
  /* Room is taken now: a full disk must not turn into a SIGBUS later. */
  int code = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)size);
  if (code == 0) {
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    code = memory == MAP_FAILED ? errno : 0;
  }
  if (fd >= 0)
    close(fd);
  if (code != 0) {
    tell(set->store, name, code);
    unlinkat(directory, name, 0);
  }
  if (directory >= 0)
    close(directory);
  return code == 0 ? memory : NULL;
}

static void release(struct tg_guild_page *page, bool mapped)
{
  if (mapped)
    munmap(page, size_for(page->capacity));
  else
    free(page);
}

static void make_page(struct tg_guild_set *set, uint64_t epoch, uint32_t room, bool in_file)
{
  uint32_t capacity = room + room / 3 + ROOM_MIN;
  struct tg_guild_page *page = in_file ? map_new(set, size_for(capacity)) : NULL;
  set->mapped = page != NULL;
  set->published = false;
  set->used = 0;
  set->page = page ? page : tg_calloc(1, size_for(capacity));
  *set->page = (struct tg_guild_page){.version = VERSION,
                                      .capacity = capacity,
                                      .identity = set->store->identity,
                                      .epoch = epoch,
                                      .shard_id = set->shard_id,
                                      .starting = 1};
  memcpy(set->page->magic, magic, sizeof magic);
}

void tg_guild_set_publish(struct tg_guild_set *set)
{
  set->published = true;
  if (!set->mapped)
    return;
  char fresh[NAME_SIZE], name[NAME_SIZE];
  name_of(fresh, set, ".new");
  name_of(name, set, "");
  int directory = tg_state_directory(AT_FDCWD, set->store->directory);
  if (directory < 0 || renameat(directory, fresh, directory, name) != 0)
    tell(set->store, name, errno);
  if (directory >= 0)
    close(directory);
}

/* ---- reading what an earlier process has left ---- */

static bool is_whole(const struct tg_guild_page *page, uint32_t *used)
{
  const uint64_t *ids = ids_of(page);
  const uint32_t *marks = marks_of(page);
  *used = 0;
  for (uint32_t i = 0; i < page->capacity; i++) {
    if (marks[i] == 0)
      continue;
    uint32_t state = marks[i] & TG_GUILD_STATE_BITS;
    if (state < TG_GUILD_LOADS || state > TG_GUILD_GONE || place_of(page, ids[i]) != i)
      return false;
    ++*used;
  }
  return *used < page->capacity;
}

enum verdict { GOOD, OTHERS, DAMAGED };

/* Maps it where it is good. */
static enum verdict judge(int fd, struct tg_guild_set *set, uint64_t epoch)
{
  struct tg_guild_page head;
  struct stat status;
  if (fstat(fd, &status) != 0 || read(fd, &head, sizeof head) != sizeof head ||
      memcmp(head.magic, magic, sizeof magic) != 0)
    return DAMAGED;
  if (head.version != VERSION || head.identity != set->store->identity || head.epoch != epoch ||
      head.shard_id != set->shard_id)
    return OTHERS;
  if (head.capacity == 0 || head.capacity > CAPACITY_MAX || status.st_size != (off_t)size_for(head.capacity))
    return DAMAGED;
  void *memory = mmap(NULL, size_for(head.capacity), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return OTHERS;
  set->page = memory;
  set->mapped = set->published = true;
  if (is_whole(set->page, &set->used))
    return GOOD;
  tg_guild_set_free(set);
  return DAMAGED;
}

bool tg_guild_set_load(struct tg_guild_set *set, uint64_t epoch)
{
  tg_guild_set_free(set);
  if (!set->store->directory || epoch == 0)
    return false;
  char name[NAME_SIZE];
  name_of(name, set, "");
  int directory = tg_state_directory(AT_FDCWD, set->store->directory);
  int fd = directory < 0 ? -1 : tg_state_open(directory, name, O_RDWR);
  enum verdict verdict = fd >= 0 ? judge(fd, set, epoch) : tg_state_is_other(errno) ? DAMAGED : OTHERS;
  if (fd >= 0)
    close(fd);
  if (directory >= 0 && verdict == DAMAGED) {
    tg_log_with(TG_WARN, set->shard_id, TG_WITH(TG_TEXT(PATH, set->store->directory)),
                "the file of the guilds that were known, %s, is damaged, and is made anew with the next "
                "session: until then guilds that come again may count as joined",
                name);
    unlinkat(directory, name, 0);
  }
  if (directory >= 0)
    close(directory);
  return verdict == GOOD;
}

void tg_guild_store_open(struct tg_guild_store *store, const char *state_dir, int side, uint64_t identity)
{
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/guilds%s", state_dir, side ? ".1" : "");
  *store = (struct tg_guild_store){.directory = tg_strdup(path), .identity = identity};
  if (mkdir(path, 0700) != 0 && errno != EEXIST)
    tell(store, "", errno);
}

void tg_guild_store_close(struct tg_guild_store *store)
{
  free(store->directory);
  store->directory = NULL;
}

void tg_guild_store_sweep(const struct tg_guild_store *store, int total_shards)
{
  int fd = tg_state_directory(AT_FDCWD, store->directory);
  DIR *directory = fd < 0 ? NULL : fdopendir(fd);
  const struct dirent *entry;
  while (directory && (entry = readdir(directory))) {
    char *end;
    long shard_id = strtol(entry->d_name, &end, 10);
    if (end > entry->d_name && shard_id >= total_shards)
      unlinkat(dirfd(directory), entry->d_name, 0);
  }
  if (directory)
    closedir(directory);
  else if (fd >= 0)
    close(fd);
}

/* ---- the set ---- */

void tg_guild_set_free(struct tg_guild_set *set)
{
  if (set->page)
    release(set->page, set->mapped);
  *set = (struct tg_guild_set){.store = set->store, .shard_id = set->shard_id};
}

void tg_guild_set_begin(struct tg_guild_set *set, uint64_t epoch, uint32_t room)
{
  tg_guild_set_free(set);
  make_page(set, epoch, room, true);
}

uint32_t tg_guild_set_mark(const struct tg_guild_set *set, uint64_t id)
{
  return set->page ? marks_of(set->page)[place_of(set->page, id)] : 0;
}

static void put(struct tg_guild_set *set, uint32_t place, uint64_t id, uint32_t mark)
{
  uint32_t *mark_there = marks_of(set->page) + place;
  set->used += *mark_there == 0;
  ids_of(set->page)[place] = id;
  atomic_signal_fence(memory_order_release); /* whoever kills this process finds them in this order */
  *mark_there = mark;
}

static bool stays(uint32_t mark) { return mark != 0 && (mark & TG_GUILD_STATE_BITS) != TG_GUILD_GONE; }

/* Those that are gone stay behind. */
static void grow(struct tg_guild_set *set)
{
  struct tg_guild_set old = *set;
  const uint32_t *marks = marks_of(old.page);
  const uint64_t *ids = ids_of(old.page);
  uint32_t room = 0;
  for (uint32_t i = 0; i < old.page->capacity; i++)
    room += stays(marks[i]);
  make_page(set, old.page->epoch, room + room / 2, old.mapped);
  set->page->starting = old.page->starting;
  for (uint32_t i = 0; i < old.page->capacity; i++)
    if (stays(marks[i]))
      put(set, place_of(set->page, ids[i]), ids[i], marks[i]);
  if (old.published)
    tg_guild_set_publish(set);
  release(old.page, old.mapped);
}

void tg_guild_set_put(struct tg_guild_set *set, uint64_t id, uint32_t mark)
{
  if (!set->page) {
    make_page(set, 0, 0, false);
    set->page->starting = 0;
  }
  uint32_t place = place_of(set->page, id);
  bool is_new = marks_of(set->page)[place] == 0;
  if (is_new && set->used + ROOM_MIN / 4 >= set->page->capacity - set->page->capacity / 8) {
    grow(set);
    place = place_of(set->page, id);
  }
  put(set, place, id, mark);
}

bool tg_guild_set_next(const struct tg_guild_set *set, uint32_t *at, uint32_t *mark)
{
  while (set->page && *at < set->page->capacity)
    if ((*mark = marks_of(set->page)[(*at)++]) != 0)
      return true;
  return false;
}

uint64_t tg_guild_set_last_id(const struct tg_guild_set *set, uint32_t at)
{
  return ids_of(set->page)[at - 1];
}

void tg_guild_set_rename(struct tg_guild_set *set, uint64_t epoch)
{
  if (set->page)
    set->page->epoch = epoch;
}

bool tg_guild_set_starting(const struct tg_guild_set *set) { return set->page && set->page->starting; }

void tg_guild_set_started(struct tg_guild_set *set)
{
  if (set->page)
    set->page->starting = 0;
}
