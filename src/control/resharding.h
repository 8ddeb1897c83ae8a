#pragma once

/* What there is to be seen of a resharding (manager/status.h), as JSON and as metrics. Pure. */

#include "control/exposition.h"
#include "manager/status.h"

#include <jansson.h>

/* How far the one that runs is; null: none does. */
json_t *tg_resharding_running_json(const struct tg_resharding_status *status);
/* {"up": n, "switched": n, "settled": n, "closed": n}: classes of all hosts of a cluster. */
json_t *tg_resharding_steps_json(const int counts[4]);
/* {"running":..., "planned":..., "last":...}, each an object or null. */
json_t *tg_resharding_json(const struct tg_resharding_status *status);

/* Without one that runs there are no figures of it. */
void tg_resharding_metrics(struct tg_exposition *exposition, const struct tg_resharding_status *status);
