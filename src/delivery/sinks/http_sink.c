#include "base/buf.h"
#include "delivery/env.h"
#include "delivery/sinks/request_head.h"
#include "delivery/sinks/sink.h"
#include "net/http.h"
#include "net/http_text.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  CONNECT_TIMEOUT = 5000,
  ANSWER_MAX = 2048,
};

struct http_sink {
  struct tg_sink sink;
  const struct tg_delivery_env *env;
  struct tg_http *http;
  char *url;
  struct tg_usual_headers usual;
};

static void reconfigure(struct tg_sink *sink, const struct tg_config *config)
{
  tg_usual_headers_read(&((struct http_sink *)sink)->usual, config);
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
  struct tg_span body = tg_sink_write(parcel);
  struct tg_request_head head;
  tg_request_head_write(&head, &http->usual, parcel, body);
  struct tg_http_request request = {
      .method = "POST",
      .url = http->url,
      .headers = head.lines,
      .body = body,
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
  tg_usual_headers_free(&http->usual);
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
