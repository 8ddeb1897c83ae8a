#include "manager/commands/sending.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/cluster/post.h"
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
  struct tg_sendings *all;
  tg_shard_ref ref;
  json_t *payload;
  struct tg_send_options options;
  tg_ms deadline;
  bool asked; /* the worker has it */
  int deaths;
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_sendings {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  uv_timer_t *timer;       /* deadlines of those that wait for their worker */
  struct tg_sending *list; /* in the order they came */
};

static void on_timer(uv_timer_t *timer);

/* ---- the end of one ---- */

static void take_out(struct tg_sending *sending)
{
  struct tg_sending **at = &sending->all->list;
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

/* True: its shard is another host's by now, which sends it in its place, and answers. Not what waits for
 * events of the shard here. */
static bool goes_after(struct tg_sending *sending)
{
  const struct tg_sendings *all = sending->all;
  const struct tg_managed_shard *shard = tg_shard_of_ref(all->env, sending->ref);
  tg_ms left = sending->deadline - tg_now();
  if (!shard || shard->held || !all->env->post || sending->options.forward_until || left < 1)
    return false;
  json_t *args = json_pack("[i, O, {s:I, s:s}]", shard->id, sending->payload, "timeout", (json_int_t)left,
                           "priority", tg_send_priority_name(sending->options.priority));
  struct tg_sending gone = *sending;
  take_out(sending);
  free(sending);
  if (!tg_post_elsewhere(all->env->post, shard, TG_METHOD_manager_send_payload, args, left, gone.reply,
                         gone.ctx))
    tg_reply_error(gone.reply, gone.ctx, "moved", "shard %d goes from host to host; try again", shard->id);
  json_decref(args);
  json_decref(gone.payload);
  return true;
}

static int op_of(const struct tg_sending *sending)
{
  return (int)json_integer_value(json_object_get(sending->payload, "op"));
}

static void fail_late(struct tg_sending *sending)
{
  const struct tg_sendings *all = sending->all;
  const struct tg_managed_shard *shard = tg_shard_of_ref(all->env, sending->ref);
  struct tg_error error;
  if (!tg_workers_up(all->workers, shard->worker_id))
    tg_fail(&error, "timeout", "shard %d could not send op %d in time: its worker %d is not up", shard->id,
            op_of(sending), shard->worker_id);
  else
    tg_fail(&error, "timeout", "shard %d could not send op %d in time: it is %s", shard->id, op_of(sending),
            tg_shard_state_name(tg_shard_state_of(shard)));
  finish(sending, &error);
}

static void arm(struct tg_sendings *all)
{
  tg_ms first = INT64_MAX, now = tg_now();
  for (const struct tg_sending *sending = all->list; sending; sending = sending->next) {
    if (!sending->asked && sending->deadline < first)
      first = sending->deadline;
  }
  uv_timer_stop(all->timer);
  if (first == INT64_MAX || all->env->stopping)
    return;
  tg_timer_start(all->timer, on_timer, first - now);
}

/* Whoever is told may send again: the list is walked anew after each. */
static void on_timer(uv_timer_t *timer)
{
  struct tg_sendings *all = timer->data;
  tg_ms now = tg_now();
  struct tg_sending *sending = all->list;
  while (sending) {
    bool late = !sending->asked && sending->deadline <= now;
    if (late)
      fail_late(sending);
    sending = late ? all->list : sending->next;
  }
  arm(all);
}

/* ---- to the worker ---- */

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct tg_sending *sending = ctx;
  struct tg_sendings *all = sending->all;
  bool died = error && strcmp(error->code, "closed") == 0;
  bool is_unsent = died || (error && strcmp(error->code, "gone") == 0);
  if (is_unsent && !all->env->stopping && goes_after(sending))
    return;
  if (died && all->env->stopping) {
    struct tg_error stopping;
    tg_fail(&stopping, "stopping", "the gateway is stopping");
    finish(sending, &stopping);
  } else if (died && !sending->options.forward_until && ++sending->deaths < DEATHS_MAX &&
             tg_shard_of_ref(all->env, sending->ref)) {
    sending->asked = false;
    arm(all);
  } else {
    finish(sending, error);
  }
}

static void ask(struct tg_sending *sending, struct tg_ipc *line)
{
  tg_ms timeout = sending->deadline - tg_now();
  if (timeout < 1)
    timeout = 1;
  sending->asked = true;
  tg_ask(line, timeout + ANSWER_MARGIN, on_answer, sending, shard_payload, .ref = sending->ref,
         .data = sending->payload, .timeout = timeout,
         .priority = tg_send_priority_name(sending->options.priority),
         .forward_until = sending->options.forward_until);
}

/* NULL: it has to wait. */
static struct tg_ipc *line_to(const struct tg_sendings *all, const struct tg_managed_shard *shard)
{
  return shard->told ? tg_workers_line(all->workers, shard->worker_id) : NULL;
}

/* An answer may change the list: it is walked anew after each. */
void tg_sendings_go(struct tg_sendings *all, const struct tg_managed_shard *shard)
{
  struct tg_sending *sending = all->list;
  struct tg_ipc *line;
  while (sending && (line = line_to(all, shard))) {
    bool goes = sending->ref == shard->ref && !sending->asked;
    if (goes)
      ask(sending, line);
    sending = goes ? all->list : sending->next;
  }
  arm(all);
}

void tg_send_command(struct tg_sendings *all, const struct tg_managed_shard *shard, json_t *payload,
                     const struct tg_send_options *options, tg_manager_reply *reply, void *ctx)
{
  struct tg_error error = {0};
  int waiting = 0;
  struct tg_sending **last = &all->list;
  for (; *last; last = &(*last)->next)
    waiting += !(*last)->asked;
  if (all->env->stopping)
    tg_fail(&error, "stopping", "the gateway is stopping");
  else if (tg_payload_check_command(payload, &error) && waiting >= WAITING_MAX)
    tg_fail(&error, "queue_full", "%d commands wait for workers already", WAITING_MAX);
  if (error.code[0]) {
    json_decref(payload);
    reply(ctx, NULL, &error);
    return;
  }
  struct tg_sending *sending = tg_alloc(sizeof *sending);
  *sending = (struct tg_sending){.all = all,
                                 .ref = shard->ref,
                                 .payload = payload,
                                 .options = *options,
                                 .deadline = tg_now() + options->timeout,
                                 .reply = reply,
                                 .ctx = ctx};
  *last = sending;
  struct tg_ipc *line = line_to(all, shard);
  if (line)
    ask(sending, line);
  else
    arm(all);
}

void tg_sendings_left(struct tg_sendings *all, const struct tg_managed_shard *shard)
{
  struct tg_sending *sending = all->list;
  while (sending) {
    bool waits = sending->ref == shard->ref && !sending->asked;
    bool goes = waits && goes_after(sending);
    sending = goes ? all->list : sending->next;
  }
  arm(all);
}

/* Those that no worker has. `set`: of its shards; NULL: of all. */
static void end_waiting(struct tg_sendings *all, const struct tg_shard_set *set, const struct tg_error *error)
{
  struct tg_sending *sending = all->list;
  while (sending) {
    bool ends = !sending->asked && (!set || tg_ref_side(sending->ref) == set->side);
    if (ends)
      finish(sending, error);
    sending = ends ? all->list : sending->next;
  }
}

void tg_sendings_set_over(struct tg_sendings *all, const struct tg_shard_set *set)
{
  struct tg_error error;
  tg_fail(&error, "no_shard", "its shard is over: there is another number of them now");
  end_waiting(all, set, &error);
  arm(all);
}

void tg_sendings_stop(struct tg_sendings *all)
{
  struct tg_error error;
  tg_fail(&error, "stopping", "the gateway is stopping");
  end_waiting(all, NULL, &error);
  uv_timer_stop(all->timer);
}

struct tg_sendings *tg_sendings_new(const struct tg_manager_env *env, struct tg_workers *workers)
{
  struct tg_sendings *all = tg_calloc(1, sizeof *all);
  *all = (struct tg_sendings){.env = env, .workers = workers};
  all->timer = tg_timer_new(env->loop, all);
  return all;
}

void tg_sendings_free(struct tg_sendings *all)
{
  tg_timer_free(all->timer);
  free(all);
}
