#pragma once

/* Tables of `tidegate check`: three columns as wide as they need, the last one
 * wrapped between words. */

#include <jansson.h>

struct tg_check_table {
  struct tg_check_cells {
    char *cells[3];
  } * rows;
  int count;
};

/* The texts are copied. */
void tg_check_row(struct tg_check_table *table, const char *first, const char *second, const char *third);

/* Prints it under the title, if it has rows, and empties it. */
void tg_check_rows_print(struct tg_check_table *table, const char *title);

/* What the object has there; "": no text. */
const char *tg_check_text_at(const json_t *object, const char *key);
