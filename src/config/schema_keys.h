#pragma once

/* The half of the schema that looks at keys; called by tg_schema_read(). */

#include "config/schema.h"

/* Adds a problem for each key of `given` that no option has, and for each
 * value that should have been a table. `prefix` of their paths: "", or "sinks.stats." */
void tg_schema_unknown_keys(const char *prefix, const struct tg_option *options, size_t count,
                            const json_t *given, struct tg_problems *problems);
