#include "delivery/delivery_internal.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The default of gateway.delivery:deliver, called by a script: the events are its
 * own copies, and no lane knows of it. */
struct tg_post {
  struct tg_post *next;
  struct tg_delivery *delivery;
  struct tg_handler *handler; /* which has a request of ours in flight */
  struct tg_lane *lane;
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
  tg_buf_free(&post->text);
  tg_buf_free(&post->body);
  free(post->parts);
  free(post);
}

/* The script drains a queue by itself: the handler learns here how it is. When
 * the script's deliver calls the default, the lane tells it. */
static void note(struct tg_post *post, const struct tg_http_response *response, enum tg_outcome outcome)
{
  struct tg_handler *handler = post->handler;
  char reason[TG_ERROR_MESSAGE_SIZE];
  if (post->lane->sending)
    return;
  if (outcome == TG_OUTCOME_DELIVERED || outcome == TG_OUTCOME_REFUSED || outcome == TG_OUTCOME_SLOW_DOWN) {
    if (handler->circuit.state == TG_CIRCUIT_OPEN) /* the script has not waited, and was right */
      handler->circuit.state = TG_CIRCUIT_HALF_OPEN;
    tg_handler_succeeded(handler);
    return;
  }
  if (response->status)
    snprintf(reason, sizeof reason, "it answered %ld", response->status);
  else
    snprintf(reason, sizeof reason, "%s", response->error.message);
  tg_ms wait = tg_circuit_wait(&handler->circuit, tg_random_unit());
  tg_handler_failed(handler, tg_retry_after(response->retry_after, wait), outcome, reason,
                    tg_outcome_advice(response->status, response->error.code));
}

static void send_chunk(struct tg_post *post);

static void on_answer(void *ctx, const struct tg_http_response *response)
{
  struct tg_post *post = ctx;
  enum tg_outcome outcome = tg_judge(post->delivery, response);
  if (outcome != TG_OUTCOME_CANCELLED)
    note(post, response, outcome);
  tg_handler_release(post->handler);
  post->request = 0;
  if (outcome == TG_OUTCOME_DELIVERED) {
    post->sent += post->sending;
    if (post->sent < post->count && post->lane->handler && !post->delivery->stopping) {
      send_chunk(post);
      return;
    }
  }
  tg_posted *done = post->done;
  void *done_ctx = post->ctx;
  int delivered = post->sent;
  bool all = delivered == post->count;
  free_post(post);
  done(done_ctx, all ? NULL : response, delivered);
}

/* As tg_batch_choose() does. */
static int choose(const struct tg_post *post)
{
  const struct part *first = &post->parts[post->sent];
  size_t bytes = first->length;
  int count = 1;
  if (!post->delivery->config->event_handler.batch)
    return 1;
  for (; post->sent + count < post->count && count < TG_BATCH_EVENTS; count++) {
    bytes += first[count].length + 1;
    if (bytes + 1 > TG_BATCH_BYTES || first[count].epoch != first->epoch)
      break;
  }
  return count;
}

static void send_chunk(struct tg_post *post)
{
  const struct part *first = &post->parts[post->sent];
  bool batch = post->delivery->config->event_handler.batch;
  char key[TG_BATCH_KEY];
  post->sending = choose(post);
  post->handler = post->lane->handler;
  tg_batch_key_of(key, post->lane->shard_id, first->epoch, first->name, first[post->sending - 1].name);
  tg_buf_reset(&post->body, 0);
  for (int i = 0; i < post->sending; i++) {
    if (batch)
      tg_buf_puts(&post->body, i == 0 ? "[" : ",");
    tg_buf_append(&post->body, post->text.data + first[i].at, first[i].length);
  }
  if (batch)
    tg_buf_puts(&post->body, "]");
  tg_handler_in_flight(post->handler, 1);
  post->request = tg_handler_post(post->handler, key, (struct tg_span){post->body.data, post->body.length},
                                  on_answer, post);
}

struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const struct tg_event *events, int count,
                                 tg_posted *done, void *ctx)
{
  struct tg_lane *lane = count > 0 ? tg_lane_of(delivery, events[0].shard_id) : NULL;
  if (!lane || !lane->handler || lane->handler->is_script || delivery->stopping) {
    struct tg_http_response response = {.retry_after = -1};
    tg_fail(&response.error, "unavailable", "there are no event_handler.urls");
    done(ctx, lane ? &response : NULL, 0);
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
  send_chunk(post);
  return post;
}

void tg_delivery_cancel_post(struct tg_post *post)
{
  tg_http_cancel(post->delivery->http, post->request);
  tg_handler_release(post->handler);
  free_post(post);
}

void tg_posts_free(struct tg_delivery *delivery)
{
  while (delivery->posts)
    tg_delivery_cancel_post(delivery->posts);
}
