#pragma once

/* What has come of a dead letter that was sent again: see tg_delivery_send_letter(). */

#include "base/error.h"
#include "base/json_scan.h"
#include "delivery/sinks/dead_files.h"
#include "delivery/sinks/outcome.h"

struct tg_letter_result {
  bool sent; /* else `error` says why not */
  enum tg_outcome outcome;
  long status;
  struct tg_span answer; /* UTF-8, without secrets; lives during the call alone */
  size_t bytes;          /* of the body */
  bool removed; /* delivered: the letter is gone. Else `error` says why it is not, and it may come twice */
  struct tg_error error;
};

typedef void tg_letter_done(void *ctx, const struct tg_letter_result *result);
