#pragma once

/* Where the values of the configuration come from, for whoever wonders why one is as it is: {"token":
 * {"from": "environment", "variable": "DISCORD_TOKEN"}, "intents": {"from": "script"}}, by the paths of the
 * keys. What is not in it holds by default. Which of them stand in files, secret_files of the configuration
 * says. */

#include <jansson.h>

struct tg_config;
struct tg_problems;

/* Of a configuration that tg_config_load() has read of these. A new reference. */
json_t *tg_config_sources_find(const json_t *given, const char *(*env)(const char *name),
                               const struct tg_config *config);

/* The values of these keys have changed places between two configurations: so do their sources. */
void tg_config_sources_swap(struct tg_config *a, struct tg_config *b, const struct tg_problems *keys);
