/* Slots from the broker on another host (identify.url): broker_client.h over
 * HTTP, wired to this gateway's own identify scheduler. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"
#include "net/http_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  REQUEST_TIMEOUT = 5000, /* ms, beside what the broker was asked to wait */
  BODY_MAX = 16 * 1024,
  SAY_AGAIN = 60000, /* ms after which the log says once more that the broker is away */
};

struct tg_slot_request {
  struct tg_slot_request *next;
  struct tg_manager *manager;
  struct tg_broker_message message;
  uint64_t id;
  char *body;
};

static char *broker_name(const struct tg_manager *manager)
{
  return tg_http_url_public(manager->config->identify.url);
}

void tg_slots_client_begin(struct tg_manager *manager)
{
  char bot[20];
  snprintf(bot, sizeof bot, "%016" PRIx64, manager->bot);
  const struct tg_broker_client_options options = {
      .host = manager->host_name,
      .bot = bot,
      .first = manager->range.first,
      .count = tg_manager_shard_count(manager),
      .total_shards = manager->range.total,
      .max_concurrency = manager->info.max_concurrency,
  };
  manager->client = tg_broker_client_new(&options, tg_now());
}

/* ---- requests ---- */

static void free_request(struct tg_slot_request *request)
{
  struct tg_slot_request **at = &request->manager->slot_requests;
  while (*at != request)
    at = &(*at)->next;
  *at = request->next;
  free(request->body);
  free(request);
}

static char *url_of(const struct tg_manager *manager, int shard_id)
{
  const char *base = manager->config->identify.url;
  bool socket_alone = strncmp(base, "http+unix:", 10) == 0 && !strchr(base + 10, ':');
  struct tg_buf url = {0};
  tg_buf_printf(&url, "%s%s/identify/%d", base, socket_alone ? ":" : "", shard_id);
  return tg_buf_take(&url);
}

static void on_response(void *ctx, const struct tg_http_response *response);

static void start_request(struct tg_manager *manager, const struct tg_broker_message *message)
{
  struct tg_slot_request *request = tg_calloc(1, sizeof *request);
  json_t *body = tg_broker_message_write(message);
  *request = (struct tg_slot_request){
      .next = manager->slot_requests,
      .manager = manager,
      .message = *message,
      .body = json_dumps(body, JSON_COMPACT),
  };
  json_decref(body);
  manager->slot_requests = request;
  char *url = url_of(manager, message->shard_id);
  struct tg_buf authorization = {0};
  if (manager->config->identify.authorization)
    tg_buf_printf(&authorization, "Authorization: %s", manager->config->identify.authorization);
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
  request->id = tg_http_start(manager->options.http, &wanted, on_response, request);
  tg_buf_free(&authorization);
  free(url);
}

/* The request of the shard that is under way is void. */
static void cancel_request(struct tg_manager *manager, int shard_id)
{
  for (struct tg_slot_request *request = manager->slot_requests; request; request = request->next) {
    if (request->message.shard_id != shard_id || request->message.word != TG_WORD_ASK)
      continue;
    tg_http_cancel(manager->options.http, request->id);
    free_request(request);
    return;
  }
}

/* ---- answers ---- */

static int count_waiting(struct tg_manager *manager)
{
  int count = 0;
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    enum tg_identify_state state = tg_scheduler_state(manager->scheduler, manager->shards[i].id);
    count += state >= TG_IDENTIFY_QUEUED && state <= TG_IDENTIFY_ASKING;
  }
  return count;
}

static void tell_up(struct tg_manager *manager, const struct tg_broker_answer *answer, tg_ms now)
{
  char *name = broker_name(manager);
  if (manager->broker_lost)
    tg_log(TG_INFO, TG_NO_SHARD, "the identify broker, %s, is back after %.1f s: identifies go on", name,
           (double)(now - tg_broker_client_since(manager->client)) / 1000);
  else
    tg_log(TG_INFO, TG_NO_SHARD, "identifies are granted by the broker, %s", name);
  if (answer->max_concurrency > 0 && answer->max_concurrency != manager->info.max_concurrency)
    tg_log(TG_WARN, TG_NO_SHARD,
           "max_concurrency is %d here and %d at the identify broker, whose number decides. Discord may have "
           "changed it: restart the gateway that started before that",
           manager->info.max_concurrency, answer->max_concurrency);
  manager->broker_lost = false;
  free(name);
}

static void tell_trouble(struct tg_manager *manager, bool refused, const char *why, tg_ms now)
{
  char *name = broker_name(manager);
  int waiting = count_waiting(manager);
  double pause = (double)(tg_broker_client_next_try(manager->client) - now) / 1000;
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
  manager->broker_lost = true;
  manager->broker_said_at = now;
  manager->broker_said_waiting = waiting;
  free(name);
}

static void tell_held_back(struct tg_manager *manager, tg_ms now)
{
  int waiting = count_waiting(manager);
  tg_log(TG_WARN, TG_NO_SHARD,
         "the identify broker holds identifies back: the session starts of the day are used up but for the "
         "reserve (its log says until when). Sessions that live go on and resume; %d shard%s wait%s. Asking "
         "again in %lld s",
         waiting, waiting == 1 ? "" : "s", waiting == 1 ? "s" : "",
         (long long)(tg_broker_client_next_try(manager->client) - now + 999) / 1000);
}

static void tell(struct tg_manager *manager, const struct tg_broker_message *message,
                 enum tg_client_news news, const struct tg_broker_answer *answer, tg_ms now)
{
  switch (news) {
  case TG_CLIENT_CAME_UP:
    tell_up(manager, answer, now);
    break;
  case TG_CLIENT_WENT_DOWN:
  case TG_CLIENT_WAS_REFUSED:
    tell_trouble(manager, news == TG_CLIENT_WAS_REFUSED, answer->why, now);
    break;
  case TG_CLIENT_STAYS_DOWN:
    if (now - manager->broker_said_at >= SAY_AGAIN ||
        (manager->broker_said_waiting == 0 && count_waiting(manager) > 0))
      tell_trouble(manager, false, answer->why, now);
    break;
  case TG_CLIENT_WAS_HELD_BACK:
    tell_held_back(manager, now);
    break;
  case TG_CLIENT_SHARD_REFUSED:
    tg_log(TG_ERROR, message->shard_id, "the identify broker refuses: %s", answer->why);
    break;
  case TG_CLIENT_GRANTED:
  case TG_CLIENT_NO_NEWS:
    break;
  }
}

/* The broker has granted: as a grant of the own scheduler from here on. */
static void use_grant(struct tg_manager *manager, int shard_id, tg_ms now)
{
  struct tg_scheduler *scheduler = manager->scheduler;
  struct tg_managed_shard *shard = tg_manager_shard(manager, shard_id);
  bool asking = tg_scheduler_state(scheduler, shard_id) == TG_IDENTIFY_ASKING && shard->slot_waiters;
  if (!asking || tg_scheduler_busy(scheduler, shard_id, now)) {
    tg_slots_client_left(manager, shard_id);
    return;
  }
  tg_ms deadline = tg_broker_client_deadline(manager->client, shard_id);
  tg_scheduler_grant_until(scheduler, shard_id, deadline, now);
  tg_ledger_take(manager->ledger, tg_scheduler_bucket(scheduler, shard_id), tg_steady_clock(),
                 deadline + tg_steady_ahead());
  tg_ledger_save(manager->ledger);
  tg_waiters_end(&shard->slot_waiters, NULL, NULL);
}

static void on_response(void *ctx, const struct tg_http_response *response)
{
  struct tg_slot_request *request = ctx;
  struct tg_manager *manager = request->manager;
  const struct tg_broker_message message = request->message;
  struct tg_broker_answer answer;
  json_t *body = response->body.length ? json_loadb(response->body.at, response->body.length, 0, NULL) : NULL;
  tg_broker_answer_read((int)response->status, body, response->retry_after, response->error.message, &answer);
  json_decref(body);
  free_request(request);
  tg_ms now = tg_now();
  enum tg_client_news news = tg_broker_client_answer(manager->client, &message, &answer, now);
  tell(manager, &message, news, &answer, now);
  if (news == TG_CLIENT_GRANTED)
    use_grant(manager, message.shard_id, now);
  tg_slots_pump(manager);
}

/* ---- what happens to shards ---- */

void tg_slots_client_pump(struct tg_manager *manager)
{
  tg_ms now = tg_now();
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    int id = manager->shards[i].id;
    bool asking = tg_scheduler_state(manager->scheduler, id) == TG_IDENTIFY_ASKING;
    if (asking && tg_scheduler_ripe(manager->scheduler, id, now))
      tg_broker_client_ask(manager->client, id, tg_scheduler_priority(manager->scheduler, id));
  }
  struct tg_broker_message message;
  while (tg_broker_client_next(manager->client, now, &message))
    start_request(manager, &message);
}

void tg_slots_client_left(struct tg_manager *manager, int shard_id)
{
  if (manager->client && tg_broker_client_leave(manager->client, shard_id, tg_now()))
    cancel_request(manager, shard_id);
}

void tg_slots_client_sent(struct tg_manager *manager, int shard_id)
{
  if (!manager->client)
    return;
  if (tg_broker_client_deadline(manager->client, shard_id) == 0)
    tg_slots_client_left(manager, shard_id); /* a script has not waited for the slot */
  tg_broker_client_sent(manager->client, shard_id, tg_now());
}

void tg_slots_client_done(struct tg_manager *manager, int shard_id, bool ready)
{
  if (manager->client)
    tg_broker_client_done(manager->client, shard_id, ready, tg_now());
}

void tg_slots_client_gone(struct tg_manager *manager, int shard_id)
{
  if (manager->client && tg_broker_client_gone(manager->client, shard_id, tg_now()))
    cancel_request(manager, shard_id);
}

void tg_slots_client_reconfigured(struct tg_manager *manager)
{
  if (!manager->client)
    return;
  tg_broker_client_retry(manager->client, tg_now());
  tg_slots_pump(manager);
}

void tg_slots_client_end(struct tg_manager *manager)
{
  while (manager->slot_requests) {
    tg_http_cancel(manager->options.http, manager->slot_requests->id);
    free_request(manager->slot_requests);
  }
}
