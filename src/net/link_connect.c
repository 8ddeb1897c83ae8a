#include "net/link_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void name_host(const struct tg_gateway_url *url, char *text, size_t size)
{
  bool bracket = strchr(url->host, ':') != NULL;
  bool usual_port = strcmp(url->port, url->tls ? "443" : "80") == 0;
  snprintf(text, size, "%s%s%s%s%s", bracket ? "[" : "", url->host, bracket ? "]" : "", usual_port ? "" : ":",
           usual_port ? "" : url->port);
}

/* libwebsockets comes back from this at once, waiting for a connection to the door. */
static struct lws *ask_for_connection(struct tg_link *link)
{
  char host[sizeof link->url.host + sizeof link->url.port + 8];
  name_host(&link->url, host, sizeof host);
  struct lws_client_connect_info info = {
      .context = link->context->lws,
      .address = link->context->door_address,
      .port = atoi(link->url.port),
      .path = link->url.target,
      .host = host,
      .local_protocol_name = "gateway",
      .alpn = "http/1.1", /* with a choice it takes HTTP/2 and never gets any further */
      /* Who follows a redirect waits for ever, and takes the token to whoever is named. */
      .ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT | (link->url.tls ? LCCSCF_USE_SSL : 0),
      .userdata = link,
  };
  return lws_client_connect_via_info(&info);
}

/* What the kernel holds for a peer that does not read cannot be had back, and looks as if it were sent.
 * Discord takes 120 commands a minute of 4 KiB at most; loopback would hold megabytes. */
static void hold_little(int fd)
{
  int size = 32 * 1024; /* the kernel doubles it */
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* The connected socket takes the place of the one that waits at the door, before anybody polls it. */
static bool take_place(struct tg_link *link, int fd)
{
  link->fd = lws_get_socket_fd(link->wsi);
  return link->fd >= 0 && dup3(fd, link->fd, O_CLOEXEC) == link->fd;
}

struct tg_link *tg_link_begin(struct tg_link_context *context, int fd, const struct tg_gateway_url *url,
                              const char *name, const struct tg_ws_callbacks *callbacks, void *ctx,
                              struct tg_error *error)
{
  struct tg_link *link = tg_calloc(1, sizeof *link);
  link->context = context;
  link->fd = -1;
  link->url = *url;
  link->callbacks = *callbacks;
  link->ctx = ctx;
  link->stage = url->tls ? TG_LINK_SECURING : TG_LINK_UPGRADING;
  snprintf(link->name, sizeof link->name, "%s", name);
  hold_little(fd);
  errno = 0;
  link->wsi = ask_for_connection(link);
  bool good = link->wsi && take_place(link, fd) && tg_link_poll_start(link);
  int code = errno;
  close(fd);
  if (good)
    return link;
  tg_link_free(link);
  return tg_fail(error, "unreachable", "%s: libwebsockets cannot take the connection%s%s", name,
                 code ? ": " : "", code ? strerror(code) : ""),
         NULL;
}

void tg_link_hand_over(struct tg_link *link, const struct tg_ws_callbacks *callbacks, void *ctx)
{
  link->callbacks = *callbacks;
  link->ctx = ctx;
}

enum tg_link_stage tg_link_stage(const struct tg_link *link)
{
  return link->stage;
}
