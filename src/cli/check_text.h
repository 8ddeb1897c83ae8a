#pragma once

/* What `tidegate check` prints for a person. */

#include <jansson.h>

/* `configuration` as of tg_config_to_json(), `secret_files` as tg_config has
 * them, `proxies` as of tg_proxies_routes(), `plugins` as of tg_check_plugins(), the others as of
 * tg_script_describe(). All are borrowed. */
void tg_check_print(const json_t *configuration, const json_t *secret_files, const json_t *proxies,
                    const json_t *plugins, const json_t *manager, const json_t *worker);
