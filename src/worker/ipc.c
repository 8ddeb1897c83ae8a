#include "worker/ipc.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/timer.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  READ_SIZE = 64 * 1024,
  /* Chunks of guild members are the largest messages, at about 1 MiB. */
  LINE_MAX_SIZE = 64 * 1024 * 1024,
  KEEP_SIZE = 256 * 1024,
};

struct pending {
  struct pending *next;
  json_int_t nonce;
  tg_ms deadline;
  tg_ipc_reply *reply;
  void *ctx;
};

struct tg_ipc {
  uv_pipe_t pipe;
  uv_timer_t timer;
  int handles; /* not closed yet; the memory goes with the last */
  struct tg_ipc_callbacks callbacks;
  void *ctx;
  struct tg_buf in;
  size_t scanned;          /* bytes of `in` known to hold no newline */
  struct pending *pending; /* oldest first */
  json_int_t last_nonce;
  bool closed; /* the other side is gone */
  bool freed;
};

struct outgoing {
  uv_write_t request;
  char *text;
};

static void arm_timer(struct tg_ipc *ipc);

static void end_pending(struct pending *pending, const json_t *data, const char *code, const char *text)
{
  if (code) {
    struct tg_error error;
    tg_fail(&error, code, "%s", text);
    pending->reply(pending->ctx, NULL, &error);
  } else {
    pending->reply(pending->ctx, data, NULL);
  }
  free(pending);
}

static void end_all_pending(struct tg_ipc *ipc)
{
  while (ipc->pending) { /* a reply may send the next request */
    struct pending *first = ipc->pending;
    ipc->pending = first->next;
    end_pending(first, NULL, "closed", "the process that was asked has gone");
  }
}

static void other_side_gone(struct tg_ipc *ipc)
{
  if (ipc->closed || ipc->freed)
    return;
  ipc->closed = true;
  uv_read_stop((uv_stream_t *)&ipc->pipe);
  uv_timer_stop(&ipc->timer);
  end_all_pending(ipc);
  if (!ipc->freed && ipc->callbacks.on_closed)
    ipc->callbacks.on_closed(ipc->ctx);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_ipc *ipc = timer->data;
  tg_ms now = tg_now();
  struct pending **at = &ipc->pending;
  while (*at && !ipc->freed) {
    struct pending *pending = *at;
    if (pending->deadline > now) {
      at = &pending->next;
      continue;
    }
    *at = pending->next;
    end_pending(pending, NULL, "timeout", "the process that was asked did not answer in time");
    at = &ipc->pending; /* the reply may have changed the list */
  }
  if (!ipc->freed)
    arm_timer(ipc);
}

static void arm_timer(struct tg_ipc *ipc)
{
  if (!ipc->pending || ipc->closed) {
    uv_timer_stop(&ipc->timer);
    return;
  }
  tg_ms first = ipc->pending->deadline;
  for (const struct pending *pending = ipc->pending; pending; pending = pending->next) {
    if (pending->deadline < first)
      first = pending->deadline;
  }
  tg_ms wait = first - tg_now();
  tg_timer_start(&ipc->timer, on_timer, wait > 0 ? wait : 1);
}

static void take_reply(struct tg_ipc *ipc, const json_t *message)
{
  json_int_t nonce = json_integer_value(json_object_get(message, "nonce"));
  struct pending **at = &ipc->pending;
  while (*at && (*at)->nonce != nonce)
    at = &(*at)->next;
  struct pending *pending = *at;
  if (!pending)
    return; /* it came after its time-out */
  *at = pending->next;
  const json_t *error = json_object_get(message, "error");
  if (error) {
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *text = json_string_value(json_object_get(error, "message"));
    end_pending(pending, NULL, code ? code : "failed", text ? text : "no reason given");
  } else {
    const json_t *data = json_object_get(message, "data");
    end_pending(pending, data ? data : json_null(), NULL, NULL);
  }
  if (!ipc->freed)
    arm_timer(ipc);
}

static void take_line(struct tg_ipc *ipc, const char *line, size_t length)
{
  json_error_t problem;
  json_t *message = json_loadb(line, length, JSON_DECODE_ANY, &problem);
  const char *type = json_string_value(json_object_get(message, "type"));
  if (!type)
    tg_log(TG_WARN, TG_NO_SHARD,
           "a message between manager and worker was not understood (%s); it is ignored",
           message ? "it has no type" : problem.text);
  else if (strcmp(type, "nonce_reply") == 0)
    take_reply(ipc, message);
  else
    ipc->callbacks.on_message(ipc->ctx, type, message);
  json_decref(message);
}

static void take_lines(struct tg_ipc *ipc)
{
  size_t start = 0;
  while (!ipc->freed) {
    const char *newline = ipc->in.length > ipc->scanned
                              ? memchr(ipc->in.data + ipc->scanned, '\n', ipc->in.length - ipc->scanned)
                              : NULL;
    if (!newline) {
      ipc->scanned = ipc->in.length;
      break;
    }
    size_t end = (size_t)(newline - ipc->in.data);
    ipc->scanned = end + 1;
    take_line(ipc, ipc->in.data + start, end - start);
    start = end + 1;
  }
  if (ipc->freed)
    return;
  tg_buf_consume(&ipc->in, start);
  ipc->scanned -= start;
  if (ipc->in.length == 0)
    tg_buf_reset(&ipc->in, KEEP_SIZE);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  (void)suggested;
  struct tg_ipc *ipc = handle->data;
  buf->base = tg_buf_reserve(&ipc->in, READ_SIZE);
  buf->len = READ_SIZE;
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
  (void)buf;
  struct tg_ipc *ipc = stream->data;
  if (length < 0) {
    other_side_gone(ipc);
    return;
  }
  ipc->in.length += (size_t)length;
  take_lines(ipc);
  if (!ipc->freed && ipc->in.length > LINE_MAX_SIZE) {
    tg_log(TG_ERROR, TG_NO_SHARD, "a message between manager and worker is over %d MiB; the line is given up",
           LINE_MAX_SIZE >> 20);
    other_side_gone(ipc);
  }
}

struct tg_ipc *tg_ipc_new(uv_loop_t *loop, int fd, const struct tg_ipc_callbacks *callbacks, void *ctx)
{
  struct tg_ipc *ipc = tg_calloc(1, sizeof *ipc);
  ipc->callbacks = *callbacks;
  ipc->ctx = ctx;
  ipc->pipe.data = ipc->timer.data = ipc;
  ipc->handles = 2;
  /* An answer to another program that had this line before is none to a question of this one. */
  ipc->last_nonce = (json_int_t)tg_random(UINT32_MAX);
  uv_timer_init(loop, &ipc->timer);
  uv_pipe_init(loop, &ipc->pipe, 0);
  fcntl(fd, F_SETFD, FD_CLOEXEC); /* what a script starts must not hold the line open */
  int failed = uv_pipe_open(&ipc->pipe, fd);
  if (failed != 0)
    close(fd);
  else
    failed = uv_read_start((uv_stream_t *)&ipc->pipe, on_alloc, on_read);
  if (failed != 0) {
    tg_log(TG_ERROR, TG_NO_SHARD, "the line between manager and worker cannot be opened: %s",
           uv_strerror(failed));
    tg_ipc_free(ipc);
    return NULL;
  }
  return ipc;
}

json_t *tg_ipc_receive(int fd)
{
  struct tg_buf line = {0};
  char letter = '\0';
  while (line.length < LINE_MAX_SIZE) { /* a byte at a time: a small message, once in a process's life */
    ssize_t n = read(fd, &letter, 1);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || letter == '\n')
      break;
    tg_buf_append(&line, &letter, 1);
  }
  json_t *message = letter == '\n' ? json_loadb(line.data, line.length, 0, NULL) : NULL;
  if (line.length > 0)
    explicit_bzero(line.data, line.length);
  tg_buf_free(&line);
  return message;
}

static void on_handle_closed(uv_handle_t *handle)
{
  struct tg_ipc *ipc = handle->data;
  if (--ipc->handles > 0)
    return;
  tg_buf_free(&ipc->in);
  free(ipc);
}

void tg_ipc_free(struct tg_ipc *ipc)
{
  if (!ipc || ipc->freed)
    return;
  ipc->freed = true;
  end_all_pending(ipc);
  uv_close((uv_handle_t *)&ipc->pipe, on_handle_closed);
  uv_close((uv_handle_t *)&ipc->timer, on_handle_closed);
}

static void on_written(uv_write_t *request, int status)
{
  (void)status; /* a line that broke shows as end of file on the reading side */
  struct outgoing *outgoing = (struct outgoing *)request;
  free(outgoing->text);
  free(outgoing);
}

void tg_ipc_send(struct tg_ipc *ipc, const char *type, json_t *fields)
{
  if (!fields)
    fields = json_object();
  json_object_set_new(fields, "type", json_string(type));
  char *text = ipc->closed || ipc->freed ? NULL : json_dumps(fields, JSON_COMPACT);
  json_decref(fields);
  if (!text)
    return;
  size_t length = strlen(text);
  text[length] = '\n'; /* in the place of the NUL, which nobody needs */
  struct outgoing *outgoing = tg_alloc(sizeof *outgoing);
  outgoing->text = text;
  uv_buf_t buf = uv_buf_init(text, (unsigned)length + 1);
  if (uv_write(&outgoing->request, (uv_stream_t *)&ipc->pipe, &buf, 1, on_written) != 0)
    on_written(&outgoing->request, 0);
}

void tg_ipc_request(struct tg_ipc *ipc, const char *type, json_t *fields, int64_t timeout,
                    tg_ipc_reply *reply, void *ctx)
{
  struct pending *pending = tg_calloc(1, sizeof *pending);
  pending->reply = reply;
  pending->ctx = ctx;
  if (ipc->closed || ipc->freed) {
    json_decref(fields);
    end_pending(pending, NULL, "closed", "the process that was asked has gone");
    return;
  }
  pending->nonce = ++ipc->last_nonce;
  pending->deadline = tg_now() + timeout;
  struct pending **last = &ipc->pending;
  while (*last)
    last = &(*last)->next;
  *last = pending;
  if (!fields)
    fields = json_object();
  json_object_set_new(fields, "nonce", json_integer(pending->nonce));
  tg_ipc_send(ipc, type, fields);
  arm_timer(ipc);
}

void tg_ipc_answer(struct tg_ipc *ipc, int64_t nonce, json_t *data, const struct tg_error *error)
{
  if (nonce == 0) {
    json_decref(data);
    return;
  }
  json_t *fields = json_pack("{s:I}", "nonce", (json_int_t)nonce);
  if (error && error->code[0]) {
    json_decref(data);
    json_object_set_new(fields, "error",
                        json_pack("{s:o, s:o}", "code", tg_json_text(error->code), "message",
                                  tg_json_text(error->message)));
  } else {
    json_object_set_new(fields, "data", data ? data : json_null());
  }
  tg_ipc_send(ipc, "nonce_reply", fields);
}

bool tg_ipc_flushed(const struct tg_ipc *ipc)
{
  return ipc->closed || uv_stream_get_write_queue_size((const uv_stream_t *)&ipc->pipe) == 0;
}

bool tg_ipc_at_rest(const struct tg_ipc *ipc)
{
  return tg_ipc_flushed(ipc) && ipc->in.length == 0;
}

int tg_ipc_fd(const struct tg_ipc *ipc)
{
  uv_os_fd_t fd;
  return uv_fileno((const uv_handle_t *)&ipc->pipe, &fd) == 0 ? fd : -1;
}
