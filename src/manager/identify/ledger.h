#pragma once

/* The ledger of identifies: how many of the day's session starts are spent,
 * and when each bucket was last used. Kept in `identify.json` of the state
 * directory and saved before a grant leaves, so that a restart keeps the
 * spacing and a crash loop cannot burn the token (at zero
 * Discord resets it).
 *
 * Discord's own count (session_start_limit) and ours are joined: within a
 * window the higher one holds. Times are tg_steady_clock()'s: a wall clock that is set does not end the
 * window, nor put off its end. */

#include "base/clock.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_ledger;

/* Never fails: a missing file is an empty ledger; a damaged one, too, but then
 * every bucket counts as just used (logged). `bot` tells the tokens apart: the
 * ledger of another bot is not ours. */
struct tg_ledger *tg_ledger_open(const char *state_dir, uint64_t bot, int max_concurrency, tg_ms now);
/* Saves. */
void tg_ledger_close(struct tg_ledger *ledger);

/* What /gateway/bot said at `now`. `reset_after` 0: nothing was spent yet. */
void tg_ledger_set_limit(struct tg_ledger *ledger, int total, int remaining, tg_ms reset_after, tg_ms now);

/* One identify of this bucket may leave once tg_ledger_save() has been called,
 * at `latest` at the latest. */
void tg_ledger_take(struct tg_ledger *ledger, int bucket, tg_ms now, tg_ms latest);

/* It did not: the grant was unused. Whether that is saved before a crash does
 * not matter: the file then knows of one identify too many. */
void tg_ledger_give_back(struct tg_ledger *ledger, int bucket);

/* Writes what was taken and given back. Once for all grants that leave
 * together: putting a file in another's place waits for the disk. */
void tg_ledger_save(struct tg_ledger *ledger);

/* Identifies left of the window, and how many of them may be used when
 * `reserve` per cent of the total are kept back; never below 0. */
int tg_ledger_remaining(struct tg_ledger *ledger, tg_ms now);
int tg_ledger_allowance(struct tg_ledger *ledger, int reserve, tg_ms now);
/* So many are these per cent of the total. */
int tg_ledger_reserve(const struct tg_ledger *ledger, int percent);
int tg_ledger_total(const struct tg_ledger *ledger);

/* When the window ends; 0: none runs. */
tg_ms tg_ledger_reset_at(const struct tg_ledger *ledger);

/* How long from `now` until the bucket may be used again: at most `spacing` after a
 * grant that was used at its end. */
tg_ms tg_ledger_rest(const struct tg_ledger *ledger, int bucket, tg_ms spacing, tg_ms now);
