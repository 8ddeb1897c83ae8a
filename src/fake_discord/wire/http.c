#include "fake_discord/wire/http.h"

#include "fake_discord/gateway/points.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/journal.h"
#include "net/http_syntax.h"
#include "net/http_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { BODY_MAX = 64 * 1024 * 1024, TARGET_MAX = 8192, BACKLOG = 4096 };

struct tg_fake_listener {
  struct tg_fake *fake;
  uv_poll_t poll;
  int fd;
  struct tg_tls *tls;
  tg_fake_handler *handler;
};

struct tg_fake_http {
  LIST_ENTRY(tg_fake_http) link;
  struct tg_fake *fake;
  tg_fake_handler *handler;
  struct tg_stream *stream;
  struct tg_http_syntax syntax;
  struct tg_fake_request request;
  bool value_begun; /* header callbacks come in pieces */
  bool waiting;     /* a request is being handled */
  bool gone;
  bool counted; /* not one of the admin API */
  struct tg_fake_timer *later;
  void (*run_later)(void *http);
  int later_status; /* of an answer that is delayed */
  json_t *later_json;
  const struct tg_stream_callbacks *taken_over; /* after an upgrade */
  void *taken_ctx;
};

/* ---- requests ---- */

static void append(char **text, const char *at, size_t length)
{
  size_t used = *text ? strlen(*text) : 0;
  *text = tg_realloc(*text, used + length + 1);
  memcpy(*text + used, at, length);
  (*text)[used + length] = '\0';
}

static void clear_request(struct tg_fake_request *request)
{
  free(request->target);
  free(request->path);
  for (int i = 0; i < request->header_count; i++) {
    free(request->headers[i].name);
    free(request->headers[i].value);
  }
  tg_buf_free(&request->body);
  *request = (struct tg_fake_request){0};
}

static bool on_target(void *ctx, const char *at, size_t length)
{
  struct tg_fake_http *http = ctx;
  append(&http->request.target, at, length);
  return strlen(http->request.target) <= TARGET_MAX;
}

static bool on_name(void *ctx, const char *at, size_t length)
{
  struct tg_fake_http *http = ctx;
  struct tg_fake_request *request = &http->request;
  if (http->value_begun || request->header_count == 0) {
    if (request->header_count == TG_FAKE_HEADERS_MAX)
      return false;
    request->headers[request->header_count++].value = tg_strdup("");
    http->value_begun = false;
  }
  append(&request->headers[request->header_count - 1].name, at, length);
  return true;
}

static bool on_value(void *ctx, const char *at, size_t length)
{
  struct tg_fake_http *http = ctx;
  http->value_begun = true;
  append(&http->request.headers[http->request.header_count - 1].value, at, length);
  return true;
}

static bool on_body(void *ctx, const char *at, size_t length)
{
  struct tg_fake_http *http = ctx;
  if (http->request.body.length + length > BODY_MAX)
    return false;
  tg_buf_append(&http->request.body, at, length);
  return true;
}

static bool on_begin(void *ctx)
{
  struct tg_fake_http *http = ctx;
  if (http->waiting)
    return false; /* nobody here pipelines */
  clear_request(&http->request);
  http->value_begun = false;
  return true;
}

static const struct tg_http_syntax_callbacks syntax_callbacks = {
    .on_begin = on_begin,
    .on_target = on_target,
    .on_name = on_name,
    .on_value = on_value,
    .on_body = on_body,
};

static void handle(struct tg_fake_http *http)
{
  struct tg_fake_request *request = &http->request;
  request->method = http->syntax.method;
  request->upgrade = http->syntax.upgrade;
  size_t path = strcspn(request->target, "?");
  request->path = tg_strndup(request->target, path);
  request->query = request->target[path] == '?' ? request->target + path + 1 : "";
  *tg_buf_reserve(&request->body, 1) = '\0';
  http->waiting = true;
  http->handler(http->fake, http, request);
}

const char *tg_fake_request_header(const struct tg_fake_request *request, const char *name)
{
  for (int i = 0; i < request->header_count; i++)
    if (strcasecmp(request->headers[i].name, name) == 0)
      return request->headers[i].value;
  return NULL;
}

bool tg_fake_request_param(const struct tg_fake_request *request, const char *name, char *value, size_t size)
{
  size_t length = strlen(name);
  for (const char *at = request->query; *at;) {
    size_t here = strcspn(at, "&");
    if (here >= length && strncmp(at, name, length) == 0 && (here == length || at[length] == '=')) {
      size_t skip = here == length ? length : length + 1;
      snprintf(value, size, "%.*s", (int)(here - skip), at + skip);
      return true;
    }
    at += here + (at[here] == '&');
  }
  return false;
}

/* ---- connections ---- */

static void on_open(void *ctx)
{
  struct tg_fake_http *http = ctx;
  if (http->counted)
    http->fake->journal->counters.handshakes++;
}

static void on_data(void *ctx, const char *bytes, size_t length)
{
  struct tg_fake_http *http = ctx;
  if (http->taken_over) {
    http->taken_over->on_data(http->taken_ctx, bytes, length);
    return;
  }
  enum tg_http_step step = TG_HTTP_MORE;
  for (size_t used = 0; used < length;) {
    used += tg_http_syntax_read(&http->syntax, bytes + used, length - used, &step);
    if (step == TG_HTTP_END)
      handle(http);
    if (http->gone)
      return;
    if (step == TG_HTTP_FAULT)
      break;
    if (http->taken_over) {
      if (used < length)
        http->taken_over->on_data(http->taken_ctx, bytes + used, length - used);
      return;
    }
  }
  if (step != TG_HTTP_FAULT)
    return;
  static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  tg_stream_write(http->stream, answer, sizeof answer - 1);
  tg_fake_http_drop(http, TG_STREAM_GRACEFUL);
}

static void on_end(void *ctx, const struct tg_error *error)
{
  struct tg_fake_http *http = ctx;
  if (http->taken_over)
    http->taken_over->on_end(http->taken_ctx, error);
  else
    tg_fake_http_drop(http, TG_STREAM_FIN);
}

static void on_drain(void *ctx)
{
  struct tg_fake_http *http = ctx;
  if (http->taken_over)
    http->taken_over->on_drain(http->taken_ctx);
}

static const struct tg_stream_callbacks stream_callbacks = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_drain = on_drain};

static void accept_one(struct tg_fake_listener *listener, int fd)
{
  struct tg_fake *fake = listener->fake;
  if (listener == fake->gateway_listener) {
    fake->journal->counters.accepted++;
    if (fake->points->accept(fake, fd))
      return;
  }
  struct tg_fake_http *http = tg_calloc(1, sizeof *http);
  http->fake = fake;
  http->handler = listener->handler;
  http->counted = listener == fake->gateway_listener;
  tg_http_syntax_init(&http->syntax, TG_HTTP_REQUEST, &syntax_callbacks, http);
  LIST_INSERT_HEAD(&fake->https, http, link);
  http->stream = tg_stream_accept(fake->loop, listener->tls, fd, &stream_callbacks, http);
  if (!http->stream) {
    LIST_REMOVE(http, link);
    free(http);
  }
}

void tg_fake_http_drop(struct tg_fake_http *http, enum tg_stream_close how)
{
  if (http->gone)
    return;
  http->gone = true;
  tg_fake_cancel(&http->later);
  LIST_REMOVE(http, link);
  tg_stream_close(http->stream, how);
  http->stream = NULL;
  clear_request(&http->request);
  json_decref(http->later_json);
  tg_fake_bury(http->fake, http);
}

void tg_fake_https_drop(struct tg_fake *fake)
{
  while (!LIST_EMPTY(&fake->https))
    tg_fake_http_drop(LIST_FIRST(&fake->https), TG_STREAM_RESET);
}

struct tg_stream *tg_fake_http_upgrade(struct tg_fake_http *http, const char *head,
                                       const struct tg_stream_callbacks *callbacks, void *ctx)
{
  tg_stream_write(http->stream, head, strlen(head));
  http->taken_over = callbacks;
  http->taken_ctx = ctx;
  http->waiting = false;
  clear_request(&http->request);
  return http->stream;
}

static void run_later(void *ctx)
{
  struct tg_fake_http *http = ctx;
  http->run_later(http);
}

void tg_fake_http_later(struct tg_fake_http *http, tg_ms delay, void (*run)(void *http))
{
  http->run_later = run;
  tg_fake_after(http->fake, &http->later, delay, run_later, http);
}

const struct tg_fake_request *tg_fake_http_request(struct tg_fake_http *http)
{
  return &http->request;
}
struct tg_fake *tg_fake_http_fake(struct tg_fake_http *http)
{
  return http->fake;
}

void tg_fake_http_reply(struct tg_fake_http *http, int status, const char *type, const char *headers,
                        const void *body, size_t length)
{
  if (http->gone)
    return;
  bool keep = !http->request.upgrade && http->syntax.keep_alive;
  struct tg_buf out = {0};
  tg_buf_printf(&out, "HTTP/1.1 %d %s\r\n%s", status, tg_http_reason(status), headers ? headers : "");
  if (type)
    tg_buf_printf(&out, "Content-Type: %s\r\n", type);
  if (status != 204)
    tg_buf_printf(&out, "Content-Length: %zu\r\n", length);
  tg_buf_puts(&out, keep ? "\r\n" : "Connection: close\r\n\r\n");
  tg_buf_append(&out, body, length);
  tg_stream_write(http->stream, out.data, out.length);
  tg_buf_free(&out);
  http->waiting = false;
  if (!keep)
    tg_fake_http_drop(http, TG_STREAM_GRACEFUL);
}

void tg_fake_http_reply_json(struct tg_fake_http *http, int status, json_t *json)
{
  char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
  json_decref(json);
  tg_fake_http_reply(http, status, "application/json", NULL, text, strlen(text));
  free(text);
}

static void reply_now(void *ctx)
{
  struct tg_fake_http *http = ctx;
  json_t *json = http->later_json;
  http->later_json = NULL;
  if (json)
    tg_fake_http_reply_json(http, http->later_status, json);
  else
    tg_fake_http_reply(http, http->later_status, NULL, NULL, "", 0);
}

void tg_fake_http_reply_later(struct tg_fake_http *http, tg_ms delay, int status, json_t *json)
{
  http->later_status = status;
  http->later_json = json;
  if (delay > 0)
    tg_fake_http_later(http, delay, reply_now);
  else
    reply_now(http);
}

/* ---- listening ---- */

static void on_connection(uv_poll_t *poll, int status, int events)
{
  struct tg_fake_listener *listener = poll->data;
  (void)events;
  for (int i = 0; status == 0 && i < 64; i++) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
      return;
    accept_one(listener, fd);
  }
}

static int open_socket(const char *address, struct tg_error *error)
{
  char host[128];
  const char *colon = strrchr(address, ':');
  if (!colon || (size_t)(colon - address) >= sizeof host) {
    tg_fail(error, "address", "%s: expected ADDRESS:PORT", address);
    return -1;
  }
  snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
  int result = getaddrinfo(host, colon + 1, &hints, &found);
  if (result != 0) {
    tg_fail(error, "address", "%s: %s", address, gai_strerror(result));
    return -1;
  }
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
    tg_fail(error, "address", "cannot listen on %s: %s", address, strerror(errno));
    if (fd >= 0)
      close(fd);
    fd = -1;
  }
  freeaddrinfo(found);
  return fd;
}

struct tg_fake_listener *tg_fake_listen(struct tg_fake *fake, const char *address, struct tg_tls *tls,
                                        tg_fake_handler *handler, char *bound, size_t size,
                                        struct tg_error *error)
{
  int fd = open_socket(address, error);
  if (fd < 0)
    return NULL;
  int room = (int)fake->settings.receive_buffer;
  if (room > 0) /* what is accepted has it, too */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  char host[INET6_ADDRSTRLEN], port[8];
  getsockname(fd, (struct sockaddr *)&name, &length);
  getnameinfo((struct sockaddr *)&name, length, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  snprintf(bound, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
  struct tg_fake_listener *listener = tg_calloc(1, sizeof *listener);
  listener->fake = fake;
  listener->fd = fd;
  listener->tls = tls;
  listener->handler = handler;
  listener->poll.data = listener;
  uv_poll_init(fake->loop, &listener->poll, fd);
  uv_poll_start(&listener->poll, UV_READABLE, on_connection);
  return listener;
}

static void on_listener_closed(uv_handle_t *handle)
{
  free(handle->data);
}

void tg_fake_listener_close(struct tg_fake_listener *listener)
{
  if (!listener)
    return;
  uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
  close(listener->fd);
}
