#include "manager/identify/slots_client.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/url_parts.h"
#include "manager/identify/broker_client.h"
#include "net/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  REQUEST_TIMEOUT = 5000, /* ms, beside what the broker was asked to wait */
  BODY_MAX = 16 * 1024,
  SAY_AGAIN = 60000, /* ms after which the log says once more that the broker is away */
};

struct slot_request {
  struct slot_request *next;
  struct tg_slots_client *owner;
  struct tg_broker_message message;
  uint64_t id;
  char *body;
};

struct tg_slots_client {
  const struct tg_manager_env *env;
  struct tg_scheduler *scheduler;
  const struct tg_slots_client_events *events;
  void *ctx;
  struct tg_broker_client *client;
  struct slot_request *requests;
  bool lost; /* it is away, and the log has said so ... */
  tg_ms said_at;
  int said_waiting; /* ... and how many shards wait for it */
};

static char *broker_name(const struct tg_slots_client *client)
{
  return tg_url_public(client->env->config->identify.url);
}

/* ---- requests ---- */

static void free_request(struct slot_request *request)
{
  struct slot_request **at = &request->owner->requests;
  while (*at != request)
    at = &(*at)->next;
  *at = request->next;
  free(request->body);
  free(request);
}

static char *url_of(const struct tg_slots_client *client, int shard_id)
{
  const char *base = client->env->config->identify.url;
  bool socket_alone = strncmp(base, "http+unix:", 10) == 0 && !strchr(base + 10, ':');
  struct tg_buf url = {0};
  tg_buf_printf(&url, "%s%s/identify/%d", base, socket_alone ? ":" : "", shard_id);
  return tg_buf_take(&url);
}

static void on_response(void *ctx, const struct tg_http_response *response);

static void start_request(struct tg_slots_client *client, const struct tg_broker_message *message)
{
  struct slot_request *request = tg_calloc(1, sizeof *request);
  json_t *body = tg_broker_message_write(message);
  *request = (struct slot_request){
      .next = client->requests,
      .owner = client,
      .message = *message,
      .body = json_dumps(body, JSON_COMPACT),
  };
  json_decref(body);
  client->requests = request;
  char *url = url_of(client, message->shard_id);
  struct tg_buf authorization = {0};
  if (client->env->config->identify.authorization)
    tg_buf_printf(&authorization, "Authorization: %s", client->env->config->identify.authorization);
  const char *const headers[] = {
      "Content-Type: application/json",
      authorization.length ? (const char *)authorization.data : NULL,
      NULL,
  };
  const struct tg_http_request wanted = {
      .method = "POST",
      .url = url,
      .headers = headers,
      .body = {request->body, strlen(request->body)},
      .timeout = REQUEST_TIMEOUT + (message->word == TG_WORD_ASK ? message->wait : 0),
      .connect_timeout = REQUEST_TIMEOUT,
      .max_body = BODY_MAX,
  };
  request->id = tg_http_start(client->env->http, &wanted, on_response, request);
  tg_buf_free(&authorization);
  free(url);
}

/* The request of the shard that is under way is void. */
static void cancel_request(struct tg_slots_client *client, int shard_id)
{
  for (struct slot_request *request = client->requests; request; request = request->next) {
    if (request->message.shard_id != shard_id || request->message.word != TG_WORD_ASK)
      continue;
    tg_http_cancel(client->env->http, request->id);
    free_request(request);
    return;
  }
}

/* ---- answers ---- */

static int count_waiting(struct tg_slots_client *client)
{
  int count = 0;
  for (int i = 0; i < client->env->shards.count; i++) {
    enum tg_identify_state state = tg_scheduler_state(client->scheduler, client->env->shards.list[i].ref);
    count += state >= TG_IDENTIFY_QUEUED && state <= TG_IDENTIFY_ASKING;
  }
  return count;
}

static void tell_up(struct tg_slots_client *client, const struct tg_broker_answer *answer, tg_ms now)
{
  char *name = broker_name(client);
  if (client->lost)
    tg_log(TG_INFO, TG_NO_SHARD, "the identify broker, %s, is back after %.1f s: identifies go on", name,
           (double)(now - tg_broker_client_since(client->client)) / 1000);
  else
    tg_log(TG_INFO, TG_NO_SHARD, "identifies are granted by the broker, %s", name);
  if (answer->max_concurrency > 0 && answer->max_concurrency != client->env->info->max_concurrency)
    tg_log(TG_WARN, TG_NO_SHARD,
           "max_concurrency is %d here and %d at the identify broker, whose number decides. Discord may have "
           "changed it: restart the gateway that started before that",
           client->env->info->max_concurrency, answer->max_concurrency);
  client->lost = false;
  free(name);
}

static void tell_trouble(struct tg_slots_client *client, bool refused, const char *why, tg_ms now)
{
  char *name = broker_name(client);
  int waiting = count_waiting(client);
  double pause = (double)(tg_broker_client_next_try(client->client) - now) / 1000;
  if (refused)
    tg_log(TG_ERROR, TG_NO_SHARD,
           "the identify broker, %s, does not serve this gateway: %s. No shard identifies until that is "
           "mended (%d wait%s); sessions that live go on and resume. Asking again in %.1f s",
           name, why, waiting, waiting == 1 ? "s" : "", pause);
  else
    tg_log(TG_WARN, TG_NO_SHARD,
           "the identify broker, %s, is away: %s. No shard identifies meanwhile (%d wait%s); sessions that "
           "live go on and resume. Asking again in %.1f s, then in growing intervals",
           name, why, waiting, waiting == 1 ? "s" : "", pause);
  client->lost = true;
  client->said_at = now;
  client->said_waiting = waiting;
  free(name);
}

static void tell_held_back(struct tg_slots_client *client, tg_ms now)
{
  int waiting = count_waiting(client);
  tg_log(TG_WARN, TG_NO_SHARD,
         "the identify broker holds identifies back: the session starts of the day are used up but for the "
         "reserve (its log says until when). Sessions that live go on and resume; %d shard%s wait%s. Asking "
         "again in %lld s",
         waiting, waiting == 1 ? "" : "s", waiting == 1 ? "s" : "",
         (long long)(tg_broker_client_next_try(client->client) - now + 999) / 1000);
}

static void tell(struct tg_slots_client *client, const struct tg_broker_message *message,
                 enum tg_client_news news, const struct tg_broker_answer *answer, tg_ms now)
{
  switch (news) {
  case TG_CLIENT_CAME_UP:
    tell_up(client, answer, now);
    break;
  case TG_CLIENT_WENT_DOWN:
  case TG_CLIENT_WAS_REFUSED:
    tell_trouble(client, news == TG_CLIENT_WAS_REFUSED, answer->why, now);
    break;
  case TG_CLIENT_STAYS_DOWN:
    if (now - client->said_at >= SAY_AGAIN || (client->said_waiting == 0 && count_waiting(client) > 0))
      tell_trouble(client, false, answer->why, now);
    break;
  case TG_CLIENT_WAS_HELD_BACK:
    tell_held_back(client, now);
    break;
  case TG_CLIENT_SHARD_REFUSED:
    tg_log(TG_ERROR, message->shard_id, "the identify broker refuses: %s", answer->why);
    break;
  case TG_CLIENT_GRANTED:
  case TG_CLIENT_NO_NEWS:
    break;
  }
}

static void use_grant(struct tg_slots_client *client, int shard_id, tg_ms now)
{
  struct tg_managed_shard *shard = tg_shard_set_find(&client->env->shards, shard_id);
  bool asking = tg_scheduler_state(client->scheduler, shard->ref) == TG_IDENTIFY_ASKING &&
                client->events->waits(client->ctx, shard);
  if (!asking || tg_scheduler_busy(client->scheduler, shard->ref, now))
    tg_slots_client_left(client, shard_id);
  else
    client->events->granted(client->ctx, shard, tg_broker_client_deadline(client->client, shard_id));
}

static void on_response(void *ctx, const struct tg_http_response *response)
{
  struct slot_request *request = ctx;
  struct tg_slots_client *client = request->owner;
  const struct tg_broker_message message = request->message;
  struct tg_broker_answer answer;
  json_t *body = response->body.length ? json_loadb(response->body.at, response->body.length, 0, NULL) : NULL;
  tg_broker_answer_read((int)response->status, body, response->retry_after, response->error.message, &answer);
  json_decref(body);
  free_request(request);
  tg_ms now = tg_now();
  enum tg_client_news news = tg_broker_client_answer(client->client, &message, &answer, now);
  tell(client, &message, news, &answer, now);
  if (news == TG_CLIENT_GRANTED)
    use_grant(client, message.shard_id, now);
  client->events->changed(client->ctx);
}

/* ---- what happens to shards ---- */

void tg_slots_client_pump(struct tg_slots_client *client)
{
  tg_ms now = tg_now();
  for (int i = 0; i < client->env->shards.count; i++) {
    const struct tg_managed_shard *shard = &client->env->shards.list[i];
    bool asking = tg_scheduler_state(client->scheduler, shard->ref) == TG_IDENTIFY_ASKING;
    if (asking && tg_scheduler_ripe(client->scheduler, shard->ref, now))
      tg_broker_client_ask(client->client, shard->id, tg_scheduler_priority(client->scheduler, shard->ref));
  }
  struct tg_broker_message message;
  while (tg_broker_client_next(client->client, now, &message))
    start_request(client, &message);
}

void tg_slots_client_left(struct tg_slots_client *client, int shard_id)
{
  if (tg_broker_client_leave(client->client, shard_id, tg_now()))
    cancel_request(client, shard_id);
}

void tg_slots_client_sent(struct tg_slots_client *client, int shard_id)
{
  if (tg_broker_client_deadline(client->client, shard_id) == 0)
    tg_slots_client_left(client, shard_id); /* a script has not waited for the slot */
  tg_broker_client_sent(client->client, shard_id, tg_now());
}

void tg_slots_client_done(struct tg_slots_client *client, int shard_id, bool ready)
{
  tg_broker_client_done(client->client, shard_id, ready, tg_now());
}

void tg_slots_client_gone(struct tg_slots_client *client, int shard_id)
{
  if (tg_broker_client_gone(client->client, shard_id, tg_now()))
    cancel_request(client, shard_id);
}

void tg_slots_client_retry(struct tg_slots_client *client)
{
  tg_broker_client_retry(client->client, tg_now());
  client->events->changed(client->ctx);
}

void tg_slots_client_end(struct tg_slots_client *client)
{
  while (client->requests) {
    tg_http_cancel(client->env->http, client->requests->id);
    free_request(client->requests);
  }
}

/* ---- life ---- */

struct tg_slots_client *tg_slots_client_new(const struct tg_manager_env *env, const char *host,
                                            struct tg_scheduler *scheduler,
                                            const struct tg_slots_client_events *events, void *ctx)
{
  char bot[20];
  snprintf(bot, sizeof bot, "%016" PRIx64, env->bot);
  const struct tg_broker_client_options options = {
      .host = host,
      .bot = bot,
      .first = env->shards.range.first,
      .count = env->shards.count,
      .total_shards = env->shards.range.total,
      .max_concurrency = env->info->max_concurrency,
  };
  struct tg_slots_client *client = tg_calloc(1, sizeof *client);
  *client = (struct tg_slots_client){.env = env, .scheduler = scheduler, .events = events, .ctx = ctx};
  client->client = tg_broker_client_new(&options, tg_now());
  return client;
}

bool tg_slots_client_open(const struct tg_slots_client *client)
{
  return tg_broker_client_open(client->client, tg_now());
}

tg_ms tg_slots_client_wakeup(const struct tg_slots_client *client, tg_ms now)
{
  return tg_broker_client_wakeup(client->client, now);
}

void tg_slots_client_free(struct tg_slots_client *client)
{
  if (!client)
    return;
  tg_broker_client_free(client->client);
  free(client);
}
