#pragma once

/* One request of the control API, as its routes see it.
 *
 * A route is a function that gets a request and answers it once, at once or
 * later, with one of the tg_respond functions; these free the request. The
 * request outlives its client: an answer to one that has gone is thrown away.
 * Loop thread only. */

#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

enum {
  TG_REQUEST_PARAMS_MAX = 2,
  TG_REQUEST_HEADERS_MAX = 64,
  TG_REQUEST_HEAD_MAX = 16 * 1024, /* bytes of target, header names and values */
  TG_REQUEST_BODY_MAX = 1024 * 1024,
};

struct tg_live;
struct tg_manager;
struct tg_connection;
struct tg_route;

struct tg_request {
  const char *method;                  /* "GET"; HEAD comes as GET, its answer goes out without body */
  const char *path;                    /* as it came: "/shards/3/payload" */
  const char *query;                   /* what stands behind the "?"; "" */
  struct tg_buf body;                  /* NUL-terminated behind its length */
  json_t *json;                        /* the body, for routes that take JSON, of most an object; else NULL */
  char *params[TG_REQUEST_PARAMS_MAX]; /* what stands for the {} of the route's path */
  struct tg_manager *manager;
  struct tg_live *live; /* who looks at the status page */

  /* Called once when the client goes before it is answered; may be NULL. The
   * request still has to be answered, and may be from inside. */
  void (*on_gone)(struct tg_request *request);
  void *ctx; /* the route's own */

  struct tg_connection *connection; /* NULL: the client has gone */
  struct tg_request *next;          /* that waits for its turn: turns.c */
  const struct tg_route *route;
  int header_count;
  struct {
    const char *name, *value;
  } headers[TG_REQUEST_HEADERS_MAX];
  char *texts; /* holds path, query, headers */
  bool has_body, expects_continue;
  bool has_secret;   /* the client has shown that it knows the secret */
  bool wants_secret; /* there is one, which the client of this route need not know */
};

/* NULL: no such header. Case does not matter. */
const char *tg_request_header(const struct tg_request *request, const char *name);

/* `type` is the Content-Type; `headers` are more lines, each with its \r\n, or
 * NULL. The body is copied. */
void tg_respond(struct tg_request *request, int status, const char *type, const char *headers,
                const void *body, size_t length);
/* Steals `json`. */
void tg_respond_json(struct tg_request *request, int status, json_t *json);
/* {"error": "..."} */
void tg_respond_error(struct tg_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* {"error": "...", "code": "..."}, the status by the code (see tg_status_of()). */
void tg_respond_failure(struct tg_request *request, const struct tg_error *error);

/* Ends the connection instead: for who takes any answer for a yes. */
void tg_respond_nothing(struct tg_request *request);

/* ---- an answer without an end ---- */

/* Begins one with status 200: what tg_respond_more() is given follows as it comes, until tg_respond_end(), or
 * until the client goes, which on_gone tells (set it before); the request is the route's until then.
 * `headers` as for tg_respond(), or "". False: it was a HEAD, which is answered by that. */
bool tg_respond_begin(struct tg_request *request, const char *type, const char *headers);
/* False: nothing of it goes out, because the client has not taken yet what went before. One that takes
 * nothing for half a minute is closed. Never calls on_gone from inside. */
bool tg_respond_more(struct tg_request *request, const void *bytes, size_t length);
/* Frees the request, whether its client is still there or not. */
void tg_respond_end(struct tg_request *request);

/* The HTTP status for an error of the manager. */
int tg_status_of(const char *code);

/* Without an answer; for the server. */
void tg_request_free(struct tg_request *request);
