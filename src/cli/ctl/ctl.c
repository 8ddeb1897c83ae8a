/* tidegate ctl: asks, or tells, the running gateway over its control API. Which command is meant, and
 * whether its words and options fit. */

#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"

#include "cli/advice.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/table.h"

#include "base/buf.h"
#include "base/suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 40 };

/* An option of any command. */
struct tg_ctl_given {
  const struct tg_ctl_option *option; /* NULL ends the list */
  bool flag;
  const char *value;
};

/* ---- options ---- */

static struct tg_ctl_given *find_given(struct tg_ctl_given *given, const char *name)
{
  for (; given->option; given++)
    if (strcmp(given->option->name, name) == 0)
      return given;
  return NULL;
}

bool tg_ctl_has(const struct tg_ctl *ctl, const char *option)
{
  for (const struct tg_ctl_given *given = ctl->given; given->option; given++)
    if (strcmp(given->option->name, option) == 0)
      return given->flag || given->value;
  return false;
}

const char *tg_ctl_value(const struct tg_ctl *ctl, const char *option)
{
  for (const struct tg_ctl_given *given = ctl->given; given->option; given++)
    if (strcmp(given->option->name, option) == 0)
      return given->value;
  return NULL;
}

/* An option may stand before the command: those of all are known, each name once. */
static void collect(struct tg_ctl_given *given, int *count, const struct tg_ctl_option *options)
{
  for (; options && options->name; options++)
    if (*count < TG_CTL_OPTIONS_MAX && !find_given(given, options->name))
      given[(*count)++].option = options;
}

static bool is_option_of(const struct tg_ctl_option *options, const char *name)
{
  for (; options && options->name; options++)
    if (strcmp(options->name, name) == 0)
      return true;
  return false;
}

/* ---- misuse ---- */

static int __attribute__((format(printf, 2, 3)))
misuse(const struct tg_ctl_command *command, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  fputs("tidegate ctl: ", stderr);
  vfprintf(stderr, format, args);
  va_end(args);
  char *help = tg_ctl_help(command);
  fprintf(stderr, "\n\n%s", help);
  free(help);
  return TG_EXIT_USAGE;
}

static int no_command(const char *name)
{
  const char *names[NAMES_MAX];
  size_t count = 0;
  for (; tg_ctl_commands[count] && count < NAMES_MAX; count++)
    names[count] = tg_ctl_commands[count]->name;
  const char *meant = tg_suggest(name, names, count);
  return meant ? misuse(NULL, "there is no command \"%s\" (did you mean %s?)", name, meant)
               : misuse(NULL, "there is no command \"%s\"", name);
}

/* A word where none is taken, or not this one. */
static int no_action(const struct tg_ctl_command *command, const char *word)
{
  const char *names[NAMES_MAX];
  size_t count = 0;
  for (const struct tg_ctl_action *action = command->actions; action->name && count < NAMES_MAX; action++)
    if (*action->name)
      names[count++] = action->name;
  const char *meant = tg_suggest(word, names, count);
  if (meant)
    return misuse(command, "%s has no \"%s\" (did you mean %s?)", command->name, word, meant);
  return misuse(command, "\"%s\" is one word too many", word);
}

/* "queue forget" */
static const char *name_of(const struct tg_ctl *ctl, char *text, size_t size)
{
  bool named = *ctl->action->name != '\0';
  snprintf(text, size, "%s%s%s", ctl->command->name, named ? " " : "", ctl->action->name);
  return text;
}

/* ---- what is meant ---- */

/* By the first word; else of those without a name the one that takes so many words, or the last of them; else
 * NULL. */
static const struct tg_ctl_action *choose_action(const struct tg_ctl_command *command, const char **words,
                                                 int count)
{
  const struct tg_ctl_action *other = NULL;
  bool fits = false;
  for (const struct tg_ctl_action *action = command->actions; action->name; action++) {
    if (count > 0 && *words[0] && strcmp(action->name, words[0]) == 0)
      return action;
    if (*action->name || fits)
      continue;
    other = action;
    fits = count >= action->least && count <= action->most;
  }
  return other;
}

/* False: *exit_code says how it ends. */
static bool take_words(struct tg_ctl *ctl, const char **words, int count, int *exit_code)
{
  if (count == 0)
    return *exit_code = misuse(NULL, "a command is missing"), false;
  const struct tg_ctl_command *command = tg_ctl_command_find(words[0]);
  if (!command)
    return *exit_code = no_command(words[0]), false;
  ctl->command = command;
  ctl->action = choose_action(command, words + 1, count - 1);
  if (!ctl->action)
    return *exit_code = words[1] ? no_action(command, words[1])
                                 : misuse(command, "%s needs a word that says what to do", command->name),
           false;
  int names = *ctl->action->name ? 2 : 1;
  char name[64];
  ctl->word_count = count - names;
  memcpy(ctl->words, words + names, (size_t)(ctl->word_count + 1) * sizeof *words);
  if (ctl->word_count < ctl->action->least)
    *exit_code = misuse(command, "%s needs %s", name_of(ctl, name, sizeof name), ctl->action->usage);
  else if (ctl->word_count > ctl->action->most)
    *exit_code = no_action(command, ctl->words[ctl->action->most]);
  else
    return true;
  return false;
}

static bool take_options(struct tg_ctl *ctl, int *exit_code)
{
  char name[64];
  for (const struct tg_ctl_given *given = ctl->given; given->option; given++)
    if ((given->flag || given->value) && !is_option_of(tg_ctl_common_options, given->option->name) &&
        !is_option_of(ctl->action->options, given->option->name))
      return *exit_code =
                 misuse(ctl->command, "%s has no %s", name_of(ctl, name, sizeof name), given->option->name),
             false;
  const char *timeout = tg_ctl_value(ctl, "--timeout");
  ctl->as_json = tg_ctl_has(ctl, "--json");
  ctl->as_table = tg_ctl_has(ctl, "--table");
  ctl->timeout = timeout ? atoi(timeout) : 0;
  if (ctl->as_json && ctl->as_table)
    *exit_code = misuse(ctl->command, "--json or --table, not both");
  else if (timeout && (!tg_ctl_is_number(timeout, 9) || ctl->timeout == 0))
    *exit_code = misuse(ctl->command, "--timeout takes milliseconds, not \"%s\"", timeout);
  else
    return true;
  return false;
}

bool tg_ctl_is_number(const char *text, size_t max_digits)
{
  size_t digits = strspn(text, "0123456789");
  return digits > 0 && digits <= max_digits && text[digits] == '\0';
}

/* ---- all of it ---- */

static int run(struct tg_ctl *ctl)
{
  struct tg_error error = {0};
  const struct tg_ctl_action *action = ctl->action;
  struct tg_ctl_ask ask = {.method = action->method, .path = action->path ? tg_strdup(action->path) : NULL};
  int exit_code = TG_EXIT_USAGE;
  ctl->client = tg_ctl_client_new(&error);
  if (!ctl->client || (action->ask && !action->ask(ctl, &ask, &error)))
    tg_ctl_complain(&error, NULL);
  else
    exit_code = action->run ? (int)action->run(ctl, &ask) : (int)tg_ctl_ask_and_show(ctl, &ask);
  free(ask.path);
  free(ask.body);
  tg_ctl_client_free(ctl->client);
  return exit_code;
}

/* The command that stands among the words, for its page. */
static const struct tg_ctl_command *mentioned(int argc, char **argv)
{
  const struct tg_ctl_command *command = NULL;
  for (int i = 1; i < argc && !command; i++)
    command = tg_ctl_command_find(argv[i]);
  return command;
}

int tg_cli_ctl(int argc, char **argv)
{
  struct tg_ctl_given given[TG_CTL_OPTIONS_MAX + 1] = {0};
  struct tg_cli_option options[TG_CTL_OPTIONS_MAX + 1] = {0};
  const char *words[TG_CTL_WORDS_MAX + 1] = {0};
  struct tg_ctl ctl = {.given = given};
  int exit_code, option_count = 0;
  collect(given, &option_count, tg_ctl_common_options);
  for (int i = 0; tg_ctl_commands[i]; i++)
    for (const struct tg_ctl_action *action = tg_ctl_commands[i]->actions; action->name; action++)
      collect(given, &option_count, action->options);
  for (int i = 0; i < option_count; i++)
    options[i] = given[i].option->value ? (struct tg_cli_option){given[i].option->name, NULL, &given[i].value}
                                        : (struct tg_cli_option){given[i].option->name, &given[i].flag, NULL};
  char *help = tg_ctl_help(mentioned(argc, argv));
  int count = tg_cli_options(argc, argv, options, help, words, TG_CTL_WORDS_MAX, &exit_code);
  free(help);
  if (count < 0 || !take_words(&ctl, words, count, &exit_code) || !take_options(&ctl, &exit_code))
    return exit_code;
  tg_table_set_colours(tg_ctl_colours());
  exit_code = run(&ctl);
  if (exit_code == TG_EXIT_UNAVAILABLE || exit_code == TG_EXIT_NO_PERMISSION)
    tg_advice_print("tidegate ctl");
  return exit_code;
}
