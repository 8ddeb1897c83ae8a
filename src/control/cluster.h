#pragma once

/* What there is to be seen of the cluster (manager/cluster_front.h), as JSON and as metrics. Pure. */

#include "control/exposition.h"
#include "manager/cluster_front.h"

#include <jansson.h>

/* As the last beat of this host has told it: of /status. `url`: of Redis, may have a password. */
json_t *tg_cluster_json(const struct tg_cluster_status *status, const char *url);

/* Adds what only Redis knows to it: hosts that do not live, holes of each. `answer` is the
 * script's, of `status`. */
void tg_cluster_add_survey(json_t *json, const json_t *answer);

void tg_cluster_metrics(struct tg_exposition *exposition, const struct tg_cluster_status *status);
