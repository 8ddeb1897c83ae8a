/* Where hosts share the shards they go over together. Redis has what all decide by: to how many, and how far
 * each class is (cluster/cluster.h). A host does for its own classes what it would do alone, and says how far
 * they are; what it may do next it sees from how far all are. Nobody waits for the host that has begun it. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_AGAIN = 5000 /* ms until Redis is asked again to take it back */ };

bool tg_reshard_leads(const struct tg_reshard *reshard)
{
  struct tg_member *member = reshard->options.member;
  const char *leader = member ? tg_member_view(member)->leader : NULL;
  return !member || (leader && strcmp(leader, reshard->env->config->cluster.host) == 0);
}

/* ---- classes that are this host's ---- */

static struct tg_managed_shard *next_of(const struct tg_reshard *reshard, int id)
{
  return &reshard->env->next.list[id];
}

bool tg_reshard_has_class(const struct tg_reshard *reshard, int number)
{
  const struct tg_member *member = reshard->options.member;
  if (!member)
    return true;
  if (!tg_member_has_class(member, number) || tg_member_awaits_class(member, number))
    return false;
  for (int id = number; id < reshard->env->next.count; id += reshard->deal.classes)
    if (!next_of(reshard, id)->held)
      return false;
  return true;
}

static bool is_up(const struct tg_reshard *reshard, int number)
{
  for (int id = number; id < reshard->env->next.count; id += reshard->deal.classes)
    if (!next_of(reshard, id)->was_up)
      return false;
  return true;
}

/* Old shards have to have been quiet for a while: voice connections move, answers come late. */
static bool has_settled(struct tg_reshard_class *class, tg_ms now)
{
  if (class->state < TG_CLASS_SETTLED)
    class->settled_at = 0;
  else if (!class->settled_at)
    class->settled_at = now;
  return class->settled_at && now - class->settled_at >= tg_patience(TG_RESHARD_SETTLED);
}

static enum tg_class_step step_of(const struct tg_reshard *reshard, int number, tg_ms now)
{
  struct tg_reshard_class *class = &reshard->classes[number];
  bool has_switched = tg_class_is_switched(class->state);
  bool settled = has_settled(class, now) && class->step >= TG_CLASS_STEP_SWITCHED;
  if (class->state == TG_CLASS_GONE)
    return TG_CLASS_STEP_CLOSED;
  if (settled)
    return TG_CLASS_STEP_SETTLED;
  if (has_switched && class->through && class->file)
    return TG_CLASS_STEP_SWITCHED; /* from here on nothing of the old shard is owed to anybody */
  return is_up(reshard, number) ? TG_CLASS_STEP_UP : TG_CLASS_STEP_NONE;
}

static void tell_step(struct tg_reshard *reshard, int number, tg_ms now)
{
  struct tg_reshard_class *class = &reshard->classes[number];
  if (!tg_reshard_has_class(reshard, number))
    return;
  enum tg_class_step step = step_of(reshard, number, now);
  bool is_news =
      class->told >= TG_CLASS_STEP_SWITCHED && class->told < TG_CLASS_STEP_SETTLED && class->file_is_news;
  if (step <= class->told && !is_news)
    return;
  class->told = step > class->told ? step : class->told;
  bool with_file = class->told >= TG_CLASS_STEP_SWITCHED && class->file_is_news;
  class->file_is_news = class->file_is_news && !with_file;
  tg_member_class(reshard->options.member, number, class->told, with_file ? class->file : NULL);
}

struct class_opening {
  struct tg_reshard *reshard;
  uint64_t run;
  int number;
};

static void on_opened(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct class_opening opening = *(struct class_opening *)ctx;
  free(ctx);
  struct tg_reshard *reshard = opening.reshard;
  if (error && opening.run == reshard->run && reshard->classes)
    reshard->classes[opening.number].opened = false; /* it is said again */
}

/* All know that the class has switched: its worker may deliver. */
static void open_class(struct tg_reshard *reshard, int number)
{
  struct tg_reshard_class *class = &reshard->classes[number];
  int worker = reshard->deal.workers[number];
  struct tg_ipc *line = tg_workers_line(reshard->options.workers, worker);
  if (class->step < TG_CLASS_STEP_SWITCHED || class->opened || !line ||
      reshard->told[worker] != TG_RESHARD_TOLD || !tg_reshard_has_class(reshard, number))
    return;
  struct class_opening *opening = tg_alloc(sizeof *opening);
  *opening = (struct class_opening){reshard, reshard->run, number};
  class->opened = true;
  tg_ask(line, TG_RESHARD_ASK, on_opened, opening, class_published, .number = number);
}

void tg_reshard_class_heard(struct tg_reshard *reshard, int number)
{
  bool has_switched = tg_class_is_switched(reshard->classes[number].state);
  /* Its new sessions may have gone on under other epochs. */
  for (int id = number;
       has_switched && !reshard->classes[number].told_sessions && id < reshard->env->next.count;
       id += reshard->deal.classes)
    tg_member_session_up(reshard->options.member, next_of(reshard, id));
  reshard->classes[number].told_sessions = has_switched;
  tell_step(reshard, number, tg_now());
}

/* ---- what the cluster says ---- */

static bool begin(struct tg_reshard *reshard, const struct tg_cluster_word *word)
{
  struct tg_error error;
  const struct tg_reshard_record *record = &reshard->record;
  if (record->phase != TG_RESHARD_NONE)
    return record->change == word->change; /* as the last run has left it */
  if (reshard->dropping >= 0 || reshard->env->shards.count == 0 || reshard->env->upgrading ||
      reshard->env->stopping)
    return false;
  if (!tg_reshard_begin_record(reshard, word->total, word->change, &error)) {
    if (!reshard->stuck)
      tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error.message)),
                  "the cluster goes over to %d shards, which waits until it can be written here",
                  word->total);
    reshard->stuck = true;
    return false;
  }
  reshard->stuck = false;
  reshard->began = tg_now();
  reshard->abort_wanted[0] = '\0';
  if (!tg_reshard_make_next(reshard, &error)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    tg_reshard_give_up(reshard);
    return false;
  }
  reshard->check.planned = 0;
  tg_reshard_tell_started(reshard);
  if (reshard->wish.granted)
    tg_reshard_answer_wish(reshard, NULL);
  tg_reshard_arm(reshard);
  return true;
}

static void forget_next(struct tg_reshard *reshard)
{
  struct tg_reshard_record *record = &reshard->record;
  free(record->deal);
  record->deal = NULL;
  record->classes = 0;
  record->next = (struct tg_set_name){0};
  record->phase = TG_RESHARD_NONE;
  record->change = 0;
}

static void take_back(struct tg_reshard *reshard, const struct tg_cluster_word *word)
{
  struct tg_reshard_record *record = &reshard->record;
  if (word->change > record->ended)
    record->ended = word->change;
  if (record->phase == TG_RESHARD_NONE)
    return;
  if (reshard->env->next.count == 0) { /* the last run was in it, and this one has not come so far */
    forget_next(reshard);
    reshard->joined_anew = true;
    return;
  }
  snprintf(reshard->abort_reason, sizeof reshard->abort_reason, "%s",
           reshard->abort_wanted[0] ? reshard->abort_wanted : "taken back for all hosts of the cluster");
  reshard->failed = reshard->abort_wanted[0] != '\0';
  reshard->abort_wanted[0] = '\0';
  for (int i = 0; i < reshard->deal.classes; i++)
    reshard->classes[i].step = reshard->classes[i].told = TG_CLASS_STEP_NONE;
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, reshard->abort_reason)),
              "resharding from %d to %d is undone: the %d shards go on", reshard->from, reshard->to,
              reshard->from);
  tg_reshard_arm(reshard);
}

static void end(struct tg_reshard *reshard, const struct tg_cluster_word *word)
{
  struct tg_reshard_record *record = &reshard->record;
  char why[200];
  if (word->own && reshard->env->next.count == word->total && tg_spawn_begun(reshard->options.spawner)) {
    record->ended = record->done = word->change;
    tg_reshard_finish(reshard);
    return;
  }
  snprintf(
      why, sizeof why,
      "the cluster has %d shards now, and this host was not there when it went over to them: it ends, to "
      "be started again with the new number",
      word->total);
  reshard->options.events->outrun(reshard->options.ctx, why);
}

bool tg_reshard_heard(struct tg_reshard *reshard, const struct tg_cluster_word *word)
{
  if (word->kind == TG_CLUSTER_CHANGE)
    return begin(reshard, word);
  if (word->kind == TG_CLUSTER_TAKEN_BACK) {
    take_back(reshard, word);
  } else if (word->kind == TG_CLUSTER_CHANGED) {
    end(reshard, word);
  } else if (reshard->classes && word->kind == TG_CLUSTER_CLASS && word->shard < reshard->deal.classes) {
    reshard->classes[word->shard].step = word->step;
    if (word->step >= TG_CLASS_STEP_SWITCHED)
      reshard->ruled[word->shard] = true; /* its worker says so, too, when it has it */
    open_class(reshard, word->shard);
  } else if (reshard->classes && word->kind != TG_CLUSTER_CLASS) {
    int id = word->shard >= TG_CLUSTER_NEXT ? word->shard - TG_CLUSTER_NEXT : word->shard;
    tg_reshard_forget_class(reshard, id % reshard->deal.classes);
  }
  return true;
}

/* ---- what follows ---- */

/* Where all are, by what Redis has said last. */
static enum tg_reshard_phase phase_of(const struct tg_reshard *reshard, const struct tg_cluster_view *view,
                                      bool all_told)
{
  enum tg_reshard_phase phase = reshard->record.phase;
  int all = reshard->deal.classes;
  const int *classes = view->classes;
  if (view->to != reshard->to)
    return phase; /* not heard yet */
  if (classes[TG_CLASS_STEP_SETTLED - 1] == all)
    return TG_RESHARD_CLOSING;
  if (classes[TG_CLASS_STEP_SWITCHED - 1] == all)
    return TG_RESHARD_SETTLING;
  if (classes[TG_CLASS_STEP_SWITCHED - 1] > 0 || (reshard->first_switched && phase == TG_RESHARD_SWITCHING))
    return TG_RESHARD_SWITCHING;
  if (classes[TG_CLASS_STEP_UP - 1] == all)
    return tg_reshard_switched(reshard) > 0 ? TG_RESHARD_SWITCHING : TG_RESHARD_MATCHING;
  return all_told ? TG_RESHARD_IDENTIFYING : TG_RESHARD_PREPARING;
}

/* Which shards have the guilds of classes that others have is not heard class by class. */
static void note_others(const struct tg_reshard *reshard)
{
  const struct tg_cluster_view *view = tg_member_view(reshard->options.member);
  bool all = view->to == reshard->to && view->classes[TG_CLASS_STEP_SWITCHED - 1] == reshard->deal.classes;
  for (int i = 0; i < reshard->deal.classes; i++)
    if (!tg_member_has_class(reshard->options.member, i))
      reshard->ruled[i] = all;
}

/* Old shards that were not to begin a session any more are needed again. */
static void go_on_with_old(struct tg_reshard *reshard)
{
  struct tg_shard_set *shards = &reshard->env->shards;
  for (int i = 0; i < shards->count; i++)
    if (shards->list[i].held && !shards->list[i].wanted)
      tg_spawn_take(reshard->options.spawner, &shards->list[i]);
}

static void go_back(struct tg_reshard *reshard, tg_ms now)
{
  if (reshard->record.phase != TG_RESHARD_ABORTING && !tg_reshard_enter(reshard, TG_RESHARD_ABORTING))
    return;
  reshard->env->next_is_current = false;
  if (tg_reshard_switched(reshard) > 0)
    tg_reshard_start_shards(reshard, now); /* to go back, what rules has to run */
  if (!tg_reshard_switch_back(reshard, now))
    return;
  tg_reshard_drop_next(reshard);
  go_on_with_old(reshard);
}

/* A class that switches is not delivered before all hosts know it: Redis has to take that now. */
static bool can_be_known(const struct tg_reshard *reshard)
{
  struct tg_member *member = reshard->options.member;
  return tg_member_is_connected(member) && tg_member_view(member)->quiet == 0;
}

static void go_on(struct tg_reshard *reshard, tg_ms now, bool all_told)
{
  enum tg_reshard_phase phase = phase_of(reshard, tg_member_view(reshard->options.member), all_told);
  uint64_t run = reshard->run;
  if (phase != reshard->record.phase && !tg_reshard_enter(reshard, phase))
    return;
  reshard->env->next_is_current = phase == TG_RESHARD_CLOSING;
  note_others(reshard);
  if (all_told)
    tg_reshard_start_shards(reshard, now);
  for (int i = 0; run == reshard->run && reshard->classes && i < reshard->deal.classes; i++) {
    tell_step(reshard, i, now); /* which may bring its end, if the link has just answered */
    if (reshard->classes)
      open_class(reshard, i);
  }
  if (run != reshard->run || !reshard->classes)
    return;
  if (phase >= TG_RESHARD_MATCHING && phase <= TG_RESHARD_SETTLING && can_be_known(reshard))
    tg_reshard_switch_some(reshard, now);
  if (phase == TG_RESHARD_CLOSING)
    tg_reshard_close_some(reshard, now);
}

void tg_reshard_follow(struct tg_reshard *reshard, tg_ms now)
{
  tg_reshard_write_again(reshard);
  if (reshard->record.phase == TG_RESHARD_NONE) {
    if (reshard->dropping >= 0)
      tg_reshard_drop_step(reshard);
    return;
  }
  if (reshard->abort_wanted[0] && !reshard->is_asking && now >= reshard->ask_at) {
    reshard->ask_at = now + tg_patience(ASK_AGAIN);
    tg_reshard_ask_to_abort(reshard, NULL, NULL);
  }
  bool all_told = tg_reshard_tell_workers(reshard, now);
  if (reshard->abort_reason[0])
    go_back(reshard, now);
  else
    go_on(reshard, now, all_told);
  reshard->looked_at = now;
}
