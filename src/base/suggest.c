#include "base/suggest.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64 };

static int lower(char c) { return tolower((unsigned char)c); }

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edits (insert, remove, replace, swap neighbours) that turn a into b. Both are
 * at most LONGEST bytes. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
  size_t rows[3][LONGEST + 1];
  size_t *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= b_length; j++)
    above[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t differ = lower(a[i - 1]) != lower(b[j - 1]);
      row[j] = least(above[j - 1] + differ, least(above[j], row[j - 1]) + 1);
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
        row[j] = least(row[j], before[j - 2] + 1);
    }
    size_t *spare = before;
    before = above;
    above = row;
    row = spare;
  }
  return above[b_length];
}

size_t tg_suggest_distance(const char *a, const char *b)
{
  size_t a_length = strlen(a), b_length = strlen(b);
  return a_length > LONGEST || b_length > LONGEST ? LONGEST : distance(a, a_length, b, b_length);
}

const char *tg_suggest(const char *word, const char *const *names, size_t count)
{
  size_t length = strlen(word);
  if (length == 0 || length > LONGEST)
    return NULL;
  /* A third of the word may be wrong, and one letter always. */
  size_t allowed = length >= 6 ? length / 3 : 1;
  const char *best = NULL;
  size_t best_distance = allowed + 1;
  for (size_t i = 0; i < count; i++) {
    size_t name_length = strlen(names[i]);
    if (name_length > LONGEST || name_length + allowed < length || length + allowed < name_length)
      continue;
    size_t edits = distance(word, length, names[i], name_length);
    if (edits < best_distance) {
      best = names[i];
      best_distance = edits;
    }
  }
  return best;
}
