/* The number of shards is changed: what the cluster says of that, and of classes (cluster.h) that come from
 * other hosts and go to them. What follows from it is decided in reshard/, which hears of it by
 * events.change. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/cluster/member_impl.h"
#include "worker/messages.h"

#include <stdlib.h>

enum { FILE_TIMEOUT = 60000 /* ms for a worker to keep the file of a class */ };

static int class_of(const struct tg_member *member, int number)
{
  return (number >= TG_CLUSTER_NEXT ? number - TG_CLUSTER_NEXT : number) % member->total;
}

static bool is_of_shard(const struct tg_cluster_word *word)
{
  return word->kind < TG_CLUSTER_ASK_DISCORD && word->kind != TG_CLUSTER_HOLE;
}

/* ---- classes ---- */

static void forget_file(struct tg_member_class *class)
{
  free(class->file);
  class->file = NULL;
  class->is_due = false;
}

static void forget_classes(struct tg_member *member)
{
  for (int i = 0; member->classes && i < member->total; i++) {
    forget_file(&member->classes[i]);
    member->classes[i].member = NULL;
  }
  if (member->classes)
    tg_member_bury(member, member->classes);
  member->classes = NULL;
}

static void list_classes(struct tg_member *member)
{
  member->classes = tg_calloc((size_t)member->total, sizeof *member->classes);
  for (int i = 0; i < member->total; i++)
    member->classes[i] = (struct tg_member_class){.member = member, .number = i};
}

/* Behind -1, the shards of a class, of both sets; NULL: there is no further one. */
static struct tg_member_shard *shard_of(const struct tg_member *member, int number, int *id)
{
  *id = *id < 0 ? number : *id + member->total;
  if (*id >= member->total + member->to)
    return NULL;
  return *id < member->total ? &member->sides[member->side].list[*id]
                             : &member->sides[!member->side].list[*id - member->total];
}

/* All rows are there before the first of its shards runs: by them its worker knows what it has. */
static void on_filed(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_class *class = ctx;
  struct tg_member *member = class->member;
  (void)data;
  if (!member || member->stopped)
    return;
  class->asked = TG_ASKED_NOT;
  if (error) {
    tg_log_with(
        TG_WARN, class->number, TG_WITH(TG_TEXT(REASON, error->message)),
        "how far the shard's guilds have gone over cannot be kept, so that they cannot run here yet; it "
        "is tried again");
    return;
  }
  forget_file(class);
  struct tg_member_shard *shard;
  for (int id = -1; (shard = shard_of(member, class->number, &id));)
    tg_member_take_row(shard);
  tg_member_try_again(member);
}

/* Nothing of another time that the class was here is to be confused with what comes. */
static bool has_been_left(const struct tg_member *member, int number)
{
  const struct tg_member_shard *shard;
  for (int id = -1; (shard = shard_of(member, number, &id));) {
    const struct tg_task *task = shard->tasks;
    if (task && !(task->word.kind == TG_CLUSTER_RUN && (task->word.own || shard->left)))
      return false;
  }
  return true;
}

bool tg_member_class_may_run(struct tg_member *member, const struct tg_member_shard *shard)
{
  if (!member->classes)
    return true;
  struct tg_member_class *class = &member->classes[tg_ref_id(shard->ref) % member->total];
  if (!class->is_due)
    return true;
  const struct tg_managed_shard *managed = tg_member_managed(member, class->number);
  struct tg_ipc *line = tg_workers_line(member->workers, managed->worker_id);
  if (class->asked != TG_ASKED_NOW && line && has_been_left(member, class->number)) {
    class->asked = TG_ASKED_NOW;
    tg_ask(line, FILE_TIMEOUT, on_filed, class, class_file, .number = class->number,
           .text = class->file ? class->file : "");
  }
  return false;
}

/* What is not delivered from now on came by the new shards alone. */
static void publish(const struct tg_member *member, const struct tg_member_class *class)
{
  for (int id = class->number; id < member->to; id += member->total) {
    struct tg_managed_shard *shard = tg_member_managed(member, TG_CLUSTER_NEXT + id);
    if (shard && shard->held)
      atomic_store(&tg_shard_row_of(shard)->published, 1);
  }
}

bool tg_member_is_published(const struct tg_member *member, const struct tg_member_shard *shard)
{
  int id = tg_ref_id(shard->ref);
  return member->classes && tg_ref_side(shard->ref) != member->side &&
         member->classes[id % member->total].step >= TG_CLASS_STEP_SWITCHED;
}

static void on_class(struct tg_member *member, const struct tg_cluster_word *word)
{
  if (!member->classes || word->shard >= member->total)
    return;
  struct tg_member_class *class = &member->classes[word->shard];
  class->step = word->step;
  if (word->text) {
    forget_file(class);
    class->file = tg_strdup(word->text);
    class->is_due = true;
  } else if (word->step >= TG_CLASS_STEP_SWITCHED) {
    publish(member, class);
  }
  member->events->change(member->ctx, word);
}

/* A class comes from another host, or begins here anew; or it goes. */
static void note_class(struct tg_member *member, const struct tg_cluster_word *word)
{
  struct tg_member_class *class = &member->classes[class_of(member, word->shard)];
  if (word->kind == TG_CLUSTER_RUN) {
    class->is_due = class->is_due || (!word->own && word->shard < TG_CLUSTER_NEXT);
  } else if (word->kind == TG_CLUSTER_LOST || word->kind == TG_CLUSTER_RELEASED) {
    forget_file(class);
    class->step = TG_CLASS_STEP_NONE;
    member->events->change(member->ctx, word);
  }
}

/* ---- the change ---- */

static void postpone(struct tg_member *member, const struct tg_cluster_word *word)
{
  tg_task_append(&member->postponed, tg_task_new(word));
}

static void forget_postponed(struct tg_member *member)
{
  while (member->postponed) {
    struct tg_task *task = member->postponed;
    member->postponed = task->next;
    tg_task_free(task);
  }
}

/* Where shards of the last change are still in the place of those to come it waits. */
static bool begin(struct tg_member *member, const struct tg_cluster_word *word)
{
  if (member->to > 0)
    return true; /* it is known from the last run */
  if (member->sides[!member->side].table || !member->events->change(member->ctx, word))
    return false;
  member->to = word->total;
  tg_member_list(member, !member->side, member->to);
  list_classes(member);
  return true;
}

static void take_back(struct tg_member *member, const struct tg_cluster_word *word)
{
  forget_postponed(member);
  forget_classes(member);
  bool began = member->to > 0;
  member->to = 0;
  if (began)
    tg_member_unlist(member, !member->side);
  else if (member->total == 0)
    tg_member_forget_old(member); /* of the last run */
  member->events->change(member->ctx, word);
}

/* Rows of old shards of which something is left stay. */
static void end(struct tg_member *member, const struct tg_cluster_word *word)
{
  const struct tg_manager_env *env = member->env;
  struct tg_cluster_word told = *word;
  struct tg_error error;
  int side = member->side, total = member->total;
  told.own = word->own && member->to > 0 && member->goes_on;
  forget_postponed(member);
  forget_classes(member);
  if (told.own)
    member->sides[side].table = tg_shard_table_open(env->state_dir, side, total,
                                                    tg_identity(env->bot_with_intents, total), 0, &error);
  member->events->change(member->ctx, &told);
  if (told.own && !env->stopping)
    tg_member_change_sides(member, word->total);
}

bool tg_member_change_word(struct tg_member *member, const struct tg_cluster_word *word)
{
  bool is_next = is_of_shard(word) && word->shard >= TG_CLUSTER_NEXT;
  if (word->kind == TG_CLUSTER_TAKEN_BACK)
    take_back(member, word);
  else if (word->kind == TG_CLUSTER_CHANGED)
    end(member, word);
  else if (member->postponed && (is_next || word->kind == TG_CLUSTER_CLASS))
    postpone(member, word);
  else if (word->kind == TG_CLUSTER_CHANGE && !begin(member, word))
    postpone(member, word);
  else if (word->kind == TG_CLUSTER_CLASS)
    on_class(member, word);
  else if (member->classes && is_of_shard(word))
    note_class(member, word);
  return !is_of_shard(word) || (is_next && member->postponed);
}

void tg_member_change_again(struct tg_member *member)
{
  if (!member->postponed || !begin(member, &member->postponed->word))
    return;
  struct tg_task *tasks = member->postponed;
  member->postponed = NULL;
  while (tasks) {
    struct tg_task *task = tasks;
    tasks = task->next;
    if (!tg_member_change_word(member, &task->word))
      tg_member_word(member, &task->word);
    tg_task_free(task);
  }
}

void tg_member_take_change(struct tg_member *member)
{
  if (member->to > 0 && !member->classes)
    list_classes(member);
}

void tg_member_forget_change(struct tg_member *member)
{
  forget_postponed(member);
  forget_classes(member);
}

/* ---- what reshard/ says and asks ---- */

bool tg_member_has_class(const struct tg_member *member, int class)
{
  return tg_cluster_has(member->cluster, class);
}

bool tg_member_awaits_class(const struct tg_member *member, int class)
{
  return member->classes && class < member->total && member->classes[class].is_due;
}

void tg_member_class(struct tg_member *member, int class, enum tg_class_step step, const char *file)
{
  tg_cluster_class(member->cluster, class, step, file);
  tg_member_pump(member);
}
