/* Shards that go to other hosts, and what is left of them here. */

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "worker/worker_impl.h"

#include <stdlib.h>

enum {
  LOOK = 5,             /* ms between two looks at what is in flight */
  CLOSE_PATIENCE = 250, /* ms for Discord to answer a close frame */
};

static void refuse(struct tg_worker *worker, const struct tg_message *message)
{
  struct tg_error error;
  tg_fail(&error, "not_ready", "worker %d cannot do \"%s\"", worker->options.worker_id,
          tg_message_name(message->type));
  tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
}

static bool is_of_set(const struct tg_worker *worker, tg_shard_ref ref)
{
  const struct tg_worker_side *side = &worker->sides[tg_ref_side(ref)];
  return ref >= 0 && !tg_ref_is_left(ref) && tg_ref_id(ref) < side->of.total_shards;
}

/* Whether there is a delivery that may have events of such a shard: also of a set that is over, or was while
 * this worker was not there, of which something is left. Else that has been said. */
static bool is_there(struct tg_worker *worker, const struct tg_message *message, tg_shard_ref ref)
{
  bool is_shard = ref >= 0 && !tg_ref_is_left(ref) && tg_ref_id(ref) < TG_SHARDS_MAX;
  bool is_to_come = is_shard && worker->next_total > 0 && !worker->sides[tg_ref_side(ref)].of.table;
  if (worker->begun && worker->clustered && !worker->exited && is_shard && !is_to_come)
    return true;
  refuse(worker, message);
  return false;
}

/* A question of the manager that is not answered yet. */
struct tg_unanswered {
  struct tg_worker *worker;
  int64_t nonce;
};

/* ---- a shard is let go ---- */

/* A question of the manager, until the shard is silent. */
struct tg_letting {
  struct tg_letting *next;
  struct tg_worker *worker;
  tg_shard_ref ref;
  int64_t nonce;
  tg_ms close_until, deliver_until; /* tg_now() */
  bool closed;
  uv_timer_t *timer;
};

static void end_letting(struct tg_letting *letting)
{
  struct tg_letting **at = &letting->worker->letting;
  while (*at != letting)
    at = &(*at)->next;
  *at = letting->next;
  tg_timer_free(letting->timer);
  free(letting);
}

static void on_closed(void *ctx)
{
  struct tg_letting *letting = ctx;
  letting->closed = true;
}

static void look(uv_timer_t *timer)
{
  struct tg_letting *letting = timer->data;
  struct tg_worker *worker = letting->worker;
  struct tg_shard *shard = tg_worker_shard(worker, letting->ref);
  tg_ms now = tg_now();
  if (!letting->closed && shard && now >= letting->close_until)
    tg_shard_hurry(shard);
  bool silent = letting->closed || !shard, busy = tg_delivery_is_busy(worker->delivery, letting->ref);
  if (!silent || (busy && now < letting->deliver_until)) {
    tg_timer_start(timer, look, LOOK);
    return;
  }
  tg_delivery_take_back(worker->delivery, letting->ref);
  tg_ipc_answer(worker->ipc, letting->nonce, json_true(), NULL);
  end_letting(letting);
}

void tg_worker_on_let_go_shard(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_let_go_shard *wanted = &message->let_go_shard;
  if (!is_there(worker, message, wanted->ref))
    return;
  struct tg_letting *letting = tg_alloc(sizeof *letting);
  *letting = (struct tg_letting){.next = worker->letting,
                                 .worker = worker,
                                 .ref = wanted->ref,
                                 .nonce = message->nonce,
                                 .close_until = tg_now() + CLOSE_PATIENCE,
                                 .deliver_until = tg_now() + wanted->patience};
  letting->timer = tg_timer_new(worker->options.loop, letting);
  worker->letting = letting;
  tg_delivery_withhold(worker->delivery, wanted->ref);
  struct tg_shard *shard = tg_worker_shard(worker, wanted->ref);
  if (shard)
    tg_shard_stop(shard, true, on_closed, letting);
  look(letting->timer);
}

/* It is not on its way to another host any more. */
static void keep(struct tg_worker *worker, tg_shard_ref ref)
{
  for (struct tg_letting *letting = worker->letting, *next; letting; letting = next) {
    next = letting->next;
    if (letting->ref != ref)
      continue;
    struct tg_error error;
    tg_fail(&error, "cancelled", "shard %d was told to go on", tg_ref_id(ref));
    tg_ipc_answer(worker->ipc, letting->nonce, NULL, &error);
    end_letting(letting);
  }
  tg_delivery_go_on(worker->delivery, ref);
}

void tg_worker_forget_letting(struct tg_worker *worker)
{
  while (worker->letting)
    end_letting(worker->letting);
}

/* ---- what is left of it ---- */

static void on_done(void *ctx, const struct tg_error *error)
{
  struct tg_unanswered question = *(struct tg_unanswered *)ctx;
  free(ctx);
  tg_ipc_answer(question.worker->ipc, question.nonce, error ? NULL : json_true(), error);
}

static struct tg_unanswered *remember(struct tg_worker *worker, const struct tg_message *message)
{
  struct tg_unanswered *question = tg_alloc(sizeof *question);
  *question = (struct tg_unanswered){worker, message->nonce};
  return question;
}

void tg_worker_on_leave_shard(struct tg_worker *worker, const struct tg_message *message)
{
  tg_shard_ref ref = message->leave_shard.ref;
  if (!is_there(worker, message, ref))
    return;
  tg_worker_give_shard(worker, ref);
  tg_delivery_leave(worker->delivery, ref, on_done, remember(worker, message));
}

void tg_worker_on_fill_hole(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_fill_hole *wanted = &message->fill_hole;
  if (!is_there(worker, message, wanted->ref))
    return;
  const struct tg_hole hole = {.from = {(uint64_t)wanted->from_epoch, (uint64_t)wanted->from},
                               .to = {(uint64_t)wanted->to_epoch, (uint64_t)wanted->to}};
  tg_delivery_fill(worker->delivery, wanted->ref, &hole, on_done, remember(worker, message));
}

void tg_worker_on_void_left(struct tg_worker *worker, const struct tg_message *message)
{
  if (!is_there(worker, message, message->void_left.ref))
    return;
  tg_delivery_void(worker->delivery, message->void_left.ref);
  tg_ipc_answer(worker->ipc, message->nonce, json_true(), NULL);
}

/* ---- a shard comes ---- */

struct tg_running {
  struct tg_worker *worker;
  tg_shard_ref ref;
};

static void on_left_to_run(void *ctx, const struct tg_error *error)
{
  struct tg_running running = *(struct tg_running *)ctx;
  free(ctx);
  struct tg_worker *worker = running.worker;
  if (error) {
    tg_log_with(
        TG_ERROR, tg_ref_id(running.ref), TG_WITH(TG_TEXT(REASON, error->message)),
        "the shard does not start: events that it had here before another host got it stand in its way");
    return;
  }
  struct tg_shard *shard = worker->stopping ? NULL : tg_worker_take_shard(worker, running.ref);
  if (!shard)
    return;
  tg_shard_start(shard);
  keep(worker, running.ref);
}

void tg_worker_run_shard(struct tg_worker *worker, tg_shard_ref ref)
{
  struct tg_running *running = tg_alloc(sizeof *running);
  *running = (struct tg_running){worker, ref};
  if (!is_of_set(worker, ref) || !tg_delivery_is_leaving(worker->delivery, ref))
    on_left_to_run(running, NULL);
  else
    tg_delivery_leave(worker->delivery, ref, on_left_to_run, running);
}
