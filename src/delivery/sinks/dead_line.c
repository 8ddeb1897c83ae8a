#include "delivery/sinks/dead_files.h"
#include "delivery/sinks/dead_letter.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char there[] = "{\"v\":1,";
_Static_assert(TG_DEAD_FORMAT == 1, "it stands in `there`");

bool tg_dead_is_there(struct tg_span line)
{
  return line.length >= sizeof there && memcmp(line.at, there, sizeof there - 1) == 0;
}

uint64_t tg_dead_number(const char *start, const char *end)
{
  static const char key[] = ",\"n\":";
  enum { KEY = sizeof key - 1 };
  const char *digits = end - 1;
  if (digits <= start || *digits != '}')
    return 0;
  while (digits > start && digits[-1] >= '0' && digits[-1] <= '9')
    digits--;
  bool found = digits - start >= KEY && memcmp(digits - KEY, key, KEY) == 0 && digits < end - 1;
  return found ? strtoull(digits, NULL, 10) : 0;
}

/* --- reading -------------------------------------------------------------------------- */

static bool is(struct tg_span key, const char *name)
{
  size_t length = strlen(name);
  return key.length == length && memcmp(key.at, name, length) == 0;
}

static uint64_t number_of(struct tg_span value)
{
  uint64_t number;
  return tg_json_uint(value, &number) ? number : 0;
}

static int int_of(struct tg_span value)
{
  uint64_t number = number_of(value);
  return number <= INT_MAX ? (int)number : 0;
}

static void take(struct tg_dead_line *letter, struct tg_span key, struct tg_span value)
{
  if (is(key, "at"))
    letter->at = (tg_ms)number_of(value);
  else if (is(key, "shard"))
    letter->shard_id = int_of(value);
  else if (is(key, "totalShards"))
    letter->total_shards = int_of(value);
  else if (is(key, "epoch"))
    letter->epoch = number_of(value);
  else if (is(key, "s"))
    letter->sequence = number_of(value);
  else if (is(key, "t"))
    tg_json_plain_string(value, &letter->type);
  else if (is(key, "status"))
    letter->status = (long)int_of(value);
  else if (is(key, "answer"))
    letter->answer = value;
  else if (is(key, "retries"))
    letter->retries = int_of(value);
  else if (is(key, "bytes"))
    letter->bytes = (size_t)number_of(value);
  else if (is(key, "guildCreate"))
    tg_json_plain_string(value, &letter->guild_create);
  else if (is(key, "sink"))
    tg_json_plain_string(value, &letter->sink);
  else if (is(key, "deferred"))
    letter->deferred = true;
  else if (is(key, "late"))
    letter->late = true;
  else if (is(key, "marker"))
    letter->marker = true;
  else if (is(key, "masked"))
    letter->masked = true;
}

/* The next "key":value, `at` behind it. False: there is none that makes sense. */
static bool next_member(const char **at, const char *end, struct tg_span *key, struct tg_span *value)
{
  const char *from = *at, *behind = from < end && *from == '"' ? tg_json_skip_value(from, end) : NULL;
  if (!behind || behind >= end || *behind != ':')
    return false;
  *key = (struct tg_span){from + 1, (size_t)(behind - from - 2)};
  value->at = behind + 1;
  if (is(*key, "event")) { /* it goes on to the end, and is not looked into */
    value->length = (size_t)(end - value->at);
    *at = from;
    return true;
  }
  const char *last = tg_json_skip_value(value->at, end);
  if (!last)
    return false;
  value->length = (size_t)(last - value->at);
  *at = last < end && *last == ',' ? last + 1 : last;
  return true;
}

static bool belongs_to_answer(struct tg_span key)
{
  return is(key, "answer") || is(key, "retries") || is(key, "retriedAt") || is(key, "bytes");
}

bool tg_dead_line_read(struct tg_span line, struct tg_dead_line *letter)
{
  const char *at = line.at + 1, *end = line.at + line.length;
  struct tg_span key, value;
  *letter = (struct tg_dead_line){.type = {"", 0}};
  if (!tg_dead_is_there(line))
    return false;
  while (next_member(&at, end, &key, &value)) {
    if (is(key, "event")) {
      letter->head = (struct tg_span){line.at, (size_t)(at - line.at)};
      letter->event = value;
      return letter->answer.at != NULL;
    }
    take(letter, key, value);
    if (belongs_to_answer(key))
      letter->answer_end = value.at + value.length;
  }
  return false;
}

/* --- another answer ----------------------------------------------------------------------- */

void tg_dead_line_answer(struct tg_span line, const struct tg_dead_answer *answer, struct tg_buf *out)
{
  struct tg_dead_line letter;
  struct tg_span status;
  if (!tg_dead_line_read(line, &letter) || !tg_json_member(line, "status", &status)) {
    tg_buf_append(out, line.at, line.length);
    return;
  }
  tg_buf_append(out, line.at, (size_t)(status.at - line.at));
  tg_buf_printf(out, "%ld,\"answer\":", answer->status);
  tg_dead_put_string(out, (struct tg_span){answer->text, strlen(answer->text)});
  tg_buf_printf(out, ",\"retries\":%d,\"retriedAt\":%lld,\"bytes\":%zu", letter.retries + 1,
                (long long)answer->at, answer->bytes ? answer->bytes : letter.bytes);
  tg_buf_append(out, letter.answer_end, (size_t)(line.at + line.length - letter.answer_end));
}
