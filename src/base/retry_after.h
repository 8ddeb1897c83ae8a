#pragma once

/* What the header Retry-After says (RFC 9110, 10.2.3). Pure. */

#include "base/clock.h"

#include <stddef.h>

/* Longer waits than this are told as this long: 30 years and more are no wait. */
#define TG_RETRY_AFTER_MOST INT64_C(1000000000000)

/* Whole seconds or with a fraction (rounded up), or a date in one of HTTP's
 * three forms, as milliseconds from `wall` (tg_wall_clock()); a date that is
 * over: 0. -1: neither, such as a negative number or words. */
tg_ms tg_read_retry_after(const char *text, size_t length, tg_ms wall);
