/* What the cluster says of shards is done here. A shard's words are done in their order, one after the other;
 * those for which a worker is asked wait for its answer. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/cluster/member_impl.h"
#include "worker/messages.h"

#include <stdlib.h>
#include <string.h>

enum {
  LEAVE_TIMEOUT = 120000, /* ms: what waits for the bot may be much, and is written anew */
  LET_GO_PATIENCE = 300,  /* ms for events that are under way to the bot */
  LET_GO_TIMEOUT = 5000,
};

/* NULL: its set is over. */
static struct tg_managed_shard *managed_of(const struct tg_member_shard *shard)
{
  return tg_shard_of_ref(shard->member->env, shard->ref);
}

static struct tg_shard_row *row_of(const struct tg_member_shard *shard)
{
  return tg_member_row(shard->member, shard->ref);
}

static void step(struct tg_member_shard *shard);

static char *copy(const char *text)
{
  return text ? tg_strdup(text) : NULL;
}

struct tg_task *tg_task_new(const struct tg_cluster_word *word)
{
  struct tg_task *task = tg_calloc(1, sizeof *task);
  task->word = *word;
  task->word.session.id = task->texts[0] = copy(word->session.id);
  task->word.session.resume_url = task->texts[1] = copy(word->session.resume_url);
  task->word.text = task->texts[2] = copy(word->text);
  return task;
}

void tg_task_free(struct tg_task *task)
{
  for (size_t i = 0; i < sizeof task->texts / sizeof task->texts[0]; i++)
    free(task->texts[i]);
  free(task);
}

void tg_task_append(struct tg_task **list, struct tg_task *task)
{
  while (*list)
    list = &(*list)->next;
  *list = task;
}

static void end_task(struct tg_member_shard *shard)
{
  struct tg_task *task = shard->tasks;
  shard->tasks = task->next;
  shard->asked = TG_ASKED_NOT;
  shard->left = shard->taken = false;
  shard->worker = 0;
  tg_task_free(task);
}

/* ---- a worker is asked ---- */

/* False: its worker is not there. */
static bool ask(struct tg_member_shard *shard, const struct tg_message *message, tg_ms timeout,
                tg_ipc_reply *reply)
{
  const struct tg_managed_shard *managed = managed_of(shard);
  int worker = managed ? managed->worker_id : shard->worker;
  struct tg_ipc *line = tg_workers_line(shard->member->workers, worker);
  if (!line)
    return false;
  shard->asked = TG_ASKED_NOW;
  tg_message_ask(line, message, timeout, reply, shard);
  return true;
}

/* What is left of a shard that is no more may lie with any worker: each is asked, one after the other. True:
 * all have been. */
static bool was_last(struct tg_member_shard *shard)
{
  if (managed_of(shard) || shard->worker + 1 >= tg_workers_count(shard->member->workers))
    return true;
  shard->worker++;
  shard->asked = TG_ASKED_NOT;
  return false;
}

static bool is_gone(const struct tg_error *error)
{
  return error && strcmp(error->code, "disk") != 0 && strcmp(error->code, "timeout") != 0;
}

static void complain(const struct tg_member_shard *shard, const char *what, const struct tg_error *error)
{
  tg_log_with(TG_WARN, tg_ref_id(shard->ref), TG_WITH(TG_TEXT(REASON, error->message)),
              "%s; it is tried again", what);
}

static bool ask_to_leave(struct tg_member_shard *shard, tg_ipc_reply *reply)
{
  const struct tg_message message = {.type = TG_MESSAGE_leave_shard, .leave_shard = {shard->ref}};
  return ask(shard, &message, LEAVE_TIMEOUT, reply);
}

/* ---- run ---- */

static bool has_session(struct tg_shard_row *row)
{
  struct tg_session session;
  return tg_session_load(row, &session);
}

/* New shards that have to identify begin one after the other: reshard/ says when. */
static void start(struct tg_member_shard *shard)
{
  struct tg_member *member = shard->member;
  struct tg_managed_shard *managed = managed_of(shard);
  end_task(shard);
  managed->held = true;
  tg_member_lease(member, managed);
  if (managed->set == &member->env->shards || has_session(tg_shard_row_of(managed)))
    tg_spawn_take(member->spawner, managed);
}

static void on_left_to_run(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data;
  if (!shard->member || shard->member->stopped)
    return;
  shard->left = !error;
  shard->asked = error ? TG_ASKED_AGAIN : TG_ASKED_NOT;
  if (error && !is_gone(error))
    complain(shard, "what is left of the shard cannot be put aside, so that it cannot run here yet", error);
  step(shard);
}

/* The old shard of a class whose guilds had gone over when it came is not run. That the class is this host's
 * stands in its row all the same, for the next start. */
static void note_class(const struct tg_member_shard *shard, const struct tg_cluster_word *word)
{
  const struct tg_member *member = shard->member;
  const struct tg_managed_shard *old = tg_member_managed(member, tg_ref_id(shard->ref) % member->total);
  struct tg_shard_row *row = tg_shard_row_of(old);
  if (!tg_member_is_published(member, shard) || old->held)
    return;
  tg_session_store(row, &(struct tg_session){0});
  atomic_store(&row->fence, word->fence);
}

void tg_member_take_row(struct tg_member_shard *shard)
{
  const struct tg_cluster_word *word = shard->tasks ? &shard->tasks->word : NULL;
  struct tg_shard_row *row = row_of(shard);
  if (!word || !managed_of(shard) || shard->taken || word->kind != TG_CLUSTER_RUN ||
      (!word->own && !shard->left))
    return;
  shard->taken = true;
  if (word->own) {
    atomic_store(&row->fence, word->fence);
  } else {
    tg_row_take(row, word);
    atomic_store(&row->published, tg_member_is_published(shard->member, shard));
  }
  note_class(shard, word);
}

static void run(struct tg_member_shard *shard)
{
  const struct tg_cluster_word *word = &shard->tasks->word;
  const struct tg_managed_shard *managed = managed_of(shard);
  if (!managed || (!word->own && !shard->left)) {
    if (!managed || !ask_to_leave(shard, on_left_to_run))
      shard->asked = TG_ASKED_AGAIN;
    return;
  }
  if (!tg_member_class_may_run(shard->member, shard)) {
    shard->asked = TG_ASKED_AGAIN;
    return;
  }
  tg_member_take_row(shard);
  tg_log_with(TG_DEBUG, managed->id,
              TG_WITH(TG_TEXT(NEXT, word->own || word->session.id ? "resume" : "identify")),
              "is this host's now");
  start(shard);
}

/* It was let go, and whether another host has had it since is not known: RESUMED that came there have numbers
 * which nobody is sent again. */
static void keep(struct tg_member_shard *shard)
{
  atomic_fetch_add(&row_of(shard)->unheard, TG_RESUMED_ELSEWHERE);
  start(shard);
}

/* ---- lost, released ---- */

static void on_left(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data;
  if (!shard->member || shard->member->stopped)
    return;
  bool is_done = !error || (is_gone(error) && managed_of(shard)); /* who takes its place does that first */
  if (!is_done)
    shard->asked = TG_ASKED_AGAIN;
  else if (was_last(shard))
    end_task(shard);
  if (error && !is_gone(error))
    complain(shard, "what is left of the shard cannot be put aside", error);
  step(shard);
}

/* The class of a new shard goes with it. */
static void forget_class(const struct tg_member_shard *shard, const struct tg_managed_shard *managed)
{
  const struct tg_member *member = shard->member;
  if (managed->set != &member->env->next)
    return;
  const struct tg_managed_shard *old = tg_member_managed(member, managed->id % member->total);
  if (!old->held)
    atomic_store(&tg_shard_row_of(old)->fence, 0);
}

static void stop(struct tg_member_shard *shard, struct tg_managed_shard *managed)
{
  struct tg_member *member = shard->member;
  bool was_held = managed->held;
  if (shard->tasks->word.kind == TG_CLUSTER_LOST && was_held)
    tg_log(TG_WARN, managed->id, "another host has it: this one stops it, and keeps what is not delivered");
  if (was_held)
    tg_spawn_rest(member->spawner, managed);
  managed->held = false;
  forget_class(shard, managed);
  if (was_held)
    member->events->left(member->ctx, managed);
}

static void leave(struct tg_member_shard *shard)
{
  struct tg_managed_shard *managed = managed_of(shard);
  struct tg_shard_row *row = row_of(shard);
  if (row && shard->worker == 0) {
    tg_row_leave(row);
    if (managed)
      stop(shard, managed);
    atomic_store(&row->state, TG_SHARD_OFFLINE);
  }
  if (ask_to_leave(shard, on_left))
    return;
  if (managed)
    end_task(shard);
  else
    shard->asked = TG_ASKED_AGAIN;
}

/* ---- a move ---- */

static void on_let_go(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data, (void)error; /* a worker that is gone has let go, too */
  if (!shard->member || shard->member->stopped)
    return;
  end_task(shard);
  tg_cluster_let_go(shard->member->cluster, tg_ref_id(shard->ref), false); /* no new shard goes alone */
  step(shard);
  tg_member_pump(shard->member);
}

static void let_go(struct tg_member_shard *shard)
{
  struct tg_member *member = shard->member;
  struct tg_managed_shard *managed = managed_of(shard);
  const struct tg_message message = {.type = TG_MESSAGE_let_go_shard,
                                     .let_go_shard = {shard->ref, LET_GO_PATIENCE}};
  if (managed)
    tg_spawn_rest(member->spawner, managed);
  if (!managed || !ask(shard, &message, LET_GO_TIMEOUT, on_let_go)) {
    end_task(shard);
    tg_cluster_let_go(member->cluster, tg_ref_id(shard->ref), false);
  }
}

/* ---- what is left ---- */

static void on_void(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data;
  if (!shard->member || shard->member->stopped)
    return;
  if (error) {
    shard->asked = TG_ASKED_AGAIN;
    return;
  }
  if (was_last(shard)) {
    struct tg_shard_row *row = row_of(shard);
    if (row) {
      atomic_store(&row->left_published, 0);
      atomic_store(&row->left_fence, 0);
    }
    end_task(shard);
  }
  step(shard);
}

static void make_void(struct tg_member_shard *shard)
{
  const struct tg_message message = {.type = TG_MESSAGE_void_left, .void_left = {shard->ref}};
  if (!ask(shard, &message, LEAVE_TIMEOUT, on_void))
    shard->asked = TG_ASKED_AGAIN;
}

/* ---- all of them ---- */

static void step(struct tg_member_shard *shard)
{
  struct tg_member *member = shard->member;
  while (shard->tasks && shard->asked == TG_ASKED_NOT && member->goes_on && !member->stopped) {
    switch (shard->tasks->word.kind) {
    case TG_CLUSTER_RUN:
      run(shard);
      break;
    case TG_CLUSTER_LOST:
    case TG_CLUSTER_RELEASED:
      leave(shard);
      break;
    case TG_CLUSTER_LET_GO:
      let_go(shard);
      break;
    case TG_CLUSTER_KEEP:
      keep(shard);
      break;
    case TG_CLUSTER_VOID:
      make_void(shard);
      break;
    case TG_CLUSTER_EXPECT:
      end_task(shard);
      tg_cluster_expected(member->cluster, tg_ref_id(shard->ref));
      break;
    default:
      end_task(shard);
      break;
    }
  }
}

void tg_member_word(struct tg_member *member, const struct tg_cluster_word *word)
{
  bool is_early = member->total == 0 && !member->sides[member->side].list;
  if (is_early &&
      member->sides[member->side].table) /* a change has ended, and this host has not heard of it */
    tg_member_list(member, member->side, tg_shard_table_total(member->sides[member->side].table));
  struct tg_member_shard *shard = tg_member_find(member, word->shard, word->total);
  if (!shard)
    return;
  tg_task_append(&shard->tasks, tg_task_new(word));
  step(shard);
}

void tg_member_try_again(struct tg_member *member)
{
  if (!member->goes_on || member->stopped)
    return;
  tg_member_change_again(member);
  for (int at = 0; at < TG_SIDES; at++) {
    for (int i = 0; i < member->sides[at].count; i++) {
      struct tg_member_shard *shard = &member->sides[at].list[i];
      if (shard->asked == TG_ASKED_AGAIN)
        shard->asked = TG_ASKED_NOT;
      step(shard);
    }
  }
  tg_member_fill_all(member);
}

void tg_member_forget_tasks(struct tg_member_side *side)
{
  for (int i = 0; i < side->count; i++)
    while (side->list[i].tasks)
      end_task(&side->list[i]);
}
