#include "manager/fetch.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/state_file.h"
#include "net/http.h"
#include "shared/shard_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  TRIES = 5,
  START_PATIENCE = 30000, /* ms for all tries of a start together */
  REQUEST_TIMEOUT = 5000,
  CALL_TIMEOUT = 35000, /* ms for a script that answers instead */
  BACKOFF_BASE = 250,   /* ms, doubling */
  REFRESH_BASE = 1000,
  REFRESH_CAP = 60000,
  UNAUTHORIZED_PAUSE = 300000,
  REFRESH_AGE = 600000, /* after which session_start_limit is worth asking for again */
  BODY_MAX = 64 * 1024,
};

static const char file_name[] = "gateway_bot.json";

struct fetch_try {
  struct tg_fetch *fetch;
  uint64_t number;
};

struct tg_fetch_request;

struct tg_fetch {
  const struct tg_manager_env *env;
  const struct tg_fetch_events *events;
  void *ctx;
  uv_timer_t *timer; /* the next try, or the end of patience with this one */
  struct tg_gateway_info info;
  struct tg_fetch_request *requests;
  bool running;    /* an answer is awaited */
  bool at_start;   /* without an answer there is no start */
  uint64_t number; /* of the try; late answers of earlier ones are ignored */
  int tries;       /* in a row, that nobody asked to be put off */
  int refusals;    /* by answers that put off, since the last good one */
  tg_ms began;
  tg_ms wait_until;                 /* put off until then; 0: it is not */
  tg_ms wait_until_shown;           /* the same by the wall clock */
  const char *waits_for;            /* and why, in a few words */
  char said[TG_ERROR_MESSAGE_SIZE]; /* why the last try failed, as it was logged */
  tg_ms retry_after;                /* what the last default attempt was told; -1: nothing */
  tg_ms fetched_at;                 /* tg_now() of the last good answer; 0: none */
};

static void attempt(struct tg_fetch *fetch);
static void on_timer(uv_timer_t *timer);

/* ---- the cached answer ---- */

static void bot_name(const struct tg_fetch *fetch, char name[20])
{
  snprintf(name, 20, "%016" PRIx64, fetch->env->bot);
}

static void keep_answer(struct tg_fetch *fetch, const struct tg_gateway_info *info)
{
  char bot[20];
  bot_name(fetch, bot);
  json_t *content = tg_gateway_info_to_json(info);
  json_object_set_new(content, "bot", json_string(bot));
  json_object_set_new(content, "fetched_at", json_integer(tg_wall_clock()));
  struct tg_error error;
  if (!tg_state_file_write(fetch->env->state_dir, file_name, content, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s; a start while REST is down will have no gateway URL", error.message);
  json_decref(content);
}

static bool read_kept_answer(struct tg_fetch *fetch, struct tg_gateway_info *info)
{
  struct tg_error error;
  json_t *content = tg_state_file_read(fetch->env->state_dir, file_name, &error);
  char bot[20];
  bot_name(fetch, bot);
  const char *name = json_string_value(json_object_get(content, "bot"));
  bool good = name && strcmp(name, bot) == 0 && tg_gateway_info_parse(content, info, &error) &&
              tg_gateway_info_trusted(info, fetch->env->config, &error);
  json_decref(content);
  if (!good)
    *info = (struct tg_gateway_info){0};
  return good;
}

/* ---- one request: the default of fetch_gateway_bot ---- */

struct tg_fetch_request {
  struct tg_fetch_request *next;
  struct tg_fetch *fetch;
  uint64_t id;
  char *url;
  tg_manager_reply *reply;
  void *ctx;
};

static void free_request(struct tg_fetch_request *request)
{
  struct tg_fetch_request **at = &request->fetch->requests;
  while (*at != request)
    at = &(*at)->next;
  *at = request->next;
  free(request->url);
  free(request);
}

static void on_response(void *ctx, const struct tg_http_response *response)
{
  struct tg_fetch_request *request = ctx;
  tg_manager_reply *reply = request->reply;
  void *reply_ctx = request->ctx;
  struct tg_error error = {0};
  json_t *answer = tg_gateway_info_judge(response, request->url, &request->fetch->retry_after, &error);
  free_request(request);
  if (answer)
    tg_reply_value(reply, reply_ctx, answer);
  else
    reply(reply_ctx, NULL, &error);
}

static void fetch_default(void *room, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  struct tg_fetch *fetch = room;
  (void)args;
  fetch->retry_after = -1;
  if (!fetch->env->http) {
    tg_reply_error(reply, ctx, "unavailable", "there is no HTTP client to ask with");
    return;
  }
  struct tg_fetch_request *request = tg_calloc(1, sizeof *request);
  struct tg_buf url = {0}, authorization = {0};
  tg_buf_printf(&url, "%s/gateway/bot", fetch->env->config->rest.url);
  tg_buf_printf(&authorization, "Authorization: %s", fetch->env->config->rest.authorization);
  *request = (struct tg_fetch_request){fetch->requests, fetch, 0, tg_buf_take(&url), reply, ctx};
  fetch->requests = request;
  char *secret = tg_buf_take(&authorization);
  const char *const headers[] = {
      secret,
      "User-Agent: DiscordBot (https://github.com/tidegate/tidegate, " TG_VERSION ")",
      "Accept: application/json",
      NULL,
  };
  const struct tg_http_request wanted = {
      .method = "GET",
      .url = request->url,
      .headers = headers,
      .timeout = REQUEST_TIMEOUT,
      .max_body = BODY_MAX,
  };
  request->id = tg_http_start(fetch->env->http, &wanted, on_response, request);
  free(secret);
}

void tg_fetch_cancel(struct tg_fetch *fetch)
{
  uv_timer_stop(fetch->timer);
  fetch->running = false;
  fetch->wait_until = 0;
  fetch->number++;
  while (fetch->requests) {
    struct tg_fetch_request *request = fetch->requests;
    tg_manager_reply *reply = request->reply;
    void *ctx = request->ctx;
    tg_http_cancel(fetch->env->http, request->id);
    free_request(request);
    tg_reply_error(reply, ctx, "cancelled", "the gateway is stopping");
  }
}

/* ---- what follows an answer ---- */

static void log_info(const struct tg_gateway_info *info)
{
  tg_log(TG_INFO, TG_NO_SHARD,
         "Discord recommends %d shard%s; %d of %d session starts are left, %d at a time (max_concurrency)",
         info->shards, info->shards == 1 ? "" : "s", info->remaining, info->total, info->max_concurrency);
}

static void succeeded(struct tg_fetch *fetch, const struct tg_gateway_info *info)
{
  fetch->fetched_at = tg_now();
  fetch->refusals = 0;
  keep_answer(fetch, info);
  struct tg_gateway_info known = *info;
  tg_gateway_info_override(&known, fetch->env->config);
  if (fetch->at_start) {
    log_info(info);
    fetch->info = known;
    fetch->events->known(fetch->ctx);
    return;
  }
  /* The URL and the buckets are kept for the life of the process. */
  if (known.max_concurrency != fetch->info.max_concurrency)
    tg_log(TG_INFO, TG_NO_SHARD, "max_concurrency is now %d; it takes effect with the next start",
           known.max_concurrency);
  fetch->info.shards = known.shards;
  fetch->info.total = known.total;
  fetch->info.remaining = known.remaining;
  fetch->info.reset_after = known.reset_after;
  fetch->events->refreshed(fetch->ctx, true);
}

static void retry_in(struct tg_fetch *fetch, tg_ms delay)
{
  tg_timer_start(fetch->timer, on_timer, delay > 0 ? delay : 1);
}

/* What is known without Discord's answer of today. False: too little. */
static bool stand_in(struct tg_fetch *fetch, const char *why)
{
  struct tg_gateway_info info = {0};
  const struct tg_config *config = fetch->env->config;
  bool kept = read_kept_answer(fetch, &info);
  tg_gateway_info_override(&info, config);
  int total = config->total_shards;
  if (total == 0)
    for (int side = 0; side < TG_SIDES && total == 0; side++)
      total = tg_shard_table_peek(fetch->env->state_dir, side, fetch->env->bot_with_intents);
  if (!tg_gateway_info_complete(&info, total))
    return false;
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, why)), "no gateway information: starting with %s",
              kept ? "the answer of an earlier start" : "what is configured");
  fetch->at_start = false;
  fetch->info = info;
  fetch->events->known(fetch->ctx);
  return true;
}

/* ---- put off: Discord says when to come again, or coming again soon makes it worse ---- */

static const char *reason_to_wait(const char *code)
{
  if (strcmp(code, "blocked") == 0)
    return "it refuses this computer's address for a while";
  return strcmp(code, "rate_limited") == 0 ? "its rate limit is reached" : "it is down or overloaded";
}

static void put_off(struct tg_fetch *fetch, const struct tg_error *error, tg_ms wait)
{
  wait += 1 + (tg_ms)tg_random(fetch->at_start ? 50 : 1000); /* timers round down */
  fetch->tries = 0;
  fetch->refusals++;
  fetch->waits_for = reason_to_wait(error->code);
  fetch->wait_until = tg_now() + wait;
  fetch->wait_until_shown = tg_wall_clock() + wait;
  char until[TG_HUMAN_SIZE];
  tg_human_moment(fetch->wait_until_shown, until, sizeof until);
  tg_log_with(
      strcmp(error->code, "blocked") == 0 ? TG_ERROR : TG_WARN, TG_NO_SHARD,
      TG_WITH(TG_NUMBER(ATTEMPT, fetch->refusals), TG_NUMBER(DELAY, wait), TG_TEXT(REASON, error->message)),
      fetch->at_start ? "no gateway information yet: waiting until %s, then asking again"
                      : "gateway information could not be refreshed; the sessions go on. Asking again at %s",
      until);
  retry_in(fetch, wait);
}

tg_ms tg_fetch_wait(const struct tg_fetch *fetch)
{
  tg_ms left = fetch->wait_until - tg_now();
  return left > 0 ? left : 0;
}

bool tg_fetch_is_put_off(struct tg_fetch *fetch, char *text, size_t size)
{
  enum { SAME = 2000 }; /* the text is not to flicker between two seconds */
  if (fetch->wait_until == 0)
    return false;
  tg_ms moment = tg_wall_clock() + fetch->wait_until - tg_now();
  if (moment > fetch->wait_until_shown + SAME || moment < fetch->wait_until_shown - SAME)
    fetch->wait_until_shown = moment; /* somebody has set the clock */
  char until[TG_HUMAN_SIZE];
  tg_human_moment(fetch->wait_until_shown, until, sizeof until);
  snprintf(text, size, "waiting until %s to ask Discord again: %s", until, fetch->waits_for);
  return true;
}

static tg_ms wait_after(const struct tg_fetch *fetch, const struct tg_error *error)
{
  return tg_gateway_info_wait(error->code, fetch->retry_after, fetch->refusals);
}

/* ---- what follows a failure ---- */

static void give_up(struct tg_fetch *fetch, const struct tg_error *error)
{
  char text[TG_ERROR_MESSAGE_SIZE + 160];
  snprintf(text, sizeof text,
           "the gateway cannot start: %s. (Without an answer it starts only with gateway_bot configured, or "
           "where it has run before)",
           error->message);
  fetch->events->failed(fetch->ctx, TG_EXIT_UNAVAILABLE, text);
}

static void failed_at_start(struct tg_fetch *fetch, const struct tg_error *error)
{
  if (strcmp(error->code, "unauthorized") == 0) {
    fetch->events->failed(fetch->ctx, TG_EXIT_CONFIG, error->message);
    return;
  }
  tg_ms wait = wait_after(fetch, error);
  if (wait >= 0) {
    if (wait >= tg_patience(START_PATIENCE))
      stand_in(fetch, error->message);
    if (!fetch->env->stopping)
      put_off(fetch, error, wait);
    return;
  }
  tg_ms half = tg_patience((tg_ms)BACKOFF_BASE << (fetch->tries - 1)) / 2;
  tg_ms delay = half + (tg_ms)tg_random((uint64_t)half + 1);
  if (fetch->tries >= TRIES || tg_now() - fetch->began + delay >= START_PATIENCE) {
    if (!stand_in(fetch, error->message))
      give_up(fetch, error);
    return;
  }
  bool again = strcmp(fetch->said, error->message) == 0;
  snprintf(fetch->said, sizeof fetch->said, "%s", error->message);
  tg_log_with(TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(ATTEMPT, fetch->tries), TG_NUMBER(DELAY, delay),
                      TG_TEXT(REASON, again ? "the same again" : error->message)),
              "no gateway information yet");
  retry_in(fetch, delay);
}

static void failed_later(struct tg_fetch *fetch, const struct tg_error *error)
{
  tg_ms wait = wait_after(fetch, error);
  if (wait >= 0) {
    put_off(fetch, error, wait);
    if (wait >= tg_patience(REFRESH_CAP))
      fetch->events->refreshed(fetch->ctx, false); /* our own count has to do */
    return;
  }
  bool refused = strcmp(error->code, "unauthorized") == 0;
  tg_log_with(refused ? TG_ERROR : TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(ATTEMPT, fetch->tries), TG_TEXT(REASON, error->message)),
              "gateway information could not be refreshed; the sessions go on");
  if (fetch->tries >= TRIES) {
    fetch->events->refreshed(fetch->ctx, false);
    return;
  }
  if (refused)
    retry_in(fetch, tg_patience(UNAUTHORIZED_PAUSE));
  else
    retry_in(fetch, tg_backoff(fetch->tries, tg_patience(REFRESH_BASE), tg_patience(REFRESH_CAP)));
}

static void failed(struct tg_fetch *fetch, const struct tg_error *error)
{
  fetch->running = false;
  fetch->number++;
  uv_timer_stop(fetch->timer);
  if (fetch->env->stopping)
    return;
  if (fetch->at_start)
    failed_at_start(fetch, error);
  else
    failed_later(fetch, error);
}

static void on_answer(void *ctx, json_t *value, const struct tg_error *error)
{
  struct fetch_try try = *(struct fetch_try *)ctx;
  free(ctx);
  struct tg_fetch *fetch = try.fetch;
  if (fetch->number != try.number || !fetch->running)
    return;
  struct tg_gateway_info info;
  struct tg_error problem = {0};
  if (error) {
    failed(fetch, error);
  } else if (!tg_gateway_info_parse(value, &info, &problem) ||
             !tg_gateway_info_trusted(&info, fetch->env->config, &problem)) {
    failed(fetch, &problem);
  } else {
    fetch->running = false;
    uv_timer_stop(fetch->timer);
    succeeded(fetch, &info);
  }
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_fetch *fetch = timer->data;
  if (!fetch->running) {
    attempt(fetch);
    return;
  }
  struct tg_error error;
  tg_fail(&error, "unavailable", "gateway.manager:fetch_gateway_bot has not answered within %d s",
          CALL_TIMEOUT / 1000);
  failed(fetch, &error);
}

static void attempt(struct tg_fetch *fetch)
{
  if (fetch->wait_until)
    fetch->began = tg_now();
  fetch->wait_until = 0;
  fetch->running = true;
  fetch->tries++;
  fetch->retry_after = -1;
  struct fetch_try *try = tg_alloc(sizeof *try);
  *try = (struct fetch_try){fetch, ++fetch->number};
  retry_in(fetch, CALL_TIMEOUT);
  tg_call(fetch->env->calls, TG_METHOD_manager_fetch_gateway_bot, NULL, on_answer, try);
}

void tg_fetch_at_start(struct tg_fetch *fetch)
{
  if (tg_gateway_info_configured(fetch->env->config) &&
      !tg_hooked(fetch->env->hooks, TG_METHOD_manager_fetch_gateway_bot)) {
    tg_gateway_info_override(&fetch->info, fetch->env->config);
    tg_gateway_info_complete(&fetch->info, fetch->env->config->total_shards);
    fetch->events->known(fetch->ctx);
    return;
  }
  fetch->at_start = true;
  fetch->tries = 0;
  fetch->began = tg_now();
  attempt(fetch);
}

json_t *tg_fetch_hand_over(const struct tg_fetch *fetch)
{
  json_t *json = tg_gateway_info_to_json(&fetch->info);
  json_object_set_new(json, "fetched_at", json_integer(fetch->fetched_at));
  return json;
}

bool tg_fetch_take_over(struct tg_fetch *fetch, const json_t *handed)
{
  struct tg_error error;
  if (!tg_gateway_info_parse(handed, &fetch->info, &error))
    return false;
  fetch->fetched_at = json_integer_value(json_object_get(handed, "fetched_at"));
  tg_ms left = fetch->info.reset_after - (fetch->fetched_at ? tg_now() - fetch->fetched_at : 0);
  fetch->info.reset_after = left > 0 ? left : 0;
  tg_gateway_info_override(&fetch->info, fetch->env->config);
  return true;
}

void tg_fetch_refresh_old(struct tg_fetch *fetch)
{
  if (fetch->fetched_at && tg_now() - fetch->fetched_at > REFRESH_AGE)
    tg_fetch_refresh(fetch);
}

void tg_fetch_refresh(struct tg_fetch *fetch)
{
  if (fetch->wait_until - tg_now() >= tg_patience(REFRESH_CAP))
    fetch->events->refreshed(fetch->ctx, false); /* our own count has to do */
  if (fetch->running || uv_is_active((uv_handle_t *)fetch->timer))
    return;
  if (tg_gateway_info_configured(fetch->env->config) &&
      !tg_hooked(fetch->env->hooks, TG_METHOD_manager_fetch_gateway_bot)) {
    fetch->events->refreshed(fetch->ctx, false);
    return;
  }
  fetch->at_start = false;
  fetch->tries = 0;
  fetch->began = tg_now();
  attempt(fetch);
}

/* ---- life ---- */

struct tg_fetch *tg_fetch_new(const struct tg_manager_env *env, const struct tg_fetch_events *events,
                              void *ctx)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_fetch_gateway_bot, fetch_default},
  };
  struct tg_fetch *fetch = tg_calloc(1, sizeof *fetch);
  fetch->env = env;
  fetch->events = events;
  fetch->ctx = ctx;
  fetch->timer = tg_timer_new(env->loop, fetch);
  tg_calls_offer(env->calls, defaults, 1, fetch);
  return fetch;
}

const struct tg_gateway_info *tg_fetch_info(const struct tg_fetch *fetch)
{
  return &fetch->info;
}

void tg_fetch_free(struct tg_fetch *fetch)
{
  tg_timer_free(fetch->timer);
  free(fetch);
}
