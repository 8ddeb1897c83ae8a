#pragma once

/* Events by their type, of all workers together: of the metrics, and of the status page. */

#include "manager/status.h"

struct tg_event_total {
  char name[TG_STATS_NAME_SIZE];
  uint64_t received, filtered, delivered, bytes;
};

struct tg_event_totals {
  struct tg_event_total items[TG_EVENT_TYPE_MAX + 1];
  int count;
};

/* Those of which there was any. The caller frees the result. */
struct tg_event_totals *tg_event_totals(struct tg_manager *manager);
