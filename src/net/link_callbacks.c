/* What libwebsockets tells of a connection. The owner may free the link in each of its callbacks: then
 * libwebsockets goes on until it comes back to link_drive.c, and nobody listens any more. */

#include "net/link_impl.h"
#include "proto/close_code.h"

#include <stdio.h>
#include <string.h>

static void add_headers(unsigned char **at, size_t room)
{
  int length = snprintf((char *)*at, room, "User-Agent: DiscordBot (tidegate, " TG_VERSION ")\r\n");
  *at += length;
}

static void receive(struct tg_link *link, const void *bytes, size_t length)
{
  link->context->heard += length;
  if (!link->freed && length > 0)
    link->callbacks.on_data(link->ctx, bytes, length);
  if (!link->freed && lws_is_final_fragment(link->wsi))
    link->callbacks.on_message_end(link->ctx);
}

/* libwebsockets before 4.2 puts 1002 in the place of codes that RFC 6455 did not name. */
static const char *doubt(int code)
{
  if (code != 1002 || tg_link_tells_all_codes())
    return "";
  return " (or another code: this libwebsockets tells those from 1012 to 2999 as 1002)";
}

/* One byte is no code, and no close frame. */
static void receive_close(struct tg_link *link, const unsigned char *payload, size_t length)
{
  link->over = true;
  if (length == 1) {
    tg_link_explain(link, "a close frame of one byte");
    return;
  }
  struct tg_ws_end *end = tg_link_begin_farewell(link);
  if (!end)
    return;
  end->code = TG_CLOSE_EMPTY;
  if (length >= 2) {
    end->code = payload[0] << 8 | payload[1];
    snprintf(link->farewell->reason, sizeof link->farewell->reason, "%.*s%s", (int)length - 2,
             (const char *)payload + 2, doubt(end->code));
  }
  tg_link_echo_close(link, payload, length);
}

static void open_up(struct tg_link *link)
{
  link->stage = TG_LINK_OPEN;
  if (!link->freed)
    link->callbacks.on_open(link->ctx);
}

/* Its descriptor is closed, and the number may be somebody else's soon. */
static void let_go(struct tg_link *link)
{
  tg_link_explain(link, NULL);
  tg_link_poll_stop(link);
  link->wsi = NULL;
  link->fd = -1;
}

int tg_link_lws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t length)
{
  (void)wsi;
  struct tg_link *link = user;
  if (!link || !link->wsi)
    return 0; /* none of ours, or one that did not even begin */
  switch (reason) {
  case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
    add_headers(in, length);
    break;
  case LWS_CALLBACK_CLIENT_ESTABLISHED:
    open_up(link);
    break;
  case LWS_CALLBACK_CLIENT_RECEIVE:
    receive(link, in, length);
    break;
  case LWS_CALLBACK_CLIENT_WRITEABLE: /* after all that it had to write itself */
    link->owes = false;
    tg_link_send_queued(link);
    break;
  case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    receive_close(link, in, length);
    return -1; /* it shall not answer: that is done */
  case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    tg_link_explain(link, in);
    link->received = tg_link_received(link);
    break;
  case LWS_CALLBACK_CLIENT_CLOSED:
    tg_link_explain(link, NULL);
    link->received = tg_link_received(link);
    break;
  case LWS_CALLBACK_WSI_DESTROY:
    let_go(link);
    break;
  default:
    break;
  }
  return 0;
}
