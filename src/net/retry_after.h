#pragma once

/* What the headers Retry-After and Date say (RFC 9110, 10.2.3 and 6.6.1). Pure. */

#include "base/clock.h"

#include <stddef.h>

/* Longer waits than this are told as this long: 30 years and more are no wait. */
#define TG_RETRY_AFTER_MOST INT64_C(1000000000000)

/* A date in one of HTTP's three forms, in milliseconds since 1970. -1: it is none. */
tg_ms tg_read_http_date(const char *text, size_t length);

/* Whole seconds or with a fraction (rounded up), or a date, as milliseconds from
 * `now`; a date that is over: 0. -1: neither, such as a negative number or words.
 * `now` is by the clock of whoever has sent it, since ours may be set otherwise:
 * what the answer's header Date says; only without one, tg_wall_clock(). */
tg_ms tg_read_retry_after(const char *text, size_t length, tg_ms now);
