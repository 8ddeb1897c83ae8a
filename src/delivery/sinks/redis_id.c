#include "delivery/sinks/redis_id.h"

#include "base/buf.h"

#include <string.h>

bool tg_redis_id_read(struct tg_span text, struct tg_redis_id *id)
{
  const char *dash = text.length ? memchr(text.at, '-', text.length) : NULL;
  if (!dash || text.at[0] == '"')
    return false;
  struct tg_span epoch = {text.at, (size_t)(dash - text.at)};
  struct tg_span sequence = {dash + 1, text.length - epoch.length - 1};
  return tg_json_uint(epoch, &id->epoch) && tg_json_uint(sequence, &id->sequence);
}

char *tg_redis_number_write(char *at, uint64_t number)
{
  char digits[TG_REDIS_NUMBER_MAX], *first = digits + sizeof digits;
  do
    *--first = (char)('0' + number % 10);
  while (number /= 10);
  size_t length = (size_t)(digits + sizeof digits - first);
  memcpy(at, first, length);
  return at + length;
}

int tg_redis_id_write(char text[TG_REDIS_ID_SIZE], struct tg_redis_id id)
{
  char *at = tg_redis_number_write(text, id.epoch);
  *at++ = '-';
  at = tg_redis_number_write(at, id.sequence);
  *at = '\0';
  return (int)(at - text);
}

char *tg_redis_stream_key(const char *prefix, int total_shards, int shard_id)
{
  struct tg_buf key = {0};
  tg_buf_printf(&key, "%s:%d:%d", prefix, total_shards, shard_id);
  return tg_buf_take(&key);
}

char *tg_redis_streams_key(const char *prefix)
{
  struct tg_buf key = {0};
  tg_buf_printf(&key, "%s:streams", prefix);
  return tg_buf_take(&key);
}
