#pragma once

/* The rules against storms that a script has set at run time (gateway.storm): the manager keeps them for
 * workers that start later. A reload takes them away. */

#include "manager/manager.h"

#include <jansson.h>

/* For a worker that begins, before it has shards. */
void tg_storm_tell(struct tg_manager *manager, int worker);
