#include "manager/identify/broker.h"

#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A shard of another host, as that host last spoke of it. */
struct record {
  char host[TG_HOST_NAME_SIZE];
  int64_t number; /* of the last ask */
  void *poll;     /* NULL: nobody waits */
  tg_ms poll_at, poll_until;
  bool over; /* the last ask was answered, or taken back: nothing may come of it any more */
  int64_t granted; /* number of the ask that was granted last; 0: none */
  tg_ms granted_at, deadline;
  bool reported;    /* what became of the grant: at least that it was sent, or not used */
  bool done;        /* ... and how the identify ended */
  tg_ms kept_until; /* without a poll; 0: has no place in the queue */
};

struct tg_broker {
  struct tg_scheduler *scheduler;
  struct tg_broker_callbacks callbacks;
  void *ctx;
  struct record **records; /* by shard id; NULL: never asked */
  int count;
};

struct tg_broker *tg_broker_new(struct tg_scheduler *scheduler, const struct tg_broker_callbacks *callbacks,
                                void *ctx)
{
  struct tg_broker *broker = tg_calloc(1, sizeof *broker);
  broker->scheduler = scheduler;
  broker->callbacks = *callbacks;
  broker->ctx = ctx;
  return broker;
}

void tg_broker_free(struct tg_broker *broker)
{
  if (!broker)
    return;
  for (int i = 0; i < broker->count; i++)
    free(broker->records[i]);
  free(broker->records);
  free(broker);
}

static struct record *find(const struct tg_broker *broker, int shard_id)
{
  return shard_id < broker->count ? broker->records[shard_id] : NULL;
}

static struct record *record_of(struct tg_broker *broker, int shard_id)
{
  if (shard_id >= broker->count) {
    int count = shard_id + 16;
    broker->records = tg_realloc(broker->records, (size_t)count * sizeof *broker->records);
    memset(broker->records + broker->count, 0, (size_t)(count - broker->count) * sizeof *broker->records);
    broker->count = count;
  }
  if (!broker->records[shard_id])
    broker->records[shard_id] = tg_calloc(1, sizeof(struct record));
  return broker->records[shard_id];
}

/* ---- answers ---- */

static void answer_poll(struct tg_broker *broker, void *poll, enum tg_broker_verdict verdict, const char *why)
{
  struct tg_broker_answer answer = {.verdict = verdict, .retry_after = -1};
  snprintf(answer.why, sizeof answer.why, "%s", why);
  broker->callbacks.answer(broker->ctx, poll, &answer);
}

static void stale(struct tg_broker *broker, void *poll)
{
  answer_poll(broker, poll, TG_BROKER_STALE, "this ask is over: a later one has taken its place");
}

/* The record's poll, which from here on is nobody's. */
static void *detach(struct record *record)
{
  void *poll = record->poll;
  record->poll = NULL;
  return poll;
}

static void answer_granted(struct tg_broker *broker, void *poll, const struct record *record, tg_ms poll_at)
{
  struct tg_broker_answer answer = {
      .verdict = TG_BROKER_GRANTED,
      .waited = record->granted_at - poll_at,
      .valid_for = record->deadline - record->granted_at,
      .retry_after = -1,
  };
  broker->callbacks.answer(broker->ctx, poll, &answer);
}

/* Nobody waits for the slot now, but its shard keeps its place for a while. */
static void keep_place(struct tg_broker *broker, int shard_id, struct record *record, tg_ms now)
{
  if (tg_scheduler_state(broker->scheduler, shard_id) == TG_IDENTIFY_ASKING)
    tg_scheduler_unused(broker->scheduler, shard_id, now);
  record->kept_until = now + TG_BROKER_PLACE_KEPT;
}

/* ---- asks ---- */

static bool same_host(const struct record *record, const struct tg_broker_message *message)
{
  return strcmp(record->host, message->host) == 0;
}

static void take_back(struct tg_broker *broker, int shard_id, struct record *record, tg_ms now)
{
  record->reported = record->done = true;
  record->kept_until = now + TG_BROKER_PLACE_KEPT;
  if (tg_scheduler_unused(broker->scheduler, shard_id, now))
    broker->callbacks.taken_back(broker->ctx, shard_id);
}

/* The same request once more, by whatever lies between: it changes nothing.
 * True: it was answered. */
static bool repeated(struct tg_broker *broker, struct record *record, void *poll, tg_ms now)
{
  if (record->poll)
    stale(broker, detach(record));
  if (!record->over)
    return false;
  if (record->granted == record->number && !record->reported && now < record->deadline)
    answer_granted(broker, poll, record, now);
  else
    stale(broker, poll);
  return true;
}

static void displaced(struct tg_broker *broker, void *poll, int shard_id)
{
  char why[160];
  snprintf(why, sizeof why,
           "another gateway host asks for shard %d, too. Check first_shard_id and last_shard_id: each shard "
           "belongs to one host",
           shard_id);
  answer_poll(broker, poll, TG_BROKER_NO_SHARD, why);
}

/* A new ask: what the shard was granted before is settled by it. */
static void take_over(struct tg_broker *broker, struct record *record,
                      const struct tg_broker_message *message, tg_ms now)
{
  if (same_host(record, message) && record->granted && !record->reported)
    take_back(broker, message->shard_id, record, now);
  record->granted = 0; /* another host's, that was not settled: the scheduler takes it for used */
  record->number = message->number;
  record->over = false;
  strcpy(record->host, message->host);
}

void tg_broker_check(struct tg_broker *broker, const struct tg_broker_message *message, tg_ms now)
{
  int first = message->first_shard_id > 0 ? message->first_shard_id : 0;
  for (int id = first; id <= message->last_shard_id && id < broker->count; id++) {
    struct record *record = broker->records[id];
    if (!record || same_host(record, message) || !record->host[0])
      continue;
    if (record->poll)
      displaced(broker, detach(record), id);
    if (tg_scheduler_state(broker->scheduler, id) != TG_IDENTIFY_IDLE)
      tg_scheduler_gone(broker->scheduler, id, now); /* of a grant the worst is assumed */
    *record = (struct record){0};
  }
}

void tg_broker_ask(struct tg_broker *broker, const struct tg_broker_message *message, void *poll, tg_ms now)
{
  struct record *record = record_of(broker, message->shard_id);
  bool reports = message->host[0] != '\0', known = record->number > 0;
  if (known && reports && same_host(record, message) && message->number < record->number) {
    stale(broker, poll);
    return;
  }
  bool again = known && reports && same_host(record, message) && message->number == record->number;
  if (again && repeated(broker, record, poll, now))
    return;
  void *earlier = detach(record);
  bool own = reports && same_host(record, message);
  if (!again)
    take_over(broker, record, message, now);
  if (!reports)
    record->number = 1;
  record->poll = poll;
  record->poll_at = now;
  record->poll_until = message->wait == TG_BROKER_FOR_EVER ? INT64_MAX : now + message->wait;
  record->kept_until = 0;
  tg_scheduler_ask_away(broker->scheduler, message->shard_id, message->priority, reports, now);
  if (earlier && own)
    stale(broker, earlier);
  else if (earlier)
    displaced(broker, earlier, message->shard_id);
}

void tg_broker_granted(struct tg_broker *broker, int shard_id, tg_ms deadline, tg_ms now)
{
  struct record *record = record_of(broker, shard_id);
  record->granted = record->number;
  record->granted_at = now;
  record->deadline = deadline;
  record->over = true;
  record->reported = record->done = record->host[0] == '\0';
  record->kept_until = 0;
  void *poll = detach(record);
  if (poll)
    answer_granted(broker, poll, record, record->poll_at);
  else if (!record->reported)
    take_back(broker, shard_id, record, now); /* nobody has heard of it */
}

/* ---- reports ---- */

/* The host of this shard says what became of the grant that it holds. */
static void report_grant(struct tg_broker *broker, struct record *record,
                         const struct tg_broker_message *message, tg_ms now)
{
  struct tg_scheduler *scheduler = broker->scheduler;
  int shard_id = message->shard_id;
  if (message->word == TG_WORD_UNUSED) {
    if (!record->reported)
      take_back(broker, shard_id, record, now);
    return;
  }
  if (!record->reported)
    tg_scheduler_sent(scheduler, shard_id, now - message->sent_ago);
  record->reported = true;
  if (message->word == TG_WORD_SENT || record->done)
    return;
  record->done = true;
  tg_scheduler_done(scheduler, shard_id, message->word == TG_WORD_READY, now);
}

/* The slot is no longer wanted. */
static void withdraw(struct tg_broker *broker, struct record *record, const struct tg_broker_message *message,
                     tg_ms now)
{
  if (!same_host(record, message) || message->number < record->number)
    return;
  if (record->granted && !record->reported)
    take_back(broker, message->shard_id, record, now);
  record->number = message->number; /* the ask itself may still come, and is void */
  record->over = true;
  if (record->poll)
    stale(broker, detach(record));
  keep_place(broker, message->shard_id, record, now);
}

void tg_broker_report(struct tg_broker *broker, const struct tg_broker_message *message, tg_ms now)
{
  struct record *record = record_of(broker, message->shard_id);
  if (record->number == 0)
    strcpy(record->host, message->host);
  bool holds = record->granted > 0 && same_host(record, message) && message->number == record->granted;
  if (holds) {
    report_grant(broker, record, message, now);
  } else if (message->word == TG_WORD_UNUSED) {
    withdraw(broker, record, message, now);
  } else {
    /* Granted by an earlier run of this broker, or by nobody. */
    tg_scheduler_note_use(broker->scheduler, message->shard_id, now - message->sent_ago);
    if (message->number == 0 && message->word == TG_WORD_SENT)
      broker->callbacks.identified(broker->ctx, message->shard_id);
  }
}

void tg_broker_poll_gone(struct tg_broker *broker, int shard_id, const void *poll, tg_ms now)
{
  struct record *record = find(broker, shard_id);
  if (!record || record->poll != poll)
    return;
  detach(record);
  keep_place(broker, shard_id, record, now);
}

/* ---- time ---- */

void tg_broker_hold_back(struct tg_broker *broker, tg_ms retry_after, tg_ms now)
{
  const struct tg_broker_answer answer = {.verdict = TG_BROKER_HELD_BACK, .retry_after = retry_after};
  for (int id = 0; id < broker->count; id++) {
    struct record *record = broker->records[id];
    if (!record || !record->poll || record->poll_until == INT64_MAX)
      continue;
    keep_place(broker, id, record, now);
    record->over = true;
    broker->callbacks.answer(broker->ctx, detach(record), &answer);
  }
}

void tg_broker_tick(struct tg_broker *broker, tg_ms now)
{
  for (int id = 0; id < broker->count; id++) {
    struct record *record = broker->records[id];
    if (record && record->poll && now >= record->poll_until) {
      keep_place(broker, id, record, now);
      record->over = true;
      answer_poll(broker, detach(record), TG_BROKER_WAITING, "");
    }
    if (record && record->kept_until && now >= record->kept_until) {
      record->kept_until = 0;
      if (tg_scheduler_state(broker->scheduler, id) == TG_IDENTIFY_STARTED)
        tg_scheduler_gone(broker->scheduler, id, now);
    }
  }
}

tg_ms tg_broker_wakeup(const struct tg_broker *broker)
{
  tg_ms first = INT64_MAX;
  for (int id = 0; id < broker->count; id++) {
    const struct record *record = broker->records[id];
    if (record && record->poll && record->poll_until < first)
      first = record->poll_until;
    if (record && record->kept_until && record->kept_until < first)
      first = record->kept_until;
  }
  return first < INT64_MAX ? first : -1;
}

void tg_broker_end(struct tg_broker *broker, const char *why)
{
  for (int id = 0; id < broker->count; id++) {
    if (broker->records[id] && broker->records[id]->poll)
      answer_poll(broker, detach(broker->records[id]), TG_BROKER_DOWN, why);
  }
}
