#include "manager/cluster/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

/* Planned moves. The giver: offer -> (the receiver has its HELLO: ready) -> let go -> stopped -> release ->
 * left. The receiver: offer -> expected -> ready -> the next beat gives it the lease. */

int tg_moves_under_way(const struct tg_cluster *cluster)
{
  int count = 0;
  for (int i = 0; i < cluster->shard_count; i++) {
    const struct tg_cluster_shard *shard = &cluster->shards[i];
    count += tg_hold_has_lease(shard) && shard->peer != NULL;
  }
  return count;
}

void tg_move_cancel(struct tg_cluster_shard *shard)
{
  free(shard->peer);
  shard->peer = NULL;
  shard->move_call = 0;
  shard->is_offered = false;
}

/* ---- the giver ---- */

void tg_move_offer(struct tg_cluster *cluster, int number, const char *to, int aim)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  json_t *body = json_pack("{s:I,s:s,s:i}", "fence", (json_int_t)shard->fence, "to", to, "aim", aim);
  tg_move_cancel(shard);
  shard->peer = tg_strdup(to);
  shard->moving_since = cluster->now;
  shard->move_call = tg_cluster_call(cluster, TG_CALL_OFFER, number, body);
}

void tg_offer_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  struct tg_cluster_shard *shard = &cluster->shards[call->shard];
  if (shard->move_call != call->id || shard->hold != TG_HOLD_MINE)
    return;
  if (tg_answer_text(answer, "refused")) {
    tg_move_cancel(shard);
    return;
  }
  shard->move_call = 0;
  shard->is_offered = true;
}

static void let_go(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  if (shard->turn > TG_TURN_ASKING) { /* it is about to identify; the receiver forgets the offer */
    tg_move_cancel(shard);
    return;
  }
  tg_turn_end(cluster, number);
  shard->hold = TG_HOLD_LET_GO;
  tg_cluster_say_shard(cluster, TG_CLUSTER_LET_GO, number);
}

static void keep(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  tg_move_cancel(shard);
  shard->hold = TG_HOLD_MINE;
  cluster->beat_at = cluster->now; /* which makes it sure */
  tg_cluster_say_shard(cluster, TG_CLUSTER_KEEP, number);
}

void tg_cluster_let_go(struct tg_cluster *cluster, int number, bool keeps)
{
  struct tg_cluster_shard *shard = tg_cluster_shard_at(cluster, number);
  if (shard->hold != TG_HOLD_LET_GO)
    return; /* lost meanwhile */
  if (keeps) {
    tg_move_cancel(shard);
    shard->hold = TG_HOLD_MINE;
  } else {
    shard->hold = TG_HOLD_STOPPED;
  }
}

static void release(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  json_t *body = json_pack("{s:I,s:s}", "fence", (json_int_t)shard->fence, "to", shard->peer);
  tg_lease_progress(cluster, number, body);
  shard->move_call = tg_cluster_call(cluster, TG_CALL_RELEASE, number, body);
  shard->until = cluster->now; /* from here on it may be another's, whatever is heard */
}

void tg_release_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call,
                         const json_t *answer)
{
  struct tg_cluster_shard *shard = &cluster->shards[call->shard];
  if (shard->move_call != call->id || shard->hold != TG_HOLD_STOPPED)
    return;
  shard->move_call = 0;
  const char *why = tg_answer_text(answer, "refused");
  if (!why || strcmp(why, "lease") == 0) /* an earlier one came through of which nothing was heard */
    tg_lease_lost(cluster, call->shard);
  else
    keep(cluster, call->shard);
}

static void give(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  if (shard->hold == TG_HOLD_MINE) {
    /* The receiver cannot connect, or has not heard: it forgets the offer by itself. */
    if (cluster->now - shard->moving_since > TG_MOVE_READY)
      tg_move_cancel(shard);
  } else if (cluster->away) {
    if (shard->hold == TG_HOLD_STOPPED) /* perhaps it is another's; but rather two than none */
      keep(cluster, number);
  } else if (shard->hold == TG_HOLD_STOPPED && !shard->move_call && !shard->put_due && cluster->greeted) {
    release(cluster, number);
  }
}

/* ---- the receiver ---- */

void tg_cluster_expected(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = tg_cluster_shard_at(cluster, number);
  if (shard->hold == TG_HOLD_EXPECTED && cluster->greeted)
    tg_cluster_call(cluster, TG_CALL_READY, number, json_pack("{s:s}", "to", shard->peer));
}

static void offered(struct tg_cluster *cluster, int number, const char *from)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  if (shard->hold != TG_HOLD_NONE || cluster->draining || cluster->resting)
    return;
  shard->hold = TG_HOLD_EXPECTED;
  shard->peer = tg_strdup(from);
  shard->moving_since = cluster->now;
  tg_cluster_say_shard(cluster, TG_CLUSTER_EXPECT, number);
}

static void expect(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  if (cluster->now - shard->moving_since <= TG_MOVE_MAX)
    return;
  tg_move_cancel(shard);
  shard->hold = TG_HOLD_NONE;
  tg_cluster_say_shard(cluster, TG_CLUSTER_UNEXPECT, number);
}

bool tg_cluster_posted(struct tg_cluster *cluster, const char *word, const char *body, size_t length,
                       tg_ms now)
{
  bool is_offer = strcmp(word, "offer") == 0, is_ready = strcmp(word, "ready") == 0;
  if (!is_offer && !is_ready && strcmp(word, "given") != 0)
    return false;
  cluster->now = now;
  json_t *message = json_loadb(body, length, 0, NULL);
  int number = (int)tg_answer_number(message, "shard");
  const char *from = tg_answer_text(message, "from");
  if (from && number >= 0 && number < cluster->total) {
    struct tg_cluster_shard *shard = &cluster->shards[number];
    if (is_offer)
      offered(cluster, number, from);
    else if (!is_ready)
      cluster->beat_at = now;
    else if (shard->hold == TG_HOLD_MINE && shard->is_offered && strcmp(shard->peer, from) == 0)
      let_go(cluster, number);
  }
  json_decref(message);
  return true;
}

void tg_moves_tick(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->shard_count; i++) {
    struct tg_cluster_shard *shard = &cluster->shards[i];
    if (!shard->peer)
      continue;
    if (shard->hold == TG_HOLD_EXPECTED)
      expect(cluster, i);
    else
      give(cluster, i);
  }
}
