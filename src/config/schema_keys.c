/* Keys that no option has: most are misspelt, so each is answered with the one
 * that was meant. */

#include "config/schema_keys.h"
#include "base/buf.h"
#include "base/suggest.h"
#include "config/cluster_rules.h"
#include "config/schema.h"

#include <stdlib.h>
#include <string.h>

struct walk {
  const char *base; /* of all paths */
  const struct tg_option *options;
  size_t count;
  struct tg_problems *problems;
};

static bool is_option(const struct walk *walk, const char *path)
{
  for (size_t i = 0; i < walk->count; i++) {
    if (strcmp(walk->options[i].path, path) == 0)
      return true;
  }
  return false;
}

static bool is_group(const struct walk *walk, const char *path)
{
  size_t length = strlen(path);
  for (size_t i = 0; i < walk->count; i++) {
    if (strncmp(walk->options[i].path, path, length) == 0 && walk->options[i].path[length] == '.')
      return true;
  }
  return false;
}

/* The path of the sibling whose name is most like `key`; the caller frees it. */
static char *suggest_sibling(const struct walk *walk, const char *prefix, const char *key)
{
  char **names = tg_calloc(walk->count, sizeof *names);
  size_t count = 0, prefix_length = strlen(prefix);
  for (size_t i = 0; i < walk->count; i++) {
    const char *path = walk->options[i].path;
    if (strncmp(path, prefix, prefix_length) == 0)
      names[count++] = tg_strndup(path + prefix_length, strcspn(path + prefix_length, "."));
  }
  const char *name = tg_suggest(key, (const char *const *)names, count);
  struct tg_buf path = {0};
  if (name)
    tg_buf_printf(&path, "%s%s", prefix, name);
  for (size_t i = 0; i < count; i++)
    free(names[i]);
  free(names);
  return path.length ? tg_buf_take(&path) : NULL;
}

/* The option of another table that has this name. */
static const char *suggest_elsewhere(const struct walk *walk, const char *key)
{
  for (size_t i = 0; i < walk->count; i++) {
    const char *path = walk->options[i].path;
    const char *dot = strrchr(path, '.');
    if (dot && strcmp(dot + 1, key) == 0)
      return path;
  }
  return NULL;
}

static void report(const struct walk *walk, const char *prefix, const char *key)
{
  const char *dot = strchr(key, '.'), *instead = *walk->base || *prefix ? NULL : tg_cluster_instead_of(key);
  if (instead) {
    tg_problem_add(walk->problems, "%s: %s", key, instead);
    return;
  }
  if (is_option(walk, key) && dot) {
    tg_problem_add(walk->problems, "%s%s%s: unknown key; write a table inside a table: %.*s = { %s = ... }",
                   walk->base, prefix, key, (int)(dot - key), key, dot + 1);
    return;
  }
  if (is_option(walk, key)) {
    if (*walk->base)
      tg_problem_add(walk->problems, "%s%s%s: unknown key; did you mean %s%s?", walk->base, prefix, key,
                     walk->base, key);
    else
      tg_problem_add(walk->problems, "%s%s: unknown key; %s belongs at the top level", prefix, key, key);
    return;
  }
  char *sibling = suggest_sibling(walk, prefix, key);
  const char *meant = sibling ? sibling : suggest_elsewhere(walk, key);
  if (meant)
    tg_problem_add(walk->problems, "%s%s%.80s: unknown key; did you mean %s%s?", walk->base, prefix, key,
                   walk->base, meant);
  else
    tg_problem_add(walk->problems, "%s%s%.80s: unknown key", walk->base, prefix, key);
  free(sibling);
}

static void walk_table(const struct walk *walk, const json_t *table, const char *prefix)
{
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)table, key, value)
  {
    struct tg_buf joined = {0};
    tg_buf_printf(&joined, "%s%s", prefix, key);
    char *path = tg_buf_take(&joined);
    bool has_dot = strchr(key, '.') != NULL;
    bool empty_list = json_is_array(value) && json_array_size(value) == 0;
    if (!has_dot && is_group(walk, path)) {
      if (json_is_object(value)) {
        tg_buf_printf(&joined, "%s.", path);
        char *inner = tg_buf_take(&joined);
        walk_table(walk, value, inner);
        free(inner);
      } else if (!empty_list && !json_is_null(value)) {
        tg_problem_add(walk->problems, "%s%s: expected a table, got %s", walk->base, path,
                       tg_json_kind(value));
      }
    } else if (has_dot || !is_option(walk, path)) {
      report(walk, prefix, key);
    }
    free(path);
  }
}

void tg_schema_unknown_keys(const char *prefix, const struct tg_option *options, size_t count,
                            const json_t *given, struct tg_problems *problems)
{
  struct walk walk = {prefix, options, count, problems};
  bool empty_list = json_is_array(given) && json_array_size(given) == 0;
  if (json_is_object(given))
    walk_table(&walk, given, "");
  else if (given && !json_is_null(given) && !empty_list)
    tg_problem_add(problems, "expected a table of options, got %s", tg_json_kind(given));
}
