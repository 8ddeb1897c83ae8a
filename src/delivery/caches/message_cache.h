#pragma once

/* Tells a MESSAGE_UPDATE that changes the message from one that only brings
 * what Discord has found behind its links.
 *
 * An update is a change unless it is no newer than the last one seen (by
 * edited_timestamp) and all that it says of the message (message_facts.h) was
 * known already. Of a message that was never seen each update is a change. It
 * makes no difference whether contents are there.
 *
 * Fixed memory: 48 bytes a message, sets of 8, the one not used for longest is
 * replaced. */

#include "delivery/caches/message_facts.h"

struct tg_message_cache;

enum { TG_MESSAGE_CACHE_SIZE = 32768 }; /* 1.5 MiB */

/* `capacity` messages, rounded up to a power of two of at least 8. The memory
 * is taken from the kernel as it is used. */
struct tg_message_cache *tg_message_cache_new(size_t capacity);
void tg_message_cache_free(struct tg_message_cache *cache);

/* Whether an update changes the message. Changes nothing itself. */
bool tg_message_cache_changed(const struct tg_message_cache *cache, const struct tg_message_facts *facts);

/* Remembers what a MESSAGE_CREATE or MESSAGE_UPDATE said. */
void tg_message_cache_store(struct tg_message_cache *cache, const struct tg_message_facts *facts);
