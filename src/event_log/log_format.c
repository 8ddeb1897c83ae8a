#include "event_log/log_format.h"

#include "event_log/crc32c.h"

#include <endian.h>
#include <limits.h>
#include <string.h>

enum { SEGMENT_VERSION = 1 };
static const char segment_magic[8] = "tg-log\r\n";

struct record_header {
  uint32_t length, crc, shard;
  uint8_t kind, flags;
  uint16_t marks; /* tg_marks_encode() */
  uint64_t epoch, sequence, at, previous;
};

struct segment_header {
  char magic[8];
  uint32_t version, number;
  uint64_t created;
  char unused[TG_SEGMENT_HEADER - 28];
  uint32_t crc;
};

_Static_assert(sizeof(struct record_header) == TG_RECORD_HEADER, "the format of records is fixed");
_Static_assert(offsetof(struct record_header, marks) == TG_RECORD_MARKS, "the format of records is fixed");
_Static_assert(sizeof(struct segment_header) == TG_SEGMENT_HEADER, "the format of segments is fixed");

uint16_t tg_marks_encode(uint8_t marks)
{
  return (uint16_t)(marks | marks << 5 | marks << 10);
}

uint8_t tg_marks_decode(uint16_t stored)
{
  uint8_t marks = stored & TG_LOG_MARKS_MAX;
  return stored == tg_marks_encode(marks) ? marks : 0;
}

static uint32_t checksum(const struct record_header *header, tg_log_position position, const char *payload,
                         size_t length)
{
  struct {
    uint64_t position;
    struct record_header header;
  } covered = {htole64(position), *header};
  covered.header.crc = 0;
  covered.header.marks = 0;
  uint32_t crc = tg_crc32c(0, &covered, sizeof covered);
  return header->kind == TG_LOG_SKIP ? crc : tg_crc32c(crc, payload, length);
}

void tg_record_encode(char *at, const struct tg_log_record *record, uint8_t kind, tg_log_position previous,
                      const char *payload, uint32_t length)
{
  struct record_header header = {
      .length = htole32(length),
      .shard = htole32((uint32_t)record->shard_id),
      .kind = kind,
      .flags = record->flags,
      .marks = htole16(tg_marks_encode(record->marks)),
      .epoch = htole64(record->epoch),
      .sequence = htole64(record->sequence),
      .at = htole64((uint64_t)record->at),
      .previous = htole64(previous),
  };
  header.crc = htole32(checksum(&header, record->position, payload, length));
  memcpy(at, &header, sizeof header);
}

static bool plausible(const struct record_header *header)
{
  uint32_t length = le32toh(header->length);
  return length > 0 && header->kind >= TG_LOG_EVENT && header->kind <= TG_LOG_SKIP &&
         (length <= TG_LOG_PAYLOAD_MAX || header->kind == TG_LOG_SKIP) && le32toh(header->shard) <= INT_MAX &&
         le64toh(header->epoch) <= UINT32_MAX && le64toh(header->sequence) <= UINT32_MAX &&
         le64toh(header->at) <= INT64_MAX;
}

bool tg_record_plausible(const char *bytes)
{
  struct record_header header;
  memcpy(&header, bytes, sizeof header);
  return plausible(&header);
}

enum tg_record_state tg_record_decode(const char *bytes, size_t available, tg_log_position position,
                                      struct tg_log_record *record, tg_log_position *previous, uint64_t *size)
{
  struct record_header header;
  *size = sizeof header;
  if (available < sizeof header)
    return TG_RECORD_SHORT;
  memcpy(&header, bytes, sizeof header);
  uint32_t length = le32toh(header.length);
  if (length == 0)
    return TG_RECORD_END;
  if (!plausible(&header))
    return TG_RECORD_BAD;
  bool skip = header.kind == TG_LOG_SKIP;
  *size = tg_record_size(length);
  if (!skip && available < sizeof header + length) {
    *size = sizeof header + length;
    return TG_RECORD_SHORT;
  }
  if (le32toh(header.crc) != checksum(&header, position, bytes + sizeof header, length))
    return TG_RECORD_BAD;
  if (previous)
    *previous = le64toh(header.previous);
  *record = (struct tg_log_record){
      .position = position,
      .shard_id = (int)le32toh(header.shard),
      .epoch = le64toh(header.epoch),
      .sequence = le64toh(header.sequence),
      .at = (tg_ms)le64toh(header.at),
      .kind = skip ? 0 : (enum tg_log_kind)header.kind,
      .flags = header.flags,
      .marks = tg_marks_decode(le16toh(header.marks)),
      .payload = {bytes + sizeof header, length},
  };
  return skip ? TG_RECORD_SKIP : TG_RECORD_WHOLE;
}

static uint32_t segment_checksum(const struct segment_header *header)
{
  return tg_crc32c(0, header, offsetof(struct segment_header, crc));
}

void tg_segment_header_encode(char bytes[TG_SEGMENT_HEADER], uint32_t number, tg_ms created)
{
  struct segment_header header = {
      .version = htole32(SEGMENT_VERSION),
      .number = htole32(number),
      .created = htole64((uint64_t)created),
  };
  memcpy(header.magic, segment_magic, sizeof header.magic);
  header.crc = htole32(segment_checksum(&header));
  memcpy(bytes, &header, sizeof header);
}

bool tg_segment_header_decode(const char *bytes, uint32_t number, tg_ms *created)
{
  struct segment_header header;
  memcpy(&header, bytes, sizeof header);
  *created = (tg_ms)le64toh(header.created);
  return memcmp(header.magic, segment_magic, sizeof segment_magic) == 0 &&
         le32toh(header.version) == SEGMENT_VERSION && le32toh(header.number) == number &&
         le32toh(header.crc) == segment_checksum(&header);
}
