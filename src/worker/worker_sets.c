/* The second set of shards: it comes (prepare_set), its classes take over one by
 * one (switch_class), what has ruled before goes (close_class), and one of the two
 * sets is over (drop_set). In a cluster classes also come from other hosts
 * (class_file), and are told what all know of them (class_published). What a class is stands in
 * shared/class_state.h; the work is done in delivery/reshard/. */

#include "base/buf.h"
#include "base/timer.h"
#include "worker/worker_impl.h"

#include <stdlib.h>

/* A question of the manager, until so many shards are closed. */
struct tg_closing {
  struct tg_worker *worker;
  int64_t nonce;
  int class; /* whose shards these are; NO_CLASS: of all of a side */
  int side;
  int left;
  uv_timer_t *timer; /* of a side: it goes when its shards are not in the middle of their own end */
};

enum { NO_CLASS = -1, LOOK = 250 /* ms */ };

static void answer(struct tg_worker *worker, const struct tg_message *message, bool ok,
                   const struct tg_error *error)
{
  tg_ipc_answer(worker->ipc, message->nonce, ok ? json_true() : NULL, ok ? NULL : error);
}

/* ---- a set comes ---- */

static int *read_numbers(const json_t *classes, int *count)
{
  *count = (int)json_array_size(classes);
  int *numbers = tg_calloc((size_t)*count + 1, sizeof *numbers);
  for (int i = 0; i < *count; i++)
    numbers[i] = (int)json_integer_value(json_array_get(classes, (size_t)i));
  return numbers;
}

void tg_worker_on_prepare_set(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_prepare_set *set = &message->prepare_set;
  struct tg_error error;
  if (!worker->begun || set->side == worker->current || set->side < 0 || set->side >= TG_SIDES) {
    tg_fail(&error, "not_ready", "worker %d cannot have a set of side %d", worker->options.worker_id,
            set->side);
    answer(worker, message, false, &error);
    return;
  }
  if (worker->sides[set->side].of.table) { /* said again */
    answer(worker, message, true, NULL);
    return;
  }
  if (tg_delivery_side_waits(worker->delivery, set->side, (uint64_t)set->epoch)) {
    tg_fail(&error, "not_ready", "worker %d still has events of an earlier set of shards to deliver",
            worker->options.worker_id);
    answer(worker, message, false, &error);
    return;
  }
  if (!tg_worker_open_side(worker, set->side, set->total_shards, (uint64_t)set->epoch, &error)) {
    answer(worker, message, false, &error);
    return;
  }
  struct tg_delivery_classes classes = {.from = worker->sides[worker->current].of.total_shards,
                                        .to = set->total_shards,
                                        .old_side = worker->current};
  int *numbers = read_numbers(set->classes, &classes.count);
  classes.numbers = numbers;
  tg_delivery_take_seats(worker->delivery, &classes);
  free(numbers);
  if (worker->clustered)
    tg_delivery_leave_lost(worker->delivery);
  answer(worker, message, true, NULL);
}

/* ---- a class goes over ---- */

/* Its row says from where on. */
static void run_again(void *ctx, tg_shard_ref ref)
{
  struct tg_worker *worker = ctx;
  bool runs = tg_worker_shard(worker, ref) != NULL;
  tg_worker_give_shard(worker, ref);
  if (runs)
    tg_worker_run_shard(worker, ref);
}

void tg_worker_on_switch_class(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_switch_class *wanted = &message->switch_class;
  struct tg_error error = {0};
  if (!worker->begun || worker->stopping) {
    tg_fail(&error, "not_ready", "worker %d is not running", worker->options.worker_id);
    answer(worker, message, false, &error);
    return;
  }
  bool undone = wanted->back && worker->clustered;
  bool done = undone ? tg_delivery_switch_undone(worker->delivery, wanted->number, run_again, worker, &error)
                     : tg_delivery_switch(worker->delivery, wanted->number, wanted->back, &error);
  answer(worker, message, done, &error);
}

void tg_worker_on_class_file(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_class_file *comes = &message->class_file;
  struct tg_error error = {0};
  bool done = worker->begun && worker->clustered
                  ? tg_delivery_class_comes(worker->delivery, comes->number, comes->text, &error)
                  : tg_fail(&error, "not_ready", "worker %d has no classes of other hosts",
                            worker->options.worker_id);
  answer(worker, message, done, &error);
}

void tg_worker_on_class_published(struct tg_worker *worker, const struct tg_message *message)
{
  if (worker->begun)
    tg_delivery_class_published(worker->delivery, message->class_published.number);
  answer(worker, message, true, NULL);
}

/* ---- shards end ---- */

static void end_side(struct tg_worker *worker, int side)
{
  tg_delivery_drop_side(worker->delivery, side);
  if (side == worker->current)
    worker->current = !side;
  tg_worker_close_side(worker, side);
  worker->next_total = 0;
}

static void end_closing(struct tg_closing *closing)
{
  tg_timer_free(closing->timer);
  free(closing);
}

/* What it has delivered in its time is to arrive, however long that takes. */
static void on_side_gone(uv_timer_t *timer)
{
  struct tg_closing *closing = timer->data;
  struct tg_worker *worker = closing->worker;
  if (tg_delivery_side_waits(worker->delivery, closing->side, UINT64_MAX)) {
    tg_timer_start(timer, on_side_gone, tg_patience(LOOK));
    return;
  }
  worker->dropping = NULL;
  if (worker->clustered)
    tg_delivery_void_side(worker->delivery, closing->side); /* nobody asks for it any more */
  if (worker->sides[closing->side].of.table)
    end_side(worker, closing->side);
  tg_ipc_answer(worker->ipc, closing->nonce, json_true(), NULL);
  end_closing(closing);
}

static void on_gone(void *ctx)
{
  struct tg_closing *closing = ctx;
  struct tg_worker *worker = closing->worker;
  if (--closing->left > 0)
    return;
  if (closing->class == NO_CLASS) {
    tg_timer_start(closing->timer, on_side_gone, 0);
    return;
  }
  tg_delivery_class_closed(worker->delivery, closing->class);
  tg_ipc_answer(worker->ipc, closing->nonce, json_true(), NULL);
  end_closing(closing);
}

void tg_worker_forget_closing(struct tg_worker *worker)
{
  if (worker->dropping)
    end_closing(worker->dropping);
  worker->dropping = NULL;
}

static void close_shard(void *ctx, tg_shard_ref ref)
{
  struct tg_closing *closing = ctx;
  struct tg_shard *shard = tg_worker_shard(closing->worker, ref);
  if (!shard)
    return;
  closing->left++;
  tg_shard_stop(shard, false, on_gone, closing);
}

static struct tg_closing *begin_closing(struct tg_worker *worker, int64_t nonce, int class, int side)
{
  struct tg_closing *closing = tg_calloc(1, sizeof *closing);
  *closing = (struct tg_closing){.worker = worker, .nonce = nonce, .class = class, .side = side};
  closing->left = 1; /* until all are told */
  closing->timer = tg_timer_new(worker->options.loop, closing);
  return closing;
}

void tg_worker_close_class(struct tg_worker *worker, int number, int64_t nonce)
{
  struct tg_error error;
  struct tg_closing *closing = begin_closing(worker, nonce, number, 0);
  if (worker->begun && tg_delivery_each_silent(worker->delivery, number, close_shard, closing)) {
    on_gone(closing);
    return;
  }
  end_closing(closing);
  tg_fail(&error, "no_class", "class %d does not run in worker %d", number, worker->options.worker_id);
  tg_ipc_answer(worker->ipc, nonce, NULL, &error);
}

void tg_worker_on_close_class(struct tg_worker *worker, const struct tg_message *message)
{
  if (worker->begun)
    tg_worker_leave_voices(worker, message->close_class.number, message->nonce);
  else
    tg_worker_close_class(worker, message->close_class.number, message->nonce);
}

void tg_worker_on_drop_set(struct tg_worker *worker, const struct tg_message *message)
{
  int side = message->drop_set.side;
  if (!worker->begun || worker->dropping || side < 0 || side >= TG_SIDES) {
    answer(worker, message, true, NULL);
    return;
  }
  if (!worker->sides[side].of.table) { /* it came up after that set was over */
    worker->next_total = 0;
    tg_delivery_end_strays(worker->delivery);
  }
  struct tg_closing *closing = worker->dropping = begin_closing(worker, message->nonce, NO_CLASS, side);
  for (int i = 0; i < worker->sides[side].of.total_shards; i++)
    close_shard(closing, tg_ref_of(i, side));
  on_gone(closing);
}
