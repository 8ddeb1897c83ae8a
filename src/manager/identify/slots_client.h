#pragma once

/* Slots from the broker on another host (identify.url): broker_client.h over HTTP,
 * beside this gateway's own scheduler. Shards are named by their ids: it has slots
 * for those of the current set alone. */

#include "manager/env.h"
#include "manager/identify/scheduler.h"

struct tg_slots_client;

struct tg_slots_client_events {
  /* Whether the shard still waits for its slot here. */
  bool (*waits)(void *ctx, struct tg_managed_shard *shard);
  /* The broker has granted it, until then: it is to be used now. */
  void (*granted)(void *ctx, struct tg_managed_shard *shard, tg_ms deadline);
  /* Something may go now. */
  void (*changed)(void *ctx);
};

/* `host`: the name of this run of the gateway. All is borrowed. The shards are
 * known. */
struct tg_slots_client *tg_slots_client_new(const struct tg_manager_env *env, const char *host,
                                            struct tg_scheduler *scheduler,
                                            const struct tg_slots_client_events *events, void *ctx);
/* Cancels what is under way. */
void tg_slots_client_end(struct tg_slots_client *client);
void tg_slots_client_free(struct tg_slots_client *client);

/* Asks the broker for whatever may be asked for now. */
void tg_slots_client_pump(struct tg_slots_client *client);
/* Whether it is of use to connect more shards, that would ask. */
bool tg_slots_client_open(const struct tg_slots_client *client);
/* When something can become due by time alone; -1: never. */
tg_ms tg_slots_client_wakeup(const struct tg_slots_client *client, tg_ms now);

/* The shard wants no slot any more, or has not used it. */
void tg_slots_client_left(struct tg_slots_client *client, int shard_id);
void tg_slots_client_sent(struct tg_slots_client *client, int shard_id);
void tg_slots_client_done(struct tg_slots_client *client, int shard_id, bool ready);
void tg_slots_client_gone(struct tg_slots_client *client, int shard_id);
/* What was wrong may have been mended: asks again at once. */
void tg_slots_client_retry(struct tg_slots_client *client);
