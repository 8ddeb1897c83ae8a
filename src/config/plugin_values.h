#pragma once

/* `plugins`: which plugins there are beside those of the script, and what each
 * is configured with. A table by their names in gateway.configure; in the
 * environment a list of names, and a variable with a JSON object for each that
 * needs one. What is in a configuration only the plugin's schema knows: to all
 * here it is secret as a whole. */

#include "config/schema.h"

enum { TG_PLUGIN_VARIABLE_SIZE = 96 };

/* "drop-bots" */
bool tg_is_plugin_name(const char *name);
/* drop-bots -> TIDEGATE_PLUGIN_DROP_BOTS */
void tg_plugin_variable(const char *name, char variable[TG_PLUGIN_VARIABLE_SIZE]);
/* Whether a variable's name is such a one, of whatever plugin. */
bool tg_is_plugin_variable(const char *variable);

/* For config_options.c. The field is a json_t *: {"drop-bots": {...}}. */
void tg_read_plugins(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_plugins(const void *field); /* configurations as "***" */

/* The configurations of those that the environment names. */
void tg_plugins_configure(json_t *plugins, const char *(*env)(const char *name),
                          struct tg_problems *problems);

/* Warns of those of the variables that configure no plugin of the environment's.
 * `plugins` are the environment's; NULL: the script names them. `environment`
 * as environ; what is hidden (config/environment.h) counts, too. */
void tg_plugins_warn(const json_t *plugins, char *const *environment, struct tg_problems *warnings);
