#pragma once

/* Bytes in, requests of HTTP/1.1 out. No I/O.
 *
 *     struct tg_request_reader reader;
 *     tg_request_reader_init(&reader);
 *     used = tg_request_read(&reader, bytes, length, &step);
 *
 * Limits are TG_REQUEST_*. Trailers are skipped, an Upgrade is ignored. */

#include "net/http_syntax.h"
#include "net/request.h"

enum tg_read_step {
  TG_READ_MORE,   /* all bytes are used, and more are needed */
  TG_READ_HEAD,   /* the head of a request that has a body: reader->request may be looked at */
  TG_READ_DONE,   /* the request is whole: reader->request is the caller's to take */
  TG_READ_FAILED, /* reader->status and ->problem say why; the connection has to end */
};

struct tg_request_reader {
  struct tg_http_syntax syntax;
  struct tg_request *request; /* being read; NULL: none has begun */
  struct tg_buf texts;        /* until the head is whole: the texts of the request */
  size_t target_length;
  size_t names[TG_REQUEST_HEADERS_MAX], values[TG_REQUEST_HEADERS_MAX]; /* offsets in `texts` */
  bool in_value;                                                        /* header callbacks come in pieces */
  bool keep_alive, head_only;                                           /* valid from TG_READ_HEAD on */
  int status;
  const char *problem;
};

void tg_request_reader_init(struct tg_request_reader *reader);
void tg_request_reader_free(struct tg_request_reader *reader);

/* Returns how many bytes were used; stops at each step. After FAILED no more. */
size_t tg_request_read(struct tg_request_reader *reader, const char *bytes, size_t length,
                       enum tg_read_step *step);
