#include "cli/cli.h"
#include "cli/luarocks.h"
#include "cli/options.h"
#include "cli/plugin_list.h"
#include "cli/plugin_new.h"
#include "cli/plugin_pack.h"
#include "cli/process.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/suggest.h"
#include "config/config.h"
#include "config/environment.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char prefix[] = "tidegate-plugin-", service_state[] = "/var/lib/tidegate";

struct plugin_request {
  const char *words[3]; /* of the command, its name first; NULL where there is none */
  const char *tree, *only_server;
  bool as_json;
};

static int __attribute__((format(printf, 1, 2))) misuse(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  fputs("tidegate plugin: ", stderr);
  vfprintf(stderr, format, args);
  va_end(args);
  fputs("\n\n" TG_HELP_PLUGIN, stderr);
  return TG_EXIT_USAGE;
}

/* ---- names ---- */

static bool is_name(const char *word)
{
  return islower((unsigned char)*word) && word[strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* A rock's name is a plugin's, too. */
static const char *plugin_name(const char *word)
{
  return strncmp(word, prefix, strlen(prefix)) == 0 ? word + strlen(prefix) : word;
}

static int bad_name(const char *word)
{
  return misuse("\"%s\" is no name of a plugin: lower-case letters, digits and dashes, a letter first", word);
}

static bool is_version(const char *word)
{
  return isalnum((unsigned char)*word) &&
         word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+_-")] == '\0';
}

static bool is_rock_file(const char *word)
{
  size_t length = strlen(word), end = strlen(".rock");
  return length > end && strcmp(word + length - end, ".rock") == 0;
}

/* ---- the tree ---- */

/* Root installs for the service, whose environment is not that of root's shell. */
static void take_state_of_service(void)
{
  bool told = tg_environment("TIDEGATE_STATE_DIR") || tg_environment("STATE_DIRECTORY");
  struct stat status;
  if (geteuid() == 0 && !told && stat(service_state, &status) == 0 && S_ISDIR(status.st_mode))
    setenv("TIDEGATE_STATE_DIR", service_state, 1);
}

static void begin(struct tg_luarocks *line, const struct plugin_request *request)
{
  if (request->tree) {
    tg_luarocks_begin(line, request->tree);
    return;
  }
  struct tg_buf joined = {0};
  char *state = tg_config_state_dir(tg_environment);
  tg_buf_printf(&joined, "%s/rocks", state);
  char *tree = tg_buf_take(&joined);
  tg_luarocks_begin(line, tree);
  free(tree);
  free(state);
}

/* ---- the commands ---- */

/* What a file depends on has to be in the tree or beside it: whoever installs
 * from a file is asked for no network. */
static int install_file(const struct plugin_request *request)
{
  const char *file = request->words[1], *slash = strrchr(file, '/');
  if (request->words[2])
    return misuse("a file has one version: \"%s\" is one word too many", request->words[2]);
  if (access(file, R_OK) != 0) {
    fprintf(stderr, "tidegate plugin: %s cannot be read, or is not there\n", file);
    return TG_EXIT_FAILED;
  }
  struct tg_luarocks line;
  begin(&line, request);
  if (request->only_server)
    tg_luarocks_word(&line, "--only-server=%s", request->only_server);
  else
    tg_luarocks_word(&line, "--only-server=%.*s", slash ? (int)(slash - file) + 1 : 2, slash ? file : "./");
  tg_luarocks_word(&line, "install");
  tg_luarocks_word(&line, "%s%s", *file == '-' ? "./" : "", file);
  return tg_luarocks_run(&line);
}

/* install and remove of a name */
static int run_named(const struct plugin_request *request)
{
  const char *name = plugin_name(request->words[1]), *version = request->words[2];
  if (!is_name(name))
    return bad_name(request->words[1]);
  if (version && !is_version(version))
    return misuse("\"%s\" is no version, like 1.2.0 or 1.2.0-1", version);
  struct tg_luarocks line;
  begin(&line, request);
  if (request->only_server)
    tg_luarocks_word(&line, "--only-server=%s", request->only_server);
  tg_luarocks_word(&line, "%s", request->words[0]);
  tg_luarocks_word(&line, "%s%s", prefix, name);
  if (version)
    tg_luarocks_word(&line, "%s", version);
  return tg_luarocks_run(&line);
}

/* What root installs is for the service's user to read, too. */
static int install(const struct plugin_request *request)
{
  if (geteuid() == 0)
    umask(022);
  return is_rock_file(request->words[1]) ? install_file(request) : run_named(request);
}

static int list(const struct plugin_request *request)
{
  return tg_plugin_list(request->words[1], request->tree, request->as_json);
}

static int make_new(const struct plugin_request *request)
{
  const char *name = plugin_name(request->words[1]);
  return is_name(name) ? tg_plugin_new(name) : bad_name(request->words[1]);
}

static int pack(const struct plugin_request *request)
{
  (void)request;
  return tg_plugin_pack();
}

enum { TREE = 1, SERVER = 2, JSON = 4 };

static const struct plugin_command {
  const char *name;
  int least, most; /* words behind the name */
  const char *wanted;
  int options;
  int (*run)(const struct plugin_request *request);
} commands[] = {
    {"install", 1, 2, "the NAME of a plugin, or a FILE.rock", TREE | SERVER, install},
    {"list", 0, 1, "", TREE | JSON, list},
    {"remove", 1, 2, "the NAME of a plugin", TREE, run_named},
    {"new", 1, 1, "a NAME", 0, make_new},
    {"pack", 0, 0, "", 0, pack},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int no_command(const char *name)
{
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++)
    names[i] = commands[i].name;
  const char *meant = tg_suggest(name, names, COMMANDS);
  return meant ? misuse("there is no command \"%s\" (did you mean %s?)", name, meant)
               : misuse("there is no command \"%s\"", name);
}

int tg_cli_plugin(int argc, char **argv)
{
  struct plugin_request request = {0};
  int exit_code;
  const struct tg_cli_option options[] = {
      {"--tree", NULL, &request.tree},
      {"--only-server", NULL, &request.only_server},
      {"--json", &request.as_json, NULL},
      {NULL, NULL, NULL},
  };
  int count = tg_cli_options(argc, argv, options, TG_HELP_PLUGIN, request.words, 3, &exit_code);
  if (count < 0)
    return exit_code;
  if (count == 0)
    return misuse("a command is missing");
  const struct plugin_command *command = commands;
  while (command < commands + COMMANDS && strcmp(command->name, request.words[0]) != 0)
    command++;
  if (command == commands + COMMANDS)
    return no_command(request.words[0]);
  if (count - 1 < command->least)
    return misuse("%s needs %s", command->name, command->wanted);
  if (count - 1 > command->most)
    return misuse("\"%s\" is one word too many", request.words[command->most + 1]);
  const char *refused = request.tree && !(command->options & TREE)            ? "--tree"
                        : request.only_server && !(command->options & SERVER) ? "--only-server"
                        : request.as_json && !(command->options & JSON)       ? "--json"
                                                                              : NULL;
  if (refused)
    return misuse("%s has no %s", command->name, refused);
  if ((request.tree && !*request.tree) || (request.only_server && !*request.only_server))
    return misuse("the name of a folder is empty");
  tg_process_keeps_secrets();
  take_state_of_service();
  return command->run(&request);
}
