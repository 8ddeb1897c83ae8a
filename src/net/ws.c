#include "net/ws.h"

#include "base/buf.h"
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

enum {
  CLOSE_MAX = 125,              /* bytes of a control frame's payload */
  PONG_MAX = 2 + 4 + CLOSE_MAX, /* of a whole one */
};

struct tg_ws {
  uv_loop_t *loop;
  struct tg_dialer *dialer;
  struct tg_dial *dial;      /* NULL: done */
  struct tg_stream *stream;  /* NULL: not yet, or gone */
  struct tg_address address; /* where it leads */
  struct tg_gateway_url url;
  struct tg_ws_callbacks callbacks;
  void *ctx;
  wslay_event_context_ptr frames;
  const char *in; /* what wslay has not taken yet of the bytes at hand */
  size_t in_length;
  uint64_t received;
  bool in_data; /* the frame being received carries data, not control */
  bool in_close, close_seen;
  uint64_t close_length;
  struct tg_buf close; /* payload of the peer's close frame */
  bool ponging;        /* what wslay writes now is a PONG ... */
  struct tg_buf pong;  /* ... which waits here until the peer has taken all that went before */
  uv_timer_t *close_timer;
  bool ended; /* on_end was called */
  bool freed; /* tg_ws_free() came while wslay was at work */
  int busy;
};

static void free_handle(uv_handle_t *handle) { free(handle); }

static void destroy(struct tg_ws *ws)
{
  if (ws->close_timer)
    uv_close((uv_handle_t *)ws->close_timer, free_handle);
  if (ws->frames)
    wslay_event_context_free(ws->frames);
  tg_buf_free(&ws->close);
  tg_buf_free(&ws->pong);
  free(ws);
}

static void finish(struct tg_ws *ws, struct tg_ws_end *end)
{
  if (ws->ended)
    return;
  ws->ended = true;
  tg_dial_free(ws->dial);
  ws->dial = NULL;
  tg_stream_close(ws->stream, TG_STREAM_GRACEFUL);
  ws->stream = NULL;
  if (!end->reason)
    end->reason = "";
  ws->callbacks.on_end(ws->ctx, end);
}

static void finish_with_error(struct tg_ws *ws, const struct tg_error *error)
{
  struct tg_ws_end end = {.code = 1006, .retry_after = -1, .error = *error};
  finish(ws, &end);
}

/* ---- frames ---- */

static ssize_t on_want_bytes(wslay_event_context_ptr frames, uint8_t *to, size_t size, int flags, void *user)
{
  (void)flags;
  struct tg_ws *ws = user;
  if (ws->in_length == 0 || ws->freed) {
    wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  if (size > ws->in_length)
    size = ws->in_length;
  memcpy(to, ws->in, size);
  ws->in += size;
  ws->in_length -= size;
  return (ssize_t)size;
}

static ssize_t on_have_bytes(wslay_event_context_ptr frames, const uint8_t *bytes, size_t length, int flags,
                             void *user)
{
  (void)frames, (void)flags;
  struct tg_ws *ws = user;
  if (ws->ponging)
    tg_buf_append(&ws->pong, bytes, length);
  else if (ws->stream)
    tg_stream_write(ws->stream, bytes, length);
  return (ssize_t)length;
}

static int on_want_mask(wslay_event_context_ptr frames, uint8_t *mask, size_t length, void *user)
{
  (void)frames, (void)user;
  return RAND_bytes(mask, (int)length) == 1 ? 0 : -1;
}

static void on_frame_start(wslay_event_context_ptr frames,
                           const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
  (void)frames;
  struct tg_ws *ws = user;
  ws->in_data = !wslay_is_ctrl_frame(arg->opcode);
  ws->in_close = arg->opcode == WSLAY_CONNECTION_CLOSE;
  if (ws->in_close) {
    ws->close_seen = true;
    ws->close_length = arg->payload_length;
  }
}

static void on_frame_chunk(wslay_event_context_ptr frames,
                           const struct wslay_event_on_frame_recv_chunk_arg *arg, void *user)
{
  (void)frames;
  struct tg_ws *ws = user;
  if (ws->in_data && !ws->freed)
    ws->callbacks.on_data(ws->ctx, arg->data, arg->data_length);
  else if (ws->in_close && ws->close.length < CLOSE_MAX)
    tg_buf_append(&ws->close, arg->data, arg->data_length);
}

static void send_queued(struct tg_ws *ws)
{
  while (ws->stream && wslay_event_want_write(ws->frames)) {
    if (wslay_event_send(ws->frames) != 0)
      break;
  }
}

static void send_pong(struct tg_ws *ws)
{
  if (!ws->stream || ws->pong.length == 0 || tg_stream_unsent(ws->stream) > 0)
    return;
  tg_stream_write(ws->stream, ws->pong.data, ws->pong.length);
  tg_buf_reset(&ws->pong, PONG_MAX);
}

/* wslay has queued the answer, and has nothing else: whatever it gets goes on at
 * once. Who pings and does not read is owed the newest answer alone (RFC 6455,
 * section 5.5.3). */
static void answer_ping(struct tg_ws *ws)
{
  tg_buf_reset(&ws->pong, PONG_MAX);
  ws->ponging = true;
  send_queued(ws);
  ws->ponging = false;
  send_pong(ws);
}

static void on_message(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user)
{
  (void)frames;
  struct tg_ws *ws = user;
  if (ws->freed)
    return;
  if (arg->opcode == WSLAY_PING)
    answer_ping(ws);
  else if (!wslay_is_ctrl_frame(arg->opcode))
    ws->callbacks.on_message_end(ws->ctx);
}

static const struct wslay_event_callbacks frame_callbacks = {
    .recv_callback = on_want_bytes,
    .send_callback = on_have_bytes,
    .genmask_callback = on_want_mask,
    .on_frame_recv_start_callback = on_frame_start,
    .on_frame_recv_chunk_callback = on_frame_chunk,
    .on_msg_recv_callback = on_message,
};

/* wslay must not be freed while it calls us; this ends what was put off. */
static bool leave(struct tg_ws *ws)
{
  if (--ws->busy == 0 && ws->freed) {
    destroy(ws);
    return false;
  }
  return true;
}

/* The close frame is read here, not by wslay: that refuses codes 1012 to 1014
 * and reasons that are not UTF-8, and then says nothing about what came. */
static bool close_received(const struct tg_ws *ws)
{
  return ws->close_seen && ws->close.length == ws->close_length && ws->close_length != 1;
}

static void finish_with_close(struct tg_ws *ws)
{
  const unsigned char *payload = (const unsigned char *)ws->close.data;
  char reason[CLOSE_MAX] = "";
  struct tg_ws_end end = {.code = 1005, .reason = reason, .retry_after = -1};
  if (ws->close.length >= 2) {
    end.code = payload[0] << 8 | payload[1];
    snprintf(reason, sizeof reason, "%.*s", (int)ws->close.length - 2, ws->close.data + 2);
  }
  finish(ws, &end);
}

static void receive_frames(struct tg_ws *ws, const char *bytes, size_t length)
{
  ws->in = bytes;
  ws->in_length = length;
  ws->busy++;
  int result = wslay_event_recv(ws->frames);
  if (!ws->freed)
    send_queued(ws); /* the answer to a close frame */
  if (!leave(ws) || ws->ended)
    return;

  if (close_received(ws)) {
    finish_with_close(ws);
  } else if (result != 0 || !wslay_event_get_read_enabled(ws->frames)) {
    struct tg_error error;
    tg_fail(&error, "protocol", "%s sent something that is not a WebSocket frame", ws->url.host);
    finish_with_error(ws, &error);
  }
}

/* ---- the connection ---- */

static bool start_frames(struct tg_ws *ws)
{
  if (wslay_event_context_client_init(&ws->frames, &frame_callbacks, ws) != 0)
    return false;
  /* Pieces go on as they come; the size of a message is bounded where it is
   * decompressed. */
  wslay_event_config_set_no_buffering(ws->frames, 1);
  wslay_event_config_set_max_recv_msg_length(ws->frames, UINT32_MAX);
  return true;
}

static void on_stream_data(void *ctx, const char *bytes, size_t length)
{
  struct tg_ws *ws = ctx;
  ws->received += length;
  receive_frames(ws, bytes, length);
}

static void on_stream_drain(void *ctx)
{
  struct tg_ws *ws = ctx;
  send_pong(ws);
  if (tg_ws_unsent(ws) == 0)
    ws->callbacks.on_drain(ws->ctx);
}

static void on_stream_end(void *ctx, const struct tg_error *error)
{
  finish_with_error(ctx, error);
}

static void on_dial_open(void *ctx, struct tg_stream *stream, const struct tg_address *address,
                         const char *bytes, size_t length)
{
  static const struct tg_stream_callbacks stream_callbacks = {
      .on_data = on_stream_data, .on_end = on_stream_end, .on_drain = on_stream_drain};
  struct tg_ws *ws = ctx;
  tg_dial_free(ws->dial);
  ws->dial = NULL;
  ws->stream = stream;
  ws->address = *address;
  tg_stream_hand_over(stream, &stream_callbacks, ws);
  if (!start_frames(ws)) {
    struct tg_error error;
    tg_fail(&error, "protocol", "%s: there is no memory for a WebSocket", ws->url.host);
    finish_with_error(ws, &error);
    return;
  }
  ws->busy++;
  ws->callbacks.on_open(ws->ctx);
  if (leave(ws) && !ws->ended && length > 0)
    on_stream_data(ws, bytes, length);
}

static void on_dial_end(void *ctx, const struct tg_dial_end *dial_end)
{
  struct tg_ws_end end = {.code = 1006,
                          .http_status = dial_end->http_status,
                          .retry_after = dial_end->retry_after,
                          .error = dial_end->error};
  finish(ctx, &end);
}

struct tg_ws *tg_ws_open(uv_loop_t *loop, struct tg_dialer *dialer, const struct tg_gateway_url *url,
                         const struct tg_ws_callbacks *callbacks, void *ctx)
{
  static const struct tg_dial_callbacks dial_callbacks = {.on_open = on_dial_open, .on_end = on_dial_end};
  struct tg_ws *ws = tg_calloc(1, sizeof *ws);
  ws->loop = loop;
  ws->dialer = dialer;
  ws->url = *url;
  ws->callbacks = *callbacks;
  ws->ctx = ctx;
  ws->dial = tg_dial_begin(dialer, url, &dial_callbacks, ws);
  return ws;
}

void tg_ws_progress(const struct tg_ws *ws, char *text, size_t size)
{
  text[0] = '\0';
  if (ws->dial)
    tg_dial_progress(ws->dial, text, size);
}

void tg_ws_blame_address(struct tg_ws *ws)
{
  if (ws->address.size > 0)
    tg_dialer_blame(ws->dialer, &ws->address);
}

void tg_ws_send(struct tg_ws *ws, const char *text, size_t length)
{
  if (!ws->frames || !ws->stream)
    return;
  struct wslay_event_msg message = {WSLAY_TEXT_FRAME, (const uint8_t *)text, length};
  if (wslay_event_queue_msg(ws->frames, &message) == 0)
    send_queued(ws);
}

size_t tg_ws_unsent(const struct tg_ws *ws)
{
  return ws->stream ? tg_stream_unsent(ws->stream) : 0;
}

static void on_close_timeout(uv_timer_t *timer)
{
  struct tg_ws *ws = timer->data;
  struct tg_error error;
  tg_fail(&error, "timeout", "%s did not answer the close frame", ws->url.host);
  finish_with_error(ws, &error);
}

void tg_ws_close(struct tg_ws *ws, int code, const char *reason, tg_ms timeout)
{
  if (ws->ended || ws->close_timer)
    return;
  if (ws->frames && ws->stream) {
    wslay_event_queue_close(ws->frames, (uint16_t)code, (const uint8_t *)reason, strlen(reason));
    send_queued(ws);
  } else {
    timeout = 0;
  }
  ws->close_timer = tg_calloc(1, sizeof *ws->close_timer);
  uv_timer_init(ws->loop, ws->close_timer);
  ws->close_timer->data = ws;
  uv_timer_start(ws->close_timer, on_close_timeout, (uint64_t)timeout, 0);
}

void tg_ws_free(struct tg_ws *ws)
{
  if (!ws)
    return;
  tg_dial_free(ws->dial);
  ws->dial = NULL;
  tg_stream_close(ws->stream, TG_STREAM_FIN);
  ws->stream = NULL;
  ws->ended = true;
  ws->freed = true;
  if (ws->busy == 0)
    destroy(ws);
}

uint64_t tg_ws_received(const struct tg_ws *ws) { return ws->received; }

void tg_ws_trim(struct tg_ws *ws)
{
  if (ws->stream)
    tg_stream_trim(ws->stream);
}
