#pragma once

/* What of event_handler needs more than a look: headers, signing secrets, events. For config_options.c. */

#include "config/schema.h"

enum {
  TG_SIGNING_SECRETS = 2,     /* the new one, and the one that it takes the place of */
  TG_SIGNING_KEY_MAX = 64,    /* bytes of a key */
  TG_HANDLER_HEADERS_MAX = 32 /* of event_handler.headers */
};

#define TG_ALL_EVENTS "all"

/* Of a table of names and values; each value a text, or {file = path} for one that stands in a file. As text,
 * from the environment: a line "Name: value" each. The field is a json_t *, an object of texts, or NULL. */
void tg_read_headers(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_headers(const void *field);
/* The values of those whose names speak of secrets, and all long ones: a word as "production" would be masked
 * in half of the log. */
void tg_header_secrets(const void *field, struct tg_strings *secrets);

/* Each returns what is wrong with the text, or NULL. */
const char *tg_check_signing_secret(const char *text);
const char *tg_check_handled_event(const char *text);

/* The key of a secret, "whsec_" and base64 or base64 alone. Returns its length, -1: it is none. */
int tg_signing_key(const char *secret, unsigned char key[TG_SIGNING_KEY_MAX]);

/* Base64 of the usual alphabet, with `=` at its end or without. Returns the number of bytes; -1: it is no
 * base64, or has more of them than `size`. */
int tg_base64_decode(unsigned char *bytes, size_t size, const char *text, size_t length);
