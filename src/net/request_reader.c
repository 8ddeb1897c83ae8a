#include "net/request_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool fail(struct tg_request_reader *reader, int status, const char *problem)
{
  reader->status = status;
  reader->problem = problem;
  return false;
}

/* ---- the head ---- */

static bool on_begin(void *ctx)
{
  struct tg_request_reader *reader = ctx;
  reader->request = tg_calloc(1, sizeof *reader->request);
  tg_buf_reset(&reader->texts, TG_REQUEST_HEAD_MAX);
  reader->target_length = 0;
  reader->in_value = reader->head_only = false;
  return true;
}

static bool add_text(struct tg_request_reader *reader, const char *at, size_t length)
{
  if (reader->texts.length + length > TG_REQUEST_HEAD_MAX)
    return fail(reader, 431, "the head of the request is longer than 16 KiB");
  tg_buf_append(&reader->texts, at, length);
  return true;
}

static bool on_target(void *ctx, const char *at, size_t length)
{
  struct tg_request_reader *reader = ctx;
  reader->target_length += length;
  return add_text(reader, at, length);
}

static bool on_name(void *ctx, const char *at, size_t length)
{
  struct tg_request_reader *reader = ctx;
  struct tg_request *request = reader->request;
  if (reader->in_value || request->header_count == 0) {
    if (request->header_count == TG_REQUEST_HEADERS_MAX)
      return fail(reader, 431, "the request has more than 64 headers");
    tg_buf_append(&reader->texts, "", 1);
    reader->names[request->header_count] = reader->texts.length;
    reader->values[request->header_count++] = 0;
    reader->in_value = false;
  }
  return add_text(reader, at, length);
}

static bool on_value(void *ctx, const char *at, size_t length)
{
  struct tg_request_reader *reader = ctx;
  if (!reader->in_value) {
    tg_buf_append(&reader->texts, "", 1);
    reader->values[reader->request->header_count - 1] = reader->texts.length;
    reader->in_value = true;
  }
  return add_text(reader, at, length);
}

static void give_texts(struct tg_request_reader *reader)
{
  struct tg_request *request = reader->request;
  size_t end = reader->texts.length;
  char *texts = request->texts = tg_buf_take(&reader->texts);
  for (int i = 0; i < request->header_count; i++) {
    request->headers[i].name = texts + reader->names[i];
    request->headers[i].value = texts + (reader->values[i] ? reader->values[i] : end);
  }
  char *query = strchr(texts, '?');
  request->path = texts;
  request->query = query ? query + 1 : texts + reader->target_length;
  if (query)
    *query = '\0';
}

/* Two programs that read such a request need not mean the same one of them. */
static bool names_two_hosts(const struct tg_request *request)
{
  int hosts = 0;
  for (int i = 0; i < request->header_count; i++)
    hosts += strcasecmp(request->headers[i].name, "host") == 0;
  return hosts > 1;
}

/* One is understood, once: what else is there might be read in two ways. http-parser refuses longer names
 * that begin like this one; so they are with either library. */
static bool has_odd_encoding(const struct tg_request *request)
{
  static const char name[] = "transfer-encoding";
  int chunked = 0, encodings = 0;
  for (int i = 0; i < request->header_count; i++)
    if (strncasecmp(request->headers[i].name, name, sizeof name - 1) == 0) {
      encodings++;
      chunked += strcasecmp(request->headers[i].name, name) == 0 &&
                 strcasecmp(request->headers[i].value, "chunked") == 0;
    }
  return encodings > 1 || chunked != encodings;
}

/* False: it is at fault. */
static bool take_head(struct tg_request_reader *reader)
{
  const struct tg_http_syntax *syntax = &reader->syntax;
  struct tg_request *request = reader->request;
  if (syntax->major != 1)
    return fail(reader, 505, "only HTTP/1.1 is spoken here");
  reader->keep_alive = syntax->keep_alive && strcmp(syntax->method, "CONNECT") != 0;
  give_texts(reader);
  if (names_two_hosts(request))
    return fail(reader, 400, "the request has more than one Host");
  if (has_odd_encoding(request))
    return fail(reader, 400, "invalid Content-Length or Transfer-Encoding");
  reader->head_only = strcmp(syntax->method, "HEAD") == 0;
  request->method = reader->head_only ? "GET" : syntax->method;
  request->has_body = syntax->chunked || syntax->length > 0;
  const char *expect = tg_request_header(request, "expect");
  request->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
  if (expect && !request->expects_continue)
    return fail(reader, 417, "only 100-continue may be expected");
  if (syntax->length > TG_REQUEST_BODY_MAX)
    return fail(reader, 413, "the body is longer than 1 MiB");
  return true;
}

/* ---- the body ---- */

static bool on_body(void *ctx, const char *at, size_t length)
{
  struct tg_request_reader *reader = ctx;
  if (reader->request->body.length + length > TG_REQUEST_BODY_MAX)
    return fail(reader, 413, "the body is longer than 1 MiB");
  tg_buf_append(&reader->request->body, at, length);
  return true;
}

static const struct tg_http_syntax_callbacks callbacks = {
    .on_begin = on_begin,
    .on_target = on_target,
    .on_name = on_name,
    .on_value = on_value,
    .on_body = on_body,
};

/* ---- */

void tg_request_reader_init(struct tg_request_reader *reader)
{
  memset(reader, 0, sizeof *reader);
  tg_http_syntax_init(&reader->syntax, TG_HTTP_REQUEST, &callbacks, reader);
}

void tg_request_reader_free(struct tg_request_reader *reader)
{
  tg_request_free(reader->request);
  tg_buf_free(&reader->texts);
  reader->request = NULL;
}

size_t tg_request_read(struct tg_request_reader *reader, const char *bytes, size_t length,
                       enum tg_read_step *step)
{
  enum tg_http_step syntax_step;
  size_t used = tg_http_syntax_read(&reader->syntax, bytes, length, &syntax_step);
  bool ended = syntax_step == TG_HTTP_END, headed = syntax_step == TG_HTTP_HEAD;
  if (syntax_step == TG_HTTP_FAULT && !reader->problem)
    fail(reader, reader->syntax.status, reader->syntax.problem);
  if (headed || (ended && !reader->request->texts))
    take_head(reader);
  if (ended)
    *tg_buf_reserve(&reader->request->body, 1) = '\0';
  *step = reader->problem ? TG_READ_FAILED : ended ? TG_READ_DONE : headed ? TG_READ_HEAD : TG_READ_MORE;
  return used;
}
