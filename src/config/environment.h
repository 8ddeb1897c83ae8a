#pragma once

/* The environment variables, without what is secret in them. What stands in the
 * environment is inherited by each child that a script's module starts, and can
 * be read in /proc/<pid>/environ for as long as the process lives. So a program
 * that runs for good takes secrets out at its start, and asks here for them:
 *
 *     tg_environment_hide();                                   first of all
 *     const char *token = tg_environment("DISCORD_TOKEN");     in the place of getenv()
 *
 * Secret are the variables of secret options (config/config_options.h), those that
 * configure plugins (config/plugin_values.h), and those of URLs and proxies that have
 * a login in them. */

#include <jansson.h>

/* Takes them out of the environment and overwrites the memory where the kernel
 * shows it. Before there are threads. */
void tg_environment_hide(void);

/* The value of a variable, hidden or not; NULL: it is not set. Shaped as
 * tg_config_load() and others want it. */
const char *tg_environment(const char *name);

/* What was hidden, {"DISCORD_TOKEN": "..."}, for a process that is to have it,
 * too; borrowed; NULL: nothing was. */
json_t *tg_environment_hidden(void);

/* As if these had been hidden here. `hidden` is borrowed. */
void tg_environment_give(json_t *hidden);
