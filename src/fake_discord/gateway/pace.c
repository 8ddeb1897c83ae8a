#include "fake_discord/gateway/pace.h"

#include "base/buf.h"
#include "fake_discord/gateway/feeding.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/wire/timer.h"
#include "fake_discord/world/target.h"

#include <stdlib.h>

enum { PLACES = 1024, WAIT_MAX = 3600000 };

struct kept_event {
  tg_ms due;
  uint64_t order; /* of those that are due at the same time */
  struct tg_fake_event *event;
};

struct tg_fake_pace {
  tg_ms lag, jitter;
  tg_ms stalled_until;
  tg_ms last_due[PLACES]; /* of a guild's last event; guilds that share a place keep order, too */
  uint64_t order;
  struct kept_event *heap; /* the first is due first */
  size_t count, capacity;
  struct tg_fake_timer *timer;
};

/* ---- the heap ---- */

static bool is_before(const struct kept_event *a, const struct kept_event *b)
{
  return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void push(struct tg_fake_pace *pace, struct kept_event kept)
{
  if (pace->count == pace->capacity) {
    pace->capacity = pace->capacity ? pace->capacity * 2 : 64;
    pace->heap = tg_realloc(pace->heap, pace->capacity * sizeof *pace->heap);
  }
  size_t at = pace->count++;
  for (; at > 0 && is_before(&kept, &pace->heap[(at - 1) / 2]); at = (at - 1) / 2)
    pace->heap[at] = pace->heap[(at - 1) / 2];
  pace->heap[at] = kept;
}

static struct tg_fake_event *pop(struct tg_fake_pace *pace)
{
  struct tg_fake_event *event = pace->heap[0].event;
  struct kept_event last = pace->heap[--pace->count];
  size_t at = 0;
  for (size_t child; (child = at * 2 + 1) < pace->count; at = child) {
    if (child + 1 < pace->count && is_before(&pace->heap[child + 1], &pace->heap[child]))
      child++;
    if (!is_before(&pace->heap[child], &last))
      break;
    pace->heap[at] = pace->heap[child];
  }
  pace->heap[at] = last;
  return event;
}

/* ---- waiting ---- */

static void on_due(void *ctx);

static void arm(struct tg_fake_session *session)
{
  struct tg_fake_pace *pace = session->pace;
  tg_ms due = pace->count > 0 ? pace->heap[0].due : 0;
  due = due > pace->stalled_until ? due : pace->stalled_until;
  if (pace->count > 0)
    tg_fake_after(session->fake, &pace->timer, due - tg_now(), on_due, session);
}

/* Lets go what is due; without anything to do the pace is over. */
static void on_due(void *ctx)
{
  struct tg_fake_session *session = ctx;
  struct tg_fake_pace *pace = session->pace;
  tg_ms now = tg_now();
  while (pace->count > 0 && pace->stalled_until <= now && pace->heap[0].due <= now) {
    struct tg_fake_event *event = pop(pace);
    tg_fake_session_log(session, event);
    tg_fake_event_unref(event);
  }
  if (pace->count == 0 && pace->lag == 0 && pace->jitter == 0 && pace->stalled_until <= now)
    tg_fake_pace_end(session);
  else
    arm(session);
  session->fake->feeding->kick(session->fake);
}

/* The first place is for events of no guild. */
static size_t place_of(uint64_t guild_id)
{
  return guild_id ? 1 + ((guild_id >> 22) * 0x9e3779b97f4a7c15u >> 32) % (PLACES - 1) : 0;
}

void tg_fake_pace_keep(struct tg_fake_session *session, struct tg_fake_event *event)
{
  struct tg_fake_pace *pace = session->pace;
  tg_ms due = tg_now() + pace->lag;
  if (pace->jitter > 0)
    due += (tg_ms)(tg_fake_random(session->fake) % (uint64_t)(pace->jitter + 1));
  tg_ms *last = &pace->last_due[place_of(event->guild_id)];
  *last = due > *last ? due : *last;
  push(pace, (struct kept_event){*last, pace->order++, tg_fake_event_ref(event)});
  if (!pace->timer || pace->heap[0].order == pace->order - 1)
    arm(session);
}

size_t tg_fake_pace_count(const struct tg_fake_session *session)
{
  return session->pace ? session->pace->count : 0;
}

void tg_fake_pace_end(struct tg_fake_session *session)
{
  struct tg_fake_pace *pace = session->pace;
  if (!pace)
    return;
  session->pace = NULL;
  tg_fake_cancel(&pace->timer);
  while (pace->count > 0)
    tg_fake_event_unref(pop(pace));
  free(pace->heap);
  free(pace);
}

/* ---- who ---- */

static bool fits(const json_t *request, const struct tg_fake_session *session)
{
  struct tg_fake_target target;
  return tg_fake_target_parse(request, &target, NULL) &&
         tg_fake_target_has_shard(&target, session->identify.shard_id, session->identify.total);
}

static tg_ms value_of(const json_t *request, const char *name)
{
  return json_integer_value(json_object_get(request, name));
}

static void set(struct tg_fake_session *session, tg_ms lag, tg_ms jitter)
{
  if (!session->pace && (lag > 0 || jitter > 0))
    session->pace = tg_calloc(1, sizeof *session->pace);
  if (!session->pace)
    return;
  session->pace->lag = lag;
  session->pace->jitter = jitter;
  if (session->pace->count == 0 && lag == 0 && jitter == 0 && session->pace->stalled_until <= tg_now())
    tg_fake_pace_end(session);
}

void tg_fake_pace_begin(struct tg_fake_session *session)
{
  for (size_t i = json_array_size(session->fake->paces); i-- > 0;) {
    const json_t *request = json_array_get(session->fake->paces, i);
    if (fits(request, session)) {
      set(session, value_of(request, "lag"), value_of(request, "jitter"));
      return;
    }
  }
  set(session, 0, 0);
}

static void stall(struct tg_fake_session *session, tg_ms wait)
{
  if (!session->pace)
    session->pace = tg_calloc(1, sizeof *session->pace);
  session->pace->stalled_until = tg_now() + wait;
  arm(session);
}

void tg_fake_paces_clear(struct tg_fake *fake)
{
  json_array_clear(fake->paces);
  struct tg_fake_session *session;
  LIST_FOREACH(session, &fake->sessions, link)
  {
    if (!session->pace)
      continue;
    session->pace->stalled_until = 0;
    arm(session);
    set(session, 0, 0);
  }
}

/* ---- requests ---- */

static bool is_wait(const json_t *value)
{
  return !value ||
         (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= WAIT_MAX);
}

static bool is_for_the_same(const json_t *a, const json_t *b)
{
  static const char *const who[] = {"shard", "shards", "total"};
  for (size_t i = 0; i < sizeof who / sizeof *who; i++) {
    const json_t *one = json_object_get(a, who[i]), *other = json_object_get(b, who[i]);
    if (one != other && !json_equal(one, other))
      return false;
  }
  return true;
}

static void hold(struct tg_fake *fake, const json_t *request)
{
  for (size_t i = json_array_size(fake->paces); i-- > 0;)
    if (is_for_the_same(json_array_get(fake->paces, i), request))
      json_array_remove(fake->paces, i);
  json_t *kept = json_deep_copy(request);
  json_object_del(kept, "stall");
  json_array_append_new(fake->paces, kept);
}

json_t *tg_fake_pace_post(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  static const char *const keys[] = {"lag", "jitter", "stall", NULL};
  const json_t *lag = json_object_get(request, "lag"), *jitter = json_object_get(request, "jitter"),
               *once = json_object_get(request, "stall");
  struct tg_fake_target target;
  if (!json_is_object(request))
    return tg_fail(error, "type", "expected a JSON object"), NULL;
  if (!tg_fake_check_keys(request, keys, error) || !tg_fake_target_parse(request, &target, error))
    return NULL;
  if (!is_wait(lag) || !is_wait(jitter) || !is_wait(once) || (!lag && !jitter && !once) ||
      target.connection >= 0)
    return tg_fail(error, "type",
                   "expected lag, jitter or stall in ms (0 to %d), for shards, a total, or all", WAIT_MAX),
           NULL;
  if (lag || jitter)
    hold(fake, request);
  int count = 0;
  struct tg_fake_session *session;
  LIST_FOREACH(session, &fake->sessions, link)
  {
    if (!fits(request, session))
      continue;
    count++;
    if (lag || jitter)
      tg_fake_pace_begin(session);
    if (once)
      stall(session, json_integer_value(once));
  }
  return json_pack("{s:i}", "sessions", count);
}

json_t *tg_fake_paces_to_json(const struct tg_fake *fake)
{
  return json_deep_copy(fake->paces);
}
