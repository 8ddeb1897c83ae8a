#pragma once

/* What people and scripts hear of deaf sessions: the log, the life-cycle event `deaf`, and what is counted.
 */

#include "hooks/hooks.h"
#include "manager/deaf/cure.h"
#include "manager/deaf/deaf.h"

struct tg_deaf_told {
  struct tg_hooks *hooks;
  struct tg_deaf_status counts; /* its counters alone */
  bool outage;                  /* was said last */
};

/* `silent`: ms. */
void tg_told_news(struct tg_deaf_told *told, enum tg_cure_news news, const struct tg_suspect *suspect,
                  int shard_id, tg_ms silent);
void tg_told_answer(struct tg_deaf_told *told, enum tg_cure_answer answer, const struct tg_error *error);
/* No shard gets that type of the baseline any more; or gets it again. */
void tg_told_vanished(struct tg_deaf_told *told, int type, bool gone, tg_ms silent);
/* The counters, for the program that takes over. A new reference; borrowed. */
json_t *tg_told_hand_over(const struct tg_deaf_told *told);
void tg_told_take_over(struct tg_deaf_told *told, const json_t *handed);
void tg_told_outage(struct tg_deaf_told *told, bool outage);
