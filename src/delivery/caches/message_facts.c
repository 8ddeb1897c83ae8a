#include "delivery/caches/message_facts.h"

#include "base/clock.h"

#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
  __uint128_t product = (__uint128_t)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Random, so that nobody can write two messages that count as one. */
static uint64_t seed(void)
{
  static uint64_t value;
  if (value == 0)
    value = tg_random(UINT64_MAX) | 1;
  return value;
}

static uint64_t load(const char *at)
{
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

/* The last bytes, 16 at most; they may be read twice. */
static uint64_t hash_last(uint64_t sum, uint64_t secret, const char *at, size_t left)
{
  enum { WORD = sizeof(uint64_t) };
  uint64_t words[2] = {0};
  if (left >= WORD) {
    words[0] = load(at);
    words[1] = load(at + left - WORD);
  } else {
    for (size_t i = 0; i < left; i++)
      words[0] = words[0] << 8 | (unsigned char)at[i];
  }
  return mix(words[0] ^ secret, words[1] ^ sum);
}

/* Multiply and fold, twice 16 bytes a step: multiplications take their time, and
 * two can be under way. */
static uint64_t hash(uint64_t sum, const char *at, size_t left)
{
  enum { STEP = 16 };
  const uint64_t secret = sum ^ 0xd6e8feb86659fd93u;
  uint64_t other = sum ^ left;
  sum = mix(sum ^ left, 0x9e3779b97f4a7c15u);
  for (; left > 2 * STEP; at += 2 * STEP, left -= 2 * STEP) {
    sum = mix(load(at) ^ secret, load(at + 8) ^ sum);
    other = mix(load(at + 16) ^ secret, load(at + 24) ^ other);
  }
  if (left > STEP) {
    sum = mix(load(at) ^ secret, load(at + 8) ^ sum);
    at += STEP;
    left -= STEP;
  }
  return hash_last(sum ^ other, secret, at, left);
}

/* ---- signatures in URLs ---- */

static bool is_hex(char c)
{
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* The length of "ex=66a1b2c3&" or the like at `at`; 0: there is none. */
static size_t signed_parameter(const char *at, const char *end)
{
  enum { NAME = 3 };
  if (end - at <= NAME ||
      (memcmp(at, "ex=", NAME) != 0 && memcmp(at, "is=", NAME) != 0 && memcmp(at, "hm=", NAME) != 0))
    return 0;
  const char *digit = at + NAME;
  while (digit < end && is_hex(*digit))
    digit++;
  if (digit == at + NAME || digit == end || (*digit != '&' && *digit != '"'))
    return 0;
  return (size_t)(digit - at) + (*digit == '&');
}

static uint64_t hash_unsigned(const char *at, const char *end)
{
  uint64_t sum = seed();
  const char *mark = at;
  while ((mark = memchr(mark, '?', (size_t)(end - mark))) != NULL) {
    const char *behind = ++mark;
    for (size_t length; (length = signed_parameter(behind, end)) > 0;)
      behind += length;
    if (behind == mark)
      continue;
    sum = hash(sum, at, (size_t)(mark - at));
    at = mark = behind;
  }
  return hash(sum, at, (size_t)(end - at));
}

/* ---- times ---- */

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

/* ---- members ---- */

enum { LEFT_OUT = TG_MESSAGE_PARTS, ID, EDITED, TIMESTAMP };

/* What becomes of a member; those that are not named are the rest. This is asked
 * some twenty times a message: comparisons of known length are no calls. */
static int what_is(const char *key, size_t length)
{
#define IS(name, what)                                                                                       \
  if (memcmp(key, name, sizeof name - 1) == 0)                                                               \
  return what
  switch (length) {
  case 2:
    IS("id", ID);
    break;
  case 3:
    IS("tts", LEFT_OUT);
    break;
  case 4:
    IS("poll", TG_MESSAGE_POLL);
    break;
  case 5:
    IS("flags", TG_MESSAGE_FLAGS);
    IS("nonce", LEFT_OUT);
    break;
  case 6:
    IS("author", TG_MESSAGE_AUTHOR);
    IS("embeds", LEFT_OUT);
    IS("pinned", TG_MESSAGE_PINNED);
    break;
  case 7:
    IS("content", TG_MESSAGE_CONTENT);
    break;
  case 8:
    IS("guild_id", LEFT_OUT);
    break;
  case 9:
    IS("timestamp", TIMESTAMP);
    break;
  case 10:
    IS("channel_id", LEFT_OUT);
    IS("components", TG_MESSAGE_COMPONENTS);
    break;
  case 11:
    IS("attachments", TG_MESSAGE_ATTACHMENTS);
    break;
  case 16:
    IS("edited_timestamp", EDITED);
    break;
  }
#undef IS
  return TG_MESSAGE_REST;
}

/* "", [], {}, 0, null, false: as if it were not there. */
static bool is_empty(struct tg_span value)
{
  switch (value.length) {
  case 1:
    return value.at[0] == '0';
  case 2:
    return value.at[0] == '"' || value.at[0] == '[' || value.at[0] == '{';
  case 4:
    return memcmp(value.at, "null", 4) == 0;
  case 5:
    return memcmp(value.at, "false", 5) == 0;
  }
  return false;
}

/* Members of one part are added, so that their order does not matter. */
static void add(struct tg_message_facts *facts, int part, const char *key, struct tg_span value)
{
  const char *end = value.at + value.length;
  facts->present |= 1u << part;
  if (is_empty(value))
    return;
  bool nested = value.at[0] == '[' || value.at[0] == '{';
  uint64_t sum = nested ? hash_unsigned(key, end) : hash(seed(), key, (size_t)(end - key));
  facts->hashes[part] += (uint32_t)sum;
}

static void take(struct tg_message_facts *facts, const char *key, size_t length, struct tg_span value)
{
  struct tg_span text;
  int what = what_is(key, length);
  if (what < TG_MESSAGE_PARTS)
    add(facts, what, key, value);
  else if (what == ID)
    tg_json_uint(value, &facts->id);
  else if (what == EDITED && tg_json_plain_string(value, &text))
    tg_timestamp_parse(text.at, text.length, &facts->edited);
  else if (what == TIMESTAMP)
    facts->whole = true;
}

bool tg_message_facts(struct tg_span data, struct tg_message_facts *facts)
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
    at = tg_json_skip_space(last, end);
    if (at >= end || *at != ',')
      break;
    at = tg_json_skip_space(at + 1, end);
  }
  const uint32_t always = 1u << TG_MESSAGE_CONTENT | 1u << TG_MESSAGE_AUTHOR | 1u << TG_MESSAGE_ATTACHMENTS;
  facts->whole = facts->whole && (facts->present & always) == always;
  return facts->id != 0;
}
