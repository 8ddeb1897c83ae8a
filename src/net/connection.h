#pragma once

/* A client of the control API: one request after the other, each within its
 * deadlines. What the next requests already sent waits until the answer to
 * this one has left, so that a connection holds one request and one answer.
 * Loop thread only. */

#include "net/crowd.h"
#include "net/request.h"

#include <uv.h>

struct tg_connection;
struct tg_server;

/* Takes the client that waits at the listener. NULL: it has gone. */
struct tg_connection *tg_connection_accept(struct tg_server *server, uv_stream_t *listener);

/* There is no place for it: it gets 503. */
void tg_connection_turn_away(struct tg_connection *connection);

/* The answer to its request; see tg_respond(). */
void tg_connection_answer(struct tg_connection *connection, int status, const char *type, const char *headers,
                          const void *body, size_t length);

/* See tg_respond_begin() and its neighbours. */
bool tg_connection_stream(struct tg_connection *connection, const char *type, const char *headers);
bool tg_connection_send(struct tg_connection *connection, const void *bytes, size_t length);
void tg_connection_stream_end(struct tg_connection *connection);

const struct tg_standing *tg_connection_standing(const struct tg_connection *connection);

/* Ends it at once. */
void tg_connection_close(struct tg_connection *connection);
/* The same, without telling the route of its request: the program ends. */
void tg_connection_forget(struct tg_connection *connection);
