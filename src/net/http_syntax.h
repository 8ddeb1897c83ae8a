#pragma once

/* The syntax of HTTP/1: bytes in, the parts of messages out. No I/O, and no memory but what it is.
 *
 *     struct tg_http_syntax syntax;
 *     tg_http_syntax_init(&syntax, TG_HTTP_REQUEST, &callbacks, ctx);
 *     used = tg_http_syntax_read(&syntax, bytes, length, &step);
 *
 * Behind it is llhttp, or http-parser where the system has no llhttp; which one
 * is nobody's business but http_syntax.c's. Neither takes what the other takes.
 * So that no user sees which it is, and no two programs on the way of a message
 * read two things in it, what is laxer in either is refused before it gets there:
 *
 * - lines end with CR LF, and CR and LF stand nowhere else; none is continued on the next;
 * - names of headers are tokens, their values hold no control characters, targets are printable ASCII;
 * - the first line has HTTP/ and two digits of a version in its place;
 * - a head is not longer than 80 KiB with all that is not kept of it.
 *
 * Extensions of chunks and trailers are skipped. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tg_http_type {
  TG_HTTP_REQUEST,
  TG_HTTP_RESPONSE, /* is over with its head: what is behind it is the caller's */
};

enum tg_http_step {
  TG_HTTP_MORE,  /* all bytes are used, and more are needed */
  TG_HTTP_HEAD,  /* the head is whole, and a body follows */
  TG_HTTP_END,   /* the message is whole; the next read begins another one */
  TG_HTTP_FAULT, /* status and problem say why; there is no way on */
};

/* Any may be NULL. False: no more of this message. Texts come in pieces, which
 * may be empty; a piece of a name behind one of a value begins the next header. */
struct tg_http_syntax_callbacks {
  bool (*on_begin)(void *ctx); /* the message's first byte is there */
  bool (*on_target)(void *ctx, const char *at, size_t length);
  bool (*on_name)(void *ctx, const char *at, size_t length);
  bool (*on_value)(void *ctx, const char *at, size_t length);
  bool (*on_body)(void *ctx, const char *at, size_t length);
};

struct tg_http_syntax {
  /* Of the message, from HEAD or END to the next read behind END. */
  const char *method; /* "GET"; of a request */
  int status;         /* of a response; of a request at fault: what to answer */
  int major, minor;   /* of the version */
  bool keep_alive;    /* by version and Connection */
  bool upgrade;       /* a request for another protocol, or CONNECT */
  bool chunked, sized;
  uint64_t length; /* Content-Length, when sized */

  const char *problem; /* in words; NULL: no fault */

  /* The rest is http_syntax.c's. */
  const struct tg_http_syntax_callbacks *callbacks;
  void *ctx;
  enum tg_http_type type;
  int part;          /* of the message that is read */
  char last;         /* byte of the line; 0: it begins */
  bool empty;        /* the line, so far */
  bool skips;        /* the library is not shown this part of the line */
  unsigned place;    /* in the shape of HTTP and version */
  size_t lines;      /* bytes of lines so far */
  uint64_t left;     /* of body or chunk */
  bool headed, over; /* HEAD, END was reached */
  union {
    long long alignment;
    char bytes[128];
  } library;
};

/* `callbacks` has to live as long as `syntax`. There is nothing to free. */
void tg_http_syntax_init(struct tg_http_syntax *syntax, enum tg_http_type type,
                         const struct tg_http_syntax_callbacks *callbacks, void *ctx);

/* Returns how many bytes were used; stops at each step. */
size_t tg_http_syntax_read(struct tg_http_syntax *syntax, const char *bytes, size_t length,
                           enum tg_http_step *step);

/* The library beneath: "llhttp", and its version. */
const char *tg_http_syntax_library(void);
const char *tg_http_syntax_version(void);
