#pragma once

/* URLs and what the target of a request says, taken apart; and what of a URL may be seen. Pure. */

#include "base/buf.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the host begins, past the scheme, a user and a password; `length`: up to the path. */
const char *tg_url_host(const char *url, size_t *length);

/* The URL as it may be seen: without user, password and query, but for the number of a database
 * (redis+unix:///path?db=1). The caller frees it. */
char *tg_url_public(const char *url);

/* The password in the URL as it is written there, and `length`; NULL: none. */
const char *tg_url_password(const char *url, size_t *length);

/* Appends the text with its escapes undone ("%2F" is "/"), whatever bytes come
 * of it. `plus`: a "+" is a space, as in queries. False: a "%" stands there
 * without two digits; what was before it is in `out`. */
bool tg_url_decode(struct tg_buf *out, const char *text, size_t length, bool plus);

/* The next "name=value" of a query, still escaped; `*at` moves on behind it. A
 * name alone has an empty value. False: there is none. */
bool tg_query_next(const char **at, struct tg_span *name, struct tg_span *value);
