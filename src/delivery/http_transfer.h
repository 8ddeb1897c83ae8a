#pragma once

/* One request of the HTTP client: a libcurl easy handle that is used again and
 * again, and what is set on it. Internal to http.c. */

#include "base/buf.h"
#include "delivery/http.h"

#include <curl/curl.h>

enum tg_transfer_state { TG_TRANSFER_IDLE, TG_TRANSFER_RUNNING, TG_TRANSFER_FINISHED };

struct tg_http_transfer {
  struct tg_http *http;
  CURL *easy;
  enum tg_transfer_state state;
  uint32_t slot, generation;                /* make the number that callers hold */
  struct tg_http_transfer *previous, *next; /* in the finished or the idle list */

  tg_http_done *done;
  void *ctx;
  size_t max_body;
  bool cut_body;
  bool too_large;
  uint64_t started; /* uv_hrtime() */
  CURLcode result;
  struct tg_error problem; /* of a request that could not be started */

  char *method, *url;        /* as set on the handle */
  char *where;               /* for error messages */
  struct tg_buf header_text; /* the lines of the request, NUL between */
  struct curl_slist *header_nodes;
  int header_capacity;
  struct tg_buf headers, body; /* of the answer */
  char curl_error[CURL_ERROR_SIZE];
};

/* A handle with all that is the same for every request. */
struct tg_http_transfer *tg_http_transfer_new(struct tg_http *http, const char *ca_file);
void tg_http_transfer_free(struct tg_http_transfer *transfer);

/* Puts the request on the handle. False: transfer->problem says why not. */
bool tg_http_transfer_set(struct tg_http_transfer *transfer, const struct tg_http_request *request);

/* The answer, or what went wrong. `response` points into the transfer. */
void tg_http_transfer_result(struct tg_http_transfer *transfer, struct tg_http_response *response);
