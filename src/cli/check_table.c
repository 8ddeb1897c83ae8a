#include "cli/check_table.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 100, CELL_MAX = 44 };

void tg_check_row(struct tg_check_table *table, const char *first, const char *second, const char *third)
{
  table->rows = tg_realloc(table->rows, (size_t)(table->count + 1) * sizeof *table->rows);
  table->rows[table->count++] =
      (struct tg_check_cells){{tg_strdup(first), tg_strdup(second), tg_strdup(third)}};
}

static int width_of(const struct tg_check_table *table, int column)
{
  int width = 0;
  for (int i = 0; i < table->count; i++) {
    int length = (int)strlen(table->rows[i].cells[column]);
    if (length > width && length <= CELL_MAX)
      width = length;
  }
  return width > 0 ? width + 2 : 0;
}

/* Breaks between words; lines but the first begin at `indent`. */
static void print_wrapped(const char *text, int indent)
{
  for (int at = indent; *text;) {
    int length = (int)strcspn(text, " ");
    if (at > indent && at + 1 + length > WIDTH) {
      printf("\n%*s", indent, "");
      at = indent;
    } else if (at > indent) {
      putchar(' ');
      at++;
    }
    printf("%.*s", length, text);
    at += length;
    text += length;
    text += strspn(text, " ");
  }
  putchar('\n');
}

void tg_check_rows_print(struct tg_check_table *table, const char *title)
{
  int first = width_of(table, 0), second = width_of(table, 1);
  if (table->count > 0)
    printf("\n%s\n", title);
  for (int i = 0; i < table->count; i++) {
    char **cells = table->rows[i].cells;
    printf("  %-*s%-*s", first, cells[0], second, cells[1]);
    if ((int)strlen(cells[0]) >= first && first > 0)
      printf("  ");
    print_wrapped(cells[2], 2 + first + second);
    for (int column = 0; column < 3; column++)
      free(cells[column]);
  }
  free(table->rows);
  *table = (struct tg_check_table){0};
}

const char *tg_check_text_at(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}
