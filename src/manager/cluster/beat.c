#include "manager/cluster/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

/* The heart of it: once a second all leases are renewed, and Redis tells what there is. */

static bool is_named(const struct tg_cluster_shard *shard)
{
  bool is_being_released = shard->hold == TG_HOLD_STOPPED && shard->move_call != 0;
  return tg_hold_has_lease(shard) && !is_being_released;
}

static json_t *held_item(struct tg_cluster *cluster, int number)
{
  const struct tg_cluster_shard *shard = &cluster->shards[number];
  json_t *item = json_pack("{s:i,s:I,s:b}", "shard", number, "fence", (json_int_t)shard->fence, "sure",
                           tg_lease_is_sure(shard, cluster->now));
  tg_lease_progress(cluster, number, item);
  json_t *list = cluster->next ? json_array() : NULL;
  for (int next = -1; (next = tg_change_next_of(cluster, number, next)) >= 0;) {
    json_t *new = json_pack("{s:i}", "shard", next - TG_CLUSTER_NEXT);
    cluster->next[next - TG_CLUSTER_NEXT].beat = cluster->ids + 1;
    if (tg_lease_progress(cluster, next, new) && cluster->next[next - TG_CLUSTER_NEXT].epoch > 0)
      json_array_append(list, new);
    json_decref(new);
  }
  if (list)
    json_object_set_new(item, "next", list);
  return item;
}

/* Of shards of which there are, or were, `of`. */
static void add_left(json_t *left, struct tg_cluster_shard *shards, int count, int of, uint64_t id)
{
  for (int i = 0; i < count; i++) {
    struct tg_cluster_shard *shard = &shards[i];
    if (shard->left_fence == 0)
      continue;
    shard->left_beat = id;
    json_array_append_new(left,
                          json_pack("{s:i,s:i,s:I,s:I,s:I,s:I,s:b}", "of", of, "shard", i, "fence",
                                    (json_int_t)shard->left_fence, "epoch", (json_int_t)shard->left.epoch,
                                    "delivered_epoch", (json_int_t)shard->left.delivered_epoch, "delivered",
                                    (json_int_t)shard->left.delivered, "published", shard->left.published));
  }
}

static void send_part(struct tg_cluster *cluster, json_t *held, bool last)
{
  uint64_t id = cluster->ids + 1;
  json_t *left = json_array();
  if (last && cluster->total > 0) {
    add_left(left, cluster->shards, cluster->total, cluster->total, id);
    add_left(left, cluster->next, cluster->to, cluster->to, id);
    add_left(left, cluster->before, cluster->before_count, cluster->before_total, id);
  }
  json_t *body =
      json_pack("{s:s,s:s,s:i,s:i,s:s,s:b,s:b,s:o,s:o}", "home", cluster->home, "bot", cluster->bot, "total",
                cluster->total_wanted, "known", tg_class_count_of(cluster), "digest", cluster->digest,
                "draining", cluster->draining, "last", last, "held", held, "left", left);
  tg_change_tell(cluster, body);
  tg_cluster_call(cluster, TG_CALL_BEAT, -1, body);
  cluster->beats_under_way++;
}

void tg_beat_tick(struct tg_cluster *cluster)
{
  if (cluster->beats_under_way > 0 || cluster->now < cluster->beat_at)
    return;
  cluster->beat_at = cluster->now + TG_BEAT_INTERVAL;
  json_t *held = json_array();
  for (int i = 0; i < cluster->shard_count; i++) {
    if (!is_named(&cluster->shards[i]))
      continue;
    if (json_array_size(held) == TG_BEAT_SHARDS) {
      send_part(cluster, held, false);
      held = json_array();
    }
    cluster->shards[i].beat = cluster->ids + 1;
    json_array_append_new(held, held_item(cluster, i));
  }
  send_part(cluster, held, true);
}

/* ---- the answer ---- */

enum { TAKEN_LONGER = 3 };

/* Who has the name, or is of another bot or total, may have died, or have been stopped: then its time ends,
 * but for a beat of its that comes late. */
static bool is_alive(struct tg_cluster *cluster, int64_t till)
{
  cluster->taken_longer += cluster->taken_till && till > cluster->taken_till;
  cluster->taken_till = till;
  return cluster->taken_longer >= TAKEN_LONGER;
}

static void refused(struct tg_cluster *cluster, const char *what, const json_t *answer)
{
  if (strcmp(what, "late") == 0)
    return; /* not of this connection */
  if (!is_alive(cluster, tg_answer_number(answer, "till")))
    return;
  tg_cluster_say(cluster, &(struct tg_cluster_word){.kind = TG_CLUSTER_MISMATCH,
                                                    .text = what,
                                                    .theirs = tg_answer_text(answer, "theirs")});
  cluster->ended = true;
}

static void learn_total(struct tg_cluster *cluster, int total)
{
  if (total <= 0 || total == cluster->total)
    return;
  cluster->total = total;
  tg_cluster_shard_at(cluster, total - 1);
  for (int i = total; i < cluster->shard_count; i++)
    cluster->shards[i].hold = TG_HOLD_NONE; /* rows of another total */
  tg_cluster_say(
      cluster, &(struct tg_cluster_word){.kind = TG_CLUSTER_TOTAL, .total = total, .change = cluster->done});
}

/* Whether the answer to `call` is about the shard: it was named there, and is still under that fence. */
static struct tg_cluster_shard *named_shard(struct tg_cluster *cluster, const json_t *item, uint64_t call)
{
  json_int_t number = (json_int_t)json_number_value(item);
  if (number < 0 || number >= cluster->shard_count || cluster->shards[number].beat != call)
    return NULL;
  return &cluster->shards[number];
}

static void renewed(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(answer, "wanted"), i, item)
  {
    struct tg_cluster_shard *shard = named_shard(cluster, item, call->id);
    if (shard && shard->epoch > 0)
      shard->put_due = true;
  }
  json_array_foreach(json_object_get(answer, "wanted_next"), i, item)
  {
    int number = (int)json_number_value(item);
    if (number < cluster->to && cluster->next[number].beat == call->id && cluster->next[number].epoch > 0)
      cluster->next[number].put_due = true;
  }
  json_array_foreach(json_object_get(answer, "unsure"), i, item)
  {
    struct tg_cluster_shard *shard = named_shard(cluster, item, call->id);
    if (shard)
      shard->beat = 0;
  }
  json_array_foreach(json_object_get(answer, "lost"), i, item)
  {
    struct tg_cluster_shard *shard = named_shard(cluster, item, call->id);
    if (shard)
      tg_lease_lost(cluster, (int)(shard - cluster->shards));
  }
  for (int number = 0; number < cluster->shard_count; number++)
    if (cluster->shards[number].beat == call->id)
      tg_lease_confirmed(cluster, number, call->at);
}

static bool same_hosts(const struct tg_cluster *cluster, const struct tg_cluster_host *hosts, int count)
{
  if (count != cluster->host_count)
    return false;
  for (int i = 0; i < count; i++) {
    bool found = false;
    for (int k = 0; k < count && !found; k++)
      found = strcmp(hosts[i].name, cluster->hosts[k].name) == 0;
    if (!found)
      return false;
  }
  return true;
}

static void learn_hosts(struct tg_cluster *cluster, const json_t *list)
{
  int count = 0;
  struct tg_cluster_host *hosts = tg_calloc(json_array_size(list) + 1, sizeof *hosts);
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item)
  {
    const char *name = tg_answer_text(item, "name"), *digest = tg_answer_text(item, "digest");
    if (!name || !digest)
      continue;
    hosts[count++] = (struct tg_cluster_host){
        .name = tg_strdup(name),
        .digest = tg_strdup(digest),
        .shards = (int)tg_answer_number(item, "shards"),
        .draining = json_is_true(json_object_get(item, "draining")),
        .age = tg_answer_number(item, "age"),
    };
  }
  if (!same_hosts(cluster, hosts, count))
    cluster->hosts_since = cluster->now;
  for (int k = 0; k < cluster->host_count; k++) {
    free((char *)cluster->hosts[k].name);
    free((char *)cluster->hosts[k].digest);
  }
  free(cluster->hosts);
  cluster->hosts = hosts;
  cluster->host_count = count;
}

static void learn_void(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *list)
{
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item)
  {
    int of = (int)tg_answer_number(item, "of"), number = (int)tg_answer_number(item, "shard");
    bool is_new = cluster->next && of == cluster->to, is_old = of != cluster->total && !is_new;
    struct tg_cluster_word word = {.kind = TG_CLUSTER_VOID, .shard = number, .total = of};
    struct tg_cluster_shard *shard;
    if (is_old)
      shard = of == cluster->before_total && number < cluster->before_count ? &cluster->before[number] : NULL;
    else
      shard = tg_cluster_find(cluster, word.shard = is_new ? TG_CLUSTER_NEXT + number : number);
    if (!shard || shard->left_beat != call->id)
      continue; /* it was left again meanwhile */
    shard->left_fence = 0;
    word.total = is_new ? cluster->total : of;
    tg_cluster_say(cluster, &word);
  }
}

static void learn(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  cluster->told_at = call->at;
  cluster->quiet = tg_answer_number(answer, "quiet");
  cluster->budget_unknown = json_is_true(json_object_get(answer, "budget_unknown"));
  cluster->free = (int)tg_answer_number(answer, "free");
  cluster->budget = (struct tg_cluster_budget_view){
      .limit = (int)tg_answer_number(answer, "limit"),
      .remaining = (int)tg_answer_number(answer, "remaining"),
      .reset_after = tg_answer_number(answer, "reset_after"),
      .max_concurrency = (int)tg_answer_number(answer, "max_concurrency"),
  };
  free(cluster->leader);
  const char *leader = tg_answer_text(answer, "leader");
  cluster->leader = leader ? tg_strdup(leader) : NULL;
  tg_cluster_note_mark(cluster, (uint64_t)tg_answer_number(answer, "mark"));
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(answer, "given"), i, item) tg_lease_take(cluster, item, call->at);
  learn_hosts(cluster, json_object_get(answer, "hosts"));
  tg_holes_told(cluster, json_object_get(answer, "holes"));
  learn_void(cluster, call, json_object_get(answer, "void"));
  /* A lease of another host that ends sooner than the next beat would come. */
  tg_ms soonest = cluster->now + tg_answer_number(answer, "soonest") + 5;
  if (soonest < cluster->beat_at)
    cluster->beat_at = soonest;
}

void tg_beat_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  cluster->beats_under_way--;
  cluster->beat_took = cluster->now - call->at;
  const char *what = tg_answer_text(answer, "refused");
  if (what) {
    refused(cluster, what, answer);
    return;
  }
  if (!cluster->joined)
    cluster->joined_at = cluster->hosts_since = cluster->now;
  cluster->joined = cluster->greeted = true;
  cluster->taken_longer = 0;
  tg_change_learn_end(cluster, answer);
  learn_total(cluster, (int)tg_answer_number(answer, "total"));
  if (cluster->total > 0)
    tg_change_learn(cluster, answer);
  renewed(cluster, call, answer);
  if (json_object_get(answer, "hosts"))
    learn(cluster, call, answer);
}
