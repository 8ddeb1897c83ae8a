#include "net/tunnel.h"

#include <string.h>

static const struct tg_http_syntax_callbacks callbacks = {0}; /* only the status counts */

void tg_tunnel_request(struct tg_tunnel *tunnel, const struct tg_proxy *proxy, const char *host,
                       const char *port, struct tg_buf *out)
{
  bool bracket = strchr(host, ':') != NULL;
  const char *open = bracket ? "[" : "", *close = bracket ? "]" : "";
  *tunnel = (struct tg_tunnel){0};
  tg_http_syntax_init(&tunnel->syntax, TG_HTTP_RESPONSE, &callbacks, NULL);
  tg_buf_printf(out, "CONNECT %s%s%s:%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n", open, host, close, port, open, host,
                close, port);
  if (proxy->authorization)
    tg_buf_printf(out, "Proxy-Authorization: %s\r\n", proxy->authorization);
  tg_buf_puts(out,
              "User-Agent: DiscordBot (tidegate, " TG_VERSION ")\r\nProxy-Connection: Keep-Alive\r\n\r\n");
}

ssize_t tg_tunnel_feed(struct tg_tunnel *tunnel, const char *bytes, size_t length)
{
  enum tg_http_step step;
  size_t used = tg_http_syntax_read(&tunnel->syntax, bytes, length, &step);
  if (step == TG_HTTP_FAULT)
    return -1;
  if (step == TG_HTTP_END) {
    tunnel->status = tunnel->syntax.status;
    tunnel->complete = true;
  }
  return (ssize_t)used;
}

bool tg_tunnel_stands(const struct tg_tunnel *tunnel)
{
  return tunnel->complete && tunnel->status >= 200 && tunnel->status < 300;
}
