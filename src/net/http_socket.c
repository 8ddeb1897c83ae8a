#include "net/http_socket.h"

#include "base/buf.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tg_http_socket {
  uv_poll_t poll; /* first: the uv handle is the socket */
  struct tg_http_sockets *owner;
  curl_socket_t fd;
  int wanted;                        /* by libcurl */
  int armed;                         /* in the kernel; a superset of wanted */
  bool connection;                   /* opened by open_connection() */
  bool answered;                     /* the peer has sent something: it is connected */
  const CURL *easy;                  /* the transfer that has used it last */
  struct tg_http_avoidance *opening; /* of the transfer that waits for it to connect */
  struct tg_address address;         /* of a connection over TCP */
  tg_ms opened_at;
};

enum { MUTE_AFTER = 500 }; /* ms; who loses a race of addresses is closed before */

static void on_handle_closed(uv_handle_t *handle)
{
  struct tg_http_socket *socket = (struct tg_http_socket *)handle;
  struct tg_http_sockets *owner = socket->owner;
  free(socket);
  owner->open_handles--;
  if (owner->closed)
    owner->closed(owner->ctx);
}

static void forget(struct tg_http_socket *socket)
{
  tg_ms now = tg_now();
  if (socket->address.size > 0 && !socket->answered && now - socket->opened_at >= MUTE_AFTER)
    tg_address_failed(&socket->owner->memory, &socket->address, now);
  socket->owner->by_fd[socket->fd] = NULL;
  uv_poll_stop(&socket->poll);
  uv_close((uv_handle_t *)&socket->poll, on_handle_closed);
}

static struct tg_http_socket *find(struct tg_http_sockets *sockets, curl_socket_t fd)
{
  return fd >= 0 && fd < sockets->capacity ? sockets->by_fd[fd] : NULL;
}

static struct tg_http_socket *watch(struct tg_http_sockets *sockets, curl_socket_t fd, bool connection)
{
  if (fd >= sockets->capacity) {
    int capacity = (fd | 63) + 1;
    sockets->by_fd = tg_realloc(sockets->by_fd, (size_t)capacity * sizeof sockets->by_fd[0]);
    memset(sockets->by_fd + sockets->capacity, 0,
           (size_t)(capacity - sockets->capacity) * sizeof sockets->by_fd[0]);
    sockets->capacity = capacity;
  }
  struct tg_http_socket *socket = tg_calloc(1, sizeof *socket);
  socket->owner = sockets;
  socket->fd = fd;
  socket->connection = connection;
  if (uv_poll_init_socket(sockets->loop, &socket->poll, fd) != 0) {
    free(socket);
    return NULL;
  }
  sockets->open_handles++;
  sockets->by_fd[fd] = socket;
  uv_unref((uv_handle_t *)&socket->poll);
  return socket;
}

static void on_event(uv_poll_t *poll, int status, int events);

static void arm(struct tg_http_socket *socket, int events)
{
  socket->armed = events;
  if (events)
    uv_poll_start(&socket->poll, events, on_event);
  else
    uv_poll_stop(&socket->poll);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
  struct tg_http_socket *socket = (struct tg_http_socket *)poll;
  struct tg_http_sockets *owner = socket->owner;
  curl_socket_t fd = socket->fd;
  int flags = 0;
  if (status < 0) { /* libuv has stopped the handle */
    socket->armed = 0;
    events = socket->wanted;
    flags = CURL_CSELECT_ERR;
  } else if (socket->armed & ~socket->wanted) {
    arm(socket, socket->wanted);
  }
  events &= socket->wanted;
  if (!events)
    return;
  if ((events & UV_READABLE) && !socket->answered) {
    socket->answered = true;
    tg_address_worked(&owner->memory, &socket->address);
  }
  flags |= (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
  int running;
  curl_multi_socket_action(owner->multi, fd, flags, &running);
  if (find(owner, fd) == socket && (socket->wanted & ~socket->armed))
    arm(socket, socket->wanted);
  owner->acted(owner->ctx);
}

static int on_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
  (void)socket_ctx;
  struct tg_http_sockets *sockets = ctx;
  struct tg_http_socket *socket = find(sockets, fd);
  if (what == CURL_POLL_REMOVE) {
    sockets->last_words.easy = socket ? socket->easy : NULL; /* `easy` may be a handle of libcurl's own */
    sockets->last_words.fd = fd;
    if (socket)
      socket->opening = NULL;
    if (socket && socket->connection && socket->answered) {
      socket->wanted = 0;
      uv_unref((uv_handle_t *)&socket->poll);
    } else if (socket) {
      forget(socket);
    }
    return 0;
  }
  if (!socket && !(socket = watch(sockets, fd, false)))
    return -1;
  socket->easy = easy;
  if ((what & CURL_POLL_IN) && socket->opening) { /* until it is connected, libcurl wants to write */
    socket->opening->connected = true;
    socket->opening = NULL;
  }
  socket->wanted = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  uv_ref((uv_handle_t *)&socket->poll);
  if (socket->wanted & ~socket->armed)
    arm(socket, socket->wanted | (socket->armed & UV_READABLE));
  return 0;
}

static curl_socket_t open_connection(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
  struct tg_http_avoidance *avoidance = ctx;
  struct tg_http_sockets *sockets = avoidance->sockets;
  struct tg_address where;
  bool known = tg_address_set(&where, &address->addr, address->addrlen);
  if (purpose != CURLSOCKTYPE_IPCXN)
    return CURL_SOCKET_BAD;
  if (known && !avoidance->off && tg_address_is_bad(&sockets->memory, &where, tg_now())) {
    avoidance->avoided = true;
    return CURL_SOCKET_BAD;
  }
  curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0)
    return CURL_SOCKET_BAD;
  struct tg_http_socket *stale = find(sockets, fd);
  if (stale)
    forget(stale);
  struct tg_http_socket *opened = watch(sockets, fd, true);
  if (!opened) {
    close(fd);
    return CURL_SOCKET_BAD;
  }
  opened->opening = avoidance;
  opened->address = where;
  opened->opened_at = tg_now();
  return fd;
}

static int close_connection(void *ctx, curl_socket_t fd)
{
  struct tg_http_sockets *sockets = ctx;
  struct tg_http_socket *socket = find(sockets, fd);
  char *text = sockets->last_words.text;
  ssize_t got = recv(fd, text, sizeof sockets->last_words.text - 1, MSG_DONTWAIT);
  text[got > 0 ? got : 0] = '\0';
  if (sockets->last_words.fd != fd)
    sockets->last_words.easy = NULL;
  if (socket)
    forget(socket);
  return close(fd);
}

const char *tg_http_sockets_last_words(const struct tg_http_sockets *sockets, const CURL *easy)
{
  return sockets->last_words.easy == easy && sockets->last_words.text[0] ? sockets->last_words.text : NULL;
}

void tg_http_sockets_init(struct tg_http_sockets *sockets, uv_loop_t *loop, CURLM *multi)
{
  sockets->loop = loop;
  sockets->multi = multi;
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_wanted);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, sockets);
}

void tg_http_sockets_attach(struct tg_http_sockets *sockets, CURL *easy, struct tg_http_avoidance *avoidance)
{
  avoidance->sockets = sockets;
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_connection);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, avoidance);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_connection);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, sockets);
}

void tg_http_sockets_close(struct tg_http_sockets *sockets)
{
  for (int fd = 0; fd < sockets->capacity; fd++)
    if (sockets->by_fd[fd])
      forget(sockets->by_fd[fd]);
}

void tg_http_sockets_free(struct tg_http_sockets *sockets)
{
  free(sockets->by_fd);
  sockets->by_fd = NULL;
  sockets->capacity = 0;
}
