#pragma once

/* The head of a request with events: what the configuration adds to each, and what each has of its own. */

#include "base/json_scan.h"
#include "config/config.h"
#include "config/handler_values.h"
#include "delivery/lanes/parcel.h"

#include <stdbool.h>

/* --- signature.c: Standard Webhooks, HMAC-SHA256 --------------------------------------------- */

struct tg_signing_keys {
  unsigned char keys[TG_SIGNING_SECRETS][TG_SIGNING_KEY_MAX];
  int lengths[TG_SIGNING_SECRETS];
  int count;
};

void tg_signing_keys_read(struct tg_signing_keys *keys, const struct tg_strings *secrets);

/* "v1,<base64> v1,<base64>": one for each key, of id.timestamp.body. */
enum { TG_SIGNATURE_MAX = TG_SIGNING_SECRETS * 48 + 1 };
void tg_sign(const struct tg_signing_keys *keys, const char *id, const char *timestamp, struct tg_span body,
             char signature[TG_SIGNATURE_MAX]);

/* --- request_head.c --------------------------------------------------------------------------- */

/* What all requests to a handler have. */
struct tg_usual_headers {
  struct tg_strings lines; /* "Name: value": Authorization, event_handler.headers */
  char *token;             /* the line that the Chat SDK's adapter knows the gateway by */
  struct tg_signing_keys keys;
};

void tg_usual_headers_read(struct tg_usual_headers *usual, const struct tg_handler_config *handler,
                           const char *token);
void tg_usual_headers_free(struct tg_usual_headers *usual);

enum {
  TG_HEAD_LINE_MAX = 160, /* of those that each request has of its own */
  TG_HEAD_OWN_MAX = 5,
  TG_HEAD_LINES_MAX = TG_HEAD_OWN_MAX + TG_HANDLER_HEADERS_MAX + 3,
};

struct tg_request_head {
  const char *lines[TG_HEAD_LINES_MAX]; /* ends with NULL */
  char own[TG_HEAD_OWN_MAX][TG_HEAD_LINE_MAX];
  int line_count, own_count;
};

/* The head of a request with that parcel and body; its lines point into it, and into `usual`. Signed with the
 * time of now, so that each attempt has a signature of its own; the id is the same in all. */
void tg_request_head_write(struct tg_request_head *head, const struct tg_usual_headers *usual,
                           const struct tg_parcel *parcel, struct tg_span body);
