#include "manager/cluster/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *const call_names[] = {
    [TG_CALL_BEAT] = "beat",     [TG_CALL_CLAIM] = "claim",   [TG_CALL_PUT] = "put",
    [TG_CALL_OFFER] = "offer",   [TG_CALL_READY] = "ready",   [TG_CALL_RELEASE] = "release",
    [TG_CALL_SLOT] = "slot",     [TG_CALL_SENT] = "sent",     [TG_CALL_DONE] = "done",
    [TG_CALL_UNUSED] = "unused", [TG_CALL_BUDGET] = "budget", [TG_CALL_FILLED] = "filled",
    [TG_CALL_CLASS] = "class",
};

/* ---- life ---- */

struct tg_cluster *tg_cluster_new(const struct tg_cluster_options *options, tg_ms now)
{
  struct tg_cluster *cluster = tg_calloc(1, sizeof *cluster);
  cluster->host = tg_strdup(options->host);
  cluster->home = tg_strdup(options->home);
  cluster->life = options->life;
  cluster->bot = tg_strdup(options->bot);
  cluster->digest = tg_strdup(options->digest);
  cluster->total_wanted = options->total;
  cluster->reserve = options->reserve;
  cluster->mark = options->mark;
  cluster->before_told = options->before;
  cluster->ended_change = options->ended;
  cluster->done = options->done;
  if (options->change) {
    cluster->change = options->change;
    cluster->to = options->to;
    cluster->next = tg_calloc((size_t)options->to, sizeof *cluster->next);
  }
  cluster->was = options->was ? options->was : options->total;
  cluster->progress = options->progress;
  cluster->ctx = options->ctx;
  cluster->now = cluster->ticked_at = cluster->answered_at = cluster->beat_at = cluster->give_at = now;
  cluster->links = (uint64_t)now; /* higher than those of a program before with the same life */
  return cluster;
}

void tg_cluster_free_shard(struct tg_cluster_shard *shard)
{
  free(shard->id);
  free(shard->resume_url);
  free(shard->digest);
  free(shard->peer);
  free(shard->file);
}

static void free_shards(struct tg_cluster_shard *shards, int count)
{
  for (int i = 0; i < count; i++)
    tg_cluster_free_shard(&shards[i]);
  free(shards);
}

static void forget_calls(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->out_count; i++)
    free(cluster->out[i].body);
  cluster->out_count = cluster->under_way_count = 0;
}

static void free_word(struct tg_said_word *said)
{
  for (size_t i = 0; i < sizeof said->texts / sizeof said->texts[0]; i++)
    free(said->texts[i]);
}

void tg_cluster_free(struct tg_cluster *cluster)
{
  if (!cluster)
    return;
  forget_calls(cluster);
  for (int i = 0; i < cluster->word_count; i++)
    free_word(&cluster->words[i]);
  free_shards(cluster->shards, cluster->shard_count);
  free_shards(cluster->next, cluster->to);
  free_shards(cluster->before, cluster->before_count);
  for (int i = 0; i < cluster->host_count; i++) {
    free((char *)cluster->hosts[i].name);
    free((char *)cluster->hosts[i].digest);
  }
  tg_holes_free(cluster);
  free(cluster->out);
  free(cluster->under_way);
  free(cluster->words);
  free(cluster->hosts);
  free(cluster->leader);
  free(cluster->run_id);
  free(cluster->host);
  free(cluster->home);
  free(cluster->bot);
  free(cluster->digest);
  free(cluster);
}

struct tg_cluster_shard *tg_cluster_find(const struct tg_cluster *cluster, int shard)
{
  if (shard >= TG_CLUSTER_NEXT)
    return shard - TG_CLUSTER_NEXT < cluster->to ? &cluster->next[shard - TG_CLUSTER_NEXT] : NULL;
  return shard < cluster->shard_count ? &cluster->shards[shard] : NULL;
}

int tg_cluster_next_of(const struct tg_cluster *cluster, int shard)
{
  int next = shard + 1;
  if (next < TG_CLUSTER_NEXT && next >= cluster->shard_count)
    next = TG_CLUSTER_NEXT;
  return tg_cluster_find(cluster, next) ? next : -1;
}

struct tg_cluster_shard *tg_cluster_shard_at(struct tg_cluster *cluster, int shard)
{
  if (shard >= TG_CLUSTER_NEXT)
    return &cluster->next[shard - TG_CLUSTER_NEXT];
  if (shard >= cluster->shard_count) {
    int count = shard + 1 > cluster->total ? shard + 1 : cluster->total;
    cluster->shards = tg_realloc(cluster->shards, (size_t)count * sizeof *cluster->shards);
    memset(cluster->shards + cluster->shard_count, 0,
           (size_t)(count - cluster->shard_count) * sizeof *cluster->shards);
    cluster->shard_count = count;
  }
  return &cluster->shards[shard];
}

void tg_cluster_note_mark(struct tg_cluster *cluster, uint64_t mark)
{
  if (mark > cluster->mark)
    cluster->mark = mark;
}

int64_t tg_answer_number(const json_t *answer, const char *key)
{
  return (int64_t)json_number_value(json_object_get(answer, key));
}

const char *tg_answer_text(const json_t *answer, const char *key)
{
  return json_string_value(json_object_get(answer, key));
}

/* ---- words ---- */

static const char *keep_text(struct tg_said_word *said, int *count, const char *text)
{
  return text ? said->texts[(*count)++] = tg_strdup(text) : NULL;
}

void tg_cluster_say(struct tg_cluster *cluster, const struct tg_cluster_word *word)
{
  cluster->words = tg_realloc(cluster->words, (size_t)(cluster->word_count + 1) * sizeof *cluster->words);
  struct tg_said_word *said = &cluster->words[cluster->word_count++];
  *said = (struct tg_said_word){.word = *word};
  int count = 0; /* no word has more texts than there is room for */
  said->word.session.id = keep_text(said, &count, word->session.id);
  said->word.session.resume_url = keep_text(said, &count, word->session.resume_url);
  said->word.session.digest = keep_text(said, &count, word->session.digest);
  if (count == 0) {
    said->word.key = keep_text(said, &count, word->key);
    said->word.text = keep_text(said, &count, word->text);
    said->word.theirs = keep_text(said, &count, word->theirs);
  }
}

void tg_cluster_say_shard(struct tg_cluster *cluster, enum tg_cluster_word_kind kind, int shard)
{
  tg_cluster_say(cluster, &(struct tg_cluster_word){.kind = kind,
                                                    .shard = shard,
                                                    .total = cluster->total,
                                                    .fence = tg_lease_of(cluster, shard)->fence});
}

bool tg_cluster_next_word(struct tg_cluster *cluster, struct tg_cluster_word *word)
{
  if (cluster->word_is_out) {
    free_word(&cluster->words[0]);
    memmove(cluster->words, cluster->words + 1, (size_t)--cluster->word_count * sizeof *cluster->words);
  }
  cluster->word_is_out = cluster->word_count > 0;
  if (cluster->word_is_out)
    *word = cluster->words[0].word;
  return cluster->word_is_out;
}

/* ---- calls ---- */

uint64_t tg_cluster_call(struct tg_cluster *cluster, enum tg_call_kind kind, int shard, json_t *body)
{
  json_object_set_new(body, "run", json_string(cluster->run_id));
  json_object_set_new(body, "host", json_string(cluster->host));
  json_object_set_new(body, "life", json_integer((json_int_t)cluster->life));
  json_object_set_new(body, "link", json_integer((json_int_t)cluster->links));
  json_object_set_new(body, "mark", json_integer((json_int_t)cluster->mark));
  if (shard >= 0) {
    bool is_new = shard >= TG_CLUSTER_NEXT;
    json_object_set_new(body, "shard", json_integer(is_new ? shard - TG_CLUSTER_NEXT : shard));
    json_object_set_new(body, "of", json_integer(is_new ? cluster->to : cluster->total));
  }
  uint64_t id = ++cluster->ids;
  cluster->out = tg_realloc(cluster->out, (size_t)(cluster->out_count + 1) * sizeof *cluster->out);
  cluster->out[cluster->out_count++] =
      (struct tg_cluster_call){id, call_names[kind], json_dumps(body, JSON_COMPACT)};
  json_decref(body);
  cluster->under_way =
      tg_realloc(cluster->under_way, (size_t)(cluster->under_way_count + 1) * sizeof *cluster->under_way);
  cluster->under_way[cluster->under_way_count++] = (struct tg_call_under_way){id, kind, shard, cluster->now};
  return id;
}

bool tg_cluster_next_call(struct tg_cluster *cluster, struct tg_cluster_call *call)
{
  if (cluster->out_count == 0)
    return false;
  *call = cluster->out[0];
  memmove(cluster->out, cluster->out + 1, (size_t)--cluster->out_count * sizeof *cluster->out);
  return true;
}

void tg_cluster_link_up(struct tg_cluster *cluster, const char *run_id, tg_ms now)
{
  bool is_another = cluster->run_id && strcmp(cluster->run_id, run_id) != 0;
  for (int i = -1; is_another && (i = tg_cluster_next_of(cluster, i)) >= 0;) {
    struct tg_cluster_shard *shard = tg_cluster_find(cluster, i); /* it may lack the last that was said */
    shard->put_due = shard->put_due || shard->has_run;
    shard->step_wants = shard->step_wants > shard->step ? shard->step_wants : shard->step;
  }
  free(cluster->run_id);
  cluster->run_id = tg_strdup(run_id);
  cluster->link_up = true;
  cluster->greeted = false;
  cluster->links++;
  cluster->beat_at = now;
}

void tg_cluster_link_down(struct tg_cluster *cluster, tg_ms now)
{
  cluster->now = now;
  cluster->link_up = cluster->greeted = cluster->claim_under_way = false;
  cluster->beats_under_way = 0;
  forget_calls(cluster);
  tg_holes_link_down(cluster);
  for (int i = 0; i < cluster->before_count; i++)
    cluster->before[i].left_beat = 0;
  for (int i = -1; (i = tg_cluster_next_of(cluster, i)) >= 0;) {
    struct tg_cluster_shard *shard = tg_cluster_find(cluster, i);
    shard->beat = shard->left_beat = shard->put_call = shard->move_call = shard->slot_call = 0;
    shard->class_call = 0;
    if (shard->hold == TG_HOLD_MINE)
      tg_move_cancel(shard); /* whether it was offered is not known; the receiver waits in vain */
  }
}

static bool take_call(struct tg_cluster *cluster, uint64_t id, struct tg_call_under_way *call)
{
  for (int i = 0; i < cluster->under_way_count; i++) {
    if (cluster->under_way[i].id != id)
      continue;
    *call = cluster->under_way[i];
    memmove(cluster->under_way + i, cluster->under_way + i + 1,
            (size_t)(--cluster->under_way_count - i) * sizeof *cluster->under_way);
    return true;
  }
  return false;
}

static void answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  if (call->shard < -1 || (call->shard >= 0 && !tg_cluster_find(cluster, call->shard)))
    return;
  switch (call->kind) {
  case TG_CALL_BEAT:
    tg_beat_answered(cluster, call, answer);
    break;
  case TG_CALL_CLAIM:
    tg_claim_answered(cluster, call, answer);
    break;
  case TG_CALL_PUT:
    tg_put_answered(cluster, call, answer);
    break;
  case TG_CALL_OFFER:
    tg_offer_answered(cluster, call, answer);
    break;
  case TG_CALL_RELEASE:
    tg_release_answered(cluster, call, answer);
    break;
  case TG_CALL_SLOT:
    tg_slot_answered(cluster, call, answer);
    break;
  case TG_CALL_FILLED:
    tg_filled_answered(cluster);
    break;
  case TG_CALL_CLASS:
    tg_class_answered(cluster, call, answer);
    break;
  case TG_CALL_BUDGET:
    cluster->beat_at = cluster->now; /* what it was needed for */
    break;
  case TG_CALL_READY:
  case TG_CALL_SENT:
  case TG_CALL_DONE:
  case TG_CALL_UNUSED:
    break;
  }
}

bool tg_cluster_answered(struct tg_cluster *cluster, uint64_t id, const char *text, size_t length, tg_ms now)
{
  struct tg_call_under_way call;
  json_t *answer = json_loadb(text, length, 0, NULL);
  if (!json_is_object(answer)) {
    json_decref(answer);
    return false;
  }
  if (take_call(cluster, id, &call) && !cluster->ended) {
    cluster->now = now;
    cluster->answered_at = now;
    answered(cluster, &call, answer);
  }
  json_decref(answer);
  return true;
}

/* ---- time ---- */

static void look_at_clock(struct tg_cluster *cluster, tg_ms now)
{
  if (now - cluster->ticked_at > TG_STOOD_STILL) {
    cluster->woke_at = now; /* whatever was true before, others may have acted meanwhile */
    for (int i = 0; i < cluster->shard_count; i++)
      cluster->shards[i].open = false;
  }
  cluster->ticked_at = cluster->now = now;
  cluster->away = now - cluster->answered_at > TG_REDIS_PATIENCE && now - cluster->woke_at > TG_REDIS_WOKEN;
}

/* The owner does not know yet that numbers mean other shards now. */
static bool is_renumbered(const struct tg_cluster *cluster)
{
  for (int i = cluster->word_is_out; i < cluster->word_count; i++)
    if (cluster->words[i].word.kind == TG_CLUSTER_CHANGED)
      return true;
  return false;
}

void tg_cluster_tick(struct tg_cluster *cluster, tg_ms now)
{
  look_at_clock(cluster, now);
  if (cluster->ended || is_renumbered(cluster))
    return;
  tg_lease_tick(cluster);
  tg_moves_tick(cluster);
  if (!cluster->link_up)
    return;
  tg_beat_tick(cluster);
  if (!cluster->greeted)
    return;
  tg_lease_put_due(cluster);
  tg_change_tick(cluster);
  tg_holes_tick(cluster);
  tg_turns_tick(cluster);
  tg_shares_tick(cluster);
}

tg_ms tg_cluster_wakeup(const struct tg_cluster *cluster, tg_ms now)
{
  tg_ms first = cluster->ticked_at + TG_STOOD_STILL / 4;
  if (cluster->link_up && cluster->beats_under_way == 0 && cluster->beat_at < first)
    first = cluster->beat_at;
  for (int i = -1; (i = tg_cluster_next_of(cluster, i)) >= 0;) {
    const struct tg_cluster_shard *shard = tg_cluster_find(cluster, i);
    if (!cluster->resting && shard->turn == TG_TURN_ASKING && shard->slot_call == 0 &&
        shard->slot_at < first && tg_lease_is_sure(tg_lease_of(cluster, i), now))
      first = shard->slot_at;
  }
  return first > now ? first : now + 1;
}

/* ---- for people ---- */

void tg_cluster_drain(struct tg_cluster *cluster, bool anyway)
{
  cluster->draining = true;
  cluster->drains_anyway = anyway;
  cluster->beat_at = cluster->now; /* so that others know at once */
}

void tg_cluster_view(const struct tg_cluster *cluster, struct tg_cluster_view *view)
{
  *view = (struct tg_cluster_view){
      .away = cluster->away,
      .quiet = cluster->quiet,
      .leader = cluster->leader,
      .total = cluster->total,
      .held = tg_lease_count(cluster),
      .free = cluster->free,
      .target = tg_share_of(cluster),
      .budget = cluster->budget,
      .holes = cluster->hole_count,
      .moves = cluster->moves,
      .lost_leases = cluster->lost_leases,
      .beat = cluster->beat_took,
      .held_back = cluster->held_back_until > cluster->now ? cluster->held_back_until : 0,
      .hosts = cluster->hosts,
      .host_count = cluster->host_count,
      .mark = cluster->mark,
      .to = cluster->to,
  };
  memcpy(view->classes, cluster->classes, sizeof view->classes);
  for (int i = 0; i < cluster->shard_count; i++)
    view->unsure += tg_hold_has_lease(&cluster->shards[i]) && cluster->shards[i].until <= cluster->now;
}
