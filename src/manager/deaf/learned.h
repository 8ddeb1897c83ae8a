#pragma once

/* What is usual of the shards, in baseline.json of the state directory: {"version": 1, "bot": which bot and
 * intents it is of, and how many shards, "together": text, "shards": {"0": text}}; the texts are those of
 * baseline.h. */

#include "manager/deaf/hearing.h"

/* What belongs to another bot, or to another number of its shards, is not taken. `first`: the id of the first
 * shard. */
void tg_learned_read(struct tg_hearing *hearing, const char *state_dir, uint64_t bot, int first);
void tg_learned_write(struct tg_hearing *hearing, const char *state_dir, uint64_t bot, int first);
