/* The HTTP client against a server on the same loop. */

#include "http_fixture.h"

#include <unistd.h>

static void sends_what_it_was_given(void **state)
{
  struct test *test = *state;
  const char *headers[] = {"Authorization: secret", "Content-Type: application/json", "Idempotency-Key: 1.2.3", NULL};
  struct tg_http_request request = post(test, "{\"a\":1}");
  request.headers = headers;
  assert_true(start(test, &request, 0) != 0);
  assert_int_equal(test->answers[0].calls, 0); /* never from inside start */
  assert_int_equal(finish(test, 0)->status, 204);
  const struct fake_request *seen = &test->server.requests[0];
  assert_string_equal(seen->body, "{\"a\":1}");
  assert_memory_equal(seen->head, "POST / HTTP/1.1\r\n", 17);
  assert_string_equal(fake_header(seen, "Authorization"), "secret");
  assert_string_equal(fake_header(seen, "Content-Type"), "application/json");
  assert_string_equal(fake_header(seen, "Idempotency-Key"), "1.2.3");
  assert_null(fake_header(seen, "Expect"));
  assert_null(fake_header(seen, "Accept"));
  assert_null(fake_header(seen, "User-Agent"));
}

static void does_other_methods(void **state)
{
  struct test *test = *state;
  const char *methods[] = {"GET", "PUT", "PATCH", "DELETE", "POST", "GET"};
  for (int i = 0; i < 6; i++) {
    struct tg_http_request request = post(test, i >= 1 && i <= 2 ? "x" : "");
    request.method = methods[i];
    start(test, &request, i);
    assert_int_equal(finish(test, i)->status, 204);
    assert_memory_equal(test->server.requests[i].head, methods[i], strlen(methods[i]));
    assert_string_equal(test->server.requests[i].body, i >= 1 && i <= 2 ? "x" : "");
  }
  assert_int_equal(test->server.connection_count, 1);
}

static void keeps_connections(void **state)
{
  struct test *test = *state;
  for (int i = 0; i < 20; i++) {
    struct tg_http_request request = post(test, "x");
    start(test, &request, i);
    assert_int_equal(finish(test, i)->status, 204);
  }
  assert_int_equal(test->server.connection_count, 1);
  assert_int_equal(test->server.request_count, 20);
}

static void large_bodies_go_out_whole(void **state)
{
  struct test *test = *state;
  size_t size = 3 * 1024 * 1024;
  char *body = malloc(size + 1);
  memset(body, 'x', size);
  body[size] = '\0';
  struct tg_http_request request = post(test, body);
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 204);
  assert_int_equal(strlen(test->server.requests[0].body), size);
  free(body);
}

static void survives_a_closed_idle_connection(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post(test, "x");
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 204);
  fake_close(test->server.connections);
  WAIT_UNTIL(&test->base, test->server.open_connections == 0);
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 204);
  assert_int_equal(test->server.connection_count, 2);
}

static void answer_redirect(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_answer(request->on, 302, "Location: /elsewhere\r\n", "gone");
}

static void does_not_follow_redirects(void **state)
{
  struct test *test = *state;
  test->server.handle_request = answer_redirect;
  struct tg_http_request request = post(test, "x");
  start(test, &request, 0);
  struct answer *answer = finish(test, 0);
  assert_int_equal(answer->status, 302);
  assert_string_equal(answer->body, "gone");
  assert_non_null(strstr(answer->headers, "Location: /elsewhere\r\n"));
  assert_int_equal(test->server.request_count, 1);
}

static void answer_busy(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_answer(request->on, 503, "Retry-After: 7\r\n", "");
}

static void reads_retry_after(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post(test, "x");
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->retry_after, -1);
  test->server.handle_request = answer_busy;
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->retry_after, 7000);
}

static void answer_long(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_answer(request->on, 200, "", "0123456789");
}

static void bounds_the_answer(void **state)
{
  struct test *test = *state;
  test->server.handle_request = answer_long;
  struct tg_http_request request = post(test, "x");
  request.max_body = 5;
  start(test, &request, 0);
  struct answer *answer = finish(test, 0);
  assert_int_equal(answer->status, 0);
  assert_string_equal(answer->code, "too_large");
  request.by_head = true;
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 200);
  request.max_body = 0;
  request.by_head = false;
  start(test, &request, 2);
  assert_int_equal(finish(test, 2)->status, 200);
  assert_string_equal(test->answers[2].body, "");
  request.max_body = 10;
  start(test, &request, 3);
  assert_string_equal(finish(test, 3)->body, "0123456789");
}

static void says_refused(void **state)
{
  struct test *test = *state;
  fake_stop(&test->server);
  uv_run(&test->base.loop, UV_RUN_NOWAIT);
  struct tg_http_request request = post(test, "x");
  start(test, &request, 0);
  struct answer *answer = finish(test, 0);
  assert_int_equal(answer->status, 0);
  assert_string_equal(answer->code, "refused");
  assert_non_null(strstr(answer->message, "http://127.0.0.1:"));
  assert_non_null(strstr(answer->message, "Connection refused"));
}

static void says_timeout(void **state)
{
  struct test *test = *state;
  test->server.handle_request = do_nothing;
  struct tg_http_request request = post(test, "x");
  request.timeout = 60;
  start(test, &request, 0);
  assert_string_equal(finish(test, 0)->code, "timeout");
  test->server.handle_request = answer_204; /* and the client goes on */
  request.timeout = 5000;
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 204);
}

/* One that was mute is not given to the next request: unless there is no other. */
static void goes_back_to_a_mute_address_where_there_is_none_else(void **state)
{
  struct test *test = *state;
  test->server.handle_request = do_nothing;
  struct tg_http_request request = post(test, "x");
  request.timeout = 600;
  start(test, &request, 0);
  assert_string_equal(finish(test, 0)->code, "timeout");
  start(test, &request, 1);
  assert_string_equal(finish(test, 1)->code, "timeout");
  test->server.handle_request = answer_204;
  request.timeout = 5000;
  start(test, &request, 2);
  assert_int_equal(finish(test, 2)->status, 204);
  fake_stop(&test->server);
  uv_run(&test->base.loop, UV_RUN_NOWAIT);
  start(test, &request, 3);
  assert_string_equal(finish(test, 3)->code, "refused");
}

static void reset_it(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_reset(request->on);
}

static void close_it(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_close(request->on);
}

static void close_in_mid_answer(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_send(request->on, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
  uv_shutdown_t *shutdown = calloc(1, sizeof *shutdown);
  uv_shutdown(shutdown, &request->on->stream, (uv_shutdown_cb)(void (*)(void))free);
}

static void says_reset(void **state)
{
  struct test *test = *state;
  void (*how[])(struct fake_server *, struct fake_request *) = {reset_it, close_it, close_in_mid_answer};
  struct tg_http_request request = post(test, "x");
  for (int i = 0; i < 3; i++) {
    test->server.handle_request = how[i];
    start(test, &request, i);
    assert_string_equal(finish(test, i)->code, "reset");
  }
}

static void says_tls(void **state)
{
  struct test *test = *state;
  char url[200];
  snprintf(url, sizeof url, "https://127.0.0.1:%d/", test->server.port);
  struct tg_http_request request = post(test, "x");
  request.url = url;
  start(test, &request, 0);
  /* The server waits for the end of a head: garbage that has none, so close. */
  WAIT_UNTIL(&test->base, test->server.connections && test->server.connections->length > 0);
  fake_send(test->server.connections, "HTTP/1.1 400 Bad Request\r\n\r\n");
  assert_string_equal(finish(test, 0)->code, "tls");
}

static void says_resolve(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post(test, "x");
  request.url = "http://no-such-host.invalid/";
  start(test, &request, 0);
  assert_string_equal(finish(test, 0)->code, "resolve");
}

static void says_bad_url(void **state)
{
  struct test *test = *state;
  const char *urls[] = {"ftp://example.com/", "example.com", "http://", "http+unix://relative", "http://[::1/"};
  for (int i = 0; i < 5; i++) {
    struct tg_http_request request = post(test, "x");
    request.url = urls[i];
    assert_true(start(test, &request, i) != 0);
    assert_int_equal(test->answers[i].calls, 0);
    assert_string_equal(finish(test, i)->code, "bad_url");
  }
}

/* Whatever the handle was used for before. */
static void asks_for_what_the_url_names(void **state)
{
  struct test *test = *state;
  const char *host = strstr(test->server.url, "://") + 3;
  char url[200];
  struct tg_http_request request = post(test, "x");
  snprintf(url, sizeof url, "http://us%%40er:pass@%.*s/a/../b%%20c;d?q=%%2F&r=[1]", (int)strcspn(host, "/"),
           host);
  for (int i = 0; i < 6; i += 2) {
    request.url = url;
    start(test, &request, i);
    assert_int_equal(finish(test, i)->status, 204);
    const struct fake_request *seen = &test->server.requests[i / 2];
    assert_memory_equal(seen->head, "POST /b%20c;d?q=%2F&r=[1] HTTP/1.1\r\n", 36);
    assert_string_equal(fake_header(seen, "Authorization"), "Basic dXNAZXI6cGFzcw==");
    request.url = "http://[::1/"; /* what libcurl does not understand */
    start(test, &request, i + 1);
    assert_string_equal(finish(test, i + 1)->code, "bad_url");
  }
}

static void refuses_headers_with_line_breaks(void **state)
{
  struct test *test = *state;
  const char *headers[] = {"X-One: 1\r\nX-Two: 2", NULL};
  struct tg_http_request request = post(test, "x");
  request.headers = headers;
  start(test, &request, 0);
  assert_string_equal(finish(test, 0)->code, "failed");
}

static void speaks_over_unix_sockets(void **state)
{
  struct test *test = *state;
  char directory[] = "/tmp/tidegate-http-XXXXXX", path[64];
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/bot.sock", directory);
  struct fake_server *server = calloc(1, sizeof *server);
  server->handle_request = answer_204;
  fake_listen_unix(server, &test->base.loop, path);
  struct tg_http_request request = post(test, "hello");
  request.url = server->url;
  start(test, &request, 0);
  assert_int_equal(finish(test, 0)->status, 204);
  assert_string_equal(server->requests[0].body, "hello");
  assert_memory_equal(server->requests[0].head, "POST /events HTTP/1.1", 21);
  request.url = test->server.url; /* the same handle, another way */
  start(test, &request, 1);
  assert_int_equal(finish(test, 1)->status, 204);
  fake_stop(server);
  WAIT_UNTIL(&test->base, server->open_connections == 0);
  unlink(path);
  request.url = server->url;
  start(test, &request, 2);
  assert_string_equal(finish(test, 2)->code, "refused");
  rmdir(directory);
  fake_free_requests(server);
  free(server);
}

static void cancelled_requests_are_not_heard_of(void **state)
{
  struct test *test = *state;
  test->server.handle_request = do_nothing;
  struct tg_http_request request = post(test, "x");
  uint64_t running = start(test, &request, 0);
  WAIT_UNTIL(&test->base, test->server.request_count == 1);
  tg_http_cancel(test->http, running);
  tg_http_cancel(test->http, running); /* unknown now */
  tg_http_cancel(test->http, 0);
  tg_http_cancel(test->http, 12345);
  WAIT_UNTIL(&test->base, test->server.open_connections == 0);
  request.url = "nonsense";
  tg_http_cancel(test->http, start(test, &request, 1));
  test->server.handle_request = answer_204;
  request = post(test, "y");
  uint64_t next = start(test, &request, 2);
  assert_true(next != running);
  tg_http_cancel(test->http, running);
  assert_int_equal(finish(test, 2)->status, 204);
  assert_int_equal(test->answers[0].calls, 0);
  assert_int_equal(test->answers[1].calls, 0);
}

/* Both answers are read in one turn; the first callback cancels the second. */
static void cancels_from_inside_a_callback(void **state)
{
  struct test *test = *state;
  struct tg_http_request bad = post(test, "x");
  bad.url = "nonsense";
  start(test, &bad, 0);
  test->answers[0].cancel = start(test, &bad, 1);
  struct tg_http_request good = post(test, "x");
  test->answers[3].cancel = start(test, &good, 2); /* runs */
  start(test, &bad, 3);
  finish(test, 3);
  start(test, &good, 4);
  assert_int_equal(finish(test, 4)->status, 204);
  assert_int_equal(test->answers[0].calls, 1);
  assert_int_equal(test->answers[1].calls, 0);
  assert_int_equal(test->answers[2].calls, 0);
}

static void starts_from_inside_a_callback(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post(test, "x");
  test->answers[0].again = &request;
  start(test, &request, 0);
  WAIT_UNTIL(&test->base, test->answers[0].calls == 2);
  assert_int_equal(test->answers[0].status, 204);
  assert_int_equal(test->server.connection_count, 1);
}

static void free_ends_what_runs(void **state)
{
  struct test *test = *state;
  test->server.handle_request = do_nothing;
  struct tg_http_request request = post(test, "x");
  for (int i = 0; i < 3; i++)
    start(test, &request, i);
  WAIT_UNTIL(&test->base, test->server.request_count == 3);
  test->answers[1].again = &request; /* not run any more */
  tg_http_free(test->http);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(test->answers[i].calls, 1);
    assert_string_equal(test->answers[i].code, "cancelled");
  }
  test->http = NULL;
}

static void free_from_inside_a_callback(void **state)
{
  struct test *test = *state;
  struct tg_http_request request = post(test, "x");
  test->answers[0].free_http = true;
  start(test, &request, 0);
  finish(test, 0);
  test->http = NULL;
}

static void answer_when_full(struct fake_server *server, struct fake_request *request)
{
  struct test *test = server->ctx;
  (void)request;
  if (server->request_count < 4)
    return;
  test->server.handle_request = answer_204;
  for (struct fake_connection *at = server->connections; at; at = at->next)
    fake_answer(at, 204, "", "");
}

static void runs_many_at_once(void **state)
{
  struct test *test = *state;
  test->server.handle_request = answer_when_full;
  struct tg_http_request request = post(test, "x");
  for (int i = 0; i < 4; i++)
    start(test, &request, i);
  for (int i = 0; i < 4; i++)
    assert_int_equal(finish(test, i)->status, 204);
  assert_int_equal(test->server.connection_count, 4);
}

static void answer_garbage(struct fake_server *server, struct fake_request *request)
{
  (void)server;
  fake_send(request->on, "220 mail.example.com ESMTP ready\r\n");
}

static void garbage_is_an_error(void **state)
{
  struct test *test = *state;
  test->server.handle_request = answer_garbage;
  struct tg_http_request request = post(test, "x");
  start(test, &request, 0);
  assert_string_equal(finish(test, 0)->code, "failed");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_SERVER(sends_what_it_was_given),
      WITH_SERVER(does_other_methods),
      WITH_SERVER(keeps_connections),
      WITH_SERVER(large_bodies_go_out_whole),
      WITH_SERVER(survives_a_closed_idle_connection),
      WITH_SERVER(does_not_follow_redirects),
      WITH_SERVER(reads_retry_after),
      WITH_SERVER(bounds_the_answer),
      WITH_SERVER(says_refused),
      WITH_SERVER(says_timeout),
      WITH_SERVER(goes_back_to_a_mute_address_where_there_is_none_else),
      WITH_SERVER(says_reset),
      WITH_SERVER(says_tls),
      WITH_SERVER(says_resolve),
      WITH_SERVER(says_bad_url),
      WITH_SERVER(asks_for_what_the_url_names),
      WITH_SERVER(refuses_headers_with_line_breaks),
      WITH_SERVER(speaks_over_unix_sockets),
      WITH_SERVER(cancelled_requests_are_not_heard_of),
      WITH_SERVER(cancels_from_inside_a_callback),
      WITH_SERVER(starts_from_inside_a_callback),
      WITH_SERVER(free_ends_what_runs),
      WITH_SERVER(free_from_inside_a_callback),
      WITH_SERVER(runs_many_at_once),
      WITH_SERVER(garbage_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
