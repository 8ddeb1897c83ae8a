/* What has been read: shown, compared, released. */

#include "base/clock.h"
#include "config/placeholder.h"
#include "config/schema.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

static const void *field_of(const struct tg_option *option, const void *target)
{
  return (const char *)target + option->offset;
}

static int64_t number_of(const struct tg_option *option, const void *field)
{
  switch (option->kind) {
  case TG_OPTION_BOOL:
    return *(const bool *)field;
  case TG_OPTION_INT:
  case TG_OPTION_CHOICE:
    return *(const int *)field;
  case TG_OPTION_MS:
    return *(const tg_ms *)field;
  case TG_OPTION_SIZE:
    return (int64_t) * (const uint64_t *)field;
  case TG_OPTION_STRING:
  case TG_OPTION_STRINGS:
  case TG_OPTION_CUSTOM:
    break;
  }
  return 0;
}

/* NULL: not given. */
static json_t *value_of(const struct tg_option *option, const void *field)
{
  const struct tg_strings *strings = field;
  const char *text;
  json_t *list;
  switch (option->kind) {
  case TG_OPTION_BOOL:
    return json_boolean(*(const bool *)field);
  case TG_OPTION_INT:
  case TG_OPTION_MS:
  case TG_OPTION_SIZE:
    if (option->unset_is_default && number_of(option, field) == option->number)
      return NULL;
    return json_integer(number_of(option, field));
  case TG_OPTION_STRING:
    text = *(char *const *)field;
    return text ? json_string(text) : NULL;
  case TG_OPTION_STRINGS:
    list = json_array();
    for (int i = 0; i < strings->count; i++)
      json_array_append_new(list, json_string(strings->items[i]));
    return list;
  case TG_OPTION_CHOICE:
    return json_string(option->choices[*(const int *)field]);
  case TG_OPTION_CUSTOM:
    return option->write(field);
  }
  return NULL;
}

static void set_value(json_t *object, const char *path, json_t *value)
{
  for (size_t length; path[length = strcspn(path, ".")]; path += length + 1) {
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)length, path);
    json_t *inner = json_object_get(object, key);
    if (!inner) {
      inner = json_object();
      json_object_set_new(object, key, inner);
    }
    object = inner;
  }
  if (value)
    json_object_set_new(object, path, value);
}

/* Secrets may be lists, or tables of headers. */
static void add_texts(const json_t *value, struct tg_strings *texts)
{
  const char *key;
  json_t *member;
  if (json_is_string(value))
    tg_strings_add(texts, json_string_value(value));
  for (size_t i = 0; i < json_array_size(value); i++)
    add_texts(json_array_get(value, i), texts);
  json_object_foreach((json_t *)value, key, member) add_texts(member, texts);
}

void tg_schema_secrets(const struct tg_option *options, size_t count, const void *target,
                       struct tg_strings *secrets)
{
  for (size_t i = 0; i < count; i++) {
    const void *field = field_of(&options[i], target);
    json_t *value = options[i].secret && !options[i].secrets ? value_of(&options[i], field) : NULL;
    if (options[i].secret && options[i].secrets)
      options[i].secrets(field, secrets);
    if (value)
      add_texts(value, secrets);
    json_decref(value);
  }
}

/* Names of headers are no secrets, and neither is how many there are of something. */
static json_t *veil_texts(json_t *value, const char *text)
{
  const char *key;
  json_t *member;
  if (!json_is_object(value) && !json_is_array(value))
    return json_string(text);
  json_t *copy = json_copy(value);
  for (size_t i = 0; json_is_array(copy) && i < json_array_size(copy); i++)
    json_array_set_new(copy, i, json_string(text));
  json_object_foreach(copy, key, member) json_object_set_new(copy, key, json_string(text));
  return copy;
}

static json_t *veil(const struct tg_option *option, json_t *value, enum tg_secrets secrets)
{
  char placeholder[TG_PLACEHOLDER_SIZE];
  if (!value || !option->secret || secrets == TG_SECRETS_SHOWN)
    return value;
  tg_placeholder(option, placeholder);
  json_t *veiled = veil_texts(value, secrets == TG_SECRETS_NAMED ? placeholder : "***");
  json_decref(value);
  return veiled;
}

json_t *tg_schema_write(const struct tg_option *options, size_t count, const void *target,
                        enum tg_secrets secrets)
{
  json_t *object = json_object();
  for (size_t i = 0; i < count; i++) {
    json_t *value = value_of(&options[i], field_of(&options[i], target));
    set_value(object, options[i].path, veil(&options[i], value, secrets));
  }
  return object;
}

bool tg_schema_equal(const struct tg_option *option, const void *a, const void *b)
{
  json_t *value_a = value_of(option, field_of(option, a));
  json_t *value_b = value_of(option, field_of(option, b));
  bool equal = (!value_a && !value_b) || (value_a && value_b && json_equal(value_a, value_b));
  json_decref(value_a);
  json_decref(value_b);
  return equal;
}

void tg_schema_swap(const struct tg_option *option, void *a, void *b)
{
  char *at_a = (char *)a + option->offset, *at_b = (char *)b + option->offset;
  for (size_t i = 0; i < option->size; i++) {
    char byte = at_a[i];
    at_a[i] = at_b[i];
    at_b[i] = byte;
  }
}

void tg_schema_release(const struct tg_option *options, size_t count, void *target)
{
  for (size_t i = 0; i < count; i++) {
    void *field = (char *)target + options[i].offset;
    switch (options[i].kind) {
    case TG_OPTION_STRING:
      free(*(char **)field);
      *(char **)field = NULL;
      break;
    case TG_OPTION_STRINGS:
      tg_strings_free(field);
      break;
    case TG_OPTION_CUSTOM:
      if (options[i].release)
        options[i].release(field);
      break;
    default:
      break;
    }
  }
}
