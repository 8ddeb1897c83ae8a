#include "cli/cli.h"
#include "cli/ctl/command.h"
#include "cli/options.h"
#include "cli/topics.h"

#include "base/error.h"
#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char tg_cli_overview[] =
    "tidegate " TG_VERSION ": holds a bot's connections to Discord; the bot behind it restarts freely\n"
    "\n"
    "  tidegate run [SCRIPT]      the gateway; without a script the environment configures it\n"
    "  tidegate check [SCRIPT]    load without network and show configuration and overrides\n"
    "  tidegate ctl COMMAND       status, reload, shards, ... of the running gateway\n"
    "  tidegate plugin COMMAND    install, list, remove, new, pack: plugins\n"
    "  tidegate test [PATH...]    run specs of scripts (busted) inside tidegate's Lua\n"
    "  tidegate completion SHELL  what bash, zsh or fish needs to complete all of this\n"
    "  tidegate version           which one this is; --verbose: with its libraries\n"
    "  tidegate help [COMMAND|environment|files]\n"
    "\n"
    "Least that is needed:  DISCORD_TOKEN=... INTENTS=guilds,guild_messages \\\n"
    "                       EVENT_HANDLER_URL=http://127.0.0.1:8081 tidegate run\n"
    "\n"
    "Signals: SIGHUP reloads the script; SIGUSR2 upgrades; SIGTERM stops and keeps the sessions (the\n"
    "next start resumes them); SIGINT (Ctrl-C) stops and ends them.\n"
    "Exit codes: 0 fine, 1 failed, 64 usage, 69 Discord not reachable at start, 78 configuration,\n"
    "state directory unusable or in use, or refused by Discord (token, intents, shards).\n";

static void print_ctl(void)
{
  char *text = tg_ctl_help(NULL);
  fputs(text, stdout);
  free(text);
}

static const struct {
  const char *name, *text; /* or */
  void (*print)(void);
} pages[] = {
    {"run", TG_HELP_RUN, NULL},
    {"check", TG_HELP_CHECK, NULL},
    {"ctl", NULL, print_ctl},
    {"plugin", TG_HELP_PLUGIN, NULL},
    {"test", TG_HELP_TEST, NULL},
    {"completion", TG_HELP_COMPLETION, NULL},
    {"environment", NULL, tg_topic_environment},
    {"files", NULL, tg_topic_files},
    {"version", TG_HELP_VERSION, NULL},
    {"help", tg_cli_overview, NULL},
};

enum { PAGES = sizeof pages / sizeof *pages };

/* `help` has none of its own. */
static const struct tg_cli_option no_options[] = {{NULL, NULL, NULL}};

const char *tg_cli_meant(const char *word, char *text, size_t size)
{
  const char *names[PAGES];
  for (int i = 0; i < PAGES; i++)
    names[i] = pages[i].name;
  const char *meant = tg_suggest(word, names, PAGES);
  if (meant)
    snprintf(text, size, " (did you mean \"%s\"?)", meant);
  else
    *text = '\0';
  return text;
}

bool tg_cli_page(int index, const char **name, const char **text)
{
  if (index >= PAGES)
    return false;
  *name = pages[index].name;
  *text = pages[index].text == tg_cli_overview ? NULL : pages[index].text;
  return true;
}

/* `help ctl COMMAND`: as `ctl COMMAND --help`. */
static int help_of_ctl(const char *name)
{
  const struct tg_ctl_command *command = tg_ctl_command_find(name);
  if (!command) {
    fprintf(stderr, "tidegate help: ctl has no command \"%s\"; `tidegate help ctl` lists them\n", name);
    return TG_EXIT_USAGE;
  }
  char *text = tg_ctl_help(command);
  fputs(text, stdout);
  free(text);
  return TG_EXIT_OK;
}

int tg_cli_help(int argc, char **argv)
{
  const char *words[2] = {"help"};
  int exit_code;
  int count = tg_cli_options(argc, argv, no_options, tg_cli_overview, words, 2, &exit_code);
  if (count < 0)
    return exit_code;
  if (count == 2 && strcmp(words[0], "ctl") == 0)
    return help_of_ctl(words[1]);
  if (count == 2) {
    fprintf(stderr, "tidegate help: \"%s\" is one word too many\n", words[1]);
    return TG_EXIT_USAGE;
  }
  for (int i = 0; i < PAGES; i++) {
    if (strcmp(pages[i].name, words[0]) != 0)
      continue;
    if (pages[i].print)
      pages[i].print();
    else
      fputs(pages[i].text, stdout);
    return TG_EXIT_OK;
  }
  char meant[80];
  fprintf(stderr, "tidegate help: there is no page for \"%s\"%s; `tidegate help` lists them\n", words[0],
          tg_cli_meant(words[0], meant, sizeof meant));
  return TG_EXIT_USAGE;
}
