#pragma once

/* The broker of identifies: what other gateway hosts ask of this one's
 * identify scheduler, and what they have said became of it. Several hosts with
 * ranges of shards share one budget that way; the
 * words between them are in manager/broker_wire.h.
 *
 * Pure: no I/O, no clock of its own. A *poll* is whoever waits for the answer
 * to an ask; the owner answers it when told, each once. Nothing here is kept
 * over a restart: the ledger keeps the buckets quiet for what may be out, and
 * hosts ask again. What a host does not report is taken for the worst: that op
 * 2 left at the last moment of its grant. */

#include "manager/identify/broker_wire.h"
#include "manager/identify/scheduler.h"

struct tg_broker;

struct tg_broker_callbacks {
  /* The end of a poll. */
  void (*answer)(void *ctx, void *poll, const struct tg_broker_answer *answer);
  /* A grant of this shard was not used; the slot is free again. */
  void (*taken_back)(void *ctx, int shard_id);
  /* An op 2 of this shard left that nobody had granted. */
  void (*identified)(void *ctx, int shard_id);
};

enum {
  TG_BROKER_PLACE_KEPT = 10000, /* ms that a shard keeps its place without asking on */
  TG_BROKER_FOR_EVER = -1,      /* as `wait`: the poll is answered with the slot, or at the end */
};

/* The scheduler is borrowed. */
struct tg_broker *tg_broker_new(struct tg_scheduler *scheduler, const struct tg_broker_callbacks *callbacks,
                                void *ctx);
/* Answers what polls are left as TG_BROKER_DOWN, with `why`. */
void tg_broker_end(struct tg_broker *broker, const char *why);
void tg_broker_free(struct tg_broker *broker);

/* TG_WORD_CHECK. Earlier lives of the host, which had these shards, are over:
 * they will report nothing more. */
void tg_broker_check(struct tg_broker *broker, const struct tg_broker_message *message, tg_ms now);

/* TG_WORD_ASK. The poll may be answered before this returns. */
void tg_broker_ask(struct tg_broker *broker, const struct tg_broker_message *message, void *poll, tg_ms now);

/* TG_WORD_SENT to TG_WORD_UNUSED. Repeating one does no harm. */
void tg_broker_report(struct tg_broker *broker, const struct tg_broker_message *message, tg_ms now);

/* The scheduler has granted a slot to a shard that asked here. */
void tg_broker_granted(struct tg_broker *broker, int shard_id, tg_ms deadline, tg_ms now);

/* Nobody listens to this poll any more; it is not answered. */
void tg_broker_poll_gone(struct tg_broker *broker, int shard_id, const void *poll, tg_ms now);

/* No identifies are left: those who wait are told to come back later. */
void tg_broker_hold_back(struct tg_broker *broker, tg_ms retry_after, tg_ms now);

/* What is due by time alone, and when the next is; -1: never. */
void tg_broker_tick(struct tg_broker *broker, tg_ms now);
tg_ms tg_broker_wakeup(const struct tg_broker *broker);
