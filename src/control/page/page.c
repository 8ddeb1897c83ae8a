#include "control/page/page.h"

#include "control/page/live.h"
#include "control/routes.h"

#include <string.h>

/* The page runs its own files and nothing else, talks to where it came from, and is nobody's frame: whatever
 * a bot, a script or a peer has put into a text that it shows stays text. */
static const char page_headers[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), geolocation=(), microphone=()\r\n"
    "Cache-Control: no-cache\r\n"
    "Vary: Accept\r\n";

static const struct tg_page_file *find_file(const char *name)
{
  for (const struct tg_page_file *file = tg_page_files; file->name; file++)
    if (strcmp(file->name, name) == 0)
      return file;
  return NULL;
}

static const char *type_of(const char *name)
{
  static const struct {
    const char *suffix, *type;
  } known[] = {{".html", "text/html; charset=utf-8"},
               {".css", "text/css; charset=utf-8"},
               {".js", "text/javascript; charset=utf-8"},
               {".svg", "image/svg+xml"}};
  const char *suffix = strrchr(name, '.');
  for (size_t i = 0; suffix && i < sizeof known / sizeof *known; i++)
    if (strcmp(suffix, known[i].suffix) == 0)
      return known[i].type;
  return "application/octet-stream";
}

/* Whether to ask for a secret stands in the page, so that it need not be refused once to know. */
static void put_page(struct tg_buf *out, const char *text, bool wants_secret)
{
  static const char mark[] = "data-secret=\"no\"";
  const char *at = strstr(text, mark);
  if (!at || !wants_secret) {
    tg_buf_puts(out, text);
    return;
  }
  tg_buf_append(out, text, (size_t)(at - text));
  tg_buf_puts(out, "data-secret=\"yes\"");
  tg_buf_puts(out, at + sizeof mark - 1);
}

/* Browsers name it when they open a page; programs, whatever else they take, want what they have asked for.
 */
static bool takes_page(const struct tg_request *request)
{
  const char *accept = tg_request_header(request, "accept");
  return accept && strstr(accept, "text/html");
}

void tg_route_page(struct tg_request *request)
{
  if (!takes_page(request)) {
    tg_respond_error(request, 406,
                     "this is a page for browsers (Accept: text/html); GET /status is for programs");
    return;
  }
  struct tg_buf out = {0};
  put_page(&out, find_file("index.html")->text, request->wants_secret);
  tg_respond(request, 200, type_of("index.html"), page_headers, out.data, out.length);
  tg_buf_free(&out);
}

void tg_route_page_file(struct tg_request *request)
{
  const struct tg_page_file *file = find_file(request->params[0]);
  if (file)
    tg_respond(request, 200, type_of(file->name), page_headers, file->text, strlen(file->text));
  else
    tg_respond_error(request, 404, "the status page has no \"%s\"", request->params[0]);
}

void tg_route_live(struct tg_request *request)
{
  tg_live_join(request->live, request);
}
