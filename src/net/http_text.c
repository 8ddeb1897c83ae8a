#include "net/http_text.h"

#include "base/buf.h"
#include "base/url_parts.h"
#include "net/retry_after.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char unix_scheme[] = "http+unix://";

static bool starts_with(const char *text, const char *start)
{
  return strncasecmp(text, start, strlen(start)) == 0;
}

static bool parse_unix(const char *text, struct tg_http_url *url, struct tg_error *error)
{
  const char *path = text + strlen(unix_scheme);
  const char *colon = strchr(path, ':');
  size_t length = colon ? (size_t)(colon - path) : strlen(path);
  if (path[0] != '/' || length < 2 || (colon && colon[1] && colon[1] != '/'))
    return tg_fail(error, "bad_url", "\"%s\" is not of the form http+unix:///path/to.sock:/url", text);
  struct tg_buf rest = {0};
  tg_buf_printf(&rest, "http://localhost%s", colon && colon[1] ? colon + 1 : "/");
  url->url = tg_buf_take(&rest);
  url->socket_path = tg_strndup(path, length);
  tg_buf_printf(&rest, "unix socket %s", url->socket_path);
  url->where = tg_buf_take(&rest);
  return true;
}

bool tg_http_url_parse(const char *text, struct tg_http_url *url, struct tg_error *error)
{
  *url = (struct tg_http_url){0};
  if (starts_with(text, unix_scheme))
    return parse_unix(text, url, error);
  if (!starts_with(text, "http://") && !starts_with(text, "https://")) {
    char *public = tg_url_public(text);
    tg_fail(error, "bad_url", "\"%s\" is not a URL that starts with http://, https:// or http+unix://",
            public);
    free(public);
    return false;
  }
  size_t length;
  const char *host = tg_url_host(text, &length);
  if (length == 0)
    return tg_fail(error, "bad_url", "the URL names no host");
  url->url = tg_strdup(text);
  struct tg_buf where = {0};
  tg_buf_printf(&where, "%s%.*s", starts_with(text, "https") ? "https://" : "http://", (int)length, host);
  url->where = tg_buf_take(&where);
  return true;
}

void tg_http_url_free(struct tg_http_url *url)
{
  free(url->url);
  free(url->socket_path);
  free(url->where);
  *url = (struct tg_http_url){0};
}

/* RFC 3986, 3.3. A percent sign is not among them: what is escaped already is
 * escaped once more, and stays what it was. */
static bool stands_in_a_part(char byte)
{
  return isalnum((unsigned char)byte) || (byte && strchr("-._~!$&'()*+,;=:@", byte));
}

bool tg_http_path_add(struct tg_buf *url, struct tg_span part)
{
  bool is_dots = part.length <= 2 && memcmp(part.at, "..", part.length) == 0; /* or empty */
  if (is_dots)
    return false;
  tg_buf_puts(url, "/");
  for (size_t i = 0; i < part.length; i++) {
    if (stands_in_a_part(part.at[i]))
      tg_buf_append(url, part.at + i, 1);
    else
      tg_buf_printf(url, "%%%02X", (unsigned char)part.at[i]);
  }
  return true;
}

bool tg_http_header(const char *headers, const char *name, const char **value, size_t *length)
{
  size_t name_length = strlen(name);
  bool found = false;
  for (const char *line = headers; *line;) {
    const char *end = line + strcspn(line, "\r\n");
    if ((size_t)(end - line) > name_length && line[name_length] == ':' &&
        strncasecmp(line, name, name_length) == 0) {
      const char *start = line + name_length + 1;
      const char *last = end;
      while (start < last && isspace((unsigned char)*start))
        start++;
      while (last > start && isspace((unsigned char)last[-1]))
        last--;
      *value = start;
      *length = (size_t)(last - start);
      found = true;
    }
    line = end + strspn(end, "\r\n");
  }
  return found;
}

tg_ms tg_http_retry_after(const char *headers, tg_ms wall)
{
  const char *value;
  size_t length;
  tg_ms date = tg_http_header(headers, "Date", &value, &length) ? tg_read_http_date(value, length) : -1;
  if (!tg_http_header(headers, "Retry-After", &value, &length))
    return -1;
  return tg_read_retry_after(value, length, date >= 0 ? date : wall);
}

const char *tg_http_reason(int status)
{
  static const struct {
    int status;
    const char *reason;
  } rows[] = {
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {407, "Proxy Authentication Required"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {411, "Length Required"},
      {413, "Payload Too Large"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {422, "Unprocessable Entity"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {520, "Web Server Returned an Unknown Error"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (rows[i].status == status)
      return rows[i].reason;
  return "Unknown";
}
