#pragma once

/* "Did you mean ...?" */

#include <stddef.h>

/* The entry of names[0..count) closest to `word` by edit distance (case does
 * not matter), or NULL when none is close enough to be meant. */
const char *tg_suggest(const char *word, const char *const *names, size_t count);
