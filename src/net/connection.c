#include "net/connection.h"

#include "base/timer.h"
#include "net/http_text.h"
#include "net/request_reader.h"
#include "net/server.h"

#include <stdlib.h>
#include <string.h>

enum {                     /* ms */
       HEAD_TIME = 10000,  /* from its first byte (the first one: from the connection) to its end */
       BODY_TIME = 30000,  /* from the end of the head */
       IDLE_TIME = 60000,  /* between two requests */
       WRITE_TIME = 30000, /* until the client has taken the answer */
       TURN_TIME = 5,      /* spent on requests that came all at once, before others have their turn */
       LINGER_TIME = 2000, /* for what it still sends after the last answer, so that it sees this one */
};

enum { READ_AHEAD = 64 * 1024 /* bytes of requests to come, while one is answered */ };

enum phase {
  IDLE, /* no byte of a request is there */
  HEAD,
  BODY,
  YIELDING,  /* more requests are there, but others have their turn */
  ANSWERING, /* by its route */
  WRITING,
  STREAMING, /* an answer without an end: what there is to say goes out as it comes */
  LINGERING, /* the last answer is out; waits for the client to close */
  CLOSING,
};

struct tg_connection {
  struct tg_server *server;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  uv_timer_t timer;
  int handles; /* not closed yet */
  enum phase phase;
  struct tg_standing standing;
  struct tg_request_reader reader;
  struct tg_request *request; /* with its route */
  struct tg_buf in;           /* not looked at yet */
  bool advancing;
  bool ended;    /* the client sends no more */
  bool last;     /* no request after this one */
  bool paused;   /* enough is there to read: it is not listened to */
  bool unread;   /* STREAMING: what went out last is not taken yet */
  tg_ms turn_at; /* when its turn has begun */
  struct tg_buf out;
  size_t holds; /* bytes, as the server knows it */
  uv_write_t write;
  uv_shutdown_t shutdown;
};

static void advance(struct tg_connection *connection);
static void on_late(uv_timer_t *timer);
static void listen_again(struct tg_connection *connection);

/* ---- what it holds ---- */

static size_t holds(const struct tg_connection *connection)
{
  const struct tg_request *request = connection->request ? connection->request : connection->reader.request;
  return connection->in.length + connection->out.length + (request ? request->body.length : 0);
}

static void account(struct tg_connection *connection, size_t now)
{
  tg_server_holds(connection->server, connection->holds, now);
  connection->holds = now;
}

/* ---- its life ---- */

static void on_closed(uv_handle_t *handle)
{
  struct tg_connection *connection = handle->data;
  if (--connection->handles > 0)
    return;
  tg_request_reader_free(&connection->reader);
  tg_buf_free(&connection->in);
  tg_buf_free(&connection->out);
  free(connection);
}

void tg_connection_forget(struct tg_connection *connection)
{
  if (connection->request)
    connection->request->on_gone = NULL;
  tg_connection_close(connection);
}

void tg_connection_close(struct tg_connection *connection)
{
  if (connection->phase == CLOSING)
    return;
  connection->phase = CLOSING;
  account(connection, 0);
  tg_server_left(connection->server, connection);
  connection->server = NULL;
  uv_close(&connection->handle, on_closed);
  uv_close((uv_handle_t *)&connection->timer, on_closed);
  struct tg_request *request = connection->request;
  connection->request = NULL;
  if (!request)
    return;
  request->connection = NULL;
  if (request->on_gone)
    request->on_gone(request);
}

static enum tg_use use_of(enum phase phase)
{
  switch (phase) {
  case IDLE:
    return TG_USE_NONE;
  case HEAD:
  case BODY:
    return TG_USE_BEGUN;
  case YIELDING:
  case ANSWERING:
  case WRITING:
  case STREAMING:
    return TG_USE_SERVED;
  case LINGERING:
  case CLOSING:
    break;
  }
  return TG_USE_OVER;
}

static void enter(struct tg_connection *connection, enum phase phase, tg_ms time)
{
  connection->phase = phase;
  connection->standing.use = use_of(phase);
  connection->standing.since = tg_now();
  if (time == 0) {
    uv_timer_stop(&connection->timer);
    return;
  }
  tg_timer_start(&connection->timer, on_late, tg_patience(time));
}

const struct tg_standing *tg_connection_standing(const struct tg_connection *connection)
{
  return &connection->standing;
}

/* ---- answers ---- */

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
  (void)shutdown, (void)status;
}

static void linger(struct tg_connection *connection)
{
  if (connection->ended || uv_shutdown(&connection->shutdown, &connection->stream, on_shut_down) != 0) {
    tg_connection_close(connection);
    return;
  }
  tg_buf_reset(&connection->in, 0);
  enter(connection, LINGERING, LINGER_TIME);
  listen_again(connection);
}

static void go_on(struct tg_connection *connection)
{
  enter(connection, IDLE, IDLE_TIME);
  advance(connection);
  listen_again(connection);
}

static void take_turn(struct tg_connection *connection)
{
  connection->turn_at = tg_now();
  go_on(connection);
}

static void written(struct tg_connection *connection)
{
  tg_buf_reset(&connection->out, 4096);
  account(connection, holds(connection));
  if (connection->last || (connection->ended && connection->in.length == 0)) {
    linger(connection);
    return;
  }
  if (connection->in.length > 0 && tg_now() - connection->turn_at >= TURN_TIME) {
    enter(connection, YIELDING, 0);
    uv_timer_start(&connection->timer, on_late, 1, 0);
    return;
  }
  go_on(connection);
}

static void on_written(uv_write_t *write, int status)
{
  struct tg_connection *connection = write->data;
  if (connection->phase == CLOSING)
    return;
  if (status == 0)
    written(connection);
  else
    tg_connection_close(connection);
}

static void write_out(struct tg_connection *connection)
{
  uv_buf_t rest = uv_buf_init(connection->out.data, (unsigned)connection->out.length);
  int done = uv_try_write(&connection->stream, &rest, 1);
  if (done == (int)rest.len) {
    written(connection);
    return;
  }
  if (done > 0) {
    rest.base += done;
    rest.len -= (size_t)done;
  }
  account(connection, holds(connection));
  connection->write.data = connection;
  enter(connection, WRITING, WRITE_TIME);
  if (uv_write(&connection->write, &connection->stream, &rest, 1, on_written) != 0)
    tg_connection_close(connection);
}

void tg_connection_answer(struct tg_connection *connection, int status, const char *type, const char *headers,
                          const void *body, size_t length)
{
  static const char crowded[] =
      "{\"error\":\"other clients do not read their answers: there is no room for this "
      "one\",\"code\":\"crowded\"}";
  struct tg_buf *out = &connection->out;
  bool unread = connection->phase == HEAD; /* answered before its body was there */
  connection->request = NULL;
  if (!tg_server_has_room(connection->server, connection->holds, length)) {
    status = 503;
    type = "application/json";
    headers = "Retry-After: 1\r\n";
    body = crowded;
    length = sizeof crowded - 1;
  }
  if (unread || !connection->reader.keep_alive || tg_server_rests(connection->server))
    connection->last = true;
  tg_buf_printf(out, "HTTP/1.1 %d %s\r\n", status, tg_http_reason(status));
  if (status != 204 && status != 304) /* they have no body, and do not say so */
    tg_buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, length);
  if (connection->last)
    tg_buf_puts(out, "Connection: close\r\n");
  else if (connection->reader.syntax.minor == 0)
    tg_buf_puts(out, "Connection: keep-alive\r\n");
  if (headers)
    tg_buf_puts(out, headers);
  tg_buf_puts(out, "\r\n");
  if (!connection->reader.head_only)
    tg_buf_append(out, body, length);
  write_out(connection);
}

/* ---- answers without an end ---- */

static void on_streamed(uv_write_t *write, int status)
{
  struct tg_connection *connection = write->data;
  if (connection->phase == CLOSING)
    return;
  if (status != 0) {
    tg_connection_close(connection);
    return;
  }
  tg_buf_reset(&connection->out, 4096);
  account(connection, holds(connection));
  connection->unread = false;
  if (connection->phase == STREAMING)
    uv_timer_stop(&connection->timer);
}

bool tg_connection_send(struct tg_connection *connection, const void *bytes, size_t length)
{
  if (connection->unread || !tg_server_has_room(connection->server, connection->holds, length))
    return false;
  uv_buf_t rest = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)length);
  int done = uv_try_write(&connection->stream, &rest, 1);
  if (done == (int)length)
    return true;
  size_t taken = done > 0 ? (size_t)done : 0;
  tg_buf_append(&connection->out, (const char *)bytes + taken, length - taken);
  account(connection, holds(connection));
  connection->unread = true;
  connection->write.data = connection;
  tg_timer_start(&connection->timer, on_late, tg_patience(WRITE_TIME));
  rest = uv_buf_init(connection->out.data, (unsigned)connection->out.length);
  if (uv_write(&connection->write, &connection->stream, &rest, 1, on_streamed) != 0)
    tg_timer_start(&connection->timer, on_late,
                   0); /* its end is not for here: others may be in a row with it */
  return true;
}

bool tg_connection_stream(struct tg_connection *connection, const char *type, const char *headers)
{
  struct tg_buf head = {0};
  connection->last = true;
  tg_buf_printf(&head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n%s\r\n", type, headers);
  bool follows = !connection->reader.head_only;
  if (follows) {
    enter(connection, STREAMING, 0);
    tg_connection_send(connection, head.data, head.length);
  } else {
    connection->request = NULL;
    tg_buf_append(&connection->out, head.data, head.length);
    write_out(connection);
  }
  tg_buf_free(&head);
  return follows;
}

void tg_connection_stream_end(struct tg_connection *connection)
{
  connection->request = NULL;
  linger(connection);
}

/* What the server itself has to say about what a client sends, or does not. */
static void refuse(struct tg_connection *connection, int status, const char *problem)
{
  struct tg_request *request = connection->reader.request;
  connection->reader.request = NULL;
  if (!request) {
    request = tg_calloc(1, sizeof *request);
    connection->reader.head_only = false;
  }
  request->connection = connection;
  connection->last = true;
  tg_respond_error(request, status, "%s", problem);
}

/* ---- requests ---- */

/* False: it was answered. */
static bool admit(struct tg_connection *connection, struct tg_request *request)
{
  const struct tg_server_options *options = tg_server_options_of(connection->server);
  request->connection = connection;
  connection->request = request;
  if (!options->admit(options->ctx, request))
    return false;
  connection->standing.known |= request->has_secret;
  return true;
}

static void take_head(struct tg_connection *connection)
{
  struct tg_request *request = connection->reader.request;
  connection->reader.request = NULL; /* an answer frees it */
  if (!admit(connection, request))
    return;
  connection->reader.request = request;
  connection->request = NULL;
  enter(connection, BODY, BODY_TIME);
  static char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
  uv_buf_t text = uv_buf_init(proceed, sizeof proceed - 1);
  bool body_came = connection->in.length > 0;
  if (request->expects_continue && !body_came)
    uv_try_write(&connection->stream, &text, 1); /* nothing else is under way: it fits */
}

static void take_request(struct tg_connection *connection)
{
  const struct tg_server_options *options = tg_server_options_of(connection->server);
  struct tg_request *request = connection->reader.request;
  connection->reader.request = NULL;
  enter(connection, ANSWERING, 0);
  if (!request->has_body && !admit(connection, request))
    return; /* with a body it was admitted before that came */
  connection->request = request;
  options->handle(options->ctx, request);
}

static bool reads(const struct tg_connection *connection)
{
  return connection->phase <= BODY;
}

static void step(struct tg_connection *connection)
{
  enum tg_read_step step;
  size_t used = tg_request_read(&connection->reader, connection->in.data, connection->in.length, &step);
  tg_buf_consume(&connection->in, used);
  if (connection->phase == IDLE && connection->reader.request)
    enter(connection, HEAD, HEAD_TIME);
  switch (step) {
  case TG_READ_MORE:
    break;
  case TG_READ_HEAD:
    take_head(connection);
    break;
  case TG_READ_DONE:
    take_request(connection);
    break;
  case TG_READ_FAILED:
    refuse(connection, connection->reader.status, connection->reader.problem);
    break;
  }
}

static void advance(struct tg_connection *connection)
{
  if (connection->advancing)
    return; /* an answer that is out at once */
  connection->advancing = true;
  while (reads(connection) && connection->in.length > 0)
    step(connection);
  connection->advancing = false;
}

/* ---- what comes from the client, and what does not ---- */

static void on_late(uv_timer_t *timer)
{
  struct tg_connection *connection = timer->data;
  if (connection->phase == HEAD)
    refuse(connection, 408, "the head of the request did not come in time");
  else if (connection->phase == BODY)
    refuse(connection, 408, "the body of the request did not come in time");
  else if (connection->phase == YIELDING)
    take_turn(connection);
  else
    tg_connection_close(connection);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
  static char shared[16 * 1024]; /* on_read copies what it keeps */
  (void)handle, (void)suggested;
  *room = uv_buf_init(shared, sizeof shared);
}

static void on_end(struct tg_connection *connection)
{
  connection->ended = true;
  uv_read_stop(&connection->stream);
  enum phase phase = connection->phase;
  bool answers = phase == ANSWERING || phase == WRITING || phase == YIELDING;
  if (!answers) {
    tg_connection_close(connection);
    return;
  }
  struct tg_request *request = connection->request;
  if (!request || !request->on_gone)
    return; /* it may have closed its sending half alone */
  void (*on_gone)(struct tg_request *) = request->on_gone;
  request->on_gone = NULL;
  on_gone(request);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *bytes)
{
  struct tg_connection *connection = stream->data;
  if (length == UV_EOF)
    on_end(connection);
  else if (length < 0)
    tg_connection_close(connection);
  if (length <= 0 || connection->phase == LINGERING || connection->phase == STREAMING)
    return; /* the last answer has begun */
  tg_buf_append(&connection->in, bytes->base, (size_t)length);
  connection->turn_at = tg_now();
  advance(connection);
  if (connection->phase == CLOSING)
    return;
  account(connection, holds(connection));
  if (connection->phase == BODY &&
      !tg_server_has_room(connection->server, connection->holds, connection->holds))
    refuse(connection, 503,
           "the requests of other clients do not come to an end: there is no room for this one");
  if (connection->phase == CLOSING || connection->in.length <= READ_AHEAD)
    return;
  connection->paused = true;
  uv_read_stop(stream);
}

static void listen_again(struct tg_connection *connection)
{
  if (!connection->paused || connection->phase == CLOSING || connection->in.length > READ_AHEAD)
    return;
  connection->paused = false;
  if (uv_read_start(&connection->stream, give_room, on_read) != 0)
    tg_connection_close(connection);
}

/* An address that cannot be told is that of a unix socket, or of somebody who has gone. */
static void find_peer(struct tg_connection *connection)
{
  struct sockaddr_storage peer = {.ss_family = AF_UNIX};
  int size = sizeof peer;
  if (connection->handle.type == UV_TCP)
    uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&peer, &size);
  tg_standing_at(&connection->standing, (struct sockaddr *)&peer);
}

struct tg_connection *tg_connection_accept(struct tg_server *server, uv_stream_t *listener)
{
  struct tg_connection *connection = tg_calloc(1, sizeof *connection);
  connection->server = server;
  connection->handles = 2;
  tg_request_reader_init(&connection->reader);
  if (listener->type == UV_TCP)
    uv_tcp_init(listener->loop, &connection->tcp);
  else
    uv_pipe_init(listener->loop, &connection->pipe, 0);
  uv_timer_init(listener->loop, &connection->timer);
  connection->handle.data = connection->timer.data = connection;
  tg_server_joined(server, connection);
  if (uv_accept(listener, &connection->stream) != 0) {
    tg_connection_close(connection);
    return NULL;
  }
  if (listener->type == UV_TCP)
    uv_tcp_nodelay(&connection->tcp, 1);
  find_peer(connection);
  enter(connection, IDLE, HEAD_TIME);
  if (uv_read_start(&connection->stream, give_room, on_read) == 0)
    return connection;
  tg_connection_close(connection);
  return NULL;
}

void tg_connection_turn_away(struct tg_connection *connection)
{
  refuse(connection, 503, "too many connections");
}
