#pragma once

/* What is allowed in the configuration, but most likely not meant. */

#include "config/config.h"

/* The texts, each with the key or variable that it is about. `config` may be
 * NULL: there is none, maybe because of a misspelt variable. `environment`:
 * "NAME=value", ends with NULL, as environ(7); looked for are names that are
 * nearly ours. The caller frees the result. */
struct tg_problems tg_config_warnings(const struct tg_config *config, char *const *environment);

/* Adds what is to be said of identifying so fast at the gateway of this URL;
 * NULL: it is not known yet. */
void tg_config_warn_delay(const struct tg_config *config, const char *gateway_url,
                          struct tg_problems *warnings);

/* Adds that this gateway can never go over to more shards by itself, where resharding.enabled says that it
 * should: to be known by who looks at a configuration, and no news at each start. */
void tg_config_warn_resharding(const struct tg_config *config, struct tg_problems *warnings);
