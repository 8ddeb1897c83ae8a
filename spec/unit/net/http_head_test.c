/* Requests whose answer is decided by its head, and what time-outs say was missing. */

#include "http_fixture.h"

#include <pthread.h>
#include <unistd.h>

static void a_head_is_an_answer(void **state)
{
  struct test *test = *state;
  const char *heads[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Length: three\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
      "HTTP/1.1 201 Created\r\n\r\n",
      "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nno colon here\r\n",
  };
  struct tg_http_request request = post_by_head(test);
  test->server.handle_request = send_text;
  uint64_t since = uv_now(&test->base.loop);
  for (int i = 0; i < (int)(sizeof heads / sizeof *heads); i++) {
    text_to_send = heads[i];
    start(test, &request, i);
    assert_in_range(finish(test, i)->status, 200, 202);
  }
  assert_true(passed(test, since) < 1000 * (int)(sizeof heads / sizeof *heads));
  WAIT_UNTIL(&test->base, test->server.open_connections == 0); /* they are not kept for ever */
  for (int i = 0; i < (int)(sizeof heads / sizeof *heads); i++)
    assert_int_equal(test->answers[i].calls, 1);
}

static void half_a_head_is_none(void **state)
{
  struct test *test = *state;
  const char *heads[] = {"HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
                         "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"};
  struct tg_http_request request = post_by_head(test);
  request.timeout = 60;
  for (int i = 0; i < 10; i++) {
    test->server.handle_request = i < 5 ? send_text_and_close : send_text;
    text_to_send = heads[i % 5];
    start(test, &request, i);
    assert_int_equal(finish(test, i)->status, 0);
    assert_string_equal(test->answers[i].code, i < 5 ? "reset" : "timeout");
  }
}

static void other_answers_wait_for_their_body_a_while(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post_by_head(test);
  test->server.handle_request = send_text;
  uint64_t since = uv_now(&test->base.loop);
  text_to_send = "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nabc";
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 400);
  assert_string_equal(test->answers[0].body, "abc");
  assert_true(passed(test, since) >= 1000);
  test->server.handle_request = send_text_and_close;
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 400);
  assert_string_equal(test->answers[1].body, "abc");
  test->server.handle_request = send_text;
  text_to_send = "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nabcde";
  since = uv_now(&test->base.loop);
  start(test, &request, 2);
  assert_int_equal(finish(test, 2)->status, 400);
  assert_string_equal(test->answers[2].body, "abcde");
  assert_true(passed(test, since) < 1000);
}

static void ordinary_bodies_keep_the_connection(void **state)
{
  struct test *test = *state;
  char body[8192];
  struct tg_http_request request = post_by_head(test);
  memset(body, 'x', sizeof body - 1);
  body[sizeof body - 1] = '\0';
  test->server.handle_request = send_text;
  for (int i = 0; i < 20; i++) {
    char text[9000];
    snprintf(text, sizeof text, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s", i % 2 ? 200 : 500,
             strlen(body), body);
    text_to_send = text;
    start(test, &request, i);
    assert_int_equal(finish(test, i)->status, i % 2 ? 200 : 500);
  }
  assert_int_equal(test->server.connection_count, 1);
  /* The body may come later, too. */
  text_to_send = "HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n";
  start(test, &request, 30);
  finish(test, 30);
  fake_send(test->server.connections, "text");
  for (int i = 0; i < 10; i++)
    uv_run(&test->base.loop, UV_RUN_NOWAIT);
  test->server.handle_request = answer_204;
  start(test, &request, 31);
  assert_int_equal(finish(test, 31)->status, 204);
  assert_int_equal(test->server.connection_count, 1);
}

/* 8 MiB of nothing, over and over: as much as is taken. */
static void pour(struct fake_server *server, struct fake_request *request)
{
  static char block[1 << 20];
  (void)server;
  memset(block, 'x', sizeof block - 1);
  fake_send(request->on, text_to_send);
  for (int i = 0; i < 8; i++)
    fake_send(request->on, block);
}

static void endless_bodies_are_cut(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post_by_head(test);
  test->server.handle_request = pour;
  const char *heads[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
                         "HTTP/1.1 500 No\r\nContent-Length: 10000000000\r\n\r\n"};
  uint64_t since = uv_now(&test->base.loop);
  for (int i = 0; i < 2; i++) {
    text_to_send = heads[i];
    start(test, &request, i);
    assert_int_equal(finish(test, i)->status, i == 0 ? 200 : 500);
    WAIT_UNTIL(&test->base, test->server.open_connections == 0);
  }
  assert_true(passed(test, since) < 1000);
}

static void large_heads_are_read(void **state)
{
  struct test *test = *state;
  size_t size = 70 * 1024;
  char *text = malloc(size + 2000000);
  struct tg_http_request request = post_by_head(test);
  int length = sprintf(text, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n");
  while ((size_t)length < size)
    length += sprintf(text + length, "X-Number-%d: %0500d\r\n", length, 1);
  sprintf(text + length, "Content-Length: 0\r\n\r\n");
  text_to_send = text;
  test->server.handle_request = send_text;
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 503);
  assert_int_equal(test->answers[0].retry_after, 7000);
  memcpy(text, "HTTP/1.1 200", 12);
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 200);
  request.by_head = false;
  start(test, &request, 2);
  assert_string_equal(finish(test, 2)->code, "too_large");
  /* There is an end to it. */
  request.by_head = true;
  sprintf(text, "HTTP/1.1 200 OK\r\nX-Long: %01000000d\r\n\r\n", 1);
  start(test, &request, 3);
  assert_string_equal(finish(test, 3)->code, "too_large");
  assert_null(strstr(test->answers[3].message, "emory"));
  free(text);
}

/* The bot answers what it has not read yet: the caller's body must not be needed any more. */
static void accept_at_once(uv_stream_t *stream, int status)
{
  fake_accept(stream, status);
  struct fake_server *server = (struct fake_server *)stream;
  uv_read_stop(&server->connections->stream);
  fake_send(server->connections, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void an_early_answer_ends_the_request(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post_by_head(test);
  size_t size = 16 << 20;
  char *body = malloc(size);
  memset(body, 'x', size);
  request.body = (struct tg_span){body, size};
  test->server.stream.connection_cb = accept_at_once;
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 200);
  memset(body, 'y', size);
  free(body);
  uv_read_start(&test->server.connections->stream, fake_alloc, fake_read);
  WAIT_UNTIL(&test->base, test->server.open_connections == 0);
  assert_int_equal(test->server.request_count, 0);
}

/* What a batch has at most has gone when the answer is looked at. */
static void an_early_answer_to_a_batch_keeps_the_connection(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post_by_head(test);
  size_t size = 256 << 10;
  char *body = malloc(size);
  memset(body, 'x', size);
  request.body = (struct tg_span){body, size};
  test->server.stream.connection_cb = accept_at_once;
  test->server.handle_request = do_nothing;
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 200);
  free(body);
  assert_int_equal(test->server.open_connections, 1);
  uv_read_start(&test->server.connections->stream, fake_alloc, fake_read);
  WAIT_UNTIL(&test->base, test->server.request_count == 1);
  request = post_by_head(test);
  test->server.handle_request = answer_204;
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 204);
  assert_int_equal(test->server.request_count, 2);
  assert_int_equal(test->server.open_connections, 1);
}

/* In a thread of its own, so that its end may come at any moment of our sending. */
static void *answer_and_leave(void *ctx)
{
  static const char answer[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
  char head[1024];
  int listener = *(int *)ctx, client;
  while ((client = accept(listener, NULL, NULL)) >= 0) {
    ssize_t got = read(client, head, sizeof head);
    if (got > 0)
      got = write(client, answer, sizeof answer - 1);
    close(client); /* with RST, since there is more that it has not read */
  }
  return NULL;
}

static void an_answer_before_the_end_is_heard(void **state)
{
  struct test *test = *state;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
  assert_int_equal(listen(listener, 10), 0);
  assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, answer_and_leave, &listener), 0);
  char url[200];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
  struct tg_http_request request = post_by_head(test);
  size_t size = 4 << 20;
  char *body = calloc(1, size);
  request.url = url;
  request.body = (struct tg_span){body, size};
  for (int i = 0; i < 200; i++) {
    test->answers[0].calls = 0;
    start(test, &request, 0);
    if (finish(test, 0)->status != 413)
      fail_msg("%s", test->answers[0].message);
  }
  shutdown(listener, SHUT_RDWR);
  close(listener);
  pthread_join(thread, NULL);
  free(body);
}

static void few_connections_rest(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post_by_head(test);
  test->server.handle_request = send_text;
  text_to_send = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
  for (int i = 0; i < 64; i++) {
    start(test, &request, i);
    finish(test, i);
    assert_in_range(test->server.open_connections, 1, 34);
  }
  WAIT_UNTIL(&test->base, test->server.open_connections == 0);
}

static void answered_requests_cannot_be_cancelled(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post_by_head(test);
  test->server.handle_request = send_text;
  text_to_send = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
  uint64_t id = start(test, &request, 0);
  finish(test, 0);
  tg_http_cancel(test->http, id);
  text_to_send = "HTTP/1.1 400 No\r\nContent-Length: 4\r\n\r\n";
  id = start(test, &request, 1);
  WAIT_UNTIL(&test->base, test->server.request_count == 2);
  for (int i = 0; i < 5; i++)
    uv_run(&test->base.loop, UV_RUN_NOWAIT);
  tg_http_cancel(test->http, id); /* while it waits for the body */
  tg_http_free(test->http);
  test->http = NULL;
  assert_int_equal(test->answers[0].calls, 1);
  assert_int_equal(test->answers[1].calls, 0);
}

static void timeout_of(struct test *test, int number, struct tg_http_request *request, const char *words)
{
  request->timeout = 80;
  start(test, request, number);
  struct answer *answer = finish(test, number);
  assert_string_equal(answer->code, "timeout");
  if (!strstr(answer->message, words))
    fail_msg("\"%s\" does not say \"%s\"", answer->message, words);
}

/* A server that takes connections, but does not even read. */
static void accept_and_sleep(uv_stream_t *stream, int status)
{
  fake_accept(stream, status);
  uv_read_stop(&((struct fake_server *)stream)->connections->stream);
}

static void says_what_was_missing(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post(test, "x");
  test->server.handle_request = do_nothing;
  timeout_of(test, 0, &request, "no answer came");
  test->server.handle_request = send_text;
  text_to_send = "HTTP/1.1 200 OK\r\nContent-Len";
  timeout_of(test, 1, &request, "the head of its answer did not end");
  text_to_send = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
  timeout_of(test, 2, &request, "the body of its answer did not end (3 bytes came)");
  test->server.stream.connection_cb = accept_and_sleep;
  char url[200];
  snprintf(url, sizeof url, "https://127.0.0.1:%d/", test->server.port);
  request.url = url;
  timeout_of(test, 3, &request, "the TLS handshake did not end");
  request.url = test->server.url;
  size_t size = 16 << 20;
  char *body = malloc(size);
  memset(body, 'x', size);
  request.body = (struct tg_span){body, size};
  WAIT_UNTIL(&test->base, test->server.open_connections > 0);
  for (struct fake_connection *at = test->server.connections; at; at = at->next)
    fake_close(at);
  WAIT_UNTIL(&test->base, test->server.open_connections == 0);
  timeout_of(test, 4, &request, "of 16777216 bytes of the body)");
  free(body);
  fake_close(test->server.connections);
  /* On a connection that is used again, too. */
  test->server.stream.connection_cb = fake_accept;
  test->server.handle_request = answer_204;
  request = post(test, "x");
  start(test, &request, 5);
  finish(test, 5);
  test->server.handle_request = do_nothing;
  timeout_of(test, 6, &request, "no answer came");
}

/* Nobody takes the connection: the queue of the listener is full. */
static void says_that_nobody_took_the_connection(void **state)
{
  struct test *test = *state;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), clients[4];
  assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
  assert_int_equal(listen(listener, 0), 0);
  assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
  for (int i = 0; i < 4; i++) {
    clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(clients[i], (struct sockaddr *)&address, length);
  }
  char url[200];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
  struct tg_http_request request = post(test, "x");
  request.url = url;
  timeout_of(test, 0, &request, "there was no connection");
  for (int i = 0; i < 4; i++)
    close(clients[i]);
  close(listener);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_SERVER(a_head_is_an_answer),
      WITH_SERVER(half_a_head_is_none),
      WITH_SERVER(other_answers_wait_for_their_body_a_while),
      WITH_SERVER(ordinary_bodies_keep_the_connection),
      WITH_SERVER(endless_bodies_are_cut),
      WITH_SERVER(large_heads_are_read),
      WITH_SERVER(an_early_answer_ends_the_request),
      WITH_SERVER(an_early_answer_to_a_batch_keeps_the_connection),
      WITH_SERVER(an_answer_before_the_end_is_heard),
      WITH_SERVER(few_connections_rest),
      WITH_SERVER(answered_requests_cannot_be_cancelled),
      WITH_SERVER(says_what_was_missing),
      WITH_SERVER(says_that_nobody_took_the_connection),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
