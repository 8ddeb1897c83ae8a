#include "manager/cluster/cluster_impl.h"

#include <string.h>

/* Turns to identify, and the day's budget of identifies. */

enum { HELD_BACK_MIN = 1000, HELD_BACK_MAX = 60000, REFUSED_PAUSE = 1000, DISCORD_PAUSE = 10000 };

/* What became of a grant. If it does not get there, Redis reckons with the worst. */
static void report(struct tg_cluster *cluster, enum tg_call_kind kind, int number, uint64_t epoch)
{
  if (cluster->greeted)
    tg_cluster_call(cluster, kind, number, json_pack("{s:I}", "epoch", (json_int_t)epoch));
}

void tg_cluster_ask(struct tg_cluster *cluster, int number, enum tg_identify_priority priority, tg_ms now)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (!shard || !tg_cluster_has(cluster, number))
    return;
  if (shard->turn != TG_TURN_ASKING) {
    tg_cluster_unask(cluster, number);
    shard->turn = TG_TURN_ASKING;
    shard->slot_at = now;
  }
  shard->priority = priority;
}

void tg_cluster_unask(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (!shard)
    return;
  if (shard->turn == TG_TURN_GRANTED)
    report(cluster, TG_CALL_UNUSED, number, shard->granted);
  else if (shard->turn == TG_TURN_SENT)
    report(cluster, TG_CALL_DONE, number, shard->granted);
  shard->turn = TG_TURN_NONE;
}

/* A grant that the owner has may be used at this moment: nobody says that it is not. */
void tg_turn_end(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (shard->turn == TG_TURN_SENT)
    report(cluster, TG_CALL_DONE, number, shard->granted);
  shard->turn = TG_TURN_NONE;
}

void tg_cluster_sent(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (!shard || shard->turn != TG_TURN_GRANTED)
    return;
  shard->turn = TG_TURN_SENT;
  report(cluster, TG_CALL_SENT, number, shard->granted);
}

void tg_cluster_done(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (shard && shard->turn == TG_TURN_SENT)
    tg_cluster_unask(cluster, number);
}

static void granted(struct tg_cluster *cluster, const struct tg_call_under_way *call, uint64_t epoch)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, call->shard);
  tg_ms deadline = shard->asked_at + TG_GRANT_VALID;
  tg_cluster_note_mark(cluster, epoch);
  cluster->held_back_until = 0;
  if (shard->turn != TG_TURN_ASKING || cluster->now > deadline) {
    report(cluster, TG_CALL_UNUSED, call->shard, epoch);
    shard->slot_at = cluster->now;
    return;
  }
  shard->turn = TG_TURN_GRANTED;
  shard->granted = epoch;
  tg_cluster_say(cluster, &(struct tg_cluster_word){.kind = TG_CLUSTER_GRANTED,
                                                    .shard = call->shard,
                                                    .total = cluster->total,
                                                    .epoch = epoch,
                                                    .deadline = deadline});
}

void tg_slot_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, call->shard);
  uint64_t epoch = (uint64_t)tg_answer_number(answer, "epoch");
  if (shard->slot_call != call->id) { /* of a lease before this one */
    if (epoch)
      report(cluster, TG_CALL_UNUSED, call->shard, epoch);
    return;
  }
  shard->slot_call = 0;
  if (epoch) {
    granted(cluster, call, epoch);
  } else if (tg_answer_text(answer, "refused")) {
    shard->slot_at = cluster->now + REFUSED_PAUSE;
    cluster->beat_at = cluster->now;
  } else if (json_object_get(answer, "held_back")) {
    tg_ms wait = tg_answer_number(answer, "held_back");
    cluster->budget.remaining = (int)tg_answer_number(answer, "remaining");
    cluster->held_back_until = cluster->now + wait;
    wait = wait < HELD_BACK_MIN ? HELD_BACK_MIN : wait;
    shard->slot_at = cluster->now + (wait > HELD_BACK_MAX ? HELD_BACK_MAX : wait);
  } else {
    shard->slot_at = cluster->now + tg_answer_number(answer, "wait");
  }
}

void tg_cluster_budget(struct tg_cluster *cluster, int limit, int remaining, tg_ms reset_after,
                       int max_concurrency, int shards)
{
  if (cluster->greeted)
    tg_cluster_call(cluster, TG_CALL_BUDGET, -1,
                    json_pack("{s:i,s:i,s:I,s:i,s:i}", "limit", limit, "remaining", remaining, "reset_after",
                              (json_int_t)reset_after, "max_concurrency", max_concurrency, "shards", shards));
}

static void ask_discord(struct tg_cluster *cluster)
{
  bool leads = cluster->leader && strcmp(cluster->leader, cluster->host) == 0;
  bool again = !cluster->discord_asked_at || cluster->now - cluster->discord_asked_at >= DISCORD_PAUSE;
  if (!leads || !cluster->budget_unknown || !again)
    return;
  cluster->discord_asked_at = cluster->now;
  tg_cluster_say(cluster, &(struct tg_cluster_word){.kind = TG_CLUSTER_ASK_DISCORD});
}

void tg_turns_tick(struct tg_cluster *cluster)
{
  ask_discord(cluster);
  for (int i = -1; (i = tg_cluster_next_of(cluster, i)) >= 0;) {
    struct tg_cluster_shard *shard = tg_cluster_find(cluster, i);
    if (cluster->resting || shard->turn != TG_TURN_ASKING || shard->slot_call ||
        cluster->now < shard->slot_at || !tg_lease_is_sure(tg_lease_of(cluster, i), cluster->now))
      continue;
    shard->asked_at = cluster->now;
    shard->slot_call =
        tg_cluster_call(cluster, TG_CALL_SLOT, i,
                        json_pack("{s:I,s:i,s:i}", "fence", (json_int_t)tg_lease_of(cluster, i)->fence,
                                  "priority", (int)shard->priority, "reserve", cluster->reserve));
  }
}
