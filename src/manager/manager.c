#include "manager/manager.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/spare_memory.h"
#include "base/timer.h"
#include "manager/cluster_front.h"
#include "manager/commands/ask_worker.h"
#include "manager/internal.h"

#include "manager/commands/queues.h"
#include "manager/lock.h"
#include "manager/upgrade/handed.h"
#include "manager/workers/deaths.h"
#include "shared/poison.h"

#include <stdlib.h>
#include <unistd.h>

enum {
  PULSE_BUSY = 250, /* ms, while shards come up */
  PULSE_CALM = 1000,
  END_TIMEOUT = 10000, /* ms for the end of a session */
  SHARD_INFO_TIMEOUT = 5000,
};

/* ---- what the rooms tell ---- */

static void on_info_known(void *ctx)
{
  tg_manager_begin(ctx);
}

static void on_info_failed(void *ctx, int exit_code, const char *why)
{
  tg_manager_fail(ctx, exit_code, "%s", why);
}

static void on_info_refreshed(void *ctx, bool anew)
{
  struct tg_manager *manager = ctx;
  if (anew)
    tg_slots_info_changed(manager->slots);
  if (anew && manager->member)
    tg_member_budget(manager->member);
  tg_slots_refreshed(manager->slots);
  tg_reshard_refreshed(manager->reshard, anew);
}

static const struct tg_fetch_events of_fetch = {
    .known = on_info_known, .failed = on_info_failed, .refreshed = on_info_refreshed};

static void on_turn(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_manager *manager = ctx;
  tg_spawn_tell(manager->spawner, shard);
}

static bool is_reachable(void *ctx, const struct tg_managed_shard *shard)
{
  const struct tg_manager *manager = ctx;
  return tg_workers_up(manager->workers, shard->worker_id);
}

/* A power cut may have taken table and logs back behind a session that the bot has seen: the next one begins
 * with an epoch that no earlier session has had, since all of them began before. 0: as the shard counts. */
static uint64_t least_epoch(const struct tg_manager *manager)
{
  return manager->steady.rebooted ? (uint64_t)(manager->env.stamp / 1000) : 0;
}

static void on_allowed(void *ctx, struct tg_managed_shard *shard, int64_t ask, tg_ms deadline, uint64_t epoch)
{
  const struct tg_manager *manager = ctx;
  if (epoch == 0)
    epoch = least_epoch(manager);
  tg_say(tg_workers_line(manager->workers, shard->worker_id), allow_identify, .ref = shard->ref, .ask = ask,
         .deadline = deadline, .epoch = (int64_t)epoch);
}

static void refresh_info(void *ctx)
{
  struct tg_manager *manager = ctx;
  tg_fetch_refresh(manager->fetch);
}

static bool is_put_off(void *ctx, char *text, size_t size)
{
  struct tg_manager *manager = ctx;
  return tg_fetch_is_put_off(manager->fetch, text, size);
}

static const struct tg_slots_events of_slots = {.start = on_turn,
                                                .reachable = is_reachable,
                                                .allow = on_allowed,
                                                .refresh = refresh_info,
                                                .put_off = is_put_off,
                                                .ask = tg_joined_ask,
                                                .unask = tg_joined_unask,
                                                .sent = tg_joined_sent,
                                                .done = tg_joined_done,
                                                .held_back = tg_joined_held_back,
                                                .call = tg_joined_call};

static void on_worker_gone(void *ctx, int worker)
{
  struct tg_manager *manager = ctx;
  if (manager->env.stopping) {
    tg_stop_worker_gone(manager);
    return;
  }
  tg_spawn_worker_gone(manager->spawner, worker);
  tg_members_worker_gone(manager->members, worker);
  tg_reshard_worker_gone(manager->reshard, worker);
  tg_upgrade_worker_gone(manager->upgrade, worker);
  tg_slots_pump(manager->slots);
}

static bool on_worker_refused(void *ctx, int worker)
{
  struct tg_manager *manager = ctx;
  if (manager->phase > TG_MANAGER_LOADING)
    return false;
  tg_manager_fail(manager, TG_EXIT_CONFIG, "worker %d could not begin; its own lines above say why", worker);
  return true;
}

static const struct tg_workers_events of_workers = {
    .message = tg_manager_hear, .gone = on_worker_gone, .refused = on_worker_refused};

static void on_shard_started(void *ctx, struct tg_managed_shard *shard, bool anew)
{
  struct tg_manager *manager = ctx;
  if (anew)
    tg_presences_restore(manager->presences, shard);
  tg_sendings_go(manager->sendings, shard);
}

/* Counts move when other processes use the token, too. */
static void on_session_lost(void *ctx)
{
  struct tg_manager *manager = ctx;
  tg_fetch_refresh_old(manager->fetch);
}

static void on_all_up(void *ctx)
{
  (void)ctx;
  tg_progress_end();
}

static const struct tg_spawner_events of_spawner = {
    .started = on_shard_started, .session_lost = on_session_lost, .all_up = on_all_up};

struct renewal {
  struct tg_manager *manager;
  tg_shard_ref ref;
  tg_manager_reply *reply; /* NULL: nobody waits for it */
  void *reply_ctx;
};

static void on_identify_again(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_manager *manager = ctx;
  tg_spawn_session_lost(manager->spawner, shard, "its intents were refused");
}

static void on_ended(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value, (void)error; /* if its worker is gone, the next one starts it */
  struct renewal renewal = *(struct renewal *)ctx;
  free(ctx);
  const struct tg_managed_shard *shard = tg_shard_of_ref(&renewal.manager->env, renewal.ref);
  if (shard && !renewal.manager->env.stopping)
    tg_slots_enqueue(renewal.manager->slots, shard, TG_IDENTIFY_LOST);
  tg_reply_value(renewal.reply, renewal.reply_ctx, json_true());
}

static void renew(struct tg_manager *manager, struct tg_managed_shard *shard, tg_manager_reply *reply,
                  void *reply_ctx)
{
  const struct tg_message message = {.type = TG_MESSAGE_kill_shard, .kill_shard = {shard->ref}};
  struct renewal *renewal = tg_alloc(sizeof *renewal);
  *renewal = (struct renewal){manager, shard->ref, reply, reply_ctx};
  tg_spawn_killed(manager->spawner, shard);
  tg_ask_worker(manager->workers, &manager->env, shard, &message, END_TIMEOUT, on_ended, renewal);
}

static void on_renew(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_manager *manager = ctx;
  if (tg_slots_held_back(manager->slots))
    return;
  tg_log(TG_INFO, shard->id, "ends its session, for one with the intents that are allowed again");
  renew(manager, shard, NULL, NULL);
}

static const struct tg_optional_events of_optional = {.again = on_identify_again, .renew = on_renew};

static bool on_make_next(void *ctx, int total, uint64_t first_epoch, const int *workers, int classes,
                         struct tg_error *error)
{
  return tg_manager_make_next(ctx, total, first_epoch, workers, classes, error);
}

static void on_drop_next(void *ctx)
{
  tg_manager_drop_next(ctx);
}

static void on_take_next(void *ctx)
{
  tg_manager_take_next(ctx);
}

/* As if nobody could help: its number of shards is not one to keep. */
static void on_helpless(void *ctx, const char *why)
{
  struct tg_manager *manager = ctx;
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, why)),
              "Discord refuses shards with too many guilds, and resharding does not help. All shards stop");
  bool wrong_number = manager->env.config->total_shards == 0;
  if (wrong_number)
    tg_reshard_forget_total(manager->reshard);
  tg_manager_stop(manager, !wrong_number, TG_EXIT_CONFIG);
}

static void on_outrun(void *ctx, const char *why)
{
  tg_manager_fail(ctx, TG_EXIT_AGAIN, "%s", why);
}

static const struct tg_reshard_events of_reshard = {.make_next = on_make_next,
                                                    .drop_next = on_drop_next,
                                                    .take_next = on_take_next,
                                                    .helpless = on_helpless,
                                                    .outrun = on_outrun};

static bool on_may_identify(void *ctx)
{
  struct tg_identify_status budget;
  tg_gateway_identifies(ctx, &budget);
  return !budget.held_back && budget.remaining > budget.reserve;
}

static void on_deaf_renew(void *ctx, struct tg_managed_shard *shard, tg_manager_reply *reply, void *reply_ctx)
{
  renew(ctx, shard, reply, reply_ctx);
}

static const struct tg_deaf_events of_deaf = {.may_identify = on_may_identify, .renew = on_deaf_renew};

static void on_reload_news(void *ctx, enum tg_reload_news news)
{
  static const enum tg_manager_news told[] = {[TG_RELOAD_BEGINS] = TG_MANAGER_RELOADING,
                                              [TG_RELOAD_IS_DONE] = TG_MANAGER_RELOADED,
                                              [TG_RELOAD_HAS_FAILED] = TG_MANAGER_RELOAD_FAILED};
  struct tg_manager *manager = ctx;
  tg_left_sinks_reloading(manager->left_sinks, news == TG_RELOAD_BEGINS);
  tg_manager_tell(manager, told[news]);
}

static void on_shutdown(void *ctx, bool keep_sessions)
{
  tg_manager_stop(ctx, keep_sessions, TG_EXIT_OK);
}

/* ---- start ---- */

/* Before any of the script runs: what was the end of the last manager is not to
 * be that of this one. */
static void open_poison(struct tg_manager *manager)
{
  struct tg_error error;
  if (!tg_poison_open(manager->env.state_dir, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s: what of the script ends a process may end the next start, too",
           error.message);
  tg_reload_tell_sum(&manager->options.reload);
  tg_deaths_look(TG_POISON_MANAGER, false, NULL);
}

static void make_env(struct tg_manager *manager)
{
  const struct tg_manager_options *options = &manager->options;
  const struct tg_config *config = options->config;
  manager->env = (struct tg_manager_env){
      .loop = options->loop,
      .config = config,
      .hooks = options->hooks,
      .http = options->http,
      .calls = tg_calls_new(options->hooks),
      .state_dir = tg_strdup(config->state_dir),
      .bot = tg_identity_bot(config->token, 0),
      .bot_with_intents = tg_identity_bot(config->token, config->intents),
      .clustered = config->cluster.url != NULL,
  };
  tg_steady_begin(&manager->steady, manager->env.state_dir);
  manager->env.stamp = tg_steady_clock();
}

/* Each room knows those made before it; to those after it it speaks by callbacks. */
static void make_rooms(struct tg_manager *manager)
{
  const struct tg_manager_env *env = &manager->env;
  const struct tg_reload *reload = &manager->options.reload;
  manager->fetch = tg_fetch_new(env, &of_fetch, manager);
  manager->env.info = tg_fetch_info(manager->fetch);
  manager->slots = tg_slots_new(env, &of_slots, manager);
  manager->workers = tg_workers_new(&(struct tg_workers_options){.env = env,
                                                                 .reload = reload,
                                                                 .script_path = manager->script_path,
                                                                 .events = &of_workers,
                                                                 .ctx = manager});
  manager->spawner = tg_spawner_new(env, manager->slots, manager->workers, &of_spawner, manager);
  if (env->clustered) {
    const char *host = env->config->cluster.host;
    manager->member = tg_member_new(env, manager->workers, manager->spawner, &tg_manager_of_member, manager);
    manager->env.post = tg_post_new(env, host);
    manager->shared_presences = tg_shared_presences_new(host, tg_joined_presence, manager);
  }
  manager->reloads = tg_reloads_new(env, manager->workers, reload, on_reload_news, manager);
  manager->sendings = tg_sendings_new(env, manager->workers);
  manager->members = tg_members_new(env, manager->sendings);
  manager->presences = tg_presences_new(env, manager->workers, manager->shared_presences);
  manager->commands = tg_commands_new(&(struct tg_commands_options){.env = env,
                                                                    .workers = manager->workers,
                                                                    .slots = manager->slots,
                                                                    .spawner = manager->spawner,
                                                                    .sendings = manager->sendings,
                                                                    .shutdown = on_shutdown,
                                                                    .ctx = manager});
  manager->deaf = tg_deaf_new(&(struct tg_deaf_options){.env = env,
                                                        .workers = manager->workers,
                                                        .commands = manager->commands,
                                                        .events = &of_deaf,
                                                        .ctx = manager});
  manager->redis_commands = tg_redis_commands_new(env);
  manager->optional = tg_optional_new(env, &of_optional, manager);
  manager->left_sinks = tg_left_sinks_new(env);
  manager->letters = tg_letters_new(env, manager->workers);
  manager->taps = tg_taps_new(manager->workers);
  manager->reshard = tg_reshard_new(&(struct tg_reshard_options){.env = &manager->env,
                                                                 .fetch = manager->fetch,
                                                                 .slots = manager->slots,
                                                                 .workers = manager->workers,
                                                                 .spawner = manager->spawner,
                                                                 .members = manager->members,
                                                                 .member = manager->member,
                                                                 .events = &of_reshard,
                                                                 .ctx = manager});
  manager->upgrade = tg_manager_make_upgrade(manager);
  tg_begin_offer(manager);
}

struct tg_manager *tg_manager_new(const struct tg_manager_options *options, struct tg_error *error)
{
  const json_t *handed = options->successor ? options->successor->handed : NULL;
  int lock_fd = handed ? tg_handed_fd(handed, "lock") : tg_lock_state_dir(options->config->state_dir, error);
  if (lock_fd < 0)
    return NULL;
  struct tg_manager *manager = tg_calloc(1, sizeof *manager);
  manager->options = *options;
  manager->script_path = options->script_path ? tg_strdup(options->script_path) : NULL;
  manager->lock_fd = lock_fd;
  manager->began = tg_now();
  make_env(manager);
  make_rooms(manager);
  manager->pulse = tg_timer_new(options->loop, manager);
  manager->end_timer = tg_timer_new(options->loop, manager);
  open_poison(manager);
  return manager;
}

static void on_pulse(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  tg_ms now = tg_now();
  tg_workers_watch(manager->workers, now);
  tg_manager_try_to_run(manager, now);
  tg_spawn_look(manager->spawner);
  tg_progress_draw(manager);
  tg_members_tick(manager->members, now);
  if (tg_spawn_all_up(manager->spawner))
    tg_optional_look(manager->optional, now);
  if (manager->env.shards.table)
    tg_poison_tidy(manager->env.shards.table, manager->env.next.table);
  tg_figures_look(manager->workers);
  if (manager->phase == TG_MANAGER_RUNNING)
    tg_left_sinks_look(manager->left_sinks);
  tg_letters_look(manager->letters);
  if (!manager->env.upgrading)
    tg_reshard_look(manager->reshard);
  tg_cluster_front_look(manager, now);
  tg_steady_look(&manager->steady);
  tg_spare_memory_look(now);
  tg_log_tick();
  uv_timer_set_repeat(timer, tg_spawn_all_up(manager->spawner) ? PULSE_CALM : PULSE_BUSY);
}

void tg_manager_start(struct tg_manager *manager)
{
  const struct tg_successor *successor = manager->options.successor;
  struct tg_error error = {0};
  tg_spare_memory_look(tg_now());
  uv_timer_start(manager->pulse, on_pulse, PULSE_BUSY, PULSE_BUSY);
  if (!successor || !successor->handed) {
    manager->phase = TG_MANAGER_FETCHING;
    tg_fetch_at_start(manager->fetch);
  } else if (!tg_manager_take_over(manager, successor->handed, &error)) {
    tg_manager_fail(manager, TG_EXIT_FAILED, "%s", error.message);
  }
}

void tg_manager_serve(struct tg_manager *manager, const struct tg_hook_request *request,
                      tg_hook_answered *answered, void *ctx)
{
  struct tg_hooks *hooks = manager->env.hooks;
  hooks->route(hooks->script, request, answered, ctx);
}

void tg_manager_reconfigure(struct tg_manager *manager, const struct tg_config *config)
{
  struct tg_problems keys = tg_config_needs_restart(manager->env.config, config);
  json_t *list = json_array();
  manager->env.config = config;
  for (int i = 0; i < keys.count; i++) {
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TOLD(KEY, keys.items[i])),
                "%s has changed, and needs a restart to take effect", keys.items[i]);
    json_array_append_new(list, json_string(keys.items[i]));
  }
  tg_problems_free(&keys);
  tg_reload_note_restart(manager->reloads, list);
  tg_redis_commands_look(manager->redis_commands);
  tg_optional_reloaded(manager->optional);
  tg_log_level_reloaded(manager);
}

/* ---- what others ask ---- */

void tg_manager_call(struct tg_manager *manager, enum tg_method method, const json_t *args,
                     tg_manager_reply *reply, void *ctx)
{
  tg_call(manager->env.calls, method, args, reply, ctx);
}

void tg_manager_call_default(struct tg_manager *manager, enum tg_method method, const json_t *args,
                             tg_manager_reply *reply, void *ctx)
{
  tg_call_default(manager->env.calls, method, args, reply, ctx);
}

void tg_manager_shard_info(struct tg_manager *manager, int shard_id, tg_manager_reply *reply, void *ctx)
{
  const struct tg_managed_shard *shard = tg_shard_set_find(tg_current_set(&manager->env), shard_id);
  json_t *args = json_pack("[i]", shard_id);
  if (!shard || !tg_post_elsewhere(manager->env.post, shard, TG_METHOD_manager_get_shard_info, args,
                                   SHARD_INFO_TIMEOUT, reply, ctx))
    tg_call_default(manager->env.calls, TG_METHOD_manager_get_shard_info, args, reply, ctx);
  json_decref(args);
}

bool tg_manager_forget_sink(struct tg_manager *manager, const char *name, struct tg_error *error)
{
  return tg_left_sinks_forget(manager->left_sinks, name, error);
}

void tg_manager_reload(struct tg_manager *manager, tg_manager_reply *reply, void *ctx)
{
  tg_reload_start(manager->reloads, reply, ctx);
}

void tg_manager_reconnect(struct tg_manager *manager, int shard_id, tg_manager_reply *reply, void *ctx)
{
  tg_commands_reconnect(manager->commands, shard_id, reply, ctx);
}

void tg_manager_queue_types(struct tg_manager *manager, const struct tg_queue_question *question,
                            tg_manager_reply *reply, void *ctx)
{
  tg_queues_ask_types(manager->workers, &manager->env, question, reply, ctx);
}

void tg_manager_discard(struct tg_manager *manager, const struct tg_queue_question *question,
                        tg_manager_reply *reply, void *ctx)
{
  tg_queues_discard_all(manager->workers, &manager->env, question, reply, ctx);
}

uint64_t tg_manager_identify(struct tg_manager *manager, int shard_id, const json_t *body,
                             tg_identify_answer *answer, void *ctx)
{
  return tg_slots_identify(manager->slots, shard_id, body, answer, ctx);
}

uint64_t tg_manager_await_turn(struct tg_manager *manager, int shard_id, tg_identify_answer *answer,
                               void *ctx)
{
  return tg_slots_await_turn(manager->slots, shard_id, answer, ctx);
}

void tg_manager_identify_gone(struct tg_manager *manager, uint64_t id)
{
  tg_slots_identify_gone(manager->slots, id);
}

/* ---- the end ---- */

static void free_rooms(struct tg_manager *manager)
{
  tg_deaf_free(manager->deaf);
  tg_taps_free(manager->taps);
  tg_reshard_free(manager->reshard);
  tg_upgrade_free(manager->upgrade);
  tg_left_sinks_free(manager->left_sinks);
  json_decref(manager->storm);
  tg_optional_free(manager->optional);
  tg_redis_commands_free(manager->redis_commands);
  tg_commands_free(manager->commands);
  tg_presences_free(manager->presences);
  tg_members_free(manager->members);
  tg_sendings_free(manager->sendings);
  tg_reloads_free(manager->reloads);
  tg_spawner_free(manager->spawner);
  tg_workers_free(manager->workers);
  tg_letters_free(manager->letters); /* workers that are gone answer it once more */
  tg_post_end(manager->env.post);
  tg_shared_presences_end(manager->shared_presences);
  tg_member_free(manager->member); /* workers that are gone answer it once more */
  tg_post_free(manager->env.post);
  tg_shared_presences_free(manager->shared_presences);
  tg_slots_free(manager->slots);
  tg_fetch_free(manager->fetch);
}

static void free_env(struct tg_manager_env *env)
{
  tg_calls_free(env->calls);
  tg_shard_set_clear(&env->next);
  tg_shard_set_clear(&env->shards);
  free(env->state_dir);
}

void tg_manager_free(struct tg_manager *manager)
{
  if (!manager)
    return;
  manager->phase = TG_MANAGER_OVER;
  manager->env.stopping = true;
  tg_progress_end();
  tg_upgrade_end(manager->upgrade);
  tg_reloads_end(manager->reloads);
  tg_fetch_cancel(manager->fetch);
  tg_optional_end(manager->optional);
  tg_deaf_end(manager->deaf);
  tg_reshard_end(manager->reshard, true);
  tg_slots_end(manager->slots, "the gateway is gone");
  tg_letters_end(manager->letters);
  tg_members_end(manager->members);
  tg_sendings_stop(manager->sendings);
  tg_calls_end(manager->env.calls);
  tg_workers_end(manager->workers);
  tg_spawner_end(manager->spawner, "the gateway is gone");
  free_rooms(manager);
  tg_steady_end(&manager->steady);
  free_env(&manager->env);
  tg_poison_close();
  close(manager->lock_fd);
  tg_timer_free(manager->pulse);
  tg_timer_free(manager->end_timer);
  free(manager->script_path);
  free(manager);
}
