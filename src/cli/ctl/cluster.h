#pragma once

/* What stands of a cluster in the answers of several routes, as people read it. */

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>

/* Of GET /status: "bot, this host is gw-1: 22 of 64 shards, 3 hosts, gw-2 leads". The text may be of
 * somebody else. */
void tg_ctl_cluster_line(const json_t *cluster, struct tg_buf *out);

/* Adds what is not as it should be, a sentence each, separated by `between`. False: nothing. */
bool tg_ctl_cluster_trouble(const json_t *cluster, const char *between, struct tg_buf *out);
