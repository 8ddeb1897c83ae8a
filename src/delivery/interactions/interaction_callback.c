#include "delivery/interactions/interaction_callback.h"

#include "base/buf.h"
#include "delivery/interactions/proxied_error.h"
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  IN_FLIGHT_MAX = 64,
  ATTEMPT_TIME = 1000, /* a connection that hangs must not take all the time there is */
  ATTEMPT_LEAST = 20,  /* less is not worth a request */
  AGAIN_BASE = 100,
  AGAIN_CAP = 500,
  ANSWER_MAX = 4096,
};

struct tg_callback {
  TAILQ_ENTRY(tg_callback) link;
  struct tg_callbacks *owner;
  char *url;
  const char *body;
  tg_ms until;
  tg_ms next_at; /* of the next attempt; while one runs: when it has to be over */
  int attempts;
  uint64_t request; /* 0: none runs */
  tg_interaction_answered *done;
  void *ctx;
  char reason[256]; /* of the last failure */
};

static void tend(struct tg_callbacks *all);

static void on_timer(uv_timer_t *timer)
{
  tend(timer->data);
}

static void take_out(struct tg_callback *callback)
{
  struct tg_callbacks *all = callback->owner;
  TAILQ_REMOVE(&all->list, callback, link);
  if (callback->request) {
    tg_http_cancel(all->http, callback->request);
    all->in_flight--;
  }
}

static void free_callback(struct tg_callback *callback)
{
  free(callback->url);
  free(callback);
}

static void finish(struct tg_callback *callback, bool taken)
{
  take_out(callback);
  callback->done(callback->ctx, taken, taken ? "" : callback->reason);
  free_callback(callback);
}

/* --- attempts ------------------------------------------------------------------ */

static void try_again(struct tg_callback *callback, tg_ms wait)
{
  tg_ms now = tg_env_now(callback->owner->env);
  if (wait < 0)
    wait = tg_backoff(callback->attempts - 1, AGAIN_BASE, AGAIN_CAP);
  callback->next_at = now + wait;
  if (callback->next_at > callback->until - ATTEMPT_LEAST)
    finish(callback, false);
}

/* Not in REST's own words: a proxy may repeat the path, and with it the token. */
static void describe(struct tg_callback *callback, const struct tg_http_response *response)
{
  const char *advice = "";
  char proxied[40] = "";
  long status = response->status;
  struct tg_proxied_error error;
  if (status >= 500 && tg_proxied_error_read(response->body, &error)) {
    if (error.status)
      snprintf(proxied, sizeof proxied, " in the place of Discord's %d", error.status);
    status = error.status ? error.status : status;
  }
  bool own_words = response->body.length > 0 && response->body.at[0] == '{';
  if ((status == 403 || status == 429) && !own_words)
    advice = " without Discord's own words: it refuses this computer's address for a while";
  else if (status == 401 || status == 403)
    advice = "; check rest.url and rest.authorization (REST_URL, REST_AUTHORIZATION)";
  else if (status == 404)
    advice = ": it does not know the interaction (any more)";
  if (response->status)
    snprintf(callback->reason, sizeof callback->reason, "REST answered %ld%s%s", response->status, proxied,
             advice);
  else
    snprintf(callback->reason, sizeof callback->reason, "%.200s", response->error.message);
}

static void on_answer(void *ctx, const struct tg_http_response *response)
{
  struct tg_callback *callback = ctx;
  struct tg_callbacks *all = callback->owner;
  tg_ms wait;
  callback->request = 0;
  all->in_flight--;
  describe(callback, response);
  switch (tg_callback_judge(response->status, response->body, response->retry_after, &wait)) {
  case TG_CALLBACK_TAKEN:
  case TG_CALLBACK_TAKEN_BEFORE:
    finish(callback, true);
    break;
  case TG_CALLBACK_TOO_LATE:
  case TG_CALLBACK_REFUSED:
    finish(callback, false);
    break;
  case TG_CALLBACK_AGAIN:
    try_again(callback, wait);
    break;
  }
  tend(all);
}

static void attempt(struct tg_callback *callback, tg_ms now)
{
  struct tg_callbacks *all = callback->owner;
  const struct tg_config *config = all->env->config;
  tg_ms left = callback->until - now, timeout = left < ATTEMPT_TIME ? left : ATTEMPT_TIME;
  struct tg_buf line = {0};
  if (config->rest.authorization && tg_interaction_wants_authorization(config->rest.url))
    tg_buf_printf(&line, "Authorization: %s", config->rest.authorization);
  char *authorization = line.length > 0 ? tg_buf_take(&line) : NULL;
  const char *headers[] = {
      "Content-Type: application/json",
      "User-Agent: DiscordBot (https://github.com/tidegate/tidegate, " TG_VERSION ")",
      authorization,
      NULL,
  };
  struct tg_http_request request = {
      .method = "POST",
      .url = callback->url,
      .headers = headers,
      .body = {callback->body, strlen(callback->body)},
      .timeout = timeout,
      .connect_timeout = timeout,
      .max_body = ANSWER_MAX,
      .by_head = true,
  };
  callback->attempts++;
  callback->next_at = now + timeout + ATTEMPT_LEAST;
  callback->request = tg_http_start(all->http, &request, on_answer, callback);
  all->in_flight++;
  free(authorization);
}

/* The client looks at the time of connections; this one also at what waits. */
static void look_at(struct tg_callback *callback, tg_ms now)
{
  struct tg_callbacks *all = callback->owner;
  if (now < callback->next_at)
    return;
  if (callback->request) {
    tg_http_cancel(all->http, callback->request);
    callback->request = 0;
    all->in_flight--;
    snprintf(callback->reason, sizeof callback->reason, "REST did not answer");
    try_again(callback, -1);
  } else if (now > callback->until - ATTEMPT_LEAST) {
    if (callback->attempts == 0)
      snprintf(callback->reason, sizeof callback->reason, "there was no time left for it");
    finish(callback, false);
  } else if (all->in_flight < IN_FLIGHT_MAX) {
    attempt(callback, now);
  }
}

static void tend(struct tg_callbacks *all)
{
  tg_ms now = tg_env_now(all->env), next = INT64_MAX;
  struct tg_callback *callback, *after;
  for (callback = TAILQ_FIRST(&all->list); callback; callback = after) {
    after = TAILQ_NEXT(callback, link);
    look_at(callback, now);
  }
  TAILQ_FOREACH(callback, &all->list, link)
  {
    tg_ms moment = callback->next_at > now ? callback->next_at : callback->until;
    next = moment < next ? moment : next;
  }
  if (next < INT64_MAX)
    uv_timer_start(&all->timer, on_timer, (uint64_t)(next > now ? next - now : 0), 0);
}

/* --- what others see -------------------------------------------------------------- */

struct tg_callback *tg_callback_start(struct tg_callbacks *all, const struct tg_interaction_facts *facts,
                                      tg_ms until, tg_interaction_answered *done, void *ctx)
{
  struct tg_callback *callback = tg_calloc(1, sizeof *callback);
  *callback = (struct tg_callback){
      .owner = all,
      .url = tg_interaction_callback_url(all->env->config->rest.url, facts),
      .body = tg_interaction_deferral(facts->type),
      .until = until,
      .next_at = tg_env_now(all->env),
      .done = done,
      .ctx = ctx,
  };
  TAILQ_INSERT_TAIL(&all->list, callback, link);
  uv_timer_start(&all->timer, on_timer, 0, 0);
  return callback;
}

bool tg_callback_in_flight(const struct tg_callback *callback)
{
  return callback->request != 0;
}

void tg_callback_cancel(struct tg_callback *callback)
{
  take_out(callback);
  free_callback(callback);
}

void tg_callbacks_begin(struct tg_callbacks *all, struct tg_delivery_env *env, struct tg_http *http)
{
  all->env = env;
  all->http = http;
  TAILQ_INIT(&all->list);
  tg_handles_timer(&env->handles, &all->timer, all);
}

void tg_callbacks_end(struct tg_callbacks *all)
{
  while (!TAILQ_EMPTY(&all->list))
    tg_callback_cancel(TAILQ_FIRST(&all->list));
  tg_handles_close(&all->env->handles, &all->timer);
}
