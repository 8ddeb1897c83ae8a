#include "base/address.h"

#include "base/url_parts.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

static const char no_blanks[] = "must not contain blanks, quotes, < > \\ ^ ` { | }";
static const char no_port[] = "has no valid port; it is a number from 1 to 65535";
static const char no_host[] = "has no valid host name";
static const char no_login[] = "must not have a user or a password in it";
static const char too_long[] = "is too long; a URL may have 255 bytes";
static const char several[] = "holds more than one URL; separate them with commas or blanks";
static const char no_query[] = "must not have a ? or a #: paths are put behind it";
static const char no_escape[] = "has a % without two hexadecimal digits behind it; % itself is %25";
static const char long_socket[] = "has a path too long for a unix socket, which may have 107 bytes";

enum { PORT_MAX = 65535, URL_MAX = 255 };

static bool starts(const char *text, const char *with)
{
  return strncasecmp(text, with, strlen(with)) == 0;
}

/* Written as digits. */
static bool is_port(const char *text, size_t length, long least)
{
  enum { DIGITS_MAX = 5 };
  char digits[DIGITS_MAX + 1] = {0};
  if (length == 0 || length > DIGITS_MAX || strspn(text, "0123456789") < length)
    return false;
  memcpy(digits, text, length);
  long port = strtol(digits, NULL, 10);
  return port >= least && port <= PORT_MAX;
}

/* Letters of any language, digits, dots, hyphens. */
static bool is_name(const char *text, size_t length)
{
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    bool common = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                  c == '-' || c == '_';
    if (!common && c < 0x80)
      return false;
  }
  return length > 0;
}

/* Of IPv6, maybe with its zone. */
static bool is_address(const char *text, size_t length)
{
  char address[INET6_ADDRSTRLEN] = {0};
  struct in6_addr parsed;
  const char *zone = memchr(text, '%', length);
  size_t digits = zone ? (size_t)(zone - text) : length;
  if (digits >= sizeof address || (zone && !is_name(zone + 1, length - digits - 1)))
    return false;
  memcpy(address, text, digits);
  return inet_pton(AF_INET6, address, &parsed) == 1;
}

/* host[:port] or [address][:port] */
static const char *check_host(const char *host, const char *end)
{
  bool bracketed = host < end && *host == '[';
  const char *from = host + bracketed;
  const char *to = from;
  while (to < end && *to != (bracketed ? ']' : ':'))
    to++;
  if (to == end && bracketed)
    return no_host;
  size_t length = (size_t)(to - from);
  if (bracketed ? !is_address(from, length) : !is_name(from, length))
    return no_host;
  const char *port = to + bracketed;
  if (port == end)
    return NULL;
  return *port == ':' && is_port(port + 1, (size_t)(end - port - 1), 1) ? NULL : no_port;
}

/* A second URL behind a separator that is none of ours. */
static bool has_another(const char *text)
{
  static const char *const starts_of_urls[] = {"http://",  "https://",  "http+unix://",
                                               "redis://", "rediss://", "redis+unix://"};
  for (const char *at = text; (at = strpbrk(at, ";,|")) != NULL; at++)
    for (size_t i = 0; i < sizeof starts_of_urls / sizeof *starts_of_urls; i++)
      if (starts(at + 1, starts_of_urls[i]))
        return true;
  return false;
}

static const char *check_url(const char *text)
{
  const char *host = strstr(text, "://") + 3;
  const char *end = host + strcspn(host, "/?#");
  for (const char *at = host; at < end; at++) /* behind user:password@ */
    if (*at == '@')
      host = at + 1;
  if (has_another(text))
    return several;
  if (text[strcspn(text, " \t\"<>\\^`{|}")])
    return no_blanks;
  return check_host(host, end);
}

static bool fits_socket(const char *path, size_t length)
{
  return length < sizeof((struct sockaddr_un *)NULL)->sun_path && path[0] == '/' && length > 1;
}

static bool is_http(const char *text)
{
  return starts(text, "http://") || starts(text, "https://");
}

static bool has_query(const char *text)
{
  return text[strcspn(text, "?#")] != '\0';
}

const char *tg_check_rest_url(const char *text)
{
  if (!is_http(text))
    return "expected a URL that starts with http:// or https://";
  return has_query(text) ? no_query : check_url(text);
}

const char *tg_check_gateway_url(const char *text)
{
  if (!starts(text, "ws://") && !starts(text, "wss://"))
    return "expected a URL that starts with wss:// or ws://";
  const char *fault = check_url(text), *host = strstr(text, "://") + 3;
  size_t length = strcspn(host, "/?#");
  if (fault)
    return fault;
  if (memchr(host, '@', length))
    return no_login;
  for (size_t i = 0; i < length; i++) /* it stands in a Host header as it is: no other letters, no zone */
    if ((unsigned char)host[i] >= 0x80 || host[i] == '%')
      return no_host;
  return strlen(text) > URL_MAX ? too_long : NULL;
}

const char *tg_check_handler_url(const char *text)
{
  static const char unix_socket[] = "http+unix://";
  const char *path = text + strlen(unix_socket);
  if (is_http(text))
    return check_url(text);
  if (!starts(text, unix_socket) || *path != '/' || !path[1])
    return "expected a URL that starts with http://, https:// or http+unix:///";
  if (has_another(text))
    return several;
  if (text[strcspn(text, " \t\"<>\\^`{|}")])
    return no_blanks;
  const char *colon = strchr(path, ':');
  if (colon && colon[1] && colon[1] != '/')
    return "expected the path of the request behind the second colon, like :/events";
  return fits_socket(path, strcspn(path, ":")) ? NULL : long_socket;
}

/* ---- Redis ---- */

static const char redis_socket[] = "redis+unix://";

/* NUL is no part of a user, a password or a path. */
static bool has_bad_escape(const char *text, size_t length)
{
  static const char digits[] = "0123456789abcdefABCDEF";
  for (const char *at = text; (at = memchr(at, '%', length - (size_t)(at - text))) != NULL; at++) {
    bool whole = (size_t)(at - text) + 2 < length && strspn(at + 1, digits) >= 2;
    if (!whole || strncmp(at + 1, "00", 2) == 0)
      return true;
  }
  return false;
}

static bool is_database(const char *text, size_t length)
{
  enum { DIGITS_MAX = 6 };
  return length > 0 && length <= DIGITS_MAX && strspn(text, "0123456789") >= length;
}

static const char *check_redis_host(const char *host, size_t length)
{
  const char *path = host + length, *fault = check_host(host, path);
  for (size_t i = 0; i < length && !fault; i++)
    if ((unsigned char)host[i] >= 0x80 || host[i] == '%')
      fault = no_host;
  if (!fault && path[strcspn(path, "?#")])
    fault = "must not have a ? or a # behind the host";
  if (!fault && *path == '/' && path[1] && !is_database(path + 1, strlen(path + 1)))
    fault = "expected the number of a database behind the host, like /0";
  return fault;
}

static const char *check_redis_socket(const char *host, size_t host_length)
{
  const char *path = host + host_length;
  size_t length = strcspn(path, "?#");
  if (host_length > 0 || length < 2)
    return "expected the path of a socket, like redis+unix:///run/redis.sock?db=0";
  if (has_bad_escape(path, length))
    return no_escape;
  if (!fits_socket(path, length))
    return long_socket;
  bool has_database =
      strncmp(path + length, "?db=", 4) == 0 && is_database(path + length + 4, strlen(path + length + 4));
  return path[length] && !has_database ? "expected the number of a database behind the socket, like ?db=0"
                                       : NULL;
}

bool tg_url_is_redis(const char *url)
{
  return starts(url, "redis://") || starts(url, "rediss://") || starts(url, redis_socket);
}

const char *tg_check_redis_url(const char *text)
{
  size_t length;
  if (!tg_url_is_redis(text))
    return "expected a URL that starts with redis://, rediss:// or redis+unix:///";
  const char *host = tg_url_host(text, &length), *login = strstr(text, "://") + 3;
  size_t login_length = (size_t)(host - login);
  if (has_another(text))
    return several;
  if (text[strcspn(text, " \t\"<>\\^`{|}")])
    return "must not contain blanks, quotes, < > \\ ^ ` { | }; in a password write them as %20 and the like";
  if (strcspn(login, "/?#") < login_length)
    return "has a / ? or # in its user or password; write them as %2F, %3F and %23";
  if (has_bad_escape(login, login_length))
    return no_escape;
  bool socket = starts(text, redis_socket);
  return socket ? check_redis_socket(host, length) : check_redis_host(host, length);
}

const char *tg_check_sink_url(const char *text)
{
  static const char unix_socket[] = "http+unix://";
  if (tg_url_is_redis(text))
    return tg_check_redis_url(text);
  if (is_http(text) || starts(text, unix_socket))
    return tg_check_handler_url(text);
  return "expected a URL that starts with http://, https://, http+unix:///, redis://, rediss:// or "
         "redis+unix:///";
}

const char *tg_check_listen(const char *text)
{
  static const char fault[] =
      "expected an address and a port, like 127.0.0.1:8377 or [::1]:8377, or unix:/path, or off";
  static const char unix_socket[] = "unix:";
  const char *path = text + strlen(unix_socket), *colon = strrchr(text, ':');
  if (strcmp(text, "off") == 0)
    return NULL;
  if (strncmp(text, unix_socket, strlen(unix_socket)) == 0) {
    if (*path != '/' || !path[1])
      return fault;
    return fits_socket(path, strlen(path)) ? NULL : long_socket;
  }
  if (!colon || colon == text || text[strcspn(text, " \t")])
    return fault;
  bool bracketed = text[0] == '[' && colon[-1] == ']' && colon - text > 2;
  if (!bracketed && memchr(text, ':', (size_t)(colon - text)))
    return fault;
  return is_port(colon + 1, strlen(colon + 1), 0) ? NULL : fault;
}

bool tg_listen_is_loopback(const char *listen)
{
  return (strncmp(listen, "127.", 4) == 0 && listen[strspn(listen, "0123456789.")] == ':') ||
         strncmp(listen, "localhost:", 10) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
         strncmp(listen, "unix:", 5) == 0 || strcmp(listen, "off") == 0;
}

bool tg_host_is_loopback(const char *host)
{
  static const char name[] = "localhost";
  struct in_addr v4;
  struct in6_addr v6;
  size_t length = strlen(host), own = strlen(name);
  if (inet_pton(AF_INET, host, &v4) == 1)
    return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
  if (inet_pton(AF_INET6, host, &v6) == 1)
    return IN6_IS_ADDR_LOOPBACK(&v6);
  if (length > 0 && host[length - 1] == '.')
    length--;
  return (length == own || (length > own && host[length - own - 1] == '.')) &&
         strncasecmp(host + length - own, name, own) == 0;
}

bool tg_url_is_loopback(const char *url)
{
  char bare[256] = "";
  size_t all;
  if (!strstr(url, "://"))
    return false;
  if (starts(url, "http+unix:") || starts(url, redis_socket))
    return true;
  const char *host = tg_url_host(url, &all);
  bool bracketed = *host == '[';
  size_t length = strcspn(host + bracketed, bracketed ? "]" : ":/?#");
  if (length < sizeof bare)
    memcpy(bare, host + bracketed, length);
  return tg_host_is_loopback(bare);
}

bool tg_url_is_discord(const char *url)
{
  static const char *const names[] = {"discord.gg", "discord.com", "discordapp.com"};
  const char *host = strstr(url, "://");
  host = host ? host + 3 : url;
  size_t length = strcspn(host, ":/?#");
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    size_t name = strlen(names[i]);
    if (length >= name && strncasecmp(host + length - name, names[i], name) == 0 &&
        (length == name || host[length - name - 1] == '.'))
      return true;
  }
  return false;
}
