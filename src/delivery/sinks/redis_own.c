#include "delivery/sinks/redis_layout.h"

#include "delivery/sinks/redis_meaning.h"
#include "delivery/sinks/redis_parts.h"
#include "net/resp.h"
#include "proto/envelope.h"
#include "proto/event.h"

#include <inttypes.h>
#include <string.h>

/* One stream a shard, <prefix>:<total>:<shard>, whose ids are the events' own names, <epoch>-<s>. Ids only
 * rise: so Redis itself refuses what it has already. What stands at or before the stream's last id is there,
 * and is not written: a lane sends its events in order, and a batch is there as a whole or not at all.
 *
 *     event   t type, g guild ("" without one), d data, shard, key [, guildCreate] [, deferred "1"]
 *     marker  marker "gap" or "resharding", d what it tells, shard, key
 *
 * What comes late, when another host has gone on with the shard, would be below the last id: it has a stream
 * of its own, <prefix>:<total>:<shard>:late, with ids of Redis' making and a field late "1" besides. There a
 * batch of which nobody has heard comes again; its keys are the same. */

/* --- ids of markers ------------------------------------------------------------------------- */

static uint64_t number_of(struct tg_span object, const char *key)
{
  struct tg_span value;
  uint64_t number;
  return tg_json_member(object, key, &value) && tg_json_uint(value, &number) ? number : 0;
}

static struct tg_redis_id id_in_lane(const struct tg_stored *event)
{
  return (struct tg_redis_id){event->epoch, event->sequence};
}

static bool ends_session(struct tg_span gap)
{
  struct tg_span reason;
  return tg_json_member(gap, "reason", &reason) && tg_json_is(reason, "\"session_lost\"");
}

/* A marker stands behind all that it tells of and in front of what comes next: an id above that would shut
 * out the events behind it. A session that is lost ends below all of the next one. */
static struct tg_redis_id id_of_marker(const struct tg_stored *marker, struct tg_redis_id next)
{
  struct tg_redis_id id = id_in_lane(marker);
  bool ends = false;
  if (marker->marker == TG_MARKER_GAP) {
    uint64_t to = number_of(marker->message, "to");
    ends = to == 0 && ends_session(marker->message);
    if (to > 0)
      id.sequence = to;
    else if (!ends && next.epoch == id.epoch)
      id.sequence = next.sequence - 1;
  }
  if (ends)
    id = (struct tg_redis_id){id.epoch + 1, 0};
  if (tg_redis_id_is_none(next) || tg_redis_id_compare(id, next) < 0)
    return id;
  return next.sequence > 0 ? (struct tg_redis_id){next.epoch, next.sequence - 1} : (struct tg_redis_id){0, 0};
}

/* Of the next event that has a message. */
static struct tg_redis_id next_event(const struct tg_redis_batch *batch, int i)
{
  for (i++; i < batch->count; i++)
    if (batch->events[i].marker == TG_MARKER_NONE)
      return id_in_lane(&batch->events[i]);
  return batch->next;
}

static struct tg_redis_id id_of(const struct tg_redis_batch *batch, int i)
{
  const struct tg_stored *event = &batch->events[i];
  return event->marker == TG_MARKER_NONE ? id_in_lane(event) : id_of_marker(event, next_event(batch, i));
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_name(struct tg_buf *out, const struct tg_redis_place *place, const struct tg_stored *event)
{
  char key[TG_PARCEL_KEY_MAX];
  tg_resp_string(out, "shard");
  tg_resp_number(out, place->shard_id);
  tg_redis_put(out, "key", (struct tg_span){key, tg_redis_key_write(key, place, event)});
}

static void put_event(struct tg_buf *out, const struct tg_redis_place *place, const struct tg_stored *event)
{
  char name[256], guild[TG_REDIS_NUMBER_MAX], *end = guild;
  struct tg_envelope envelope;
  struct tg_event whole = {.type = event->type};
  uint64_t guild_id;
  if (!tg_envelope_scan(event->message.at, event->message.length, &envelope))
    envelope = (struct tg_envelope){0};
  whole.data = envelope.data.at ? envelope.data : (struct tg_span){"null", 4};
  if (tg_event_guild_id(&whole, &guild_id))
    end = tg_redis_number_write(guild, guild_id);
  tg_redis_put(out, "t", tg_envelope_name(&envelope, name, sizeof name));
  tg_redis_put(out, "g", (struct tg_span){guild, (size_t)(end - guild)});
  tg_redis_put(out, "d", whole.data);
  put_name(out, place, event);
  if (event->guild_create != TG_GUILD_NONE)
    tg_redis_put_text(out, "guildCreate", tg_guild_create_name(event->guild_create));
  if (event->deferred)
    tg_redis_put_text(out, "deferred", "1");
  if (place->late)
    tg_redis_put_text(out, "late", "1");
}

static void put_marker(struct tg_buf *out, const struct tg_redis_place *place, const struct tg_stored *event)
{
  tg_redis_put_text(out, "marker", event->marker == TG_MARKER_GAP ? "gap" : "resharding");
  tg_redis_put(out, "d", event->message);
  put_name(out, place, event);
  if (place->late)
    tg_redis_put_text(out, "late", "1");
}

static int fields_of(const struct tg_redis_place *place, const struct tg_stored *event)
{
  if (event->marker != TG_MARKER_NONE)
    return 4 + place->late;
  return 5 + (event->guild_create != TG_GUILD_NONE) + event->deferred + place->late;
}

/* Where there are groups of consumers, nothing goes that they have not acknowledged (redis_stream.h). */
static void put_xadd(struct tg_buf *out, const struct tg_redis_place *place, const struct tg_stored *event,
                     struct tg_redis_id id)
{
  char text[TG_REDIS_ID_SIZE];
  bool trims = place->stream->groups == 0;
  tg_resp_begin(out, 3 + (trims ? 3 : 0) + 2 * fields_of(place, event));
  tg_resp_string(out, "XADD");
  tg_resp_string(out, place->stream->key);
  if (trims) {
    tg_resp_string(out, "MAXLEN");
    tg_resp_string(out, "~");
    tg_resp_number(out, place->config->max_length);
  }
  if (place->late)
    tg_resp_string(out, "*");
  else
    tg_resp_text(out, text, (size_t)tg_redis_id_write(text, id));
  if (event->marker == TG_MARKER_NONE)
    put_event(out, place, event);
  else
    put_marker(out, place, event);
}

static int count_new(const struct tg_redis_place *place, const struct tg_redis_batch *batch)
{
  struct tg_redis_id last = place->last;
  int count = 0;
  if (place->late)
    return batch->count;
  for (int i = 0; i < batch->count; i++) {
    struct tg_redis_id id = id_of(batch, i);
    if (tg_redis_id_compare(id, last) <= 0)
      continue;
    last = id;
    count++;
  }
  return count;
}

/* MULTI, XADD ..., EXEC; XADD alone; or PING where all is there, since somebody waits for an answer. Behind
 * it WAIT, which also tells of what earlier connections have written. */
static int write_batch(struct tg_redis_place *place, const struct tg_redis_batch *batch, struct tg_buf *out)
{
  int count = count_new(place, batch), replies = count;
  place->writing = place->last;
  place->replicas = place->config->replicas;
  if (count == 0) {
    tg_redis_put_word(out, "PING");
    replies = 1;
  }
  if (count > 1) {
    tg_redis_put_word(out, "MULTI");
    replies += 2;
  }
  for (int i = 0; i < batch->count; i++) {
    struct tg_redis_id id = id_of(batch, i);
    if (!place->late && tg_redis_id_compare(id, place->writing) <= 0)
      continue;
    put_xadd(out, place, &batch->events[i], id);
    if (!place->late)
      place->writing = id;
  }
  if (count > 1)
    tg_redis_put_word(out, "EXEC");
  if (place->replicas > 0) {
    tg_redis_put_wait(out, place);
    replies++;
  }
  return replies;
}

/* --- asking ---------------------------------------------------------------------------------- */

static bool is_full(const struct tg_redis_place *place)
{
  return tg_redis_stream_is_full(place->stream, place->config->max_length);
}

/* The first time on a connection in a transaction: where MULTI is not allowed, the events of a batch would be
 * taken and refused one by one. */
static int ask(struct tg_redis_place *place, const struct tg_redis_batch *batch, struct tg_buf *out)
{
  bool first = !place->listed;
  (void)batch;
  if (place->asked && !is_full(place))
    return 0;
  if (first) {
    tg_redis_put_word(out, "MULTI");
    tg_redis_put_command(out, (const char *[]){"SADD", place->stream->set, place->stream->key}, 3);
  }
  tg_redis_put_command(out, (const char *[]){"XINFO", "STREAM", place->stream->key}, 3);
  if (first)
    tg_redis_put_word(out, "EXEC");
  return first ? 4 : 1;
}

static bool take_info(struct tg_redis_place *place, const struct tg_redis_reply *info)
{
  const struct tg_redis_reply *last = tg_redis_info(info, "last-generated-id");
  const struct tg_redis_reply *length = tg_redis_info(info, "length"),
                              *groups = tg_redis_info(info, "groups");
  if (!last || !length || !groups || !tg_redis_id_read(last->text, &place->last))
    return false;
  place->stream->length = (uint64_t)length->integer;
  place->stream->groups = (uint64_t)groups->integer;
  return true;
}

static enum tg_redis_step hold_for_conflict(struct tg_redis_place *place, struct tg_answer *answer)
{
  char last[TG_REDIS_ID_SIZE];
  tg_redis_id_write(last, place->last);
  place->asked = false;
  answer->outcome = TG_OUTCOME_SLOW_DOWN;
  answer->retry_after = tg_patience(TG_REDIS_HOLD_DELAY);
  answer->advice =
      "stop the other gateway, or give this sink another prefix; if nobody else writes there, the state "
      "directory is an older one: rename or delete the stream";
  tg_fail(&answer->error, "conflict",
          "the stream %s ends at %s, of a later session than this gateway has had (%" PRIu64
          "): somebody else writes to it",
          place->stream->key, last, place->epoch);
  return TG_REDIS_HOLD;
}

static enum tg_redis_step tell_loss(struct tg_redis_place *place, struct tg_answer *answer)
{
  char last[TG_REDIS_ID_SIZE], accepted[TG_REDIS_ID_SIZE];
  tg_redis_id_write(last, place->last);
  tg_redis_id_write(accepted, place->accepted);
  answer->outcome = TG_OUTCOME_CANCELLED;
  tg_fail(&answer->error, "lost", "the stream %s ends at %s, and has taken events up to %s",
          place->stream->key, last, accepted);
  place->accepted = place->last;
  return TG_REDIS_LOST;
}

/* A marker of a lost session has the next epoch, which may not have begun. */
static bool is_of_others(const struct tg_redis_place *place)
{
  if (place->last.epoch <= place->epoch)
    return false;
  return place->last.epoch > place->epoch + 1 || place->last.sequence > 0;
}

static enum tg_redis_step learn(struct tg_redis_place *place, const struct tg_redis_batch *batch,
                                const struct tg_redis_reply *replies, int count, struct tg_answer *answer)
{
  const struct tg_redis_reply *info = &replies[count - 1];
  const struct tg_redis_reply *error = count > 1 ? tg_redis_error_in(replies, count) : NULL;
  (void)batch;
  if (count > 1 && !error && info->kind == TG_REDIS_ARRAY && info->count == 2) {
    error = tg_redis_error_in(info->items, 1);
    info = &info->items[1];
    place->listed = !error;
  }
  if (!error && info->kind == TG_REDIS_ERROR && !tg_redis_is_no_key(info))
    error = info;
  if (error)
    return tg_redis_layout_refuse(place, answer, error->text);
  if (info->kind == TG_REDIS_ERROR) {
    place->last = (struct tg_redis_id){0, 0};
    place->stream->length = place->stream->groups = 0;
  } else if (!take_info(place, info)) {
    return tg_redis_layout_refuse(place, answer,
                                  (struct tg_span){"ERR syntax error: not what XINFO STREAM answers", 47});
  }
  place->asked = true;
  if (!place->late && is_of_others(place))
    return hold_for_conflict(place, answer);
  if (tg_redis_id_compare(place->last, place->accepted) < 0)
    return tell_loss(place, answer);
  if (!is_full(place))
    return TG_REDIS_WRITE;
  answer->outcome = TG_OUTCOME_SLOW_DOWN;
  answer->retry_after = tg_patience(TG_REDIS_FULL_DELAY);
  tg_fail(&answer->error, "full",
          "the stream %s has max_length entries that its groups have not acknowledged", place->stream->key);
  return TG_REDIS_FULL;
}

/* --- replies to a batch ------------------------------------------------------------------------ */

static enum tg_redis_step judge(struct tg_redis_place *place, const struct tg_redis_reply *replies, int count,
                                struct tg_answer *answer)
{
  const struct tg_redis_reply *wait = place->replicas > 0 ? &replies[--count] : NULL;
  const struct tg_redis_reply *exec = &replies[count - 1], *error = tg_redis_error_in(replies, count);
  if (!error && exec->kind == TG_REDIS_ARRAY)
    error = tg_redis_error_in(exec->items, (int)exec->count);
  if (error && tg_redis_is_repeat(error->text)) { /* somebody has written since it was asked */
    place->asked = false;
    return TG_REDIS_ASK;
  }
  if (error || exec->kind == TG_REDIS_NIL)
    return tg_redis_layout_refuse(place, answer,
                                  error ? error->text : (struct tg_span){"ERR EXEC gave nothing", 21});
  place->stream->length += count > 1 ? (uint64_t)count - 2 : exec->kind == TG_REDIS_TEXT;
  place->last = place->writing;
  if (wait && (wait->kind != TG_REDIS_INTEGER || wait->integer < place->replicas))
    return tg_redis_wait_for_replicas(place, wait, answer);
  if (!place->late)
    place->accepted = place->last;
  answer->outcome = TG_OUTCOME_DELIVERED;
  return TG_REDIS_END;
}

const struct tg_redis_layout_kind tg_redis_own_layout = {ask, learn, write_batch, judge};
