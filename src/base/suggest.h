#pragma once

/* "Did you mean ...?" */

#include <stddef.h>

/* The entry of names[0..count) closest to `word` by edit distance (case does
 * not matter), or NULL when none is close enough to be meant. */
const char *tg_suggest(const char *word, const char *const *names, size_t count);

/* How many letters have to be put in, taken out, replaced, or swapped with
 * their neighbours to make one of the other; case does not matter. */
size_t tg_suggest_distance(const char *a, const char *b);
