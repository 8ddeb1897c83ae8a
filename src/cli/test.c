#include "cli/cli.h"
#include "cli/options.h"

#include "script/test_host.h"

#include <stddef.h>

enum { PATHS_MAX = 256 };

int tg_cli_test(int argc, char **argv)
{
  const char *paths[PATHS_MAX];
  int exit_code;
  const struct tg_cli_option options[] = {{NULL, NULL, NULL}};
  int count = tg_cli_options(argc, argv, options, TG_HELP_TEST, paths, PATHS_MAX, &exit_code);
  return count < 0 ? exit_code : tg_script_test(count, paths);
}
