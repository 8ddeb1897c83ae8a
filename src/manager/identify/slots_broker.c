/* The broker of identifies, wired to the manager: which hosts it serves, and
 * whom it answers (broker.h says how). Every gateway without identify.url is one. */

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "manager/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_YET = 1000 }; /* ms until a host may try again while this one starts */

struct tg_identify_poll {
  struct tg_identify_poll *next;
  struct tg_manager *manager;
  uint64_t id;
  int shard_id;
  tg_identify_answer *answer;
  void *ctx;
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

static bool serves_host(struct tg_manager *manager, const struct tg_broker_message *message,
                        struct tg_broker_answer *answer)
{
  const struct tg_shard_range *range = &manager->range;
  char bot[20];
  snprintf(bot, sizeof bot, "%016" PRIx64, manager->bot);
  if (strcmp(message->host, manager->host_name) == 0)
    return refuse(answer, TG_BROKER_REFUSED,
                  "identify.url leads back to this gateway itself. The broker is configured without it, all "
                  "other hosts with the broker's address");
  if (manager->config->identify.url)
    return refuse(answer, TG_BROKER_REFUSED,
                  "this gateway is no broker: it has an identify.url itself. All hosts have to ask the same "
                  "broker, which has none");
  if (message->bot[0] && strcmp(message->bot, bot) != 0)
    return refuse(answer, TG_BROKER_REFUSED,
                  "its token (DISCORD_TOKEN) is another one than this host's. A broker serves the hosts of "
                  "one bot");
  char waiting[TG_HUMAN_SIZE * 4];
  if (!manager->broker && tg_fetch_is_put_off(manager, waiting, sizeof waiting))
    return refuse(answer, TG_BROKER_DOWN, "the broker starts later; it is %s", waiting);
  if (!manager->broker || tg_manager_stopping(manager))
    return refuse(answer, TG_BROKER_DOWN, "the broker is %s", manager->broker ? "stopping" : "starting");
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

static bool serves(struct tg_manager *manager, const struct tg_broker_message *message,
                   struct tg_broker_answer *answer)
{
  if (!serves_host(manager, message, answer))
    return false;
  const struct tg_shard_range *range = &manager->range;
  if (message->shard_id >= range->total)
    return refuse(answer, TG_BROKER_NO_SHARD, "there is no shard %d: total_shards is %d", message->shard_id,
                  range->total);
  if (tg_manager_shard(manager, message->shard_id))
    return refuse(answer, TG_BROKER_NO_SHARD,
                  "shard %d is the broker's own (it has %d to %d). Check first_shard_id and last_shard_id",
                  message->shard_id, range->first, range->last);
  return true;
}

/* ---- polls ---- */

static struct tg_identify_poll *add_poll(struct tg_manager *manager, int shard_id, tg_identify_answer *answer,
                                         void *ctx)
{
  struct tg_identify_poll *poll = tg_alloc(sizeof *poll);
  *poll =
      (struct tg_identify_poll){manager->polls, manager, ++manager->poll_count, shard_id, answer, ctx};
  manager->polls = poll;
  return poll;
}

static struct tg_identify_poll *find_poll(const struct tg_manager *manager, uint64_t id)
{
  struct tg_identify_poll *poll = manager->polls;
  while (poll && poll->id != id)
    poll = poll->next;
  return poll;
}

static void drop_poll(struct tg_identify_poll *poll)
{
  struct tg_identify_poll **at = &poll->manager->polls;
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
  struct tg_identify_poll *poll = waiting;
  if (answer->verdict == TG_BROKER_GRANTED)
    tg_log(TG_DEBUG, poll->shard_id, "the slot to identify goes to another gateway host");
  else if (answer->verdict == TG_BROKER_NO_SHARD)
    tg_log(TG_ERROR, poll->shard_id, "two gateway hosts ask to identify this shard. Check first_shard_id and "
                                     "last_shard_id: each shard belongs to one host");
  tg_identify_answer *to = poll->answer;
  void *to_ctx = poll->ctx;
  drop_poll(poll);
  send_answer(to, to_ctx, answer);
}

static void on_taken_back(void *ctx, int shard_id)
{
  struct tg_manager *manager = ctx;
  tg_ledger_give_back(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard_id));
}

static void on_identified(void *ctx, int shard_id)
{
  struct tg_manager *manager = ctx;
  tg_ms steady = tg_steady_clock();
  tg_log(TG_WARN, shard_id, "was identified by another gateway host without a slot; it counts");
  tg_ledger_take(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard_id), steady, steady);
  tg_ledger_save(manager->ledger);
}

void tg_slots_broker_begin(struct tg_manager *manager)
{
  static const struct tg_broker_callbacks callbacks = {on_answer, on_taken_back, on_identified};
  manager->broker = tg_broker_new(manager->scheduler, &callbacks, manager);
}

void tg_slots_broker_ask(struct tg_manager *manager, int shard_id, tg_identify_answer *answer, void *ctx)
{
  const struct tg_broker_message message = {
      .word = TG_WORD_ASK,
      .shard_id = shard_id,
      .priority = TG_IDENTIFY_FIRST,
      .wait = TG_BROKER_FOR_EVER,
  };
  tg_broker_ask(manager->broker, &message, add_poll(manager, shard_id, answer, ctx), tg_now());
}

int tg_slots_broker_count(const struct tg_manager *manager)
{
  int count = 0;
  for (const struct tg_identify_poll *poll = manager->polls; poll; poll = poll->next)
    count++;
  return count;
}

/* ---- POST /identify/{shard_id} ---- */

static void check(struct tg_manager *manager, const struct tg_broker_message *message,
                  struct tg_broker_answer *answer)
{
  answer->max_concurrency = manager->info.max_concurrency;
  tg_broker_check(manager->broker, message, tg_now());
  tg_log(TG_INFO, TG_NO_SHARD,
         "another gateway host, %s, with shards %d to %d, has its slots to identify from here", message->host,
         message->first_shard_id, message->last_shard_id);
}

uint64_t tg_manager_identify(struct tg_manager *manager, int shard_id, const json_t *body,
                             tg_identify_answer *to, void *ctx)
{
  struct tg_broker_message message;
  struct tg_broker_answer answer = {.verdict = TG_BROKER_NOTED, .retry_after = -1};
  struct tg_error error;
  bool good = tg_broker_message_read(body, shard_id, &message, &error);
  if (!good)
    refuse(&answer, TG_BROKER_MALFORMED, "%s", error.message);
  if (!good || !serves(manager, &message, &answer)) {
    send_answer(to, ctx, &answer);
    return 0;
  }
  if (message.word == TG_WORD_ASK) {
    struct tg_identify_poll *poll = add_poll(manager, shard_id, to, ctx);
    uint64_t id = poll->id;
    tg_broker_ask(manager->broker, &message, poll, tg_now());
    tg_slots_pump(manager);
    return find_poll(manager, id) ? id : 0;
  }
  if (message.word == TG_WORD_CHECK)
    check(manager, &message, &answer);
  else
    tg_broker_report(manager->broker, &message, tg_now());
  send_answer(to, ctx, &answer);
  tg_slots_pump(manager);
  return 0;
}

void tg_manager_identify_gone(struct tg_manager *manager, uint64_t id)
{
  struct tg_identify_poll *poll = find_poll(manager, id);
  if (!poll)
    return;
  tg_broker_poll_gone(manager->broker, poll->shard_id, poll, tg_now());
  drop_poll(poll);
  tg_slots_pump(manager);
}
