#include "cli/completion.h"
#include "cli/cli.h"
#include "cli/ctl/command.h"
#include "cli/options.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

static bool is_known(const struct tg_completions *all, const char *at, const char *word)
{
  for (size_t i = 0; i < all->count; i++)
    if (strcmp(all->items[i].at, at) == 0 && strcmp(all->items[i].word, word) == 0)
      return true;
  return false;
}

static void add(struct tg_completions *all, const char *at, const char *word, const char *line, bool value,
                const char *values)
{
  if (is_known(all, at, word))
    return;
  all->items = tg_realloc(all->items, (all->count + 1) * sizeof *all->items);
  all->items[all->count++] = (struct tg_completion){.at = tg_strdup(at),
                                                    .word = tg_strdup(word),
                                                    .line = tg_strdup(line),
                                                    .value = value,
                                                    .values = values ? tg_strdup(values) : NULL};
}

static void free_all(struct tg_completions *all)
{
  for (size_t i = 0; i < all->count; i++) {
    struct tg_completion *each = &all->items[i];
    free(each->at);
    free(each->word);
    free(each->line);
    free(each->values);
  }
  free(all->items);
}

bool tg_completion_takes_files(const char *at)
{
  static const char *const places[] = {" run", " check", " test", " plugin"};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (strcmp(places[i], at) == 0)
      return true;
  return false;
}

bool tg_completion_has_words(const struct tg_completions *all, const char *at)
{
  for (size_t i = 0; i < all->count; i++)
    if (strcmp(all->items[i].at, at) == 0 && *all->items[i].word != '-')
      return true;
  return false;
}

static bool is_first_of_place(const struct tg_completions *all, size_t index)
{
  for (size_t i = 0; i < index; i++)
    if (strcmp(all->items[i].at, all->items[index].at) == 0)
      return false;
  return true;
}

const char *tg_completion_place(const struct tg_completions *all, size_t *next)
{
  while (*next < all->count) {
    size_t index = (*next)++;
    if (is_first_of_place(all, index))
      return all->items[index].at;
  }
  return NULL;
}

/* ---- out of help texts ---- */

/* One name of an item: "--tree" with "DIR" behind it, "--filter=PATTERN", "install". */
static void add_name(struct tg_completions *all, const char *at, const char *name, size_t length,
                     const char *line)
{
  const char *equals = memchr(name, '=', length), *blank = memchr(name, ' ', length);
  size_t end = equals ? (size_t)(equals + 1 - name) : blank ? (size_t)(blank - name) : length;
  char *word = tg_strndup(name, end);
  bool is_option = *word == '-';
  if (is_option || strspn(word, "abcdefghijklmnopqrstuvwxyz-") == end)
    add(all, at, word, line, is_option && blank, NULL);
  free(word);
}

/* "  --json, --table   what it does" */
static void add_item(struct tg_completions *all, const char *at, const char *item, size_t length)
{
  const char *gap = memmem(item, length, "  ", 2);
  size_t names = gap ? (size_t)(gap - item) : length;
  const char *what = gap ? gap + strspn(gap, " ") : item + length;
  char *line = tg_strndup(what, (size_t)(item + length - what));
  for (size_t from = 0; from < names;) {
    const char *comma = memmem(item + from, names - from, ", ", 2);
    size_t to = comma ? (size_t)(comma - item) : names;
    add_name(all, at, item + from, to - from, line);
    from = comma ? to + 2 : names;
  }
  free(line);
}

/* `begin`: what each item has in front, which is left out. */
static void add_text(struct tg_completions *all, const char *at, const char *text, const char *begin)
{
  for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
    size_t length = strcspn(text, "\n"), skipped = strlen(begin);
    if (length > skipped + 1 && strncmp(text, begin, skipped) == 0 && text[skipped] != ' ')
      add_item(all, at, text + skipped, length - skipped);
  }
}

/* ---- of ctl ---- */

static void add_values(struct tg_completions *all, const char *at, const char *values)
{
  while (values && *values) {
    size_t length = strcspn(values, "|");
    char *word = tg_strndup(values, length);
    add(all, at, word, "", false, NULL);
    free(word);
    values += length + (values[length] == '|');
  }
}

static void add_options(struct tg_completions *all, const char *at, const struct tg_ctl_option *options)
{
  for (; options && options->name; options++)
    add(all, at, options->name, options->line, options->value, options->values);
}

static void add_action(struct tg_completions *all, const struct tg_ctl_command *command,
                       const struct tg_ctl_action *action)
{
  struct tg_buf place = {0};
  tg_buf_printf(&place, " ctl %s", command->name);
  if (*action->name) {
    add(all, place.data, action->name, action->line ? action->line : "", false, NULL);
    tg_buf_printf(&place, " %s", action->name);
  }
  char *at = tg_buf_take(&place);
  add_values(all, at, action->values);
  for (const char *const *word = action->words; word && *word; word++)
    add(all, at, *word, "", false, NULL);
  add_options(all, at, action->options);
  add_options(all, at, tg_ctl_common_options);
  add(all, at, "--help", "what it does, and its options", false, NULL);
  free(at);
}

static void add_ctl(struct tg_completions *all)
{
  for (int i = 0; tg_ctl_commands[i]; i++) {
    const struct tg_ctl_command *command = tg_ctl_commands[i];
    add(all, " ctl", command->name, command->line, false, NULL);
    add(all, " help ctl", command->name, command->line, false, NULL);
    for (const struct tg_ctl_action *action = command->actions; action->name; action++)
      add_action(all, command, action);
  }
  add_options(all, " ctl", tg_ctl_common_options);
}

/* ---- all of it ---- */

static struct tg_completions collect(void)
{
  struct tg_completions all = {0};
  const char *name, *text;
  add_text(&all, "", tg_cli_overview, "  tidegate ");
  for (int i = 0; tg_cli_page(i, &name, &text); i++) {
    struct tg_buf at = {0};
    tg_buf_printf(&at, " %s", name);
    add(&all, " help", name, "", false, NULL);
    if (text)
      add_text(&all, at.data, text, "  ");
    if (is_known(&all, "", name))
      add(&all, at.data, "--help", "what it does, and its options", false, NULL);
    tg_buf_free(&at);
  }
  add_ctl(&all);
  return all;
}

int tg_cli_completion(int argc, char **argv)
{
  static const struct tg_cli_option no_options[] = {{NULL, NULL, NULL}};
  static const struct {
    const char *name;
    void (*write)(const struct tg_completions *all, struct tg_buf *out);
  } shells[] = {{"bash", tg_completion_bash}, {"zsh", tg_completion_zsh}, {"fish", tg_completion_fish}};
  const char *word = "";
  int exit_code;
  if (tg_cli_options(argc, argv, no_options, TG_HELP_COMPLETION, &word, 1, &exit_code) < 0)
    return exit_code;
  for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
    if (strcmp(shells[i].name, word) != 0)
      continue;
    struct tg_completions all = collect();
    struct tg_buf out = {0};
    shells[i].write(&all, &out);
    char *script = tg_buf_take(&out);
    fputs(script, stdout);
    free(script);
    free_all(&all);
    return TG_EXIT_OK;
  }
  fprintf(stderr, "tidegate completion: expected bash, zsh or fish, got \"%s\"\n\n%s", word,
          TG_HELP_COMPLETION);
  return TG_EXIT_USAGE;
}
