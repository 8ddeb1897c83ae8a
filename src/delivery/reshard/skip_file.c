#include "delivery/reshard/skip_file.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"
#include "shared/class_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, PATH_SIZE = 1024 };
static const char magic[8] = "tg-skip";

/* Behind it the members, the entries, the names. */
struct skip_header {
  char magic[8];
  uint32_t version, number;
  uint32_t from, to;
  uint32_t old_side, ruling;
  uint64_t seed;
  uint32_t members, entries, names, cut;
};

struct tg_skip_file {
  char *memory;
  size_t size;
  struct tg_skip_list list; /* points into it */
};

void tg_skip_list_free(struct tg_skip_list *list)
{
  free(list->members);
  free(list->entries);
  free(list->names);
  *list = (struct tg_skip_list){0};
}

static void path_of(char path[PATH_SIZE], const char *state_dir, int number, const char *suffix)
{
  snprintf(path, PATH_SIZE, "%s/reshard.%d%s", state_dir, number, suffix);
}

static uint64_t size_of(const struct skip_header *header)
{
  return sizeof *header + header->members * (uint64_t)sizeof(struct tg_skip_member) +
         header->entries * (uint64_t)sizeof(struct tg_skip_entry) +
         header->names * (uint64_t)TG_SKIP_NAME_MAX;
}

static struct tg_skip_file *new_file(char *memory, size_t size)
{
  const struct skip_header *header = (const struct skip_header *)(void *)memory;
  struct tg_skip_file *file = tg_calloc(1, sizeof *file);
  char *members = memory + sizeof *header;
  char *entries = members + header->members * sizeof(struct tg_skip_member);
  char *names = entries + header->entries * sizeof(struct tg_skip_entry);
  file->memory = memory;
  file->size = size;
  file->list = (struct tg_skip_list){
      .number = (int)header->number,
      .from = (int)header->from,
      .to = (int)header->to,
      .old_side = (int)header->old_side,
      .ruling = (int)header->ruling,
      .seed = header->seed,
      .members = (struct tg_skip_member *)(void *)members,
      .member_count = (int)header->members,
      .entries = (struct tg_skip_entry *)(void *)entries,
      .entry_count = (int)header->entries,
      .names = (char(*)[TG_SKIP_NAME_MAX])(void *)names,
      .name_count = (int)header->names,
      .cut_count = (int)header->cut,
  };
  return file;
}

/* --- writing -------------------------------------------------------------------------- */

static struct skip_header header_of(const struct tg_skip_list *list)
{
  struct skip_header header = {
      .version = VERSION,
      .number = (uint32_t)list->number,
      .from = (uint32_t)list->from,
      .to = (uint32_t)list->to,
      .old_side = (uint32_t)list->old_side,
      .ruling = (uint32_t)list->ruling,
      .seed = list->seed,
      .members = (uint32_t)list->member_count,
      .entries = (uint32_t)list->entry_count,
      .names = (uint32_t)list->name_count,
      .cut = (uint32_t)list->cut_count,
  };
  memcpy(header.magic, magic, sizeof magic);
  return header;
}

/* Its pages have their room on the disk before they are written to: a full disk is no SIGBUS. Returns the
 * errno. */
static int fill(int fd, const struct tg_skip_list *list, struct tg_skip_file **file)
{
  struct skip_header header = header_of(list);
  size_t size = (size_t)size_of(&header);
  int code = posix_fallocate(fd, 0, (off_t)size);
  if (code != 0)
    return code;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return errno;
  memcpy(memory, &header, sizeof header);
  *file = new_file(memory, size);
  if (header.members > 0)
    memcpy((*file)->list.members, list->members, header.members * sizeof *list->members);
  if (header.entries > 0)
    memcpy((*file)->list.entries, list->entries, header.entries * sizeof *list->entries);
  if (header.names > 0)
    memcpy((*file)->list.names, list->names, header.names * sizeof *list->names);
  return 0;
}

struct tg_skip_file *tg_skip_file_make(const char *state_dir, const struct tg_skip_list *list,
                                       struct tg_error *error)
{
  char path[PATH_SIZE], fresh[PATH_SIZE];
  struct tg_skip_file *file = NULL;
  path_of(path, state_dir, list->number, "");
  path_of(fresh, state_dir, list->number, ".new");
  int fd = tg_state_make(AT_FDCWD, fresh);
  int code = fd < 0 ? errno : fill(fd, list, &file);
  if (code == 0 && rename(fresh, path) != 0)
    code = errno;
  if (code != 0) {
    tg_fail(error, code == ENOSPC || code == EDQUOT ? "disk_full" : "disk", "%s cannot be written: %s", path,
            tg_state_problem(code));
    tg_skip_file_close(file);
    file = NULL;
    unlink(fresh);
  }
  if (fd >= 0)
    close(fd);
  return file;
}

/* --- reading -------------------------------------------------------------------------- */

static bool is_sane(const struct skip_header *header, uint64_t size)
{
  return memcmp(header->magic, magic, sizeof magic) == 0 && header->version == VERSION &&
         header->old_side < TG_SIDES && header->ruling < TG_SIDES && header->cut <= header->names &&
         size >= size_of(header);
}

static bool is_of(const struct skip_header *header, int number, int from, int to, int old_side)
{
  return header->number == (uint32_t)number && header->from == (uint32_t)from && header->to == (uint32_t)to &&
         header->old_side == (uint32_t)old_side;
}

/* What entries and names refer to is there. */
static bool is_whole(const struct tg_skip_list *list)
{
  for (int i = 0; i < list->entry_count; i++)
    if (list->entries[i].type >= (uint32_t)list->name_count)
      return false;
  for (int i = 0; i < list->name_count; i++)
    if (memchr(list->names[i], '\0', TG_SKIP_NAME_MAX) == NULL)
      return false;
  return true;
}

static struct tg_skip_file *map_file(int fd)
{
  struct skip_header header;
  struct stat status;
  if (fstat(fd, &status) != 0 || pread(fd, &header, sizeof header, 0) != sizeof header ||
      !is_sane(&header, (uint64_t)status.st_size))
    return NULL;
  size_t size = (size_t)size_of(&header);
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return NULL;
  struct tg_skip_file *file = new_file(memory, size);
  if (is_whole(&file->list))
    return file;
  tg_skip_file_close(file);
  return NULL;
}

struct tg_skip_file *tg_skip_file_open(const char *state_dir, int number, int from, int to, int old_side)
{
  char path[PATH_SIZE];
  path_of(path, state_dir, number, "");
  int fd = tg_state_open(AT_FDCWD, path, O_RDWR);
  int code = fd < 0 ? errno : 0;
  struct tg_skip_file *file = fd < 0 ? NULL : map_file(fd);
  if (fd >= 0)
    close(fd);
  if (!file && code != ENOENT)
    tg_log_with(
        TG_ERROR, TG_NO_SHARD,
        TG_WITH(TG_TEXT(PATH, path), TG_TEXT(REASON, code == 0 ? "it is damaged" : tg_state_problem(code))),
        "it cannot be read which shards deliver the events of a class of guilds: the old ones do, "
        "and events may come twice");
  if (!file)
    return NULL;
  const struct skip_header *header = (const struct skip_header *)(void *)file->memory;
  if (is_of(header, number, from, to, old_side))
    return file;
  tg_skip_file_close(file);
  return NULL;
}

int tg_skip_file_ruling(const char *state_dir, int number, int from, int to, int old_side)
{
  struct tg_skip_file *file = tg_skip_file_open(state_dir, number, from, to, old_side);
  int ruling = file ? file->list.ruling : -1;
  tg_skip_file_close(file);
  return ruling;
}

const struct tg_skip_list *tg_skip_file_list(const struct tg_skip_file *file)
{
  return &file->list;
}

void tg_skip_file_use(struct tg_skip_file *file, int entry, struct tg_skip_place use)
{
  struct tg_skip_place *noted = &file->list.entries[entry].use;
  noted->epoch = use.epoch;
  noted->sequence = use.sequence;
  atomic_signal_fence(
      memory_order_release); /* if this is the end of the process, too, it is whole or not there */
  noted->ref = use.ref;
}

void tg_skip_file_safe(struct tg_skip_file *file, int entry)
{
  file->list.entries[entry].flags |= TG_SKIP_SAFE;
}

void tg_skip_file_close(struct tg_skip_file *file)
{
  if (!file)
    return;
  munmap(file->memory, file->size);
  free(file);
}

void tg_skip_file_remove(const char *state_dir, int number)
{
  char path[PATH_SIZE];
  path_of(path, state_dir, number, "");
  unlink(path);
  path_of(path, state_dir, number, ".new");
  unlink(path);
}

/* --- all of them ---------------------------------------------------------------------- */

/* Calls for each until it says true; returns whether it did. */
static bool walk(const char *state_dir, bool (*visit)(int directory, const char *name, void *ctx), void *ctx)
{
  int fd = tg_state_directory(AT_FDCWD, state_dir);
  DIR *directory = fd < 0 ? NULL : fdopendir(fd);
  const struct dirent *entry;
  bool found = false;
  while (directory && !found && (entry = readdir(directory)))
    found = strncmp(entry->d_name, "reshard.", 8) == 0 && entry->d_name[8] >= '0' &&
            entry->d_name[8] <= '9' && visit(dirfd(directory), entry->d_name, ctx);
  if (directory)
    closedir(directory);
  else if (fd >= 0)
    close(fd);
  return found;
}

static bool remove_one(int directory, const char *name, void *ctx)
{
  (void)ctx;
  unlinkat(directory, name, 0);
  return false;
}

void tg_skip_files_remove(const char *state_dir)
{
  walk(state_dir, remove_one, NULL);
}

static bool says_of(int directory, const char *name, void *ctx)
{
  tg_shard_ref ref = *(const tg_shard_ref *)ctx;
  struct skip_header header;
  int fd = tg_state_open(directory, name, O_RDONLY);
  bool read = fd >= 0 && pread(fd, &header, sizeof header, 0) == sizeof header &&
              is_sane(&header, UINT64_MAX) && header.from > 0 && header.to > 0;
  if (fd >= 0)
    close(fd);
  return read &&
         (uint32_t)(tg_ref_id(ref) % tg_class_count((int)header.from, (int)header.to)) == header.number;
}

/* A class has such a file from its first switch on: by then both of its sides have. */
bool tg_skip_files_have_ruled(const char *state_dir, tg_shard_ref ref)
{
  return walk(state_dir, says_of, &ref);
}
