#pragma once

/* The part of `tidegate check` that shows the configuration: what somebody has said, and what holds by
 * default. */

#include <jansson.h>

/* `configuration`: tg_config_to_json(). `secret_files`: {"token": path}, for values that come from files. */
void tg_check_print_config(const json_t *configuration, const json_t *secret_files);
