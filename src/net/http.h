#pragma once

/* HTTP client on the process's loop: libcurl's multi interface on libuv.
 *
 * HTTP/1.1 with keep-alive, http:// https:// and http+unix:///path/to.sock:/url.
 * Handles are pooled, so that a request costs no allocation of its own beyond
 * what libcurl does. Redirects are not followed: a 3xx is an answer. Unix
 * sockets are reached without a proxy. */

#include "base/clock.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct tg_http;
struct tg_proxies;

struct tg_http_options {
  const char *ca_file;              /* NULL: the system's */
  const struct tg_proxies *proxies; /* borrowed; NULL: none are used */
};

struct tg_http_request {
  const char *method; /* "GET", "POST", ... */
  const char *url;
  const char *const *headers; /* "Name: value", ends with NULL; or NULL */
  struct tg_span body;        /* stays the caller's; must live until done */
  tg_ms timeout;              /* the whole request */
  tg_ms connect_timeout;      /* 0: the same as timeout */
  size_t max_body; /* of the answer; more fails with "too_large". 0: the body is thrown away, and not
                      read on when it is long: then the connection is closed */

  /* The status is what matters. A whole head with a 2xx, or 413, is the answer,
   * whatever comes of its body; with any other status it is a whole head and what
   * has come of the body, up to max_body, a second later at the latest. The rest of a body
   * is read beside, so that the connection can be used again, but neither longer
   * than that second nor more than 64 KiB: then the connection is closed. */
  bool by_head;
};

struct tg_http_response {
  long status; /* 0: no answer, see error */
  struct tg_span body;
  tg_ms retry_after; /* from Retry-After (seconds or a date); -1: none */
  /* code: "timeout", "refused", "resolve", "tls", "reset", "too_large",
   * "proxy", "cancelled", "bad_url", "failed". Empty when there was an answer. */
  struct tg_error error;
  double seconds;      /* from start to end */
  const char *headers; /* the header lines as they came, CRLF between; "" if none */
};

/* Everything in the response lives only during the call. Called exactly once
 * for each request, never from inside tg_http_start(). */
typedef void tg_http_done(void *ctx, const struct tg_http_response *response);

struct tg_http *tg_http_new(uv_loop_t *loop, const struct tg_http_options *options);

/* Running requests end with "cancelled". Requests that are started from their
 * callbacks are not run, and get no callback. The memory goes with the loop's
 * next turn. */
void tg_http_free(struct tg_http *http);

/* Copies what it needs of the request except the body. Returns a number for
 * tg_http_cancel(), never 0. */
uint64_t tg_http_start(struct tg_http *http, const struct tg_http_request *request, tg_http_done *done,
                       void *ctx);

/* The request ends now; its callback is not called. Unknown numbers are ignored,
 * those of requests that have been answered are unknown. */
void tg_http_cancel(struct tg_http *http, uint64_t id);
