#include "control/server.h"

#include "control/connection.h"
#include "control/listener.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_MAX = TG_CLIENTS_MAX + TG_CLIENTS_REFUSED, BACKLOG = 512 };

struct tg_server {
  struct tg_server_options options;
  struct tg_listener listener;
  struct tg_connection *connections[CONNECTIONS_MAX + 1]; /* one more, to be closed */
  int count;
};

const struct tg_server_options *tg_server_options_of(const struct tg_server *server)
{
  return &server->options;
}

const char *tg_server_address(const struct tg_server *server)
{
  return server->listener.address;
}

void tg_server_joined(struct tg_server *server, struct tg_connection *connection)
{
  server->connections[server->count++] = connection;
}

void tg_server_left(struct tg_server *server, struct tg_connection *connection)
{
  for (int i = 0; i < server->count; i++) {
    if (server->connections[i] == connection) {
      server->connections[i] = server->connections[--server->count];
      return;
    }
  }
}

/* Whoever keeps a connection open without a use for it goes before others have to wait. */
static void make_room(struct tg_server *server)
{
  struct tg_connection *oldest = NULL;
  for (int i = 0; i < server->count; i++) {
    struct tg_connection *connection = server->connections[i];
    uint64_t since = tg_connection_idle_since(connection);
    if (since && (!oldest || since < tg_connection_idle_since(oldest)))
      oldest = connection;
  }
  if (oldest)
    tg_connection_close(oldest);
}

static void on_connection(uv_stream_t *stream, int status)
{
  struct tg_server *server = stream->data;
  if (status != 0)
    return; /* the kernel has lost it again */
  if (server->count >= TG_CLIENTS_MAX)
    make_room(server);
  tg_connection_accept(server, stream, server->count >= TG_CLIENTS_MAX);
  if (server->count > CONNECTIONS_MAX)
    tg_connection_close(server->connections[CONNECTIONS_MAX]);
}

struct tg_server *tg_server_new(const struct tg_server_options *options, struct tg_error *error)
{
  struct tg_server *server = tg_calloc(1, sizeof *server);
  server->options = *options;
  server->options.listen = NULL; /* need not live as long */
  if (!tg_listener_open(&server->listener, options->loop, options->listen, BACKLOG, on_connection, error)) {
    tg_listener_close(&server->listener, free, server);
    return NULL;
  }
  server->listener.stream.data = server;
  return server;
}

void tg_server_free(struct tg_server *server)
{
  if (!server)
    return;
  while (server->count > 0)
    tg_connection_forget(server->connections[server->count - 1]);
  tg_listener_close(&server->listener, free, server);
}
