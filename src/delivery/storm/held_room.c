#include "delivery/storm/held_room.h"

#include "base/boot.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  ENTRIES = 4096, /* where they begin, and the messages: */
  MESSAGES = ENTRIES + TG_HELD_MAX * 64,
  SIZE = MESSAGES + TG_HELD_PIECES * TG_HELD_PIECE,
};
static const char magic[8] = "tg-held1";

struct held_head {
  char magic[8];
  char boot[TG_BOOT_SIZE];
};

_Static_assert(sizeof(struct tg_held_copy) == 64, "the layout of the file is fixed");

static struct tg_held_copy *entries_of(const struct tg_held_room *room)
{
  return (struct tg_held_copy *)(room->memory + ENTRIES);
}

struct tg_span tg_held_message(const struct tg_held_room *room, const struct tg_held_copy *copy)
{
  return (struct tg_span){room->memory + MESSAGES + (size_t)copy->piece * TG_HELD_PIECE, copy->length};
}

bool *tg_held_taken(const struct tg_held_room *room, const struct tg_held_copy *copy)
{
  return &room->taken[copy - entries_of(room)];
}

struct tg_held_copy *tg_held_next(const struct tg_held_room *room, const struct tg_held_copy *after)
{
  struct tg_held_copy *entries = entries_of(room), *copy = entries;
  if (after)
    copy += after - entries + 1;
  while (copy < entries + TG_HELD_MAX && !copy->whole)
    copy++;
  return copy < entries + TG_HELD_MAX ? copy : NULL;
}

/* --- pieces ---------------------------------------------------------------------------- */

/* So many in a row; TG_HELD_PIECES: there are not. */
static uint32_t find_pieces(struct tg_held_room *room, uint32_t count)
{
  if (count >= room->too_large)
    return TG_HELD_PIECES;
  for (uint32_t looked = 0, row = 0, at = room->next; looked < TG_HELD_PIECES + count; looked++, at++) {
    if (at == TG_HELD_PIECES)
      at = row = 0;
    row = room->taken[at] ? 0 : row + 1;
    if (row == count) {
      room->next = at + 1 < TG_HELD_PIECES ? at + 1 : 0;
      return at + 1 - count;
    }
  }
  room->too_large = count;
  return TG_HELD_PIECES;
}

static void set_taken(struct tg_held_room *room, const struct tg_held_copy *copy, bool taken)
{
  memset(room->taken + copy->piece, taken, copy->pieces);
  if (!taken)
    room->too_large = UINT32_MAX;
}

/* --- copies ---------------------------------------------------------------------------- */

static void set_whole(struct tg_held_copy *copy, uint32_t whole)
{
  atomic_signal_fence(memory_order_seq_cst);
  *(volatile uint32_t *)&copy->whole = whole;
  atomic_signal_fence(memory_order_seq_cst);
}

static struct tg_held_copy *new_copy(struct tg_held_room *room, uint32_t pieces)
{
  uint32_t piece = room->free_count > 0 ? find_pieces(room, pieces) : TG_HELD_PIECES;
  if (piece == TG_HELD_PIECES)
    return NULL;
  struct tg_held_copy *copy = &entries_of(room)[room->free[--room->free_count]];
  copy->piece = piece;
  copy->pieces = pieces;
  set_taken(room, copy, true);
  return copy;
}

/* What a small one that takes the place of a large one does not need. */
static void give_back(struct tg_held_room *room, struct tg_held_copy *copy, uint32_t pieces)
{
  if (2 * pieces > copy->pieces)
    return;
  set_taken(room, copy, false);
  copy->pieces = pieces;
  set_taken(room, copy, true);
}

struct tg_held_copy *tg_held_put(struct tg_held_room *room, struct tg_held_copy *before,
                                 const struct tg_event *event, uint64_t fence, tg_ms at)
{
  size_t length = event->raw.length;
  if (length > (size_t)TG_HELD_PIECES * TG_HELD_PIECE)
    return NULL;
  uint32_t pieces = (uint32_t)((length + TG_HELD_PIECE - 1) / TG_HELD_PIECE);
  bool fits = before && pieces <= before->pieces;
  struct tg_held_copy *copy = fits ? before : new_copy(room, pieces);
  if (!copy)
    return NULL;
  set_whole(copy, 0);
  give_back(room, copy, pieces);
  copy->length = (uint32_t)length;
  copy->ref = tg_event_ref(event);
  copy->total_shards = event->total_shards;
  copy->epoch = event->epoch;
  copy->sequence = event->sequence;
  copy->fence = fence;
  copy->at = at;
  memcpy((char *)tg_held_message(room, copy).at, event->raw.at, length);
  set_whole(copy, 1);
  if (before && !fits)
    tg_held_drop(room, before);
  return copy;
}

void tg_held_drop(struct tg_held_room *room, struct tg_held_copy *copy)
{
  set_whole(copy, 0);
  if (!room->free) /* an earlier process's: nothing is put there any more */
    return;
  set_taken(room, copy, false);
  room->free[room->free_count++] = (uint16_t)(copy - entries_of(room));
}

/* --- the files ---------------------------------------------------------------------------- */

static char *directory_of(const char *state_dir)
{
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/storms", state_dir);
  return tg_buf_take(&path);
}

static int make_file(struct tg_held_room *room, const char *state_dir, int worker_id)
{
  char *directory = directory_of(state_dir);
  int fd = -1, code = mkdir(directory, 0700) != 0 && errno != EEXIST ? errno : 0;
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/worker-%d-%" PRId64 ".%d", directory, worker_id, (int64_t)tg_steady_clock(),
                (int)getpid());
  room->path = tg_buf_take(&path);
  free(directory);
  if (code == 0 && (fd = tg_state_make(AT_FDCWD, room->path)) < 0)
    code = errno;
  if (code == 0 && flock(fd, LOCK_EX | LOCK_NB) != 0)
    code = errno;
  while (code == 0 &&
         (code = posix_fallocate(fd, 0, SIZE)) == EINTR) /* a full disk must not be a SIGBUS later */
    code = 0;
  if (code == 0)
    return fd;
  tg_log(TG_WARN, TG_NO_SHARD,
         "%s cannot be made: %s; events that a rule with keep = \"last\" holds back go with "
         "their process",
         room->path, tg_state_problem(code));
  if (fd >= 0) {
    unlink(room->path);
    close(fd);
  }
  free(room->path);
  room->path = NULL;
  return -1;
}

static bool map(struct tg_held_room *room)
{
  int flags = room->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, room->fd, 0);
  room->memory = memory != MAP_FAILED ? memory : NULL;
  return room->memory != NULL;
}

struct tg_held_room *tg_held_room_new(const char *state_dir, int worker_id)
{
  struct tg_held_room *room = tg_calloc(1, sizeof *room);
  room->fd = state_dir ? make_file(room, state_dir, worker_id) : -1;
  if (!map(room)) {
    tg_held_room_free(room);
    return NULL;
  }
  struct held_head *head = (struct held_head *)room->memory;
  tg_boot_name(head->boot);
  memcpy(head->magic, magic, sizeof magic);
  room->taken = tg_calloc(TG_HELD_PIECES, sizeof *room->taken);
  room->free = tg_calloc(TG_HELD_MAX, sizeof *room->free);
  room->too_large = UINT32_MAX;
  while (room->free_count < TG_HELD_MAX) {
    room->free[room->free_count] = (uint16_t)(TG_HELD_MAX - 1 - room->free_count);
    room->free_count++;
  }
  return room;
}

void tg_held_room_free(struct tg_held_room *room)
{
  if (!room)
    return;
  if (room->path && room->memory && !tg_held_next(room, NULL))
    unlink(room->path);
  if (room->memory)
    munmap(room->memory, SIZE);
  if (room->fd >= 0)
    close(room->fd);
  free(room->taken);
  free(room->free);
  free(room->path);
  free(room);
}

/* --- those of earlier processes -------------------------------------------------------------- */

/* Of this file, since this start of the machine. */
static bool is_sound(const struct tg_held_room *room)
{
  struct held_head head;
  char boot[TG_BOOT_SIZE];
  tg_boot_name(boot);
  memcpy(&head, room->memory, sizeof head);
  return memcmp(head.magic, magic, sizeof magic) == 0 && memcmp(head.boot, boot, sizeof boot) == 0;
}

static bool lies_inside(const struct tg_held_copy *copy)
{
  return copy->pieces > 0 && copy->piece < TG_HELD_PIECES && copy->pieces <= TG_HELD_PIECES - copy->piece &&
         copy->length <= copy->pieces * (uint32_t)TG_HELD_PIECE;
}

/* Drops what is none, and all if the file cannot be trusted. Whether the rest has something of these shards.
 */
static bool look_through(struct tg_held_room *room, tg_ms since, bool (*wanted)(void *ctx, tg_shard_ref ref),
                         void *ctx)
{
  bool sound = is_sound(room), found = false;
  for (struct tg_held_copy *copy = NULL; (copy = tg_held_next(room, copy)) != NULL;) {
    if (!sound || !lies_inside(copy) || copy->at < since)
      tg_held_drop(room, copy);
    else
      found = found || !wanted || wanted(ctx, copy->ref);
  }
  return found;
}

/* NULL: its process lives, or it is no such file. */
static struct tg_held_room *open_left(const char *directory, const char *name)
{
  struct stat status;
  struct tg_held_room *room = tg_calloc(1, sizeof *room);
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/%s", directory, name);
  room->path = tg_buf_take(&path);
  room->fd = tg_state_open(AT_FDCWD, room->path, O_RDWR);
  bool ours = room->fd >= 0 && flock(room->fd, LOCK_SH | LOCK_NB) == 0 && fstat(room->fd, &status) == 0;
  if (ours && status.st_size < SIZE) /* killed before it had its room */
    unlink(room->path);
  if (ours && status.st_size >= SIZE && map(room)) {
    room->taken = tg_calloc(TG_HELD_MAX, sizeof *room->taken);
    return room;
  }
  tg_held_room_free(room);
  return NULL;
}

void tg_held_rooms_find(struct tg_held_rooms *rooms, const char *state_dir, tg_ms since,
                        bool (*wanted)(void *ctx, tg_shard_ref ref), void *ctx)
{
  char *directory = directory_of(state_dir);
  int fd = tg_state_directory(AT_FDCWD, directory);
  DIR *walk = fd >= 0 ? fdopendir(fd) : NULL;
  for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;) {
    struct tg_held_room *room =
        strncmp(entry->d_name, "worker-", 7) == 0 ? open_left(directory, entry->d_name) : NULL;
    if (!room)
      continue;
    if (look_through(room, since, wanted, ctx))
      LIST_INSERT_HEAD(rooms, room, link);
    else
      tg_held_room_free(room);
  }
  if (walk)
    closedir(walk);
  else if (fd >= 0)
    close(fd);
  free(directory);
}
