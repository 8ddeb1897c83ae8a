#include "manager/identify/broker_wire.h"

#include <stdio.h>
#include <string.h>

enum { SHARDS_MAX = TG_SCHEDULED_SHARD_MAX + 1, HOLD_MAX = 24 * 3600 * 1000 };

static const char *const words[] = {"check", "ask", "sent", "ready", "failed", "unused"};
static const char *const priorities[] = {"lost", "first", "resharding"};

static const char *const codes[] = {
    [TG_BROKER_STALE] = "stale",
    [TG_BROKER_NO_SHARD] = "shard",
    [TG_BROKER_REFUSED] = "host",
    [TG_BROKER_MALFORMED] = "bad_request",
};

/* ---- reading a request ---- */

struct reading {
  const json_t *body;
  struct tg_error *error;
};

static bool read_integer(const struct reading *reading, const char *key, json_int_t low, json_int_t high,
                         int64_t *value)
{
  const json_t *field = json_object_get(reading->body, key);
  if (!field || json_is_null(field))
    return true;
  if (!json_is_integer(field) || json_integer_value(field) < low || json_integer_value(field) > high)
    return tg_fail(reading->error, "bad_request", "\"%s\" has to be a whole number from %lld to %lld", key,
                   (long long)low, (long long)high);
  *value = json_integer_value(field);
  return true;
}

static bool read_int(const struct reading *reading, const char *key, json_int_t low, json_int_t high,
                     int *value)
{
  int64_t wide = *value;
  bool good = read_integer(reading, key, low, high, &wide);
  *value = (int)wide;
  return good;
}

static bool read_choice(const struct reading *reading, const char *key, const char *const *names, int count,
                        unsigned *value)
{
  const json_t *field = json_object_get(reading->body, key);
  const char *text = json_string_value(field);
  if (!field || json_is_null(field))
    return true;
  for (int i = 0; text && i < count; i++) {
    if (strcmp(text, names[i]) == 0) {
      *value = (unsigned)i;
      return true;
    }
  }
  return tg_fail(reading->error, "bad_request", "\"%s\" has to be one of \"%s\" to \"%s\"", key, names[0],
                 names[count - 1]);
}

static bool read_text(const struct reading *reading, const char *key, char *text, size_t size)
{
  const json_t *field = json_object_get(reading->body, key);
  if (!field || json_is_null(field))
    return true;
  size_t length = json_string_length(field);
  const char *given = json_string_value(field);
  bool plain = length > 0 && length < size;
  for (size_t i = 0; plain && i < length; i++)
    plain = given[i] > ' ' && given[i] < 0x7f;
  if (!plain)
    return tg_fail(reading->error, "bad_request",
                   "\"%s\" has to be 1 to %zu letters, digits or signs without white space", key, size - 1);
  memcpy(text, given, length + 1);
  return true;
}

bool tg_broker_message_read(const json_t *body, int shard_id, struct tg_broker_message *message,
                            struct tg_error *error)
{
  *message = (struct tg_broker_message){
      .word = TG_WORD_ASK,
      .shard_id = shard_id,
      .priority = TG_IDENTIFY_FIRST,
      .first_shard_id = -1,
      .last_shard_id = -1,
      .wait = TG_BROKER_WAIT,
  };
  if (body && !json_is_object(body) && !json_is_null(body))
    return tg_fail(error, "bad_request", "the body has to be a JSON object");
  const struct reading reading = {body, error};
  unsigned word = TG_WORD_ASK, priority = TG_IDENTIFY_FIRST;
  bool good = read_choice(&reading, "state", words, sizeof words / sizeof *words, &word) &&
              read_choice(&reading, "priority", priorities, 3, &priority) &&
              read_text(&reading, "host", message->host, sizeof message->host) &&
              read_text(&reading, "bot", message->bot, sizeof message->bot) &&
              read_integer(&reading, "number", 0, INT64_MAX, &message->number) &&
              read_int(&reading, "totalShards", 1, SHARDS_MAX, &message->total_shards) &&
              read_int(&reading, "maxConcurrency", 1, SHARDS_MAX, &message->max_concurrency) &&
              read_int(&reading, "firstShardId", 0, TG_SCHEDULED_SHARD_MAX, &message->first_shard_id) &&
              read_int(&reading, "lastShardId", 0, TG_SCHEDULED_SHARD_MAX, &message->last_shard_id) &&
              read_integer(&reading, "wait", 0, TG_BROKER_WAIT_MAX, &message->wait) &&
              read_integer(&reading, "sentAgo", 0, HOLD_MAX, &message->sent_ago);
  message->word = (enum tg_broker_word)word;
  message->priority = (enum tg_identify_priority)priority;
  if (!good)
    return false;
  if (!message->host[0] && message->word != TG_WORD_ASK)
    return tg_fail(error, "bad_request", "\"host\" is missing: a name for this run of your gateway");
  if (message->host[0] && message->word == TG_WORD_ASK && message->number == 0)
    return tg_fail(error, "bad_request", "\"number\" is missing: each ask of a host has a higher one");
  return true;
}

json_t *tg_broker_message_write(const struct tg_broker_message *message)
{
  json_t *body = json_pack("{s:s, s:s, s:I, s:s, s:i, s:i}", "state", words[message->word], "host",
                           message->host, "number", (json_int_t)message->number, "bot", message->bot,
                           "totalShards", message->total_shards, "maxConcurrency", message->max_concurrency);
  switch (message->word) {
  case TG_WORD_CHECK:
    json_object_set_new(body, "firstShardId", json_integer(message->first_shard_id));
    json_object_set_new(body, "lastShardId", json_integer(message->last_shard_id));
    break;
  case TG_WORD_ASK:
    json_object_set_new(body, "priority", json_string(priorities[message->priority]));
    json_object_set_new(body, "wait", json_integer(message->wait));
    break;
  case TG_WORD_SENT:
  case TG_WORD_READY:
  case TG_WORD_FAILED:
    json_object_set_new(body, "sentAgo", json_integer(message->sent_ago));
    break;
  case TG_WORD_UNUSED:
    break;
  }
  return body;
}

/* ---- answers ---- */

json_t *tg_broker_answer_write(const struct tg_broker_answer *answer, int *status)
{
  switch (answer->verdict) {
  case TG_BROKER_NOTED:
    *status = 200;
    return answer->max_concurrency > 0
               ? json_pack("{s:s, s:i}", "state", "noted", "maxConcurrency", answer->max_concurrency)
               : json_pack("{s:s}", "state", "noted");
  case TG_BROKER_GRANTED:
    *status = 200;
    return json_pack("{s:s, s:I, s:I}", "state", "granted", "waited", (json_int_t)answer->waited, "validFor",
                     (json_int_t)answer->valid_for);
  case TG_BROKER_WAITING:
    *status = 202;
    return json_pack("{s:s}", "state", "waiting");
  case TG_BROKER_HELD_BACK:
    *status = 202;
    return json_pack("{s:s, s:I}", "state", "held_back", "retryAfter", (json_int_t)answer->retry_after);
  case TG_BROKER_DOWN:
    *status = 503;
    return json_pack("{s:s}", "error", answer->why);
  default:
    *status = answer->verdict == TG_BROKER_MALFORMED ? 400 : 409;
    return json_pack("{s:s, s:s}", "error", answer->why, "code", codes[answer->verdict]);
  }
}

/* A broker of this program says no more than a day. */
static tg_ms integer_of(const json_t *body, const char *key, json_int_t low, tg_ms otherwise)
{
  const json_t *field = json_object_get(body, key);
  json_int_t value = json_integer_value(field);
  return json_is_integer(field) && value >= low && value <= HOLD_MAX ? (tg_ms)value : otherwise;
}

static enum tg_broker_verdict read_good(int status, const json_t *body, struct tg_broker_answer *answer)
{
  const char *state = json_string_value(json_object_get(body, "state"));
  answer->retry_after = integer_of(body, "retryAfter", 0, answer->retry_after);
  answer->max_concurrency = (int)integer_of(body, "maxConcurrency", 0, 0);
  if (state && status == 200 && strcmp(state, "noted") == 0)
    return TG_BROKER_NOTED;
  if (state && status == 202 && strcmp(state, "waiting") == 0)
    return TG_BROKER_WAITING;
  if (state && status == 202 && strcmp(state, "held_back") == 0)
    return TG_BROKER_HELD_BACK;
  if (state && status == 200 && strcmp(state, "granted") == 0) {
    answer->waited = integer_of(body, "waited", -HOLD_MAX, 0);
    answer->valid_for = integer_of(body, "validFor", 0, 0);
    return TG_BROKER_GRANTED;
  }
  snprintf(answer->why, sizeof answer->why,
           "it answers %d, but not as a broker of identifies does. Check identify.url "
           "(TIDEGATE_IDENTIFY_URL): it has to be the control API of a Tidegate of this version",
           status);
  return TG_BROKER_REFUSED;
}

static enum tg_broker_verdict read_refusal(int status, const json_t *body, struct tg_broker_answer *answer)
{
  const char *text = json_string_value(json_object_get(body, "error"));
  const char *code = json_string_value(json_object_get(body, "code"));
  if (status == 409 && text && code) {
    snprintf(answer->why, sizeof answer->why, "%s", text);
    return strcmp(code, codes[TG_BROKER_STALE]) == 0      ? TG_BROKER_STALE
           : strcmp(code, codes[TG_BROKER_NO_SHARD]) == 0 ? TG_BROKER_NO_SHARD
                                                          : TG_BROKER_REFUSED;
  }
  if (status == 401 || status == 403)
    snprintf(answer->why, sizeof answer->why,
             "it refuses the secret (%d). identify.authorization (TIDEGATE_IDENTIFY_SECRET) has to be the "
             "broker's control.authorization (TIDEGATE_CONTROL_SECRET)",
             status);
  else if (status == 404)
    snprintf(answer->why, sizeof answer->why,
             "it knows no /identify (404). Check identify.url (TIDEGATE_IDENTIFY_URL): it has to be the "
             "control API of the Tidegate that is the broker");
  else
    snprintf(answer->why, sizeof answer->why, "it answers %d%s%.300s. Check identify.url", status,
             text ? ": " : "", text ? text : "");
  return TG_BROKER_REFUSED;
}

void tg_broker_answer_read(int status, const json_t *body, tg_ms retry_after, const char *problem,
                           struct tg_broker_answer *answer)
{
  *answer = (struct tg_broker_answer){.retry_after = retry_after};
  const char *text = json_string_value(json_object_get(body, "error"));
  if (status == 0) {
    answer->verdict = TG_BROKER_DOWN;
    snprintf(answer->why, sizeof answer->why, "%s", problem);
  } else if (status >= 500 || status == 429 || status == 408) {
    answer->verdict = TG_BROKER_DOWN;
    snprintf(answer->why, sizeof answer->why, "it answers %d%s%.300s", status, text ? ": " : "",
             text ? text : "");
  } else if (status == 200 || status == 202) {
    answer->verdict = read_good(status, body, answer);
  } else {
    answer->verdict = read_refusal(status, body, answer);
  }
}
