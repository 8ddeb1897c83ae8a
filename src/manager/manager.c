#include "manager/manager.h"

#include "base/buf.h"
#include "base/log.h"
#include "config/config_warnings.h"
#include "manager/internal.h"
#include "manager/lock.h"
#include "shared/poison.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  PULSE_BUSY = 250, /* ms, while shards come up */
  PULSE_CALM = 1000,
  LOADING_TIME = 10000, /* ms the first start waits for slow workers, on top of the script's own time */
};

static void free_when_closed(uv_handle_t *handle)
{
  struct tg_manager *manager = handle->data;
  if (--manager->handles == 0)
    free(manager);
}

static void init_timer(struct tg_manager *manager, uv_timer_t *timer)
{
  uv_timer_init(manager->loop, timer);
  timer->data = manager;
  manager->handles++;
}

/* Before any of the script runs: what was the end of the last manager is not to
 * be that of this one. */
static void open_poison(struct tg_manager *manager)
{
  const struct tg_reload *reload = &manager->options.reload;
  struct tg_error error;
  if (!tg_poison_open(manager->state_dir, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s: what of the script ends a process may end the next start, too",
           error.message);
  tg_poison_script(reload->sum ? reload->sum(reload->ctx) : 0);
  tg_deaths_look(manager, TG_POISON_MANAGER, false);
}

struct tg_manager *tg_manager_new(const struct tg_manager_options *options, struct tg_error *error)
{
  int lock_fd = tg_lock_state_dir(options->config->state_dir, error);
  if (lock_fd < 0)
    return NULL;
  struct tg_manager *manager = tg_calloc(1, sizeof *manager);
  manager->options = *options;
  manager->loop = options->loop;
  manager->config = options->config;
  manager->hooks = options->hooks;
  manager->script_path = options->script_path ? tg_strdup(options->script_path) : NULL;
  manager->state_dir = tg_strdup(options->config->state_dir);
  manager->bot = tg_identity_bot(options->config->token, 0);
  manager->bot_with_intents = tg_identity_bot(options->config->token, options->config->intents);
  manager->lock_fd = lock_fd;
  manager->began = tg_now();
  tg_steady_begin(&manager->steady, manager->state_dir);
  manager->stamp = tg_steady_clock();
  snprintf(manager->host_name, sizeof manager->host_name, "%08x%08x", (unsigned)tg_random(UINT32_MAX),
           (unsigned)tg_random(UINT32_MAX));
  manager->generation = 1;
  init_timer(manager, &manager->pulse);
  init_timer(manager, &manager->slot_timer);
  init_timer(manager, &manager->fetch_timer);
  init_timer(manager, &manager->gate_timer);
  init_timer(manager, &manager->send_timer);
  init_timer(manager, &manager->end_timer);
  open_poison(manager);
  return manager;
}

void tg_manager_fail(struct tg_manager *manager, int exit_code, const char *format, ...)
{
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (tg_manager_stopping(manager))
    return;
  tg_log(TG_ERROR, TG_NO_SHARD, "%s", text);
  tg_manager_stop(manager, true, exit_code);
}

void tg_manager_reconfigure(struct tg_manager *manager, const struct tg_config *config)
{
  struct tg_problems keys = tg_config_needs_restart(manager->config, config);
  manager->config = config;
  json_decref(manager->needs_restart);
  manager->needs_restart = json_array();
  for (int i = 0; i < keys.count; i++) {
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TOLD(KEY, keys.items[i])),
                "%s has changed, and needs a restart to take effect", keys.items[i]);
    json_array_append_new(manager->needs_restart, json_string(keys.items[i]));
  }
  tg_problems_free(&keys);
  tg_slots_client_reconfigured(manager);
}

/* ---- start: which shards, in which workers ---- */

/* Whether a table of so many shards holds sessions that may be resumed. */
static bool sessions_kept(struct tg_manager *manager, int total)
{
  struct tg_shard_table *table =
      tg_shard_table_open(manager->state_dir, total, tg_identity(manager->bot_with_intents, total), NULL);
  bool kept = false;
  struct tg_session session;
  for (int i = 0; table && i < total && !kept; i++)
    kept = tg_session_load(tg_shard_table_row(table, i), &session);
  tg_shard_table_close(table);
  return kept;
}

static int choose_total(struct tg_manager *manager)
{
  if (manager->config->total_shards > 0)
    return manager->config->total_shards;
  json_t *args = json_array();
  json_array_append_new(args, tg_gateway_info_to_json(&manager->info));
  int usual = tg_total_shards_of(manager->info.shards, manager->info.max_concurrency);
  int total =
      tg_manager_ask_int(manager, TG_METHOD_manager_calculate_total_shards, args, 1, TG_SHARDS_MAX, usual);
  json_decref(args);
  /* Sessions that live are worth more than a better number: identifies are scarce. */
  int before = tg_shard_table_peek(manager->state_dir, manager->bot_with_intents);
  if (before > 0 && before != total && !tg_hooked(manager->hooks, TG_METHOD_manager_calculate_total_shards) &&
      sessions_kept(manager, before)) {
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(SHARDS, before)),
                "keeping the number of shards, whose sessions can be resumed; %d are recommended now", total);
    return before;
  }
  return total;
}

static bool choose_range(struct tg_manager *manager)
{
  const struct tg_config *config = manager->config;
  struct tg_shard_range *range = &manager->range;
  range->total = choose_total(manager);
  range->first = config->first_shard_id;
  range->last = config->last_shard_id >= 0 ? config->last_shard_id : range->total - 1;
  if (range->first <= range->last && range->last < range->total)
    return true;
  tg_manager_fail(
      manager, TG_EXIT_CONFIG,
      "first_shard_id %d and last_shard_id %d do not fit %d shards (they count from 0). Set total_shards, "
      "or leave the two out",
      range->first, range->last, range->total);
  return false;
}

static void assign_workers(struct tg_manager *manager)
{
  const struct tg_shard_range *range = &manager->range;
  int count = range->last - range->first + 1;
  manager->usual_workers = tg_worker_count(manager->config, range, (int)uv_available_parallelism());
  manager->shards = tg_calloc((size_t)count, sizeof *manager->shards);
  bool free_choice = tg_hooked(manager->hooks, TG_METHOD_manager_calculate_worker_id);
  for (int i = 0; i < count; i++) {
    struct tg_managed_shard *shard = &manager->shards[i];
    shard->id = range->first + i;
    json_t *args = json_pack("[i]", shard->id);
    shard->worker_id =
        tg_manager_ask_int(manager, TG_METHOD_manager_calculate_worker_id, args, 0,
                           free_choice ? TG_MAX_WORKERS - 1 : manager->usual_workers - 1,
                           tg_worker_of(manager->config, range, manager->usual_workers, shard->id));
    json_decref(args);
    if (shard->worker_id >= manager->worker_count)
      manager->worker_count = shard->worker_id + 1;
    struct tg_shard_row *row = tg_shard_table_row(manager->table, shard->id);
    atomic_store(&row->state, TG_SHARD_OFFLINE);
    atomic_store(&row->worker_id, shard->worker_id);
    atomic_store(&row->rtt, -1);
  }
  manager->workers = tg_calloc((size_t)manager->worker_count, sizeof *manager->workers);
}

static void warn_delay(const struct tg_manager *manager)
{
  struct tg_problems warnings = {0};
  tg_config_warn_delay(manager->config, manager->info.url, &warnings);
  for (int i = 0; i < warnings.count; i++)
    tg_log(TG_WARN, TG_NO_SHARD, "%s", warnings.items[i]);
  tg_problems_free(&warnings);
}

void tg_manager_begin(struct tg_manager *manager)
{
  struct tg_error error = {0};
  const struct tg_proxy *proxy = tg_proxy_for_url(manager->options.proxies, manager->info.url);
  if (tg_manager_stopping(manager) || !choose_range(manager))
    return;
  if (!tg_proxies_tunnel(manager->options.proxies, manager->info.url, &error)) {
    tg_manager_fail(manager, TG_EXIT_CONFIG, "%s", error.message);
    return;
  }
  int total = manager->range.total;
  manager->table =
      tg_shard_table_open(manager->state_dir, total, tg_identity(manager->bot_with_intents, total), &error);
  if (!manager->table) {
    tg_manager_fail(manager, tg_state_dir_exit(&error), "%s", error.message);
    return;
  }
  tg_shard_table_set_bot(manager->table, manager->bot_with_intents);
  tg_shard_table_clear_counters(manager->table);
  assign_workers(manager);
  tg_slots_begin(manager);
  int count = tg_manager_shard_count(manager);
  tg_log(TG_INFO, TG_NO_SHARD, "%d shard%s (%d to %d of %d) in %d worker%s, at %s%s%s", count,
         count == 1 ? "" : "s", manager->range.first, manager->range.last, total, manager->worker_count,
         manager->worker_count == 1 ? "" : "s", manager->info.url, proxy ? " over the proxy " : "",
         proxy ? proxy->where : "");
  warn_delay(manager);
  manager->phase = TG_MANAGER_LOADING;
  manager->loading_until = tg_now() + LOADING_TIME + manager->config->script.load_budget;
  tg_workers_start(manager);
}

void tg_manager_tell(struct tg_manager *manager, enum tg_manager_news news)
{
  if (manager->options.on_news)
    manager->options.on_news(manager->options.ctx, news);
}

static void run(struct tg_manager *manager)
{
  manager->phase = TG_MANAGER_RUNNING;
  tg_spawn(manager);
  if (!tg_manager_stopping(manager))
    tg_manager_tell(manager, TG_MANAGER_IS_RUNNING);
}

void tg_manager_worker_loaded(struct tg_manager *manager)
{
  if (manager->phase == TG_MANAGER_LOADING && !tg_workers_loading(manager))
    run(manager);
}

/* ---- the pulse ---- */

static void on_pulse(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  tg_ms now = tg_now();
  tg_workers_watch(manager, now);
  if (manager->phase == TG_MANAGER_LOADING && now >= manager->loading_until)
    run(manager); /* slow workers get their shards when they are there */
  tg_spawn_look(manager);
  tg_progress_draw(manager);
  tg_members_tick(manager, now);
  if (manager->table)
    tg_poison_tidy(manager->table);
  tg_figures_look(manager);
  tg_steady_look(&manager->steady);
  tg_log_tick();
  manager->pulse_at = now;
  uv_timer_set_repeat(timer, manager->all_up ? PULSE_CALM : PULSE_BUSY);
}

void tg_manager_start(struct tg_manager *manager)
{
  manager->phase = TG_MANAGER_FETCHING;
  uv_timer_start(&manager->pulse, on_pulse, PULSE_BUSY, PULSE_BUSY);
  tg_fetch_at_start(manager);
}

/* ---- the end ---- */

void tg_manager_free(struct tg_manager *manager)
{
  if (!manager || manager->freed)
    return;
  manager->freed = true;
  manager->phase = TG_MANAGER_OVER;
  tg_progress_end(manager);
  tg_reload_end(manager);
  tg_fetch_cancel(manager);
  tg_slots_end(manager, "the gateway is gone");
  tg_members_end(manager);
  tg_sendings_stop(manager);
  tg_methods_end(manager);
  tg_workers_free(manager);
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    tg_waiters_end(&manager->shards[i].start_waiters, "stopping", "the gateway is gone");
    json_decref(manager->shards[i].presence);
  }
  tg_waiters_end(&manager->spawn_waiters, "stopping", "the gateway is gone");
  json_decref(manager->presence);
  json_decref(manager->needs_restart);
  free(manager->shards);
  tg_broker_free(manager->broker);
  tg_broker_client_free(manager->client);
  tg_scheduler_free(manager->scheduler);
  tg_ledger_close(manager->ledger);
  tg_steady_end(&manager->steady);
  tg_shard_table_close(manager->table);
  tg_poison_close();
  free(manager->script_path);
  free(manager->state_dir);
  close(manager->lock_fd);
  uv_close((uv_handle_t *)&manager->pulse, free_when_closed);
  uv_close((uv_handle_t *)&manager->slot_timer, free_when_closed);
  uv_close((uv_handle_t *)&manager->fetch_timer, free_when_closed);
  uv_close((uv_handle_t *)&manager->gate_timer, free_when_closed);
  uv_close((uv_handle_t *)&manager->send_timer, free_when_closed);
  uv_close((uv_handle_t *)&manager->end_timer, free_when_closed);
}
