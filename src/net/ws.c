#include "net/ws.h"

#include "base/buf.h"
#include "base/timer.h"
#include "proto/close_code.h"

#include <stdlib.h>

struct tg_ws {
  struct tg_dialer *dialer;
  struct tg_dial *dial;      /* NULL: done */
  struct tg_link *link;      /* NULL: not yet */
  struct tg_address address; /* where it leads */
  struct tg_gateway_url url;
  struct tg_ws_callbacks callbacks;
  void *ctx;
  uv_timer_t *close_timer;
  bool closing;
  bool ended; /* on_end was called */
};

static void finish(struct tg_ws *ws, const struct tg_ws_end *end)
{
  if (ws->ended)
    return;
  ws->ended = true;
  uv_timer_stop(ws->close_timer);
  ws->callbacks.on_end(ws->ctx, end);
}

/* ---- what the link tells ---- */

static void on_data(void *ctx, const void *bytes, size_t length)
{
  struct tg_ws *ws = ctx;
  ws->callbacks.on_data(ws->ctx, bytes, length);
}

static void on_message_end(void *ctx)
{
  struct tg_ws *ws = ctx;
  ws->callbacks.on_message_end(ws->ctx);
}

static void on_drain(void *ctx)
{
  struct tg_ws *ws = ctx;
  ws->callbacks.on_drain(ws->ctx);
}

static void on_end(void *ctx, const struct tg_ws_end *end)
{
  finish(ctx, end);
}

static void on_dial_open(void *ctx, struct tg_link *link, const struct tg_address *address)
{
  static const struct tg_ws_callbacks link_callbacks = {
      .on_data = on_data, .on_message_end = on_message_end, .on_drain = on_drain, .on_end = on_end};
  struct tg_ws *ws = ctx;
  tg_dial_free(ws->dial);
  ws->dial = NULL;
  ws->link = link;
  ws->address = *address;
  tg_link_hand_over(link, &link_callbacks, ws);
  ws->callbacks.on_open(ws->ctx);
}

struct tg_ws *tg_ws_open(uv_loop_t *loop, struct tg_dialer *dialer, const struct tg_gateway_url *url,
                         const struct tg_ws_callbacks *callbacks, void *ctx)
{
  static const struct tg_dial_callbacks dial_callbacks = {.on_open = on_dial_open, .on_end = on_end};
  struct tg_ws *ws = tg_calloc(1, sizeof *ws);
  ws->dialer = dialer;
  ws->url = *url;
  ws->callbacks = *callbacks;
  ws->ctx = ctx;
  ws->close_timer = tg_timer_new(loop, ws);
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
  if (ws->link)
    tg_link_send(ws->link, text, length);
}

size_t tg_ws_unsent(const struct tg_ws *ws)
{
  return ws->link ? tg_link_unsent(ws->link) : 0;
}

static void on_close_timeout(uv_timer_t *timer)
{
  struct tg_ws *ws = timer->data;
  struct tg_ws_end end = {.code = TG_CLOSE_NONE, .reason = "", .retry_after = -1};
  tg_fail(&end.error, "timeout", "%s did not answer the close frame", ws->url.host);
  finish(ws, &end);
}

void tg_ws_close(struct tg_ws *ws, int code, const char *reason, tg_ms timeout)
{
  if (ws->ended || ws->closing)
    return;
  ws->closing = true;
  if (ws->link)
    tg_link_close(ws->link, code, reason);
  tg_timer_start(ws->close_timer, on_close_timeout, ws->link ? timeout : 0);
}

void tg_ws_free(struct tg_ws *ws)
{
  if (!ws)
    return;
  tg_dial_free(ws->dial);
  tg_link_free(ws->link);
  tg_timer_free(ws->close_timer);
  free(ws);
}

uint64_t tg_ws_received(const struct tg_ws *ws)
{
  return ws->link ? tg_link_received(ws->link) : 0;
}

void tg_ws_trim(struct tg_ws *ws)
{
  if (ws->link)
    tg_link_trim(ws->link);
}
