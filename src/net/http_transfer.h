#pragma once

/* One request of the HTTP client: a libcurl easy handle that is used again and
 * again, and what is set on it. Internal to http.c. */

#include "base/buf.h"
#include "net/http.h"
#include "net/http_socket.h"
#include "net/proxy.h"

#include <curl/curl.h>
#include <sys/queue.h>

enum tg_transfer_state {
  TG_TRANSFER_IDLE,
  TG_TRANSFER_RUNNING,
  TG_TRANSFER_FINISHED, /* the answer is known, and not handed out yet */
  TG_TRANSFER_RESTING,  /* it is handed out; the rest of the body still comes */
};

/* How much of a body nobody needs is read for the sake of the connection. */
enum { TG_TRANSFER_REST_MAX = 64 * 1024 };

struct tg_http_transfer {
  struct tg_http *http;
  CURL *easy;
  bool attached; /* libcurl works on it */
  enum tg_transfer_state state;
  uint32_t slot, generation;                /* make the number that callers hold */
  struct tg_http_transfer *previous, *next; /* in the finished or the idle list */

  /* Of a request by_head whose head has come, while it is attached. */
  TAILQ_ENTRY(tg_http_transfer) link;
  bool headed;         /* is in that list */
  uint64_t rest_until; /* uv_now() */

  tg_http_done *done;
  void *ctx;
  size_t request_length, max_body; /* of the bodies of request and answer */
  bool by_head;
  bool too_large;      /* the body is more than the caller takes, */
  bool too_large_head; /* or the head is, with what comes before and behind it in such lines, */
  bool unknown;        /* or begins with a version of HTTP that is none of ours, */
  bool cut;            /* or nobody wants the body, and there is more than is worth reading */
  bool head_whole;     /* of the answer itself, not of a 1xx before it ... */
  long status;         /* ... which has this */
  uint64_t came;       /* bytes of the answer's body */
  size_t lines;        /* bytes of header lines, of all 1xx and of the trailer as well */
  uint64_t started;    /* uv_hrtime() */
  CURLcode result;
  struct tg_http_avoidance avoidance; /* of mute addresses */
  struct tg_error problem;            /* of a request that could not be started */

  const struct tg_proxies *proxies;
  const struct tg_proxy *proxy; /* of the URL; NULL: direct */
  bool tunnel;                  /* ... by CONNECT */

  char *method, *url;        /* as set on the handle ... */
  CURLU *parsed;             /* ... where it is this, if libcurl understands it */
  char *where;               /* for error messages; says over which proxy */
  struct tg_buf header_text; /* the lines of the request, NUL between */
  struct curl_slist *header_nodes;
  int header_capacity;
  struct tg_buf headers, body; /* of the answer */
  char curl_error[CURL_ERROR_SIZE];
};

/* A handle with all that is the same for every request. */
struct tg_http_transfer *tg_http_transfer_new(struct tg_http *http, const char *ca_file,
                                              const struct tg_proxies *proxies);
void tg_http_transfer_free(struct tg_http_transfer *transfer);

/* Puts the request on the handle. False: transfer->problem says why not. */
bool tg_http_transfer_set(struct tg_http_transfer *transfer, const struct tg_http_request *request);

/* Whether a request by_head can be answered before its body has ended. */
bool tg_http_transfer_answered(const struct tg_http_transfer *transfer);

/* Takes an answer to a request by_head, if there is a whole head of one in `text`. */
void tg_http_transfer_hear(struct tg_http_transfer *transfer, const char *text);

/* Whether libcurl still reads the caller's body. */
bool tg_http_transfer_sends(const struct tg_http_transfer *transfer);

/* http.c: the head of a request by_head is whole. From inside libcurl. */
void tg_http_head_came(struct tg_http_transfer *transfer);

/* The answer, or what went wrong. `response` points into the transfer. */
void tg_http_transfer_result(struct tg_http_transfer *transfer, struct tg_http_response *response);
