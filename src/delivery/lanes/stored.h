#pragma once

/* An event as it is kept, in memory and in logs: the message as it came, and what has to be known of it. What
 * requests carry is made of that when they are sent (body.h, formats/format.h), so that what waits goes out
 * in the format of then.
 *
 * A record of the event log has, for ever:
 *
 *     byte 0      the version of this: 1, or 2 (see below)
 *     byte 1      how a GUILD_CREATE is to be understood (enum tg_guild_create), else 0
 *     byte 2      which marker it is (enum tg_marker); 0: none
 *     byte 3      length of the name of its type
 *     bytes 4-7   number of shards of the set that its shard is one of, little endian; 0: not known
 *     then        the name of its type: numbers of types are of one process
 *     then        the message
 *
 * An event that goes behind others, though it came first, has a place among them in the record's header, and
 * version 2: behind the number of shards stand, of 4 bytes each, the epoch and the number that it is called
 * by.
 *
 * Whose it is, its epoch and its number stand in the record's own header (event_log.h), and what becomes of
 * it later in the record's marks. Earlier versions kept the body in "seed": such records begin with a
 * bracket, and are read as well. */

#include "base/error.h"
#include "delivery/lanes/hole.h"
#include "event_log/event_log.h"
#include "proto/event.h"

#include <stdbool.h>
#include <stddef.h>

struct tg_stored {
  int shard_id;
  int total_shards; /* of the set that the shard is one of; 0: not known, and not told */
  uint64_t epoch, sequence; /* its name */
  struct tg_place place;    /* among those of its shard, where that is another one; epoch 0: it is not */
  uint16_t type;            /* tg_event_type() */
  enum tg_marker marker;
  enum tg_guild_create guild_create;
  bool deferred; /* it was answered in the place of the event handler, which is to know it */
  bool late; /* others of its shard have gone before it, though it came first: a log tells it by the place */
  struct tg_span message; /* of a marker: what it tells, an object */
};

static inline struct tg_place tg_stored_place(const struct tg_stored *event)
{
  return event->place.epoch ? event->place : (struct tg_place){event->epoch, event->sequence};
}

/* An event that is being handled, as it would be kept; its message is not copied. */
struct tg_stored tg_event_stored(const struct tg_event *event);

enum { TG_STORED_NAME = 8 /* bytes, of one with a place */, TG_STORED_HEAD_MAX = 8 + TG_STORED_NAME + 255 };

/* What stands in front of the message in its record. Returns its length. */
size_t tg_stored_head(char head[TG_STORED_HEAD_MAX], const struct tg_stored *event);

/* What is in the record of an event with such a message, in all; TG_STORED_NAME more, if it has a place. */
size_t tg_stored_length(uint16_t type, size_t message);

/* The message points into the record. False: nobody has written that; the code is "log_damaged". */
bool tg_stored_read(const struct tg_log_record *record, struct tg_stored *event, struct tg_error *error);
