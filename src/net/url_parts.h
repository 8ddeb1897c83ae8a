#pragma once

/* What the target of a request says, for routes that take it apart. Pure. */

#include "base/buf.h"
#include "base/json_scan.h"

#include <stdbool.h>

/* Appends the text with its escapes undone ("%2F" is "/"), whatever bytes come
 * of it. `plus`: a "+" is a space, as in queries. False: a "%" stands there
 * without two digits; what was before it is in `out`. */
bool tg_url_decode(struct tg_buf *out, const char *text, size_t length, bool plus);

/* The next "name=value" of a query, still escaped; `*at` moves on behind it. A
 * name alone has an empty value. False: there is none. */
bool tg_query_next(const char **at, struct tg_span *name, struct tg_span *value);
