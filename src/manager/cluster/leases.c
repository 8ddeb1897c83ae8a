#include "manager/cluster/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

/* Leases by the own clock, and the sessions that go with them. */

static void set_text(char **text, const char *value)
{
  char *copy = value ? tg_strdup(value) : NULL;
  free(*text);
  *text = copy;
}

static void set_session(struct tg_cluster_shard *shard, const struct tg_cluster_session *session)
{
  shard->epoch = session->epoch;
  set_text(&shard->id, session->id);
  set_text(&shard->resume_url, session->resume_url);
  set_text(&shard->digest, session->digest);
}

void tg_lease_set_session(struct tg_cluster_shard *shard, const json_t *given)
{
  set_session(shard, &(struct tg_cluster_session){
                         .epoch = (uint64_t)tg_answer_number(given, "epoch"),
                         .id = tg_answer_text(given, "session"),
                         .resume_url = tg_answer_text(given, "url"),
                         .digest = tg_answer_text(given, "digest"),
                     });
}

struct tg_cluster_shard *tg_lease_of(const struct tg_cluster *cluster, int number)
{
  int class = number >= TG_CLUSTER_NEXT ? (number - TG_CLUSTER_NEXT) % tg_class_count_of(cluster) : number;
  return &cluster->shards[class];
}

void tg_lease_say_run(struct tg_cluster *cluster, int number, bool own, uint64_t sequence)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  struct tg_cluster_word word = {.kind = TG_CLUSTER_RUN, .shard = number, .own = own};
  word.total = cluster->total;
  word.fence = tg_lease_of(cluster, number)->fence;
  word.sequence = sequence;
  word.epoch = word.session.epoch = shard->epoch;
  /* A session of other intents, or options, would send what we do not want, and not what we do. */
  if (shard->id && shard->digest && strcmp(shard->digest, cluster->digest) == 0) {
    word.session.id = shard->id;
    word.session.resume_url = shard->resume_url;
    word.session.digest = shard->digest;
  }
  shard->running = true;
  tg_cluster_say(cluster, &word);
}

void tg_cluster_had(struct tg_cluster *cluster, int number, uint64_t fence,
                    const struct tg_cluster_session *session)
{
  struct tg_cluster_shard *shard = tg_cluster_shard_at(cluster, number);
  shard->was_here = true;
  if (number < TG_CLUSTER_NEXT) {
    shard->hold = TG_HOLD_MINE;
    shard->fence = fence;
    shard->until = cluster->now; /* not sure of it */
  }
  set_session(shard, session);
  tg_cluster_note_mark(cluster, fence);
  tg_cluster_note_mark(cluster, session->epoch);
}

/* What is left of several times that it was here: from the first event that is not delivered. */
static void note_left(struct tg_cluster_shard *shard, uint64_t fence,
                      const struct tg_cluster_progress *progress)
{
  struct tg_cluster_progress first = shard->left;
  bool is_more = shard->left_fence != 0;
  shard->left = *progress;
  if (is_more &&
      (first.delivered_epoch < progress->delivered_epoch ||
       (first.delivered_epoch == progress->delivered_epoch && first.delivered < progress->delivered))) {
    shard->left.delivered_epoch = first.delivered_epoch;
    shard->left.delivered = first.delivered;
  }
  if (is_more && first.epoch > shard->left.epoch)
    shard->left.epoch = first.epoch;
  shard->left.published = progress->published || (is_more && first.published);
  shard->left_fence = fence;
  shard->left_beat = 0;
}

void tg_cluster_left(struct tg_cluster *cluster, int number, uint64_t fence,
                     const struct tg_cluster_progress *progress)
{
  note_left(tg_cluster_shard_at(cluster, number), fence, progress);
  tg_cluster_note_mark(cluster, fence);
}

void tg_cluster_left_before(struct tg_cluster *cluster, int number, uint64_t fence,
                            const struct tg_cluster_progress *progress)
{
  if (!cluster->before) {
    cluster->before_count = cluster->before_total = cluster->before_told;
    cluster->before = tg_calloc((size_t)cluster->before_count, sizeof *cluster->before);
  }
  note_left(&cluster->before[number], fence, progress);
  tg_cluster_note_mark(cluster, fence);
}

/* What remains is that it was here. */
void tg_lease_leave(struct tg_cluster *cluster, int number, uint64_t fence, enum tg_cluster_word_kind kind)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  struct tg_cluster_progress progress = {0};
  tg_turn_end(cluster, number);
  cluster->progress(cluster->ctx, number, &progress);
  note_left(shard, fence, &progress);
  shard->running = shard->put_due = shard->has_run = shard->was_here = false;
  shard->cut_at = 0;
  shard->is_cut_again = false;
  tg_cluster_say_shard(cluster, kind, number);
}

/* And its new shards, if the number of shards is being changed: those that run, or would. */
static void leave_class(struct tg_cluster *cluster, int number, enum tg_cluster_word_kind kind)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  if (!shard->without_old)
    tg_lease_leave(cluster, number, shard->fence, kind);
  for (int next = -1; (next = tg_change_next_of(cluster, number, next)) >= 0;) {
    const struct tg_cluster_shard *new = tg_cluster_find(cluster, next);
    if (new->running || new->was_here)
      tg_lease_leave(cluster, next, shard->fence, kind);
  }
  tg_move_cancel(shard);
  shard->hold = TG_HOLD_NONE;
  shard->running = shard->open = shard->without_old = false;
  shard->until = 0;
  shard->beat = 0;
  shard->step = shard->step_wants = TG_CLASS_STEP_NONE;
  shard->class_call = 0;
}

void tg_lease_lost(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  bool was_given = shard->hold == TG_HOLD_STOPPED;
  if (was_given)
    cluster->moves++;
  else
    cluster->lost_leases++;
  leave_class(cluster, number, was_given ? TG_CLUSTER_RELEASED : TG_CLUSTER_LOST);
}

void tg_lease_confirmed(struct tg_cluster *cluster, int number, tg_ms at)
{
  struct tg_cluster_shard *shard = &cluster->shards[number];
  shard->until = at + TG_LEASE_HELD;
  shard->open = shard->is_cut_again = false;
  shard->cut_at = 0;
  for (int next = -1; (next = tg_change_next_of(cluster, number, next)) >= 0;) {
    struct tg_cluster_shard *new = tg_cluster_find(cluster, next);
    new->is_cut_again = false;
    new->cut_at = 0;
  }
  if (shard->running)
    return;
  tg_lease_say_run(cluster, number, true, 0);
  tg_change_run(cluster, number, NULL);
}

void tg_lease_take(struct tg_cluster *cluster, const json_t *given, tg_ms at)
{
  int number = (int)tg_answer_number(given, "shard");
  uint64_t fence = (uint64_t)tg_answer_number(given, "fence");
  if (number < 0 || number >= cluster->total)
    return;
  struct tg_cluster_shard *shard = &cluster->shards[number];
  if (tg_hold_has_lease(shard)) {
    if (shard->fence >= fence)
      return; /* told twice */
    tg_lease_lost(cluster, number);
  }
  tg_move_cancel(shard);
  shard->hold = TG_HOLD_MINE;
  shard->fence = fence;
  shard->until = at + TG_LEASE_HELD;
  shard->beat = 0;
  tg_cluster_note_mark(cluster, fence);
  shard->running = true;
  shard->without_old = tg_answer_number(given, "step") >= TG_CLASS_STEP_SWITCHED;
  tg_lease_set_session(shard, shard->without_old ? NULL : given);
  if (!shard->without_old)
    tg_lease_say_run(cluster, number, false, (uint64_t)tg_answer_number(given, "from"));
  tg_change_run(cluster, number, given);
}

bool tg_lease_any_unsure(const struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->shard_count; i++)
    if (tg_hold_has_lease(&cluster->shards[i]) && !tg_lease_is_sure(&cluster->shards[i], cluster->now))
      return true;
  return false;
}

int tg_lease_count(const struct tg_cluster *cluster)
{
  int count = 0;
  for (int i = 0; i < cluster->shard_count; i++)
    count += tg_hold_has_lease(&cluster->shards[i]);
  return count;
}

tg_ms tg_cluster_lease_until(const struct tg_cluster *cluster, int number)
{
  if (!tg_cluster_has(cluster, number))
    return 0;
  const struct tg_cluster_shard *lease = tg_lease_of(cluster, number);
  return lease->open ? TG_LEASE_OPEN : lease->until;
}

bool tg_cluster_has(const struct tg_cluster *cluster, int number)
{
  const struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  return shard && shard->running && tg_lease_of(cluster, number)->hold == TG_HOLD_MINE;
}

/* ---- cuts ---- */

void tg_cluster_cut(struct tg_cluster *cluster, int number, tg_ms now)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (!shard)
    return;
  if (tg_lease_is_sure(tg_lease_of(cluster, number), now)) {
    shard->cut_at = 0;
    return;
  }
  shard->is_cut_again = shard->is_cut_again || (shard->cut_at && now - shard->cut_at <= TG_CUT_AGAIN);
  shard->cut_at = now;
}

bool tg_cluster_may_resume(const struct tg_cluster *cluster, int number)
{
  if (!tg_cluster_has(cluster, number) || tg_cluster_find(cluster, number)->is_cut_again)
    return false;
  const struct tg_cluster_shard *lease = tg_lease_of(cluster, number);
  return lease->open || tg_lease_is_sure(lease, cluster->now); /* else it may be another's by now */
}

/* ---- sessions ---- */

void tg_cluster_runs(struct tg_cluster *cluster, int number, const struct tg_cluster_session *session)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  if (!shard)
    return; /* of a change that is over */
  set_session(shard, session);
  tg_cluster_note_mark(cluster, session->epoch);
  shard->has_run = shard->put_due = true;
  shard->put_call = 0; /* one under way is of what was before */
}

bool tg_lease_progress(const struct tg_cluster *cluster, int number, json_t *item)
{
  const struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  struct tg_cluster_progress progress = {0};
  cluster->progress(cluster->ctx, number, &progress);
  bool is_told = progress.epoch == shard->epoch;
  if (!is_told)
    progress = (struct tg_cluster_progress){0}; /* as of a session that Redis does not have */
  json_object_set_new(item, "epoch", json_integer((json_int_t)progress.epoch));
  json_object_set_new(item, "durable", json_integer((json_int_t)progress.durable));
  json_object_set_new(item, "delivered_epoch", json_integer((json_int_t)progress.delivered_epoch));
  json_object_set_new(item, "delivered", json_integer((json_int_t)progress.delivered));
  json_object_set_new(item, "guilds", json_integer(progress.guilds));
  return is_told;
}

static void put(struct tg_cluster *cluster, int number)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  json_t *body = json_pack("{s:I,s:b}", "fence", (json_int_t)tg_lease_of(cluster, number)->fence, "runs",
                           shard->has_run);
  if (!tg_lease_progress(cluster, number, body)) {
    json_decref(body);
    return;
  }
  if (shard->id)
    json_object_set_new(body, "session", json_string(shard->id));
  if (shard->resume_url)
    json_object_set_new(body, "url", json_string(shard->resume_url));
  if (shard->digest)
    json_object_set_new(body, "digest", json_string(shard->digest));
  shard->put_call = tg_cluster_call(cluster, TG_CALL_PUT, number, body);
}

void tg_put_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, call->shard);
  if (shard->put_call != call->id)
    return;
  shard->put_call = 0;
  shard->put_due = false;
  if (tg_answer_text(answer, "refused"))
    cluster->beat_at = cluster->now; /* it is not ours any more, or not yet again: a beat tells */
}

void tg_lease_put_due(struct tg_cluster *cluster)
{
  for (int i = -1; (i = tg_cluster_next_of(cluster, i)) >= 0;) {
    const struct tg_cluster_shard *shard = tg_cluster_find(cluster, i);
    if (shard->put_due && !shard->put_call && tg_hold_has_lease(tg_lease_of(cluster, i)))
      put(cluster, i);
  }
}

void tg_lease_tick(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->shard_count; i++) {
    struct tg_cluster_shard *shard = &cluster->shards[i];
    if (cluster->away && shard->running && tg_hold_has_lease(shard) && !tg_lease_is_sure(shard, cluster->now))
      shard->open = true;
  }
}
