/* Any bytes as the files of a log: opening it does not crash or hang, what it
 * says is there can be read, and once all is acked nothing comes again.
 *
 * The first byte chooses: the rest is a segment as it stands; a segment whose
 * records get right checksums first; a cursor beside a good segment; or a list
 * of what happens to a log that was written properly. */

#include "fuzz.h"

#include "event_log/event_log.h"
#include "event_log/log_format.h"

enum { ROOM = 64 << 10, EVENTS = 40, SHARDS = 3, FIRST = 1, PAYLOAD = 700 };
enum { AS_IT_STANDS, RIGHT_CHECKSUMS, CURSOR, ACCIDENTS, WAYS };

static void on_gap(void *ctx, const struct tg_log_gap *gap)
{
  (void)ctx;
  require(gap->shard_id >= 0 && (gap->from <= gap->to || gap->to == 0));
}

static struct tg_event_log *open_log(void)
{
  struct tg_error error = {0};
  struct tg_event_log_options options = {
      .directory = fuzz_directory, .small_segment = ROOM, .large_segment = ROOM, .on_gap = on_gap};
  struct tg_event_log *log = tg_event_log_open(&options, &error);
  require(log || error.message[0]);
  return log;
}

static void append(struct tg_event_log *log, int shard, uint64_t sequence)
{
  static const char payload[PAYLOAD] = "an event";
  struct tg_error error = {0};
  struct tg_span part = {payload, 1 + (size_t)(sequence * 97 % PAYLOAD)};
  struct tg_log_event event = {.shard_id = shard,
                               .epoch = 1,
                               .sequence = sequence,
                               .at = 1700000000000,
                               .kind = TG_LOG_EVENT,
                               .parts = &part,
                               .part_count = 1};
  require(tg_event_log_append(log, &event, &error) != 0);
}

/* Reads all that waits; then acks it, forwards or backwards. */
static uint64_t deliver(struct tg_event_log *log, bool backwards)
{
  struct tg_error error = {0};
  struct tg_log_figures figures;
  uint64_t count = 0;
  int shard;
  for (int i = 0; (shard = tg_event_log_shard_at(log, i)) >= 0; i++) {
    struct tg_log_record record;
    struct tg_log_entry entry;
    tg_log_position last = 0, at;
    while ((at = tg_event_log_next(log, shard, last, &entry)) != 0) {
      require(at > last && tg_event_log_waits(log, shard, at));
      require(tg_event_log_read(log, shard, at, &record, &error));
      require(record.shard_id == shard && record.sequence == entry.sequence &&
              record.payload.length == entry.length);
      last = at;
      count++;
    }
    if (backwards && last != 0)
      tg_event_log_ack(log, shard, last);
    while ((at = tg_event_log_next(log, shard, 0, NULL)) != 0)
      tg_event_log_ack(log, shard, at);
    tg_event_log_told(log, shard);
  }
  tg_event_log_figures(log, &figures);
  require(figures.events == 0 && figures.bytes == 0);
  return count;
}

/* A log of three shards, partly delivered. */
static void write_log(void)
{
  struct tg_error error = {0};
  struct tg_event_log *log = open_log();
  require(log != NULL);
  for (uint64_t i = 0; i < EVENTS; i++)
    append(log, (int)(i % SHARDS), i / SHARDS + 1);
  require(tg_event_log_flush(log, &error));
  for (int i = 0; i < 3; i++)
    tg_event_log_ack(log, 0, tg_event_log_next(log, 0, 0, NULL));
  tg_event_log_close(log);
}

/* Walks the records by their lengths, and gives each the checksum it should have. */
static void mend(char *bytes, size_t length)
{
  uint32_t size;
  tg_segment_header_encode(bytes, FIRST, 0);
  for (size_t at = TG_SEGMENT_HEADER; at + TG_RECORD_HEADER < length;) {
    const unsigned char *raw = (const unsigned char *)bytes + at;
    size = (uint32_t)raw[0] | (uint32_t)raw[1] << 8;
    if (at + TG_RECORD_HEADER + size > length)
      size = (uint32_t)(length - at - TG_RECORD_HEADER);
    struct tg_log_record record = {
        .position = tg_log_position_of(FIRST, (uint32_t)at),
        .shard_id = raw[8] % 8,
        .epoch = raw[16],
        .sequence = raw[24],
        .at = raw[32],
        .flags = raw[13],
        .marks = raw[14],
    };
    tg_log_position previous = tg_log_position_of(raw[41] % 3, raw[40] * 8u);
    tg_record_encode(bytes + at, &record, raw[12] % 5, previous, bytes + at + TG_RECORD_HEADER, size);
    at += tg_record_size(size);
  }
}

/* Four bytes an accident: what, where (two bytes), how much. */
static void happen(const uint8_t *bytes, size_t length)
{
  static const char *const names[] = {"0000000001.segment", "cursor", "0000000002.segment",
                                      "cursor.worker-1"};
  static const char zeros[255 * 16];
  for (; length >= 4; bytes += 4, length -= 4) {
    const char *name = names[bytes[0] >> 2 & 3];
    off_t offset = bytes[1] | bytes[2] << 8;
    int fd = fuzz_open(name, O_CREAT | O_RDWR);
    require(fd >= 0);
    switch (bytes[0] & 3) {
    case 0:
      require(pwrite(fd, bytes, 4, offset) == 4);
      break;
    case 1:
      require(pwrite(fd, zeros, bytes[3] * 16u, offset) >= 0);
      break;
    case 2:
      require(ftruncate(fd, offset) == 0);
      break;
    default:
      if (bytes[3] > 200)
        fuzz_write_file(name, "", 0);
    }
    close(fd);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  struct tg_error error = {0};
  if (length < 2 || length > ROOM)
    return 0;
  fuzz_be_silent();
  fuzz_fresh_directory();
  int way = bytes[0] % WAYS;
  bool backwards = bytes[0] & 0x80;
  bytes++, length--;
  if (way == CURSOR || way == ACCIDENTS)
    write_log();
  if (way == AS_IT_STANDS) {
    fuzz_write_file("0000000001.segment", bytes, length);
  } else if (way == RIGHT_CHECKSUMS) {
    char *copy = calloc(1, length + TG_SEGMENT_HEADER);
    memcpy(copy + TG_SEGMENT_HEADER, bytes, length);
    mend(copy, length + TG_SEGMENT_HEADER);
    fuzz_write_file("0000000001.segment", copy, length + TG_SEGMENT_HEADER);
    free(copy);
  } else if (way == CURSOR) {
    fuzz_write_file("cursor", bytes, length);
  } else {
    happen(bytes, length);
  }

  struct tg_event_log *log = open_log();
  if (!log)
    return 0; /* refused in words: a number that is used up, for one */
  deliver(log, backwards);
  append(log, 0, 1000);
  append(log, 5, 1000);
  require(tg_event_log_flush(log, &error));
  tg_event_log_close(log);
  log = open_log();
  require(log && deliver(log, false) == 2);
  tg_event_log_close(log);
  return 0;
}
