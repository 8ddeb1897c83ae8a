#pragma once

/* Command line words: "--name", "--name VALUE" and paths. */

#include <stdbool.h>

#define TG_HELP_RUN                                                                                          \
  "tidegate run [--watch] [SCRIPT]\n"                                                                        \
  "\n"                                                                                                       \
  "Runs the gateway in the foreground. SCRIPT is a Lua file; without one the environment\n"                  \
  "variables configure everything (DISCORD_TOKEN, INTENTS, EVENT_HANDLER_URL, ...).\n"                       \
  "\n"                                                                                                       \
  "  --watch     reload the script whenever it, or a module that it requires, changes\n"                     \
  "\n"                                                                                                       \
  "SIGHUP reloads, SIGTERM stops and keeps the sessions, SIGINT stops and ends them.\n"
#define TG_HELP_CHECK                                                                                        \
  "tidegate check [--json] [SCRIPT]\n"                                                                       \
  "\n"                                                                                                       \
  "Loads SCRIPT in both roles without network and shows the configuration (secrets masked),\n"               \
  "overridden methods, filters, handlers and search paths. Exit code 0: it would run.\n"                     \
  "\n"                                                                                                       \
  "  --json      one JSON object instead of text\n"
#define TG_HELP_TEST                                                                                         \
  "tidegate test [PATH...] [busted's options]\n"                                                             \
  "\n"                                                                                                       \
  "Runs busted specs (default: spec) with the test kit: require \"tidegate.test\" loads a script\n"          \
  "without network, feeds it events and shows what it filtered, sent and called.\n"                          \
  "\n"                                                                                                       \
  "  --filter=PATTERN    only tests whose names match\n"                                                     \
  "  -o TAP              another form of report\n"                                                           \
  "\n"                                                                                                       \
  "The manual of scripts (lua/README.md) has an example under \"Testing your script\".\n"

#define TG_HELP_COMPLETION                                                                                   \
  "tidegate completion SHELL\n"                                                                              \
  "\n"                                                                                                       \
  "Writes what a shell needs to complete the commands and options of tidegate. The package has\n"            \
  "it installed; without that:\n"                                                                            \
  "\n"                                                                                                       \
  "  bash      source <(tidegate completion bash), in ~/.bashrc\n"                                           \
  "  zsh       source <(tidegate completion zsh), in ~/.zshrc, behind compinit\n"                            \
  "  fish      tidegate completion fish | source, in ~/.config/fish/config.fish\n"

#define TG_HELP_VERSION                                                                                      \
  "tidegate version [--verbose]\n"                                                                           \
  "\n"                                                                                                       \
  "Which version of tidegate this is. A gateway that runs may be of another one, until it starts\n"          \
  "again: `tidegate ctl status` tells that.\n"                                                               \
  "\n"                                                                                                       \
  "  --verbose   with those of its libraries as they are loaded, compiler and kernel: for bug reports\n"

#define TG_HELP_PLUGIN                                                                                       \
  "tidegate plugin COMMAND\n"                                                                                \
  "\n"                                                                                                       \
  "Plugins are rocks: drop-bots is the rock tidegate-plugin-drop-bots. Prints the luarocks line\n"           \
  "that it runs, and ends with its exit code.\n"                                                             \
  "\n"                                                                                                       \
  "  install NAME [VERSION]  from the servers of luarocks\n"                                                 \
  "  install FILE.rock       from a file; no network is asked for what it depends on\n"                      \
  "  list [SCRIPT]           what is installed, and what those do that SCRIPT loads\n"                       \
  "  remove NAME [VERSION]   from the tree\n"                                                                \
  "  new NAME                write a plugin to start from, into tidegate-plugin-NAME\n"                      \
  "  pack                    in a plugin's folder: make its .rock, for others to install\n"                  \
  "\n"                                                                                                       \
  "  --tree DIR              not rocks in the state directory\n"                                             \
  "  --only-server DIR       install from a folder (or URL) of rocks, and from nowhere else\n"               \
  "  --json                  list: one JSON object instead of text\n"                                        \
  "\n"                                                                                                       \
  "The state directory is that of the environment; for root, where a service has one,\n"                     \
  "/var/lib/tidegate. LuaRocks is needed to install, not to run.\n"

struct tg_cli_option {
  const char *name;   /* "--watch" */
  bool *flag;         /* set to true; or */
  const char **value; /* takes the next word */
};

/* Reads options and at most `max_words` other words into words[]. The list of
 * options ends with a NULL name. "--" ends the options; "-" is a word;
 * "--help" prints `help`. Returns the number of words, or -1 when the command is over and *exit_code
 * says how. */
int tg_cli_options(int argc, char **argv, const struct tg_cli_option *options, const char *help,
                   const char **words, int max_words, int *exit_code);
