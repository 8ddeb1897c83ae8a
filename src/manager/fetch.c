/* Gateway information: asking, retrying, and what stands in for an answer. */

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/internal.h"
#include "manager/state_file.h"

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
  BODY_MAX = 64 * 1024,
};

static const char file_name[] = "gateway_bot.json";

struct
try {
  struct tg_manager *manager;
  uint64_t number;
};

static void attempt(struct tg_manager *manager);

/* ---- the cached answer ---- */

static void bot_name(const struct tg_manager *manager, char name[20])
{
  snprintf(name, 20, "%016" PRIx64, manager->bot);
}

static void keep_answer(struct tg_manager *manager, const struct tg_gateway_info *info)
{
  char bot[20];
  bot_name(manager, bot);
  json_t *content = tg_gateway_info_to_json(info);
  json_object_set_new(content, "bot", json_string(bot));
  json_object_set_new(content, "fetched_at", json_integer(tg_wall_clock()));
  struct tg_error error;
  if (!tg_state_file_write(manager->state_dir, file_name, content, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s; a start while REST is down will have no gateway URL", error.message);
  json_decref(content);
}

static bool read_kept_answer(struct tg_manager *manager, struct tg_gateway_info *info)
{
  struct tg_error error;
  json_t *content = tg_state_file_read(manager->state_dir, file_name, &error);
  char bot[20];
  bot_name(manager, bot);
  const char *name = json_string_value(json_object_get(content, "bot"));
  bool good = name && strcmp(name, bot) == 0 && tg_gateway_info_parse(content, info, &error) &&
              tg_gateway_info_trusted(info, manager->config, &error);
  json_decref(content);
  if (!good)
    *info = (struct tg_gateway_info){0};
  return good;
}

/* ---- one request: the default of fetch_gateway_bot ---- */

struct tg_fetch_request {
  struct tg_fetch_request *next;
  struct tg_manager *manager;
  uint64_t id;
  char *url;
  tg_manager_reply *reply;
  void *ctx;
};

static void free_request(struct tg_fetch_request *request)
{
  struct tg_fetch_request **at = &request->manager->requests;
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
  json_t *answer =
      tg_gateway_info_judge(response, request->url, &request->manager->fetch.retry_after, &error);
  free_request(request);
  if (answer)
    tg_reply_value(reply, reply_ctx, answer);
  else
    reply(reply_ctx, NULL, &error);
}

void tg_fetch_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  (void)args;
  manager->fetch.retry_after = -1;
  if (!manager->options.http) {
    tg_reply_error(reply, ctx, "unavailable", "there is no HTTP client to ask with");
    return;
  }
  struct tg_fetch_request *request = tg_calloc(1, sizeof *request);
  struct tg_buf url = {0}, authorization = {0};
  tg_buf_printf(&url, "%s/gateway/bot", manager->config->rest.url);
  tg_buf_printf(&authorization, "Authorization: %s", manager->config->rest.authorization);
  *request = (struct tg_fetch_request){manager->requests, manager, 0, tg_buf_take(&url), reply, ctx};
  manager->requests = request;
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
  request->id = tg_http_start(manager->options.http, &wanted, on_response, request);
  free(secret);
}

void tg_fetch_cancel(struct tg_manager *manager)
{
  uv_timer_stop(&manager->fetch_timer);
  manager->fetch.running = false;
  manager->fetch.wait_until = 0;
  manager->fetch.number++;
  while (manager->requests) {
    struct tg_fetch_request *request = manager->requests;
    tg_manager_reply *reply = request->reply;
    void *ctx = request->ctx;
    tg_http_cancel(manager->options.http, request->id);
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

static void succeeded(struct tg_manager *manager, const struct tg_gateway_info *info)
{
  manager->fetch.fetched_at = tg_now();
  manager->fetch.refusals = 0;
  keep_answer(manager, info);
  struct tg_gateway_info known = *info;
  tg_gateway_info_override(&known, manager->config);
  if (manager->fetch.at_start) {
    log_info(info);
    manager->info = known;
    tg_manager_begin(manager);
    return;
  }
  /* The URL and the buckets are kept for the life of the process. */
  if (known.max_concurrency != manager->info.max_concurrency)
    tg_log(TG_INFO, TG_NO_SHARD, "max_concurrency is now %d; it takes effect with the next start",
           known.max_concurrency);
  manager->info.shards = known.shards;
  manager->info.total = known.total;
  manager->info.remaining = known.remaining;
  manager->info.reset_after = known.reset_after;
  tg_slots_info_changed(manager);
  tg_slots_refreshed(manager);
}

static void retry_in(struct tg_manager *manager, tg_ms delay)
{
  tg_timer_start(&manager->fetch_timer, tg_fetch_on_timer, delay > 0 ? delay : 1);
}

/* What is known without Discord's answer of today. False: too little. */
static bool stand_in(struct tg_manager *manager, const char *why)
{
  struct tg_gateway_info info = {0};
  const struct tg_config *config = manager->config;
  bool kept = read_kept_answer(manager, &info);
  tg_gateway_info_override(&info, config);
  int total = config->total_shards;
  if (total == 0)
    total = tg_shard_table_peek(manager->state_dir, manager->bot_with_intents);
  if (!tg_gateway_info_complete(&info, total))
    return false;
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, why)), "no gateway information: starting with %s",
              kept ? "the answer of an earlier start" : "what is configured");
  manager->fetch.at_start = false;
  manager->info = info;
  tg_manager_begin(manager);
  return true;
}

/* ---- put off: Discord says when to come again, or coming again soon makes it worse ---- */

static const char *reason_to_wait(const char *code)
{
  if (strcmp(code, "blocked") == 0)
    return "it refuses this computer's address for a while";
  return strcmp(code, "rate_limited") == 0 ? "its rate limit is reached" : "it is down or overloaded";
}

static void put_off(struct tg_manager *manager, const struct tg_error *error, tg_ms wait)
{
  struct tg_fetch *fetch = &manager->fetch;
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
      manager->phase == TG_MANAGER_FETCHING
          ? "no gateway information yet: waiting until %s, then asking again"
          : "gateway information could not be refreshed; the sessions go on. Asking again at %s",
      until);
  retry_in(manager, wait);
}

bool tg_fetch_is_put_off(struct tg_manager *manager, char *text, size_t size)
{
  enum { SAME = 2000 }; /* the text is not to flicker between two seconds */
  struct tg_fetch *fetch = &manager->fetch;
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

static tg_ms wait_after(const struct tg_manager *manager, const struct tg_error *error)
{
  return tg_gateway_info_wait(error->code, manager->fetch.retry_after, manager->fetch.refusals);
}

/* ---- what follows a failure ---- */

static void failed_at_start(struct tg_manager *manager, const struct tg_error *error)
{
  struct tg_fetch *fetch = &manager->fetch;
  if (strcmp(error->code, "unauthorized") == 0) {
    tg_manager_fail(manager, TG_EXIT_CONFIG, "%s", error->message);
    return;
  }
  tg_ms wait = wait_after(manager, error);
  if (wait >= 0) {
    if (wait >= tg_patience(START_PATIENCE))
      stand_in(manager, error->message);
    if (!tg_manager_stopping(manager))
      put_off(manager, error, wait);
    return;
  }
  tg_ms half = tg_patience((tg_ms)BACKOFF_BASE << (fetch->tries - 1)) / 2;
  tg_ms delay = half + (tg_ms)tg_random((uint64_t)half + 1);
  if (fetch->tries >= TRIES || tg_now() - fetch->began + delay >= START_PATIENCE) {
    if (!stand_in(manager, error->message))
      tg_manager_fail(
          manager, TG_EXIT_UNAVAILABLE,
          "the gateway cannot start: %s. (Without an answer it starts only with gateway_bot configured, or "
          "where it has run before)",
          error->message);
    return;
  }
  bool again = strcmp(fetch->said, error->message) == 0;
  snprintf(fetch->said, sizeof fetch->said, "%s", error->message);
  tg_log_with(TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(ATTEMPT, fetch->tries), TG_NUMBER(DELAY, delay),
                      TG_TEXT(REASON, again ? "the same again" : error->message)),
              "no gateway information yet");
  retry_in(manager, delay);
}

static void failed_later(struct tg_manager *manager, const struct tg_error *error)
{
  struct tg_fetch *fetch = &manager->fetch;
  tg_ms wait = wait_after(manager, error);
  if (wait >= 0) {
    put_off(manager, error, wait);
    if (wait >= tg_patience(REFRESH_CAP))
      tg_slots_refreshed(manager); /* our own count has to do */
    return;
  }
  bool refused = strcmp(error->code, "unauthorized") == 0;
  tg_log_with(refused ? TG_ERROR : TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(ATTEMPT, fetch->tries), TG_TEXT(REASON, error->message)),
              "gateway information could not be refreshed; the sessions go on");
  if (fetch->tries >= TRIES) {
    tg_slots_refreshed(manager);
    return;
  }
  if (refused)
    retry_in(manager, tg_patience(UNAUTHORIZED_PAUSE));
  else
    retry_in(manager, tg_backoff(fetch->tries, tg_patience(REFRESH_BASE), tg_patience(REFRESH_CAP)));
}

static void failed(struct tg_manager *manager, const struct tg_error *error)
{
  manager->fetch.running = false;
  manager->fetch.number++;
  uv_timer_stop(&manager->fetch_timer);
  if (tg_manager_stopping(manager))
    return;
  if (manager->fetch.at_start)
    failed_at_start(manager, error);
  else
    failed_later(manager, error);
}

static void on_answer(void *ctx, json_t *value, const struct tg_error *error)
{
  struct try try = *(struct try *)ctx;
  free(ctx);
  struct tg_manager *manager = try.manager;
  if (manager->fetch.number != try.number || !manager->fetch.running)
    return;
  struct tg_gateway_info info;
  struct tg_error problem = {0};
  if (error) {
    failed(manager, error);
  } else if (!tg_gateway_info_parse(value, &info, &problem) ||
             !tg_gateway_info_trusted(&info, manager->config, &problem)) {
    failed(manager, &problem);
  } else {
    manager->fetch.running = false;
    uv_timer_stop(&manager->fetch_timer);
    succeeded(manager, &info);
  }
}

void tg_fetch_on_timer(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  if (!manager->fetch.running) {
    attempt(manager);
    return;
  }
  struct tg_error error;
  tg_fail(&error, "unavailable", "gateway.manager:fetch_gateway_bot has not answered within %d s",
          CALL_TIMEOUT / 1000);
  failed(manager, &error);
}

static void attempt(struct tg_manager *manager)
{
  struct tg_fetch *fetch = &manager->fetch;
  if (fetch->wait_until)
    fetch->began = tg_now();
  fetch->wait_until = 0;
  fetch->running = true;
  fetch->tries++;
  fetch->retry_after = -1;
  struct try *try = tg_alloc(sizeof *try);
  *try = (struct try){manager, ++fetch->number};
  retry_in(manager, CALL_TIMEOUT);
  tg_manager_call(manager, TG_METHOD_manager_fetch_gateway_bot, NULL, on_answer, try);
}

void tg_fetch_at_start(struct tg_manager *manager)
{
  if (tg_gateway_info_configured(manager->config) &&
      !tg_hooked(manager->hooks, TG_METHOD_manager_fetch_gateway_bot)) {
    tg_gateway_info_override(&manager->info, manager->config);
    tg_gateway_info_complete(&manager->info, manager->config->total_shards);
    tg_manager_begin(manager);
    return;
  }
  manager->fetch.at_start = true;
  manager->fetch.tries = 0;
  manager->fetch.began = tg_now();
  attempt(manager);
}

void tg_fetch_refresh(struct tg_manager *manager)
{
  if (manager->fetch.wait_until - tg_now() >= tg_patience(REFRESH_CAP))
    tg_slots_refreshed(manager); /* our own count has to do */
  if (manager->fetch.running || uv_is_active((uv_handle_t *)&manager->fetch_timer))
    return;
  if (tg_gateway_info_configured(manager->config) &&
      !tg_hooked(manager->hooks, TG_METHOD_manager_fetch_gateway_bot)) {
    tg_slots_refreshed(manager);
    return;
  }
  manager->fetch.at_start = false;
  manager->fetch.tries = 0;
  manager->fetch.began = tg_now();
  attempt(manager);
}
