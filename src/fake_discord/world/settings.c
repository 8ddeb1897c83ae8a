#include "fake_discord/world/settings.h"

#include "base/suggest.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_NUMBER, KIND_FLAG, KIND_TEXT };

struct row {
  const char *name;
  enum kind kind;
  size_t offset;
  int64_t initial, minimum, maximum;
  const char *text, *choices;
};

static const struct row rows[] = {
#define NUMBER(name, initial, minimum, maximum)                                                              \
  {#name, KIND_NUMBER, offsetof(struct tg_fake_settings, name), initial, minimum, maximum, NULL, NULL},
#define FLAG(name, initial)                                                                                  \
  {#name, KIND_FLAG, offsetof(struct tg_fake_settings, name), initial, 0, 1, NULL, NULL},
#define TEXT(name, initial, choices)                                                                         \
  {#name, KIND_TEXT, offsetof(struct tg_fake_settings, name), 0, 0, 0, initial, choices},
    TG_FAKE_SETTINGS(NUMBER, FLAG, TEXT)
#undef NUMBER
#undef FLAG
#undef TEXT
};

enum { ROWS = sizeof rows / sizeof *rows };

static int64_t *number_at(const struct tg_fake_settings *settings, const struct row *row)
{
  return (int64_t *)(void *)((char *)(uintptr_t)settings + row->offset);
}

static bool *flag_at(const struct tg_fake_settings *settings, const struct row *row)
{
  return (bool *)((char *)(uintptr_t)settings + row->offset);
}

static char *text_at(const struct tg_fake_settings *settings, const struct row *row)
{
  return (char *)(uintptr_t)settings + row->offset;
}

void tg_fake_settings_init(struct tg_fake_settings *settings)
{
  memset(settings, 0, sizeof *settings);
  for (size_t i = 0; i < ROWS; i++) {
    const struct row *row = &rows[i];
    if (row->kind == KIND_NUMBER)
      *number_at(settings, row) = row->initial;
    else if (row->kind == KIND_FLAG)
      *flag_at(settings, row) = row->initial != 0;
    else
      snprintf(text_at(settings, row), TG_FAKE_TEXT_SIZE, "%s", row->text);
  }
}

static const struct row *find(const char *name, struct tg_error *error)
{
  const char *names[ROWS];
  for (size_t i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].name, name) == 0)
      return &rows[i];
    names[i] = rows[i].name;
  }
  const char *near = tg_suggest(name, names, ROWS);
  tg_fail(error, "unknown", "there is no setting \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
          near ? near : "", near ? "\"?" : "");
  return NULL;
}

static bool is_choice(const char *choices, const char *value)
{
  size_t length = strlen(value);
  for (const char *at = choices; *at;) {
    size_t here = strcspn(at, "|");
    if (here == length && strncmp(at, value, here) == 0)
      return true;
    at += here + (at[here] == '|');
  }
  return choices[0] == '\0';
}

static bool set_row(struct tg_fake_settings *settings, const struct row *row, const json_t *value,
                    struct tg_error *error)
{
  switch (row->kind) {
  case KIND_NUMBER:
    if (!json_is_integer(value) || json_integer_value(value) < row->minimum ||
        json_integer_value(value) > row->maximum)
      return tg_fail(error, "range", "%s: expected a whole number from %" PRId64 " to %" PRId64, row->name,
                     row->minimum, row->maximum);
    *number_at(settings, row) = json_integer_value(value);
    return true;
  case KIND_FLAG:
    if (!json_is_boolean(value))
      return tg_fail(error, "type", "%s: expected true or false", row->name);
    *flag_at(settings, row) = json_is_true(value);
    return true;
  case KIND_TEXT:
    if (!json_is_string(value) || json_string_length(value) >= TG_FAKE_TEXT_SIZE)
      return tg_fail(error, "type", "%s: expected a text", row->name);
    if (!is_choice(row->choices, json_string_value(value)))
      return tg_fail(error, "choice", "%s: expected one of %s", row->name, row->choices);
    snprintf(text_at(settings, row), TG_FAKE_TEXT_SIZE, "%s", json_string_value(value));
    return true;
  }
  return false;
}

bool tg_fake_settings_set(struct tg_fake_settings *settings, const json_t *given, struct tg_error *error)
{
  if (!json_is_object(given))
    return tg_fail(error, "type", "expected an object of settings");
  struct tg_fake_settings changed = *settings;
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)given, name, value)
  {
    const struct row *row = find(name, error);
    if (!row || !set_row(&changed, row, value, error))
      return false;
  }
  *settings = changed;
  return true;
}

bool tg_fake_settings_set_text(struct tg_fake_settings *settings, const char *name, const char *value,
                               struct tg_error *error)
{
  const struct row *row = find(name, error);
  if (!row)
    return false;
  json_t *json = NULL;
  if (row->kind == KIND_TEXT) {
    json = json_string(value);
  } else if (row->kind == KIND_FLAG) {
    json = strcmp(value, "true") == 0    ? json_true()
           : strcmp(value, "false") == 0 ? json_false()
                                         : json_null();
  } else {
    char *end;
    long long number = strtoll(value, &end, 10);
    json = *value && *end == '\0' ? json_integer(number) : json_null();
  }
  bool ok = set_row(settings, row, json, error);
  json_decref(json);
  return ok;
}

json_t *tg_fake_settings_to_json(const struct tg_fake_settings *settings)
{
  json_t *result = json_object();
  for (size_t i = 0; i < ROWS; i++) {
    const struct row *row = &rows[i];
    json_t *value = row->kind == KIND_NUMBER ? json_integer(*number_at(settings, row))
                    : row->kind == KIND_FLAG ? json_boolean(*flag_at(settings, row))
                                             : json_string(text_at(settings, row));
    json_object_set_new(result, row->name, value);
  }
  return result;
}
