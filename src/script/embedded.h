#pragma once

/* The Lua half of Tidegate (lua/tidegate/), compiled in as source text. */

#include <stddef.h>

struct tg_embedded_module {
  const char *name;       /* as given to require: "tidegate.schema" */
  const char *chunk_name; /* for tracebacks: "=lua/tidegate/schema.lua" */
  const char *source;
  size_t size;
};

/* Ends with an entry whose name is NULL. */
extern const struct tg_embedded_module tg_embedded_modules[];
