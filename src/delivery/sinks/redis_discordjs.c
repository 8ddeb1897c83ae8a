#include "delivery/sinks/redis_layout.h"

#include "base/msgpack.h"
#include "delivery/sinks/redis_meaning.h"
#include "delivery/sinks/redis_parts.h"
#include "net/resp.h"
#include "proto/envelope.h"
#include "proto/event_types.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As @discordjs/brokers reads it, and its RedisGateway hands it to @discordjs/core: a stream for each type of
 * event, of all shards together, under the type's own name, with ids of Redis' making.
 *
 *     data MessagePack {shardId, payload}, key [, guildCreate] [, deferred "1"] [, late "1"]
 *
 * Its readers pass over the fields behind `data`. Nothing in such a stream refuses what it has already. So
 * the hash <prefix>:marks says of each shard how far it is written: the mark is moved in the transaction that
 * writes the events, and stands before or behind a batch as a whole, whatever breaks. A marker has no place
 * among events of one type, and is not written. What comes late, when another host has gone on with the
 * shard, is written beside the mark: a batch of which nobody has heard comes again. */

enum { MARKS_FIELD_SIZE = 32, TYPE_SIZE = 256, BULK_HEAD_MAX = 24 };

static struct tg_redis_id id_in_lane(const struct tg_stored *event)
{
  return (struct tg_redis_id){event->epoch, event->sequence};
}

static bool is_new(const struct tg_redis_place *place, const struct tg_stored *event)
{
  return event->marker == TG_MARKER_NONE &&
         (place->late || tg_redis_id_compare(id_in_lane(event), place->last) > 0);
}

static struct tg_redis_stream *stream_of(const struct tg_redis_place *place, const struct tg_stored *event)
{
  char buffer[TYPE_SIZE];
  struct tg_envelope envelope;
  struct tg_span name = {NULL, 0};
  if (tg_envelope_scan(event->message.at, event->message.length, &envelope))
    name = tg_envelope_name(&envelope, buffer, sizeof buffer);
  if (name.length == 0) {
    name.at = tg_event_type_name(event->type);
    name.length = strlen(name.at);
  }
  return place->stream_of(place->carrier, name);
}

/* --- the mark ------------------------------------------------------------------------------- */

static char *marks_key(const struct tg_redis_place *place)
{
  struct tg_buf key = {0};
  tg_buf_printf(&key, "%s:marks", place->config->prefix);
  return tg_buf_take(&key);
}

static void write_field(char field[MARKS_FIELD_SIZE], const struct tg_redis_place *place)
{
  snprintf(field, MARKS_FIELD_SIZE, "%d:%d", place->total_shards, place->shard_id);
}

static void put_mark(struct tg_buf *out, const struct tg_redis_place *place, struct tg_redis_id id)
{
  char *key = marks_key(place), field[MARKS_FIELD_SIZE], text[TG_REDIS_ID_SIZE];
  write_field(field, place);
  tg_redis_id_write(text, id);
  tg_redis_put_command(out, (const char *[]){"HSET", key, field, text}, 4);
  free(key);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A message that is no JSON, which Discord does not send, stays what it is: a text. */
static void put_payload(struct tg_buf *out, struct tg_span message)
{
  if (!tg_msgpack_put_json(out, message))
    tg_msgpack_put_text(out, message.at, message.length);
}

/* How long it is stands in front, and is known behind. */
static void put_data(struct tg_buf *out, const struct tg_redis_place *place, const struct tg_stored *event)
{
  char head[BULK_HEAD_MAX];
  tg_resp_string(out, "data");
  size_t start = out->length;
  tg_buf_reserve(out, BULK_HEAD_MAX);
  out->length += BULK_HEAD_MAX;
  tg_msgpack_put_map(out, 2);
  tg_msgpack_put_text(out, "shardId", 7);
  tg_msgpack_put_int(out, place->shard_id);
  tg_msgpack_put_text(out, "payload", 7);
  put_payload(out, event->message);
  size_t length = out->length - start - BULK_HEAD_MAX;
  size_t head_length = (size_t)snprintf(head, sizeof head, "$%zu\r\n", length);
  memmove(out->data + start + head_length, out->data + start + BULK_HEAD_MAX, length);
  memcpy(out->data + start, head, head_length);
  out->length = start + head_length + length;
  tg_buf_append(out, "\r\n", 2);
}

static void put_xadd(struct tg_buf *out, const struct tg_redis_place *place, const struct tg_stored *event)
{
  char key[TG_PARCEL_KEY_MAX];
  struct tg_redis_stream *stream = stream_of(place, event);
  bool trims = stream->groups == 0, tells = event->guild_create != TG_GUILD_NONE;
  tg_resp_begin(out, 3 + (trims ? 3 : 0) + 2 * (2 + tells + event->deferred + place->late));
  tg_resp_string(out, "XADD");
  tg_resp_string(out, stream->key);
  if (trims) {
    tg_resp_string(out, "MAXLEN");
    tg_resp_string(out, "~");
    tg_resp_number(out, place->config->max_length);
  }
  tg_resp_string(out, "*");
  put_data(out, place, event);
  tg_redis_put(out, "key", (struct tg_span){key, tg_redis_key_write(key, place, event)});
  if (tells)
    tg_redis_put_text(out, "guildCreate", tg_guild_create_name(event->guild_create));
  if (event->deferred)
    tg_redis_put_text(out, "deferred", "1");
  if (place->late)
    tg_redis_put_text(out, "late", "1");
  stream->length++;
}

/* MULTI, XADD ..., HSET, EXEC; or PING where all is there, since somebody waits for an answer. */
static int write_batch(struct tg_redis_place *place, const struct tg_redis_batch *batch, struct tg_buf *out)
{
  size_t start = out->length;
  int count = 0;
  place->writing = place->last;
  place->replicas = place->config->replicas;
  tg_redis_put_word(out, "MULTI");
  for (int i = 0; i < batch->count; i++) {
    if (!is_new(place, &batch->events[i]))
      continue;
    put_xadd(out, place, &batch->events[i]);
    if (!place->late)
      place->writing = id_in_lane(&batch->events[i]);
    count++;
  }
  if (count > 0) {
    if (!place->late)
      put_mark(out, place, place->writing);
    tg_redis_put_word(out, "EXEC");
  } else {
    out->length = start;
    tg_redis_put_word(out, "PING");
  }
  if (place->replicas > 0)
    tg_redis_put_wait(out, place);
  return (count > 0 ? count + 2 + !place->late : 1) + (place->replicas > 0);
}

/* --- asking ------------------------------------------------------------------------------------ */

static bool has_question(const struct tg_redis_place *place, const struct tg_redis_stream *stream)
{
  for (int i = 0; i < place->question_count; i++)
    if (place->questions[i] == stream)
      return true;
  return false;
}

/* What has to be known of the streams: how long they are, and whether groups read them. */
static void find_questions(struct tg_redis_place *place, const struct tg_redis_batch *batch)
{
  place->question_count = 0;
  for (int i = 0; i < batch->count; i++) {
    if (!is_new(place, &batch->events[i]))
      continue;
    struct tg_redis_stream *stream = stream_of(place, &batch->events[i]);
    bool is_known = place->asked && stream->known && !place->recheck &&
                    !tg_redis_stream_is_full(stream, place->config->max_length);
    if (!is_known && !has_question(place, stream))
      place->questions[place->question_count++] = stream;
  }
}

static int ask(struct tg_redis_place *place, const struct tg_redis_batch *batch, struct tg_buf *out)
{
  bool asks_mark = !place->asked && !place->late;
  find_questions(place, batch);
  if (asks_mark) {
    char *key = marks_key(place), field[MARKS_FIELD_SIZE];
    write_field(field, place);
    tg_redis_put_command(out, (const char *[]){"HGET", key, field}, 3);
    free(key);
  }
  for (int i = 0; i < place->question_count; i++)
    tg_redis_put_command(out, (const char *[]){"XINFO", "STREAM", place->questions[i]->key}, 3);
  return asks_mark + place->question_count;
}

static enum tg_redis_step hold_for_conflict(struct tg_redis_place *place, struct tg_answer *answer)
{
  char last[TG_REDIS_ID_SIZE];
  tg_redis_id_write(last, place->last);
  place->asked = false;
  answer->outcome = TG_OUTCOME_SLOW_DOWN;
  answer->retry_after = tg_patience(TG_REDIS_HOLD_DELAY);
  answer->advice =
      "stop the other gateway, or give this sink another prefix; if nobody else writes there, the "
      "state directory is an older one: delete the hash";
  tg_fail(
      &answer->error, "conflict",
      "the hash %s:marks has %s for shard %d of %d, of a later session than this gateway has had (%" PRIu64
      "): somebody else writes its events",
      place->config->prefix, last, place->shard_id, place->total_shards, place->epoch);
  return TG_REDIS_HOLD;
}

static enum tg_redis_step tell_loss(struct tg_redis_place *place, struct tg_answer *answer)
{
  char last[TG_REDIS_ID_SIZE], accepted[TG_REDIS_ID_SIZE];
  tg_redis_id_write(last, place->last);
  tg_redis_id_write(accepted, place->accepted);
  answer->outcome = TG_OUTCOME_CANCELLED;
  tg_fail(&answer->error, "lost",
          "the hash %s:marks has %s for shard %d of %d, and has taken events up to %s", place->config->prefix,
          last, place->shard_id, place->total_shards, accepted);
  place->accepted = place->last;
  return TG_REDIS_LOST;
}

static bool take_mark(struct tg_redis_place *place, const struct tg_redis_reply *reply)
{
  place->last = (struct tg_redis_id){0, 0};
  return reply->kind == TG_REDIS_NIL || tg_redis_id_read(reply->text, &place->last);
}

static bool take_info(struct tg_redis_stream *stream, const struct tg_redis_reply *info)
{
  const struct tg_redis_reply *length = tg_redis_info(info, "length"),
                              *groups = tg_redis_info(info, "groups");
  bool is_none = tg_redis_is_no_key(info);
  if (!is_none && (!length || !groups))
    return false;
  stream->length = is_none ? 0 : (uint64_t)length->integer;
  stream->groups = is_none ? 0 : (uint64_t)groups->integer;
  stream->known = true;
  return true;
}

/* A shard's events stay in order: one stream that is full holds them all. */
static enum tg_redis_step hold_for_full(struct tg_redis_place *place, struct tg_redis_stream *stream,
                                        struct tg_answer *answer)
{
  place->stream = stream;
  answer->outcome = TG_OUTCOME_SLOW_DOWN;
  answer->retry_after = tg_patience(TG_REDIS_FULL_DELAY);
  tg_fail(&answer->error, "full",
          "the stream %s has max_length entries that its groups have not acknowledged", stream->key);
  return TG_REDIS_FULL;
}

static struct tg_span text_of(const struct tg_redis_reply *reply)
{
  static const char odd[] = "ERR syntax error: not what Redis 7.0 answers";
  return reply->kind == TG_REDIS_ERROR ? reply->text : (struct tg_span){odd, sizeof odd - 1};
}

static enum tg_redis_step learn(struct tg_redis_place *place, const struct tg_redis_batch *batch,
                                const struct tg_redis_reply *replies, int count, struct tg_answer *answer)
{
  int of_mark = count - place->question_count;
  struct tg_redis_stream *full = NULL;
  (void)batch;
  if (of_mark > 0 && (replies->kind == TG_REDIS_ERROR || !take_mark(place, replies)))
    return tg_redis_layout_refuse(place, answer, text_of(replies));
  for (int i = 0; i < place->question_count; i++) {
    const struct tg_redis_reply *info = &replies[of_mark + i];
    if (!take_info(place->questions[i], info))
      return tg_redis_layout_refuse(place, answer, text_of(info));
    if (tg_redis_stream_is_full(place->questions[i], place->config->max_length))
      full = place->questions[i];
  }
  place->asked = true;
  place->recheck = false;
  if (!place->late && place->last.epoch > place->epoch)
    return hold_for_conflict(place, answer);
  if (tg_redis_id_compare(place->last, place->accepted) < 0)
    return tell_loss(place, answer);
  return full ? hold_for_full(place, full, answer) : TG_REDIS_WRITE;
}

/* --- replies to a batch ------------------------------------------------------------------------ */

/* A transaction does not take back what it has done, the mark among it, when one of its commands fails, of
 * which somebody has just put something else in the place of a stream. Some events may come twice then. */
static enum tg_redis_step refuse_inside(struct tg_redis_place *place, const struct tg_redis_reply *error,
                                        struct tg_answer *answer)
{
  enum tg_redis_step step = tg_redis_layout_refuse(place, answer, error->text);
  place->asked = place->recheck = true; /* place->last stays: all of it is written again */
  return step;
}

static enum tg_redis_step judge(struct tg_redis_place *place, const struct tg_redis_reply *replies, int count,
                                struct tg_answer *answer)
{
  const struct tg_redis_reply *wait = place->replicas > 0 ? &replies[--count] : NULL;
  const struct tg_redis_reply *exec = &replies[count - 1], *error = tg_redis_error_in(replies, count);
  if (!error && exec->kind == TG_REDIS_ARRAY && tg_redis_error_in(exec->items, (int)exec->count))
    return refuse_inside(place, tg_redis_error_in(exec->items, (int)exec->count), answer);
  if (error || (count > 1 && exec->kind != TG_REDIS_ARRAY))
    return tg_redis_layout_refuse(place, answer, text_of(error ? error : exec));
  place->last = place->writing;
  if (wait && (wait->kind != TG_REDIS_INTEGER || wait->integer < place->replicas))
    return tg_redis_wait_for_replicas(place, wait, answer);
  if (!place->late)
    place->accepted = place->last;
  answer->outcome = TG_OUTCOME_DELIVERED;
  return TG_REDIS_END;
}

const struct tg_redis_layout_kind tg_redis_discordjs_layout = {ask, learn, write_batch, judge};
