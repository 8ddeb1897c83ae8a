/* CPU time of the event log alone, for scripts/bench:
 *
 *     event_log DIRECTORY EVENTS PER_TURN SECONDS
 *     write=0.52 append=0.85 read=0.57 keep=0.80 appended=140000000 reached=65536
 *
 * In microseconds an event of 1.4 KB, one write every PER_TURN events:
 *
 *     write    the limit: pwrite of the same bytes into a file that has its room already
 *     append   append and flush, nothing acked
 *     read     what was appended read back and acked, shard by shard
 *     keep     append, flush, and acks that follow at once: the handler keeps up
 *
 * and for SECONDS of 2,000 events a second that are acked 20 ms later: the
 * bytes appended, and those of them that the kernel has written or will write
 * to the disk. Each figure is the second of two passes: the first one has
 * touched the memory. */

#include "event_log/event_log.h"

#include "event_log/log_format.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SHARDS = 25, BODY = 1400, TURN_MAX = 1024, READ_IN_A_ROW = 8, TICK = 20, TICK_EVENTS = 40 };

struct bench {
  struct tg_event_log *log;
  const char *directory;
  int per_turn, turns;
  uint64_t sequences[SHARDS];
  char body[BODY];
};

static void give_up(const char *what)
{
  fprintf(stderr, "event_log: %s\n", what);
  exit(1);
}

static void check(bool ok, const struct tg_error *error)
{
  if (!ok)
    give_up(error->message);
}

static double cpu(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static tg_log_position append(struct bench *bench, int shard)
{
  struct tg_error error = {0};
  struct tg_span parts[] = {{bench->body, 40}, {bench->body + 40, BODY - 41}, {bench->body + BODY - 1, 1}};
  struct tg_log_event event = {
      .shard_id = shard,
      .epoch = 1,
      .sequence = ++bench->sequences[shard],
      .at = 1700000000000,
      .kind = TG_LOG_EVENT,
      .parts = parts,
      .part_count = 3,
  };
  tg_log_position position = tg_event_log_append(bench->log, &event, &error);
  check(position != 0, &error);
  return position;
}

static void flush(struct bench *bench)
{
  struct tg_error error = {0};
  check(tg_event_log_flush(bench->log, &error), &error);
}

static double append_all(struct bench *bench)
{
  double start = cpu();
  for (int turn = 0, shard = 0; turn < bench->turns; turn++) {
    for (int i = 0; i < bench->per_turn; i++, shard = (shard + 7) % SHARDS)
      append(bench, shard);
    flush(bench);
  }
  return cpu() - start;
}

/* Whether there was one. */
static bool read_one(struct bench *bench, int shard)
{
  struct tg_error error = {0};
  struct tg_log_record record;
  tg_log_position position = tg_event_log_next(bench->log, shard, 0, NULL);
  if (position == 0)
    return false;
  check(tg_event_log_read(bench->log, shard, position, &record, &error), &error);
  if (record.payload.length != BODY)
    give_up("a record is not what was appended");
  tg_event_log_ack(bench->log, shard, position);
  return true;
}

static double read_all(struct bench *bench)
{
  double start = cpu();
  for (bool any = true; any;) {
    any = false;
    for (int shard = 0; shard < SHARDS; shard++)
      for (int i = 0; i < READ_IN_A_ROW && read_one(bench, shard); i++)
        any = true;
  }
  return cpu() - start;
}

/* One turn of a handler that keeps up. `wait`: ms between flush and acks. */
static void keep_up(struct bench *bench, int events, int wait)
{
  tg_log_position positions[TURN_MAX];
  for (int i = 0; i < events; i++)
    positions[i] = append(bench, i % SHARDS);
  flush(bench);
  if (wait > 0)
    poll(NULL, 0, wait);
  for (int i = 0; i < events; i++)
    tg_event_log_ack(bench->log, i % SHARDS, positions[i]);
}

static double keep_up_all(struct bench *bench)
{
  double start = cpu();
  for (int turn = 0; turn < bench->turns; turn++)
    keep_up(bench, bench->per_turn, 0);
  return cpu() - start;
}

static double write_all(struct bench *bench)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/limit", bench->directory);
  size_t piece = (size_t)bench->per_turn * tg_record_size(BODY), room = piece * (size_t)bench->turns;
  char *bytes = calloc(1, piece);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (!bytes || fd < 0 || posix_fallocate(fd, 0, (off_t)room) != 0)
    give_up(strerror(errno));
  double start = cpu();
  for (size_t at = 0; at < room; at += piece)
    if (pwrite(fd, bytes, piece, (off_t)at) != (ssize_t)piece)
      give_up(strerror(errno));
  double used = cpu() - start;
  close(fd);
  unlink(path);
  free(bytes);
  return used;
}

/* Bytes that this process has made dirty, less those that were gone before the
 * kernel wrote them. */
static long long reached_disk(void)
{
  long long written = 0, cancelled = 0, value;
  char name[40];
  FILE *file = fopen("/proc/self/io", "r");
  while (file && fscanf(file, "%39[^:]: %lld\n", name, &value) == 2) {
    if (strcmp(name, "write_bytes") == 0)
      written = value;
    else if (strcmp(name, "cancelled_write_bytes") == 0)
      cancelled = value;
  }
  if (!file)
    give_up("/proc/self/io cannot be read");
  fclose(file);
  return written - cancelled;
}

static void open_log(struct bench *bench, const char *name)
{
  char path[4096];
  struct tg_error error = {0};
  snprintf(path, sizeof path, "%s/%s", bench->directory, name);
  struct tg_event_log_options options = {.directory = path};
  bench->log = tg_event_log_open(&options, &error);
  check(bench->log != NULL, &error);
}

static void remove_log(struct bench *bench)
{
  struct tg_error error = {0};
  check(tg_event_log_remove(bench->log, NULL, NULL, &error), &error);
}

int main(int argc, char **argv)
{
  static struct bench bench;
  int events = argc == 5 ? atoi(argv[2]) : 0, seconds = argc == 5 ? atoi(argv[4]) : 0;
  bench.per_turn = argc == 5 ? atoi(argv[3]) : 0;
  if (events < 1 || bench.per_turn < 1 || bench.per_turn > TURN_MAX || events < bench.per_turn)
    give_up("usage: event_log DIRECTORY EVENTS PER_TURN SECONDS");
  bench.directory = argv[1];
  bench.turns = events / bench.per_turn;
  memset(bench.body, 'x', BODY);

  double write = 0, appended = 0, read = 0, keep = 0;
  open_log(&bench, "passes");
  for (int pass = 0; pass < 2; pass++) {
    write = write_all(&bench);
    appended = append_all(&bench);
    read = read_all(&bench);
    keep = keep_up_all(&bench);
  }
  remove_log(&bench);

  open_log(&bench, "paced");
  long long before = reached_disk();
  int ticks = seconds * 1000 / TICK;
  for (int tick = 0; tick < ticks; tick++)
    keep_up(&bench, TICK_EVENTS, TICK);
  long long reached = reached_disk() - before;
  remove_log(&bench);

  double count = (double)bench.turns * bench.per_turn;
  printf("write=%.4f append=%.4f read=%.4f keep=%.4f appended=%lld reached=%lld\n", write / count,
         appended / count, read / count, keep / count,
         (long long)ticks * TICK_EVENTS * (long long)tg_record_size(BODY), reached);
  return 0;
}
