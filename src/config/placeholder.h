#pragma once

/* What scripts get in the place of secrets: "***token***" for the key token. A
 * script may hand it on where the gateway itself puts the secret in: in
 * gateway.configure, and as the authorization of gateway.rest. It names the key,
 * and is no secret: whoever writes it into a message gains nothing by it. */

#include "base/buf.h"
#include "config/schema.h"

enum { TG_PLACEHOLDER_SIZE = 64 };

void tg_placeholder(const struct tg_option *option, char text[TG_PLACEHOLDER_SIZE]);

/* A secret option whose placeholder stands in the text; NULL: there is none. */
const struct tg_option *tg_placeholder_find(const char *text);

/* The secret of an option, or NULL. */
typedef const char *tg_placeholder_value(const void *ctx, const struct tg_option *option);

/* Appends the text with secrets in the place of their placeholders; those without
 * a value stay. */
void tg_placeholder_fill(struct tg_buf *out, const char *text, tg_placeholder_value *value_of,
                         const void *ctx);
