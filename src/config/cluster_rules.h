#pragma once

/* The keys of `cluster`: what they may be, what cannot stand beside them, and what follows where they say
 * nothing. */

#include "config/config.h"

/* Of the cluster, or of a host: what is wrong with it, or NULL. */
const char *tg_check_cluster_name(const char *text);
/* Likewise, of its Redis. */
const char *tg_check_cluster_url(const char *text);

/* What is said of a key, or of a variable, that hosts had before there were clusters; NULL: it is none. */
const char *tg_cluster_instead_of(const char *name);

/* With cluster.url: fills in name and host, and adds what cannot be beside it to the problems. Without: the
 * other two must not be given. What hosts had before is refused in any case. */
void tg_finish_cluster(const json_t *given, const char *(*env)(const char *name), struct tg_config *config,
                       struct tg_problems *problems);
