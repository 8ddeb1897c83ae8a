#include "config/schema.h"

#include "base/buf.h"
#include "base/clock.h"
#include "config/schema_keys.h"
#include "config/schema_map.h"
#include "config/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t\r\n\v\f";

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
  } else if (option->kind == TG_OPTION_COUNT) {
    *(int64_t *)field = number;
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

/* Of { file = "/path" }: what stands in the file. NULL: a problem was added. */
static char *text_in_file(const struct tg_reader *reader, size_t index, const json_t *value)
{
  const char *path = json_string_value(json_object_get(value, "file"));
  struct tg_error error;
  char *text = NULL;
  if (!path || json_object_size(value) != 1)
    tg_problem(reader, index, "expected a string, or { file = \"/path\" } for one in a file");
  else if (!(text = tg_secret_read(path, &error)))
    tg_problem(reader, index, "%s", error.message);
  return text;
}

char *tg_schema_text(const struct tg_reader *reader, size_t index, const json_t *value)
{
  char *text = NULL;
  if (reader->option->in_file && json_is_object(value))
    text = text_in_file(reader, index, value);
  else if (json_is_string(value))
    text = tg_strdup(json_string_value(value));
  else
    expected(reader, index, "a string", value);
  if (!text)
    return NULL;
  const char *fault = *text ? text_fault(reader->option, text) : "is empty; leave it out instead";
  if (json_is_string(value) && strlen(text) != json_string_length(value))
    fault = "must not contain a NUL byte";
  if (!fault)
    return text;
  tg_problem(reader, index, "%s", fault);
  free(text);
  return NULL;
}

static void read_string(const struct tg_reader *reader, const json_t *value, char **field)
{
  char *text = tg_schema_text(reader, 0, value);
  if (!text)
    return;
  free(*field);
  *field = text;
}

static void add_checked(const struct tg_reader *reader, size_t index, const json_t *value,
                        struct tg_strings *strings)
{
  char *text = tg_schema_text(reader, index, value);
  const char *meant = text && reader->option->meant ? reader->option->meant(text) : NULL;
  if (meant)
    tg_problem(reader, index, "there is no \"%.60s\"; did you mean %s?", text, meant);
  else if (text)
    tg_strings_add(strings, text);
  free(text);
}

/* As one text, separated. */
static json_t *parts_of(const char *text)
{
  struct tg_strings parts = {0};
  json_t *list = json_array();
  tg_strings_split(&parts, text, TG_LIST_SEPARATORS);
  for (int i = 0; i < parts.count; i++)
    json_array_append_new(list, json_string(parts.items[i]));
  tg_strings_free(&parts);
  return list;
}

static void read_strings(const struct tg_reader *reader, const json_t *value, struct tg_strings *field)
{
  struct tg_strings strings = {0};
  bool empty_table = json_is_object(value) && json_object_size(value) == 0;
  if (!json_is_string(value) && !json_is_array(value) && !empty_table) {
    expected(reader, 0, "a list of strings", value);
    return;
  }
  json_t *list = json_is_string(value) ? parts_of(json_string_value(value)) : json_incref((json_t *)value);
  for (size_t i = 0; i < json_array_size(list); i++)
    add_checked(reader, i + 1, json_array_get(list, i), &strings);
  json_decref(list);
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
  case TG_OPTION_COUNT:
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
  case TG_OPTION_MAP:
    tg_map_read(reader, value, field);
    break;
  case TG_OPTION_CUSTOM:
    reader->option->read(reader, value, field);
    break;
  }
}

static void set_default(const struct tg_option *option, void *field)
{
  struct tg_problems none = {0};
  struct tg_reader reader = {.option = option, .path = option->path, .problems = &none};
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
  case TG_OPTION_COUNT:
    *(int64_t *)field = option->number;
    break;
  case TG_OPTION_MAP:
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

bool tg_option_has_file(const struct tg_option *option)
{
  return option->env && (option->secret || option->in_file);
}

static void read_option(const struct tg_option *option, const char *path, const json_t *given,
                        const char *(*env)(const char *name), void *field, struct tg_problems *problems)
{
  struct tg_reader reader = {.option = option, .path = path, .problems = problems};
  set_default(option, field);
  const json_t *value = tg_schema_find(given, option->path);
  const char *text = !value && option->env ? env(option->env) : NULL;
  if (value) {
    read_value(&reader, value, field);
  } else if (text && *text) {
    reader.variable = option->env;
    read_text(&reader, text, field);
  }
  if (!value && tg_option_has_file(option))
    read_secret(&reader, env, field);
}

void tg_schema_read_table(const char *prefix, const struct tg_option *options, size_t count,
                          const json_t *given, const char *(*env)(const char *name), void *target,
                          struct tg_problems *problems)
{
  for (size_t i = 0; i < count; i++) {
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s%s", prefix, options[i].path);
    read_option(&options[i], path.data, given, env, (char *)target + options[i].offset, problems);
    tg_buf_free(&path);
  }
  tg_schema_unknown_keys(prefix, options, count, given, problems);
}

void tg_schema_read(const struct tg_option *options, size_t count, const json_t *given,
                    const char *(*env)(const char *name), void *target, struct tg_problems *problems)
{
  tg_schema_read_table("", options, count, given, env, target, problems);
}

/* ---- files ---- */

static void add_files(const char *prefix, const struct tg_option *options, size_t count, const json_t *given,
                      json_t *files);

static void add_file(struct tg_buf *names, const json_t *value)
{
  const char *path = json_string_value(json_object_get(value, "file"));
  if (path)
    tg_buf_printf(names, "%s%s", names->length > 0 ? ", " : "", path);
}

static void add_files_of(const char *path, const struct tg_option *option, const json_t *value, json_t *files)
{
  struct tg_buf names = {0};
  const char *name;
  json_t *member;
  if (option->kind == TG_OPTION_MAP) {
    json_object_foreach((json_t *)value, name, member)
    {
      struct tg_buf prefix = {0};
      tg_buf_printf(&prefix, "%s.%s.", path, name);
      add_files(prefix.data, option->form->options, option->form->option_count, member, files);
      tg_buf_free(&prefix);
    }
  } else if (option->in_file) {
    add_file(&names, value);
    for (size_t i = 0; i < json_array_size(value); i++)
      add_file(&names, json_array_get(value, i));
  }
  if (names.length > 0)
    json_object_set_new(files, path, json_string(names.data));
  tg_buf_free(&names);
}

static void add_files(const char *prefix, const struct tg_option *options, size_t count, const json_t *given,
                      json_t *files)
{
  for (size_t i = 0; i < count; i++) {
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s%s", prefix, options[i].path);
    add_files_of(path.data, &options[i], tg_schema_find(given, options[i].path), files);
    tg_buf_free(&path);
  }
}

void tg_schema_files(const struct tg_option *options, size_t count, const json_t *given, json_t *files)
{
  add_files("", options, count, given, files);
}
