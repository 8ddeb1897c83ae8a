#include "base/buf.h"
#include "base/utf8.h"
#include "config/sink_values.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/dead_files.h"
#include "delivery/sinks/dead_letter.h"
#include "delivery/sinks/sender.h"
#include "proto/envelope.h"
#include "proto/event_types.h"

#include <stdlib.h>
#include <string.h>

/* A dead letter that somebody wants to be sent again. It goes beside the lanes, and without a place in any
 * queue: once, whether the handler is up or not, by the script's deliver if there is one. Its body says
 * "late": others of its shard have gone before it. Its key is the one that it has always had. */
struct tg_letter {
  struct tg_parcel parcel;
  LIST_ENTRY(tg_letter) link;
  char *state_dir;
  struct tg_dead_place place;
  struct tg_buf line; /* holds the message */
  struct tg_stored event;
  struct tg_span name; /* of its type */
  tg_ms at;            /* uv_now() */
  tg_letter_done *done;
  void *ctx;
};

static void free_letter(struct tg_letter *letter)
{
  if (letter->parcel.lane)
    LIST_REMOVE(letter, link);
  tg_buf_free(&letter->line);
  free(letter->state_dir);
  free(letter);
}

static void finish(struct tg_letter *letter, const struct tg_letter_result *result)
{
  tg_letter_done *done = letter->done;
  void *ctx = letter->ctx;
  free_letter(letter);
  done(ctx, result);
}

static void refuse(struct tg_letter *letter, const struct tg_error *error)
{
  struct tg_letter_result result = {.outcome = TG_OUTCOME_RETRY, .error = *error};
  finish(letter, &result);
}

/* --- what it was made of ------------------------------------------------------------------ */

/* A marker stands in its letter as its whole body. */
static bool read_marker(struct tg_stored *event)
{
  struct tg_span body = event->message, tells;
  for (int marker = TG_MARKER_GAP; marker <= TG_MARKER_HANDOVER; marker++)
    if (tg_json_member(body, tg_marker_key((enum tg_marker)marker), &tells)) {
      event->marker = (enum tg_marker)marker;
      event->message = tells;
      int other;
      return marker != TG_MARKER_HANDOVER || tg_handover_other(tells, event->total_shards, &other);
    }
  return false;
}

static enum tg_guild_create kind_of(struct tg_span name)
{
  for (int kind = TG_GUILD_LOADING; kind <= TG_GUILD_AVAILABLE; kind++) {
    const char *known = tg_guild_create_name((enum tg_guild_create)kind);
    if (name.at && strlen(known) == name.length && memcmp(known, name.at, name.length) == 0)
      return (enum tg_guild_create)kind;
  }
  return TG_GUILD_NONE;
}

static bool read_letter(struct tg_letter *letter, const struct tg_dead_line *line)
{
  const char *end = tg_json_skip_value(line->event.at, line->event.at + line->event.length);
  letter->name = line->type;
  letter->event = (struct tg_stored){
      .shard_id = line->shard_id,
      .total_shards = line->total_shards,
      .epoch = line->epoch,
      .sequence = line->sequence,
      .type = tg_event_type(line->type.at, line->type.length),
      .guild_create = kind_of(line->guild_create),
      .deferred = line->deferred,
      .late = true,
      .message = {line->event.at, end ? (size_t)(end - line->event.at) : 0},
  };
  bool is_event = letter->event.message.length > 0 && *letter->event.message.at == '{';
  return is_event && line->shard_id <= TG_REF_ID_MASK && (!line->marker || read_marker(&letter->event));
}

/* --- its way ------------------------------------------------------------------------------ */

static bool prepare(struct tg_parcel *parcel)
{
  const struct tg_letter *letter = (const struct tg_letter *)parcel;
  struct tg_parcel_end only = tg_parcel_end(&letter->event);
  tg_parcel_name(parcel, letter->event.epoch, only, only, 1, tg_body_length(&letter->event));
  return true;
}

static void write_body(struct tg_parcel *parcel)
{
  const struct tg_letter *letter = (const struct tg_letter *)parcel;
  tg_parcel_put(parcel, &letter->event, letter->at);
}

static void show(const struct tg_parcel *parcel, struct tg_event *event, char (*texts)[TG_MARKER_MAX])
{
  const struct tg_letter *letter = (const struct tg_letter *)parcel;
  const struct tg_stored *stored = &letter->event;
  const struct tg_lanes *lanes = parcel->lane->lanes;
  struct tg_envelope envelope;
  *event = (struct tg_event){
      .type = stored->type,
      .shard_id = stored->shard_id,
      .total_shards = stored->total_shards,
      .epoch = stored->epoch,
      .sequence = stored->sequence,
      .guild_create = stored->guild_create,
      .marker = stored->marker,
      .deferred = stored->deferred,
      .late = true,
      .left = true,
      .body_format = lanes->index == TG_SINK_BOT ? 0 : (uint8_t)(1 + lanes->handler->format),
      .guild_loaded = lanes->handler->guild_loaded,
      .came_at = letter->at,
      .name = letter->name,
      .raw = stored->message,
      .data = stored->message,
  };
  if (stored->marker) {
    struct tg_buf body = {0};
    tg_body_write(&body, stored);
    event->name = tg_marker_name(stored->marker);
    if (body.length <= TG_MARKER_MAX)
      event->raw = (struct tg_span){memcpy(texts[0], body.data, body.length), body.length};
    tg_buf_free(&body);
  } else if (tg_envelope_scan(stored->message.at, stored->message.length, &envelope)) {
    event->data = envelope.data;
  }
}

/* It may have moved since it was read. */
static bool take_out(struct tg_letter *letter, struct tg_error *error)
{
  size_t removed = 0;
  if (!tg_dead_remove(letter->state_dir, &letter->place, 1, &removed, error))
    return false;
  if (removed > 0)
    return true;
  struct tg_dead_place place = {.number = letter->place.number};
  struct tg_buf line = {0};
  bool found = tg_dead_take(letter->state_dir, &place, &line, error);
  tg_buf_free(&line);
  if (!found)
    return strcmp(error->code, "no_letter") == 0;
  return tg_dead_remove(letter->state_dir, &place, 1, &removed, error);
}

static void on_over(struct tg_parcel *parcel, struct tg_judgement *judgement)
{
  struct tg_letter *letter = (struct tg_letter *)parcel;
  const struct tg_answer *answer = judgement->answer;
  struct tg_strings secrets = tg_config_secrets(parcel->lane->lanes->env->config);
  struct tg_buf said = {0}, text = {0};
  tg_dead_mask(answer->body, &secrets, &said);
  tg_utf8_mend(&text, said.data, tg_utf8_cut(said.data, said.length, TG_DEAD_ANSWER_MAX));
  struct tg_letter_result result = {
      .sent = true,
      .outcome = judgement->outcome,
      .status = answer->status,
      .answer = {text.data ? text.data : "", text.length},
      .bytes = parcel->bytes,
      .error = answer->error,
  };
  tg_judgement_teach(judgement, -1);
  if (result.outcome == TG_OUTCOME_DELIVERED) {
    struct tg_error error = {0};
    result.removed = take_out(letter, &error);
    result.error = error;
  }
  finish(letter, &result);
  tg_buf_free(&said);
  tg_buf_free(&text);
  tg_strings_free(&secrets);
}

/* It never waits. */
static void on_returned(struct tg_parcel *parcel)
{
  (void)parcel;
}

static const struct tg_parcel_owner owner = {
    .prepare = prepare, .write = write_body, .over = on_over, .returned = on_returned, .show = show};

/* --- what the delivery sees ------------------------------------------------------------------ */

const struct tg_stored *tg_letter_event(const struct tg_parcel *parcel)
{
  return &((const struct tg_letter *)parcel)->event;
}

static bool is_possible(struct tg_senders *senders, const struct tg_sender *sender, struct tg_error *error)
{
  const struct tg_lanes *lanes = senders->lanes;
  if (senders->env->stopping)
    return tg_fail(error, "stopping", "the worker is stopping");
  if (!sender)
    return tg_fail(error, "unavailable", "nobody takes events of %s now", lanes->title);
  return true;
}

void tg_letter_start(struct tg_senders *senders, const char *state_dir, const struct tg_dead_place *place,
                     struct tg_buf *line, tg_letter_done *done, void *ctx)
{
  struct tg_letter *letter = tg_calloc(1, sizeof *letter);
  struct tg_dead_line read;
  struct tg_error error = {0};
  letter->state_dir = tg_strdup(state_dir);
  letter->place = *place;
  letter->line = *line;
  letter->at = tg_env_now(senders->env);
  letter->done = done;
  letter->ctx = ctx;
  *line = (struct tg_buf){0};
  if (!tg_dead_line_read((struct tg_span){letter->line.data, letter->line.length}, &read) ||
      !read_letter(letter, &read))
    tg_fail(&error, "no_event", "there is no event in the letter that could be sent");
  struct tg_sender *sender = tg_senders_of(senders, letter->event.shard_id);
  if (error.code[0] || !is_possible(senders, sender, &error)) {
    refuse(letter, &error);
    return;
  }
  /* What is left of a shard has a lane, whoever has the shard now; nothing of it is counted where it has no
   * events. */
  tg_shard_ref ref = tg_ref_left(tg_ref_of(letter->event.shard_id, 0));
  letter->parcel =
      (struct tg_parcel){.owner = &owner, .lane = tg_lane_of(senders->lanes, ref), .way = TG_WAY_LETTER};
  LIST_INSERT_HEAD(&senders->letters, letter, link);
  tg_sender_send(sender, &letter->parcel);
}

bool tg_letter_at_script(const struct tg_senders *senders, tg_shard_ref ref)
{
  const struct tg_letter *letter;
  LIST_FOREACH(letter, &senders->letters, link)
  {
    if (letter->parcel.lane->feed->ref == ref && letter->parcel.carrier == senders->script)
      return true;
  }
  return false;
}

void tg_letter_end_all(struct tg_senders *senders)
{
  struct tg_error error;
  tg_fail(&error, "cancelled", "%s is gone, or its worker stops", senders->lanes->title);
  while (!LIST_EMPTY(&senders->letters)) {
    struct tg_letter *letter = LIST_FIRST(&senders->letters);
    tg_sender_withdraw(&letter->parcel);
    refuse(letter, &error);
  }
}
