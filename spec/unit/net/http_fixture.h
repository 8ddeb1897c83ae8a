#pragma once

/* The HTTP client against a server on the same loop: what its units share. */

#include "fake_server.h"

#include "net/http.h"

struct answer {
  struct tg_http *http;
  int calls;
  long status;
  char code[TG_ERROR_CODE_SIZE], message[TG_ERROR_MESSAGE_SIZE];
  char body[4096], headers[4096];
  tg_ms retry_after;
  uint64_t cancel; /* in the callback */
  bool free_http;
  const struct tg_http_request *again;
};

struct test {
  struct fake_loop base;
  struct fake_server server;
  struct tg_http *http;
  struct answer answers[64];
};

static inline void on_done(void *ctx, const struct tg_http_response *response)
{
  struct answer *answer = ctx;
  answer->calls++;
  answer->status = response->status;
  answer->retry_after = response->retry_after;
  snprintf(answer->code, sizeof answer->code, "%s", response->error.code);
  snprintf(answer->message, sizeof answer->message, "%s", response->error.message);
  snprintf(answer->body, sizeof answer->body, "%.*s", (int)response->body.length, response->body.at);
  snprintf(answer->headers, sizeof answer->headers, "%s", response->headers);
  if (answer->cancel)
    tg_http_cancel(answer->http, answer->cancel);
  if (answer->again) {
    const struct tg_http_request *request = answer->again;
    answer->again = NULL;
    tg_http_start(answer->http, request, on_done, answer);
  }
  if (answer->free_http)
    tg_http_free(answer->http);
}

static inline void answer_204(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_answer(request->on, 204, "", "");
}

static inline int begin(void **state)
{
  struct test *test = calloc(1, sizeof *test);
  struct tg_http_options options = {0};
  fake_loop_begin(&test->base);
  fake_listen(&test->server, &test->base.loop);
  test->server.handle_request = answer_204;
  test->server.ctx = test;
  test->http = tg_http_new(&test->base.loop, &options);
  for (int i = 0; i < 64; i++)
    test->answers[i].http = test->http;
  *state = test;
  return 0;
}

static inline int end(void **state)
{
  struct test *test = *state;
  tg_http_free(test->http);
  fake_stop(&test->server);
  fake_loop_end(&test->base);
  fake_free_requests(&test->server);
  free(test);
  return 0;
}

static inline struct tg_http_request post(struct test *test, const char *body)
{
  return (struct tg_http_request){.method = "POST",
                                  .url = test->server.url,
                                  .body = {body, strlen(body)},
                                  .timeout = 5000,
                                  .max_body = 1000};
}

static inline uint64_t start(struct test *test, const struct tg_http_request *request, int number)
{
  return tg_http_start(test->http, request, on_done, &test->answers[number]);
}

static inline struct answer *finish(struct test *test, int number)
{
  WAIT_UNTIL(&test->base, test->answers[number].calls > 0);
  return &test->answers[number];
}

/* What send_text() and send_text_and_close() answer. */
static const char *text_to_send;

static inline void send_text(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_send(request->on, text_to_send);
}

static inline void send_text_and_close(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_send(request->on, text_to_send);
  uv_shutdown_t *shutdown = calloc(1, sizeof *shutdown);
  uv_shutdown(shutdown, &request->on->stream, (uv_shutdown_cb)(void (*)(void))free);
}

static inline struct tg_http_request post_by_head(struct test *test)
{
  struct tg_http_request request = post(test, "x");
  request.by_head = true;
  request.max_body = 5;
  return request;
}

static inline tg_ms passed(struct test *test, uint64_t since)
{
  uv_update_time(&test->base.loop);
  return (tg_ms)(uv_now(&test->base.loop) - since);
}

static inline void do_nothing(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  (void)request;
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, begin, end)
