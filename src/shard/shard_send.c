/* The queue of the users' commands: they wait for READY or RESUMED and for the
 * send budget, by priority, and fail to their caller when their time is up. Nor do
 * they leave while Discord does not take what was sent before: at most one of them
 * is in the socket's queue. Heartbeats, IDENTIFY and RESUME pass outside of all this. */

#include "base/log.h"
#include "proto/payload.h"
#include "shard/shard_impl.h"

#include <stdlib.h>
#include <string.h>

enum {
  WINDOW = 60000,
  FRAMES_A_WINDOW = 120,
  PRESENCES = 5, /* in 20 s */
  PRESENCE_WINDOW = 20000,
  HELD_BACK = 250, /* until a script that holds commands back is asked again */
};

static int default_safe_requests(const struct tg_shard *shard)
{
  tg_ms interval = shard->beat_interval > 0 ? shard->beat_interval : 41250;
  int beats = (int)((WINDOW + interval - 1) / interval);
  int left = FRAMES_A_WINDOW - 2 * beats - 1;
  return left > 1 ? left : 1;
}

int tg_shard_safe_requests(const struct tg_shard *shard)
{
  return default_safe_requests(shard);
}

void tg_shard_open_sends(struct tg_shard *shard)
{
  tg_limiter_init(&shard->budget, default_safe_requests(shard), WINDOW);
  memset(shard->asked_beats, 0, sizeof shard->asked_beats);
  tg_limiter_init(&shard->presence_budget, PRESENCES, PRESENCE_WINDOW);
}

void tg_shard_limit_sends(struct tg_shard *shard)
{
  int limit = default_safe_requests(shard);
  struct tg_value self = tg_value_shard(shard), result;
  if (tg_hook_call(shard->env->hooks, TG_METHOD_shard_calculate_safe_requests, &self, 1, &result)) {
    if (result.integer >= 0 && result.integer <= FRAMES_A_WINDOW)
      limit = (int)result.integer;
    else
      tg_log(TG_ERROR, shard->id,
             "gateway.shard:calculate_safe_requests returned %lld, but has to return 0 to %d: %d is taken",
             (long long)result.integer, FRAMES_A_WINDOW, limit);
  }
  tg_limiter_init(&shard->budget, limit, WINDOW);
}

/* Two a minute are always left over; more of them use up what users may send. */
bool tg_shard_may_answer_heartbeat(struct tg_shard *shard)
{
  tg_ms now = tg_now();
  if (shard->asked_beats[0] == 0 || now - shard->asked_beats[0] >= WINDOW) {
    shard->asked_beats[0] = shard->asked_beats[1];
    shard->asked_beats[1] = now;
    return true;
  }
  if (tg_limiter_wait(&shard->budget, now) > 0)
    return false;
  tg_limiter_take(&shard->budget, now);
  return true;
}

static void finish(struct tg_shard *shard, int priority, struct tg_command *command,
                   const struct tg_error *error)
{
  TAILQ_REMOVE(&shard->commands[priority], command, link);
  shard->command_count--;
  tg_shard_sent *sent = command->sent;
  void *ctx = command->ctx;
  free(command->text);
  free(command);
  if (sent)
    sent(ctx, error);
}

void tg_shard_fail_commands(struct tg_shard *shard, const struct tg_error *error)
{
  for (int priority = 0; priority < 3; priority++) {
    struct tg_command *command;
    while ((command = TAILQ_FIRST(&shard->commands[priority])))
      finish(shard, priority, command, error);
  }
}

/* How long this command still has to wait; 0: not at all. */
static tg_ms wait_of(const struct tg_shard *shard, const struct tg_command *command, tg_ms now)
{
  tg_ms wait = tg_limiter_wait(&shard->budget, now);
  if (command->op == TG_OP_PRESENCE_UPDATE) {
    tg_ms presence_wait = tg_limiter_wait(&shard->presence_budget, now);
    if (presence_wait > wait)
      wait = presence_wait;
  }
  return wait;
}

static void send_command(struct tg_shard *shard, int priority, struct tg_command *command, tg_ms now)
{
  tg_limiter_take(&shard->budget, now);
  if (command->op == TG_OP_PRESENCE_UPDATE)
    tg_limiter_take(&shard->presence_budget, now);
  tg_ws_send(shard->ws, command->text, command->length);
  finish(shard, priority, command, NULL);
}

static void expire(struct tg_shard *shard, int priority, struct tg_command *command, bool held_back)
{
  struct tg_error error;
  if (held_back)
    tg_fail(&error, "timeout",
            "shard %d could not send op %d in time: the script's gateway.shard:is_open held it back",
            shard->id, command->op);
  else if (shard->phase == TG_PHASE_READY && shard->ws && tg_ws_unsent(shard->ws) > 0)
    tg_fail(&error, "timeout",
            "shard %d could not send op %d in time: Discord does not take what was sent before", shard->id,
            command->op);
  else if (shard->phase == TG_PHASE_READY)
    tg_fail(&error, "timeout",
            "shard %d could not send op %d in time: its send budget (%d a minute) is used up", shard->id,
            command->op, shard->budget.limit);
  else
    tg_fail(&error, "timeout", "shard %d could not send op %d in time: it is %s", shard->id, command->op,
            tg_shard_state_name(tg_shard_state(shard)));
  finish(shard, priority, command, &error);
}

static void on_send_timer(uv_timer_t *timer)
{
  tg_shard_pump(timer->data);
}

/* A script may hold commands back, but never send them before READY. */
static bool is_held_back(struct tg_shard *shard)
{
  struct tg_value self = tg_value_shard(shard), result;
  return shard->command_count > 0 && shard->phase == TG_PHASE_READY &&
         tg_hook_call(shard->env->hooks, TG_METHOD_shard_is_open, &self, 1, &result) && !result.boolean;
}

/* Callers may send or be failed from inside a callback: the list is walked anew
 * after each one, and a pump inside a pump leaves the work to the outer one. */
static struct tg_command *next_ready(struct tg_shard *shard, bool held_back, int *priority, bool *may_send,
                                     tg_ms now, tg_ms *wake)
{
  *wake = held_back ? HELD_BACK : INT64_MAX;
  bool open = shard->phase == TG_PHASE_READY && shard->ws && !held_back && tg_ws_unsent(shard->ws) == 0;
  for (*priority = TG_SEND_HIGH; *priority >= TG_SEND_LOW; --*priority) {
    struct tg_command *command;
    TAILQ_FOREACH(command, &shard->commands[*priority], link)
    {
      tg_ms wait = open ? wait_of(shard, command, now) : INT64_MAX;
      tg_ms left = command->deadline - now;
      *may_send = wait == 0;
      if (wait == 0 || left <= 0)
        return command;
      *wake = wait < *wake ? wait : *wake;
      *wake = left < *wake ? left : *wake;
    }
  }
  return NULL;
}

/* Sends what may be sent, fails what is too late, and wakes again in time. A
 * presence that has to wait lets others pass. */
void tg_shard_pump(struct tg_shard *shard)
{
  if (shard->pumping)
    return;
  shard->pumping = true;
  struct tg_command *command;
  int priority;
  bool may_send;
  bool held_back = is_held_back(shard);
  tg_ms wake, now = tg_now();
  while ((command = next_ready(shard, held_back, &priority, &may_send, now, &wake))) {
    if (may_send)
      send_command(shard, priority, command, now);
    else
      expire(shard, priority, command, held_back);
  }
  shard->pumping = false;
  if (shard->command_count == 0)
    uv_timer_stop(shard->send_timer);
  else
    uv_timer_start(shard->send_timer, on_send_timer, (uint64_t)wake, 0);
}

void tg_shard_on_drain(void *ctx)
{
  struct tg_shard *shard = ctx;
  shard->beat_waits = false;
  tg_shard_pump(shard);
}

/* Of presences that wait only the newest matters; there is at most one. */
static void replace_waiting_presence(struct tg_shard *shard)
{
  struct tg_error error;
  tg_fail(&error, "replaced", "a newer presence took its place");
  for (int priority = 0; priority < 3; priority++) {
    struct tg_command *command;
    TAILQ_FOREACH(command, &shard->commands[priority], link)
    {
      if (command->op == TG_OP_PRESENCE_UPDATE) {
        finish(shard, priority, command, &error);
        return;
      }
    }
  }
}

static void enqueue(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                    tg_ms timeout, tg_shard_sent *sent, void *ctx)
{
  struct tg_command *command = tg_calloc(1, sizeof *command);
  command->op = (int)json_integer_value(json_object_get(payload, "op"));
  command->text = json_dumps(payload, JSON_COMPACT);
  command->length = strlen(command->text);
  command->deadline = tg_now() + timeout;
  command->sent = sent;
  command->ctx = ctx;
  TAILQ_INSERT_TAIL(&shard->commands[priority], command, link);
  shard->command_count++;
  tg_shard_pump(shard);
}

void tg_shard_send(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                   tg_ms timeout, tg_shard_sent *sent, void *ctx)
{
  struct tg_error error;
  tg_shard_answer_asked(shard, &sent, &ctx);
  if (!tg_payload_check_command(payload, &error)) {
    if (sent)
      sent(ctx, &error);
    return;
  }
  if (json_integer_value(json_object_get(payload, "op")) == TG_OP_PRESENCE_UPDATE)
    replace_waiting_presence(shard);
  if (shard->command_count < TG_COMMANDS_MAX) {
    enqueue(shard, payload, priority, timeout, sent, ctx);
    return;
  }
  tg_fail(&error, "queue_full", "%d commands wait for shard %d already", TG_COMMANDS_MAX, shard->id);
  if (sent)
    sent(ctx, &error);
}
