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
  FILL_TIMEOUT = 24 * 3600 * 1000,
};

static struct tg_managed_shard *managed_of(const struct tg_member_shard *shard)
{
  return tg_member_managed(shard->member, shard->id);
}

static struct tg_shard_row *row_of(const struct tg_member_shard *shard)
{
  return tg_shard_row_of(managed_of(shard));
}

static void step(struct tg_member_shard *shard);

static char *copy(const char *text)
{
  return text ? tg_strdup(text) : NULL;
}

static void add_task(struct tg_member_shard *shard, const struct tg_cluster_word *word)
{
  struct tg_task *task = tg_calloc(1, sizeof *task), **last = &shard->tasks;
  task->word = *word;
  task->word.session.id = task->texts[0] = copy(word->session.id);
  task->word.session.resume_url = task->texts[1] = copy(word->session.resume_url);
  while (*last)
    last = &(*last)->next;
  *last = task;
}

static void end_task(struct tg_member_shard *shard)
{
  struct tg_task *task = shard->tasks;
  shard->tasks = task->next;
  shard->asked = TG_ASKED_NOT;
  shard->left = false;
  free(task->texts[0]);
  free(task->texts[1]);
  free(task);
}

/* ---- a worker is asked ---- */

/* False: its worker is not there. */
static bool ask(struct tg_member_shard *shard, const struct tg_message *message, tg_ms timeout,
                tg_ipc_reply *reply)
{
  struct tg_ipc *line = tg_workers_line(shard->member->workers, managed_of(shard)->worker_id);
  if (!line)
    return false;
  shard->asked = TG_ASKED_NOW;
  tg_message_ask(line, message, timeout, reply, shard);
  return true;
}

static bool is_gone(const struct tg_error *error)
{
  return error && strcmp(error->code, "disk") != 0 && strcmp(error->code, "timeout") != 0;
}

static void complain(const struct tg_member_shard *shard, const char *what, const struct tg_error *error)
{
  tg_log_with(TG_WARN, shard->id, TG_WITH(TG_TEXT(REASON, error->message)), "%s; it is tried again", what);
}

static bool ask_to_leave(struct tg_member_shard *shard, tg_ipc_reply *reply)
{
  const struct tg_message message = {.type = TG_MESSAGE_leave_shard, .leave_shard = {managed_of(shard)->ref}};
  return ask(shard, &message, LEAVE_TIMEOUT, reply);
}

/* ---- run ---- */

static void start(struct tg_member_shard *shard)
{
  struct tg_member *member = shard->member;
  struct tg_managed_shard *managed = managed_of(shard);
  end_task(shard);
  managed->held = true;
  tg_member_lease(member, shard->id);
  tg_spawn_take(member->spawner, managed);
}

static void on_left_to_run(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data;
  if (shard->member->stopped)
    return;
  shard->left = !error;
  shard->asked = error ? TG_ASKED_AGAIN : TG_ASKED_NOT;
  if (error && !is_gone(error))
    complain(shard, "what is left of the shard cannot be put aside, so that it cannot run here yet", error);
  step(shard);
}

static void run(struct tg_member_shard *shard)
{
  const struct tg_cluster_word *word = &shard->tasks->word;
  struct tg_shard_row *row = row_of(shard);
  if (word->own) {
    atomic_store(&row->fence, word->fence);
  } else if (!shard->left) {
    if (!ask_to_leave(shard, on_left_to_run))
      shard->asked = TG_ASKED_AGAIN;
    return;
  } else {
    tg_row_take(row, word);
  }
  tg_log_with(TG_DEBUG, shard->id,
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
  if (shard->member->stopped)
    return;
  if (!error || is_gone(error)) { /* who takes its place puts it aside before all else */
    end_task(shard);
  } else {
    shard->asked = TG_ASKED_AGAIN;
    complain(shard, "what is left of the shard cannot be put aside", error);
  }
  step(shard);
}

static void leave(struct tg_member_shard *shard)
{
  struct tg_managed_shard *managed = managed_of(shard);
  if (shard->tasks->word.kind == TG_CLUSTER_LOST && managed->held)
    tg_log(TG_WARN, shard->id, "another host has it: this one stops it, and keeps what is not delivered");
  tg_row_leave(row_of(shard));
  bool was_held = managed->held;
  if (was_held)
    tg_spawn_rest(shard->member->spawner, managed);
  managed->held = false;
  if (was_held)
    shard->member->events->left(shard->member->ctx, managed);
  atomic_store(&row_of(shard)->state, TG_SHARD_OFFLINE);
  if (!ask_to_leave(shard, on_left))
    end_task(shard);
}

/* ---- a move ---- */

static void on_let_go(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data, (void)error; /* a worker that is gone has let go, too */
  if (shard->member->stopped)
    return;
  end_task(shard);
  tg_cluster_let_go(shard->member->cluster, shard->id, false);
  step(shard);
  tg_member_pump(shard->member);
}

static void let_go(struct tg_member_shard *shard)
{
  struct tg_member *member = shard->member;
  struct tg_managed_shard *managed = managed_of(shard);
  const struct tg_message message = {.type = TG_MESSAGE_let_go_shard,
                                     .let_go_shard = {managed->ref, LET_GO_PATIENCE}};
  tg_spawn_rest(member->spawner, managed);
  if (!ask(shard, &message, LET_GO_TIMEOUT, on_let_go)) {
    end_task(shard);
    tg_cluster_let_go(member->cluster, shard->id, false);
  }
}

/* ---- what is left ---- */

static void on_void(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_member_shard *shard = ctx;
  (void)data;
  if (shard->member->stopped)
    return;
  if (error) {
    shard->asked = TG_ASKED_AGAIN;
    return;
  }
  atomic_store(&row_of(shard)->left_fence, 0);
  end_task(shard);
  step(shard);
}

static void make_void(struct tg_member_shard *shard)
{
  const struct tg_message message = {.type = TG_MESSAGE_void_left, .void_left = {managed_of(shard)->ref}};
  if (!ask(shard, &message, LEAVE_TIMEOUT, on_void))
    shard->asked = TG_ASKED_AGAIN;
}

/* A hole, until it is filled. */
struct tg_filling {
  struct tg_filling *next;
  struct tg_member *member; /* NULL: it is over */
  struct tg_cluster_word word;
  char *key;
  bool asked;
};

static void on_filled(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_filling *filling = ctx;
  struct tg_member *member = filling->member;
  (void)data;
  filling->asked = false;
  if (!member) {
    free(filling->key);
    free(filling);
    return;
  }
  if (error)
    return;
  tg_cluster_filled(member->cluster, filling->key);
  for (struct tg_filling **at = &member->fillings; *at; at = &(*at)->next)
    if (*at == filling) {
      *at = filling->next;
      break;
    }
  tg_log(TG_INFO, filling->word.shard, "what only this host had of it is delivered");
  free(filling->key);
  free(filling);
  tg_member_pump(member);
}

static void fill(struct tg_filling *filling)
{
  struct tg_member *member = filling->member;
  const struct tg_cluster_word *word = &filling->word;
  const struct tg_managed_shard *managed = tg_member_managed(member, word->shard);
  if (filling->asked || !managed || word->total != member->total || member->shards[word->shard].tasks)
    return;
  struct tg_ipc *line = tg_workers_line(member->workers, managed->worker_id);
  if (!line)
    return;
  filling->asked = true;
  tg_ask(line, FILL_TIMEOUT, on_filled, filling, fill_hole, .ref = managed->ref,
         .from_epoch = (int64_t)word->from_epoch, .from = (int64_t)word->from,
         .to_epoch = (int64_t)word->to_epoch, .to = (int64_t)word->to);
}

static void add_filling(struct tg_member *member, const struct tg_cluster_word *word)
{
  for (const struct tg_filling *known = member->fillings; known; known = known->next)
    if (strcmp(known->key, word->key) == 0)
      return;
  struct tg_filling *filling = tg_calloc(1, sizeof *filling);
  *filling = (struct tg_filling){.next = member->fillings, .member = member, .word = *word};
  filling->key = tg_strdup(word->key);
  filling->word.key = filling->key;
  member->fillings = filling;
  tg_log(TG_INFO, word->shard,
         "another host has it, and events of before are on this one's disk alone: they are delivered late");
  if (member->goes_on)
    fill(filling);
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
      tg_cluster_expected(member->cluster, shard->id);
      break;
    default:
      end_task(shard);
      break;
    }
  }
}

void tg_member_word(struct tg_member *member, const struct tg_cluster_word *word)
{
  if (word->kind == TG_CLUSTER_HOLE) {
    add_filling(member, word);
    return;
  }
  if (word->shard < 0 || word->shard >= member->total)
    return;
  struct tg_member_shard *shard = &member->shards[word->shard];
  add_task(shard, word);
  step(shard);
}

void tg_member_try_again(struct tg_member *member)
{
  if (!member->goes_on || member->stopped)
    return;
  for (int i = 0; i < member->total; i++) {
    struct tg_member_shard *shard = &member->shards[i];
    if (shard->asked == TG_ASKED_AGAIN)
      shard->asked = TG_ASKED_NOT;
    step(shard);
  }
  for (struct tg_filling *filling = member->fillings; filling; filling = filling->next)
    fill(filling);
}

void tg_member_forget_tasks(struct tg_member *member)
{
  for (int i = 0; i < member->total; i++)
    while (member->shards[i].tasks)
      end_task(&member->shards[i]);
  for (struct tg_filling *filling = member->fillings, *next; filling; filling = next) {
    next = filling->next;
    filling->member = NULL;
    if (filling->asked)
      continue;
    free(filling->key);
    free(filling);
  }
  member->fillings = NULL;
}
