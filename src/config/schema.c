#include "config/schema.h"

#include "base/buf.h"
#include "base/clock.h"
#include "config/schema_keys.h"
#include "config/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t\r\n\v\f";

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
  tg_buf_puts(&text, reader->option->path);
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

static void expected(const struct tg_reader *reader, size_t index, const char *what, const json_t *value)
{
  char got[TG_DESCRIPTION_SIZE];
  tg_describe(reader, value, got, sizeof got);
  tg_problem(reader, index, "expected %s, got %s", what, got);
}

static void read_bool(const struct tg_reader *reader, const json_t *value, bool *field)
{
  static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
  if (json_is_boolean(value)) {
    *field = json_is_true(value);
    return;
  }
  for (size_t i = 0; reader->variable && i < sizeof words / sizeof words[0]; i++) {
    if (strcasecmp(json_string_value(value), words[i]) == 0) {
      *field = i % 2 == 1;
      return;
    }
  }
  expected(reader, 0, "true or false", value);
}

/* Scripts write numbers as doubles, environments as text. */
static bool whole_number(const struct tg_reader *reader, const json_t *value, int64_t *number)
{
  if (json_is_integer(value)) {
    *number = json_integer_value(value);
    return true;
  }
  if (json_is_real(value)) {
    double real = json_real_value(value);
    if (!(real > -9e15 && real < 9e15) || (double)(int64_t)real != real)
      return false;
    *number = (int64_t)real;
    return true;
  }
  if (!reader->variable)
    return false;
  const char *text = json_string_value(value);
  char *end;
  errno = 0;
  *number = strtoll(text, &end, 10);
  return errno == 0 && end != text && *end == '\0';
}

static void read_number(const struct tg_reader *reader, const json_t *value, void *field)
{
  const struct tg_option *option = reader->option;
  int64_t number;
  if (!whole_number(reader, value, &number) || number < option->min || number > option->max) {
    const char *unit = option->kind == TG_OPTION_MS     ? " of milliseconds"
                       : option->kind == TG_OPTION_SIZE ? " of bytes"
                                                        : "";
    char what[96];
    snprintf(what, sizeof what, "a whole number%s from %" PRId64 " to %" PRId64, unit, option->min,
             option->max);
    expected(reader, 0, what, value);
  } else if (option->kind == TG_OPTION_INT) {
    *(int *)field = (int)number;
  } else if (option->kind == TG_OPTION_MS) {
    *(tg_ms *)field = number;
  } else {
    *(uint64_t *)field = (uint64_t)number;
  }
}

static void read_choice(const struct tg_reader *reader, const json_t *value, int *field)
{
  struct tg_buf what = {0};
  tg_buf_puts(&what, "one of ");
  for (int i = 0; reader->option->choices[i]; i++) {
    const char *choice = reader->option->choices[i];
    if (json_is_string(value) && strcasecmp(json_string_value(value), choice) == 0) {
      *field = i;
      tg_buf_free(&what);
      return;
    }
    tg_buf_printf(&what, "%s\"%s\"", i ? ", " : "", choice);
  }
  char *text = tg_buf_take(&what);
  expected(reader, 0, text, value);
  free(text);
}

/* What is wrong with a text, or NULL. */
static const char *text_fault(const struct tg_option *option, const char *text)
{
  for (const char *at = text; *at; at++) {
    if ((unsigned char)*at < 0x20 || *at == 0x7f)
      return "must not contain line breaks or other control characters";
  }
  if (option->secret && !text[strspn(text, blanks)])
    return "has nothing but white space in it: that is no secret";
  return option->check ? option->check(text) : NULL;
}

static void read_string(const struct tg_reader *reader, const json_t *value, char **field)
{
  if (!json_is_string(value)) {
    expected(reader, 0, "a string", value);
    return;
  }
  const char *text = json_string_value(value);
  const char *fault = *text ? text_fault(reader->option, text) : "is empty; leave it out instead";
  if (strlen(text) != json_string_length(value))
    fault = "must not contain a NUL byte";
  if (fault) {
    tg_problem(reader, 0, "%s", fault);
    return;
  }
  free(*field);
  *field = tg_strdup(text);
}

static void add_checked(const struct tg_reader *reader, size_t index, const char *text,
                        struct tg_strings *strings)
{
  const struct tg_option *option = reader->option;
  const char *fault = *text ? text_fault(option, text) : "is empty";
  const char *meant = !fault && option->meant ? option->meant(text) : NULL;
  if (fault)
    tg_problem(reader, index, "%s", fault);
  else if (meant)
    tg_problem(reader, index, "there is no \"%.60s\"; did you mean %s?", text, meant);
  else
    tg_strings_add(strings, text);
}

static void read_strings(const struct tg_reader *reader, const json_t *value, struct tg_strings *field)
{
  struct tg_strings strings = {0};
  bool empty_table = json_is_object(value) && json_object_size(value) == 0;
  struct tg_strings parts = {0};
  if (json_is_string(value)) {
    tg_strings_split(&parts, json_string_value(value), TG_LIST_SEPARATORS);
  } else if (!json_is_array(value) && !empty_table) {
    expected(reader, 0, "a list of strings", value);
    return;
  }
  for (size_t i = 0; i < json_array_size(value); i++) {
    const json_t *item = json_array_get(value, i);
    if (json_is_string(item))
      add_checked(reader, i + 1, json_string_value(item), &strings);
    else
      expected(reader, i + 1, "a string", item);
  }
  for (int i = 0; i < parts.count; i++)
    add_checked(reader, (size_t)i + 1, parts.items[i], &strings);
  tg_strings_free(&parts);
  tg_strings_free(field);
  *field = strings;
}

static void read_value(const struct tg_reader *reader, const json_t *value, void *field)
{
  switch (reader->option->kind) {
  case TG_OPTION_BOOL:
    read_bool(reader, value, field);
    break;
  case TG_OPTION_INT:
  case TG_OPTION_MS:
  case TG_OPTION_SIZE:
    read_number(reader, value, field);
    break;
  case TG_OPTION_STRING:
    read_string(reader, value, field);
    break;
  case TG_OPTION_STRINGS:
    read_strings(reader, value, field);
    break;
  case TG_OPTION_CHOICE:
    read_choice(reader, value, field);
    break;
  case TG_OPTION_CUSTOM:
    reader->option->read(reader, value, field);
    break;
  }
}

static void set_default(const struct tg_option *option, void *field)
{
  struct tg_problems none = {0};
  struct tg_reader reader = {.option = option, .problems = &none};
  switch (option->kind) {
  case TG_OPTION_BOOL:
    *(bool *)field = option->number != 0;
    break;
  case TG_OPTION_INT:
  case TG_OPTION_CHOICE:
    *(int *)field = (int)option->number;
    break;
  case TG_OPTION_MS:
    *(tg_ms *)field = option->number;
    break;
  case TG_OPTION_SIZE:
    *(uint64_t *)field = (uint64_t)option->number;
    break;
  case TG_OPTION_STRING:
    *(char **)field = option->text ? tg_strdup(option->text) : NULL;
    break;
  case TG_OPTION_STRINGS:
    if (option->text)
      tg_strings_split(field, option->text, TG_LIST_SEPARATORS);
    break;
  case TG_OPTION_CUSTOM:
    if (option->text) {
      json_t *text = json_string(option->text);
      option->read(&reader, text, field);
      json_decref(text);
    }
    break;
  }
  tg_problems_free(&none);
}

const json_t *tg_schema_find(const json_t *given, const char *path)
{
  for (;;) {
    size_t length = strcspn(path, ".");
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)length, path);
    given = json_object_get(given, key);
    if (!path[length])
      return json_is_null(given) ? NULL : given;
    path += length + 1;
  }
}

/* Blanks around a value do not belong to it: files of variables leave them
 * there. In a secret they may be meant. */
static void read_text(const struct tg_reader *reader, const char *text, void *field)
{
  size_t length = strlen(text);
  if (!reader->option->secret && text[strspn(text, blanks)]) {
    text += strspn(text, blanks);
    for (length = strlen(text); strchr(blanks, text[length - 1]);)
      length--;
  }
  json_t *string = json_stringn(text, length);
  if (string)
    read_value(reader, string, field);
  else
    tg_problem(reader, 0, "is not UTF-8 text");
  json_decref(string);
}

static void read_secret(struct tg_reader *reader, const char *(*env)(const char *name), void *field)
{
  char named_by[TG_SECRET_NAME];
  struct tg_error error;
  char *path = tg_secret_path(reader->option->env, env, named_by);
  bool given = reader->variable; /* by the variable itself */
  bool by_file = path && strcmp(named_by, "CREDENTIALS_DIRECTORY") != 0;
  reader->variable = named_by;
  if (given && by_file) {
    tg_problem(reader, 0, "%s is set, too; only one of the two can count", reader->option->env);
  } else if (path && !given) {
    char *text = tg_secret_read(path, &error);
    if (text)
      read_text(reader, text, field);
    else
      tg_problem(reader, 0, "%s", error.message);
    free(text);
  }
  free(path);
}

void tg_schema_read(const struct tg_option *options, size_t count, const json_t *given,
                    const char *(*env)(const char *name), void *target, struct tg_problems *problems)
{
  for (size_t i = 0; i < count; i++) {
    const struct tg_option *option = &options[i];
    void *field = (char *)target + option->offset;
    struct tg_reader reader = {.option = option, .problems = problems};
    set_default(option, field);
    const json_t *value = tg_schema_find(given, option->path);
    const char *text = !value && option->env ? env(option->env) : NULL;
    if (value) {
      read_value(&reader, value, field);
    } else if (text && *text) {
      reader.variable = option->env;
      read_text(&reader, text, field);
    }
    if (!value && option->env && option->secret)
      read_secret(&reader, env, field);
  }
  tg_schema_unknown_keys(options, count, given, problems);
}
