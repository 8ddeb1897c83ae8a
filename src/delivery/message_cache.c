#include "delivery/message_cache.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { WAYS = 8 };

struct entry {
  uint64_t id;
  uint64_t content;
  int64_t edited;
};

struct tg_message_cache {
  size_t mask;            /* sets - 1 */
  struct entry entries[]; /* sets of WAYS, the last used first */
};

struct tg_message_cache *tg_message_cache_new(size_t capacity)
{
  size_t sets = 1;
  while (sets * WAYS < capacity)
    sets *= 2;
  struct tg_message_cache *cache = tg_calloc(1, sizeof *cache + sets * WAYS * sizeof(struct entry));
  cache->mask = sets - 1;
  return cache;
}

void tg_message_cache_free(struct tg_message_cache *cache)
{
  free(cache);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
  __uint128_t product = (__uint128_t)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, 16 bytes a step. Seeded, so that nobody can write two
 * messages that count as one. */
static uint64_t hash(struct tg_span text)
{
  static uint64_t seed;
  if (seed == 0)
    seed = tg_random(UINT64_MAX) | 1;
  uint64_t sum = mix(seed ^ text.length, 0x9e3779b97f4a7c15u), secret = seed ^ 0xd6e8feb86659fd93u, words[2];
  const char *at = text.at;
  size_t left = text.length;
  for (; left >= sizeof words; at += sizeof words, left -= sizeof words) {
    memcpy(words, at, sizeof words);
    sum = mix(words[0] ^ secret, words[1] ^ sum);
  }
  words[0] = words[1] = 0;
  memcpy(words, at, left);
  sum = mix(words[0] ^ secret, words[1] ^ sum);
  return sum ? sum : 1;
}

static bool two_digits(const char *at, int *value)
{
  if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
    return false;
  *value = (at[0] - '0') * 10 + (at[1] - '0');
  return true;
}

static int64_t days_since_1970(int year, int month, int day)
{
  year -= month <= 2;
  int64_t era = year / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

bool tg_timestamp_parse(const char *at, size_t length, int64_t *ms)
{
  int century, years, month, day, hour, minute, second;
  if (length < 20 || !two_digits(at, &century) || !two_digits(at + 2, &years) || at[4] != '-' ||
      !two_digits(at + 5, &month) || at[7] != '-' || !two_digits(at + 8, &day) || at[10] != 'T' ||
      !two_digits(at + 11, &hour) || at[13] != ':' || !two_digits(at + 14, &minute) || at[16] != ':' ||
      !two_digits(at + 17, &second) || month < 1 || month > 12)
    return false;
  const char *end = at + length;
  at += 19;
  int fraction = 0;
  if (*at == '.') {
    int scale = 100;
    for (at++; at < end && *at >= '0' && *at <= '9'; at++, scale /= 10)
      fraction += (*at - '0') * scale;
  }
  int zone = 0, zone_hours, zone_minutes;
  if (end - at == 6 && (*at == '+' || *at == '-') && at[3] == ':' && two_digits(at + 1, &zone_hours) &&
      two_digits(at + 4, &zone_minutes))
    zone = (*at == '-' ? -1 : 1) * (zone_hours * 60 + zone_minutes);
  else if (end - at != 1 || *at != 'Z')
    return false;
  int64_t days = days_since_1970(century * 100 + years, month, day);
  *ms = (((days * 24 + hour) * 60 + minute - zone) * 60 + second) * 1000 + fraction;
  return true;
}

static bool is_key(const char *at, size_t length, const char *key)
{
  return length == strlen(key) && memcmp(at, key, length) == 0;
}

static void take(struct tg_message_facts *facts, const char *key, size_t length, struct tg_span value)
{
  struct tg_span text;
  if (is_key(key, length, "id"))
    tg_json_uint(value, &facts->id);
  else if (is_key(key, length, "content"))
    facts->content = hash(value);
  else if (is_key(key, length, "edited_timestamp") && tg_json_plain_string(value, &text))
    tg_timestamp_parse(text.at, text.length, &facts->edited);
}

bool tg_message_facts(struct tg_span data, bool created, struct tg_message_facts *facts)
{
  *facts = (struct tg_message_facts){0};
  if (!data.at)
    return false;
  const char *end = data.at + data.length;
  const char *at = tg_json_skip_space(data.at, end);
  if (at >= end || *at != '{')
    return false;
  at = tg_json_skip_space(at + 1, end);
  while (at < end && *at == '"') {
    const char *key = at + 1;
    const char *behind = tg_json_skip_value(at, end);
    if (!behind)
      break;
    at = tg_json_skip_space(behind, end);
    if (at >= end || *at != ':')
      break;
    at = tg_json_skip_space(at + 1, end);
    const char *last = tg_json_skip_value(at, end);
    if (!last)
      break;
    take(facts, key, (size_t)(behind - 1 - key), (struct tg_span){at, (size_t)(last - at)});
    if (created && facts->id && facts->content)
      return true;
    at = tg_json_skip_space(last, end);
    if (at >= end || *at != ',')
      break;
    at = tg_json_skip_space(at + 1, end);
  }
  return facts->id != 0;
}

/* Snowflakes count up in their low bits: spread them. */
static size_t set_of(const struct tg_message_cache *cache, uint64_t id)
{
  return ((id * 0x9e3779b97f4a7c15u) >> 32 & cache->mask) * WAYS;
}

bool tg_message_cache_changed(const struct tg_message_cache *cache, const struct tg_message_facts *facts,
                              bool by_content)
{
  const struct entry *known = NULL, *set = &cache->entries[set_of(cache, facts->id)];
  for (int i = 0; i < WAYS && !known; i++)
    if (set[i].id == facts->id)
      known = &set[i];
  if (!by_content)
    return facts->edited > (known ? known->edited : 0);
  if (!known)
    return true;
  if (!facts->content)
    return facts->edited > known->edited;
  return facts->content != known->content;
}

void tg_message_cache_store(struct tg_message_cache *cache, const struct tg_message_facts *facts)
{
  struct entry *set = &cache->entries[set_of(cache, facts->id)];
  int at = 0;
  while (at < WAYS - 1 && set[at].id != facts->id)
    at++;
  struct entry entry = {facts->id, facts->content, facts->edited};
  if (set[at].id == facts->id) {
    if (!entry.content)
      entry.content = set[at].content;
    if (entry.edited < set[at].edited)
      entry.edited = set[at].edited;
  }
  memmove(set + 1, set, (size_t)at * sizeof set[0]);
  set[0] = entry;
}
