#include "proto/gateway_url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool refuse(struct tg_error *error, const char *base, const char *why)
{
  tg_fail(error, "bad_url", "the gateway URL %.120s %s; expected something like wss://gateway.discord.gg",
          base, why);
  return false;
}

static const char *compression_query(enum tg_compression compression)
{
  switch (compression) {
  case TG_COMPRESSION_ZLIB:
    return "&compress=zlib-stream";
  case TG_COMPRESSION_ZSTD:
    return "&compress=zstd-stream";
  case TG_COMPRESSION_NONE:
    break;
  }
  return "";
}

/* Letters, digits, dots and hyphens; inside brackets an IPv6 address. Anything
 * else would end up in a Host header. */
static bool host_is_clean(const char *host, bool bracketed)
{
  static const char bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  struct in6_addr address;
  if (bracketed)
    return inet_pton(AF_INET6, host, &address) == 1;
  return host[0] && host[strspn(host, bytes)] == '\0';
}

static bool read_port(const char *port, size_t length, char *out, size_t size)
{
  if (length == 0 || length > 5 || strspn(port, "0123456789") < length)
    return false;
  char digits[6] = {0};
  memcpy(digits, port, length);
  long number = strtol(digits, NULL, 10);
  snprintf(out, size, "%ld", number);
  return number >= 1 && number <= 65535;
}

bool tg_gateway_url_parse(const char *base, enum tg_compression compression, struct tg_gateway_url *url,
                          struct tg_error *error)
{
  *url = (struct tg_gateway_url){0};
  if (strncasecmp(base, "wss://", 6) == 0)
    url->tls = true;
  else if (strncasecmp(base, "ws://", 5) != 0)
    return refuse(error, base, "starts with neither wss:// nor ws://");

  const char *host = base + (url->tls ? 6 : 5);
  const char *end = host + strcspn(host, "/?#");
  bool bracketed = *host == '[';
  const char *host_end;
  if (bracketed) {
    host++;
    host_end = memchr(host, ']', (size_t)(end - host));
    if (!host_end)
      return refuse(error, base, "has a [ without its ]");
  } else {
    host_end = memchr(host, ':', (size_t)(end - host));
    if (!host_end)
      host_end = end;
  }
  size_t host_length = (size_t)(host_end - host);
  if (host_length < sizeof url->host)
    memcpy(url->host, host, host_length);
  if (!host_is_clean(url->host, bracketed))
    return refuse(error, base, "has no valid host name");

  const char *port = host_end + (bracketed ? 1 : 0);
  if (port == end)
    snprintf(url->port, sizeof url->port, "%s", url->tls ? "443" : "80");
  else if (*port != ':' || !read_port(port + 1, (size_t)(end - port - 1), url->port, sizeof url->port))
    return refuse(error, base, "has no valid port");
  snprintf(url->target, sizeof url->target, "/?v=10&encoding=json%s", compression_query(compression));
  return true;
}
