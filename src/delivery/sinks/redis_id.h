#pragma once

/* Names in Redis: the id of an entry, <epoch>-<s>, and the keys of streams. Pure. */

#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>

/* Redis knows the halves as milliseconds and a number; it takes none that is not above the stream's last. */
struct tg_redis_id {
  uint64_t epoch, sequence;
};

/* Below 0: a stands before b. */
static inline int tg_redis_id_compare(struct tg_redis_id a, struct tg_redis_id b)
{
  if (a.epoch != b.epoch)
    return a.epoch < b.epoch ? -1 : 1;
  return a.sequence < b.sequence ? -1 : a.sequence > b.sequence;
}

/* "0-0": of a stream that has never had an entry. */
static inline bool tg_redis_id_is_none(struct tg_redis_id id)
{
  return id.epoch == 0 && id.sequence == 0;
}

/* Reads "7-42". False: it is none. */
bool tg_redis_id_read(struct tg_span text, struct tg_redis_id *id);

enum { TG_REDIS_NUMBER_MAX = 20, TG_REDIS_ID_SIZE = 48 };
/* Its digits, without a NUL; returns the byte behind them. Each event has several, and printf() would be most
 * of the cost. */
char *tg_redis_number_write(char *at, uint64_t number);
/* Returns the length. */
int tg_redis_id_write(char text[TG_REDIS_ID_SIZE], struct tg_redis_id id);

/* The key of a shard's stream, <prefix>:<total>:<shard>; the caller frees it. Shard 3 of 4 has another one
 * than shard 3 of 8: while a bot changes its number of shards both are there. */
char *tg_redis_stream_key(const char *prefix, int total_shards, int shard_id);
/* The set that has the keys of all streams, <prefix>:streams; likewise. */
char *tg_redis_streams_key(const char *prefix);
