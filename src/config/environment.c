#include "config/environment.h"

#include "base/buf.h"
#include "config/config_options.h"
#include "config/plugin_values.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static json_t *the_hidden;

/* https_proxy, ALL_PROXY, ... */
static bool is_proxy(const char *name)
{
  static const char end[] = "_proxy";
  size_t length = strlen(name), end_length = strlen(end);
  return length > end_length && strcasecmp(name + length - end_length, end) == 0;
}

static bool is_secret(const char *name, const char *value)
{
  bool has_login = strchr(value, '@') != NULL;
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    if (option->env && strcmp(option->env, name) == 0)
      return option->secret || (option->url && has_login);
  }
  return tg_is_plugin_variable(name) || (has_login && is_proxy(name));
}

/* "NAME=value". What JSON cannot carry to another process stays: it is no text
 * that a secret of ours could be. */
static bool hide(char *entry)
{
  size_t length = strcspn(entry, "=");
  char *value = entry[length] ? entry + length + 1 : entry + length;
  char *name = tg_strndup(entry, length);
  json_t *text = *value && is_secret(name, value) ? json_string(value) : NULL;
  if (text && !the_hidden)
    the_hidden = json_object();
  if (text && !json_object_get(the_hidden, name)) /* of two, getenv() finds the first */
    json_object_set(the_hidden, name, text);
  if (text)
    explicit_bzero(value, strlen(value));
  free(name);
  json_decref(text);
  return text != NULL;
}

void tg_environment_hide(void)
{
  char **kept = environ;
  for (char **entry = environ; entry && *entry; entry++) {
    if (!hide(*entry))
      *kept++ = *entry;
  }
  if (kept)
    *kept = NULL;
}

const char *tg_environment(const char *name)
{
  const char *hidden = json_string_value(json_object_get(the_hidden, name));
  return hidden ? hidden : getenv(name);
}

json_t *tg_environment_hidden(void) { return the_hidden; }

void tg_environment_give(json_t *hidden)
{
  if (!the_hidden)
    the_hidden = json_object();
  json_object_update(the_hidden, hidden);
}
