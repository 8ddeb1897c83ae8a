#include "delivery/storm/storm.h"

#include "base/buf.h"
#include "base/log.h"
#include "config/handler_values.h"
#include "shared/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  LOOK = 1000,   /* ms between two looks at whether storms are over */
  QUIET = 10000, /* ms without a dropped event until one is, of which the rest passes */
};

/* --- what is said of them ---------------------------------------------------------- */

enum { WHOSE_SIZE = 48 };

static const char *whose(const struct tg_storm_limit *rule, const struct tg_bucket *bucket,
                         char text[WHOSE_SIZE])
{
  bool one = rule->per == TG_STORM_PER_GUILD || rule->per == TG_STORM_PER_USER;
  *text = '\0';
  if (one)
    snprintf(text, WHOSE_SIZE, ", %s %" PRIu64, tg_storm_per_name(rule->per), bucket->id);
  else if (rule->per == TG_STORM_PER_TYPE)
    snprintf(text, WHOSE_SIZE, ", %.40s", tg_event_type_name((uint16_t)bucket->id));
  return text;
}

static const char *const what_becomes_of_it[] = {
    [TG_STORM_KEEP_FIRST] = "what is more is dropped",
    [TG_STORM_KEEP_LAST] = "what is more is dropped, but for the last one",
    [TG_STORM_KEEP_NONE] = "none passes until it is over",
};

static void tell_begin(const struct tg_storms *storms, int index, const struct tg_bucket *bucket)
{
  const struct tg_storm_limit *rule = &storms->rules[index];
  char text[WHOSE_SIZE];
  if (index == storms->count)
    tg_log(TG_INFO, bucket->shard_id, "the bot's own GUILD_MEMBER_UPDATEs come, and are dropped");
  else
    tg_log_with(TG_WARN, bucket->shard_id, TG_WITH(TG_TOLD(KEY, rule->title)),
                "a storm (%s%s): more than %g a second; %s", rule->title, whose(rule, bucket, text),
                rule->rate, what_becomes_of_it[rule->keep]);
}

static void tell_end(const struct tg_storms *storms, int index, const struct tg_bucket *bucket, tg_ms now)
{
  const struct tg_storm_limit *rule = &storms->rules[index];
  char text[WHOSE_SIZE];
  const struct tg_log_field *with =
      TG_WITH(TG_NUMBER(EVENTS, (int64_t)bucket->dropped), TG_NUMBER(DURATION, now - bucket->began),
              TG_TOLD(KEY, rule->title));
  if (index == storms->count)
    tg_log_with(TG_INFO, bucket->shard_id, with, "no more GUILD_MEMBER_UPDATEs of the bot itself");
  else
    tg_log_with(TG_INFO, bucket->shard_id, with, "the storm (%s%s) is over", rule->title,
                whose(rule, bucket, text));
}

/* --- their beginnings and ends ------------------------------------------------------- */

static void on_look(uv_timer_t *timer);

static void count_running(const struct tg_storm_limit *rule, int more)
{
  atomic_store(&rule->stats->running, atomic_load(&rule->stats->running) + more);
}

static void begin_storm(struct tg_storms *storms, int index, struct tg_bucket *bucket, int shard_id)
{
  bucket->storming = true;
  bucket->began = bucket->at;
  bucket->dropped = 0;
  bucket->shard_id = shard_id;
  count_running(&storms->rules[index], 1);
  tg_count(&storms->rules[index].stats->storms);
  if (storms->storming++ == 0)
    uv_timer_start(&storms->timer, on_look, LOOK, LOOK);
  tell_begin(storms, index, bucket);
}

static void end_storm(struct tg_storms *storms, struct tg_bucket *bucket, tg_ms now)
{
  int index = bucket->rule - 1;
  bucket->storming = false;
  count_running(&storms->rules[index], -1);
  if (--storms->storming == 0)
    uv_timer_stop(&storms->timer);
  tell_end(storms, index, bucket, now);
}

/* Of a bucket that is filled. Where some pass, it may be full time and again while others are dropped. */
static bool is_over(const struct tg_storms *storms, const struct tg_bucket *bucket, tg_ms now)
{
  int index = bucket->rule - 1;
  bool quiet =
      storms->rules[index].keep == TG_STORM_KEEP_NONE || now - bucket->dropped_at >= tg_patience(QUIET);
  return quiet && bucket->level >= storms->limits[index].size;
}

/* Ends those that are over; `all`: all of them. */
static void end_storms(struct tg_storms *storms, bool all)
{
  tg_ms now = tg_env_now(storms->env);
  for (int i = 0; i < TG_BUCKETS && storms->storming > 0; i++) {
    struct tg_bucket *bucket = &storms->buckets.at[i];
    if (!bucket->storming)
      continue;
    tg_bucket_fill(bucket, &storms->limits[bucket->rule - 1], now);
    if (all || is_over(storms, bucket, now))
      end_storm(storms, bucket, now);
  }
}

static void on_look(uv_timer_t *timer)
{
  end_storms(timer->data, false);
}

/* --- an event --------------------------------------------------------------------------- */

/* Takes a token, if there is one. Where nothing passes during a storm, what is dropped takes its own, too, so
 * that the bucket fills up only when fewer come than the rate allows. */
static bool pours(const struct tg_storms *storms, int index, struct tg_bucket *bucket)
{
  bool none = storms->rules[index].keep == TG_STORM_KEEP_NONE, poured = bucket->level >= 1;
  if (poured)
    bucket->level--;
  else if (none)
    bucket->level = 0;
  return poured && !(none && bucket->storming) && index != storms->count;
}

/* A newer one passes. */
static void forget_held(struct tg_storms *storms, const struct tg_bucket *bucket)
{
  if (__builtin_expect(bucket->held != NULL, 0))
    tg_last_forget(&storms->last, bucket->held);
}

/* Of the same shard by its number; nobody knows of others. */
static bool is_behind(const struct tg_held *held, const struct tg_event *event)
{
  const struct tg_held_copy *copy = held->copy;
  struct tg_place its = {copy->epoch, copy->sequence}, place = {event->epoch, event->sequence};
  return copy->ref != tg_event_ref(event) || tg_place_is_behind(its, place);
}

/* Whether that rule drops an event of that key. */
static bool drops(struct tg_storms *storms, int index, uint64_t id, const struct tg_event *event)
{
  tg_ms now = event->came_at ? event->came_at : tg_env_now(storms->env);
  struct tg_bucket *bucket = tg_buckets_get(&storms->buckets, index, id, now);
  if (!bucket)
    return false; /* more storms than there is room for */
  if (__builtin_expect(event->late, 0) && bucket->held && is_behind(bucket->held, event)) {
    tg_count(&storms->rules[index].stats->dropped);
    return true;
  }
  if (bucket->storming && is_over(storms, bucket, now)) {
    forget_held(storms, bucket);
    end_storm(storms, bucket, now);
  }
  bool holds = storms->rules[index].keep == TG_STORM_KEEP_LAST;
  struct tg_stats_storm *stats = storms->rules[index].stats;
  if (pours(storms, index, bucket) || (holds && !tg_last_hold(&storms->last, bucket, stats, event))) {
    forget_held(storms, bucket);
    return false;
  }
  if (!bucket->storming)
    begin_storm(storms, index, bucket, event->shard_id);
  bucket->dropped++;
  bucket->dropped_at = bucket->at;
  tg_count(&stats->dropped);
  return true;
}

/* What it has to do with is found when a rule asks for it. */
struct keys {
  const struct tg_event *event;
  bool looked[TG_STORM_PER_TYPE + 1], found[TG_STORM_PER_TYPE + 1];
  uint64_t ids[TG_STORM_PER_TYPE + 1];
};

static bool find_key(struct keys *keys, enum tg_storm_per per)
{
  const struct tg_event *event = keys->event;
  if (keys->looked[per])
    return keys->found[per];
  keys->looked[per] = true;
  switch (per) {
  case TG_STORM_PER_GUILD:
    return keys->found[per] = tg_event_guild_id(event, &keys->ids[per]);
  case TG_STORM_PER_USER:
    return keys->found[per] = tg_event_user_id(event, &keys->ids[per]);
  case TG_STORM_PER_SHARD:
    keys->ids[per] = (uint64_t)tg_event_ref(event);
    break;
  case TG_STORM_PER_TYPE:
    keys->ids[per] = event->type;
    break;
  }
  return keys->found[per] = true;
}

static bool is_self(const struct tg_storms *storms, const struct tg_event *event)
{
  uint64_t id;
  return tg_event_user_id(event, &id) && id == storms->self;
}

void tg_storms_learn(struct tg_storms *storms, const struct tg_event *ready)
{
  uint64_t id;
  if (tg_event_user_id(ready, &id))
    storms->self = id;
}

/* Whether one of these does. */
static bool drops_by(struct tg_storms *storms, uint32_t rules, const struct tg_event *event)
{
  struct keys keys = {.event = event};
  for (; rules != 0; rules &= rules - 1) {
    int index = __builtin_ctz(rules);
    enum tg_storm_per per = storms->rules[index].per;
    if (find_key(&keys, per) && drops(storms, index, keys.ids[per], event))
      return true;
  }
  return false;
}

bool tg_storms_drop(struct tg_storms *storms, const struct tg_event *event)
{
  if (event->type == TG_EVENT_GUILD_MEMBER_UPDATE && storms->drops_self && is_self(storms, event) &&
      drops(storms, storms->count, 0, event))
    return true;
  return drops_by(storms, storms->of_type[event->type], event);
}

bool tg_storms_drop_late(struct tg_storms *storms, int rule, const struct tg_event *event)
{
  uint32_t behind = rule < TG_STORM_RULES_MAX ? ~UINT32_C(0) << rule : 0;
  return drops_by(storms, storms->of_type[event->type] & behind, event);
}

/* --- the rules ------------------------------------------------------------------------------ */

/* Those that "all" does not mean: what the gateway goes by, what a person waits for an answer to, and what
 * answers a command. */
static bool is_kept(uint16_t type)
{
  switch (type) {
  case TG_EVENT_READY:
  case TG_EVENT_RESUMED:
  case TG_EVENT_GUILD_CREATE:
  case TG_EVENT_GUILD_DELETE:
  case TG_EVENT_INTERACTION_CREATE:
  case TG_EVENT_GUILD_MEMBERS_CHUNK:
  case TG_EVENT_SOUNDBOARD_SOUNDS:
  case TG_EVENT_VOICE_SERVER_UPDATE:
  case TG_EVENT_RATE_LIMITED:
    return true;
  }
  return false;
}

static void set_types(struct tg_storms *storms, int index, const struct tg_strings *events)
{
  for (int i = 0; i < events->count; i++) {
    const char *name = events->items[i];
    bool all = strcmp(name, TG_ALL_EVENTS) == 0;
    uint16_t only = all ? 0 : tg_event_type(name, strlen(name));
    for (uint16_t type = 0; type < TG_EVENT_TYPE_MAX; type++)
      if (all ? !is_kept(type) : type == only)
        storms->of_type[type] |= UINT32_C(1) << index;
  }
}

static void set_rule(struct tg_storms *storms, int index, const struct tg_storm_rule *rule)
{
  struct tg_storm_limit *limit = &storms->rules[index];
  limit->per = rule->per;
  limit->keep = rule->keep;
  limit->rate = rule->rate;
  limit->stats = tg_stats_storm(limit->title);
  storms->limits[index] = (struct tg_bucket_limit){.rate = rule->rate / 1000, .size = rule->burst};
}

/* Its bucket is empty as long as they come, and never lets one pass. */
static void set_self(struct tg_storms *storms, int index)
{
  struct tg_storm_limit *limit = &storms->rules[index];
  snprintf(limit->title, sizeof limit->title, "self_updates");
  limit->per = TG_STORM_PER_SHARD;
  limit->keep = TG_STORM_KEEP_NONE;
  limit->stats = tg_stats_storm(limit->title);
  storms->limits[index] = (struct tg_bucket_limit){.rate = 1.0 / (double)tg_patience(QUIET), .size = 1};
}

void tg_storms_configure(struct tg_storms *storms, const struct tg_storm_config *config)
{
  json_t *wanted = tg_storm_config_write(config);
  if (json_equal(wanted, storms->config)) {
    json_decref(wanted);
    return;
  }
  tg_last_release(&storms->last, TG_ALL_SHARDS);
  end_storms(storms, true);
  json_decref(storms->config);
  storms->config = wanted;
  memset(storms->of_type, 0, sizeof storms->of_type);
  storms->count = config->rules.count;
  storms->drops_self = !config->self_updates;
  storms->on = storms->count > 0 || storms->drops_self;
  for (int i = 0; i < storms->count; i++) {
    if (config->rules.list[i].keep == TG_STORM_KEEP_LAST)
      tg_last_prepare(&storms->last);
    tg_storm_title(&config->rules, i, storms->rules[i].title);
    set_rule(storms, i, &config->rules.list[i]);
    set_types(storms, i, &config->rules.list[i].events);
  }
  if (storms->drops_self)
    set_self(storms, storms->count);
  tg_buckets_free(&storms->buckets);
  if (storms->on)
    tg_buckets_init(&storms->buckets, storms->limits, tg_random(UINT64_MAX));
}

/* --- life -------------------------------------------------------------------------------------- */

void tg_storms_begin(struct tg_storms *storms, struct tg_delivery_env *env)
{
  char id[TG_BOT_ID_SIZE];
  storms->env = env;
  tg_config_bot_id(env->config, id);
  storms->self = strtoull(id, NULL, 10);
  tg_last_begin(&storms->last, env, storms->limits);
  tg_handles_timer(&env->handles, &storms->timer, storms);
  uv_unref((uv_handle_t *)&storms->timer);
}

void tg_storms_end(struct tg_storms *storms)
{
  end_storms(storms, true);
  tg_last_end(&storms->last);
  tg_handles_close(&storms->env->handles, &storms->timer);
}

void tg_storms_free(struct tg_storms *storms)
{
  tg_last_free(&storms->last);
  tg_buckets_free(&storms->buckets);
  json_decref(storms->config);
}
