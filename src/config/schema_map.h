#pragma once

/* The part of the schema that knows tables of one form by their names (TG_OPTION_MAP); called by the others.
 */

#include "config/schema.h"

/* As tg_schema_read(), of a table whose keys' paths begin with `prefix`. */
void tg_schema_read_table(const char *prefix, const struct tg_option *options, size_t count,
                          const json_t *given, const char *(*env)(const char *name), void *target,
                          struct tg_problems *problems);

/* As tg_schema_write(), of one option. */
void tg_schema_write_to(json_t *object, const struct tg_option *option, const void *target,
                        enum tg_secrets secrets);

void tg_map_read(const struct tg_reader *reader, const json_t *value, void *field);
/* An object by the entries' names. Scripts see their secrets as "***", too, for no placeholder names them. */
json_t *tg_map_write(const struct tg_map_form *form, const void *field, enum tg_secrets secrets);
void tg_map_release(const struct tg_map_form *form, void *field);
void tg_map_secrets(const struct tg_map_form *form, const void *field, struct tg_strings *secrets);

/* Two entries of one name in two structs. */
struct tg_map_pair {
  char *path; /* "sinks.stats."; lives until the next call */
  void *a, *b;
  int next;
};

/* The next pair, of a zeroed one the first. False: there is none, and nothing to be released. */
bool tg_map_next(const struct tg_option *option, void *a, void *b, struct tg_map_pair *pair);
