/* What has been read: shown, compared, exchanged, released. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/url_parts.h"
#include "config/placeholder.h"
#include "config/schema.h"
#include "config/schema_map.h"

#include <stdio.h>
#include <stdlib.h>
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
  case TG_OPTION_COUNT:
    return *(const int64_t *)field;
  case TG_OPTION_STRING:
  case TG_OPTION_STRINGS:
  case TG_OPTION_MAP:
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
  case TG_OPTION_COUNT:
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
  case TG_OPTION_MAP:
    return tg_map_write(option->form, field, TG_SECRETS_SHOWN);
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

/* As it is written in the URL, and as it is meant. */
static void add_password(const char *url, struct tg_strings *secrets)
{
  size_t length;
  const char *password = tg_url_password(url, &length);
  struct tg_buf plain = {0};
  if (!password)
    return;
  char *written = tg_strndup(password, length);
  tg_strings_add(secrets, written);
  bool whole = tg_url_decode(&plain, password, length, false);
  char *meant = tg_buf_take(&plain);
  if (whole && strcmp(meant, written) != 0)
    tg_strings_add(secrets, meant);
  free(written);
  free(meant);
}

static void add_passwords(const json_t *urls, struct tg_strings *secrets)
{
  struct tg_strings texts = {0};
  add_texts(urls, &texts);
  for (int i = 0; i < texts.count; i++)
    add_password(texts.items[i], secrets);
  tg_strings_free(&texts);
}

void tg_schema_secrets(const struct tg_option *options, size_t count, const void *target,
                       struct tg_strings *secrets)
{
  for (size_t i = 0; i < count; i++) {
    const struct tg_option *option = &options[i];
    const void *field = field_of(option, target);
    bool whole = option->secret && !option->secrets;
    json_t *value = whole || option->url ? value_of(option, field) : NULL;
    if (option->kind == TG_OPTION_MAP)
      tg_map_secrets(option->form, field, secrets);
    else if (option->secret && option->secrets)
      option->secrets(field, secrets);
    else if (whole)
      add_texts(value, secrets);
    else if (option->url)
      add_passwords(value, secrets);
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

static json_t *public_urls(const json_t *value)
{
  if (json_is_array(value)) {
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(value); i++)
      json_array_append_new(list, public_urls(json_array_get(value, i)));
    return list;
  }
  char *text = tg_url_public(json_string_value(value));
  json_t *url = json_string(text);
  free(text);
  return url;
}

static json_t *veil(const struct tg_option *option, json_t *value, enum tg_secrets secrets)
{
  char placeholder[TG_PLACEHOLDER_SIZE];
  json_t *veiled = NULL;
  if (value && option->secret && secrets != TG_SECRETS_SHOWN) {
    tg_placeholder(option, placeholder);
    veiled = veil_texts(value, secrets == TG_SECRETS_NAMED ? placeholder : "***");
  } else if (value && option->url &&
             (secrets == TG_SECRETS_MASKED || (secrets == TG_SECRETS_NAMED && option->in_file))) {
    veiled = public_urls(value);
  }
  if (!veiled)
    return value;
  json_decref(value);
  return veiled;
}

void tg_schema_write_to(json_t *object, const struct tg_option *option, const void *target,
                        enum tg_secrets secrets)
{
  const void *field = field_of(option, target);
  json_t *value = option->kind == TG_OPTION_MAP ? tg_map_write(option->form, field, secrets)
                                                : veil(option, value_of(option, field), secrets);
  set_value(object, option->path, value);
}

json_t *tg_schema_write(const struct tg_option *options, size_t count, const void *target,
                        enum tg_secrets secrets)
{
  json_t *object = json_object();
  for (size_t i = 0; i < count; i++)
    tg_schema_write_to(object, &options[i], target, secrets);
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

static void swap(const struct tg_option *option, void *a, void *b)
{
  char *at_a = (char *)a + option->offset, *at_b = (char *)b + option->offset;
  for (size_t i = 0; i < option->size; i++) {
    char byte = at_a[i];
    at_a[i] = at_b[i];
    at_b[i] = byte;
  }
}

static void add_changed(const char *prefix, const struct tg_option *options, size_t count,
                        const void *running, const void *next, struct tg_problems *paths)
{
  for (size_t i = 0; i < count; i++) {
    struct tg_map_pair pair = {0};
    const struct tg_map_form *form = options[i].form;
    while (form && tg_map_next(&options[i], (void *)running, (void *)next, &pair))
      add_changed(pair.path, form->options, form->option_count, pair.a, pair.b, paths);
    if (options[i].restart && !tg_schema_equal(&options[i], running, next))
      tg_problem_add(paths, "%s%s", prefix, options[i].path);
  }
}

void tg_schema_needs_restart(const struct tg_option *options, size_t count, const void *running,
                             const void *next, struct tg_problems *paths)
{
  add_changed("", options, count, running, next, paths);
}

void tg_schema_carry_over(const struct tg_option *options, size_t count, void *running, void *next)
{
  for (size_t i = 0; i < count; i++) {
    struct tg_map_pair pair = {0};
    const struct tg_map_form *form = options[i].form;
    while (form && tg_map_next(&options[i], running, next, &pair))
      tg_schema_carry_over(form->options, form->option_count, pair.a, pair.b);
    if (options[i].restart)
      swap(&options[i], running, next);
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
    case TG_OPTION_MAP:
      tg_map_release(options[i].form, field);
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
