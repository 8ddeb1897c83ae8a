#pragma once

/* Sessions that Discord has forgotten, as JSON and as metrics. */

#include "control/exposition.h"
#include "manager/status.h"

/* Of GET /status. A new reference. */
json_t *tg_deaf_json(const struct tg_manager *manager);
/* Of a shard that seems deaf: "suspected", "asking", "reconnecting", "listening"; else NULL. */
const char *tg_deaf_word(const struct tg_deaf_status *status, int shard_id);
void tg_deaf_metrics(struct tg_exposition *exposition, const struct tg_manager *manager);
