#pragma once

/* The plugins in what `tidegate check` says. */

#include <jansson.h>

/* A list with the plugins of both roles, as tg_script_describe() has them in each:
 * what they set up in either is there once. The caller decrefs it. */
json_t *tg_check_plugins(const json_t *manager, const json_t *worker);

void tg_check_print_plugins(const json_t *plugins);
