#include "base/buf.h"
#include "config/config.h"
#include "delivery/env.h"
#include "delivery/sinks/sink.h"
#include "net/http.h"
#include "net/http_text.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  CONNECT_TIMEOUT = 5000,
  ANSWER_MAX = 2048,
};

#define KEY_HEADER "Idempotency-Key: "

struct http_sink {
  struct tg_sink sink;
  const struct tg_delivery_env *env;
  struct tg_http *http;
  char *url;
  char *authorization; /* the header line, or NULL */
};

static void reconfigure(struct tg_sink *sink, const struct tg_config *config)
{
  struct http_sink *http = (struct http_sink *)sink;
  struct tg_buf line = {0};
  if (config->event_handler.authorization)
    tg_buf_printf(&line, "Authorization: %s", config->event_handler.authorization);
  free(http->authorization);
  http->authorization = line.length > 0 ? tg_buf_take(&line) : NULL;
}

static void on_response(void *ctx, const struct tg_http_response *response)
{
  struct tg_parcel *parcel = ctx;
  struct tg_answer answer = {
      .outcome = tg_outcome_of(response->status, response->error.code, response->retry_after),
      .status = response->status,
      .retry_after = response->retry_after,
      .body = response->body,
      .error = response->error,
      .advice = tg_outcome_advice(response->status, response->error.code),
      .seconds = response->seconds,
  };
  if (response->status)
    snprintf(answer.error.message, sizeof answer.error.message, "it answered %ld", response->status);
  parcel->sink->ended(parcel, &answer);
}

static void start(struct tg_sink *sink, struct tg_parcel *parcel)
{
  const struct http_sink *http = (const struct http_sink *)sink;
  tg_ms timeout = http->env->config->event_handler.timeout;
  char key[sizeof KEY_HEADER - 1 + TG_PARCEL_KEY_MAX] = KEY_HEADER;
  tg_parcel_key(parcel, key + sizeof KEY_HEADER - 1);
  const char *headers[] = {"Content-Type: application/json", key, http->authorization, NULL};
  struct tg_http_request request = {
      .method = "POST",
      .url = http->url,
      .headers = headers,
      .body = tg_sink_write(parcel),
      .timeout = timeout,
      .connect_timeout = timeout < CONNECT_TIMEOUT ? timeout : CONNECT_TIMEOUT,
      .max_body = ANSWER_MAX,
      .by_head = true,
  };
  parcel->request = tg_http_start(http->http, &request, on_response, parcel);
}

static void cancel(struct tg_sink *sink, struct tg_parcel *parcel)
{
  tg_http_cancel(((const struct http_sink *)sink)->http, parcel->request);
}

static void free_sink(struct tg_sink *sink)
{
  struct http_sink *http = (struct http_sink *)sink;
  free(http->authorization);
  free(http->url);
  free(sink->name);
  free(http);
}

struct tg_sink *tg_http_sink_new(const struct tg_delivery_env *env, struct tg_http *http, const char *url)
{
  static const struct tg_sink_kind kind = {start, cancel, reconfigure, free_sink};
  struct http_sink *sink = tg_calloc(1, sizeof *sink);
  sink->sink = (struct tg_sink){.kind = &kind, .name = tg_http_url_public(url)};
  sink->env = env;
  sink->http = http;
  sink->url = tg_strdup(url);
  reconfigure(&sink->sink, env->config);
  return &sink->sink;
}
