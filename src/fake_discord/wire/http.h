#pragma once

/* The server side of HTTP/1.1: connections, requests, answers, and handing a
 * connection over to the gateway after an upgrade. */

#include "base/buf.h"
#include "fake_discord/fake.h"

#include <jansson.h>

struct tg_fake_http;
struct tg_fake_listener;

enum { TG_FAKE_HEADERS_MAX = 40 };

struct tg_fake_request {
  const char *method; /* "GET" */
  char *target;       /* "/gateway/bot?a=b", as it came */
  char *path;         /* "/gateway/bot" */
  const char *query;  /* "a=b"; "" when there is none */
  int header_count;
  struct {
    char *name, *value;
  } headers[TG_FAKE_HEADERS_MAX];
  struct tg_buf body; /* NUL-terminated behind its length */
  bool upgrade;
};

/* Has to answer now or later: tg_fake_http_reply(), _upgrade() or _drop(). The
 * request lives until then. */
typedef void tg_fake_handler(struct tg_fake *fake, struct tg_fake_http *http,
                             const struct tg_fake_request *request);

/* Listens on "address:port" and writes where, as "address:port", to `bound`. */
struct tg_fake_listener *tg_fake_listen(struct tg_fake *fake, const char *address, struct tg_tls *tls,
                                        tg_fake_handler *handler, char *bound, size_t size,
                                        struct tg_error *error);
void tg_fake_listener_close(struct tg_fake_listener *listener);

/* NULL: no such header. Case does not matter. */
const char *tg_fake_request_header(const struct tg_fake_request *request, const char *name);

/* The value of a query parameter, cut to `size`. False: it is not there. */
bool tg_fake_request_param(const struct tg_fake_request *request, const char *name, char *value, size_t size);

/* `headers` are more lines, each with its \r\n, or NULL. `type` NULL: no body. */
void tg_fake_http_reply(struct tg_fake_http *http, int status, const char *type, const char *headers,
                        const void *body, size_t length);
/* Takes `json` over. */
void tg_fake_http_reply_json(struct tg_fake_http *http, int status, json_t *json);

/* The same after `delay`; 0: at once. `json` NULL: no body. */
void tg_fake_http_reply_later(struct tg_fake_http *http, tg_ms delay, int status, json_t *json);

/* Calls run(http) after `delay`; not if the connection ends before. */
void tg_fake_http_later(struct tg_fake_http *http, tg_ms delay, void (*run)(void *http));
const struct tg_fake_request *tg_fake_http_request(struct tg_fake_http *http);
struct tg_fake *tg_fake_http_fake(struct tg_fake_http *http);

/* Sends `head` and gives the connection's bytes to `callbacks` from now on
 * (on_open is not called); bytes that came behind the request are delivered
 * before this returns. The stream stays the HTTP connection's: end it with
 * tg_fake_http_drop(). */
struct tg_stream *tg_fake_http_upgrade(struct tg_fake_http *http, const char *head,
                                       const struct tg_stream_callbacks *callbacks, void *ctx);

/* The end of the connection; no callback comes any more. */
void tg_fake_http_drop(struct tg_fake_http *http, enum tg_stream_close how);

/* Ends all connections. */
void tg_fake_https_drop(struct tg_fake *fake);
