#include "config/schema_map.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

/* ---- the entries ---- */

static int *count_of(const struct tg_map_form *form, const void *field)
{
  return (int *)((char *)field + form->count_at);
}

/* Pointers to any struct look alike. */
static void *entry_at(const struct tg_map_form *form, const void *field, int index)
{
  char *entries;
  memcpy(&entries, field, sizeof entries);
  return entries + (size_t)index * form->size;
}

static const char *name_of(const void *entry)
{
  return *(char *const *)entry;
}

/* Zeroed, but for its name. */
static void *add_entry(const struct tg_map_form *form, void *field, const char *name)
{
  int *count = count_of(form, field);
  void *entries;
  memcpy(&entries, field, sizeof entries);
  entries = tg_realloc(entries, ((size_t)*count + 1) * form->size);
  memcpy(field, &entries, sizeof entries);
  void *entry = entry_at(form, field, (*count)++);
  memset(entry, 0, form->size);
  *(char **)entry = tg_strdup(name);
  return entry;
}

/* ---- reading ---- */

static int by_name(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The caller frees the list, and not the names. */
static const char **sorted_names(const json_t *object)
{
  const char **names = tg_calloc(json_object_size(object) + 1, sizeof *names), *name;
  size_t count = 0;
  json_t *value;
  json_object_foreach((json_t *)object, name, value) names[count++] = name;
  qsort(names, count, sizeof *names, by_name);
  return names;
}

/* "sinks.stats", or, of a name that could not be written so, sinks["my stats"]. */
static char *path_of(const char *map, const char *name)
{
  enum { SHOWN = 60 };
  struct tg_buf path = {0};
  bool is_word = *name && strlen(name) <= SHOWN;
  for (const char *at = name; *at && is_word; at++)
    is_word = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *at) != NULL;
  if (is_word) {
    tg_buf_printf(&path, "%s.%s", map, name);
    return tg_buf_take(&path);
  }
  tg_buf_printf(&path, "%s[\"%.*s\"]", map, SHOWN, name);
  for (size_t i = 0; i < path.length; i++)
    if ((unsigned char)path.data[i] < 0x20 || path.data[i] == 0x7f)
      path.data[i] = '?';
  return tg_buf_take(&path);
}

/* A table of a script: an empty one may have come as a list. */
static bool is_table(const json_t *value)
{
  return json_is_object(value) || (json_is_array(value) && json_array_size(value) == 0);
}

static void read_entry(const struct tg_reader *reader, const char *name, const json_t *value, void *field)
{
  const struct tg_map_form *form = reader->option->form;
  char *path = path_of(reader->path, name);
  const char *fault = form->check_name(name);
  if (fault) {
    tg_problem_add(reader->problems, "%s: %s", path, fault);
  } else if (!is_table(value)) {
    tg_problem_add(reader->problems, "%s: expected a table, the %s of that name, got %s", path, form->what,
                   tg_json_kind(value));
  } else if (*count_of(form, field) == form->max) {
    tg_problem_add(reader->problems, "%s: is one %s too many; %d are taken", path, form->what, form->max);
  } else {
    struct tg_buf prefix = {0};
    void *entry = add_entry(form, field, name);
    tg_buf_printf(&prefix, "%s.", path);
    tg_schema_read_table(prefix.data, form->options, form->option_count, value, NULL, entry,
                         reader->problems);
    form->finish(path, value, entry, reader->problems);
    tg_buf_free(&prefix);
  }
  free(path);
}

void tg_map_read(const struct tg_reader *reader, const json_t *value, void *field)
{
  const struct tg_map_form *form = reader->option->form;
  if (!is_table(value)) {
    tg_problem(reader, 0, "expected a table of %ss by their names, got %s", form->what, tg_json_kind(value));
    return;
  }
  const char **names = sorted_names(value);
  for (size_t i = 0; names[i]; i++) {
    const json_t *member = json_object_get(value, names[i]);
    if (!json_is_null(member))
      read_entry(reader, names[i], member, field);
  }
  free(names);
}

/* ---- what has been read ---- */

json_t *tg_map_write(const struct tg_map_form *form, const void *field, enum tg_secrets secrets)
{
  json_t *object = json_object();
  for (int i = 0; i < *count_of(form, field); i++) {
    const void *entry = entry_at(form, field, i);
    json_t *members = json_object();
    for (size_t k = 0; k < form->option_count; k++)
      if (form->is_shown(entry, form->options[k].path))
        tg_schema_write_to(members, &form->options[k], entry,
                           secrets == TG_SECRETS_NAMED ? TG_SECRETS_MASKED : secrets);
    json_object_set_new(object, name_of(entry), members);
  }
  return object;
}

void tg_map_release(const struct tg_map_form *form, void *field)
{
  void *entries;
  for (int i = 0; i < *count_of(form, field); i++) {
    void *entry = entry_at(form, field, i);
    tg_schema_release(form->options, form->option_count, entry);
    free(*(char **)entry);
  }
  memcpy(&entries, field, sizeof entries);
  free(entries);
  entries = NULL;
  memcpy(field, &entries, sizeof entries);
  *count_of(form, field) = 0;
}

void tg_map_secrets(const struct tg_map_form *form, const void *field, struct tg_strings *secrets)
{
  for (int i = 0; i < *count_of(form, field); i++)
    tg_schema_secrets(form->options, form->option_count, entry_at(form, field, i), secrets);
}

static void *entry_named(const struct tg_map_form *form, const void *field, const char *name)
{
  for (int i = 0; i < *count_of(form, field); i++) {
    void *entry = entry_at(form, field, i);
    if (strcmp(name_of(entry), name) == 0)
      return entry;
  }
  return NULL;
}

bool tg_map_next(const struct tg_option *option, void *a, void *b, struct tg_map_pair *pair)
{
  const struct tg_map_form *form = option->form;
  const void *field_a = (char *)a + option->offset, *field_b = (char *)b + option->offset;
  free(pair->path);
  pair->path = NULL;
  while (pair->next < *count_of(form, field_a)) {
    pair->a = entry_at(form, field_a, pair->next++);
    pair->b = entry_named(form, field_b, name_of(pair->a));
    if (!pair->b)
      continue;
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s.%s.", option->path, name_of(pair->a));
    pair->path = tg_buf_take(&path);
    return true;
  }
  return false;
}
