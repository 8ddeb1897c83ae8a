/* The loop's events, handed to libwebsockets one by one. It reads a piece at a time and does not say whether
 * there is more: it is asked again as long as there may be. */

#include "net/link_impl.h"
#include "net/tcp_facts.h"

#include <stdlib.h>
#include <sys/socket.h>

enum { READS_A_TURN = 16 }; /* then the other connections of the loop have their turn */

static void free_handle(uv_handle_t *handle)
{
  free(handle);
}

/* libwebsockets at work with one link; what frees another one meanwhile has to wait. */
static void serve(struct tg_link *link, short revents)
{
  struct lws_pollfd pollfd = {.fd = link->fd, .events = LWS_POLLIN | LWS_POLLOUT, .revents = revents};
  struct tg_link *before = link->context->served;
  link->context->served = link;
  lws_service_fd(link->context->lws, &pollfd);
  link->context->served = before;
}

static bool goes_on(const struct tg_link *link)
{
  return link->wsi && !link->over && !link->freed;
}

/* 1: bytes wait; 0: the end of the stream; -1: neither. */
static ssize_t look_into_socket(const struct tg_link *link)
{
  char byte;
  return recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

/* With OpenSSL's read-ahead, which saves a system call a record, what has been read from the socket waits
 * where no poll sees it; libwebsockets looks at decrypted bytes alone. Half a record waits there, too: who
 * asks again must see that a whole one was there the last time. Without TLS a poll sees the rest; where the
 * last piece was a whole one, to ask is cheaper. */
static bool more_is_at_hand(const struct tg_link *link, uint64_t records, uint64_t heard)
{
  SSL *ssl = lws_get_ssl(link->wsi);
  if (ssl)
    return SSL_has_pending(ssl) && link->context->records != records;
  return link->context->heard - heard > TG_LINK_PIECE / 2;
}

static void note_stage(struct tg_link *link)
{
  if (link->wsi && link->stage == TG_LINK_SECURING && lws_get_ssl(link->wsi) &&
      SSL_is_init_finished(lws_get_ssl(link->wsi)))
    link->stage = TG_LINK_UPGRADING;
}

/* One piece. Whether another one can be had at once. */
static bool read_piece(struct tg_link *link)
{
  uint64_t records = link->context->records, heard = link->context->heard;
  enum tg_link_stage stage = link->stage;
  if (stage == TG_LINK_UPGRADING && !link->is_http)
    tg_link_check_answer(link);
  if (!goes_on(link))
    return false;
  serve(link, LWS_POLLIN);
  note_stage(link);
  if (!goes_on(link))
    return false;
  bool opened =
      link->stage != stage && link->stage == TG_LINK_OPEN; /* it keeps what came behind the upgrade */
  return opened || more_is_at_hand(link, records, heard);
}

/* libwebsockets takes the end of the stream for nothing at all in a TLS handshake, and, while it has still
 * something to send, for a reason to send that first. */
static void notice_end(struct tg_link *link)
{
  if (!goes_on(link) || (link->stage == TG_LINK_OPEN && !lws_partial_buffered(link->wsi)))
    return;
  if (look_into_socket(link) != 0)
    return;
  tg_link_explain(link, NULL);
  link->over = true;
}

static void read_some(struct tg_link *link)
{
  link->more = true;
  for (int i = 0; i < READS_A_TURN && link->more; i++)
    link->more = read_piece(link);
  notice_end(link);
  if (!goes_on(link) || link->stage != TG_LINK_OPEN)
    return;
  link->owes = true; /* a PONG, if a PING came */
  serve(link, LWS_POLLOUT);
  if (link->wsi && lws_partial_buffered(link->wsi))
    link->choked = true;
}

/* Of a reset libuv tells nothing but that; what came before it can still be read. */
static void read_the_rest(struct tg_link *link)
{
  bool more = goes_on(link);
  while (more)
    more = read_piece(link) || (goes_on(link) && look_into_socket(link) == 1);
  if (goes_on(link)) {
    tg_link_explain(link, NULL);
    link->over = true;
  }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
  struct tg_link *link = poll->data;
  if (!link->started || (events & UV_WRITABLE)) {
    link->started = true;
    serve(link, LWS_POLLOUT);
    note_stage(link);
  }
  if (status < 0)
    read_the_rest(link);
  else if (goes_on(link) && ((events & UV_READABLE) || link->more))
    read_some(link);
  tg_link_settle(link);
}

void tg_link_watch(struct tg_link *link)
{
  int events = link->started ? UV_READABLE : UV_WRITABLE;
  if (link->over || link->more || (link->started && tg_link_wants_write(link)))
    events |= UV_WRITABLE;
  if (!link->poll || events == link->events)
    return;
  link->events = events;
  uv_poll_start(link->poll, events, on_poll);
}

bool tg_link_poll_start(struct tg_link *link)
{
  link->poll = tg_calloc(1, sizeof *link->poll);
  if (uv_poll_init(link->context->loop, link->poll, link->fd) != 0) {
    free(link->poll);
    link->poll = NULL;
    return false;
  }
  link->poll->data = link;
  tg_link_watch(link);
  return true;
}

void tg_link_poll_stop(struct tg_link *link)
{
  if (link->poll)
    uv_close((uv_handle_t *)link->poll, free_handle);
  link->poll = NULL;
}

static void destroy(struct tg_link *link)
{
  tg_link_poll_stop(link);
  tg_buf_free(&link->queue);
  free(link->farewell);
  free(link);
}

/* Of a socket that has hung up libwebsockets believes that nothing more can be sent; some releases wait
 * nevertheless until all has been handed on that they have read. */
static void drop(struct tg_link *link)
{
  if (link->wsi && link->fd >= 0)
    serve(link, LWS_POLLHUP);
  if (link->wsi)
    lws_set_timeout(link->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_SYNC);
}

static void see_off_departed(struct tg_link_context *context)
{
  while (!context->served && context->departed) {
    struct tg_link *link = context->departed;
    context->departed = link->next;
    drop(link);
    destroy(link);
  }
}

/* What is told outlives the link, which may be freed meanwhile. */
static void tell_end(struct tg_link *link)
{
  struct farewell *farewell = link->farewell;
  link->farewell = NULL;
  link->told = true;
  link->callbacks.on_end(link->ctx, &farewell->end);
  free(farewell);
}

/* After all that may have changed something. */
void tg_link_settle(struct tg_link *link)
{
  struct tg_link_context *context = link->context;
  if (context->served)
    return;
  if (link->over)
    drop(link);
  if (!link->freed && !link->wsi && !link->told)
    tell_end(link);
  else if (!link->freed)
    tg_link_watch(link);
  see_off_departed(context);
}

void tg_link_free(struct tg_link *link)
{
  if (!link || link->freed)
    return;
  link->freed = true;
  link->next = link->context->departed;
  link->context->departed = link;
  see_off_departed(link->context);
}

uint64_t tg_link_received(const struct tg_link *link)
{
  return link->fd >= 0 ? tg_tcp_facts(link->fd).received : link->received;
}

void tg_link_trim(struct tg_link *link)
{
  SSL *ssl = link->wsi ? lws_get_ssl(link->wsi) : NULL;
  if (ssl && link->stage == TG_LINK_OPEN)
    SSL_free_buffers(ssl);
}
