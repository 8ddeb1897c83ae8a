#pragma once

/* A reload: prepared in every process, then committed in every process; or nothing
 * changes anywhere. */

#include "hooks/reload.h"
#include "manager/env.h"
#include "manager/status.h"
#include "manager/workers/workers.h"

struct tg_reloads;

/* The first is followed by one of the others, unless the end comes first. */
enum tg_reload_news { TG_RELOAD_BEGINS, TG_RELOAD_IS_DONE, TG_RELOAD_HAS_FAILED };

/* `script`: the manager's own. All is borrowed. */
struct tg_reloads *tg_reloads_new(const struct tg_manager_env *env, struct tg_workers *workers,
                                  const struct tg_reload *script,
                                  void (*on_news)(void *ctx, enum tg_reload_news news), void *ctx);
/* What is under way is given up. */
void tg_reloads_end(struct tg_reloads *reloads);
/* After the end of the workers. */
void tg_reloads_free(struct tg_reloads *reloads);

/* See tg_manager_reload(). */
void tg_reload_start(struct tg_reloads *reloads, tg_manager_reply *reply, void *ctx);

/* The files that a worker has read for that generation; NULL: none. */
void tg_reload_note_files(struct tg_reloads *reloads, int generation, const json_t *files);
/* For a worker that has said hello: it may have another script than the rest, or a
 * reload is under way. */
void tg_reload_catch_up(struct tg_reloads *reloads, int worker);
/* Keys of the configuration that only a restart can change. Steals the list. */
void tg_reload_note_restart(struct tg_reloads *reloads, json_t *keys);
/* Borrowed; NULL: there was no reload. */
const json_t *tg_reload_needs_restart(const struct tg_reloads *reloads);
/* Which script this process runs, for those that know its faults (shared/poison.h). */
void tg_reload_tell_sum(const struct tg_reload *script);

bool tg_reload_runs(const struct tg_reloads *reloads);
/* The counts go on from those of the program before. */
void tg_reload_take_over(struct tg_reloads *reloads, const struct tg_reload_counts *counts);
struct tg_last_reload tg_reload_last(const struct tg_reloads *reloads);
struct tg_reload_counts tg_reload_counts(const struct tg_reloads *reloads);
