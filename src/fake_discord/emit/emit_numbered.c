#include "fake_discord/emit/emit_numbered.h"

#include "base/buf.h"
#include "fake_discord/emit/differ.h"
#include "fake_discord/emit/emit.h"
#include "fake_discord/emit/repeats.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/payloads.h"
#include "proto/intents.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  EVENTS_A_TURN = 64,
  TICK = 5 /* ms */,
  FINE_TICK = 1,
  FINE_FROM = 1000,
  UNWANTED = -1,
  WAITING = 0,
  EMITTED = 1
};

/* So many events for one shard. */
struct numbered_job {
  LIST_ENTRY(numbered_job) link;
  int shard; /* as events are numbered; -1: of another number of shards */
  uint64_t remaining;
  size_t size;
  double rate; /* events a second; 0: as fast as they go */
  double due;
  size_t *guilds; /* indices, all of the shard or one */
  size_t guild_count, next;
};

LIST_HEAD(numbered_jobs, numbered_job);

struct tg_fake_emitter {
  struct tg_fake *fake;
  int total;         /* shards that events are numbered by */
  uint64_t *numbers; /* of the last event of each shard */
  struct numbered_jobs jobs;
  uv_idle_t idle;
  uv_timer_t timer;
  uint64_t ticked_at; /* uv_now of the last tick; 0: the timer does not run */
  double rate_due, repeats_due;
  uint64_t rate_turn;
  uint64_t unwanted; /* events that no session's intents let through */
};

/* ---- one event ---- */

static bool is_wanted(const struct tg_fake_guild *guild, const struct tg_fake_session *session)
{
  return guild->out_for != session->identify.total &&
         tg_fake_event_wanted("MESSAGE_CREATE", true, session->identify.intents);
}

/* EMITTED, WAITING (for a session or for room), or UNWANTED. */
static int emit_one(struct tg_fake_emitter *emitter, struct tg_fake_guild *guild, size_t size)
{
  struct tg_fake *fake = emitter->fake;
  size_t step = 0;
  struct tg_fake_session *session = NULL;
  bool any = false, wanted = false;
  while ((session = tg_fake_route_next(fake, guild->id, &step, session))) {
    if (!tg_fake_session_has_room(session))
      return WAITING;
    any = true;
    wanted = wanted || is_wanted(guild, session);
  }
  if (!any)
    return WAITING;
  if (!wanted) {
    emitter->unwanted++;
    return UNWANTED;
  }
  int shard = (int)((guild->id >> 22) % (uint64_t)emitter->total);
  struct tg_fake_message message = {.guild_id = guild->id,
                                    .number = ++guild->numbered,
                                    .shard = shard,
                                    .shard_number = ++emitter->numbers[shard],
                                    .size = size};
  struct tg_fake_event *full = NULL, *blank = NULL;
  step = 0;
  while ((session = tg_fake_route_next(fake, guild->id, &step, session))) {
    if (!is_wanted(guild, session))
      continue;
    message.blank = !(session->identify.intents & TG_INTENT_MESSAGE_CONTENT);
    struct tg_fake_event **event = message.blank ? &blank : &full;
    if (!*event)
      *event = tg_fake_make_message(fake, &message);
    tg_fake_give(session, *event);
  }
  tg_fake_event_unref(full);
  tg_fake_event_unref(blank);
  return EMITTED;
}

static int emit_of_job(struct tg_fake_emitter *emitter, struct numbered_job *job)
{
  struct tg_fake_guild *guild = &emitter->fake->guilds->all[job->guilds[job->next]];
  int result = guild->left ? UNWANTED : emit_one(emitter, guild, job->size);
  if (result == WAITING)
    return WAITING;
  job->next = (job->next + 1) % job->guild_count;
  job->remaining--;
  return result;
}

static void free_job(struct numbered_job *job)
{
  LIST_REMOVE(job, link);
  free(job->guilds);
  free(job);
}

/* ---- as fast as they go ---- */

static void on_idle(uv_idle_t *idle)
{
  struct tg_fake_emitter *emitter = idle->data;
  bool progress = false;
  struct numbered_job *job, *next;
  for (job = LIST_FIRST(&emitter->jobs); job; job = next) {
    next = LIST_NEXT(job, link);
    if (job->rate > 0)
      continue;
    for (int i = 0; i < EVENTS_A_TURN && job->remaining > 0; i++) {
      if (emit_of_job(emitter, job) == WAITING)
        break;
      progress = true;
    }
    if (job->remaining == 0)
      free_job(job);
  }
  if (!progress)
    uv_idle_stop(idle);
}

/* ---- so many a second ---- */

static void pay(struct tg_fake_emitter *emitter, struct numbered_job *job, double seconds)
{
  job->due += job->rate * seconds;
  while (job->due >= 1 && job->remaining > 0) {
    if (emit_of_job(emitter, job) == WAITING)
      break;
    job->due -= 1;
  }
  if (job->due > job->rate)
    job->due = job->rate; /* what could not be sent for a second is not made up for */
}

/* The `rate` setting: any guild; events of guilds that nobody watches are not made. */
static void pay_rate(struct tg_fake_emitter *emitter, double seconds)
{
  struct tg_fake *fake = emitter->fake;
  if (fake->guilds->count == 0)
    return;
  emitter->rate_due += (double)fake->settings.rate * seconds;
  if (emitter->rate_due > (double)fake->settings.rate)
    emitter->rate_due = (double)fake->settings.rate;
  for (; emitter->rate_due >= 1; emitter->rate_due -= 1) {
    uint64_t which = fake->settings.rate_in_turn ? emitter->rate_turn++ : tg_fake_random(fake);
    struct tg_fake_guild *guild = &fake->guilds->all[which % fake->guilds->count];
    if (!guild->left)
      emit_one(emitter, guild, (size_t)fake->settings.message_size);
  }
}

static void pay_repeats(struct tg_fake_emitter *emitter, double seconds)
{
  double rate = (double)emitter->fake->settings.repeat_rate;
  emitter->repeats_due += rate * seconds;
  if (emitter->repeats_due > rate)
    emitter->repeats_due = rate;
  for (; emitter->repeats_due >= 1; emitter->repeats_due -= 1)
    tg_fake_repeat_any(emitter->fake);
}

static void on_tick(uv_timer_t *timer)
{
  struct tg_fake_emitter *emitter = timer->data;
  uint64_t now = uv_now(timer->loop);
  double seconds = (double)(now - emitter->ticked_at) / 1000;
  emitter->ticked_at = now;
  const struct tg_fake_settings *settings = &emitter->fake->settings;
  bool paced = settings->rate > 0 || settings->repeat_rate > 0;
  if (settings->rate > 0)
    pay_rate(emitter, seconds);
  if (settings->repeat_rate > 0)
    pay_repeats(emitter, seconds);
  struct numbered_job *job, *next;
  for (job = LIST_FIRST(&emitter->jobs); job; job = next) {
    next = LIST_NEXT(job, link);
    if (job->rate <= 0)
      continue;
    pay(emitter, job, seconds);
    if (job->remaining == 0)
      free_job(job);
    else
      paced = true;
  }
  if (!paced) {
    uv_timer_stop(timer);
    emitter->ticked_at = 0;
  }
}

void tg_fake_emit_kick(struct tg_fake *fake)
{
  struct tg_fake_emitter *emitter = fake->emitter;
  bool paced = fake->settings.rate > 0 || fake->settings.repeat_rate > 0, unpaced = false;
  struct numbered_job *job;
  LIST_FOREACH(job, &emitter->jobs, link)
  if (job->rate > 0)
    paced = true;
  else
    unpaced = true;
  if (unpaced)
    uv_idle_start(&emitter->idle, on_idle);
  if (paced && emitter->ticked_at == 0) {
    uint64_t tick = fake->settings.rate >= FINE_FROM ? FINE_TICK : TICK; /* many are not to come in bursts */
    emitter->ticked_at = uv_now(fake->loop);
    uv_timer_start(&emitter->timer, on_tick, tick, tick);
  }
}

/* ---- requests ---- */

static struct numbered_job *new_job(struct tg_fake_emitter *emitter, int shard, uint64_t count, size_t size,
                                    double rate)
{
  struct numbered_job *job = tg_calloc(1, sizeof *job);
  job->shard = shard;
  job->remaining = count;
  job->size = size;
  job->rate = rate;
  LIST_INSERT_HEAD(&emitter->jobs, job, link);
  return job;
}

static void add_guild(struct numbered_job *job, size_t index)
{
  job->guilds = tg_realloc(job->guilds, (job->guild_count + 1) * sizeof *job->guilds);
  job->guilds[job->guild_count++] = index;
}

static bool fill_job(struct tg_fake *fake, struct numbered_job *job, int shard, int total,
                     struct tg_error *error)
{
  struct tg_fake_guilds *guilds = fake->guilds;
  size_t at = 0;
  struct tg_fake_guild *guild;
  while ((guild = tg_fake_guild_next(fake, shard, total, &at)))
    add_guild(job, (size_t)(guild - guilds->all));
  if (job->guild_count > 0)
    return true;
  free_job(job);
  return tg_fail(error, "none", "shard %d has no guilds; start with more --guilds", shard);
}

static json_t *emit_for_guild(struct tg_fake *fake, const char *text, uint64_t count, size_t size,
                              double rate, struct tg_error *error)
{
  struct tg_fake_guild *guild = tg_fake_guild_find(fake, strtoull(text, NULL, 10));
  if (!guild)
    return tg_fail(error, "guild", "the bot is not in guild %s", text), NULL;
  int shard = (int)((guild->id >> 22) % (uint64_t)fake->emitter->total);
  struct numbered_job *job = new_job(fake->emitter, shard, count, size, rate);
  add_guild(job, (size_t)(guild - fake->guilds->all));
  tg_fake_emit_kick(fake);
  return json_pack("{s:I}", "events", (json_int_t)count);
}

json_t *tg_fake_emit_numbered(struct tg_fake *fake, const json_t *request,
                              const struct tg_fake_target *target, struct tg_error *error)
{
  static const char *const keys[] = {"count", "size", "rate", "guild", NULL};
  if (!tg_fake_check_keys(request, keys, error))
    return NULL;
  json_int_t count = 0, size = fake->settings.message_size;
  double rate = 0;
  const char *guild = NULL;
  if (json_unpack((json_t *)(uintptr_t)request, "{s:I, s?I, s?F, s?s}", "count", &count, "size", &size,
                  "rate", &rate, "guild", &guild) != 0 ||
      count < 1 || size < 0 || size > 64 * 1024 * 1024 || rate < 0)
    return tg_fail(error, "type",
                   "expected count (from 1, for each shard), perhaps size in bytes, rate in "
                   "events a second and shard, and guild as a text"),
           NULL;
  if (guild)
    return emit_for_guild(fake, guild, (uint64_t)count, (size_t)size, rate, error);
  int jobs = 0, total = target->total < 0 ? fake->emitter->total : (int)target->total;
  for (int shard = 0; shard < total; shard++)
    if (tg_fake_target_has_shard(target, shard, total)) {
      int numbered_as = total == fake->emitter->total ? shard : -1;
      struct numbered_job *job = new_job(fake->emitter, numbered_as, (uint64_t)count, (size_t)size, rate);
      if (!fill_job(fake, job, shard, total, error))
        return NULL;
      jobs++;
    }
  if (jobs == 0)
    return tg_fail(error, "none", "there is no such shard; of %d", total), NULL;
  tg_fake_emit_kick(fake);
  return json_pack("{s:I}", "events", (json_int_t)jobs * count);
}

/* ---- what was sent ---- */

/* Also those that the bot has left. */
static json_t *sent_guilds(const struct tg_fake *fake, int shard)
{
  json_t *result = json_array();
  for (size_t i = 0; i < fake->guilds->count; i++) {
    const struct tg_fake_guild *guild = &fake->guilds->all[i];
    int here = (int)((guild->id >> 22) % (uint64_t)fake->emitter->total);
    if (guild->numbered == 0 || (shard >= 0 && shard != here))
      continue;
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, guild->id);
    json_array_append_new(result,
                          json_pack("{s:s, s:i, s:i, s:I, s:I}", "id", id, "shard", here, "first", 1, "last",
                                    (json_int_t)guild->numbered, "count", (json_int_t)guild->numbered));
  }
  return result;
}

static json_t *sent_sessions(struct tg_fake *fake, int shard, int total)
{
  json_t *result = json_array();
  struct tg_fake_session *session;
  LIST_FOREACH(session, &fake->sessions, link)
  if (shard < 0 || (session->identify.shard_id == shard && session->identify.total == total))
    json_array_append_new(
        result, json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "session_id", session->id, "shard",
                          session->identify.shard_id, "total", session->identify.total, "first",
                          (json_int_t)session->numbered_first, "last", (json_int_t)session->numbered_last,
                          "count", (json_int_t)session->numbered_count, "written",
                          (json_int_t)session->numbered_written, "sequence", (json_int_t)session->sequence));
  return result;
}

/* Shard -2: of all. */
static json_int_t pending_of(struct tg_fake *fake, int shard)
{
  uint64_t pending = 0;
  struct numbered_job *job;
  LIST_FOREACH(job, &fake->emitter->jobs, link)
  if (shard == -2 || job->shard == shard)
    pending += job->remaining;
  return (json_int_t)pending;
}

json_t *tg_fake_sent(struct tg_fake *fake, int shard)
{
  struct tg_fake_emitter *emitter = fake->emitter;
  json_t *shards = json_array();
  uint64_t events = 0;
  for (int i = 0; i < emitter->total; i++) {
    if (shard >= 0 && i != shard)
      continue;
    events += emitter->numbers[i];
    json_array_append_new(shards,
                          json_pack("{s:i, s:i, s:I, s:I, s:I, s:o}", "shard", i, "first",
                                    emitter->numbers[i] ? 1 : 0, "last", (json_int_t)emitter->numbers[i],
                                    "count", (json_int_t)emitter->numbers[i], "pending", pending_of(fake, i),
                                    "sessions", sent_sessions(fake, i, emitter->total)));
  }
  return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "events", (json_int_t)events, "pending",
                   pending_of(fake, shard < 0 ? -2 : shard), "unwanted", (json_int_t)emitter->unwanted,
                   "shards", shards, "sessions", sent_sessions(fake, -1, 0), "guilds",
                   sent_guilds(fake, shard), "repeats", tg_fake_repeats_to_json(fake));
}

/* ---- life ---- */

struct tg_fake_emitter *tg_fake_emitter_new(struct tg_fake *fake)
{
  struct tg_fake_emitter *emitter = tg_calloc(1, sizeof *emitter);
  emitter->fake = fake;
  emitter->total = (int)fake->options->settings.shards;
  emitter->numbers = tg_calloc((size_t)emitter->total, sizeof *emitter->numbers);
  uv_idle_init(fake->loop, &emitter->idle);
  uv_timer_init(fake->loop, &emitter->timer);
  emitter->idle.data = emitter->timer.data = emitter;
  return emitter;
}

void tg_fake_emitter_reset(struct tg_fake *fake, bool numbers)
{
  struct tg_fake_emitter *emitter = fake->emitter;
  while (!LIST_EMPTY(&emitter->jobs))
    free_job(LIST_FIRST(&emitter->jobs));
  emitter->rate_due = emitter->repeats_due = 0;
  if (!numbers)
    return;
  emitter->unwanted = 0;
  memset(emitter->numbers, 0, (size_t)emitter->total * sizeof *emitter->numbers);
  for (size_t i = 0; i < fake->guilds->count; i++)
    fake->guilds->all[i].numbered = 0;
  tg_fake_repeats_reset(fake);
}

static void on_timer_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_idle_closed(uv_handle_t *handle)
{
  struct tg_fake_emitter *emitter = handle->data;
  uv_close((uv_handle_t *)&emitter->timer, on_timer_closed);
}

void tg_fake_emitter_free(struct tg_fake *fake)
{
  struct tg_fake_emitter *emitter = fake->emitter;
  tg_fake_emitter_reset(fake, false);
  free(emitter->numbers);
  uv_close((uv_handle_t *)&emitter->idle, on_idle_closed);
}
