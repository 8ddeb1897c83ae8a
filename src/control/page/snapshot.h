#pragma once

/* What the status page shows, as JSON: the same figures as GET /status, /shards and /metrics, from the same
 * places, in less room. Made from memory that is at hand, without asking a worker. */

#include "base/buf.h"
#include "manager/status.h"

/* {"at", "status": as GET /status, "states": names, "columns": of a shard, "sets": [{"total", "shards":
 * [[...]]}], "events": {TYPE: [received, filtered, delivered]}, "processes": [...]} */
void tg_snapshot_write(struct tg_manager *manager, struct tg_buf *out);

/* [{"at", "level", "worker", "shard", "text"}]: the last warnings of all processes, newest first. */
void tg_snapshot_warnings(struct tg_manager *manager, struct tg_buf *out);
/* Rises with each of them. */
uint64_t tg_snapshot_warning_count(struct tg_manager *manager);
