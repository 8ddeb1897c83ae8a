#include "net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ELSEWHERE "give this gateway another address with control.listen (TIDEGATE_CONTROL)"

static const char unix_prefix[] = "unix:";
enum { UNIX_PREFIX = sizeof unix_prefix - 1 };

/* ---- TCP ---- */

static bool look_up(const char *text, struct addrinfo **found, struct tg_error *error)
{
  const char *colon = strrchr(text, ':');
  bool bracketed = text[0] == '[';
  char host[256];
  snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracketed, text + bracketed);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  int result = getaddrinfo(host, colon + 1, &hints, found);
  if (result == 0)
    return true;
  return tg_fail(error, "listen",
                 "the control API cannot listen on %s: %s. Correct control.listen (TIDEGATE_CONTROL)", text,
                 gai_strerror(result));
}

static void note_address(struct tg_listener *listener)
{
  struct sockaddr_storage name;
  int length = sizeof name;
  char host[64] = "", port[8] = "";
  uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&name, &length);
  getnameinfo((struct sockaddr *)&name, (socklen_t)length, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  snprintf(listener->address, sizeof listener->address, strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s",
           host, port);
}

static bool open_tcp(struct tg_listener *listener, uv_loop_t *loop, const char *text, int backlog,
                     uv_connection_cb on_connection, struct tg_error *error)
{
  struct addrinfo *found;
  if (!look_up(text, &found, error))
    return false;
  uv_tcp_init(loop, &listener->tcp);
  listener->open = true;
  int failed = uv_tcp_bind(&listener->tcp, found->ai_addr, 0);
  freeaddrinfo(found);
  if (failed == 0)
    failed = uv_listen(&listener->stream, backlog, on_connection);
  if (failed == 0) {
    note_address(listener);
    return true;
  }
  return tg_fail(
      error, "listen", "the control API cannot listen on %s: %s%s, or " ELSEWHERE, text, uv_strerror(failed),
      failed == UV_EADDRINUSE ? ". Another program does, perhaps another gateway of this host: stop that one"
                              : ". Correct control.listen");
}

/* ---- unix socket ---- */

/* Who listens there: its pid; 0: it cannot be told; -1: nobody. */
static long listening_pid(const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return 0;
  long pid = 0;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    pid = errno == ECONNREFUSED || errno == ENOENT ? -1 : 0;
  } else {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
      pid = peer.pid;
  }
  close(fd);
  return pid;
}

/* Makes the path free when what is there is a socket that nobody listens at. */
static bool clear_path(const char *path, struct tg_error *error)
{
  struct stat status;
  if (lstat(path, &status) != 0)
    return true;
  if (!S_ISSOCK(status.st_mode))
    return tg_fail(error, "listen",
                   "the control API cannot listen on unix:%s: that is no socket. Remove it, or " ELSEWHERE,
                   path);
  long pid = listening_pid(path);
  if (pid > 0)
    return tg_fail(
        error, "listen",
        "the control API cannot listen on unix:%s: the process %ld does. Stop that one, or " ELSEWHERE, path,
        pid);
  if (pid == 0)
    return tg_fail(
        error, "listen",
        "the control API cannot listen on unix:%s: somebody else seems to. Stop that one, or " ELSEWHERE,
        path);
  unlink(path);
  return true;
}

static bool open_unix(struct tg_listener *listener, uv_loop_t *loop, const char *path, int backlog,
                      uv_connection_cb on_connection, struct tg_error *error)
{
  if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
    return tg_fail(
        error, "listen",
        "the control API cannot listen on unix:%s: a path of a socket has at most %zu bytes. Shorten "
        "control.listen (TIDEGATE_CONTROL)",
        path, sizeof((struct sockaddr_un *)0)->sun_path - 1);
  if (!clear_path(path, error))
    return false;
  uv_pipe_init(loop, &listener->pipe, 0);
  listener->open = true;
  int failed = uv_pipe_bind(&listener->pipe, path);
  /* Nobody can connect before it listens. */
  if (failed == 0 && chmod(path, S_IRUSR | S_IWUSR) != 0)
    failed = uv_translate_sys_error(errno);
  if (failed == 0)
    failed = uv_listen(&listener->stream, backlog, on_connection);
  if (failed == 0) {
    snprintf(listener->address, sizeof listener->address, "unix:%s", path);
    return true;
  }
  return tg_fail(
      error, "listen",
      "the control API cannot listen on unix:%s: %s. Its directory has to exist and to be writable; "
      "or " ELSEWHERE,
      path, uv_strerror(failed));
}

/* ---- one that listens already ---- */

static int take_tcp(struct tg_listener *listener, uv_loop_t *loop, int fd)
{
  uv_tcp_init(loop, &listener->tcp);
  listener->open = true;
  return uv_tcp_open(&listener->tcp, fd);
}

static int take_unix(struct tg_listener *listener, uv_loop_t *loop, const char *path, int fd)
{
  uv_pipe_init(loop, &listener->pipe, 0);
  listener->open = true;
  snprintf(listener->path, sizeof listener->path, "%s", path);
  snprintf(listener->address, sizeof listener->address, "%s%s", unix_prefix, path);
  return uv_pipe_open(&listener->pipe, fd);
}

bool tg_listener_take(struct tg_listener *listener, uv_loop_t *loop, const char *text, int fd, int backlog,
                      uv_connection_cb on_connection, struct tg_error *error)
{
  bool is_unix = strncmp(text, unix_prefix, UNIX_PREFIX) == 0;
  memset(listener, 0, sizeof *listener);
  int failed = is_unix ? take_unix(listener, loop, text + UNIX_PREFIX, fd) : take_tcp(listener, loop, fd);
  if (failed != 0) {
    close(fd);
    return tg_fail(error, "listen", "the control API cannot go on at %s: %s", text, uv_strerror(failed));
  }
  if (!is_unix)
    note_address(listener);
  failed = uv_listen(&listener->stream, backlog, on_connection);
  if (failed == 0)
    return true;
  return tg_fail(error, "listen", "the control API cannot go on at %s: %s", text, uv_strerror(failed));
}

int tg_listener_fd(const struct tg_listener *listener)
{
  uv_os_fd_t fd;
  return listener->open && uv_fileno(&listener->handle, &fd) == 0 ? fd : -1;
}

/* ---- */

bool tg_listener_open(struct tg_listener *listener, uv_loop_t *loop, const char *text, int backlog,
                      uv_connection_cb on_connection, struct tg_error *error)
{
  memset(listener, 0, sizeof *listener);
  if (strncmp(text, unix_prefix, UNIX_PREFIX) == 0)
    return open_unix(listener, loop, text + UNIX_PREFIX, backlog, on_connection, error);
  return open_tcp(listener, loop, text, backlog, on_connection, error);
}

static void on_closed(uv_handle_t *handle)
{
  struct tg_listener *listener = (struct tg_listener *)handle;
  listener->done(listener->owner);
}

void tg_listener_close(struct tg_listener *listener, void (*done)(void *owner), void *owner)
{
  listener->done = done;
  listener->owner = owner;
  if (listener->open) {
    uv_close(&listener->handle, on_closed); /* removes the file of a unix socket, too, */
    if (listener->path[0])
      unlink(listener->path); /* which it does not know of one that it has not bound */
  } else {
    done(owner);
  }
}
