#pragma once

/* What a process was doing in the script when it died: told, counted, and kept
 * from being the end of the next one. */

#include "shared/stats.h"

#include <stdbool.h>

/* A process is gone: was it in the script? `worker`: TG_POISON_MANAGER is the last
 * manager. `guilty`: its end is known to be its own doing. `stats`: where it is
 * counted; NULL: with the manager's own. */
void tg_deaths_look(int worker, bool guilty, struct tg_stats *stats);
