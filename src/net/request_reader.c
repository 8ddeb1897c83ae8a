#include "net/request_reader.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int fail(struct tg_request_reader *reader, int status, const char *problem)
{
  reader->status = status;
  reader->problem = problem;
  return 1;
}

static void stop(struct tg_request_reader *reader, enum tg_read_step step)
{
  reader->step = step;
  http_parser_pause(&reader->parser, 1);
}

/* ---- the head ---- */

static int on_message_begin(http_parser *parser)
{
  struct tg_request_reader *reader = parser->data;
  reader->request = tg_calloc(1, sizeof *reader->request);
  tg_buf_reset(&reader->texts, TG_REQUEST_HEAD_MAX);
  reader->target_length = 0;
  reader->in_value = reader->head_done = reader->head_only = false;
  return 0;
}

static int add_text(struct tg_request_reader *reader, const char *at, size_t length)
{
  if (reader->texts.length + length > TG_REQUEST_HEAD_MAX)
    return fail(reader, 431, "the head of the request is longer than 16 KiB");
  tg_buf_append(&reader->texts, at, length);
  return 0;
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
  struct tg_request_reader *reader = parser->data;
  reader->target_length += length;
  return add_text(reader, at, length);
}

static int on_field(http_parser *parser, const char *at, size_t length)
{
  struct tg_request_reader *reader = parser->data;
  struct tg_request *request = reader->request;
  if (reader->head_done)
    return 0; /* a trailer */
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

static int on_value(http_parser *parser, const char *at, size_t length)
{
  struct tg_request_reader *reader = parser->data;
  if (reader->head_done)
    return 0;
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

static int on_headers_complete(http_parser *parser)
{
  struct tg_request_reader *reader = parser->data;
  struct tg_request *request = reader->request;
  if (parser->http_major != 1)
    return fail(reader, 505, "only HTTP/1.1 is spoken here"), -1;
  parser->upgrade = 0;
  reader->head_done = true;
  reader->keep_alive = http_should_keep_alive(parser) && parser->method != HTTP_CONNECT;
  give_texts(reader);
  if (names_two_hosts(request))
    return fail(reader, 400, "the request has more than one Host"), -1;
  bool chunked = parser->flags & F_CHUNKED;
  bool sized = parser->content_length != ULLONG_MAX;
  reader->head_only = parser->method == HTTP_HEAD;
  request->method = http_method_str(reader->head_only ? HTTP_GET : (enum http_method)parser->method);
  request->has_body = chunked || (sized && parser->content_length > 0);
  const char *expect = tg_request_header(request, "expect");
  request->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
  if (expect && !request->expects_continue)
    return fail(reader, 417, "only 100-continue may be expected"), -1;
  if (sized && !chunked && parser->content_length > TG_REQUEST_BODY_MAX)
    return fail(reader, 413, "the body is longer than 1 MiB"), -1;
  if (request->has_body)
    stop(reader, TG_READ_HEAD);
  return 0;
}

/* ---- the body ---- */

static int on_body(http_parser *parser, const char *at, size_t length)
{
  struct tg_request_reader *reader = parser->data;
  if (reader->request->body.length + length > TG_REQUEST_BODY_MAX)
    return fail(reader, 413, "the body is longer than 1 MiB");
  tg_buf_append(&reader->request->body, at, length);
  return 0;
}

static int on_message_complete(http_parser *parser)
{
  struct tg_request_reader *reader = parser->data;
  *tg_buf_reserve(&reader->request->body, 1) = '\0';
  stop(reader, TG_READ_DONE);
  return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- */

void tg_request_reader_init(struct tg_request_reader *reader)
{
  memset(reader, 0, sizeof *reader);
  http_parser_init(&reader->parser, HTTP_REQUEST);
  reader->parser.data = reader;
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
  reader->step = TG_READ_MORE;
  http_parser_pause(&reader->parser, 0);
  size_t used = http_parser_execute(&reader->parser, &settings, bytes, length);
  enum http_errno number = HTTP_PARSER_ERRNO(&reader->parser);
  if (number != HPE_OK && number != HPE_PAUSED) {
    if (!reader->problem && number == HPE_HEADER_OVERFLOW)
      fail(reader, 431, "the head of the request is too long");
    else if (!reader->problem)
      fail(reader, 400, http_errno_description(number));
    reader->step = TG_READ_FAILED;
  }
  *step = reader->step;
  return used;
}
