#include "shared/shard_table.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"
#include "proto/shard_ref.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, HEADER_SIZE = 4096, ROW_SIZE = 2048, FIRST_ROW_SIZE = 1024, TOTAL_MAX = 65535 };
static const char magic[8] = "tg-shard";

struct header {
  char magic[8];
  uint32_t version;
  uint32_t row_size;
  uint64_t bot;      /* tg_identity_bot() */
  uint64_t identity; /* tg_identity() */
  int32_t total;
};

struct tg_shard_table {
  char *memory;
  size_t size;
  int total;
};

_Static_assert(sizeof(struct tg_shard_row) <= ROW_SIZE, "a row outgrew its place: see make()");
/* A power cut leaves a sector old or new: a session has one epoch, id and number then, but for the end of an
 * id that is longer than any that was seen. */
enum { SECTOR = 512 };
_Static_assert(ROW_SIZE % SECTOR == 0 && FIRST_ROW_SIZE % SECTOR == 0 &&
                   offsetof(struct tg_shard_row, durable_sequence) + sizeof(uint64_t) <= SECTOR,
               "a session lies in one sector");

const char *tg_shard_state_name(enum tg_shard_state state)
{
  switch (state) {
  case TG_SHARD_OFFLINE:
    return "Offline";
  case TG_SHARD_DISCONNECTED:
    return "Disconnected";
  case TG_SHARD_CONNECTING:
    return "Connecting";
  case TG_SHARD_UNIDENTIFIED:
    return "Unidentified";
  case TG_SHARD_IDENTIFYING:
    return "Identifying";
  case TG_SHARD_RESUMING:
    return "Resuming";
  case TG_SHARD_CONNECTED:
    return "Connected";
  }
  return "Offline";
}

enum { LOW_CODES = 16, LOW = 1000, HIGH = 4000 };

int tg_close_place(int code)
{
  if (code >= LOW && code < LOW + LOW_CODES)
    return code - LOW;
  if (code >= HIGH && code < HIGH + LOW_CODES)
    return LOW_CODES + code - HIGH;
  return TG_CLOSE_CODES - 1;
}

int tg_close_code(int place)
{
  if (place == TG_CLOSE_CODES - 1)
    return 0;
  return place < LOW_CODES ? LOW + place : HIGH + place - LOW_CODES;
}

/* Unix seconds. The event log gives an epoch 32 bits. */
static const tg_ms in_2026 = 1767225600, in_2089 = 3755289600;

bool tg_clock_is_sane(tg_ms now) { return now / 1000 >= in_2026 && now / 1000 < in_2089; }

uint64_t tg_next_epoch(uint64_t last, tg_ms now)
{
  if (last > 0)
    return last + 1;
  return (uint64_t)(tg_clock_is_sane(now) ? now / 1000 : in_2026);
}

/* FNV-1a: tells one bot from another; nothing secret can be read back. */
static uint64_t hash(uint64_t state, const void *bytes, size_t length)
{
  for (const unsigned char *at = bytes; length > 0; length--)
    state = (state ^ *at++) * 0x100000001b3u;
  return state;
}

uint64_t tg_identity_bot(const char *token, uint64_t intents)
{
  uint64_t state = hash(0xcbf29ce484222325u, token, strlen(token));
  return hash(state, &intents, sizeof intents);
}

uint64_t tg_identity(uint64_t bot, int total_shards) { return hash(bot, &total_shards, sizeof total_shards); }

enum { PATH_SIZE = 1024, FRESH_PATH_SIZE = PATH_SIZE + 8 };

static void table_path(char path[PATH_SIZE], const char *state_dir, int side)
{
  snprintf(path, PATH_SIZE, side == 0 ? "%s/shards" : "%s/shards.%d", state_dir, side);
}

/* Where a table is made before it takes its place. */
static void fresh_path(char fresh[FRESH_PATH_SIZE], const char *path)
{
  snprintf(fresh, FRESH_PATH_SIZE, "%s.new", path);
}

static off_t place_of(const struct header *header, int row)
{
  return HEADER_SIZE + (off_t)row * header->row_size;
}

/* Whether the file holds a table that this version reads. */
static bool read_header(int fd, struct header *header)
{
  return pread(fd, header, sizeof *header, 0) == sizeof *header &&
         memcmp(header->magic, magic, sizeof magic) == 0 && header->version == VERSION &&
         (header->row_size == ROW_SIZE || header->row_size == FIRST_ROW_SIZE);
}

/* Whether it has the rows of which its header speaks. */
static bool is_whole(int fd, const struct header *header)
{
  struct stat status;
  return header->total > 0 && header->total <= TOTAL_MAX && fstat(fd, &status) == 0 &&
         status.st_size >= place_of(header, header->total);
}

/* The event log gives an epoch 32 bits, and there has to be a next one. */
static bool is_epoch(uint64_t epoch) { return epoch < UINT32_MAX; }

/* What a row of the file lacks is 0. False: it is not there. */
static bool read_row(int fd, const struct header *header, int i, struct tg_shard_row *row)
{
  size_t size = header->row_size < sizeof *row ? header->row_size : sizeof *row;
  memset(row, 0, sizeof *row);
  return pread(fd, row, size, place_of(header, i)) == (ssize_t)size;
}

int tg_shard_table_peek(const char *state_dir, int side, uint64_t bot)
{
  char path[PATH_SIZE];
  table_path(path, state_dir, side);
  int fd = tg_state_open(AT_FDCWD, path, O_RDONLY);
  if (fd < 0)
    return 0;
  struct header header;
  bool good = read_header(fd, &header) && header.bot == bot && is_whole(fd, &header);
  close(fd);
  return good ? header.total : 0;
}

void tg_shard_table_remove(const char *state_dir, int side)
{
  char path[PATH_SIZE], fresh[FRESH_PATH_SIZE];
  table_path(path, state_dir, side);
  fresh_path(fresh, path);
  unlink(fresh);
  unlink(path);
}

uint64_t tg_shard_tables_last_epoch(const char *state_dir)
{
  struct header header;
  struct tg_shard_row row;
  char path[PATH_SIZE];
  uint64_t epoch = 0;
  for (int side = 0; side < TG_SIDES; side++) {
    table_path(path, state_dir, side);
    int fd = tg_state_open(AT_FDCWD, path, O_RDONLY);
    bool good = fd >= 0 && read_header(fd, &header);
    for (int i = 0; good && i < TOTAL_MAX && read_row(fd, &header, i, &row); i++)
      epoch = is_epoch(row.session.epoch) && row.session.epoch > epoch ? row.session.epoch : epoch;
    if (fd >= 0)
      close(fd);
  }
  return epoch;
}

/* Room is taken now: a full disk must not turn into a SIGBUS later. */
static bool take_room(int fd, const char *path, int total, struct tg_error *error)
{
  size_t size = HEADER_SIZE + (size_t)total * ROW_SIZE;
  int code = posix_fallocate(fd, 0, (off_t)size);
  return code == 0 || tg_fail(error, code == ENOSPC || code == EDQUOT ? "disk_full" : "disk",
                              "%s cannot be made (%zu bytes): %s", path, size, strerror(code));
}

/* With the rows of `old` (a file with its header), or with new ones whose sessions
 * follow the one of `epoch`: the bot knows the lower ones. */
static bool fill(int fd, const struct header *header, int old_fd, const struct header *old, uint64_t epoch)
{
  struct tg_shard_row row = {.session.epoch = epoch, .rtt = -1};
  for (int i = 0; i < header->total; i++)
    if ((old && !read_row(old_fd, old, i, &row)) ||
        pwrite(fd, &row, sizeof row, place_of(header, i)) != sizeof row)
      return false;
  return pwrite(fd, header, sizeof *header, 0) == sizeof *header;
}

/* A table is made beside the one that is there, and takes its place whole: killed in
 * the middle, whoever makes it leaves no table whose epochs have yet to be written.
 * Returns its descriptor, -1: it cannot be made. */
static int make(const char *path, const struct header *header, int old_fd, const struct header *old,
                uint64_t epoch, struct tg_error *error)
{
  char fresh[FRESH_PATH_SIZE];
  fresh_path(fresh, path);
  int fd = tg_state_make(AT_FDCWD, fresh);
  if (fd < 0)
    return tg_fail(error, "disk", "%s cannot be made: %s", fresh, tg_state_problem(errno)), -1;
  bool room = take_room(fd, fresh, header->total, error);
  if (room && fill(fd, header, old_fd, old, epoch) && rename(fresh, path) == 0)
    return fd;
  if (room)
    tg_fail(error, "disk", "%s cannot be written: %s", fresh, strerror(errno));
  unlink(fresh);
  close(fd);
  return -1;
}

static struct tg_shard_table *map_table(int fd, const char *path, int total, struct tg_error *error)
{
  size_t size = HEADER_SIZE + (size_t)total * ROW_SIZE;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return tg_fail(error, "disk", "%s cannot be mapped: %s", path, strerror(errno)), NULL;
  struct tg_shard_table *table = tg_calloc(1, sizeof *table);
  *table = (struct tg_shard_table){.memory = memory, .size = size, .total = total};
  return table;
}

/* Whether the table in the file, which may be damaged or somebody else's, is the one of `identity`. */
static bool is_of(int fd, const char *path, struct header *header, int total, uint64_t identity)
{
  struct stat status;
  bool whole = read_header(fd, header) && is_whole(fd, header);
  if (whole && header->identity == identity && header->total == total)
    return true;
  if (whole)
    tg_log(TG_INFO, TG_NO_SHARD, "the sessions in %s are of another token, intents or number of shards: "
                                 "all shards identify", path);
  else if (fstat(fd, &status) == 0 && status.st_size > 0)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, path)),
                "the shard table is damaged, or of another version, and is made anew: all shards identify");
  return false;
}

struct tg_shard_table *tg_shard_table_open(const char *state_dir, int side, int total, uint64_t identity,
                                           uint64_t first_epoch, struct tg_error *error)
{
  char path[PATH_SIZE];
  table_path(path, state_dir, side);
  int fd = tg_state_open(AT_FDCWD, path, O_RDWR);
  if (fd < 0 && errno != ENOENT)
    return tg_fail(error, "disk", "%s cannot be opened: %s", path, tg_state_problem(errno)), NULL;

  struct header header = {.version = VERSION, .row_size = ROW_SIZE, .identity = identity, .total = total};
  struct header old;
  memcpy(header.magic, magic, sizeof magic);
  bool usable = fd >= 0 && is_of(fd, path, &old, total, identity);
  if (!usable || old.row_size != ROW_SIZE) { /* a table of an earlier version has shorter rows */
    uint64_t last = usable ? 0 : tg_shard_tables_last_epoch(state_dir),
             epoch = last > first_epoch ? last : first_epoch;
    header.bot = usable ? old.bot : 0;
    int made = make(path, &header, fd, usable ? &old : NULL, epoch, error);
    if (fd >= 0)
      close(fd);
    fd = made;
  }
  struct tg_shard_table *table = fd >= 0 ? map_table(fd, path, total, error) : NULL;
  if (fd >= 0)
    close(fd);
  return table;
}

void tg_shard_table_set_bot(struct tg_shard_table *table, uint64_t bot)
{
  ((struct header *)table->memory)->bot = bot;
}

void tg_shard_table_clear_counters(struct tg_shard_table *table)
{
  for (int i = 0; i < table->total; i++) {
    struct tg_shard_row *row = tg_shard_table_row(table, i);
    _Atomic uint64_t *const counters[] = {
        &row->received, &row->filtered, &row->delivered, &row->retried,    &row->dropped,    &row->dead,
        &row->replayed, &row->gaps,     &row->resumes,   &row->reconnects, &row->identifies, &row->recovered};
    for (size_t k = 0; k < sizeof counters / sizeof counters[0]; k++)
      atomic_store(counters[k], 0);
    for (int place = 0; place < TG_CLOSE_CODES; place++)
      atomic_store(&row->closes[place], 0);
  }
}

void tg_shard_table_close(struct tg_shard_table *table)
{
  if (!table)
    return;
  munmap(table->memory, table->size);
  free(table);
}

int tg_shard_table_total(const struct tg_shard_table *table) { return table->total; }

struct tg_shard_row *tg_shard_table_row(struct tg_shard_table *table, int shard_id)
{
  return (struct tg_shard_row *)(table->memory + HEADER_SIZE + (size_t)shard_id * ROW_SIZE);
}

bool tg_session_load(struct tg_shard_row *row, struct tg_session *session)
{
  for (int tries = 0; tries < 1000; tries++) {
    uint32_t before = atomic_load(&row->session_guard);
    snprintf(session->id, sizeof session->id, "%.*s%.*s", TG_SHORT_ID_MAX - 1, row->session.id,
             (int)sizeof row->id_rest - 1, row->id_rest);
    memcpy(session->resume_url, row->session.resume_url, sizeof session->resume_url);
    session->epoch = row->session.epoch;
    session->seen_at = row->session.seen_at;
    atomic_thread_fence(memory_order_acquire);
    if ((before & 1) == 0 && before == atomic_load(&row->session_guard)) {
      session->resume_url[TG_RESUME_URL_MAX - 1] = '\0';
      session->sequence = atomic_load(&row->durable_sequence);
      if (is_epoch(session->epoch))
        return session->id[0] != '\0';
      break;
    }
  }
  /* A guard that stays odd was left by a writer that was killed in the middle:
   * the session cannot be trusted, its epoch can (it is written once, whole),
   * unless the file is damaged. */
  session->id[0] = session->resume_url[0] = '\0';
  session->sequence = 0;
  session->epoch = is_epoch(session->epoch) ? session->epoch : 0;
  return false;
}

void tg_session_store(struct tg_shard_row *row, const struct tg_session *session)
{
  uint32_t guard = atomic_load(&row->session_guard) | 1;
  size_t length = strlen(session->id), first = length < TG_SHORT_ID_MAX ? length : TG_SHORT_ID_MAX - 1;
  atomic_store(&row->session_guard, guard);
  memset(row->session.id, 0, sizeof row->session.id);
  memcpy(row->session.id, session->id, first);
  memcpy(row->id_rest, session->id + first, length - first + 1);
  memcpy(row->session.resume_url, session->resume_url, sizeof row->session.resume_url);
  row->session.epoch = session->epoch;
  row->session.sequence = session->sequence;
  row->session.seen_at = session->seen_at;
  atomic_store(&row->durable_sequence, session->sequence);
  atomic_store(&row->session_guard, guard + 1);
}

void tg_session_raise(struct tg_shard_row *row, uint64_t epoch)
{
  row->session.epoch = epoch;
}

void tg_session_forget(struct tg_shard_row *row)
{
  struct tg_session session;
  tg_session_load(row, &session);
  session.id[0] = session.resume_url[0] = '\0';
  session.sequence = 0;
  tg_session_store(row, &session);
  atomic_store(&row->missing_intents, 0);
}
