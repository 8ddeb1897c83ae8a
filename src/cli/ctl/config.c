/* `tidegate ctl config`: the configuration that runs, and where each value comes from. */

#include "cli/config_text.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"
#include "cli/table.h"

#include "base/buf.h"
#include "config/config.h"
#include "config/config_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ask(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *key = ctl->words[0];
  struct tg_buf path = {0};
  if (key && (!*key || key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_-.")]))
    return tg_fail(error, "usage", "config: no key is called \"%s\"", key);
  tg_buf_printf(&path, "/config%s%s", key ? "?key=" : "", key ? key : "");
  ask->path = tg_buf_take(&path);
  return true;
}

static const struct tg_option *find(const struct tg_option *options, size_t count, const char *path)
{
  for (size_t i = 0; i < count; i++)
    if (strcmp(options[i].path, path) == 0)
      return &options[i];
  return NULL;
}

/* Of "sinks.copy.queue.sync" that of a sink's queue.sync. NULL: this program does not know it. */
static const struct tg_option *option_of(const char *key)
{
  static const char sinks[] = "sinks.";
  const char *of_sink = strncmp(key, sinks, strlen(sinks)) == 0 ? strchr(key + strlen(sinks), '.') : NULL;
  if (of_sink)
    return find(tg_sink_options, tg_sink_option_count, of_sink + 1);
  return find(tg_config_options, tg_config_option_count, key);
}

static char *value_text(const json_t *row)
{
  const struct tg_option *option = option_of(tg_figure_text(row, "key"));
  const json_t *value = json_object_get(row, "value");
  struct tg_buf text = {0};
  if (json_is_null(value))
    tg_buf_puts(&text, "-");
  else if (option)
    tg_config_text(option, value, &text);
  else if (json_is_string(value))
    tg_buf_puts(&text, json_string_value(value));
  else {
    char *json = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    tg_buf_puts(&text, json ? json : "-");
    free(json);
  }
  return tg_buf_take(&text);
}

/* "script", "LOG_LEVEL", "DISCORD_TOKEN_FILE: /run/secrets/token" */
static char *source_text(const json_t *row)
{
  const char *variable = json_string_value(json_object_get(row, "variable"));
  const char *file = json_string_value(json_object_get(row, "file"));
  struct tg_buf text = {0};
  tg_buf_puts(&text, variable ? variable : tg_figure_text(row, "from"));
  if (file)
    tg_buf_printf(&text, ": %s", file);
  return tg_buf_take(&text);
}

static void show(const json_t *answer)
{
  struct tg_table table = {0};
  const char *script = json_string_value(json_object_get(answer, "script"));
  const json_t *waiting = json_object_get(answer, "needsRestart"), *each;
  fputs(script ? "script " : "no script", stdout);
  if (script)
    tg_put_safe(script);
  printf(", generation %s\n\n", tg_figure_count(answer, "generation"));
  tg_table_column(&table, "Key", false);
  tg_table_column(&table, "From", false);
  tg_table_column(&table, "Value", false);
  for (size_t i = 0; (each = json_array_get(json_object_get(answer, "values"), i)); i++) {
    bool usual = strcmp(tg_figure_text(each, "from"), "default") == 0;
    enum tg_colour colour = usual ? TG_DIM : TG_PLAIN;
    char *value = value_text(each), *source = source_text(each);
    tg_table_cell(&table, usual ? TG_DIM : TG_BOLD, "%s", tg_figure_text(each, "key"));
    tg_table_cell(&table, colour, "%s", source);
    tg_table_cell(&table, colour, "%s", value);
    free(value);
    free(source);
  }
  tg_table_print(&table, stdout);
  for (size_t i = 0; (each = json_array_get(waiting, i)); i++) {
    fputs(i == 0 ? "\nThe last reload has changed what needs a restart: " : ", ", stdout);
    tg_put_safe(json_is_string(each) ? json_string_value(each) : "?");
  }
  if (json_array_size(waiting) > 0)
    putchar('\n');
}

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .usage = "[KEY]",
        .line = "of one key, as queue.sync, or of all that begin so, as queue; without it: all",
        .words = tg_config_keys,
        .most = 1,
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .ask = ask,
        .show = show,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_config = {
    .name = "config",
    .line = "the configuration that runs, and where each value comes from",
    .page = "From: the script, the environment variable of that name (and the file that it leads to), or\n"
            "default. Secrets are \"***\", and URLs stand without users, passwords and queries.\n",
    .actions = actions,
};
