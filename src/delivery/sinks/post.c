#include "config/sink_values.h"
#include "delivery/formats/format.h"
#include "delivery/lanes/batch.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/lane_parcel.h"
#include "delivery/sinks/sender.h"

#include <stdlib.h>

/* For one event handler: nobody but the script knows how many calls there will be, and each has its events
 * in it. */
enum { WAITING_MAX = 1000 };

/* The default of gateway.delivery:deliver, or of a sink's, called by a script: the events are its
 * own copies, and no lane knows of it. A post takes a place in the window of its
 * event handler, as a lane would, or the place that its lane has; but it does not
 * wait for a handler that is down: that is for the script to decide. It goes out in
 * one parcel after the other. */
struct tg_post {
  struct tg_parcel parcel; /* the next one */
  LIST_ENTRY(tg_post) link;
  struct tg_buf text; /* their messages, one behind the other */
  struct part {
    struct tg_stored event;
    tg_ms at; /* uv_now() when it came */
  } * parts;
  int count, sent; /* events: all, and those that are accepted */
  bool waited;     /* for its turn: it may not be sent any more */
  tg_posted *done;
  void *ctx;
};

static void free_post(struct tg_post *post)
{
  LIST_REMOVE(post, link);
  tg_buf_free(&post->text);
  free(post->parts);
  free(post);
}

static void finish(struct tg_post *post, const struct tg_answer *answer)
{
  tg_posted *done = post->done;
  void *ctx = post->ctx;
  int delivered = post->sent;
  bool all = delivered == post->count;
  free_post(post);
  done(ctx, all ? NULL : answer, delivered);
}

/* Its ids follow the queue: what came from elsewhere would have no place among them. */
static bool is_redis(const struct tg_lane *lane)
{
  return tg_sink_kind(lane->lanes->handler) == TG_SINK_REDIS;
}

/* A script that delivers a letter posts what belongs to a shard that may be another host's. */
static bool is_withheld(const struct tg_lane *lane)
{
  return tg_lane_is_withheld(lane) && !tg_letter_at_script(lane->lanes->sink_ctx, lane->feed->ref);
}

static void fail_unavailable(const struct tg_lane *lane, struct tg_answer *answer)
{
  *answer = (struct tg_answer){.outcome = TG_OUTCOME_RETRY, .retry_after = -1};
  if (is_withheld(lane))
    tg_fail(&answer->error, "unavailable",
            "another host has shard %d, or may have it: its events are not "
            "delivered here",
            lane->feed->shard_id);
  else if (lane->lanes->index == TG_SINK_BOT)
    tg_fail(&answer->error, "unavailable", "there are no event_handler.urls");
  else
    tg_fail(&answer->error, "unavailable", "%s %s", lane->lanes->title,
            is_redis(lane) ? "is a Redis, which gets what waits in its queue alone" : "has no url");
}

static bool can_send(const struct tg_lane *lane)
{
  return lane->sender && lane->sender->direct && !is_redis(lane) && !lane->lanes->env->stopping &&
         !is_withheld(lane);
}

/* What the script was given to deliver, and posts; NULL: it does so by itself. */
static struct tg_parcel *delivered_by_script(const struct tg_post *post)
{
  struct tg_lane *lane = post->parcel.lane;
  const struct tg_stored *event = &post->parts[post->sent].event;
  struct tg_parcel *parcel = tg_lane_parcel_of(lane, event->epoch, event->sequence);
  return parcel && parcel->carrier == lane->sender->all->script ? parcel : NULL;
}

static void send_or_wait(struct tg_post *post)
{
  struct tg_parcel *parcel = &post->parcel, *of_lane = delivered_by_script(post);
  struct tg_sender *sender = parcel->lane->sender;
  if (of_lane)
    of_lane->posted = true;
  parcel->way = of_lane && of_lane->sender == sender ? TG_WAY_NESTED : TG_WAY_POST;
  post->waited = parcel->way != TG_WAY_NESTED && !tg_sender_has_room(sender);
  if (post->waited)
    tg_sender_queue(sender, parcel);
  else
    tg_sender_send(sender, parcel);
}

static void give_up(struct tg_post *post)
{
  struct tg_answer answer;
  fail_unavailable(post->parcel.lane, &answer);
  finish(post, &answer);
}

/* --- what its parcels are ------------------------------------------------------------ */

/* As tg_batch_lend() does. */
static bool prepare(struct tg_parcel *parcel)
{
  struct tg_post *post = (struct tg_post *)parcel;
  if (post->waited && is_withheld(parcel->lane)) {
    give_up(post);
    return false;
  }
  const struct part *first = &post->parts[post->sent], *next = first + 1;
  const struct part *end = post->parts + post->count;
  const struct tg_handler_config *handler = parcel->lane->lanes->handler;
  size_t bytes = tg_body_length(&first->event), growth = tg_format_growth(handler->format) + 1;
  if (handler->batch.events == 0)
    end = next;
  else if (end - first > handler->batch.events)
    end = first + handler->batch.events;
  size_t most = tg_sender_batch_bytes(parcel->lane->sender);
  for (size_t length; next < end && next->event.epoch == first->event.epoch; next++, bytes += length) {
    length = tg_body_length(&next->event);
    if (bytes + length + (size_t)(next - first + 1) * growth + 1 > most)
      break;
  }
  tg_parcel_name(parcel, first->event.epoch, tg_parcel_end(&first->event), tg_parcel_end(&next[-1].event),
                 (int)(next - first), bytes);
  return true;
}

static void write_body(struct tg_parcel *parcel)
{
  const struct tg_post *post = (const struct tg_post *)parcel;
  const struct part *part = &post->parts[post->sent];
  for (int i = 0; i < parcel->count; i++, part++)
    tg_parcel_put(parcel, &part->event, part->at);
}

static void on_over(struct tg_parcel *parcel, struct tg_judgement *judgement)
{
  struct tg_post *post = (struct tg_post *)parcel;
  bool accepted = judgement->outcome == TG_OUTCOME_DELIVERED;
  tg_judgement_teach(judgement, -1);
  if (accepted)
    post->sent += parcel->count;
  if (accepted && post->sent < post->count && can_send(parcel->lane))
    send_or_wait(post);
  else if (accepted && post->sent < post->count)
    give_up(post);
  else
    finish(post, judgement->answer);
}

/* Another sender may have come for it. */
static void on_returned(struct tg_parcel *parcel)
{
  if (can_send(parcel->lane) && !parcel->lane->sender->retired)
    send_or_wait((struct tg_post *)parcel);
  else
    give_up((struct tg_post *)parcel);
}

static const struct tg_parcel_owner owner = {
    .prepare = prepare, .write = write_body, .over = on_over, .returned = on_returned};

/* --- what scripts see ------------------------------------------------------------------ */

static void copy_events(struct tg_post *post, const struct tg_event *events, tg_ms now)
{
  post->parts = tg_calloc((size_t)post->count, sizeof post->parts[0]);
  for (int i = 0; i < post->count; i++) {
    post->parts[i] = (struct part){tg_event_stored(&events[i]), events[i].came_at ? events[i].came_at : now};
    tg_buf_append(&post->text, post->parts[i].event.message.at, post->parts[i].event.message.length);
  }
  const char *at = post->text.data; /* where they stay from now on */
  for (int i = 0; i < post->count; i++) {
    post->parts[i].event.message.at = at;
    at += post->parts[i].event.message.length;
  }
}

struct tg_post *tg_post_start(struct tg_lane *lane, const struct tg_event *events, int count, tg_posted *done,
                              void *ctx)
{
  struct tg_answer answer = {.outcome = TG_OUTCOME_RETRY, .retry_after = -1};
  if (!can_send(lane)) {
    fail_unavailable(lane, &answer);
    done(ctx, &answer, 0);
    return NULL;
  }
  if (lane->sender->waiting_count[TG_WAY_POST] >= WAITING_MAX) {
    tg_fail(&answer.error, "queue_full", "%s: %d calls of deliver wait for it already",
            lane->sender->public_url, WAITING_MAX);
    done(ctx, &answer, 0);
    return NULL;
  }
  struct tg_post *post = tg_calloc(1, sizeof *post);
  post->parcel = (struct tg_parcel){.owner = &owner, .lane = lane};
  post->done = done;
  post->ctx = ctx;
  post->count = count;
  copy_events(post, events, tg_env_now(lane->lanes->env));
  LIST_INSERT_HEAD(&lane->sender->all->posts, post, link);
  send_or_wait(post);
  return post;
}

void tg_post_cancel(struct tg_post *post)
{
  tg_sender_withdraw(&post->parcel);
  free_post(post);
}

void tg_posts_free(struct tg_senders *senders)
{
  while (!LIST_EMPTY(&senders->posts))
    tg_post_cancel(LIST_FIRST(&senders->posts));
}

/* --- a lane that is to send nothing any more ------------------------------------------------- */

static struct tg_post *find_post(const struct tg_lane *lane)
{
  struct tg_post *post;
  const struct tg_senders *senders = lane->lanes->sink_ctx;
  LIST_FOREACH(post, &senders->posts, link)
  {
    if (post->parcel.lane == lane)
      return post;
  }
  return NULL;
}

bool tg_posts_busy(const struct tg_lane *lane)
{
  return find_post(lane) != NULL;
}

/* Whoever is told may post again, which fails at once. */
void tg_posts_stop(struct tg_lane *lane)
{
  struct tg_post *post;
  while ((post = find_post(lane)) != NULL) {
    tg_sender_withdraw(&post->parcel);
    give_up(post);
  }
}
