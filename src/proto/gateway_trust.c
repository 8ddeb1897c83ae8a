#include "proto/gateway_trust.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

bool tg_main_url_trusted(const struct tg_gateway_url *url, const char *asked, struct tg_error *error)
{
  static const char tls[] = "https://";
  if (url->tls || strncasecmp(asked, tls, strlen(tls)) != 0)
    return true;
  return tg_fail(
      error, "untrusted",
      "the gateway's URL leads to %.100s without TLS (ws://), though REST was asked in TLS: the token "
      "would go out in clear. If that is meant, configure it: gateway_bot.url (GATEWAY_URL)",
      url->host);
}

/* Of a name: the dot at its end says no more than that it is a whole one. */
static size_t length_of(const char *host)
{
  size_t length = strlen(host);
  return length > 0 && host[length - 1] == '.' ? length - 1 : length;
}

static bool is_of_discord(const char *host)
{
  static const char domain[] = "discord.gg";
  size_t length = length_of(host), own = strlen(domain);
  return length >= own && strncasecmp(host + length - own, domain, own) == 0 &&
         (length == own || host[length - own - 1] == '.');
}

static bool same_host(const char *a, const char *b)
{
  struct in6_addr one, other;
  if (inet_pton(AF_INET6, a, &one) == 1 && inet_pton(AF_INET6, b, &other) == 1)
    return memcmp(&one, &other, sizeof one) == 0;
  size_t length = length_of(a);
  return (length == length_of(b) && strncasecmp(a, b, length) == 0) ||
         (tg_host_is_loopback(a) && tg_host_is_loopback(b)) || (is_of_discord(a) && is_of_discord(b));
}

bool tg_resume_url_trusted(const struct tg_gateway_url *url, const struct tg_gateway_url *main,
                           struct tg_error *error)
{
  if (main->tls && !url->tls)
    return tg_fail(error, "untrusted", "%.100s without TLS (ws://), which the main URL has", url->host);
  if (!same_host(url->host, main->host))
    return tg_fail(error, "untrusted", "%.100s, which is neither %.100s nor a host of the same owner",
                   url->host, main->host);
  if (strcmp(url->port, main->port) != 0)
    return tg_fail(error, "untrusted", "port %s of %.100s, but the main URL has port %s", url->port,
                   url->host, main->port);
  return true;
}
