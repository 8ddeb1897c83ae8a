#pragma once

/* Tells a MESSAGE_UPDATE that changes what is written from one that does not:
 * link previews, pins, flags (reference, section 7.4; message_updates in
 * design section 9).
 *
 * With the message content intent the content decides: an update is a change
 * unless its content equals what was last seen of that message. Without it
 * contents are empty, and edited_timestamp decides: a change is an update whose
 * time is newer than the last one seen. An update that has no content at all
 * is judged by its time, too.
 *
 * Fixed memory: 24 bytes a message, sets of 8, the one not used for longest is
 * replaced. */

#include "base/json_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_message_cache;

/* What an event says of a message. */
struct tg_message_facts {
  uint64_t id;
  uint64_t content; /* hash; 0: it has no content */
  int64_t edited;   /* edited_timestamp in ms since 1970; 0: null or absent */
};

enum { TG_MESSAGE_CACHE_SIZE = 65536 };

/* `capacity` messages, rounded up to a power of two of at least 8. The memory
 * is taken from the kernel as it is used. */
struct tg_message_cache *tg_message_cache_new(size_t capacity);
void tg_message_cache_free(struct tg_message_cache *cache);

/* Reads d in one pass; with `created` (a MESSAGE_CREATE, which nobody has edited
 * yet) no further than needed. False: no message id. */
bool tg_message_facts(struct tg_span data, bool created, struct tg_message_facts *facts);

/* Whether an update changes the message. Changes nothing itself. */
bool tg_message_cache_changed(const struct tg_message_cache *cache, const struct tg_message_facts *facts,
                              bool by_content);

/* Remembers what a MESSAGE_CREATE or MESSAGE_UPDATE said. */
void tg_message_cache_store(struct tg_message_cache *cache, const struct tg_message_facts *facts);

/* "2024-05-01T12:34:56.123456+00:00" -> ms since 1970, cut to whole ms. False:
 * not of that form. */
bool tg_timestamp_parse(const char *at, size_t length, int64_t *ms);
