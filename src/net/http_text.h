#pragma once

/* The parts of HTTP that are only text: URLs as the configuration writes them,
 * those that are made of parts, Retry-After, and reasons. No I/O. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stddef.h>

struct tg_http_url {
  char *url;         /* for libcurl: http:// or https:// */
  char *socket_path; /* NULL: TCP */
  char *where;       /* for people: scheme, host and port; no user, path or query */
};

/* http://, https:// and http+unix:///path/to.sock:/url. The caller frees the
 * result with tg_http_url_free(), also after false. */
bool tg_http_url_parse(const char *text, struct tg_http_url *url, struct tg_error *error);
void tg_http_url_free(struct tg_http_url *url);

/* Appends a slash and `part` to the path of a URL, so that it is one part of it
 * whatever it holds. False, and nothing appended: no path has such a part. Those
 * are "", "." and "..", which lead elsewhere, also if their dots are escaped. */
bool tg_http_path_add(struct tg_buf *url, struct tg_span part);

/* The value of a header in the lines of an answer (name without colon, any
 * case). False: there is none. The last of equal ones wins. */
bool tg_http_header(const char *headers, const char *name, const char **value, size_t *length);

/* Retry-After in `headers`, in milliseconds; a date there is taken from their Date on or, without one, from
 * `wall` (tg_wall_clock()). -1: none, or not readable. */
tg_ms tg_http_retry_after(const char *headers, tg_ms wall);

/* What the first line of an answer says behind the number: "Not Found". */
const char *tg_http_reason(int status);
