#pragma once

/* How the log looks on disk. Internal to the log.
 *
 *     <state_dir>/log/worker-0/
 *       0000000007.segment   header of 64 bytes, records, zeros up to the end
 *       0000000008.segment
 *       cursor               how far each shard is (log_cursor.h)
 *       cursor.worker-1      the same, of a worker that drains this log
 *       lock                 held by flock; the pid of its holder
 *
 * Numbers of segments only go up; a process never appends to a segment of an
 * earlier one, so a torn tail stays where it is until it is cut off. A record is
 * a header of 48 bytes and the payload, padded to 8. Little endian. Its CRC
 * also covers the position, so that a block in the wrong place is no record.
 * `previous` chains the records of a shard: that is how a hole is noticed,
 * whatever made it, and whose it is. */

#include "event_log/event_log.h"

enum {
  TG_SEGMENT_HEADER = 64,
  TG_RECORD_HEADER = 48,
  TG_LOG_SKIP = 3, /* kind: room that was given back; `length` bytes to pass over */
};

static inline tg_log_position tg_log_position_of(uint32_t segment, uint32_t offset)
{
  return (uint64_t)segment << 32 | offset;
}
static inline uint32_t tg_log_segment_of(tg_log_position position)
{
  return (uint32_t)(position >> 32);
}
static inline uint32_t tg_log_offset_of(tg_log_position position)
{
  return (uint32_t)position;
}

/* What a record of that payload takes. */
static inline uint64_t tg_record_size(uint32_t length)
{
  return ((uint64_t)TG_RECORD_HEADER + length + 7) & ~(uint64_t)7;
}

/* Writes the header for the payload that stands, or will stand, behind it.
 * `payload` may be NULL with TG_LOG_SKIP. */
void tg_record_encode(char *header, const struct tg_log_record *record, uint8_t kind,
                      tg_log_position previous, const char *payload, uint32_t length);

enum tg_record_state {
  TG_RECORD_WHOLE,
  TG_RECORD_SKIP,  /* nothing for anybody; *size to pass over */
  TG_RECORD_END,   /* zeros: nothing was written here */
  TG_RECORD_SHORT, /* more bytes are needed: *size in all */
  TG_RECORD_BAD,
};

/* Reads the record at `bytes`; its payload points into them. `previous` may be NULL. */
enum tg_record_state tg_record_decode(const char *bytes, size_t available, tg_log_position position,
                                      struct tg_log_record *record, tg_log_position *previous,
                                      uint64_t *size);

/* Whether a record may begin here: cheap, without CRC; needs TG_RECORD_HEADER bytes. */
bool tg_record_plausible(const char *bytes);

/* Offset of the marks in the record; 2 bytes, little endian. They change, so the
 * CRC does not cover them: they stand there three times instead, in 5 bits each. */
enum { TG_RECORD_MARKS = 14 };

uint16_t tg_marks_encode(uint8_t marks);

/* 0 if the three differ: an event that comes again does less harm than one that does not come. */
uint8_t tg_marks_decode(uint16_t stored);

void tg_segment_header_encode(char header[TG_SEGMENT_HEADER], uint32_t number, tg_ms created);
bool tg_segment_header_decode(const char *header, uint32_t number, tg_ms *created);
