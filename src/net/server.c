#include "net/server.h"

#include "net/connection.h"
#include "net/listener.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_MAX = TG_CLIENTS_MAX + TG_CLIENTS_REFUSED, BACKLOG = 512 };

struct tg_server {
  struct tg_server_options options;
  struct tg_listener listener;
  struct tg_connection *connections[CONNECTIONS_MAX + 1]; /* one more, to be closed */
  int count;
  bool rests;
  size_t held; /* bytes, by all of them */
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

void tg_server_holds(struct tg_server *server, size_t before, size_t now)
{
  server->held += now - before;
}

/* A single large answer finds room while the others hold little. */
bool tg_server_has_room(const struct tg_server *server, size_t now, size_t wanted)
{
  size_t others = server->held - now;
  return wanted <= TG_CLIENT_BYTES || others + wanted <= TG_CLIENTS_BYTES || others <= TG_CLIENTS_BYTES / 8;
}

/* Closes whoever goes first of all, or of those who stand together with the newcomer. False: nobody may. */
static bool make_room(struct tg_server *server, const struct tg_connection *newcomer, bool of_its_place)
{
  const struct tg_standing *place = tg_connection_standing(newcomer);
  struct tg_connection *first = NULL;
  tg_ms now = tg_now();
  for (int i = 0; i < server->count; i++) {
    struct tg_connection *connection = server->connections[i];
    const struct tg_standing *standing = tg_connection_standing(connection);
    if (connection == newcomer || !tg_standing_may_go(standing, now) ||
        (of_its_place && !tg_standing_together(standing, place)))
      continue;
    if (!first || tg_standing_goes_before(standing, tg_connection_standing(first)))
      first = connection;
  }
  if (first)
    tg_connection_close(first);
  return first;
}

static int count_of_place(const struct tg_server *server, const struct tg_connection *newcomer)
{
  const struct tg_standing *place = tg_connection_standing(newcomer);
  int count = 0;
  for (int i = 0; i < server->count; i++)
    count += tg_standing_together(tg_connection_standing(server->connections[i]), place);
  return count;
}

static int places_taken(const struct tg_server *server)
{
  int taken = 0;
  for (int i = 0; i < server->count; i++)
    taken += tg_connection_standing(server->connections[i])->use != TG_USE_OVER;
  return taken;
}

/* The newcomer counts already. */
static bool find_place(struct tg_server *server, const struct tg_connection *newcomer)
{
  if (count_of_place(server, newcomer) > TG_CLIENTS_OF_A_PLACE && !make_room(server, newcomer, true))
    return false;
  int places = TG_CLIENTS_MAX - (tg_connection_standing(newcomer)->local ? 0 : TG_CLIENTS_LOCAL);
  return places_taken(server) <= places || make_room(server, newcomer, false);
}

/* Whoever has had an answer and does not go holds no place, but may not stay for ever. False: there is none.
 */
static bool end_oldest_over(struct tg_server *server)
{
  struct tg_connection *oldest = NULL;
  for (int i = 0; i < server->count; i++) {
    struct tg_connection *connection = server->connections[i];
    const struct tg_standing *standing = tg_connection_standing(connection);
    if (standing->use == TG_USE_OVER && (!oldest || standing->since < tg_connection_standing(oldest)->since))
      oldest = connection;
  }
  if (oldest)
    tg_connection_close(oldest);
  return oldest;
}

static void on_connection(uv_stream_t *stream, int status)
{
  struct tg_server *server = stream->data;
  if (status != 0)
    return; /* the kernel has lost it again */
  struct tg_connection *connection = tg_connection_accept(server, stream);
  if (!connection)
    return;
  if (server->count > CONNECTIONS_MAX && !end_oldest_over(server))
    tg_connection_close(connection);
  else if (!find_place(server, connection))
    tg_connection_turn_away(connection);
}

struct tg_server *tg_server_new(const struct tg_server_options *options, struct tg_error *error)
{
  struct tg_server *server = tg_calloc(1, sizeof *server);
  server->options = *options;
  server->options.listen = NULL; /* need not live as long */
  bool open = options->socket > 0 ? tg_listener_take(&server->listener, options->loop, options->listen,
                                                     options->socket, BACKLOG, on_connection, error)
                                  : tg_listener_open(&server->listener, options->loop, options->listen,
                                                     BACKLOG, on_connection, error);
  if (!open) {
    tg_listener_close(&server->listener, free, server);
    return NULL;
  }
  server->listener.stream.data = server;
  return server;
}

int tg_server_socket(const struct tg_server *server)
{
  return tg_listener_fd(&server->listener);
}

bool tg_server_rests(const struct tg_server *server)
{
  return server->rests;
}

void tg_server_rest(struct tg_server *server, bool rest)
{
  server->rests = rest;
  tg_ms now = tg_now();
  for (int i = server->count - 1; rest && i >= 0; i--) { /* the last takes the place of one that goes */
    const struct tg_standing *standing = tg_connection_standing(server->connections[i]);
    if (standing->use == TG_USE_NONE && tg_standing_may_go(standing, now))
      tg_connection_close(server->connections[i]);
  }
}

bool tg_server_at_rest(const struct tg_server *server)
{
  return server->count == 0;
}

void tg_server_free(struct tg_server *server)
{
  if (!server)
    return;
  while (server->count > 0)
    tg_connection_forget(server->connections[server->count - 1]);
  tg_listener_close(&server->listener, free, server);
}
