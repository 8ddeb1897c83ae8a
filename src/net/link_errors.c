/* Why a connection has ended. libwebsockets tells little: the socket, OpenSSL and the answer's head are
 * asked while they are still there. */

#include "net/link_impl.h"
#include "net/retry_after.h"
#include "net/tcp_facts.h"
#include "proto/close_code.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct tg_ws_end *tg_link_begin_farewell(struct tg_link *link)
{
  if (link->farewell)
    return NULL;
  link->farewell = tg_calloc(1, sizeof *link->farewell);
  link->farewell->end =
      (struct tg_ws_end){.code = TG_CLOSE_NONE, .reason = link->farewell->reason, .retry_after = -1};
  return &link->farewell->end;
}

static enum tg_tcp_state tcp_state(const struct tg_link *link)
{
  return tg_tcp_facts(link->fd).state;
}

/* The socket is as it should be: whoever ended it did so for what he has read. */
static bool stands(const struct tg_link *link)
{
  char byte;
  return tcp_state(link) == TG_TCP_STANDS ||
         (tcp_state(link) == TG_TCP_FINISHED && recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
}

static void explain_socket(const struct tg_link *link, int code, struct tg_error *error)
{
  if (tcp_state(link) != TG_TCP_GONE) {
    tg_fail(error, "eof", "%s closed the connection", link->name);
    return;
  }
  bool timed_out = code == ETIMEDOUT || code == EHOSTUNREACH || code == ENETUNREACH;
  tg_fail(error, timed_out ? "unreachable" : "reset", "%s: %s", link->name,
          strerror(timed_out ? code : ECONNRESET));
}

static void explain_tls(struct tg_link *link, int code, struct tg_error *error)
{
  SSL *ssl = lws_get_ssl(link->wsi);
  if (ssl && SSL_get_verify_result(ssl) != X509_V_OK)
    tg_tls_explain(ssl, link->name, error);
  else if (link->tls_failure)
    tg_fail(error, "tls", "TLS with %s failed: %s", link->name, link->tls_failure);
  else if (tcp_state(link) == TG_TCP_STANDS)
    tg_fail(error, "tls", "TLS with %s failed", link->name);
  else if (tcp_state(link) == TG_TCP_FINISHED)
    tg_fail(error, "eof", "%s closed the connection during the TLS handshake", link->name);
  else
    explain_socket(link, code, error);
}

/* More than an hour is an accident of whoever answers. */
static tg_ms read_retry_after(struct lws *wsi)
{
  enum { LONGEST = 3600 * 1000 };
  char wait[64] = "", date[64] = "";
  if (lws_hdr_copy(wsi, wait, sizeof wait, WSI_TOKEN_HTTP_RETRY_AFTER) <= 0)
    return -1;
  lws_hdr_copy(wsi, date, sizeof date, WSI_TOKEN_HTTP_DATE);
  tg_ms now = tg_read_http_date(date, strlen(date));
  tg_ms left = tg_read_retry_after(wait, strlen(wait), now >= 0 ? now : tg_wall_clock());
  return left < LONGEST ? left : LONGEST;
}

static void explain_upgrade(struct tg_link *link, const char *what, int code, struct tg_ws_end *end)
{
  struct tg_error *error = &end->error;
  int status = (int)lws_http_client_http_response(link->wsi);
  if (status > 0) {
    end->http_status = status;
    end->retry_after = read_retry_after(link->wsi);
    const char *doubt = status == 101 ? what : NULL; /* other answers speak for themselves */
    tg_fail(error, "refused_upgrade", "%s answered the WebSocket upgrade with HTTP status %d%s%.80s%s",
            link->url.host, status, doubt ? " (" : "", doubt ? doubt : "", doubt ? ")" : "");
  } else if (stands(link)) {
    tg_fail(error, "protocol", "%s does not speak HTTP%s%.80s%s", link->url.host, what ? " (" : "",
            what ? what : "", what ? ")" : "");
  } else {
    explain_socket(link, code, error);
  }
}

void tg_link_explain(struct tg_link *link, const char *what)
{
  int code = errno; /* of the read that brought the end, if it was one */
  struct tg_ws_end *end = tg_link_begin_farewell(link);
  if (!end)
    return;
  if (link->stage == TG_LINK_SECURING || link->tls_failure)
    explain_tls(link, code, &end->error);
  else if (link->stage == TG_LINK_UPGRADING)
    explain_upgrade(link, what, code, end);
  else if (what || stands(link))
    tg_fail(&end->error, "protocol", "%s sent something that is not a WebSocket frame%s%s%s", link->url.host,
            what ? " (" : "", what ? what : "", what ? ")" : "");
  else
    explain_socket(link, code, &end->error);
}

static ssize_t peek(const struct tg_link *link, char *bytes, size_t size)
{
  SSL *ssl = lws_get_ssl(link->wsi);
  if (!ssl)
    return recv(link->fd, bytes, size, MSG_PEEK | MSG_DONTWAIT);
  ERR_clear_error();
  return SSL_peek(ssl, bytes, (int)size);
}

/* libwebsockets takes anything for headers and waits for their end. Who answers in another language is
 * known by his first words, which the message repeats. */
void tg_link_check_answer(struct tg_link *link)
{
  static const char expected[] = "HTTP/1.";
  char bytes[40];
  ssize_t length = peek(link, bytes, sizeof bytes);
  if (length <= 0)
    return;
  size_t known = (size_t)length < sizeof expected - 1 ? (size_t)length : sizeof expected - 1;
  if (memcmp(bytes, expected, known) == 0) {
    link->is_http = true; /* who begins so and comes in pieces is believed */
    return;
  }
  for (ssize_t i = 0; i < length; i++)
    if (!isprint((unsigned char)bytes[i]) || bytes[i] == '"')
      bytes[i] = '.';
  link->over = true;
  struct tg_ws_end *end = tg_link_begin_farewell(link);
  if (!end)
    return;
  tg_fail(&end->error, "protocol", "%s does not speak HTTP: it answered \"%.*s\"", link->url.host,
          (int)length, bytes);
}
