#pragma once

/* UTF-8 as JSON wants it (RFC 3629): no surrogates, nothing overlong, nothing
 * beyond U+10FFFF. */

#include "base/buf.h"

#include <jansson.h>
#include <stddef.h>

/* How many bytes from the beginning are whole code points; `length`: all. */
size_t tg_utf8_valid(const char *text, size_t length);

/* Appends the text with U+FFFD in place of each torn sequence, and of each byte
 * that belongs to none. Returns how many it has put in; 0: the text was good. */
size_t tg_utf8_mend(struct tg_buf *out, const char *text, size_t length);

/* The length of the longest beginning of at most `most` bytes that does not end
 * inside of a code point. */
size_t tg_utf8_cut(const char *text, size_t length, size_t most);

/* A new string, mended where needed. */
json_t *tg_json_text(const char *text);
