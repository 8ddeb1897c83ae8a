#pragma once

/* Counters, gauges and histograms of scripts. They live in C, so that a reload
 * keeps their values. */

#include <jansson.h>

struct tg_script;

/* [{"name":..,"kind":"counter","help":..,"labels":{..},"value":n}, ...];
 * histograms carry "sum", "count" and "buckets": [[limit, count], ...]. The
 * caller decrefs it. */
json_t *tg_script_metrics(const struct tg_script *script);
