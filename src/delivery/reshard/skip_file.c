#include "delivery/reshard/skip_file.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"
#include "delivery/reshard/skip_layout.h"
#include "shared/class_state.h"

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

enum { PATH_SIZE = 1024 };

struct tg_skip_file {
  char *memory;
  size_t size;
  struct tg_skip_list list; /* points into it */
};

static void path_of(char path[PATH_SIZE], const char *state_dir, int number, const char *suffix)
{
  snprintf(path, PATH_SIZE, "%s/reshard.%d%s", state_dir, number, suffix);
}

/* --- writing -------------------------------------------------------------------------- */

/* Its pages have their room on the disk before they are written to: a full disk is no SIGBUS. Returns the
 * errno. */
static int fill(int fd, const struct tg_skip_list *list, struct tg_skip_file **file)
{
  size_t size = tg_skip_size(list);
  int code = posix_fallocate(fd, 0, (off_t)size);
  if (code != 0)
    return code;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return errno;
  tg_skip_lay(list, memory);
  *file = tg_calloc(1, sizeof **file);
  (*file)->memory = memory;
  (*file)->size = size;
  tg_skip_read(memory, size, &(*file)->list);
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

static bool is_of(const struct tg_skip_list *list, int number, int from, int to, int old_side)
{
  return list->number == number && list->from == from && list->to == to && list->old_side == old_side;
}

static struct tg_skip_file *map_file(int fd)
{
  struct stat status;
  if (fstat(fd, &status) != 0 || status.st_size == 0)
    return NULL;
  size_t size = (size_t)status.st_size;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return NULL;
  struct tg_skip_file *file = tg_calloc(1, sizeof *file);
  file->memory = memory;
  file->size = size;
  if (tg_skip_read(memory, size, &file->list))
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
  if (is_of(&file->list, number, from, to, old_side))
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

static bool waits(const struct tg_skip_list *list)
{
  for (int i = 0; i < list->member_count; i++)
    if (list->members[i].flags & TG_SKIP_WAITS)
      return true;
  return false;
}

bool tg_skip_file_waits(const struct tg_skip_file *file)
{
  return waits(&file->list);
}

void tg_skip_file_publish(struct tg_skip_file *file)
{
  for (int i = 0; i < file->list.member_count; i++)
    file->list.members[i].flags &= ~(uint32_t)TG_SKIP_WAITS;
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
  int fd = tg_state_open(directory, name, O_RDWR);
  struct tg_skip_file *file = fd < 0 ? NULL : map_file(fd);
  if (fd >= 0)
    close(fd);
  const struct tg_skip_list *list = file ? &file->list : NULL;
  bool says = list && list->from > 0 && list->to > 0 &&
              tg_ref_id(ref) % tg_class_count(list->from, list->to) == list->number &&
              (tg_ref_side(ref) == list->old_side || !waits(list));
  tg_skip_file_close(file);
  return says;
}

/* A class has such a file from its first switch on: by then both of its sides have, unless the one that took
 * over still waits for others to hear of it. */
bool tg_skip_files_have_ruled(const char *state_dir, tg_shard_ref ref)
{
  return walk(state_dir, says_of, &ref);
}
