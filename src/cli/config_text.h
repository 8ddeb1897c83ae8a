#pragma once

/* Values of the configuration, as people read them: "24 h", "64 MiB", names of intents. */

#include "base/buf.h"
#include "config/schema.h"

#include <jansson.h>

/* `value`: as tg_config_to_json() has it. */
void tg_config_text(const struct tg_option *option, const json_t *value, struct tg_buf *out);
