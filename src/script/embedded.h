#pragma once

/* The Lua half of Tidegate (lua/tidegate/), compiled in as source text. */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct tg_embedded_module {
  const char *name;       /* as given to require: "tidegate.schema" */
  const char *chunk_name; /* for tracebacks: "=lua/tidegate/schema.lua" */
  const char *source;
  size_t size;
};

/* Ends with an entry whose name is NULL. */
extern const struct tg_embedded_module tg_embedded_modules[];

/* Whether a chunk of that name is one of these modules. */
static inline bool tg_is_embedded(const char *chunk_name) { return strncmp(chunk_name, "=lua/", 5) == 0; }
