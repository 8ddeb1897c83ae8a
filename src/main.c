/* tidegate: argv -> one of the commands in cli/. */

#include "cli/cli.h"
#include "cli/image.h"

#include "base/error.h"
#include "base/program.h"

#include <stdio.h>
#include <string.h>

static const struct tg_command_line commands[] = {
    {"run", tg_cli_run},   {"check", tg_cli_check},   {"version", tg_cli_version},
    {"help", tg_cli_help}, {"worker", tg_cli_worker}, {"test", tg_cli_test},
    {"ctl", tg_cli_ctl},   {"plugin", tg_cli_plugin}, {"completion", tg_cli_completion},
};

static int run(const char *name, int argc, char **argv)
{
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(commands[i].name, name) == 0)
      return commands[i].run(argc, argv);
  }
  char meant[80];
  fprintf(stderr, "tidegate: there is no command \"%s\"%s; `tidegate help` lists them\n", name,
          tg_cli_meant(name, meant, sizeof meant));
  return TG_EXIT_USAGE;
}

int main(int argc, char **argv)
{
  tg_program_begin();
  tg_image_begin(argv);
  const char *name = argc > 1 ? argv[1] : "help";
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
    name = "help";
  if (strcmp(name, "--version") == 0 || strcmp(name, "-v") == 0)
    name = "version";
  return tg_program_end("tidegate", run(name, argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv));
}
