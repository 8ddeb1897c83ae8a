#include "manager/identify/slots_broker.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "manager/identify/broker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_YET = 1000 }; /* ms until a host may try again while this one starts */

/* Who waits for a slot of a shard of another host. */
struct host_poll {
  struct host_poll *next;
  struct tg_slots_broker *owner;
  uint64_t id;
  int shard_id;
  tg_identify_answer *answer;
  void *ctx;
};

struct tg_slots_broker {
  const struct tg_manager_env *env;
  const char *host;
  const struct tg_slots_broker_events *events;
  void *ctx;
  struct tg_scheduler *scheduler;
  struct tg_ledger *ledger;
  struct tg_broker *broker; /* NULL: the shards are not known yet, or this gateway is no broker */
  struct host_poll *polls;
  uint64_t poll_count;
};

/* ---- who is served ---- */

static bool refuse(struct tg_broker_answer *answer, enum tg_broker_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(struct tg_broker_answer *answer, enum tg_broker_verdict verdict, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(answer->why, sizeof answer->why, format, args);
  va_end(args);
  answer->verdict = verdict;
  answer->retry_after = verdict == TG_BROKER_DOWN ? NOT_YET : -1;
  return false;
}

static bool serves_host(struct tg_slots_broker *broker, const struct tg_broker_message *message,
                        struct tg_broker_answer *answer)
{
  const struct tg_manager_env *env = broker->env;
  const struct tg_shard_range *range = &env->shards.range;
  char bot[20];
  snprintf(bot, sizeof bot, "%016" PRIx64, env->bot);
  if (strcmp(message->host, broker->host) == 0)
    return refuse(answer, TG_BROKER_REFUSED,
                  "identify.url leads back to this gateway itself. The broker is configured without it, all "
                  "other hosts with the broker's address");
  if (env->config->identify.url)
    return refuse(answer, TG_BROKER_REFUSED,
                  "this gateway is no broker: it has an identify.url itself. All hosts have to ask the same "
                  "broker, which has none");
  if (message->bot[0] && strcmp(message->bot, bot) != 0)
    return refuse(answer, TG_BROKER_REFUSED,
                  "its token (DISCORD_TOKEN) is another one than this host's. A broker serves the hosts of "
                  "one bot");
  char waiting[TG_HUMAN_SIZE * 4];
  if (!broker->broker && broker->events->put_off(broker->ctx, waiting, sizeof waiting))
    return refuse(answer, TG_BROKER_DOWN, "the broker starts later; it is %s", waiting);
  if (!broker->broker || env->stopping)
    return refuse(answer, TG_BROKER_DOWN, "the broker is %s", broker->broker ? "stopping" : "starting");
  if (message->total_shards > 0 && message->total_shards != range->total)
    return refuse(answer, TG_BROKER_REFUSED,
                  "its total_shards (TOTAL_SHARDS) is %d here and %d there: all hosts need the same",
                  range->total, message->total_shards);
  if (message->first_shard_id <= range->last && message->last_shard_id >= range->first)
    return refuse(answer, TG_BROKER_REFUSED,
                  "it has the shards %d to %d, and some of them are the broker's own (%d to %d). Check "
                  "first_shard_id and last_shard_id on both",
                  message->first_shard_id, message->last_shard_id, range->first, range->last);
  return true;
}

static bool serves(struct tg_slots_broker *broker, const struct tg_broker_message *message,
                   struct tg_broker_answer *answer)
{
  if (!serves_host(broker, message, answer))
    return false;
  const struct tg_manager_env *env = broker->env;
  const struct tg_shard_range *range = &env->shards.range;
  if (message->shard_id >= range->total)
    return refuse(answer, TG_BROKER_NO_SHARD, "there is no shard %d: total_shards is %d", message->shard_id,
                  range->total);
  if (tg_shard_set_find(&env->shards, message->shard_id))
    return refuse(answer, TG_BROKER_NO_SHARD,
                  "shard %d is the broker's own (it has %d to %d). Check first_shard_id and last_shard_id",
                  message->shard_id, range->first, range->last);
  return true;
}

/* ---- polls ---- */

static struct host_poll *add_poll(struct tg_slots_broker *broker, int shard_id, tg_identify_answer *answer,
                                  void *ctx)
{
  struct host_poll *poll = tg_alloc(sizeof *poll);
  *poll = (struct host_poll){broker->polls, broker, ++broker->poll_count, shard_id, answer, ctx};
  broker->polls = poll;
  return poll;
}

static struct host_poll *find_poll(const struct tg_slots_broker *broker, uint64_t id)
{
  struct host_poll *poll = broker->polls;
  while (poll && poll->id != id)
    poll = poll->next;
  return poll;
}

static void drop_poll(struct host_poll *poll)
{
  struct host_poll **at = &poll->owner->polls;
  while (*at != poll)
    at = &(*at)->next;
  *at = poll->next;
  free(poll);
}

static void send_answer(tg_identify_answer *to, void *ctx, const struct tg_broker_answer *answer)
{
  int status;
  json_t *body = tg_broker_answer_write(answer, &status);
  to(ctx, status, answer->retry_after, body);
  json_decref(body);
}

static void on_answer(void *ctx, void *waiting, const struct tg_broker_answer *answer)
{
  (void)ctx;
  struct host_poll *poll = waiting;
  if (answer->verdict == TG_BROKER_GRANTED)
    tg_log(TG_DEBUG, poll->shard_id, "the slot to identify goes to another gateway host");
  else if (answer->verdict == TG_BROKER_NO_SHARD)
    tg_log(TG_ERROR, poll->shard_id,
           "two gateway hosts ask to identify this shard. Check first_shard_id and "
           "last_shard_id: each shard belongs to one host");
  tg_identify_answer *to = poll->answer;
  void *to_ctx = poll->ctx;
  drop_poll(poll);
  send_answer(to, to_ctx, answer);
}

static void on_taken_back(void *ctx, int shard_id)
{
  struct tg_slots_broker *broker = ctx;
  tg_ledger_give_back(broker->ledger, tg_scheduler_bucket(broker->scheduler, shard_id));
}

static void on_identified(void *ctx, int shard_id)
{
  struct tg_slots_broker *broker = ctx;
  tg_ms steady = tg_steady_clock();
  tg_log(TG_WARN, shard_id, "was identified by another gateway host without a slot; it counts");
  tg_ledger_take(broker->ledger, tg_scheduler_bucket(broker->scheduler, shard_id), steady, steady);
  tg_ledger_save(broker->ledger);
}

void tg_slots_broker_ask(struct tg_slots_broker *broker, int shard_id, tg_identify_answer *answer, void *ctx)
{
  const struct tg_broker_message message = {
      .word = TG_WORD_ASK,
      .shard_id = shard_id,
      .priority = TG_IDENTIFY_FIRST,
      .wait = TG_BROKER_FOR_EVER,
  };
  tg_broker_ask(broker->broker, &message, add_poll(broker, shard_id, answer, ctx), tg_now());
}

int tg_slots_broker_count(const struct tg_slots_broker *broker)
{
  int count = 0;
  for (const struct host_poll *poll = broker->polls; poll; poll = poll->next)
    count++;
  return count;
}

void tg_slots_broker_granted(struct tg_slots_broker *broker, int shard_id, tg_ms deadline, tg_ms now)
{
  tg_broker_granted(broker->broker, shard_id, deadline, now);
}

void tg_slots_broker_hold_back(struct tg_slots_broker *broker, tg_ms wait, tg_ms now)
{
  tg_broker_hold_back(broker->broker, wait, now);
}

void tg_slots_broker_tick(struct tg_slots_broker *broker, tg_ms now)
{
  tg_broker_tick(broker->broker, now);
}

tg_ms tg_slots_broker_wakeup(const struct tg_slots_broker *broker)
{
  return tg_broker_wakeup(broker->broker);
}

/* ---- POST /identify/{shard_id} ---- */

static void check(struct tg_slots_broker *broker, const struct tg_broker_message *message,
                  struct tg_broker_answer *answer)
{
  answer->max_concurrency = broker->env->info->max_concurrency;
  tg_broker_check(broker->broker, message, tg_now());
  tg_log(TG_INFO, TG_NO_SHARD,
         "another gateway host, %s, with shards %d to %d, has its slots to identify from here", message->host,
         message->first_shard_id, message->last_shard_id);
}

uint64_t tg_slots_broker_hear(struct tg_slots_broker *broker, int shard_id, const json_t *body,
                              tg_identify_answer *to, void *ctx)
{
  struct tg_broker_message message;
  struct tg_broker_answer answer = {.verdict = TG_BROKER_NOTED, .retry_after = -1};
  struct tg_error error;
  bool good = tg_broker_message_read(body, shard_id, &message, &error);
  if (!good)
    refuse(&answer, TG_BROKER_MALFORMED, "%s", error.message);
  if (!good || !serves(broker, &message, &answer)) {
    send_answer(to, ctx, &answer);
    return 0;
  }
  if (message.word == TG_WORD_ASK) {
    struct host_poll *poll = add_poll(broker, shard_id, to, ctx);
    uint64_t id = poll->id;
    tg_broker_ask(broker->broker, &message, poll, tg_now());
    broker->events->changed(broker->ctx);
    return find_poll(broker, id) ? id : 0;
  }
  if (message.word == TG_WORD_CHECK)
    check(broker, &message, &answer);
  else
    tg_broker_report(broker->broker, &message, tg_now());
  send_answer(to, ctx, &answer);
  broker->events->changed(broker->ctx);
  return 0;
}

void tg_slots_broker_poll_gone(struct tg_slots_broker *broker, uint64_t id)
{
  struct host_poll *poll = find_poll(broker, id);
  if (!poll)
    return;
  tg_broker_poll_gone(broker->broker, poll->shard_id, poll, tg_now());
  drop_poll(poll);
  broker->events->changed(broker->ctx);
}

/* ---- life ---- */

struct tg_slots_broker *tg_slots_broker_new(const struct tg_manager_env *env, const char *host,
                                            const struct tg_slots_broker_events *events, void *ctx)
{
  struct tg_slots_broker *broker = tg_calloc(1, sizeof *broker);
  *broker = (struct tg_slots_broker){.env = env, .host = host, .events = events, .ctx = ctx};
  return broker;
}

void tg_slots_broker_begin(struct tg_slots_broker *broker, struct tg_scheduler *scheduler,
                           struct tg_ledger *ledger)
{
  static const struct tg_broker_callbacks callbacks = {on_answer, on_taken_back, on_identified};
  broker->scheduler = scheduler;
  broker->ledger = ledger;
  broker->broker = tg_broker_new(scheduler, &callbacks, broker);
}

void tg_slots_broker_end(struct tg_slots_broker *broker, const char *why)
{
  if (broker->broker)
    tg_broker_end(broker->broker, why);
}

void tg_slots_broker_free(struct tg_slots_broker *broker)
{
  tg_broker_free(broker->broker);
  free(broker);
}
