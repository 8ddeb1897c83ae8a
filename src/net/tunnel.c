#include "net/tunnel.h"

#include <string.h>

void tg_tunnel_request(struct tg_tunnel *tunnel, const struct tg_proxy *proxy, const char *host,
                       const char *port, struct tg_buf *out)
{
  bool bracket = strchr(host, ':') != NULL;
  const char *open = bracket ? "[" : "", *close = bracket ? "]" : "";
  *tunnel = (struct tg_tunnel){0};
  http_parser_init(&tunnel->parser, HTTP_RESPONSE);
  tunnel->parser.data = tunnel;
  tg_buf_printf(out, "CONNECT %s%s%s:%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n", open, host, close, port, open, host,
                close, port);
  if (proxy->authorization)
    tg_buf_printf(out, "Proxy-Authorization: %s\r\n", proxy->authorization);
  tg_buf_puts(out,
              "User-Agent: DiscordBot (tidegate, " TG_VERSION ")\r\nProxy-Connection: Keep-Alive\r\n\r\n");
}

static int on_headers_complete(http_parser *parser)
{
  struct tg_tunnel *tunnel = parser->data;
  tunnel->status = parser->status_code;
  tunnel->complete = true;
  return 2; /* no body, and what follows is another protocol */
}

ssize_t tg_tunnel_feed(struct tg_tunnel *tunnel, const char *bytes, size_t length)
{
  static const http_parser_settings settings = {.on_headers_complete = on_headers_complete};
  size_t used = http_parser_execute(&tunnel->parser, &settings, bytes, length);
  if (HTTP_PARSER_ERRNO(&tunnel->parser) != HPE_OK && !tunnel->complete)
    return -1;
  return (ssize_t)used;
}

bool tg_tunnel_stands(const struct tg_tunnel *tunnel)
{
  return tunnel->complete && tunnel->status >= 200 && tunnel->status < 300;
}
