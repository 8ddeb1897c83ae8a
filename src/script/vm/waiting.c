/* Events that wait for a handler of gateway.on: because it runs as often at
 * once as it may, because an earlier event of their shard or guild has not come
 * to its end (ordered), or because the script has no memory to spare. They wait
 * as the bytes they came as, outside of Lua, in order of arrival. */

#include "script/vm/sched.h"

#include "base/human.h"
#include "base/log.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <stdlib.h>
#include <time.h>

enum {
  CONCURRENCY = 256, /* where none is asked for */
  BUCKETS = 256,     /* of the lines of an ordered handler */
  SHARE = 4,         /* times script.memory that what waits may take */
  SLICE = 2000000,   /* ns that handlers are started at a time */
  LOG_EVERY = 60000,
};

/* An event, for all handlers that it waits for. */
struct tg_kept {
  unsigned references;
  size_t size;
  struct tg_event event;
};

struct tg_waiting {
  struct tg_waiting *next;
  uint64_t serial; /* in order of arrival */
  struct tg_kept *kept;
};

/* Events that one handler takes one after the other: of a shard or guild or,
 * not ordered, all of them, and then the next may start before the last ends. */
struct tg_line {
  struct tg_line *next; /* in its bucket */
  struct tg_line *next_ready;
  struct tg_subscriber *handler;
  uint64_t key;
  struct tg_waiting *first, **last;
  bool busy; /* ordered: one runs or waits */
};

/* ---- what is kept ---- */

static struct tg_kept *keep(struct tg_script *script, const struct tg_event *event)
{
  size_t size = sizeof(struct tg_kept) + tg_event_text_size(event);
  struct tg_kept *kept = tg_alloc(size);
  *kept = (struct tg_kept){.references = 1, .size = size};
  tg_event_copy(&kept->event, event, (char *)(kept + 1));
  script->waiting.bytes += size;
  return kept;
}

void tg_kept_release(struct tg_script *script, struct tg_kept *kept)
{
  if (!kept || --kept->references > 0)
    return;
  script->waiting.bytes -= kept->size;
  free(kept);
}

static void count_waiting(struct tg_script *script, int change)
{
  script->waiting.events += (uint64_t)change;
  atomic_store_explicit(&script->stats->lua_waiting, script->waiting.events, memory_order_relaxed);
}

static void forget(struct tg_state *state, struct tg_waiting *waiting)
{
  tg_kept_release(state->script, waiting->kept);
  count_waiting(state->script, -1);
  free(waiting);
}

/* ---- lines ---- */

static struct tg_line **bucket_of(struct tg_subscriber *handler, uint64_t key)
{
  return &handler->lines[(key * 0x9e3779b97f4a7c15u) >> 56];
}

/* Made if need be. */
static struct tg_line *line_of(struct tg_subscriber *handler, const struct tg_event *event)
{
  enum tg_order order = handler->subscription->order;
  uint64_t key = order == TG_UNORDERED ? 0 : (uint64_t)event->shard_id, guild;
  if (order == TG_BY_GUILD && tg_event_guild_id(event, &guild))
    key = guild;
  if (!handler->lines)
    handler->lines = tg_calloc(order == TG_UNORDERED ? 1 : BUCKETS, sizeof *handler->lines);
  struct tg_line **bucket = order == TG_UNORDERED ? handler->lines : bucket_of(handler, key);
  for (struct tg_line *line = *bucket; line; line = line->next) {
    if (line->key == key)
      return line;
  }
  struct tg_line *line = tg_alloc(sizeof *line);
  *line = (struct tg_line){.next = *bucket, .handler = handler, .key = key};
  line->last = &line->first;
  return *bucket = line;
}

static void free_line(struct tg_line *line)
{
  struct tg_line **link = bucket_of(line->handler, line->key);
  while (*link != line)
    link = &(*link)->next;
  *link = line->next;
  free(line);
}

static void list_handler(struct tg_state *state, struct tg_subscriber *handler)
{
  if (handler->listed)
    return;
  handler->listed = true;
  handler->next_waiting = state->waiting;
  state->waiting = handler;
}

static void unlist_handler(struct tg_state *state, struct tg_subscriber *handler)
{
  struct tg_subscriber **link = &state->waiting;
  if (!handler->listed)
    return;
  while (*link != handler)
    link = &(*link)->next_waiting;
  *link = handler->next_waiting;
  handler->listed = false;
}

/* It has events, and their turn has come. */
static void make_ready(struct tg_state *state, struct tg_line *line)
{
  struct tg_subscriber *handler = line->handler;
  *handler->last_ready = line;
  handler->last_ready = &line->next_ready;
  list_handler(state, handler);
}

static void put(struct tg_state *state, struct tg_line *line, struct tg_waiting *waiting)
{
  bool was_ready = line->first || line->busy;
  waiting->next = NULL;
  *line->last = waiting;
  line->last = &waiting->next;
  if (!was_ready)
    make_ready(state, line);
}

/* The first event of the first line that is ready. */
static struct tg_waiting *take(struct tg_state *state, struct tg_subscriber *handler, struct tg_line **from)
{
  struct tg_line *line = *from = handler->ready;
  struct tg_waiting *waiting = line->first;
  line->first = waiting->next;
  if (!line->first)
    line->last = &line->first;
  if (!line->first || handler->subscription->order != TG_UNORDERED) {
    handler->ready = line->next_ready;
    line->next_ready = NULL;
    if (!handler->ready) {
      handler->last_ready = &handler->ready;
      unlist_handler(state, handler);
    }
  }
  return waiting;
}

/* ---- running ---- */

/* The event at its head has come to its end; the next one's turn has come. */
void tg_waiting_next(struct tg_state *state, struct tg_line *line)
{
  line->busy = false;
  if (line->handler->subscription->order == TG_UNORDERED)
    return;
  if (line->first)
    make_ready(state, line);
  else
    free_line(line);
}

static void on_done(struct tg_thread *thread, void *ctx, bool ok, int count)
{
  (void)count;
  struct tg_line *line = ctx;
  struct tg_subscriber *handler = line->handler;
  struct tg_state *state = thread->state;
  if (!ok && !thread->cancelled && !thread->dropped)
    tg_thread_tell(thread);
  handler->running--;
  state->handlers_running--;
  state->handlers_ended++;
  if (handler->gone) {
    tg_subscriber_free(state, handler);
    return;
  }
  tg_waiting_next(state, line);
  if (thread->dropped || !state->waiting)
    return;
  state->handler_ended_at = tg_script_now(state->script);
  if (state->memory.closed)
    tg_memory_tend_soon(state);
  else
    tg_waiting_pump(state);
}

static bool may_start(const struct tg_state *state, const struct tg_subscriber *handler)
{
  int most = handler->subscription->concurrency > 0 ? handler->subscription->concurrency : CONCURRENCY;
  return !state->memory.closed && !handler->removed && handler->running < most;
}

struct tg_line *tg_waiting_line(struct tg_state *state, struct tg_subscriber *handler,
                                const struct tg_event *event)
{
  if (!may_start(state, handler))
    return NULL;
  struct tg_line *line = line_of(handler, event);
  return line->first || line->busy ? NULL : line;
}

bool tg_waiting_start(struct tg_state *state, struct tg_line *line, const struct tg_event *event,
                      tg_body *push, void *ctx)
{
  struct tg_subscription *subscription = line->handler->subscription;
  struct tg_thread_options options = {.group = TG_LUA_handler,
                                      .what = tg_event_type_name(event->type),
                                      .where = subscription->where,
                                      .owner = subscription->owner,
                                      .shard_id = event->shard_id,
                                      .call = tg_call_for(event, TG_LUA_handler),
                                      .done = on_done,
                                      .ctx = line};
  line->busy = subscription->order != TG_UNORDERED;
  line->handler->running++;
  state->handlers_running++;
  return tg_thread_start(state, &options, push, ctx);
}

/* Of all whose handlers may start, the one that came first. */
static struct tg_subscriber *next_handler(const struct tg_state *state)
{
  struct tg_subscriber *found = NULL;
  for (struct tg_subscriber *handler = state->waiting; handler; handler = handler->next_waiting) {
    if (may_start(state, handler) && (!found || handler->ready->first->serial < found->ready->first->serial))
      found = handler;
  }
  return found;
}

bool tg_waiting_is_ready(const struct tg_state *state)
{
  return next_handler(state) != NULL;
}

static int64_t nanoseconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void tg_waiting_pump(struct tg_state *state)
{
  struct tg_subscriber *handler = next_handler(state);
  if (!handler || state->pumping || state->phase != TG_STATE_LIVE || state->script->stopped)
    return;
  int64_t until = nanoseconds() + SLICE;
  state->pumping = true;
  state->walking++;
  for (; handler && nanoseconds() < until; handler = next_handler(state)) {
    struct tg_line *line;
    struct tg_waiting *waiting = take(state, handler, &line);
    tg_run_waiting(state, handler, line, &waiting->kept->event);
    forget(state, waiting);
  }
  state->walking--;
  state->pumping = false;
  tg_subscriptions_sweep(state);
  if (handler)
    tg_memory_tend_soon(state);
}

/* ---- waiting ---- */

static void overflow(struct tg_state *state, struct tg_subscriber *handler, const struct tg_event *event)
{
  struct tg_script *script = state->script;
  tg_count(&script->stats->lua_skipped);
  handler->skipped++;
  tg_ms now = tg_script_now(script);
  if (handler->skipped_logged_at != 0 && now - handler->skipped_logged_at < LOG_EVERY)
    return;
  handler->skipped_logged_at = now;
  char bytes[TG_HUMAN_SIZE];
  tg_human_bytes(script->waiting.bytes, bytes, sizeof bytes);
  tg_log_with(
      TG_WARN, event->shard_id, TG_WITH(TG_NUMBER(EVENTS, (int64_t)script->waiting.events)),
      "the handler of %s (%s) does not get all events: those that wait for handlers take %s, and may take "
      "%d times script.memory; %llu were left out (their delivery is not affected)",
      tg_event_type_name(event->type), handler->subscription->where, bytes, SHARE,
      (unsigned long long)handler->skipped);
}

void tg_waiting_add(struct tg_state *state, struct tg_subscriber *handler, const struct tg_event *event,
                    struct tg_kept **kept)
{
  struct tg_script *script = state->script;
  if (!*kept && script->waiting.bytes >= SHARE * state->memory.limit) {
    overflow(state, handler, event);
    return;
  }
  if (!*kept)
    *kept = keep(script, event);
  struct tg_waiting *waiting = tg_alloc(sizeof *waiting);
  *waiting = (struct tg_waiting){.serial = ++script->waiting.serial, .kept = *kept};
  (*kept)->references++;
  count_waiting(script, 1);
  put(state, line_of(handler, event), waiting);
  if (state->handlers_running == 0 || state->memory.closed) /* nobody's end will look after it */
    tg_memory_tend_soon(state);
}

/* ---- the end of a handler, or of a state ---- */

struct list {
  struct tg_waiting **items;
  size_t count, capacity;
};

static void append_line(struct list *list, struct tg_line *line)
{
  for (struct tg_waiting *waiting = line->first; waiting; waiting = waiting->next) {
    if (list->count == list->capacity) {
      list->capacity = list->capacity ? 2 * list->capacity : 64;
      list->items = tg_realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = waiting;
  }
  line->first = NULL;
  line->last = &line->first;
  line->next_ready = NULL;
}

static int compare(const void *a, const void *b)
{
  uint64_t left = (*(struct tg_waiting *const *)a)->serial, right = (*(struct tg_waiting *const *)b)->serial;
  return left < right ? -1 : left > right;
}

static size_t buckets_of(const struct tg_subscriber *handler)
{
  return !handler->lines ? 0 : handler->subscription->order == TG_UNORDERED ? 1 : BUCKETS;
}

/* Takes all that waits for the handler, in order of arrival. */
static struct list take_all(struct tg_state *state, struct tg_subscriber *handler)
{
  struct list list = {0};
  for (size_t i = 0; i < buckets_of(handler); i++) {
    for (struct tg_line *line = handler->lines[i]; line; line = line->next)
      append_line(&list, line);
  }
  unlist_handler(state, handler);
  handler->ready = NULL;
  handler->last_ready = &handler->ready;
  if (list.count > 1)
    qsort(list.items, list.count, sizeof *list.items, compare);
  return list;
}

void tg_subscriber_free(struct tg_state *state, struct tg_subscriber *subscriber)
{
  struct list list = take_all(state, subscriber);
  for (size_t i = 0; i < list.count; i++)
    forget(state, list.items[i]);
  free(list.items);
  subscriber->gone = true;
  if (subscriber->running > 0) /* the end of the last one frees it */
    return;
  for (size_t i = 0; i < buckets_of(subscriber); i++) {
    while (subscriber->lines[i]) {
      struct tg_line *line = subscriber->lines[i];
      subscriber->lines[i] = line->next;
      free(line);
    }
  }
  free(subscriber->lines);
  free(subscriber);
}

static struct tg_subscriber *next_of_type(struct tg_subscriber *handler)
{
  while (handler && handler->removed)
    handler = handler->next;
  return handler;
}

static void tell_of_lost(struct tg_script *script, uint64_t events, const char *why)
{
  if (events == 0)
    return;
  tg_count_by(&script->stats->lua_skipped, events);
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, (int64_t)events), TG_TEXT(REASON, why)),
              "events that waited for handlers of gateway.on are not handed to them; their delivery is not "
              "affected");
}

/* To the handlers that stand in the same place in `to`; without one (`to` may
 * be NULL) it is lost. Returns how much is. */
static uint64_t move_all(struct tg_state *from, struct tg_state *to)
{
  uint64_t lost = 0;
  for (int type = 0; type < TG_WANT_SIZE; type++) {
    bool wanted = to && (from->script->hooks.want[type] & TG_WANT_HANDLER);
    struct tg_subscriber *heir = wanted ? next_of_type(to->handlers[type]) : NULL;
    struct tg_subscriber *handler = next_of_type(from->handlers[type]);
    for (; handler; handler = next_of_type(handler->next)) {
      struct list list = take_all(from, handler);
      for (size_t i = 0; i < list.count; i++) {
        if (heir)
          put(to, line_of(heir, &list.items[i]->kept->event), list.items[i]);
        else
          forget(from, list.items[i]);
      }
      lost += heir ? 0 : list.count;
      free(list.items);
      heir = heir ? next_of_type(heir->next) : NULL;
    }
  }
  return lost;
}

void tg_waiting_hand_over(struct tg_state *from, struct tg_state *to)
{
  tell_of_lost(from->script, move_all(from, to), "no such handler runs any more");
  tg_memory_tend_soon(to);
}

void tg_waiting_drop(struct tg_state *state, const char *why)
{
  tell_of_lost(state->script, move_all(state, NULL), why);
}
