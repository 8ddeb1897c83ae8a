/* Addresses that the configuration, the environment and Discord name: what the
 * check of the configuration passes its user can read; what people are told has no
 * login in it; and nobody who is told by somebody where to go is led out of TLS or to
 * a stranger. The first line is the one, the second one the other. */

#include "fuzz.h"

#include "base/address.h"
#include "base/url_parts.h"
#include "net/http_text.h"
#include "net/proxy.h"
#include "net/redis_url.h"
#include "proto/gateway_trust.h"

#include <arpa/inet.h>
#include <strings.h>

enum { HOST_SIZE = 256 };

static const char *the_proxy, *the_exceptions;

static void check_http_url(const char *text, bool may_follow)
{
  struct tg_http_url url;
  struct tg_error error = {0};
  require(tg_http_url_parse(text, &url, &error));
  require(url.url && url.where && (may_follow || !strpbrk(url.url, "?#")));
  require(!strpbrk(url.where, "?#@") || url.socket_path);
  tg_http_url_free(&url);
}

static void check_redis_url(const char *text)
{
  struct tg_redis_url url;
  struct tg_error error = {0};
  require(tg_redis_url_parse(text, &url, &error));
  require(url.name && !url.path != !url.host && tg_url_is_redis(text) && !tg_check_sink_url(text));
  tg_redis_url_free(&url);
}

/* What is a password is not in what is shown. */
static void check_public_url(const char *text)
{
  size_t length;
  const char *password = tg_url_password(text, &length);
  char *public = tg_url_public(text);
  require(!password || (password >= text && password + length <= text + strlen(text) && length > 0));
  require(!password || strlen(public) + length < strlen(text));
  free(public);
}

static bool is_port(const char *text)
{
  size_t length = strlen(text);
  return length > 0 && strspn(text, "0123456789") == length && atol(text) >= 1 && atol(text) <= 65535;
}

static bool read_gateway_url(const char *text, struct tg_gateway_url *url)
{
  struct tg_error error = {0};
  if (!tg_gateway_url_parse(text, TG_COMPRESSION_ZLIB, url, &error)) {
    require(error.code[0] && error.message[0] && tg_check_gateway_url(text));
    return false;
  }
  require(url->host[0] && is_port(url->port) && url->target[0] == '/' && !strpbrk(url->host, " \r\n/?#@[]"));
  return true;
}

static bool is_below(const char *host, const char *domain)
{
  size_t length = strlen(host), size = strlen(domain);
  return length >= size && strcasecmp(host + length - size, domain) == 0 &&
         (length == size || host[length - size - 1] == '.');
}

/* Without the dot at its end; of an IPv6 address the short form. */
static void take_host(char *plain, const char *host)
{
  struct in6_addr address;
  size_t length = strlen(host);
  snprintf(plain, HOST_SIZE, "%.*s", (int)length - (host[length - 1] == '.'), host);
  if (inet_pton(AF_INET6, plain, &address) == 1)
    inet_ntop(AF_INET6, &address, plain, HOST_SIZE);
}

static void check_trust(const char *from, const char *to)
{
  struct tg_gateway_url url, main;
  struct tg_error error = {0};
  if (!read_gateway_url(to, &url))
    return;
  if (!tg_main_url_trusted(&url, from, &error))
    require(error.message[0]);
  else
    require(url.tls || strncasecmp(from, "https://", 8) != 0);
  if (!read_gateway_url(from, &main) || !tg_resume_url_trusted(&url, &main, &error))
    return;
  require(strcmp(url.port, main.port) == 0 && (url.tls || !main.tls));
  char host[HOST_SIZE], main_host[HOST_SIZE];
  take_host(host, url.host);
  take_host(main_host, main.host);
  require(strcasecmp(host, main_host) == 0 || (tg_host_is_loopback(host) && tg_host_is_loopback(main_host)) ||
          (is_below(host, "discord.gg") && is_below(main_host, "discord.gg")));
}

static const char *variable(const char *name)
{
  return strcmp(name, "no_proxy") == 0        ? the_exceptions
         : strcasecmp(name, "all_proxy") == 0 ? the_proxy
                                              : NULL;
}

static void check_proxies(const char *proxy_text, const char *other)
{
  static const char *const hosts[] = {"gateway.discord.gg", "127.0.0.1", "::1", "10.1.2.3", "localhost"};
  struct tg_error error = {0};
  the_proxy = proxy_text;
  the_exceptions = other;
  struct tg_proxies *proxies = tg_proxies_read(variable, &error);
  if (!proxies) {
    require(error.message[0] && *proxy_text);
    return;
  }
  const struct tg_proxy *proxy = tg_proxy_at(proxies, 0);
  require(!proxy == !*proxy_text && !tg_proxy_at(proxies, 1));
  require(!proxy || (proxy->host[0] && !strchr(proxy->where, '@') && !proxy->login == !proxy->authorization));
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
    const struct tg_proxy *taken = tg_proxy_for(proxies, true, hosts[i]);
    require(!taken || taken == proxy);
    require(!taken || strcmp(other, "*") != 0);
  }
  tg_proxy_for_url(proxies, other);
  if (!tg_proxies_tunnel(proxies, other, &error))
    require(error.message[0]);
  tg_proxies_free(proxies);
}

static void check_text(const char *text)
{
  struct tg_gateway_url url;
  if (!tg_check_rest_url(text))
    check_http_url(text, false);
  if (!tg_check_handler_url(text))
    check_http_url(text, true);
  if (!tg_check_redis_url(text))
    check_redis_url(text);
  check_public_url(text);
  read_gateway_url(text, &url);
  if (!tg_check_listen(text) && tg_listen_is_loopback(text))
    require(strncmp(text, "127.", 4) == 0 || strncmp(text, "localhost:", 10) == 0 ||
            strncmp(text, "[::1]:", 6) == 0 || strncmp(text, "unix:/", 6) == 0 || strcmp(text, "off") == 0);
  if (tg_host_is_loopback(text))
    require(strncmp(text, "127.", 4) == 0 || strchr(text, ':') || strcasestr(text, "localhost"));
  tg_url_is_loopback(text);
  tg_url_is_discord(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  char *text = fuzz_text(bytes, length), *other = strchr(text, '\n');
  if (other)
    *other++ = '\0';
  char *first = strdup(text), *second = strdup(other ? other : "");
  free(text);
  check_text(first);
  check_trust(first, second);
  check_proxies(first, second);
  free(first);
  free(second);
  return 0;
}
