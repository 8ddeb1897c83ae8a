#include "base/buf.h"
#include "base/url_parts.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/request_head.h"
#include "delivery/sinks/sender.h"
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  CONNECT_TIMEOUT = 5000,
  ANSWER_MAX = 2048,
};

struct http_carrier {
  struct tg_carrier carrier;
  tg_ms timeout;
  struct tg_http *http;
  char *url;
  struct tg_usual_headers usual;
};

static void reconfigure(struct tg_carrier *carrier, const struct tg_senders *senders)
{
  struct http_carrier *http = (struct http_carrier *)carrier;
  http->timeout = senders->lanes->handler->timeout;
  tg_usual_headers_read(&http->usual, senders->lanes->handler, senders->env->config->token);
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
      .advice = tg_outcome_advice(response->status, response->error.code,
                                  parcel->lane->lanes->index == TG_SINK_BOT),
      .seconds = response->seconds,
  };
  if (response->status)
    snprintf(answer.error.message, sizeof answer.error.message, "it answered %ld", response->status);
  parcel->carrier->ended(parcel, &answer);
}

static void start(struct tg_carrier *carrier, struct tg_parcel *parcel)
{
  const struct http_carrier *http = (const struct http_carrier *)carrier;
  tg_ms timeout = http->timeout;
  struct tg_span body = tg_carrier_write(parcel);
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

static void cancel(struct tg_carrier *carrier, struct tg_parcel *parcel)
{
  tg_http_cancel(((const struct http_carrier *)carrier)->http, parcel->request);
}

static void free_carrier(struct tg_carrier *carrier)
{
  struct http_carrier *http = (struct http_carrier *)carrier;
  tg_usual_headers_free(&http->usual);
  free(http->url);
  free(carrier->name);
  free(http);
}

struct tg_carrier *tg_http_carrier_new(const struct tg_senders *senders, const char *url)
{
  static const struct tg_carrier_kind kind = {start, cancel, reconfigure, free_carrier};
  struct http_carrier *carrier = tg_calloc(1, sizeof *carrier);
  carrier->carrier = (struct tg_carrier){.kind = &kind, .name = tg_url_public(url)};
  carrier->http = senders->http;
  carrier->url = tg_strdup(url);
  reconfigure(&carrier->carrier, senders);
  return &carrier->carrier;
}
