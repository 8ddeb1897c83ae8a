#pragma once

/* Tables for people: columns as wide as they need, numbers to the right,
 * colours where the terminal takes them.
 *
 *     struct tg_table table = {0};
 *     tg_table_column(&table, "Shard", true);
 *     tg_table_column(&table, "State", false);
 *     tg_table_cell(&table, TG_PLAIN, "%d", 3);
 *     tg_table_cell(&table, TG_GOOD, "%s", "Connected");
 *     tg_table_print(&table, stdout);
 *
 * Cells are given row by row. tg_table_print() frees what the table holds; the
 * struct may then be used again. Foreign text in cells is made safe
 * (base/human.h). */

#include <stdbool.h>
#include <stdio.h>

enum { TG_TABLE_COLUMNS = 12 };

enum tg_colour { TG_PLAIN, TG_DIM, TG_BOLD, TG_GOOD, TG_UNEASY, TG_BAD };

struct tg_table {
  struct tg_table_column {
    const char *title;
    bool right;
  } columns[TG_TABLE_COLUMNS];
  int column_count;
  struct tg_table_cell {
    char *text;
    enum tg_colour colour;
  } *cells;
  size_t cell_count;
};

/* Whether tables and tg_colour_start() write colours; at first they do not. */
void tg_table_set_colours(bool on);

/* Escape sequences, or "" without colours. */
const char *tg_colour_start(enum tg_colour colour);
const char *tg_colour_end(enum tg_colour colour);

/* `title` is borrowed; all columns come before the first cell. Without any
 * title there is no line of titles. */
void tg_table_column(struct tg_table *table, const char *title, bool right);
void tg_table_cell(struct tg_table *table, enum tg_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void tg_table_print(struct tg_table *table, FILE *out);
