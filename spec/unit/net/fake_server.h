#pragma once

/* An HTTP server for the units of delivery, on the test's own loop. `handle`
 * decides what to do with each request; it is recorded first. Not one byte is
 * sent that the test did not ask for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

struct fake_server;

struct fake_request {
  char *head, *body;
  int connection; /* from 1 */
  struct fake_connection *on;
};

struct fake_connection {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  struct fake_server *server;
  int number;
  char *input;
  size_t length;
  bool closing;
  struct fake_connection *next;
};

enum { FAKE_REQUESTS = 4096 };

struct fake_server {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  uv_loop_t *loop;
  bool is_pipe;
  int port;
  char url[128];
  void (*handle_request)(struct fake_server *server, struct fake_request *request);
  void *ctx;
  struct fake_request requests[FAKE_REQUESTS];
  int request_count, connection_count, open_connections;
  struct fake_connection *connections;
};

struct fake_write {
  uv_write_t write;
  char *text;
};

static inline void fake_connection_closed(uv_handle_t *handle)
{
  struct fake_connection *connection = (struct fake_connection *)handle;
  struct fake_connection **at = &connection->server->connections;
  while (*at != connection)
    at = &(*at)->next;
  *at = connection->next;
  connection->server->open_connections--;
  free(connection->input);
  free(connection);
}

static inline void fake_close(struct fake_connection *connection)
{
  if (connection->closing)
    return;
  connection->closing = true;
  uv_close(&connection->handle, fake_connection_closed);
}

/* RST instead of FIN. */
static inline void fake_reset(struct fake_connection *connection)
{
  if (connection->closing)
    return;
  connection->closing = true;
  if (uv_tcp_close_reset(&connection->tcp, fake_connection_closed) != 0)
    uv_close(&connection->handle, fake_connection_closed);
}

static inline void fake_written(uv_write_t *write, int status)
{
  (void)status;
  free(((struct fake_write *)write)->text);
  free(write);
}

static inline void fake_send(struct fake_connection *connection, const char *text)
{
  if (connection->closing)
    return;
  struct fake_write *write = malloc(sizeof *write);
  write->text = strdup(text);
  uv_buf_t buf = uv_buf_init(write->text, (unsigned)strlen(text));
  uv_write(&write->write, &connection->stream, &buf, 1, fake_written);
}

/* A whole answer; `headers` each end with CRLF, may be "". */
static inline void fake_answer(struct fake_connection *connection, int status, const char *headers,
                               const char *body)
{
  size_t size = strlen(headers) + strlen(body) + 200;
  char *text = malloc(size);
  if (status == 204)
    snprintf(text, size, "HTTP/1.1 204 No Content\r\n%s\r\n", headers);
  else
    snprintf(text, size, "HTTP/1.1 %d Some Reason\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body),
             headers, body);
  fake_send(connection, text);
  free(text);
}

static inline const char *fake_header(const struct fake_request *request, const char *name)
{
  static char value[512];
  for (const char *line = request->head; line; line = strstr(line, "\r\n"), line = line ? line + 2 : NULL)
    if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
      const char *at = line + strlen(name) + 1;
      at += strspn(at, " ");
      snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r\n"), at);
      return value;
    }
  return NULL;
}

static inline bool fake_take_request(struct fake_connection *connection)
{
  struct fake_server *server = connection->server;
  char *end = connection->length ? memmem(connection->input, connection->length, "\r\n\r\n", 4) : NULL;
  if (!end || connection->closing)
    return false;
  size_t head = (size_t)(end + 4 - connection->input);
  struct fake_request request = {.connection = connection->number, .on = connection};
  request.head = strndup(connection->input, head);
  const char *length = fake_header(&request, "Content-Length");
  size_t body = length ? strtoul(length, NULL, 10) : 0;
  if (connection->length < head + body) {
    free(request.head);
    return false;
  }
  request.body = strndup(connection->input + head, body);
  memmove(connection->input, connection->input + head + body, connection->length - head - body);
  connection->length -= head + body;
  assert_true(server->request_count < FAKE_REQUESTS);
  server->requests[server->request_count++] = request;
  server->handle_request(server, &server->requests[server->request_count - 1]);
  return true;
}

static inline void fake_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  (void)handle;
  *buf = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static inline void fake_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
  struct fake_connection *connection = (struct fake_connection *)stream;
  if (count > 0) {
    connection->input = realloc(connection->input, connection->length + (size_t)count);
    memcpy(connection->input + connection->length, buf->base, (size_t)count);
    connection->length += (size_t)count;
    while (fake_take_request(connection)) {
    }
  } else if (count < 0) {
    fake_close(connection);
  }
  free(buf->base);
}

static inline void fake_accept(uv_stream_t *stream, int status)
{
  struct fake_server *server = (struct fake_server *)stream;
  assert_int_equal(status, 0);
  struct fake_connection *connection = calloc(1, sizeof *connection);
  connection->server = server;
  connection->number = ++server->connection_count;
  if (server->is_pipe)
    uv_pipe_init(server->loop, &connection->pipe, 0);
  else
    uv_tcp_init(server->loop, &connection->tcp);
  server->open_connections++;
  connection->next = server->connections;
  server->connections = connection;
  assert_int_equal(uv_accept(stream, &connection->stream), 0);
  if (!server->is_pipe)
    uv_tcp_nodelay(&connection->tcp, 1);
  uv_read_start(&connection->stream, fake_alloc, fake_read);
}

static inline void fake_listen_port(struct fake_server *server, uv_loop_t *loop, int port)
{
  struct sockaddr_in address;
  int length = sizeof address;
  server->loop = loop;
  uv_tcp_init(loop, &server->tcp);
  uv_ip4_addr("127.0.0.1", port, &address);
  assert_int_equal(uv_tcp_bind(&server->tcp, (struct sockaddr *)&address, 0), 0);
  assert_int_equal(uv_listen(&server->stream, 128, fake_accept), 0);
  uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&address, &length);
  server->port = ntohs(address.sin_port);
  snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d/", server->port);
}

static inline void fake_listen(struct fake_server *server, uv_loop_t *loop) { fake_listen_port(server, loop, 0); }

static inline void fake_listen_unix(struct fake_server *server, uv_loop_t *loop, const char *path)
{
  server->loop = loop;
  server->is_pipe = true;
  uv_pipe_init(loop, &server->pipe, 0);
  assert_int_equal(uv_pipe_bind(&server->pipe, path), 0);
  assert_int_equal(uv_listen(&server->stream, 128, fake_accept), 0);
  snprintf(server->url, sizeof server->url, "http+unix://%s:/events", path);
}

static inline void fake_stop(struct fake_server *server)
{
  if (server->loop && !uv_is_closing(&server->handle))
    uv_close(&server->handle, NULL);
  for (struct fake_connection *at = server->connections; at; at = at->next)
    fake_close(at);
}

static inline void fake_free_requests(struct fake_server *server)
{
  for (int i = 0; i < server->request_count; i++) {
    free(server->requests[i].head);
    free(server->requests[i].body);
  }
  server->request_count = 0;
}

/* The loop of a test, with a guard that fails the test when nothing happens. */
struct fake_loop {
  uv_loop_t loop;
  uv_timer_t guard;
  int ticks;
};

/* Ticks, because a turn of the loop that ran timers goes on to wait for I/O. */
static inline void fake_tick(uv_timer_t *timer)
{
  struct fake_loop *fake = timer->data;
  if (++fake->ticks > 2000)
    fail_msg("nothing happened within 10 seconds");
}

static inline void fake_loop_begin(struct fake_loop *fake)
{
  uv_loop_init(&fake->loop);
  uv_timer_init(&fake->loop, &fake->guard);
  fake->guard.data = fake;
}

/* Everything must have been closed: what keeps the loop alive fails the test. */
static inline void fake_loop_end(struct fake_loop *fake)
{
  uv_close((uv_handle_t *)&fake->guard, NULL);
  for (int turns = 0; turns < 1000 && uv_run(&fake->loop, UV_RUN_NOWAIT); turns++) {
  }
  assert_int_equal(uv_loop_close(&fake->loop), 0);
}

/* Turns the loop until `condition` holds. */
#define WAIT_UNTIL(fake, condition)                                                                          \
  do {                                                                                                       \
    (fake)->ticks = 0;                                                                                       \
    uv_timer_start(&(fake)->guard, fake_tick, 5, 5);                                                         \
    while (!(condition))                                                                                     \
      uv_run(&(fake)->loop, UV_RUN_ONCE);                                                                    \
    uv_timer_stop(&(fake)->guard);                                                                           \
  } while (0)
