#pragma once

/* How the values of the configuration that are more than a number, a text or
 * an address are read, checked and shown. For config_options.c. */

#include "config/schema.h"

/* A check returns what is wrong with the text, or NULL. */
const char *tg_check_event_name(const char *text);
const char *tg_check_tree(const char *text); /* of rocks_trees */
#define TG_TREE_FORBIDDEN ";?"

void tg_read_token(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_token(const void *field);
void tg_read_intents(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_intents(const void *field);
json_t *tg_write_optional_intents(const void *field); /* 0: none were given */
void tg_read_compression(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_compression(const void *field);
void tg_read_presence(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_presence(const void *field);
void tg_read_log_format(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_log_format(const void *field);

void tg_release_string(void *field);
void tg_release_json(void *field);

/* What `intents` holds until somebody sets it: no bit mask looks like this. */
#define TG_INTENTS_UNSET UINT64_MAX
