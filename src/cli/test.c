#include "cli/cli.h"
#include "cli/options.h"

#include "base/error.h"
#include "script/test_kit/test_host.h"

#include <stdio.h>
#include <string.h>

/* All words but --help are busted's. */
int tg_cli_test(int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      fputs(TG_HELP_TEST, stdout);
      return TG_EXIT_OK;
    }
  }
  return tg_script_test(argc - 1, (const char *const *)argv + 1);
}
