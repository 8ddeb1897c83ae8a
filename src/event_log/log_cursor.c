#include "event_log/log_cursor.h"

#include "base/boot.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"
#include "event_log/crc32c.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  VERSION = 1,
  HEADER_SIZE = 4096,
  PLACE_SIZE = 128,
  FIRST_PLACES = 96,
  FILE_MAX = 64 << 20,
};
static const char magic[8] = "tg-curs1";

struct file_header {
  char magic[8];
  uint32_t version, place_size;
  uint32_t crc;
  uint32_t unused;
  char boot[TG_BOOT_SIZE]; /* not covered by the CRC: changes at each open */
};

struct cursor_copy {
  uint32_t generation; /* 0: never written */
  uint32_t shard;
  uint64_t acked, acked_epoch, acked_sequence;
  uint64_t written, written_epoch, written_sequence;
  uint32_t lost; /* count | reason << 24 */
  uint32_t crc;
};

_Static_assert(sizeof(struct cursor_copy) * 2 == PLACE_SIZE, "the format of the cursor is fixed");

static bool was_rebooted(const char *bytes)
{
  char boot[TG_BOOT_SIZE];
  tg_boot_name(boot);
  return memcmp(bytes + offsetof(struct file_header, boot), boot, TG_BOOT_SIZE) != 0;
}

static void fill_header(struct file_header *header)
{
  *header = (struct file_header){.version = htole32(VERSION), .place_size = htole32(PLACE_SIZE)};
  memcpy(header->magic, magic, sizeof magic);
  header->crc = htole32(tg_crc32c(0, header, offsetof(struct file_header, crc)));
}

static bool is_cursor(const char *bytes, size_t size)
{
  struct file_header expected;
  fill_header(&expected);
  return size >= HEADER_SIZE + PLACE_SIZE &&
         memcmp(bytes, &expected, offsetof(struct file_header, unused)) == 0;
}

/* --- places ------------------------------------------------------------------ */

static bool copy_valid(const struct cursor_copy *copy)
{
  return copy->generation != 0 &&
         le32toh(copy->crc) == tg_crc32c(0, copy, offsetof(struct cursor_copy, crc)) &&
         le32toh(copy->shard) <= INT_MAX;
}

/* The generation of the newer whole copy; 0: there is none. */
static uint32_t decode_place(const char *bytes, struct tg_log_state *state)
{
  struct cursor_copy copies[2];
  memcpy(copies, bytes, sizeof copies);
  bool first = copy_valid(&copies[0]), second = copy_valid(&copies[1]);
  if (!first && !second)
    return 0;
  /* Generations may wrap around: their distance tells which one is newer. */
  int32_t ahead = (int32_t)(le32toh(copies[1].generation) - le32toh(copies[0].generation));
  const struct cursor_copy *copy = &copies[second && (!first || ahead > 0)];
  uint32_t lost = le32toh(copy->lost), reason = lost >> 24;
  *state = (struct tg_log_state){
      .shard_id = (int)le32toh(copy->shard),
      .acked = {le64toh(copy->acked), le64toh(copy->acked_epoch), le64toh(copy->acked_sequence)},
      .written = {le64toh(copy->written), le64toh(copy->written_epoch), le64toh(copy->written_sequence)},
      .lost = lost & TG_LOG_LOST_MAX,
      .reason = reason <= TG_LOSS_EXPIRED ? (enum tg_log_loss)reason : TG_LOSS_DAMAGED,
  };
  return le32toh(copy->generation);
}

bool tg_log_cursor_get(const struct tg_log_cursor *cursor, uint32_t place, struct tg_log_state *state)
{
  return decode_place(cursor->memory + HEADER_SIZE + (size_t)place * PLACE_SIZE, state) != 0;
}

void tg_log_cursor_put(struct tg_log_cursor *cursor, uint32_t place, const struct tg_log_state *state)
{
  uint32_t generation = cursor->generations[place] + 1;
  if (generation == 0)
    generation = 2; /* 0 is "never written"; the parity has to go on */
  cursor->generations[place] = generation;
  struct cursor_copy copy = {
      .generation = htole32(generation),
      .shard = htole32((uint32_t)state->shard_id),
      .acked = htole64(state->acked.position),
      .acked_epoch = htole64(state->acked.epoch),
      .acked_sequence = htole64(state->acked.sequence),
      .written = htole64(state->written.position),
      .written_epoch = htole64(state->written.epoch),
      .written_sequence = htole64(state->written.sequence),
      .lost = htole32(state->lost | (uint32_t)state->reason << 24),
  };
  copy.crc = htole32(tg_crc32c(0, &copy, offsetof(struct cursor_copy, crc)));
  char *at = cursor->memory + HEADER_SIZE + (size_t)place * PLACE_SIZE;
  /* One copy stays whole while the other one is written. */
  memcpy(at + (generation & 1) * sizeof copy, &copy, sizeof copy);
  atomic_signal_fence(memory_order_seq_cst);
}

/* --- the file ---------------------------------------------------------------- */

static bool fail(const struct tg_log_cursor *cursor, const char *verb, int code, struct tg_error *error)
{
  bool full = code == ENOSPC || code == EDQUOT;
  return tg_fail(error, full ? "disk_full" : "disk", "%s cannot be %s: %s%s", cursor->path, verb,
                 tg_state_problem(code), full ? ". Give the state directory more room" : "");
}

static bool map(struct tg_log_cursor *cursor, size_t size, struct tg_error *error)
{
  void *memory = cursor->memory ? mremap(cursor->memory, cursor->size, size, MREMAP_MAYMOVE)
                                : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cursor->fd, 0);
  if (memory == MAP_FAILED)
    return fail(cursor, "mapped", errno, error);
  cursor->memory = memory;
  cursor->size = size;
  cursor->capacity = (uint32_t)((size - HEADER_SIZE) / PLACE_SIZE);
  cursor->generations = tg_realloc(cursor->generations, cursor->capacity * sizeof *cursor->generations);
  return true;
}

/* Takes the room now: a full disk must not turn into a SIGBUS later. */
static int allocate(int fd, size_t size)
{
  int code;
  while ((code = posix_fallocate(fd, 0, (off_t)size)) == EINTR)
    ;
  return code;
}

static int create(struct tg_log_cursor *cursor, int directory_fd, const char *name, struct tg_error *error)
{
  char next[256];
  struct file_header header;
  snprintf(next, sizeof next, "%s.next", name);
  fill_header(&header);
  tg_boot_name(header.boot); /* others may read it as soon as it has its name */
  int fd = tg_state_make(directory_fd, next);
  if (fd < 0)
    return fail(cursor, "made", errno, error), -1;
  int code = allocate(fd, HEADER_SIZE + FIRST_PLACES * PLACE_SIZE);
  if (code == 0 && pwrite(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
    code = errno;
  if (code == 0 && renameat(directory_fd, next, directory_fd, name) != 0)
    code = errno;
  if (code == 0)
    return fd;
  close(fd);
  unlinkat(directory_fd, next, 0);
  return fail(cursor, "made", code, error), -1;
}

/* -1 with no error: there is none that could be used. */
static int open_existing(struct tg_log_cursor *cursor, int directory_fd, const char *name, size_t *size,
                         struct tg_error *error)
{
  char head[HEADER_SIZE];
  struct stat status;
  int fd = tg_state_open(directory_fd, name, O_RDWR);
  if (fd < 0 && errno == ENOENT)
    return -1;
  bool is_other = fd < 0 && tg_state_is_other(errno);
  if (!is_other && (fd < 0 || fstat(fd, &status) != 0))
    return fail(cursor, "opened", errno, error), fd >= 0 ? close(fd) : 0, -1;
  ssize_t length = is_other ? -1 : pread(fd, head, sizeof head, 0);
  if (length == HEADER_SIZE && status.st_size <= FILE_MAX && is_cursor(head, (size_t)status.st_size)) {
    *size = (size_t)status.st_size / PLACE_SIZE * PLACE_SIZE;
    int code = allocate(fd, *size); /* somebody may have left holes in it */
    if (code == 0)
      return fd;
    close(fd);
    return fail(cursor, "opened", code, error), -1;
  }
  tg_log(TG_WARN, TG_NO_SHARD, "%s is damaged: what had been delivered of this log is delivered again",
         cursor->path);
  if (fd >= 0)
    close(fd);
  return -1;
}

bool tg_log_cursor_open(struct tg_log_cursor *cursor, int directory_fd, const char *directory,
                        const char *name, struct tg_error *error)
{
  struct tg_error problem = {0};
  size_t size = HEADER_SIZE + FIRST_PLACES * PLACE_SIZE;
  *cursor = (struct tg_log_cursor){.fd = -1};
  snprintf(cursor->path, sizeof cursor->path, "%s/%s", directory, name);
  cursor->fd = open_existing(cursor, directory_fd, name, &size, &problem);
  if (problem.code[0]) {
    if (error)
      *error = problem;
    return false;
  }
  bool fresh = cursor->fd < 0;
  if (fresh)
    cursor->fd = create(cursor, directory_fd, name, error);
  if (cursor->fd < 0 || !map(cursor, size, error)) {
    tg_log_cursor_close(cursor);
    return false;
  }
  struct tg_log_state state;
  for (uint32_t i = 0; i < cursor->capacity; i++) {
    cursor->generations[i] = decode_place(cursor->memory + HEADER_SIZE + (size_t)i * PLACE_SIZE, &state);
    if (cursor->generations[i] != 0)
      cursor->used = i + 1;
  }
  cursor->rebooted = !fresh && was_rebooted(cursor->memory);
  if (cursor->rebooted) /* else it stands there: who reads the file meanwhile must not see it come and go */
    tg_boot_name(((struct file_header *)cursor->memory)->boot);
  return true;
}

void tg_log_cursor_close(struct tg_log_cursor *cursor)
{
  if (cursor->memory)
    munmap(cursor->memory, cursor->size);
  if (cursor->fd >= 0)
    close(cursor->fd);
  free(cursor->generations);
  *cursor = (struct tg_log_cursor){.fd = -1};
}

bool tg_log_cursor_add(struct tg_log_cursor *cursor, uint32_t *place, struct tg_error *error)
{
  if (cursor->used == cursor->capacity) {
    uint32_t capacity = cursor->capacity;
    size_t size = HEADER_SIZE + (size_t)capacity * 2 * PLACE_SIZE;
    int code = allocate(cursor->fd, size);
    if (code != 0)
      return fail(cursor, "made larger", code, error);
    if (!map(cursor, size, error))
      return false;
    memset(cursor->generations + capacity, 0, (cursor->capacity - capacity) * sizeof *cursor->generations);
  }
  *place = cursor->used++;
  return true;
}

bool tg_log_cursor_scan(int directory_fd, const char *name,
                        void (*each)(void *ctx, const struct tg_log_state *), void *ctx, bool *rebooted)
{
  struct stat status;
  struct tg_buf bytes = {0};
  int fd = tg_state_open(directory_fd, name, O_RDONLY);
  if (fd < 0)
    return false;
  if (fstat(fd, &status) == 0 && status.st_size > 0 && status.st_size <= FILE_MAX) {
    ssize_t length = pread(fd, tg_buf_reserve(&bytes, (size_t)status.st_size), (size_t)status.st_size, 0);
    bytes.length = length > 0 ? (size_t)length : 0;
  }
  close(fd);
  bool usable = is_cursor(bytes.data, bytes.length);
  *rebooted |= usable && was_rebooted(bytes.data);
  struct tg_log_state state;
  for (size_t at = HEADER_SIZE; usable && at + PLACE_SIZE <= bytes.length; at += PLACE_SIZE)
    if (decode_place(bytes.data + at, &state) != 0)
      each(ctx, &state);
  tg_buf_free(&bytes);
  return usable;
}
