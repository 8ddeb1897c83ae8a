#pragma once

/* The tables in `sinks`: their names, their URLs, and which of their keys mean something. For
 * config_options.c. */

#include "config/config.h"

/* Of what kind a sink is, which its URLs say. */
enum tg_sink_kind { TG_SINK_HTTP, TG_SINK_SCRIPT, TG_SINK_REDIS };
enum tg_sink_kind tg_sink_kind(const struct tg_handler_config *handler);

/* Each returns what is wrong with the text, or NULL. */
const char *tg_check_sink_name(const char *name);
const char *tg_check_redis_name(const char *text); /* of keys, of a group */

/* One URL, into a list of one. */
void tg_read_sink_url(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_sink_url(const void *field); /* NULL: there is not one, or there are several */

/* As struct tg_map_form has them. */
bool tg_sink_has(const void *entry, const char *key);
void tg_finish_sink(const char *path, const json_t *given, void *entry, struct tg_problems *problems);
