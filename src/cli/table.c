#include "cli/table.h"

#include "base/buf.h"
#include "base/human.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2 };

static bool colours;

void tg_table_set_colours(bool on)
{
  colours = on;
}

const char *tg_colour_start(enum tg_colour colour)
{
  static const char *const codes[] = {
      [TG_PLAIN] = "",        [TG_DIM] = "\033[2m",     [TG_BOLD] = "\033[1m",
      [TG_GOOD] = "\033[32m", [TG_UNEASY] = "\033[33m", [TG_BAD] = "\033[31m",
  };
  return colours ? codes[colour] : "";
}

const char *tg_colour_end(enum tg_colour colour)
{
  return colours && colour != TG_PLAIN ? "\033[0m" : "";
}

void tg_table_column(struct tg_table *table, const char *title, bool right)
{
  table->columns[table->column_count++] = (struct tg_table_column){title, right};
}

void tg_table_cell(struct tg_table *table, enum tg_colour colour, const char *format, ...)
{
  char *raw = NULL;
  va_list args;
  va_start(args, format);
  if (vasprintf(&raw, format, args) < 0)
    abort();
  va_end(args);
  struct tg_buf safe = {0};
  tg_human_safe(&safe, raw, false);
  free(raw);
  size_t count = table->cell_count + 1;
  table->cells = tg_realloc(table->cells, count * sizeof *table->cells);
  table->cells[table->cell_count++] = (struct tg_table_cell){tg_buf_take(&safe), colour};
}

/* Code points: what a terminal shows is about as wide. */
static int width_of(const char *text)
{
  int width = 0;
  for (; *text; text++)
    width += ((unsigned char)*text & 0xc0) != 0x80;
  return width;
}

static void put_cell(const char *text, enum tg_colour colour, int width, bool right, bool last, FILE *out)
{
  int space = width - width_of(text);
  fprintf(out, "%*s%s%s%s", right ? space : 0, "", tg_colour_start(colour), text, tg_colour_end(colour));
  if (!last)
    fprintf(out, "%*s", GAP + (right ? 0 : space), "");
}

void tg_table_print(struct tg_table *table, FILE *out)
{
  int columns = table->column_count, widths[TG_TABLE_COLUMNS] = {0};
  bool titles = false;
  for (int c = 0; c < columns; c++) {
    widths[c] = width_of(table->columns[c].title);
    titles = titles || widths[c] > 0;
  }
  for (size_t i = 0; i < table->cell_count; i++) {
    int width = width_of(table->cells[i].text), *widest = &widths[i % (size_t)columns];
    *widest = width > *widest ? width : *widest;
  }
  for (int c = 0; titles && c < columns; c++)
    put_cell(table->columns[c].title, TG_BOLD, widths[c], table->columns[c].right, c + 1 == columns, out);
  if (titles)
    fputc('\n', out);
  for (size_t i = 0; i < table->cell_count; i++) {
    int c = (int)(i % (size_t)columns);
    const struct tg_table_cell *cell = &table->cells[i];
    put_cell(cell->text, cell->colour, widths[c], table->columns[c].right, c + 1 == columns, out);
    if (c + 1 == columns)
      fputc('\n', out);
    free(cell->text);
  }
  free(table->cells);
  *table = (struct tg_table){0};
}
