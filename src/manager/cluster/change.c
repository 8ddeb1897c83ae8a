#include "manager/cluster/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

/* The number of shards is changed (scripts/change.lua). New shards are there beside the old ones, and go with
 * their leases: the class of old shard j has the new shards j, j + total, j + 2 * total ... When all classes
 * have come to the end the new ones are the shards, each under the lease of its class. */

enum { TRY_AGAIN = 1000 /* ms until a step is told again that was refused */ };

int tg_change_next_of(const struct tg_cluster *cluster, int class, int number)
{
  int next = number < 0 ? class : number - TG_CLUSTER_NEXT + tg_class_count_of(cluster);
  return cluster->next && next < cluster->to ? TG_CLUSTER_NEXT + next : -1;
}

/* ---- one begins ---- */

void tg_change_run(struct tg_cluster *cluster, int class, const json_t *given)
{
  struct tg_cluster_shard *shard = &cluster->shards[class];
  const json_t *list = json_object_get(given, "next");
  if (!cluster->next)
    return;
  shard->step = (enum tg_class_step)tg_answer_number(given, "step");
  if (shard->step)
    tg_cluster_say(cluster, &(struct tg_cluster_word){.kind = TG_CLUSTER_CLASS,
                                                      .shard = class,
                                                      .total = cluster->total,
                                                      .step = shard->step,
                                                      .text = tg_answer_text(given, "file")});
  for (int next = -1, i = 0; (next = tg_change_next_of(cluster, class, next)) >= 0; i++) {
    struct tg_cluster_shard *new = tg_cluster_find(cluster, next);
    const json_t *item = json_array_get(list, (size_t)i); /* in order of their numbers */
    bool own = !given && new->was_here;
    if (!own)
      tg_lease_set_session(new, item);
    tg_lease_say_run(cluster, next, own, (uint64_t)tg_answer_number(item, "from"));
  }
}

/* Calls of the new shards are those of shards that have other numbers now, or that are no more. */
static void renumber_calls(struct tg_cluster *cluster, bool taken)
{
  for (int i = 0; i < cluster->under_way_count; i++) {
    struct tg_call_under_way *call = &cluster->under_way[i];
    if (call->shard >= TG_CLUSTER_NEXT)
      call->shard = taken ? call->shard - TG_CLUSTER_NEXT : -2;
    else if (call->shard >= 0 && taken)
      call->shard = -2;
  }
}

static void drop_next(struct tg_cluster *cluster)
{
  tg_cluster_say(cluster, &(struct tg_cluster_word){.kind = TG_CLUSTER_TAKEN_BACK,
                                                    .total = cluster->to,
                                                    .change = cluster->change});
  for (int i = 0; i < cluster->to; i++) {
    tg_turn_end(cluster, TG_CLUSTER_NEXT + i);
    tg_cluster_free_shard(&cluster->next[i]);
  }
  free(cluster->next);
  cluster->next = NULL;
  cluster->to = 0;
  cluster->change = 0;
  memset(cluster->classes, 0, sizeof cluster->classes);
  renumber_calls(cluster, false);
  for (int i = 0; i < cluster->shard_count; i++) {
    struct tg_cluster_shard *shard = &cluster->shards[i];
    shard->step = shard->step_wants = TG_CLASS_STEP_NONE;
    shard->class_call = 0;
  }
}

static void begin(struct tg_cluster *cluster, int to, uint64_t change)
{
  cluster->to = to;
  cluster->change = change;
  cluster->next = tg_calloc((size_t)to, sizeof *cluster->next);
  tg_cluster_say(cluster,
                 &(struct tg_cluster_word){.kind = TG_CLUSTER_CHANGE, .total = to, .change = change});
  for (int i = 0; i < cluster->total; i++)
    if (tg_hold_has_lease(&cluster->shards[i]) && cluster->shards[i].running)
      tg_change_run(cluster, i, NULL);
}

/* ---- one has come to its end ---- */

static void lose_all(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->shard_count; i++) {
    struct tg_cluster_shard *shard = &cluster->shards[i];
    if (tg_hold_has_lease(shard))
      tg_lease_lost(cluster, i);
    else if (shard->hold == TG_HOLD_EXPECTED)
      tg_cluster_say_shard(cluster, TG_CLUSTER_UNEXPECT, i);
  }
}

/* Classes that have not come to the end here have perhaps done so elsewhere: a beat tells. */
static void leave_old(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->shard_count; i++) {
    struct tg_cluster_shard *shard = &cluster->shards[i];
    if (tg_hold_has_lease(shard) && shard->step < TG_CLASS_STEP_CLOSED && !shard->without_old)
      tg_lease_leave(cluster, i, shard->fence, TG_CLUSTER_LOST);
  }
}

static void inherit_lease(struct tg_cluster *cluster, int number, const struct tg_cluster_shard *class)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  bool is_sure = class->step == TG_CLASS_STEP_CLOSED;
  shard->beat = 0; /* one under way was of the class */
  if (!tg_hold_has_lease(class))
    return;
  shard->hold = TG_HOLD_MINE;
  shard->fence = class->fence;
  shard->until = is_sure ? class->until : cluster->now;
  shard->open = is_sure && class->open;
}

static void take_next(struct tg_cluster *cluster, int total, bool was_here)
{
  for (int i = 0; i < cluster->before_count; i++)
    tg_cluster_free_shard(&cluster->before[i]);
  free(cluster->before);
  cluster->before = cluster->shards;
  cluster->before_count = cluster->shard_count;
  cluster->shards = was_here ? cluster->next : tg_calloc((size_t)total, sizeof *cluster->shards);
  cluster->shard_count = cluster->total = total;
  if (was_here) {
    cluster->next = NULL;
    cluster->to = 0;
    cluster->change = 0;
    memset(cluster->classes, 0, sizeof cluster->classes);
  }
  for (int i = 0; was_here && i < total; i++)
    inherit_lease(cluster, i, &cluster->before[i % cluster->before_total]);
  for (int i = 0; i < cluster->before_count; i++)
    cluster->before[i].hold = TG_HOLD_NONE;
}

static void end(struct tg_cluster *cluster, const json_t *answer, uint64_t done)
{
  int total = (int)tg_answer_number(answer, "total"), had = tg_class_count_of(cluster);
  bool was_here = cluster->next && cluster->change == done && cluster->to == total;
  int known = cluster->total;
  cluster->done = done;
  if (had == total && !cluster->next)
    return; /* it was there when that was over, and does not know it */
  cluster->total = had;
  if (had > 0)
    tg_cluster_shard_at(cluster, had - 1);
  if (was_here)
    leave_old(cluster);
  else
    lose_all(cluster);
  if (cluster->next && !was_here)
    drop_next(cluster);
  renumber_calls(cluster, was_here);
  cluster->before_total = had;
  take_next(cluster, total, was_here);
  if (known == 0)
    cluster->total = 0; /* it is told as ever */
  else
    tg_cluster_say(cluster, &(struct tg_cluster_word){
                                .kind = TG_CLUSTER_CHANGED, .total = total, .change = done, .own = was_here});
  cluster->beat_at = cluster->now;
}

/* ---- what Redis says ---- */

void tg_change_learn_end(struct tg_cluster *cluster, const json_t *answer)
{
  uint64_t done = (uint64_t)tg_answer_number(answer, "done");
  uint64_t ended = (uint64_t)tg_answer_number(answer, "ended");
  if (json_object_get(answer, "before"))
    cluster->before_told = (int)tg_answer_number(answer, "before");
  if (done > cluster->done)
    end(cluster, answer, done);
  if (ended > cluster->ended_change)
    cluster->ended_change = ended;
}

void tg_change_learn(struct tg_cluster *cluster, const json_t *answer)
{
  uint64_t change = (uint64_t)tg_answer_number(answer, "change");
  if (cluster->next && cluster->change != change)
    drop_next(cluster);
  if (!change)
    return;
  if (!cluster->next)
    begin(cluster, (int)tg_answer_number(answer, "to"), change);
  for (size_t i = 0; i < sizeof cluster->classes / sizeof cluster->classes[0]; i++)
    cluster->classes[i] = (int)json_number_value(json_array_get(json_object_get(answer, "classes"), i));
}

void tg_change_tell(const struct tg_cluster *cluster, json_t *beat)
{
  json_object_set_new(beat, "done", json_integer((json_int_t)cluster->done));
  json_object_set_new(beat, "ended", json_integer((json_int_t)cluster->ended_change));
  json_object_set_new(beat, "before", json_integer(cluster->before_told));
  if (!cluster->next)
    return;
  json_object_set_new(beat, "change", json_integer((json_int_t)cluster->change));
  json_object_set_new(beat, "to", json_integer(cluster->to));
}

/* ---- how far classes are ---- */

void tg_cluster_class(struct tg_cluster *cluster, int class, enum tg_class_step step, const char *file)
{
  if (!cluster->next || !tg_cluster_has(cluster, class))
    return;
  struct tg_cluster_shard *shard = &cluster->shards[class];
  if (file) {
    free(shard->file);
    shard->file = tg_strdup(file);
  }
  shard->step_wants = step > shard->step ? step : shard->step;
  shard->class_at = cluster->now;
  shard->class_call = 0; /* one under way is of what was before */
}

void tg_class_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  struct tg_cluster_shard *shard = &cluster->shards[call->shard];
  if (shard->class_call != call->id)
    return;
  shard->class_call = 0;
  const char *why = tg_answer_text(answer, "refused");
  if (why) {
    shard->class_at = cluster->now + TRY_AGAIN;
    cluster->beat_at = cluster->now; /* which tells what there is */
    return;
  }
  enum tg_class_step step = (enum tg_class_step)tg_answer_number(answer, "step");
  shard->step_wants = TG_CLASS_STEP_NONE;
  if (step <= shard->step)
    return;
  shard->step = step;
  tg_cluster_say(cluster,
                 &(struct tg_cluster_word){
                     .kind = TG_CLUSTER_CLASS, .shard = call->shard, .total = cluster->total, .step = step});
}

void tg_change_tick(struct tg_cluster *cluster)
{
  for (int i = 0; cluster->next && i < cluster->total; i++) {
    struct tg_cluster_shard *shard = &cluster->shards[i];
    if (!shard->step_wants || shard->class_call || cluster->now < shard->class_at ||
        !tg_lease_is_sure(shard, cluster->now))
      continue;
    json_t *body = json_pack("{s:I,s:I,s:i}", "fence", (json_int_t)shard->fence, "change",
                             (json_int_t)cluster->change, "step", (int)shard->step_wants);
    if (shard->file)
      json_object_set_new(body, "file", json_string(shard->file));
    shard->class_call = tg_cluster_call(cluster, TG_CALL_CLASS, i, body);
  }
}
