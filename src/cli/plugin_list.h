#pragma once

/* `tidegate plugin list`: the plugins that are installed, and what those do that
 * the script loads (`script` NULL: that the environment names). `tree` NULL: all
 * trees of the configuration, and what is built in. Returns the exit code. */

#include <stdbool.h>

int tg_plugin_list(const char *script, const char *tree, bool as_json);
