#include "manager/cluster/member.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/cluster/member_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  LOOK_AGAIN = 250,                 /* ms between two looks for what could not be done */
  COMPLAIN_EVERY = 60000,           /* ms, of a Redis that is away */
  BUDGET_WINDOW = 24 * 3600 * 1000, /* ms of session_start_limit */
};

/* ---- leases, as rows have them ---- */

void tg_member_lease(struct tg_member *member, struct tg_managed_shard *shard)
{
  struct tg_shard_row *row = tg_shard_row_of(shard);
  int number = tg_member_number(member, shard);
  bool is_known = shard->held && (number < TG_CLUSTER_NEXT || member->to > 0);
  tg_ms until = is_known ? tg_cluster_lease_until(member->cluster, number) : 0;
  uint32_t no_resume = is_known && !tg_cluster_may_resume(member->cluster, number);
  if (atomic_load(&row->lease_until) != until)
    atomic_store(&row->lease_until, until);
  if (atomic_load(&row->no_resume) != no_resume)
    atomic_store(&row->no_resume, no_resume);
}

static void write_leases(struct tg_member *member)
{
  for (int i = 0; member->goes_on && i < tg_all_shards(member->env); i++)
    tg_member_lease(member, tg_any_shard(member->env, i));
}

/* ---- words ---- */

static void tell_mismatch(struct tg_member *member, const struct tg_cluster_word *word)
{
  const struct tg_config *config = member->env->config;
  const char *theirs = word->theirs ? word->theirs : "?";
  char text[600];
  if (strcmp(word->text, "bot") == 0)
    snprintf(
        text, sizeof text,
        "the token here is that of the bot %s, and the cluster \"%s\" at %s is that of %s. Give each bot a "
        "cluster.name of its own, and all its hosts one token",
        member->bot, config->cluster.name, tg_redis_link_where(member->link), theirs);
  else if (strcmp(word->text, "total") == 0)
    snprintf(text, sizeof text,
             "total_shards is %d here, and the cluster \"%s\" at %s has %s shards. Give all hosts the same "
             "number, "
             "or none; a cluster takes another one when no host of it lives",
             config->total_shards, config->cluster.name, tg_redis_link_where(member->link), theirs);
  else
    snprintf(
        text, sizeof text,
        "cluster.host \"%s\" is alive elsewhere: a gateway with another state directory, or a copy of this "
        "one, has that name in the cluster \"%s\" at %s. Give each host a name of its own",
        config->cluster.host, config->cluster.name, tg_redis_link_where(member->link));
  member->events->refused(member->ctx, text);
}

static void on_total(struct tg_member *member, const struct tg_cluster_word *word)
{
  if (member->total == word->total)
    return;
  if (member->total > 0) {
    char text[200];
    snprintf(text, sizeof text, "the cluster has %d shards now, and had %d when this host joined it",
             word->total, member->total);
    member->events->refused(member->ctx, text);
    return;
  }
  member->total = word->total;
  member->events->total(member->ctx, word->change);
  if (member->stopped || member->env->shards.count == 0)
    return;
  tg_member_take_sides(member, word->total);
  tg_member_take_change(member);
}

static void on_granted(struct tg_member *member, const struct tg_cluster_word *word)
{
  struct tg_managed_shard *shard = tg_member_managed(member, word->shard);
  if (shard)
    member->events->granted(member->ctx, shard, tg_now() + word->deadline - tg_boot_clock(), word->epoch);
}

static void hear(struct tg_member *member, const struct tg_cluster_word *word)
{
  switch (word->kind) {
  case TG_CLUSTER_MISMATCH:
    tell_mismatch(member, word);
    break;
  case TG_CLUSTER_TOTAL:
    on_total(member, word);
    break;
  case TG_CLUSTER_GRANTED:
    on_granted(member, word);
    break;
  case TG_CLUSTER_ASK_DISCORD:
    member->events->ask_discord(member->ctx);
    break;
  default:
    if (word->kind == TG_CLUSTER_HOLE)
      tg_member_hole(member, word);
    else if (!tg_member_change_word(member, word))
      tg_member_word(member, word);
    break;
  }
}

/* ---- what people are told ---- */

static void tell_hosts(struct tg_member *member)
{
  const struct tg_cluster_view *view = &member->view;
  struct tg_buf names = {0};
  for (int i = 0; i < view->host_count; i++)
    tg_buf_printf(&names, "%s%s%s", i > 0 ? ", " : "", view->hosts[i].name,
                  view->hosts[i].draining ? " (goes)" : "");
  char text[sizeof member->hosts_told];
  snprintf(text, sizeof text, "%s", names.length > 0 ? names.data : "");
  tg_buf_free(&names);
  if (text[0] == '\0' || strcmp(text, member->hosts_told) == 0)
    return;
  memcpy(member->hosts_told, text, sizeof text);
  tg_log(TG_INFO, TG_NO_SHARD, "hosts of the cluster: %s", text);
}

/* One that comes and goes is told of once a minute, both ways. */
static void complain(struct tg_member *member, const struct tg_error *error)
{
  tg_ms now = tg_now();
  if (member->away_since == 0)
    member->away_since = now;
  free(member->trouble);
  member->trouble = tg_strdup(error->message);
  if (member->complained_at && now - member->complained_at < COMPLAIN_EVERY)
    return;
  member->complained_at = now;
  member->told_away = true;
  tg_log_with(TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, tg_redis_link_where(member->link)), TG_TEXT(REASON, error->message)),
              member->total > 0
                  ? "the cluster's Redis is away: shards go on and are delivered, none identifies "
                    "or moves until it is back"
                  : "this host waits for the cluster's Redis");
}

/* It has done what it was asked: one that is there may still refuse that, again and again. */
static void rejoice(struct tg_member *member)
{
  if (member->told_up && !member->away_since)
    return;
  tg_ms away = member->away_since ? tg_now() - member->away_since : 0;
  if (!member->told_up || member->told_away)
    tg_log_with(
        TG_INFO, TG_NO_SHARD,
        TG_WITH(TG_TEXT(URL, tg_redis_link_where(member->link)), TG_NUMBER_IF(away > 0, DURATION, away)),
        "in touch with the cluster's Redis");
  member->told_up = true;
  member->told_away = false;
  member->away_since = 0;
  free(member->trouble);
  member->trouble = NULL;
}

/* ---- Redis ---- */

struct member_call {
  struct tg_member *member;
  uint64_t id;
};

static void on_replied(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct member_call call = *(struct member_call *)ctx;
  free(ctx);
  struct tg_member *member = call.member;
  if (!member || member->stopped)
    return;
  if (error) {
    tg_redis_link_break(member->link, error->message);
    return;
  }
  if (tg_cluster_answered(member->cluster, call.id, text, length, tg_boot_clock()))
    rejoice(member);
  else
    tg_redis_link_break(member->link, "the cluster's script has not answered as it should");
  tg_member_pump(member);
}

static void send_calls(struct tg_member *member)
{
  struct tg_cluster_call call;
  while (tg_cluster_next_call(member->cluster, &call)) {
    struct member_call *sent = tg_alloc(sizeof *sent);
    *sent = (struct member_call){member, call.id};
    if (!tg_redis_link_call(member->link, call.name, call.body, on_replied, sent))
      free(sent); /* it has just ended, of which the cluster hears */
    free(call.body);
  }
}

static void on_up(void *ctx, const char *run_id)
{
  struct tg_member *member = ctx;
  tg_cluster_link_up(member->cluster, run_id, tg_boot_clock());
  tg_member_pump(member);
  if (!member->stopped)
    member->events->linked(member->ctx);
}

static void on_down(void *ctx, const struct tg_error *error)
{
  struct tg_member *member = ctx;
  complain(member, error);
  tg_cluster_link_down(member->cluster, tg_boot_clock());
  tg_member_pump(member);
}

static void on_posted(void *ctx, const char *word, const char *body, size_t length)
{
  struct tg_member *member = ctx;
  if (!tg_cluster_posted(member->cluster, word, body, length, tg_boot_clock()))
    member->events->posted(member->ctx, word, body, length);
  tg_member_pump(member);
}

/* ---- its time ---- */

static void on_timer(uv_timer_t *timer)
{
  struct tg_member *member = timer->data;
  tg_member_try_again(member);
  tg_member_pump(member);
}

static void pump_once(struct tg_member *member)
{
  struct tg_cluster_word word;
  tg_cluster_tick(member->cluster, tg_boot_clock());
  while (!member->stopped && tg_cluster_next_word(member->cluster, &word))
    hear(member, &word);
  if (member->stopped)
    return;
  send_calls(member);
  write_leases(member);
  tg_cluster_view(member->cluster, &member->view);
  tg_member_keep_mark(member);
}

void tg_member_pump(struct tg_member *member)
{
  if (member->stopped || !member->cluster)
    return;
  member->pump_again = true;
  if (member->pumping)
    return;
  member->pumping = true;
  while (member->pump_again && !member->stopped) {
    member->pump_again = false;
    pump_once(member);
  }
  member->pumping = false;
  if (member->stopped)
    return;
  tell_hosts(member);
  tg_ms now = tg_boot_clock(), wait = tg_cluster_wakeup(member->cluster, now) - now;
  tg_timer_start(member->timer, on_timer, wait < LOOK_AGAIN ? wait : LOOK_AGAIN);
}

/* ---- life ---- */

struct tg_member *tg_member_new(const struct tg_manager_env *env, struct tg_workers *workers,
                                struct tg_spawner *spawner, const struct tg_member_events *events, void *ctx)
{
  struct tg_member *member = tg_calloc(1, sizeof *member);
  *member =
      (struct tg_member){.env = env, .workers = workers, .spawner = spawner, .events = events, .ctx = ctx};
  member->timer = tg_timer_new(env->loop, member);
  return member;
}

bool tg_member_make_link(struct tg_member *member, struct tg_error *error)
{
  static const struct tg_redis_link_events events = {.up = on_up, .down = on_down, .posted = on_posted};
  const struct tg_config *config = member->env->config;
  member->name = tg_strdup(config->cluster.name);
  member->host = tg_strdup(config->cluster.host);
  member->link = tg_redis_link_new(&(struct tg_redis_link_options){.loop = member->env->loop,
                                                                   .url = config->cluster.url,
                                                                   .ca_file = config->tls.ca_file,
                                                                   .name = config->cluster.name,
                                                                   .host = config->cluster.host,
                                                                   .events = &events,
                                                                   .ctx = member},
                                   error);
  return member->link != NULL;
}

bool tg_member_begin(struct tg_member *member, const struct tg_member_past *past, struct tg_error *error)
{
  const struct tg_config *config = member->env->config;
  if (!tg_member_make_link(member, error) || !tg_member_begin_life(member, error))
    return false;
  tg_member_identify(member, past, 0);
  tg_member_tell_rows(member, past);
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(URL, tg_redis_link_where(member->link))),
              "joins the cluster \"%s\" as \"%s\"", config->cluster.name, config->cluster.host);
  tg_redis_link_connect(member->link);
  tg_member_pump(member);
  return true;
}

void tg_member_go_on(struct tg_member *member)
{
  member->goes_on = true;
  write_leases(member);
  tg_member_try_again(member);
  tg_member_pump(member);
}

void tg_member_stop(struct tg_member *member)
{
  if (member->stopped)
    return;
  member->stopped = true;
  uv_timer_stop(member->timer);
  for (int side = 0; side < TG_SIDES; side++)
    tg_member_forget_tasks(&member->sides[side]);
  tg_member_forget_change(member);
  tg_member_forget_holes(member);
}

void tg_member_free(struct tg_member *member)
{
  if (!member)
    return;
  tg_member_stop(member);
  if (member->link)
    tg_redis_link_free(member->link);
  tg_cluster_free(member->cluster);
  tg_timer_free(member->timer);
  tg_member_free_sides(member);
  free(member->name);
  free(member->host);
  free(member->digest);
  free(member->trouble);
  free(member);
}

/* ---- what is known ---- */

bool tg_member_waits(const struct tg_member *member)
{
  return member->cluster && member->total == 0;
}

int tg_member_total(const struct tg_member *member)
{
  return member->total;
}

bool tg_member_has(const struct tg_member *member, int shard_id)
{
  const struct tg_managed_shard *shard = tg_member_managed(member, shard_id);
  return shard && shard->held;
}

int tg_member_count(const struct tg_member *member)
{
  return tg_shard_set_count_held(&member->env->shards);
}

bool tg_member_is_connected(const struct tg_member *member)
{
  return member->link && tg_redis_link_is_up(member->link) && !member->view.away;
}

const char *tg_member_trouble(const struct tg_member *member)
{
  return member->trouble;
}

bool tg_member_has_others(struct tg_member *member)
{
  const struct tg_cluster_view *view = &member->view;
  for (int i = 0; i < view->host_count; i++)
    if (!view->hosts[i].draining && strcmp(view->hosts[i].name, member->env->config->cluster.host) != 0)
      return true;
  return false;
}

bool tg_member_held_back(struct tg_member *member)
{
  return !tg_member_is_connected(member) || member->view.held_back > tg_boot_clock();
}

const struct tg_cluster_view *tg_member_view(struct tg_member *member)
{
  return &member->view;
}

struct tg_redis_link *tg_member_link(struct tg_member *member)
{
  return member->link;
}

void tg_member_drain(struct tg_member *member, bool anyway)
{
  if (!member->draining)
    tg_log(TG_INFO, TG_NO_SHARD, "all shards of this host go to others%s",
           anyway ? ", and what is not delivered stays here" : "");
  member->draining = true;
  member->drains_anyway = anyway;
  tg_cluster_drain(member->cluster, anyway);
  tg_member_pump(member);
}

bool tg_member_is_draining(const struct tg_member *member)
{
  return member->draining;
}

/* ---- what becomes of shards ---- */

void tg_member_ask(struct tg_member *member, const struct tg_managed_shard *shard,
                   enum tg_identify_priority priority)
{
  tg_cluster_ask(member->cluster, tg_member_number(member, shard), priority, tg_boot_clock());
  tg_member_pump(member);
}

void tg_member_unask(struct tg_member *member, const struct tg_managed_shard *shard)
{
  tg_cluster_unask(member->cluster, tg_member_number(member, shard));
  tg_member_pump(member);
}

void tg_member_sent(struct tg_member *member, const struct tg_managed_shard *shard)
{
  tg_cluster_sent(member->cluster, tg_member_number(member, shard));
  tg_member_pump(member);
}

void tg_member_done(struct tg_member *member, const struct tg_managed_shard *shard)
{
  tg_cluster_done(member->cluster, tg_member_number(member, shard));
  tg_member_pump(member);
}

void tg_member_session_up(struct tg_member *member, const struct tg_managed_shard *shard)
{
  struct tg_session session;
  if (!shard->held || !tg_session_load(tg_shard_row_of(shard), &session))
    return;
  const struct tg_cluster_session running = {session.epoch, session.id, session.resume_url, member->digest};
  tg_cluster_runs(member->cluster, tg_member_number(member, shard), &running);
  tg_member_pump(member);
}

void tg_member_cut(struct tg_member *member, const struct tg_managed_shard *shard)
{
  tg_cluster_cut(member->cluster, tg_member_number(member, shard), tg_boot_clock());
  tg_member_pump(member);
}

void tg_member_budget(struct tg_member *member)
{
  const struct tg_gateway_info *info = member->env->info;
  if (member->stopped || !member->cluster)
    return;
  tg_ms window =
      info->reset_after > 0 ? info->reset_after : BUDGET_WINDOW; /* it begins with the first start */
  tg_cluster_budget(member->cluster, info->total, info->remaining, window, info->max_concurrency,
                    info->shards);
  tg_member_pump(member);
}

void tg_member_worker_ready(struct tg_member *member)
{
  tg_member_try_again(member);
}
