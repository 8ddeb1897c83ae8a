#include "net/redis_url.h"

#include "base/buf.h"
#include "base/url_parts.h"
#include "net/addresses.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char default_port[] = "6379";
static const char unix_scheme[] = "redis+unix://";
enum { PORT_MAX = 65535, DATABASE_MAX = 999999 };

static const char *behind_scheme(const char *text)
{
  static const char *const schemes[] = {"redis://", "rediss://", unix_scheme};
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
    if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
      return text + strlen(schemes[i]);
  return NULL;
}

/* A password in which "@" or "/" is not escaped may reach as far as the last "@"; without any "@" it may be
 * what stands in the port's place. */
static bool refuse(const char *text, const char *why, struct tg_error *error)
{
  enum { SHOWN_MAX = 300 };
  const char *at = strrchr(text, '@'), *scheme = behind_scheme(text);
  const char *rest = at ? at + 1 : scheme ? scheme : text;
  size_t shown = strcspn(rest, at ? "?#" : "?#:");
  return tg_fail(error, "bad_url",
                 "the Redis URL %.*s%.*s %s; expected something like redis://user:password@host:6379/0, or "
                 "redis+unix:///path/of/socket?db=0",
                 scheme ? (int)(scheme - text) : 0, text, shown < SHOWN_MAX ? (int)shown : SHOWN_MAX, rest,
                 why);
}

/* NULL: an escape that is none, or a NUL. */
static char *decode(const char *text, size_t length)
{
  struct tg_buf out = {0};
  if (tg_url_decode(&out, text, length, false) && !memchr(out.data ? out.data : "", '\0', out.length))
    return tg_buf_take(&out);
  tg_buf_free(&out);
  return NULL;
}

/* -1: not a number from 0 to `most`. */
static int read_number(const char *text, size_t length, int most)
{
  int number = 0;
  for (size_t i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9' || number > most)
      return -1;
    number = number * 10 + (text[i] - '0');
  }
  return length > 0 && number <= most ? number : -1;
}

/* "user:password", ":password" or "user". Words of what is wrong, or NULL. */
static const char *read_login(const char *text, size_t length, struct tg_redis_url *url)
{
  const char *colon = memchr(text, ':', length);
  size_t user = colon ? (size_t)(colon - text) : length;
  if (user > 0 && !(url->user = decode(text, user)))
    return "has a user with a % that is no escape";
  if (colon && user + 1 < length && !(url->password = decode(colon + 1, length - user - 1)))
    return "has a password with a % that is no escape (%25 is a % itself)";
  return NULL;
}

static bool host_is_clean(const char *host, bool bracketed)
{
  static const char bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  struct in6_addr address;
  if (bracketed)
    return inet_pton(AF_INET6, host, &address) == 1;
  return host[0] && strlen(host) < 254 && host[strspn(host, bytes)] == '\0';
}

static const char *read_host(const char *text, size_t length, struct tg_redis_url *url)
{
  bool bracketed = length > 0 && text[0] == '[';
  const char *end = bracketed ? memchr(text, ']', length) : memchr(text, ':', length);
  if (bracketed && !end)
    return "has a [ without its ]";
  size_t host = end ? (size_t)(end - text) : length;
  url->host = tg_strndup(text + bracketed, host - bracketed);
  if (!host_is_clean(url->host, bracketed))
    return "has no valid host name";
  size_t used = host + bracketed;
  snprintf(url->port, sizeof url->port, "%s", default_port);
  if (used == length)
    return NULL;
  int port = text[used] == ':' ? read_number(text + used + 1, length - used - 1, PORT_MAX) : -1;
  snprintf(url->port, sizeof url->port, "%d", port);
  return port > 0 ? NULL : "has no valid port; it is a number from 1 to 65535";
}

static const char *read_database(const char *text, size_t length, struct tg_redis_url *url)
{
  url->database = read_number(text, length, DATABASE_MAX);
  return url->database >= 0 ? NULL : "has a database that is no number, such as 0";
}

static const char *read_query(const char *text, struct tg_redis_url *url)
{
  struct tg_span name, value;
  const char *wrong = NULL;
  while (!wrong && tg_query_next(&text, &name, &value)) {
    if (name.length == 2 && memcmp(name.at, "db", 2) == 0)
      wrong = read_database(value.at, value.length, url);
    else
      wrong = "has a parameter behind its ? that is not known; there is only \"db\"";
  }
  return wrong;
}

static const char *read_path(const char *text, size_t length, struct tg_redis_url *url)
{
  struct tg_address address;
  if (length < 2 || text[0] != '/')
    return "names no socket";
  if (!(url->path = decode(text, length)))
    return "has a path with a % that is no escape (%25 is a % itself)";
  if (!tg_address_set_unix(&address, url->path))
    return "has a path too long for a unix socket, which may have 107 bytes";
  return NULL;
}

static const char *read_all(const char *rest, bool is_unix, struct tg_redis_url *url)
{
  size_t length = strcspn(rest, "?#"), authority = strcspn(rest, "/?#");
  const char *login = memrchr(rest, '@', authority), *wrong = NULL;
  if (!is_unix && strchr(rest + authority, '@'))
    return "has a @ behind its host (in a password / is written %2F, ? %3F, # %23)";
  if (rest[length] == '#')
    return "has a #";
  if (login)
    wrong = read_login(rest, (size_t)(login - rest), url);
  const char *host = login ? login + 1 : rest;
  size_t host_length = (size_t)(rest + authority - host);
  const char *path = rest + authority;
  size_t path_length = length - authority;
  if (!wrong && is_unix)
    wrong =
        host_length > 0 ? "has a host, but a socket is on this machine" : read_path(path, path_length, url);
  else if (!wrong)
    wrong = read_host(host, host_length, url);
  if (!wrong && !is_unix && path_length > 1)
    wrong = read_database(path + 1, path_length - 1, url);
  if (!wrong && rest[length] == '?')
    wrong = read_query(rest + length + 1, url);
  return wrong;
}

static void put_name(struct tg_redis_url *url)
{
  struct tg_buf name = {0};
  bool brackets = url->host && strchr(url->host, ':');
  if (url->path)
    tg_buf_printf(&name, "%s%s?db=%d", unix_scheme, url->path, url->database);
  else
    tg_buf_printf(&name, "%s://%s%s%s:%s/%d", url->tls ? "rediss" : "redis", brackets ? "[" : "", url->host,
                  brackets ? "]" : "", url->port, url->database);
  url->name = tg_buf_take(&name);
}

bool tg_redis_url_parse(const char *text, struct tg_redis_url *url, struct tg_error *error)
{
  const char *rest = behind_scheme(text);
  *url = (struct tg_redis_url){0};
  if (!rest)
    return refuse(text, "starts with none of redis://, rediss:// and redis+unix://", error);
  url->tls = strncasecmp(text, "rediss:", 7) == 0;
  bool is_unix = strncasecmp(text, unix_scheme, strlen(unix_scheme)) == 0;
  const char *wrong = read_all(rest, is_unix, url);
  if (wrong)
    return refuse(text, wrong, error);
  put_name(url);
  return true;
}

void tg_redis_url_free(struct tg_redis_url *url)
{
  free(url->path);
  free(url->host);
  free(url->user);
  free(url->password);
  free(url->name);
  *url = (struct tg_redis_url){0};
}
