#pragma once

/* The table behind the configuration: each key with its variable, its type,
 * its range and its default. For config.c and the test kit, which keeps the
 * variables of the tester's own environment out. */

#include "config/schema.h"

extern const struct tg_option tg_config_options[];
extern const size_t tg_config_option_count;

/* Of each table in `sinks`; their fields are those of struct tg_sink_config. */
extern const struct tg_option tg_sink_options[];
extern const size_t tg_sink_option_count;

enum { TG_VARIABLE_NAME = 64 };

/* The names of all environment variables that configure something, those for
 * secrets in files included, one an index. False: there are no more. */
bool tg_config_variable(size_t index, char name[TG_VARIABLE_NAME]);
