#include "delivery/delivery_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WAITING_MAX = 1000 /* calls, for one event handler */ };

/* The default of gateway.delivery:deliver, called by a script: the events are its
 * own copies, and no lane knows of it. A post takes a place in the window of its
 * event handler, as a lane would, or the place that its lane has; but it does not
 * wait for a handler that is down: that is for the script to decide. */
struct tg_post {
  struct tg_post *next;
  TAILQ_ENTRY(tg_post) link; /* while `waits` */
  struct tg_delivery *delivery;
  struct tg_handler *handler; /* which has a request of ours in flight, or for which it waits */
  struct tg_lane *lane;
  bool waits;         /* for room in the handler's window */
  bool is_nested;     /* called by the script's deliver: what is in flight is in flight for the lane */
  struct tg_buf text; /* the bodies, one behind the other */
  struct part {
    size_t at, length; /* in text */
    uint64_t epoch;
    struct tg_batch_end name;
  } * parts;
  int count;
  int sent, sending;  /* events that are accepted, and that are in flight behind them */
  struct tg_buf body; /* in flight */
  uint64_t request;
  tg_posted *done;
  void *ctx;
};

void tg_event_write_body(const struct tg_event *event, struct tg_buf *body)
{
  struct tg_span message = tg_event_message(event);
  const char *kind = tg_guild_create_name(event->guild_create);
  if (event->body.at && !event->replacement.at) {
    tg_buf_append(body, event->body.at, event->body.length);
    return;
  }
  tg_buf_printf(body, "{\"shardId\":%d,\"epoch\":%llu,\"message\":", event->shard_id,
                (unsigned long long)event->epoch);
  tg_buf_append(body, message.at, message.length);
  if (kind)
    tg_buf_printf(body, ",\"guildCreate\":\"%s\"", kind);
  tg_buf_puts(body, "}");
}

static void free_post(struct tg_post *post)
{
  struct tg_post **at = &post->delivery->posts;
  while (*at != post)
    at = &(*at)->next;
  *at = post->next;
  if (post->waits)
    TAILQ_REMOVE(&post->handler->posts, post, link);
  tg_buf_free(&post->text);
  tg_buf_free(&post->body);
  free(post->parts);
  free(post);
}

static void send_chunk(struct tg_post *post);

static void finish(struct tg_post *post, const struct tg_http_response *response)
{
  tg_posted *done = post->done;
  void *ctx = post->ctx;
  int delivered = post->sent;
  bool all = delivered == post->count;
  free_post(post);
  done(ctx, all ? NULL : response, delivered);
}

static void fail_unavailable(struct tg_http_response *response)
{
  *response = (struct tg_http_response){.retry_after = -1};
  tg_fail(&response->error, "unavailable", "there are no event_handler.urls");
}

static bool can_send(const struct tg_lane *lane)
{
  return lane->handler && !lane->handler->is_script && !lane->delivery->env.stopping;
}

/* No request of it is in flight any more. */
static void leave_handler(struct tg_post *post)
{
  struct tg_handler *handler = post->handler;
  post->request = 0;
  if (!post->is_nested) {
    tg_handler_release(handler);
    return;
  }
  handler->nested--;
  if (handler->retired)
    tg_handler_retire(handler);
}

static void send_or_wait(struct tg_post *post);

static void on_answer(void *ctx, const struct tg_http_response *response)
{
  struct tg_post *post = ctx;
  struct tg_handler *handler = post->handler;
  struct tg_judgement judgement = tg_judgement_of(handler, response, false);
  bool accepted = judgement.outcome == TG_OUTCOME_DELIVERED;
  tg_judgement_count(&judgement);
  if (accepted)
    tg_batch_grow(handler, post->body.length);
  else if (response->status == TG_TOO_LARGE && post->sending > 1)
    handler->batch_bytes = post->body.length / 2;
  bool is_up =
      accepted || judgement.outcome == TG_OUTCOME_REFUSED || judgement.outcome == TG_OUTCOME_SLOW_DOWN;
  if (handler->circuit.state == TG_CIRCUIT_OPEN && is_up && !post->is_nested)
    handler->circuit.state = TG_CIRCUIT_HALF_OPEN; /* the script has not waited, and was right */
  tg_judgement_teach(&judgement, post->sending, -1);
  leave_handler(post);
  if (accepted)
    post->sent += post->sending;
  if (accepted && post->sent < post->count && can_send(post->lane))
    send_or_wait(post);
  else
    finish(post, response);
  if (!handler->retired)
    tg_handler_pump(handler);
}

/* As tg_batch_choose() does. */
static int choose(const struct tg_post *post)
{
  const struct part *first = &post->parts[post->sent];
  size_t bytes = first->length;
  int count = 1;
  if (!post->delivery->env.config->event_handler.batch)
    return 1;
  for (; post->sent + count < post->count && count < TG_BATCH_EVENTS; count++) {
    bytes += first[count].length + 1;
    if (bytes + 1 > post->handler->batch_bytes || first[count].epoch != first->epoch)
      break;
  }
  return count;
}

static void send_chunk(struct tg_post *post)
{
  const struct part *first = &post->parts[post->sent];
  bool batch = post->delivery->env.config->event_handler.batch;
  char key[TG_BATCH_KEY];
  post->sending = choose(post);
  tg_batch_key_of(key, post->lane->shard_id, first->epoch, first->name, first[post->sending - 1].name);
  tg_buf_reset(&post->body, 0);
  for (int i = 0; i < post->sending; i++) {
    if (batch)
      tg_buf_puts(&post->body, i == 0 ? "[" : ",");
    tg_buf_append(&post->body, post->text.data + first[i].at, first[i].length);
  }
  if (batch)
    tg_buf_puts(&post->body, "]");
  if (post->is_nested)
    post->handler->nested++;
  else
    tg_handler_in_flight(post->handler, 1);
  post->request = tg_handler_post(post->handler, key, (struct tg_span){post->body.data, post->body.length},
                                  on_answer, post);
}

static void send_or_wait(struct tg_post *post)
{
  post->handler = post->lane->handler;
  post->is_nested = tg_scripted_posts(post->lane) && post->lane->sending == post->handler;
  post->waits = !post->is_nested && !tg_handler_has_room(post->handler);
  if (post->waits)
    TAILQ_INSERT_TAIL(&post->handler->posts, post, link);
  else
    send_chunk(post);
}

static struct tg_post *take_waiting(struct tg_handler *handler)
{
  struct tg_post *post = TAILQ_FIRST(&handler->posts);
  TAILQ_REMOVE(&handler->posts, post, link);
  post->waits = false;
  return post;
}

void tg_posts_pump(struct tg_handler *handler)
{
  while (!TAILQ_EMPTY(&handler->posts) && tg_handler_has_room(handler))
    send_chunk(take_waiting(handler));
}

void tg_posts_close(struct tg_handler *handler)
{
  while (!TAILQ_EMPTY(&handler->posts)) {
    struct tg_post *post = take_waiting(handler);
    if (can_send(post->lane) && post->lane->handler != handler) {
      send_or_wait(post);
    } else {
      struct tg_http_response response;
      fail_unavailable(&response);
      finish(post, &response);
    }
  }
}

/* Nobody but the script knows how many there will be, and each has its events in it. */
static bool too_many_wait(const struct tg_handler *handler)
{
  int waiting = 0;
  const struct tg_post *post;
  TAILQ_FOREACH(post, &handler->posts, link)
  waiting++;
  return waiting >= WAITING_MAX;
}

struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const struct tg_event *events, int count,
                                 tg_posted *done, void *ctx)
{
  struct tg_lane *lane = count > 0 ? tg_lane_of(delivery, events[0].shard_id) : NULL;
  struct tg_http_response response;
  if (!lane || !can_send(lane)) {
    fail_unavailable(&response);
    done(ctx, lane ? &response : NULL, 0);
    return NULL;
  }
  if (too_many_wait(lane->handler)) {
    response = (struct tg_http_response){.retry_after = -1};
    tg_fail(&response.error, "queue_full", "%s: %d calls of deliver wait for it already",
            lane->handler->public_url, WAITING_MAX);
    done(ctx, &response, 0);
    return NULL;
  }
  struct tg_post *post = tg_calloc(1, sizeof *post);
  post->delivery = delivery;
  post->lane = lane;
  post->done = done;
  post->ctx = ctx;
  post->count = count;
  post->parts = tg_calloc((size_t)count, sizeof post->parts[0]);
  for (int i = 0; i < count; i++) {
    size_t at = post->text.length;
    tg_event_write_body(&events[i], &post->text);
    post->parts[i] = (struct part){
        .at = at,
        .length = post->text.length - at,
        .epoch = events[i].epoch,
        .name = {events[i].sequence, events[i].marker},
    };
  }
  post->next = delivery->posts;
  delivery->posts = post;
  send_or_wait(post);
  return post;
}

void tg_delivery_cancel_post(struct tg_post *post)
{
  if (!post->waits) {
    tg_http_cancel(post->delivery->http, post->request);
    leave_handler(post);
  }
  free_post(post);
}

void tg_posts_free(struct tg_delivery *delivery)
{
  while (delivery->posts)
    tg_delivery_cancel_post(delivery->posts);
}
