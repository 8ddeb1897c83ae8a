/* Commands on their way to the worker of their shard. They wait for a worker
 * that is not up and a shard that is not started; and when the worker dies
 * before it has said that a command was sent, that one goes out again, once:
 * one that kills its worker must not do so for ever. */

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/internal.h"
#include "proto/payload.h"

#include <stdlib.h>
#include <string.h>

enum {
  ANSWER_MARGIN = 5000, /* ms more for the worker's answer */
  WAITING_MAX = 4096,   /* commands that wait for workers */
  DEATHS_MAX = 2,
};

struct tg_sending {
  struct tg_sending *next;
  struct tg_manager *manager;
  int shard_id;
  json_t *payload;
  struct tg_send_options options;
  tg_ms deadline;
  bool asked; /* the worker has it */
  int deaths;
  tg_manager_reply *reply;
  void *ctx;
};

/* ---- the end of one ---- */

static void take_out(struct tg_sending *sending)
{
  struct tg_sending **at = &sending->manager->sendings;
  while (*at != sending)
    at = &(*at)->next;
  *at = sending->next;
}

static void finish(struct tg_sending *sending, const struct tg_error *error)
{
  tg_manager_reply *reply = sending->reply;
  void *ctx = sending->ctx;
  take_out(sending);
  json_decref(sending->payload);
  free(sending);
  if (error)
    reply(ctx, NULL, error);
  else
    tg_reply_value(reply, ctx, json_true());
}

static int op_of(const struct tg_sending *sending)
{
  return (int)json_integer_value(json_object_get(sending->payload, "op"));
}

static void fail_late(struct tg_sending *sending)
{
  struct tg_manager *manager = sending->manager;
  struct tg_managed_shard *shard = tg_manager_shard(manager, sending->shard_id);
  struct tg_managed_worker *worker = tg_worker_of_shard(manager, shard);
  struct tg_error error;
  if (worker->state != TG_WORKER_READY)
    tg_fail(&error, "timeout", "shard %d could not send op %d in time: its worker %d is not up", shard->id,
            op_of(sending), worker->id);
  else
    tg_fail(&error, "timeout", "shard %d could not send op %d in time: it is %s", shard->id, op_of(sending),
            tg_shard_state_name(
                (enum tg_shard_state)atomic_load(&tg_shard_table_row(manager->table, shard->id)->state)));
  finish(sending, &error);
}

static void arm(struct tg_manager *manager)
{
  tg_ms first = INT64_MAX, now = tg_now();
  for (const struct tg_sending *sending = manager->sendings; sending; sending = sending->next) {
    if (!sending->asked && sending->deadline < first)
      first = sending->deadline;
  }
  uv_timer_stop(&manager->send_timer);
  if (first == INT64_MAX || tg_manager_stopping(manager))
    return;
  tg_timer_start(&manager->send_timer, tg_sendings_on_timer, first - now);
}

/* Whoever is told may send again: the list is walked anew after each. */
void tg_sendings_on_timer(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  tg_ms now = tg_now();
  struct tg_sending *sending = manager->sendings;
  while (sending) {
    bool late = !sending->asked && sending->deadline <= now;
    if (late)
      fail_late(sending);
    sending = late ? manager->sendings : sending->next;
  }
  arm(manager);
}

/* ---- to the worker ---- */

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct tg_sending *sending = ctx;
  struct tg_manager *manager = sending->manager;
  bool died = error && strcmp(error->code, "closed") == 0;
  if (died && tg_manager_stopping(manager)) {
    struct tg_error stopping;
    tg_fail(&stopping, "stopping", "the gateway is stopping");
    finish(sending, &stopping);
  } else if (died && !sending->options.forward_until && ++sending->deaths < DEATHS_MAX) {
    sending->asked = false;
    arm(manager);
  } else {
    finish(sending, error);
  }
}

static void ask(struct tg_sending *sending, struct tg_managed_worker *worker)
{
  tg_ms timeout = sending->deadline - tg_now();
  if (timeout < 1)
    timeout = 1;
  sending->asked = true;
  tg_ask(worker->ipc, timeout + ANSWER_MARGIN, on_answer, sending, shard_payload,
         .shard_id = sending->shard_id, .data = sending->payload, .timeout = timeout,
         .priority = tg_send_priority_name(sending->options.priority),
         .forward_until = sending->options.forward_until);
}

static bool may_ask(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  const struct tg_managed_worker *worker = tg_worker_of_shard(manager, shard);
  return shard->told && worker->ipc && worker->state == TG_WORKER_READY;
}

/* An answer may change the list: it is walked anew after each. */
void tg_sendings_go(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  struct tg_sending *sending = manager->sendings;
  while (sending && may_ask(manager, shard)) {
    bool goes = sending->shard_id == shard->id && !sending->asked;
    if (goes)
      ask(sending, tg_worker_of_shard(manager, shard));
    sending = goes ? manager->sendings : sending->next;
  }
  arm(manager);
}

void tg_command_send(struct tg_manager *manager, struct tg_managed_shard *shard, json_t *payload,
                     const struct tg_send_options *options, tg_manager_reply *reply, void *ctx)
{
  struct tg_error error = {0};
  int waiting = 0;
  struct tg_sending **last = &manager->sendings;
  for (; *last; last = &(*last)->next)
    waiting += !(*last)->asked;
  if (tg_manager_stopping(manager))
    tg_fail(&error, "stopping", "the gateway is stopping");
  else if (tg_payload_check_command(payload, &error) && waiting >= WAITING_MAX)
    tg_fail(&error, "queue_full", "%d commands wait for workers already", WAITING_MAX);
  if (error.code[0]) {
    json_decref(payload);
    reply(ctx, NULL, &error);
    return;
  }
  struct tg_sending *sending = tg_alloc(sizeof *sending);
  *sending = (struct tg_sending){.manager = manager,
                                 .shard_id = shard->id,
                                 .payload = payload,
                                 .options = *options,
                                 .deadline = tg_now() + options->timeout,
                                 .reply = reply,
                                 .ctx = ctx};
  *last = sending;
  if (may_ask(manager, shard))
    ask(sending, tg_worker_of_shard(manager, shard));
  else
    arm(manager);
}

/* Those that a worker has are answered by it, or by the end of its line. */
void tg_sendings_stop(struct tg_manager *manager)
{
  struct tg_error error;
  tg_fail(&error, "stopping", "the gateway is stopping");
  struct tg_sending *sending = manager->sendings;
  while (sending) {
    bool waits = !sending->asked;
    if (waits)
      finish(sending, &error);
    sending = waits ? manager->sendings : sending->next;
  }
  uv_timer_stop(&manager->send_timer);
}
