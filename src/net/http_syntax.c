#include "net/http_syntax.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#ifdef TG_LLHTTP
#include <llhttp.h>
typedef llhttp_t library_parser;
#else
#include <http_parser.h>
typedef http_parser library_parser;
#endif

_Static_assert(sizeof(library_parser) <= sizeof(((struct tg_http_syntax *)0)->library),
               "the library's parser has to fit in");
_Static_assert(_Alignof(library_parser) <= _Alignof(long long), "and be aligned there");

enum { LINES_MAX = 80 * 1024 };

enum message_part {
  FIRST_LINE, /* or an empty line before it */
  HEADER,     /* one, or the end of the head */
  BODY,
  CHUNK_SIZE,
  CHUNK,
  CHUNK_END, /* the empty line behind it */
  TRAILER,   /* one, or the end of the message */
};

static library_parser *parser_of(struct tg_http_syntax *syntax)
{
  return (library_parser *)&syntax->library;
}

/* The first fault counts. */
static void fault(struct tg_http_syntax *syntax, int status, const char *problem)
{
  if (syntax->problem)
    return;
  syntax->status = status;
  syntax->problem = problem;
}

/* ---- what may stand where ---- */

static bool is_token(char c)
{
  return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_printable(char c)
{
  return c > ' ' && c < 127;
}

static bool is_text(char c)
{
  return c == '\t' || ((unsigned char)c >= ' ' && c != 127);
}

static bool all(bool is(char), const char *at, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (!is(at[i]))
      return false;
  return true;
}

/* ---- the library ---- */

static int give(struct tg_http_syntax *syntax, bool callback(void *, const char *, size_t), const char *at,
                size_t length)
{
  if (callback && !callback(syntax->ctx, at, length))
    fault(syntax, 400, "refused");
  return syntax->problem ? -1 : 0;
}

static int on_url(library_parser *parser, const char *at, size_t length)
{
  struct tg_http_syntax *syntax = parser->data;
  if (!all(is_printable, at, length))
    fault(syntax, 400, "invalid URL");
  return give(syntax, syntax->callbacks->on_target, at, length);
}

static int on_header_field(library_parser *parser, const char *at, size_t length)
{
  struct tg_http_syntax *syntax = parser->data;
  if (!all(is_token, at, length))
    fault(syntax, 400, "invalid header");
  return give(syntax, syntax->callbacks->on_name, at, length);
}

static int on_header_value(library_parser *parser, const char *at, size_t length)
{
  struct tg_http_syntax *syntax = parser->data;
  if (!all(is_text, at, length))
    fault(syntax, 400, "invalid header");
  return give(syntax, syntax->callbacks->on_value, at, length);
}

static int on_body(library_parser *parser, const char *at, size_t length)
{
  struct tg_http_syntax *syntax = parser->data;
  return give(syntax, syntax->callbacks->on_body, at, length);
}

static int on_chunk_header(library_parser *parser)
{
  struct tg_http_syntax *syntax = parser->data;
  syntax->left = parser->content_length;
  return 0;
}

static int on_message_complete(library_parser *parser)
{
  struct tg_http_syntax *syntax = parser->data;
  syntax->over = true;
  return 0;
}

#ifdef TG_LLHTTP

static const char *method_of(const library_parser *parser)
{
  return llhttp_method_name((llhttp_method_t)parser->method);
}

static bool keeps_alive(const library_parser *parser)
{
  return llhttp_should_keep_alive(parser);
}

static bool is_sized(const library_parser *parser)
{
  return parser->flags & F_CONTENT_LENGTH;
}

#else

static const char *method_of(const library_parser *parser)
{
  return http_method_str((enum http_method)parser->method);
}

static bool keeps_alive(const library_parser *parser)
{
  return http_should_keep_alive(parser);
}

static bool is_sized(const library_parser *parser)
{
  return parser->flags & F_CONTENTLENGTH;
}

#endif

static int on_headers_complete(library_parser *parser)
{
  enum { NO_BODY = 2 }; /* and what follows is another protocol */
  struct tg_http_syntax *syntax = parser->data;
  syntax->headed = true;
  syntax->major = parser->http_major;
  syntax->minor = parser->http_minor;
  syntax->keep_alive = keeps_alive(parser);
  syntax->chunked = parser->flags & F_CHUNKED;
  syntax->sized = is_sized(parser);
  syntax->length = syntax->sized ? parser->content_length : 0;
  if (syntax->type == TG_HTTP_RESPONSE) {
    syntax->status = parser->status_code;
    return NO_BODY;
  }
  syntax->method = method_of(parser);
  syntax->upgrade = parser->upgrade;
  parser->upgrade = 0; /* whether it is granted is not decided here; till then a body is a body */
  return 0;
}

/* The libraries notice it at different bytes, and http-parser does not always. */
static void version_fault(struct tg_http_syntax *syntax)
{
  if (syntax->type == TG_HTTP_REQUEST)
    fault(syntax, 505, "only HTTP/1.1 is spoken here");
  else
    fault(syntax, 400, "invalid status line");
}

/* The libraries have different words for the same, and more of them. */
static void library_fault(struct tg_http_syntax *syntax, int code)
{
  if (syntax->headed)
    fault(syntax, 400, syntax->chunked ? "invalid chunk" : "invalid Content-Length or Transfer-Encoding");
  switch (code) {
  case HPE_INVALID_METHOD:
    fault(syntax, 400, "invalid HTTP method");
    break;
  case HPE_INVALID_URL:
    fault(syntax, 400, "invalid URL");
    break;
  case HPE_INVALID_VERSION:
  case HPE_INVALID_CONSTANT:
  case HPE_INVALID_STATUS:
    version_fault(syntax);
    break;
  case HPE_INVALID_CONTENT_LENGTH:
  case HPE_UNEXPECTED_CONTENT_LENGTH:
  case HPE_INVALID_TRANSFER_ENCODING:
    fault(syntax, 400, "invalid Content-Length or Transfer-Encoding");
    break;
  case HPE_INVALID_CHUNK_SIZE:
    fault(syntax, 400, "invalid chunk");
    break;
  default:
    fault(syntax, 400, "invalid header");
  }
}

#ifdef TG_LLHTTP

/* It knows some that are not HTTP/1.1's: RTSP's, and HTTP/2's "PRI". They have the higher numbers. */
static int on_method_complete(library_parser *parser)
{
  if (parser->method <= HTTP_SOURCE)
    return 0;
  fault(parser->data, 400, "invalid HTTP method");
  return -1;
}

static const llhttp_settings_t settings = {
    .on_method_complete = on_method_complete,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_chunk_header = on_chunk_header,
};

static void init_library(library_parser *parser, bool request)
{
  llhttp_init(parser, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  llhttp_set_lenient_version(parser, 1); /* which is spoken, its user says */
}

static void feed(struct tg_http_syntax *syntax, const char *bytes, size_t length)
{
  if (length == 0 || syntax->problem)
    return;
  llhttp_errno_t code = llhttp_execute(parser_of(syntax), bytes, length);
  if (code != HPE_OK && code != HPE_PAUSED_UPGRADE)
    library_fault(syntax, code);
}

#else

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_chunk_header = on_chunk_header,
};

static void init_library(library_parser *parser, bool request)
{
  http_parser_init(parser, request ? HTTP_REQUEST : HTTP_RESPONSE);
}

static void feed(struct tg_http_syntax *syntax, const char *bytes, size_t length)
{
  if (length == 0 || syntax->problem)
    return;
  http_parser_execute(parser_of(syntax), &settings, bytes, length);
  enum http_errno code = HTTP_PARSER_ERRNO(parser_of(syntax));
  if (code != HPE_OK)
    library_fault(syntax, (int)code);
}

#endif

/* ---- lines ---- */

/* HTTP and version begin an answer, and are the last word in the first line of a request. */
static void watch_version(struct tg_http_syntax *syntax, char c)
{
  static const char shape[] = "HTTP/1.1 200"; /* 1: any digit */
  enum { NOWHERE = sizeof shape };
  if (syntax->type == TG_HTTP_REQUEST && c == ' ')
    syntax->place = 0;
  else if (syntax->place < sizeof shape - 1)
    syntax->place = (isdigit((unsigned char)shape[syntax->place]) ? isdigit((unsigned char)c) != 0
                                                                  : c == shape[syntax->place])
                        ? syntax->place + 1
                        : NOWHERE;
}

static bool has_version(const struct tg_http_syntax *syntax)
{
  return syntax->place == (syntax->type == TG_HTTP_REQUEST ? strlen("HTTP/1.1") : strlen("HTTP/1.1 200"));
}

/* Why `c` may not stand here, as far as the library does not see to it; NULL: it may. */
static const char *misfit(const struct tg_http_syntax *syntax, char c)
{
  bool begins = syntax->last == 0, good = false;
  if ((c == '\n') != (syntax->last == '\r'))
    return "invalid end of line";
  if (c == '\n' || (c == '\r' && !(begins && syntax->part == CHUNK_SIZE)))
    return NULL;
  switch (syntax->part) {
  case FIRST_LINE:
    return is_text(c) ? NULL : "invalid first line";
  case HEADER:
    return !begins || is_token(c) ? NULL : "invalid header";
  case CHUNK_SIZE:
    good = syntax->skips ? is_text(c) : isxdigit((unsigned char)c) || (c == ';' && !begins);
    break;
  case TRAILER:
    good = begins ? is_token(c) : is_text(c);
    break;
  }
  return good ? NULL : "invalid chunk";
}

/* The line goes on with `c`. */
static void step_to(struct tg_http_syntax *syntax, char c)
{
  if (c != '\r' && c != '\n') {
    if (syntax->part == FIRST_LINE && syntax->empty && syntax->callbacks->on_begin &&
        !syntax->callbacks->on_begin(syntax->ctx))
      fault(syntax, 400, "refused");
    if (syntax->part == FIRST_LINE)
      watch_version(syntax, c);
    syntax->empty = false;
  }
  if (syntax->part == CHUNK_SIZE)
    syntax->skips = c == ';' || (syntax->skips && c != '\r');
  if (syntax->part == TRAILER && syntax->last == 0)
    syntax->skips = c != '\r';
  syntax->last = c;
  syntax->lines++;
}

static void end_line(struct tg_http_syntax *syntax)
{
  bool empty = syntax->empty;
  syntax->last = 0;
  syntax->empty = true;
  syntax->skips = false;
  switch (syntax->part) {
  case FIRST_LINE:
    if (empty)
      break;
    if (!has_version(syntax))
      version_fault(syntax);
    syntax->part = HEADER;
    break;
  case HEADER:
    if (!syntax->headed)
      break;
    syntax->part = syntax->chunked ? CHUNK_SIZE : BODY;
    syntax->left = syntax->length;
    syntax->lines = 0;
    break;
  case CHUNK_SIZE:
    syntax->part = syntax->left > 0 ? CHUNK : TRAILER;
    break;
  case CHUNK_END:
    syntax->part = CHUNK_SIZE;
    syntax->lines = 0;
    break;
  default:
    break;
  }
}

/* Up to the end of the line, if it is there. Bytes before one that is wrong may be wrong by the library's
 * rules: it sees them first, so that the fault is the same however the bytes were cut. */
static size_t read_line(struct tg_http_syntax *syntax, const char *bytes, size_t length)
{
  size_t at = 0, shown = 0; /* to the library, or skipped */
  bool ended = false;
  const char *problem = NULL;
  for (; at < length && !ended; at++) {
    char c = bytes[at];
    problem = misfit(syntax, c);
    if (problem || syntax->lines == LINES_MAX)
      break;
    step_to(syntax, c);
    ended = c == '\n';
    if (syntax->skips) {
      feed(syntax, bytes + shown, at - shown);
      shown = at + 1;
    }
  }
  feed(syntax, bytes + shown, at - shown);
  if (ended)
    end_line(syntax);
  else if (problem)
    fault(syntax, 400, problem);
  else if (at < length)
    fault(syntax, 431, "the head of the request is too long");
  return at;
}

static size_t read_body(struct tg_http_syntax *syntax, const char *bytes, size_t length)
{
  size_t piece = length < syntax->left ? length : (size_t)syntax->left;
  feed(syntax, bytes, piece);
  syntax->left -= piece;
  if (syntax->left == 0 && syntax->part == CHUNK)
    syntax->part = CHUNK_END;
  return piece;
}

/* ---- */

static void begin(struct tg_http_syntax *syntax)
{
  *syntax = (struct tg_http_syntax){
      .callbacks = syntax->callbacks, .ctx = syntax->ctx, .type = syntax->type, .empty = true};
  init_library(parser_of(syntax), syntax->type == TG_HTTP_REQUEST);
}

void tg_http_syntax_init(struct tg_http_syntax *syntax, enum tg_http_type type,
                         const struct tg_http_syntax_callbacks *callbacks, void *ctx)
{
  *syntax = (struct tg_http_syntax){.callbacks = callbacks, .ctx = ctx, .type = type};
  begin(syntax);
}

size_t tg_http_syntax_read(struct tg_http_syntax *syntax, const char *bytes, size_t length,
                           enum tg_http_step *step)
{
  size_t used = 0;
  if (syntax->over)
    begin(syntax);
  parser_of(syntax)->data = syntax; /* where it is now */
  bool headed = syntax->headed;
  while (used < length && !syntax->problem && !syntax->over && syntax->headed == headed)
    used += syntax->left > 0 ? read_body(syntax, bytes + used, length - used)
                             : read_line(syntax, bytes + used, length - used);
  if (syntax->problem)
    *step = TG_HTTP_FAULT;
  else if (syntax->over)
    *step = TG_HTTP_END;
  else
    *step = syntax->headed == headed ? TG_HTTP_MORE : TG_HTTP_HEAD;
  return used;
}

/* ---- for people ---- */

#ifdef TG_LLHTTP

#define TEXT_OF(number) #number
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *tg_http_syntax_library(void)
{
  return "llhttp";
}

/* It does not tell by itself. */
const char *tg_http_syntax_version(void)
{
  return DOTTED(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}

#else

const char *tg_http_syntax_library(void)
{
  return "http-parser";
}

const char *tg_http_syntax_version(void)
{
  static char text[32];
  unsigned long version = http_parser_version();
  snprintf(text, sizeof text, "%lu.%lu.%lu", version >> 16 & 255, version >> 8 & 255, version & 255);
  return text;
}

#endif
