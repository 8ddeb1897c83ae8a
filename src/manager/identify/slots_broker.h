#pragma once

/* The broker of identifies (broker.h) at work: which hosts it serves, and whom it
 * answers. Every gateway without identify.url is one. */

#include "manager/env.h"
#include "manager/identify/answer.h"
#include "manager/identify/ledger.h"
#include "manager/identify/scheduler.h"

struct tg_slots_broker;

struct tg_slots_broker_events {
  /* Something of another host's may go now. */
  void (*changed)(void *ctx);
  /* As in slots.h. */
  bool (*put_off)(void *ctx, char *text, size_t size);
};

/* `host`: the name of this run of the gateway; borrowed, like all else. */
struct tg_slots_broker *tg_slots_broker_new(const struct tg_manager_env *env, const char *host,
                                            const struct tg_slots_broker_events *events, void *ctx);
/* The shards are known; from here on it grants, out of this scheduler and ledger. */
void tg_slots_broker_begin(struct tg_slots_broker *broker, struct tg_scheduler *scheduler,
                           struct tg_ledger *ledger);
/* Answers who waits. */
void tg_slots_broker_end(struct tg_slots_broker *broker, const char *why);
void tg_slots_broker_free(struct tg_slots_broker *broker);

/* See tg_manager_identify(). */
uint64_t tg_slots_broker_hear(struct tg_slots_broker *broker, int shard_id, const json_t *body,
                              tg_identify_answer *answer, void *ctx);
void tg_slots_broker_poll_gone(struct tg_slots_broker *broker, uint64_t id);

/* A slot for a shard of a host that reports nothing; answered when it is there. */
void tg_slots_broker_ask(struct tg_slots_broker *broker, int shard_id, tg_identify_answer *answer, void *ctx);

/* How many wait. */
int tg_slots_broker_count(const struct tg_slots_broker *broker);
/* Those of broker.h: a grant of the scheduler for such a shard; no identifies for
 * `wait` ms; what is due by time alone. */
void tg_slots_broker_granted(struct tg_slots_broker *broker, int shard_id, tg_ms deadline, tg_ms now);
void tg_slots_broker_hold_back(struct tg_slots_broker *broker, tg_ms wait, tg_ms now);
void tg_slots_broker_tick(struct tg_slots_broker *broker, tg_ms now);
tg_ms tg_slots_broker_wakeup(const struct tg_slots_broker *broker);
