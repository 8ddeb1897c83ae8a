#include "base/url_parts.h"

#include <string.h>
#include <strings.h>

/* Behind "https://", if it stands there. */
static const char *behind_scheme(const char *url)
{
  size_t length = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
  return strncmp(url + length, "://", 3) == 0 ? url + length + 3 : url;
}

static bool has_scheme(const char *url, const char *scheme)
{
  size_t length = strlen(scheme);
  return strncasecmp(url, scheme, length) == 0 && url[length] == ':';
}

/* What stands between the scheme and the path. Behind a database there is no @: it is the end of a password
 * with a / in it. */
static struct tg_span authority(const char *url)
{
  const char *at = behind_scheme(url);
  bool is_redis = has_scheme(url, "redis") || has_scheme(url, "rediss");
  const char *login = is_redis ? strrchr(at, '@') : NULL, *rest = login ? login : at;
  size_t length = (size_t)(rest - at) + strcspn(rest, "/?#");
  return (struct tg_span){at, has_scheme(url, "http+unix") ? 0 : length};
}

const char *tg_url_host(const char *url, size_t *length)
{
  struct tg_span all = authority(url);
  const char *login = memrchr(all.at, '@', all.length), *host = login ? login + 1 : all.at;
  *length = all.length - (size_t)(host - all.at);
  return host;
}

char *tg_url_public(const char *url)
{
  static const char database[] = "?db=";
  struct tg_buf result = {0};
  size_t length;
  const char *rest = tg_url_host(url, &length), *end = rest + strcspn(rest, "?#");
  tg_buf_append(&result, url, (size_t)(behind_scheme(url) - url));
  tg_buf_append(&result, rest, (size_t)(end - rest));
  if (has_scheme(url, "redis+unix") && strncmp(end, database, strlen(database)) == 0)
    tg_buf_append(&result, end, strlen(database) + strspn(end + strlen(database), "0123456789"));
  return tg_buf_take(&result);
}

const char *tg_url_password(const char *url, size_t *length)
{
  struct tg_span all = authority(url);
  const char *end = memrchr(all.at, '@', all.length);
  const char *colon = end ? memchr(all.at, ':', (size_t)(end - all.at)) : NULL;
  *length = colon ? (size_t)(end - colon - 1) : 0;
  return *length > 0 ? colon + 1 : NULL;
}

static int digit(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tg_url_decode(struct tg_buf *out, const char *text, size_t length, bool plus)
{
  for (size_t i = 0; i < length; i++) {
    char c = plus && text[i] == '+' ? ' ' : text[i];
    if (c == '%') {
      if (length - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0)
        return false;
      c = (char)(digit(text[i + 1]) << 4 | digit(text[i + 2]));
      i += 2;
    }
    tg_buf_append(out, &c, 1);
  }
  return true;
}

bool tg_query_next(const char **at, struct tg_span *name, struct tg_span *value)
{
  while (**at == '&')
    (*at)++;
  if (!**at)
    return false;
  const char *start = *at, *end = start + strcspn(start, "&");
  size_t length = strcspn(start, "&=");
  *at = end;
  *name = (struct tg_span){start, length};
  start += length;
  if (start < end)
    start++;
  *value = (struct tg_span){start, (size_t)(end - start)};
  return true;
}
