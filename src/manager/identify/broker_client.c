#include "manager/identify/broker_client.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STALE_PAUSE = 100 };

struct report {
  bool due;
  enum tg_broker_word word;
  int64_t number; /* of the ask that was granted; 0: nobody granted it */
  tg_ms sent_at;
  tg_ms since;
};

struct shard {
  bool wants;
  enum tg_identify_priority priority;
  tg_ms not_before;
  bool busy;       /* a request is under way */
  int64_t flight;  /* its number, to tell its answer from those of void ones */
  tg_ms began;     /* when it began to be sent */
  int64_t asked;   /* the last ask, while a grant may have come of it; 0: none */
  int64_t holds;   /* the ask that was granted and is not used yet; 0: none */
  int64_t used;    /* ... and was used: READY, op 9 or the end have not come; 0: none */
  bool identified; /* `used` counts; it may be 0, when a script identifies as it likes */
  tg_ms deadline, sent_at;
  struct report report;
};

struct tg_broker_client {
  char host[TG_HOST_NAME_SIZE];
  char bot[20];
  int first, count, total_shards, max_concurrency;
  struct shard *shards;
  int64_t numbers;
  enum tg_client_state state;
  int failures;
  tg_ms since, next_try;
  bool checking; /* a check is under way */
  tg_ms held_until;
};

struct tg_broker_client *tg_broker_client_new(const struct tg_broker_client_options *options, tg_ms now)
{
  struct tg_broker_client *client = tg_calloc(1, sizeof *client);
  snprintf(client->host, sizeof client->host, "%s", options->host);
  snprintf(client->bot, sizeof client->bot, "%s", options->bot);
  client->first = options->first;
  client->count = options->count;
  client->total_shards = options->total_shards;
  client->max_concurrency = options->max_concurrency;
  client->shards = tg_calloc((size_t)options->count, sizeof *client->shards);
  client->since = client->next_try = now;
  return client;
}

void tg_broker_client_free(struct tg_broker_client *client)
{
  if (!client)
    return;
  free(client->shards);
  free(client);
}

static struct shard *shard_of(const struct tg_broker_client *client, int shard_id)
{
  return &client->shards[shard_id - client->first];
}

/* ---- what happens to a shard ---- */

static void report(struct shard *shard, enum tg_broker_word word, int64_t number, tg_ms now)
{
  shard->report = (struct report){true, word, number, shard->sent_at, now};
}

void tg_broker_client_ask(struct tg_broker_client *client, int shard_id, enum tg_identify_priority priority)
{
  struct shard *shard = shard_of(client, shard_id);
  shard->wants = true;
  shard->priority = priority;
}

bool tg_broker_client_leave(struct tg_broker_client *client, int shard_id, tg_ms now)
{
  struct shard *shard = shard_of(client, shard_id);
  int64_t number = shard->holds ? shard->holds : shard->asked;
  bool cancel = shard->busy && shard->flight == shard->asked && shard->asked > 0;
  shard->wants = false;
  shard->holds = shard->asked = 0;
  if (number)
    report(shard, TG_WORD_UNUSED, number, now);
  if (cancel)
    shard->busy = false;
  return cancel;
}

void tg_broker_client_sent(struct tg_broker_client *client, int shard_id, tg_ms at)
{
  struct shard *shard = shard_of(client, shard_id);
  shard->wants = false;
  shard->used = shard->holds;
  shard->holds = 0;
  shard->identified = true;
  shard->sent_at = at;
  report(shard, TG_WORD_SENT, shard->used, at);
}

void tg_broker_client_done(struct tg_broker_client *client, int shard_id, bool ready, tg_ms now)
{
  struct shard *shard = shard_of(client, shard_id);
  if (!shard->identified)
    return;
  /* Of an identify that nobody granted the broker wants the first word alone: it counts by it. */
  if (shard->used || !shard->report.due)
    report(shard, ready ? TG_WORD_READY : TG_WORD_FAILED, shard->used, now);
  shard->used = 0;
  shard->identified = false;
}

bool tg_broker_client_gone(struct tg_broker_client *client, int shard_id, tg_ms now)
{
  struct shard *shard = shard_of(client, shard_id);
  if (shard->holds)
    tg_broker_client_sent(client, shard_id, now);
  if (!shard->identified)
    return tg_broker_client_leave(client, shard_id, now);
  tg_broker_client_done(client, shard_id, false, now);
  shard->wants = false;
  return false;
}

/* ---- requests ---- */

static struct tg_broker_message message_of(const struct tg_broker_client *client, enum tg_broker_word word,
                                           int shard_id)
{
  struct tg_broker_message message = {
      .word = word,
      .shard_id = shard_id,
      .total_shards = client->total_shards,
      .max_concurrency = client->max_concurrency,
      .first_shard_id = client->first,
      .last_shard_id = client->first + client->count - 1,
      .wait = tg_patience(TG_BROKER_WAIT),
  };
  strcpy(message.host, client->host);
  strcpy(message.bot, client->bot);
  return message;
}

static void begin(struct shard *shard, int64_t number, tg_ms now)
{
  shard->busy = true;
  shard->flight = number;
  shard->began = now;
}

/* The bucket serves one after the other: one ask stands for the others. */
static bool is_represented(const struct tg_broker_client *client, int shard_id)
{
  const struct shard *shard = shard_of(client, shard_id);
  int index = shard_id - client->first;
  for (int i = index % client->max_concurrency; i < client->count; i += client->max_concurrency) {
    const struct shard *other = &client->shards[i];
    bool asks = other->busy && other->asked > 0 && other->flight == other->asked;
    if (i != index && asks && other->priority <= shard->priority)
      return true;
  }
  return false;
}

static bool may_ask(const struct tg_broker_client *client, int shard_id, tg_ms now)
{
  const struct shard *shard = shard_of(client, shard_id);
  return shard->wants && !shard->holds && now >= shard->not_before && now >= client->held_until &&
         !is_represented(client, shard_id);
}

static bool next_of(struct tg_broker_client *client, int shard_id, tg_ms now,
                    struct tg_broker_message *request)
{
  struct shard *shard = shard_of(client, shard_id);
  struct report *due = &shard->report;
  if (shard->busy)
    return false;
  if (due->due && now - due->since > TG_CLIENT_REPORT_KEPT)
    due->due = false;
  bool asks = may_ask(client, shard_id, now);
  if (due->due && due->word == TG_WORD_UNUSED && asks)
    due->due = false; /* the ask says so, too */
  if (due->due) {
    *request = message_of(client, due->word, shard_id);
    request->number = due->number;
    request->sent_ago = now > due->sent_at ? now - due->sent_at : 0;
    begin(shard, -1, now);
    return true;
  }
  if (!asks)
    return false;
  *request = message_of(client, TG_WORD_ASK, shard_id);
  request->number = shard->asked = ++client->numbers;
  request->priority = shard->priority;
  begin(shard, shard->asked, now);
  return true;
}

void tg_broker_client_retry(struct tg_broker_client *client, tg_ms now)
{
  client->next_try = client->held_until = now;
  for (int i = 0; i < client->count; i++)
    client->shards[i].not_before = now;
}

bool tg_broker_client_next(struct tg_broker_client *client, tg_ms now, struct tg_broker_message *request)
{
  if (client->state != TG_CLIENT_FINE) {
    if (client->checking || now < client->next_try)
      return false;
    client->checking = true;
    *request = message_of(client, TG_WORD_CHECK, client->first);
    return true;
  }
  for (int i = 0; i < client->count; i++) {
    if (next_of(client, client->first + i, now, request))
      return true;
  }
  return false;
}

/* ---- answers ---- */

static tg_ms pause_after(int failures, tg_ms base, tg_ms most)
{
  tg_ms wait = failures < 10 ? base << failures : most;
  if (wait > most)
    wait = most;
  wait = tg_patience(wait);
  return wait / 2 + (tg_ms)tg_random((uint64_t)(wait / 2) + 1);
}

/* Requests that were under way together fail together: that is one failure. */
static enum tg_client_news trouble(struct tg_broker_client *client, bool is_check,
                                   const struct tg_broker_answer *answer, tg_ms now)
{
  bool refused = answer->verdict != TG_BROKER_DOWN;
  enum tg_client_state before = client->state;
  if (!is_check && before != TG_CLIENT_FINE)
    return TG_CLIENT_NO_NEWS;
  client->state = refused ? TG_CLIENT_REFUSED_US : TG_CLIENT_DOWN;
  if (before != client->state) {
    client->since = now;
    client->failures = 0;
  }
  tg_ms pause = refused ? pause_after(client->failures, TG_CLIENT_REFUSED, TG_CLIENT_REFUSED_MAX)
                        : pause_after(client->failures, TG_CLIENT_BACKOFF, TG_CLIENT_BACKOFF_MAX);
  client->failures++;
  if (answer->retry_after > pause && answer->retry_after < TG_CLIENT_REFUSED_MAX)
    pause = answer->retry_after;
  client->next_try = now + pause;
  if (refused)
    return TG_CLIENT_WAS_REFUSED;
  return before == TG_CLIENT_DOWN ? TG_CLIENT_STAYS_DOWN : TG_CLIENT_WENT_DOWN;
}

static enum tg_client_news check_answered(struct tg_broker_client *client,
                                          const struct tg_broker_answer *answer, tg_ms now)
{
  client->checking = false;
  if (answer->verdict != TG_BROKER_NOTED)
    return trouble(client, true, answer, now);
  client->state = TG_CLIENT_FINE;
  client->failures = 0;
  return TG_CLIENT_CAME_UP;
}

static enum tg_client_news granted(struct shard *shard, int64_t number, const struct tg_broker_answer *answer,
                                   tg_ms now)
{
  shard->asked = 0;
  shard->deadline = shard->began + answer->waited + answer->valid_for;
  if (shard->wants && now < shard->deadline) {
    shard->wants = false;
    shard->holds = number;
    return TG_CLIENT_GRANTED;
  }
  report(shard, TG_WORD_UNUSED, number, now); /* too late, or wanted no more */
  return TG_CLIENT_NO_NEWS;
}

static enum tg_client_news ask_answered(struct tg_broker_client *client, struct shard *shard,
                                        const struct tg_broker_message *request,
                                        const struct tg_broker_answer *answer, tg_ms now)
{
  switch (answer->verdict) {
  case TG_BROKER_GRANTED:
    return granted(shard, request->number, answer, now);
  case TG_BROKER_HELD_BACK: {
    bool news = now >= client->held_until;
    tg_ms wait = answer->retry_after > 0 ? answer->retry_after : tg_patience(TG_CLIENT_BACKOFF_MAX);
    if (wait > TG_CLIENT_REFUSED_MAX)
      wait = TG_CLIENT_REFUSED_MAX; /* another start of the broker may know of more */
    client->held_until = now + wait + (tg_ms)tg_random(500);
    shard->asked = 0;
    return news ? TG_CLIENT_WAS_HELD_BACK : TG_CLIENT_NO_NEWS;
  }
  case TG_BROKER_WAITING:
    shard->asked = 0;
    return TG_CLIENT_NO_NEWS;
  case TG_BROKER_STALE:
    shard->not_before = now + STALE_PAUSE;
    return TG_CLIENT_NO_NEWS;
  case TG_BROKER_NO_SHARD:
    shard->asked = 0;
    shard->not_before = now + tg_patience(TG_CLIENT_REFUSED);
    return TG_CLIENT_SHARD_REFUSED;
  default: /* whether the slot was granted is not known: `asked` remembers it */
    return trouble(client, false, answer, now);
  }
}

enum tg_client_news tg_broker_client_answer(struct tg_broker_client *client,
                                            const struct tg_broker_message *request,
                                            const struct tg_broker_answer *answer, tg_ms now)
{
  if (request->word == TG_WORD_CHECK)
    return check_answered(client, answer, now);
  struct shard *shard = shard_of(client, request->shard_id);
  shard->busy = false;
  if (request->word == TG_WORD_ASK)
    return ask_answered(client, shard, request, answer, now);
  bool heard = answer->verdict == TG_BROKER_NOTED;
  if (shard->report.word == request->word && shard->report.number == request->number &&
      (heard || answer->verdict == TG_BROKER_NO_SHARD))
    shard->report.due = false;
  return heard || answer->verdict == TG_BROKER_NO_SHARD ? TG_CLIENT_NO_NEWS
                                                        : trouble(client, false, answer, now);
}

/* ---- what is known ---- */

tg_ms tg_broker_client_deadline(const struct tg_broker_client *client, int shard_id)
{
  const struct shard *shard = shard_of(client, shard_id);
  return shard->holds ? shard->deadline : 0;
}

enum tg_client_state tg_broker_client_state(const struct tg_broker_client *client)
{
  return client->state;
}

tg_ms tg_broker_client_since(const struct tg_broker_client *client)
{
  return client->since;
}

tg_ms tg_broker_client_next_try(const struct tg_broker_client *client)
{
  return client->next_try > client->held_until ? client->next_try : client->held_until;
}

bool tg_broker_client_open(const struct tg_broker_client *client, tg_ms now)
{
  return client->state == TG_CLIENT_FINE && now >= client->held_until;
}

static void sooner(tg_ms *first, tg_ms at, tg_ms now)
{
  if (at > now && (*first < 0 || at < *first))
    *first = at;
}

tg_ms tg_broker_client_wakeup(const struct tg_broker_client *client, tg_ms now)
{
  tg_ms first = -1;
  if (client->state != TG_CLIENT_FINE && !client->checking)
    sooner(&first, client->next_try, now);
  sooner(&first, client->held_until, now);
  for (int i = 0; i < client->count; i++) {
    if (client->shards[i].wants && !client->shards[i].busy)
      sooner(&first, client->shards[i].not_before, now);
  }
  return first;
}
