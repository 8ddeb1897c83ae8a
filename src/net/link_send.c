/* libwebsockets takes a message whole, and keeps what the socket does not take. It must not be given
 * another one before that is gone, so those wait here. */

#include "net/link_impl.h"

#include <string.h>

enum {
  CLOSE_MAX = 125, /* bytes of a control frame's payload */
  SCRATCH_KEPT = 64 * 1024,
  /* A kind for lws_write() that its header keeps free for close frames, and leaves without a name. */
  WRITE_CLOSE = 4,
};

struct queued {
  uint32_t length;
  enum lws_write_protocol kind;
};

static void write_now(struct tg_link *link, enum lws_write_protocol kind, const void *bytes, size_t length)
{
  struct tg_buf *frame = &link->context->frame;
  tg_buf_reset(frame, SCRATCH_KEPT);
  unsigned char *payload = (unsigned char *)tg_buf_reserve(frame, LWS_PRE + length + 1) + LWS_PRE;
  memcpy(payload, bytes, length);
  if (lws_write(link->wsi, payload, length, kind) < 0)
    link->over = true; /* the socket says why, when it is read */
  link->in_flight = lws_partial_buffered(link->wsi) ? length : 0;
}

static bool is_busy(const struct tg_link *link)
{
  return lws_partial_buffered(link->wsi) || link->queue.length > 0;
}

bool tg_link_wants_write(const struct tg_link *link)
{
  if (!link->wsi)
    return false;
  SSL *ssl = lws_get_ssl(link->wsi);
  return link->owes || is_busy(link) || (ssl && SSL_want_write(ssl));
}

static void put(struct tg_link *link, enum lws_write_protocol kind, const void *bytes, size_t length)
{
  if (is_busy(link)) {
    struct queued queued = {.length = (uint32_t)length, .kind = kind};
    tg_buf_append(&link->queue, &queued, sizeof queued);
    tg_buf_append(&link->queue, bytes, length);
  } else {
    write_now(link, kind, bytes, length);
  }
  link->choked = link->choked || is_busy(link);
  link->owes = link->owes || is_busy(link);
  tg_link_watch(link);
}

void tg_link_send_queued(struct tg_link *link)
{
  size_t done = 0;
  while (done < link->queue.length && !lws_partial_buffered(link->wsi) && !link->over) {
    struct queued queued;
    memcpy(&queued, link->queue.data + done, sizeof queued);
    write_now(link, queued.kind, link->queue.data + done + sizeof queued, queued.length);
    done += sizeof queued + queued.length;
  }
  tg_buf_consume(&link->queue, done);
  if (link->queue.length == 0)
    tg_buf_reset(&link->queue, 0);
  if (is_busy(link))
    return;
  link->in_flight = 0;
  if (link->choked && !link->freed) {
    link->choked = false;
    link->callbacks.on_drain(link->ctx);
  }
}

static bool can_send(const struct tg_link *link)
{
  return link->wsi && link->stage == TG_LINK_OPEN && !link->closing && !link->over && !link->freed;
}

void tg_link_send(struct tg_link *link, const char *text, size_t length)
{
  if (can_send(link))
    put(link, LWS_WRITE_TEXT, text, length);
}

static void write_close(struct tg_link *link, const void *payload, size_t length)
{
  link->closing = true;
  put(link, (enum lws_write_protocol)WRITE_CLOSE, payload, length);
}

/* Sent as a frame like others: libwebsockets' own close handshake hands on nothing that comes after it, and
 * loses the code if it begins at the wrong moment. */
void tg_link_close(struct tg_link *link, int code, const char *reason)
{
  char payload[CLOSE_MAX];
  size_t length = strlen(reason);
  if (!can_send(link))
    return;
  if (length > sizeof payload - 2)
    length = sizeof payload - 2;
  payload[0] = (char)(code >> 8);
  payload[1] = (char)(code & 0xff);
  memcpy(payload + 2, reason, length);
  write_close(link, payload, length + 2);
}

void tg_link_echo_close(struct tg_link *link, const void *payload, size_t length)
{
  if (!link->closing && !link->freed)
    write_close(link, payload, length < CLOSE_MAX ? length : CLOSE_MAX);
}

size_t tg_link_unsent(const struct tg_link *link)
{
  if (!link->wsi || link->stage != TG_LINK_OPEN || !is_busy(link))
    return 0;
  size_t least = 1; /* a PONG, whose length is not known */
  return link->queue.length + (link->in_flight > least ? link->in_flight : least);
}
