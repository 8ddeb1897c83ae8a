#pragma once

/* The HTTP/1.1 server of the control API: an address that listens, and its
 * clients. It knows nothing of routes. Nothing here blocks the loop but the
 * look-up of a host name at the start. Loop thread only. */

#include "base/error.h"
#include "net/request.h"

#include <uv.h>

enum {
  TG_CLIENTS_MAX = 512,        /* more get 503, unless one of which nothing is under way can make room */
  TG_CLIENTS_LOCAL = 64,       /* of these, kept for clients on this machine */
  TG_CLIENTS_OF_A_PLACE = 128, /* of one place elsewhere (control/crowd.h), without the secret */
  TG_CLIENTS_REFUSED = 128,    /* of those at a time; more are just closed */
  TG_CLIENTS_BYTES =
      64 << 20, /* of requests that are not answered and answers that are not read, of all clients: */
  TG_CLIENT_BYTES = 64 << 10, /* beyond that, who wants more than so much for itself gets 503 */
};

struct tg_server_options {
  uv_loop_t *loop;
  const char *listen; /* "127.0.0.1:8377", "[::1]:0", "unix:/path" */
  int socket;         /* that listens there already, and is taken over; below 1: there is none */
  /* The head of a request is there. False: it was answered. The body, if any,
   * comes next. */
  bool (*admit)(void *ctx, struct tg_request *request);
  /* The whole request is there, and has to be answered once, now or later. */
  void (*handle)(void *ctx, struct tg_request *request);
  void *ctx;
};

struct tg_server;

/* NULL: it cannot listen there; `error` says why and what to do. */
struct tg_server *tg_server_new(const struct tg_server_options *options, struct tg_error *error);

/* Where: "http://127.0.0.1:8377", "unix:/path". */
const char *tg_server_address(const struct tg_server *server);

/* The socket that listens; the server's own. */
int tg_server_socket(const struct tg_server *server);
/* Each answer is the last of its connection from here on, or no longer: clients come again for the next one.
 * Whoever has not begun a request goes at once, but for those who have just come: theirs is on its way. */
void tg_server_rest(struct tg_server *server, bool rest);
/* Nobody is connected. */
bool tg_server_at_rest(const struct tg_server *server);

/* Closes all connections; requests without an answer stay with their routes.
 * The memory goes when the loop has closed the handles. */
void tg_server_free(struct tg_server *server);

/* For connection.c. */
bool tg_server_rests(const struct tg_server *server);
const struct tg_server_options *tg_server_options_of(const struct tg_server *server);
void tg_server_joined(struct tg_server *server, struct tg_connection *connection);
void tg_server_left(struct tg_server *server, struct tg_connection *connection);
/* What a client holds was `before` bytes, and is `now`. */
void tg_server_holds(struct tg_server *server, size_t before, size_t now);
/* Whether a client that holds `now` may hold so much. */
bool tg_server_has_room(const struct tg_server *server, size_t now, size_t wanted);
