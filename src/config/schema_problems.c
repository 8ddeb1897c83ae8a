/* Lists of texts, and what is said of a value that cannot be taken. */

#include "base/buf.h"
#include "config/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tg_strings_add(struct tg_strings *strings, const char *text)
{
  strings->items = tg_realloc(strings->items, ((size_t)strings->count + 1) * sizeof *strings->items);
  strings->items[strings->count++] = tg_strdup(text);
}

void tg_strings_split(struct tg_strings *strings, const char *text, const char *separators)
{
  for (size_t length; *(text += strspn(text, separators)); text += length) {
    length = strcspn(text, separators);
    char *part = tg_strndup(text, length);
    tg_strings_add(strings, part);
    free(part);
  }
}

void tg_strings_free(struct tg_strings *strings)
{
  for (int i = 0; i < strings->count; i++)
    free(strings->items[i]);
  free(strings->items);
  *strings = (struct tg_strings){0};
}

void tg_problems_free(struct tg_problems *problems)
{
  struct tg_strings strings = {problems->items, problems->count};
  tg_strings_free(&strings);
  *problems = (struct tg_problems){0};
}

static void add_problem(struct tg_problems *problems, struct tg_buf *text)
{
  struct tg_strings strings = {problems->items, problems->count};
  char *line = tg_buf_take(text);
  tg_strings_add(&strings, line);
  free(line);
  *problems = (struct tg_problems){strings.items, strings.count};
}

/* Takes the rest of the message and adds the whole. */
__attribute__((format(printf, 3, 0))) static void
finish_problem(struct tg_problems *problems, struct tg_buf *text, const char *format, va_list args)
{
  char *message = NULL;
  if (vasprintf(&message, format, args) >= 0)
    tg_buf_puts(text, message);
  free(message);
  add_problem(problems, text);
}

bool tg_problem_is_with(const struct tg_problems *problems, const char *path)
{
  size_t length = strlen(path);
  for (int i = 0; i < problems->count; i++) {
    const char *text = problems->items[i];
    if (strncmp(text, path, length) == 0 && strchr(":[ ", text[length]))
      return true;
  }
  return false;
}

void tg_problem_add(struct tg_problems *problems, const char *format, ...)
{
  struct tg_buf text = {0};
  va_list args;
  va_start(args, format);
  finish_problem(problems, &text, format, args);
  va_end(args);
}

void tg_problem(const struct tg_reader *reader, size_t index, const char *format, ...)
{
  struct tg_buf text = {0};
  tg_buf_puts(&text, reader->path);
  if (index > 0)
    tg_buf_printf(&text, "[%zu]", index);
  if (reader->variable)
    tg_buf_printf(&text, " (environment variable %s)", reader->variable);
  tg_buf_puts(&text, ": ");
  va_list args;
  va_start(args, format);
  finish_problem(reader->problems, &text, format, args);
  va_end(args);
}

const char *tg_json_kind(const json_t *value)
{
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return json_object_size(value) == 0 ? "an empty table" : "a table";
  case JSON_ARRAY:
    return "a list";
  case JSON_STRING:
    return "a string";
  case JSON_INTEGER:
  case JSON_REAL:
    return "a number";
  case JSON_TRUE:
    return "true";
  case JSON_FALSE:
    return "false";
  case JSON_NULL:
    break;
  }
  return "nothing";
}

void tg_describe(const struct tg_reader *reader, const json_t *value, char *text, size_t size)
{
  int shown = 0;
  if (json_is_string(value)) {
    const char *given = json_string_value(value);
    shown = (int)strnlen(given, 40);
    while (shown > 0 && (given[shown] & 0xc0) == 0x80) /* not in the middle of a character */
      shown--;
  }
  if (json_is_integer(value))
    snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (json_is_real(value))
    snprintf(text, size, "%g", json_real_value(value));
  else if (json_is_string(value) && !reader->option->secret)
    snprintf(text, size, "\"%.*s\"", shown, json_string_value(value));
  else
    snprintf(text, size, "%s", tg_json_kind(value));
}
