#include "net/link_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  READ_SIZE = 64 * 1024, /* at once, shared by all */
  HEAD_MAX = 16 * 1024,  /* of the answer to an upgrade */
  DESCRIPTORS_SEEN = 256,
  DESCRIPTORS_MAX = 32768, /* libwebsockets has a table of all that there can be */
};

/* libwebsockets has no way to take a socket that is connected already. So it connects to this one, of
 * which it hears that it has to wait: a queue of one, that is full, and is never emptied. Before anybody
 * waits, the connected socket takes that descriptor's place (link_connect.c). The kernel chooses the
 * address, in the abstract namespace: no file, and no name that is taken. */
static bool make_door(struct tg_link_context *context)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  socklen_t size = sizeof at;
  context->door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  context->plug = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (context->door < 0 || context->plug < 0 ||
      bind(context->door, (struct sockaddr *)&at, sizeof at.sun_family) != 0 ||
      listen(context->door, 0) != 0 || getsockname(context->door, (struct sockaddr *)&at, &size) != 0 ||
      connect(context->plug, (struct sockaddr *)&at, size) != 0)
    return false;
  int length = (int)(size - offsetof(struct sockaddr_un, sun_path)) - 1;
  snprintf(context->door_address, sizeof context->door_address, "+@%.*s", length, at.sun_path + 1);
  return true;
}

static void expect_host(SSL *ssl, const struct tg_link *link)
{
  if (SSL_get_state(ssl) == TLS_ST_BEFORE)
    tg_tls_expect_host(ssl, link->url.host);
}

/* What goes wrong is noted here, since libwebsockets throws OpenSSL's words away.
 *
 * A certificate's names are checked, and asked for, as the URL has them: libwebsockets makes nothing of
 * "[::1]:443", and cuts names at 127 bytes. OpenSSL tells of the handshake before it has written a byte. */
static void on_tls_step(const SSL *const_ssl, int where, int result)
{
  SSL *ssl = (SSL *)const_ssl;
  struct tg_link_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
  struct tg_link *link = context->served;
  if (link && (where & SSL_CB_HANDSHAKE_START))
    expect_host(ssl, link);
  else if (link && (where & SSL_CB_ALERT) && SSL_alert_type_string(result)[0] == 'F')
    link->tls_failure = SSL_alert_desc_string_long(result);
  else if (link && (where & SSL_CB_EXIT) && result <= 0 && ERR_peek_last_error())
    link->tls_failure = ERR_reason_error_string(ERR_peek_last_error());
}

static void on_tls_bytes(int sent, int version, int type, const void *bytes, size_t length, SSL *ssl,
                         void *ctx)
{
  (void)version, (void)bytes, (void)length, (void)ssl;
  struct tg_link_context *context = ctx;
  if (!sent && type == SSL3_RT_HEADER)
    context->records++;
}

static const struct lws_protocols protocols[] = {
    {.name = "gateway", .callback = tg_link_lws_callback, .rx_buffer_size = TG_LINK_PIECE},
    {0},
};

/* libwebsockets can be woken up by other threads, over an eventfd that it forgets to close since 4.2. It is
 * looked for among the first descriptors, where it is; without /proc it stays. */
static bool is_eventfd(int fd)
{
  static const char kind[] = "anon_inode:[eventfd]";
  char path[32], target[sizeof kind] = "";
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return readlink(path, target, sizeof target) == sizeof kind - 1 &&
         memcmp(target, kind, sizeof kind - 1) == 0;
}

static int create_lws(struct tg_link_context *context, const struct lws_context_creation_info *info)
{
  bool known[DESCRIPTORS_SEEN];
  int event_pipe = -1;
  for (int fd = 0; fd < DESCRIPTORS_SEEN; fd++)
    known[fd] = is_eventfd(fd);
  context->lws = lws_create_context(info);
  for (int fd = 0; fd < DESCRIPTORS_SEEN && event_pipe < 0; fd++)
    if (!known[fd] && is_eventfd(fd))
      event_pipe = fd;
  return event_pipe;
}

static void make_lws(struct tg_link_context *context)
{
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN,
      .protocols = protocols,
      .gid = (gid_t)-1,
      .uid = (uid_t)-1,
      .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
      .provided_client_ssl_ctx = context->tls->context,
      .pt_serv_buf_size = READ_SIZE,
      .max_http_header_data2 = HEAD_MAX,
      .http_proxy_address = "", /* else it obeys the environment, which dial.h does better */
  };
  /* Not .fd_limit_per_thread, with which each look-up of a connection goes through all of them; a limit
   * beyond ten millions, as in many containers, is taken for 2,560. */
  struct rlimit limit, lowered;
  bool is_high = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > DESCRIPTORS_MAX;
  if (is_high) {
    lowered = (struct rlimit){.rlim_cur = DESCRIPTORS_MAX, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &lowered);
  }
  /* No option for an event loop either: its own for libuv sets timers that do not run, closes twice, and is
   * gone only some turns after its end. */
  lws_set_log_level(0, NULL);
  context->event_pipe = create_lws(context, &info);
  if (is_high)
    setrlimit(RLIMIT_NOFILE, &limit);
}

struct tg_link_context *tg_link_context_new(uv_loop_t *loop, const char *ca_file, struct tg_error *error)
{
  struct tg_tls *tls = tg_tls_client(ca_file, error);
  if (!tls)
    return NULL;
  struct tg_link_context *context = tg_calloc(1, sizeof *context);
  context->loop = loop;
  context->tls = tls;
  SSL_CTX_set_app_data(tls->context, context);
  SSL_CTX_set_info_callback(tls->context, on_tls_step);
  SSL_CTX_set_msg_callback(tls->context, on_tls_bytes);
  SSL_CTX_set_msg_callback_arg(tls->context, context);
  if (!make_door(context)) {
    tg_fail(error, "unreachable", "no socket can be opened: %s", strerror(errno));
    tg_link_context_free(context);
    return NULL;
  }
  make_lws(context);
  if (context->lws)
    return context;
  tg_fail(error, "unreachable", "libwebsockets %s cannot be set up", lws_get_library_version());
  tg_link_context_free(context);
  return NULL;
}

void tg_link_context_free(struct tg_link_context *context)
{
  if (!context)
    return;
  if (context->lws) {
    lws_context_destroy(context->lws);
    if (context->event_pipe >= 0 && is_eventfd(context->event_pipe))
      close(context->event_pipe);
  }
  if (context->door >= 0)
    close(context->door);
  if (context->plug >= 0)
    close(context->plug);
  tg_buf_free(&context->frame);
  tg_tls_free(context->tls);
  free(context);
}

bool tg_link_tells_all_codes(void)
{
  return LWS_LIBRARY_VERSION_NUMBER >= 4002000;
}
