#include "manager/identify/scheduler.h"

#include "base/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct scheduled {
  enum tg_identify_state state;
  enum tg_identify_priority priority;
  bool away;        /* of another program */
  bool fresh;       /* has not had a grant since it was told to connect */
  int failures;     /* in a row */
  uint64_t order;   /* of coming */
  tg_ms since;      /* of the state */
  tg_ms not_before; /* no try until then */
  tg_ms ready_at;   /* of the last session; 0: none yet */
};

struct bucket {
  tg_shard_ref holder; /* whose slot runs; -1: none */
  bool sent;     /* the holder's op 2 is out */
  bool assumed;  /* ... as far as we know: it never said */
  tg_ms at;      /* of op 2 if sent, else the deadline of the grant */
  tg_ms free_at; /* while nobody holds it */
  /* What is known of it, so that not all shards are looked at whenever one of them moves. */
  bool changed;       /* since it was looked at */
  tg_ms due;          /* when time alone may change it; -1: never */
  int ahead;          /* shards on their way to a slot */
  bool none_to_start; /* until it changes */
  bool none_to_grant;
};

struct tg_scheduler {
  int max_concurrency;
  tg_ms spacing;
  bool is_shared; /* the buckets, with other hosts */
  int allowance;
  tg_ms delay; /* until a grant is heard of */
  uint64_t orders;
  struct scheduled *entries; /* by tg_ref_index() */
  int count;
  struct bucket *buckets;
  int ahead; /* in all buckets */
};

struct tg_scheduler *tg_scheduler_new(int max_concurrency, tg_ms spacing)
{
  struct tg_scheduler *scheduler = tg_calloc(1, sizeof *scheduler);
  scheduler->max_concurrency = max_concurrency;
  scheduler->spacing = spacing;
  scheduler->buckets = tg_calloc((size_t)max_concurrency, sizeof *scheduler->buckets);
  for (int i = 0; i < max_concurrency; i++) {
    scheduler->buckets[i].holder = -1;
    scheduler->buckets[i].due = -1;
  }
  return scheduler;
}

void tg_scheduler_free(struct tg_scheduler *scheduler)
{
  if (!scheduler)
    return;
  free(scheduler->entries);
  free(scheduler->buckets);
  free(scheduler);
}

int tg_scheduler_bucket(const struct tg_scheduler *scheduler, tg_shard_ref ref)
{
  return tg_ref_id(ref) % scheduler->max_concurrency;
}

static struct bucket *bucket_of(struct tg_scheduler *scheduler, tg_shard_ref ref)
{
  return &scheduler->buckets[tg_scheduler_bucket(scheduler, ref)];
}

/* For whoever changes it, or its bucket. */
static struct scheduled *entry_of(struct tg_scheduler *scheduler, tg_shard_ref ref)
{
  bucket_of(scheduler, ref)->changed = true;
  int index = tg_ref_index(ref);
  if (index >= scheduler->count) {
    int count = scheduler->count ? scheduler->count : 32;
    while (count <= index)
      count *= 2;
    scheduler->entries = tg_realloc(scheduler->entries, (size_t)count * sizeof *scheduler->entries);
    memset(scheduler->entries + scheduler->count, 0,
           (size_t)(count - scheduler->count) * sizeof *scheduler->entries);
    scheduler->count = count;
  }
  return &scheduler->entries[index];
}

static void set_state(struct scheduled *entry, enum tg_identify_state state, tg_ms now)
{
  entry->state = state;
  entry->since = now;
}

/* The slot of the holder is resolved; the bucket rests until `free_at`. */
static void release(struct bucket *bucket, tg_ms free_at)
{
  bucket->holder = -1;
  bucket->sent = bucket->assumed = false;
  if (free_at > bucket->free_at)
    bucket->free_at = free_at;
}

/* What time alone has decided. */
static void settle(struct tg_scheduler *scheduler, struct bucket *bucket, tg_ms now)
{
  if (bucket->holder < 0)
    return;
  if (!bucket->sent && now > bucket->at + TG_GRANT_GRACE) {
    /* Neither sent nor unused was reported: its process may hang right behind
     * the send. `at`, the deadline, is when it can have left at the latest. */
    bucket->sent = bucket->assumed = true;
    set_state(entry_of(scheduler, bucket->holder), TG_IDENTIFY_SENT, now);
  }
  if (bucket->sent && now >= bucket->at + TG_SLOT_MAX)
    release(bucket, bucket->at + scheduler->spacing);
}

static void note_failure(struct scheduled *entry, tg_ms now)
{
  tg_ms most = tg_patience(TG_IDENTIFY_RETRY_MAX);
  tg_ms wait = entry->failures < 16 ? tg_patience(TG_IDENTIFY_RETRY) << entry->failures : most;
  entry->failures++;
  entry->not_before = now + (wait < most ? wait : most);
}

/* An idle shard needs an identify. */
static void take_up(struct tg_scheduler *scheduler, struct scheduled *entry,
                    enum tg_identify_priority priority, tg_ms now)
{
  if (entry->ready_at && now - entry->ready_at < tg_patience(TG_SESSION_HEALTHY))
    note_failure(entry, now); /* READY, then lost again: an identify that bought nothing */
  else if (entry->ready_at)
    entry->failures = 0;
  entry->ready_at = 0;
  entry->priority = priority;
  entry->order = ++scheduler->orders;
}

static enum tg_identify_priority natural_priority(const struct scheduled *entry)
{
  if (entry->priority == TG_IDENTIFY_RESHARDING)
    return TG_IDENTIFY_RESHARDING;
  return entry->ready_at ? TG_IDENTIFY_LOST : TG_IDENTIFY_FIRST;
}

void tg_scheduler_share(struct tg_scheduler *scheduler)
{
  scheduler->is_shared = true;
  for (int i = 0; i < scheduler->max_concurrency; i++)
    scheduler->buckets[i].changed = true;
}

void tg_scheduler_hold(struct tg_scheduler *scheduler, int bucket, tg_ms free_at)
{
  scheduler->buckets[bucket].free_at = free_at;
  scheduler->buckets[bucket].changed = true;
}

void tg_scheduler_set_delay(struct tg_scheduler *scheduler, tg_ms delay)
{
  scheduler->delay = delay;
}

void tg_scheduler_set_allowance(struct tg_scheduler *scheduler, int allowance)
{
  scheduler->allowance = allowance;
}

void tg_scheduler_enqueue(struct tg_scheduler *scheduler, tg_shard_ref ref,
                          enum tg_identify_priority priority, tg_ms now)
{
  struct scheduled *entry = entry_of(scheduler, ref);
  switch (entry->state) {
  case TG_IDENTIFY_QUEUED:
    if (priority < entry->priority)
      entry->priority = priority;
    return;
  case TG_IDENTIFY_GRANTED:
  case TG_IDENTIFY_SENT:
    tg_scheduler_done(scheduler, ref, false, now);
    break;
  case TG_IDENTIFY_STARTED:
  case TG_IDENTIFY_ASKING:
    /* Gave up without an identify: not at once again. */
    if (entry->not_before < now + tg_patience(TG_GAVE_UP_WAIT))
      entry->not_before = now + tg_patience(TG_GAVE_UP_WAIT);
    break;
  case TG_IDENTIFY_IDLE:
    break;
  }
  take_up(scheduler, entry, priority, now);
  entry->away = false;
  set_state(entry, TG_IDENTIFY_QUEUED, now);
}

void tg_scheduler_started(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  struct scheduled *entry = entry_of(scheduler, ref);
  if (entry->state == TG_IDENTIFY_IDLE)
    take_up(scheduler, entry, natural_priority(entry), now);
  if (entry->state < TG_IDENTIFY_ASKING)
    set_state(entry, TG_IDENTIFY_STARTED, now);
}

static struct scheduled *ask(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  struct scheduled *entry = entry_of(scheduler, ref);
  switch (entry->state) {
  case TG_IDENTIFY_SENT: /* a new connection: its earlier identify came to nothing */
    tg_scheduler_done(scheduler, ref, false, now);
    break;
  case TG_IDENTIFY_GRANTED: /* likewise, but it may have been sent */
    tg_scheduler_gone(scheduler, ref, now);
    break;
  default:
    break;
  }
  if (entry->state == TG_IDENTIFY_IDLE)
    take_up(scheduler, entry, natural_priority(entry), now);
  if (entry->state != TG_IDENTIFY_ASKING)
    set_state(entry, TG_IDENTIFY_ASKING, now);
  return entry;
}

void tg_scheduler_ask(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  ask(scheduler, ref, now)->away = false;
}

void tg_scheduler_ask_away(struct tg_scheduler *scheduler, tg_shard_ref ref,
                           enum tg_identify_priority priority, tg_ms now)
{
  struct scheduled *entry = ask(scheduler, ref, now);
  entry->away = true;
  entry->fresh = false; /* it is connected */
  entry->priority = priority;
}

static bool before(const struct scheduled *a, const struct scheduled *b)
{
  return a->priority != b->priority ? a->priority < b->priority : a->order < b->order;
}

/* The shards of a bucket, those of both sides, as indices of the entries. What is left of a shard asks for
 * nothing. */
static int first_of(int bucket)
{
  return bucket * TG_REF_PLACES;
}

static int next_of(const struct tg_scheduler *scheduler, int index)
{
  int place = index % TG_REF_PLACES;
  return place + 1 < TG_SIDES ? index + 1 : index - place + scheduler->max_concurrency * TG_REF_PLACES;
}

/* The foremost shard of the bucket in `state` whose time has come; -1: none. */
static tg_shard_ref foremost(const struct tg_scheduler *scheduler, int bucket, enum tg_identify_state state,
                             tg_ms now)
{
  int best = -1;
  for (int i = first_of(bucket); i < scheduler->count; i = next_of(scheduler, i)) {
    const struct scheduled *entry = &scheduler->entries[i];
    if (entry->state == state && entry->not_before <= now &&
        (best < 0 || before(entry, &scheduler->entries[best])))
      best = i;
  }
  return best < 0 ? best : tg_ref_at(best);
}

/* Of a bucket: how many are on their way to a slot, and of these, how many have their
 * HELLO, or should be about to. Those of lower rank do not keep a shard back. */
struct ahead {
  int all, near;
};

static struct ahead count_ahead(const struct tg_scheduler *scheduler, int bucket,
                                enum tg_identify_priority rank, tg_ms now)
{
  struct ahead ahead = {0};
  for (int i = first_of(bucket); i < scheduler->count; i = next_of(scheduler, i)) {
    const struct scheduled *entry = &scheduler->entries[i];
    bool has_hello = entry->state == TG_IDENTIFY_ASKING || entry->state == TG_IDENTIFY_GRANTED;
    tg_ms took = entry->state == TG_IDENTIFY_STARTED ? now - entry->since : TG_START_STALE;
    bool counts = !entry->away && entry->priority <= rank;
    ahead.all += counts && (has_hello || took < TG_START_STALE);
    ahead.near += counts && (has_hello || took < TG_START_ORDER);
  }
  return ahead;
}

static bool has_enough(const struct tg_scheduler *scheduler, int bucket, enum tg_identify_priority rank,
                       tg_ms now)
{
  struct ahead ahead = count_ahead(scheduler, bucket, rank, now);
  return ahead.all >= TG_CONNECT_AHEAD || (scheduler->is_shared && ahead.near > 0);
}

static void sooner(tg_ms *first, tg_ms at, tg_ms now)
{
  if (at > now && (*first < 0 || at < *first))
    *first = at;
}

static tg_ms due_of(const struct tg_scheduler *scheduler, int number, tg_ms now)
{
  const struct bucket *bucket = &scheduler->buckets[number];
  tg_ms first = -1;
  if (bucket->holder >= 0)
    sooner(&first, bucket->at + (bucket->sent ? TG_SLOT_MAX : TG_GRANT_GRACE + 1), now);
  for (int i = first_of(number); i < scheduler->count; i = next_of(scheduler, i)) {
    const struct scheduled *entry = &scheduler->entries[i];
    if (entry->state == TG_IDENTIFY_QUEUED)
      sooner(&first, entry->not_before, now);
    else if (entry->state == TG_IDENTIFY_STARTED)
      sooner(&first, entry->since + (now < entry->since + TG_START_ORDER ? TG_START_ORDER : TG_START_STALE),
             now);
    else if (entry->state == TG_IDENTIFY_ASKING && scheduler->is_shared)
      sooner(&first, entry->not_before, now);
    else if (entry->state == TG_IDENTIFY_ASKING && bucket->holder < 0)
      sooner(&first, bucket->free_at > entry->not_before ? bucket->free_at : entry->not_before, now);
  }
  return first;
}

/* What is known of the bucket holds again. */
static struct bucket *look(struct tg_scheduler *scheduler, int number, tg_ms now)
{
  struct bucket *bucket = &scheduler->buckets[number];
  if (!bucket->changed && (bucket->due < 0 || now < bucket->due))
    return bucket;
  settle(scheduler, bucket, now);
  scheduler->ahead -= bucket->ahead;
  bucket->ahead = count_ahead(scheduler, number, TG_IDENTIFY_RESHARDING, now).all;
  scheduler->ahead += bucket->ahead;
  bucket->due = due_of(scheduler, number, now);
  bucket->changed = bucket->none_to_start = bucket->none_to_grant = false;
  return bucket;
}

/* -1: none. */
static tg_shard_ref next_to_start(const struct tg_scheduler *scheduler, int bucket, tg_ms now)
{
  tg_shard_ref best = foremost(scheduler, bucket, TG_IDENTIFY_QUEUED, now);
  if (best < 0 || has_enough(scheduler, bucket, scheduler->entries[tg_ref_index(best)].priority, now))
    return -1;
  return best;
}

bool tg_scheduler_next_start(struct tg_scheduler *scheduler, tg_ms now, tg_shard_ref *ref)
{
  for (int i = 0; i < scheduler->max_concurrency; i++)
    look(scheduler, i, now);
  if (scheduler->ahead >= scheduler->allowance)
    return false;
  for (int i = 0; i < scheduler->max_concurrency; i++) {
    struct bucket *bucket = &scheduler->buckets[i];
    if (bucket->none_to_start)
      continue;
    tg_shard_ref best = next_to_start(scheduler, i, now);
    if (best < 0) {
      bucket->none_to_start = true;
      continue;
    }
    struct scheduled *entry = entry_of(scheduler, best);
    set_state(entry, TG_IDENTIFY_STARTED, now);
    entry->order = ++scheduler->orders; /* shards of other programs have come meanwhile */
    entry->fresh = true;
    *ref = best;
    return true;
  }
  return false;
}

void tg_scheduler_grant_until(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms deadline, tg_ms now)
{
  struct scheduled *entry = entry_of(scheduler, ref);
  struct bucket *bucket = bucket_of(scheduler, ref);
  scheduler->allowance--;
  if (entry->away) {
    set_state(entry, TG_IDENTIFY_IDLE, now);
    entry->away = false;
    release(bucket, deadline + scheduler->spacing);
    return;
  }
  bucket->holder = ref;
  bucket->sent = bucket->assumed = false;
  bucket->at = deadline;
  set_state(entry, TG_IDENTIFY_GRANTED, now);
}

tg_ms tg_scheduler_grant_anyway(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  bool away = entry_of(scheduler, ref)->away;
  tg_ms deadline = now + scheduler->delay + (away ? TG_GRANT_VALID_AWAY : TG_GRANT_VALID);
  tg_scheduler_grant_until(scheduler, ref, deadline, now);
  return deadline;
}

/* Until when the slot is kept for a shard that comes before `best` and is about
 * to have its HELLO: Discord wants shards to start in order; 0: for none. */
static tg_ms kept_until(const struct tg_scheduler *scheduler, int bucket, tg_shard_ref best)
{
  tg_ms until = 0;
  for (int i = first_of(bucket); i < scheduler->count; i = next_of(scheduler, i)) {
    const struct scheduled *entry = &scheduler->entries[i];
    if (entry->state == TG_IDENTIFY_STARTED && entry->fresh &&
        before(entry, &scheduler->entries[tg_ref_index(best)]) && entry->since + TG_START_ORDER > until)
      until = entry->since + TG_START_ORDER;
  }
  return until;
}

bool tg_scheduler_next_grant(struct tg_scheduler *scheduler, tg_ms now, tg_shard_ref *ref, tg_ms *deadline)
{
  for (int i = 0; i < scheduler->max_concurrency; i++) {
    struct bucket *bucket = look(scheduler, i, now);
    if (bucket->none_to_grant || scheduler->allowance <= 0)
      continue;
    bool is_free = bucket->holder < 0 && now >= bucket->free_at;
    tg_shard_ref best = is_free ? foremost(scheduler, i, TG_IDENTIFY_ASKING, now) : -1;
    if (best < 0 || now < kept_until(scheduler, i, best)) {
      bucket->none_to_grant = true;
      continue;
    }
    *ref = best;
    *deadline = tg_scheduler_grant_anyway(scheduler, best, now);
    return true;
  }
  return false;
}

bool tg_scheduler_due(const struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  return tg_scheduler_state(scheduler, ref) == TG_IDENTIFY_ASKING &&
         scheduler->entries[tg_ref_index(ref)].not_before <= now;
}

tg_ms tg_scheduler_deadline(const struct tg_scheduler *scheduler, tg_shard_ref ref)
{
  if (tg_scheduler_state(scheduler, ref) != TG_IDENTIFY_GRANTED)
    return 0;
  return scheduler->buckets[tg_scheduler_bucket(scheduler, ref)].at;
}

void tg_scheduler_sent(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  struct bucket *bucket = bucket_of(scheduler, ref);
  if (bucket->holder == ref) {
    bucket->sent = true;
    bucket->assumed = false;
    bucket->at = now;
  } else if (bucket->free_at < now + scheduler->spacing) { /* without a grant, but Discord has seen it */
    bucket->free_at = now + scheduler->spacing;
  }
  set_state(entry_of(scheduler, ref), TG_IDENTIFY_SENT, now);
}

bool tg_scheduler_unused(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  struct bucket *bucket = bucket_of(scheduler, ref);
  bool held = bucket->holder == ref && (!bucket->sent || bucket->assumed);
  if (held) {
    release(bucket, 0);
    scheduler->allowance++;
  }
  struct scheduled *entry = entry_of(scheduler, ref);
  if (entry->state >= TG_IDENTIFY_ASKING)
    set_state(entry, TG_IDENTIFY_STARTED, now);
  entry->fresh = false;
  return held;
}

void tg_scheduler_done(struct tg_scheduler *scheduler, tg_shard_ref ref, bool ready, tg_ms now)
{
  struct scheduled *entry = entry_of(scheduler, ref);
  struct bucket *bucket = bucket_of(scheduler, ref);
  if (bucket->holder == ref) {
    release(bucket, (bucket->sent ? bucket->at : now) + scheduler->spacing);
  }
  if (ready)
    entry->ready_at = now;
  else
    note_failure(entry, now);
  set_state(entry, TG_IDENTIFY_IDLE, now);
}

void tg_scheduler_gone(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  struct scheduled *entry = entry_of(scheduler, ref);
  if (entry->state == TG_IDENTIFY_SENT || entry->state == TG_IDENTIFY_GRANTED)
    tg_scheduler_done(scheduler, ref, false, now);
  set_state(entry, TG_IDENTIFY_IDLE, now);
}

void tg_scheduler_forget(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now)
{
  tg_scheduler_gone(scheduler, ref, now);
  *entry_of(scheduler, ref) = (struct scheduled){0};
}

tg_ms tg_scheduler_wakeup(struct tg_scheduler *scheduler, tg_ms now)
{
  tg_ms first = -1;
  for (int i = 0; i < scheduler->max_concurrency; i++)
    sooner(&first, look(scheduler, i, now)->due, now);
  return first;
}

static bool waits(const struct scheduled *entry)
{
  return entry->state >= TG_IDENTIFY_QUEUED && entry->state <= TG_IDENTIFY_GRANTED;
}

tg_ms tg_scheduler_eta(const struct tg_scheduler *scheduler, tg_ms now)
{
  tg_ms longest = 0;
  for (int i = 0; i < scheduler->max_concurrency; i++) {
    const struct bucket *bucket = &scheduler->buckets[i];
    int length = 0;
    for (int k = first_of(i); k < scheduler->count; k = next_of(scheduler, k))
      length += waits(&scheduler->entries[k]);
    if (length == 0)
      continue;
    tg_ms free_at = bucket->holder >= 0 ? bucket->at + scheduler->spacing : bucket->free_at;
    tg_ms left = (free_at > now ? free_at - now : 0) + (length - 1) * scheduler->spacing;
    if (left > longest)
      longest = left;
  }
  return longest;
}

enum tg_identify_state tg_scheduler_state(const struct tg_scheduler *scheduler, tg_shard_ref ref)
{
  int index = tg_ref_index(ref);
  return index < scheduler->count ? scheduler->entries[index].state : TG_IDENTIFY_IDLE;
}

enum tg_identify_priority tg_scheduler_priority(const struct tg_scheduler *scheduler, tg_shard_ref ref)
{
  int index = tg_ref_index(ref);
  return index < scheduler->count ? scheduler->entries[index].priority : TG_IDENTIFY_FIRST;
}

int tg_scheduler_waiting(const struct tg_scheduler *scheduler)
{
  int waiting = 0;
  for (int i = 0; i < scheduler->count; i++)
    waiting += waits(&scheduler->entries[i]);
  return waiting;
}
