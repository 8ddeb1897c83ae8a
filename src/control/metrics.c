#include "control/metrics.h"

#include "base/clock.h"
#include "control/cluster.h"
#include "control/deaf.h"
#include "control/resharding.h"
#include "control/routes.h"

#include <string.h>

void tg_label_process(struct tg_exposition *exposition, int worker)
{
  if (worker == TG_MANAGER_ITSELF)
    tg_label(exposition, "worker", "manager");
  else
    tg_label_int(exposition, "worker", worker);
}

static void gauge(struct tg_exposition *exposition, const char *name, const char *help, int64_t value)
{
  tg_family(exposition, name, "gauge", help);
  tg_sample_uint(exposition, value > 0 ? (uint64_t)value : 0);
}

static void gauge_ms(struct tg_exposition *exposition, const char *name, const char *help, int64_t ms)
{
  tg_family(exposition, name, "gauge", help);
  tg_sample_ms(exposition, ms);
}

/* ---- the gateway ---- */

static void write_gateway(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_gateway_status status;
  tg_gateway_status(manager, &status);
  tg_family(exposition, "tidegate_build_info", "gauge", "The version that runs.");
  tg_label(exposition, "version", TG_VERSION);
  tg_sample_uint(exposition, 1);
  gauge_ms(exposition, "tidegate_start_time_seconds", "When the gateway was started, in seconds since 1970.",
           tg_wall_at(status.began));
  gauge(exposition, "tidegate_ready", "1 when all shards are Connected.",
        status.ready);
  gauge(exposition, "tidegate_script_generation", "Counts the reloads that took effect, from 1.",
        status.generation);
  struct tg_reload_counts reloads = tg_gateway_reloads(manager);
  tg_family(exposition, "tidegate_reloads_total", "counter", "Reloads of the script, by how they went.");
  tg_label(exposition, "result", "done");
  tg_sample_uint(exposition, reloads.done);
  tg_label(exposition, "result", "failed");
  tg_sample_uint(exposition, reloads.failed);
  struct tg_upgrade_counts upgrades = tg_manager_upgrade_counts(manager);
  tg_family(exposition, "tidegate_upgrades_total", "counter",
            "Live upgrades, by how they ended: failed are those that were refused or have gone back.");
  tg_label(exposition, "result", "done");
  tg_sample_uint(exposition, upgrades.done);
  tg_label(exposition, "result", "failed");
  tg_sample_uint(exposition, upgrades.failed);
}

static void write_identifies(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_identify_status budget;
  tg_gateway_identifies(manager, &budget);
  gauge(exposition, "tidegate_identify_limit", "Session starts that Discord allows in a window.",
        budget.total);
  gauge(exposition, "tidegate_identify_remaining", "Session starts left of the window.", budget.remaining);
  gauge(exposition, "tidegate_identify_reserve", "Session starts that are kept back.", budget.reserve);
  gauge_ms(exposition, "tidegate_identify_reset_seconds", "Until the window ends; 0: none runs.",
           budget.reset_after);
  gauge(exposition, "tidegate_identify_max_concurrency", "Buckets: so many shards identify at a time.",
        budget.max_concurrency);
  gauge(exposition, "tidegate_identify_waiting", "Shards that wait for their turn to identify.",
        budget.waiting);
  gauge(exposition, "tidegate_identify_held_back",
        "1 when only the reserve is left, and only resumes go out.", budget.held_back);
}

static void write_resharding(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_resharding_status status;
  tg_gateway_resharding(manager, &status);
  tg_resharding_metrics(exposition, &status);
}

static void write_cluster(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_cluster_status status;
  if (tg_manager_cluster(manager, &status))
    tg_cluster_metrics(exposition, &status);
}

/* ---- processes ---- */

static void write_workers(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_worker_status worker;
  tg_family(exposition, "tidegate_worker_up", "gauge", "1 when the worker runs and has loaded its script.");
  TG_EACH_WORKER(manager, i)
  {
    tg_gateway_worker(manager, i, &worker);
    tg_label_process(exposition, i);
    tg_sample_uint(exposition, strcmp(worker.state, "running") == 0);
  }
  tg_family(exposition, "tidegate_worker_shards", "gauge", "Shards of the worker.");
  TG_EACH_WORKER(manager, i)
  {
    tg_gateway_worker(manager, i, &worker);
    tg_label_process(exposition, i);
    tg_sample_uint(exposition, (uint64_t)worker.shards);
  }
  tg_family(exposition, "tidegate_worker_restarts_total", "counter",
            "Processes that took the place of another.");
  TG_EACH_WORKER(manager, i)
  {
    tg_gateway_worker(manager, i, &worker);
    tg_label_process(exposition, i);
    tg_sample_uint(exposition, (uint64_t)worker.restarts);
  }
  tg_family(exposition, "tidegate_worker_script_generation", "gauge",
            "Generation of the script that the worker runs.");
  TG_EACH_PAGE(manager, 0, i, stats)
  {
    tg_label_process(exposition, i);
    tg_sample_uint(exposition, (uint64_t)atomic_load(&stats->generation));
  }
  tg_family(exposition, "tidegate_worker_loop_lag_seconds", "gauge",
            "The longest time that the event loop was busy at a stretch, since the last scrape and of the "
            "last minute.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, i, stats)
  {
    (void)stats;
    tg_label_process(exposition, i);
    tg_sample_ms(exposition, tg_gateway_loop_lag(manager, i));
  }
}

static void write_usage(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_process_usage usage;
  tg_family(exposition, "tidegate_process_cpu_seconds_total", "counter",
            "Processor time, user and system, of all processes that the worker has had.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, i, stats)
  {
    (void)stats;
    tg_gateway_usage(manager, i, &usage);
    tg_label_process(exposition, i);
    tg_sample_ms(exposition, (int64_t)usage.cpu);
  }
  tg_family(exposition, "tidegate_process_resident_memory_bytes", "gauge", "Resident memory of the process.");
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, i, stats)
  {
    (void)stats;
    tg_gateway_usage(manager, i, &usage);
    tg_label_process(exposition, i);
    tg_sample_uint(exposition, usage.memory);
  }
}

static void write_live(struct tg_exposition *exposition, const struct tg_live *live)
{
  gauge(exposition, "tidegate_live_viewers", "Who looks at the status page, or at GET /live.",
        tg_live_viewers(live));
  tg_family(exposition, "tidegate_live_snapshots_total", "counter",
            "Snapshots made for all of them together.");
  tg_sample_uint(exposition, tg_live_snapshots(live));
}

void tg_metrics_write(struct tg_manager *manager, struct tg_live *live, struct tg_buf *out)
{
  struct tg_exposition exposition = {.out = out};
  write_gateway(&exposition, manager);
  write_identifies(&exposition, manager);
  tg_deaf_metrics(&exposition, manager);
  write_resharding(&exposition, manager);
  write_cluster(&exposition, manager);
  write_workers(&exposition, manager);
  write_usage(&exposition, manager);
  write_live(&exposition, live);
  tg_metrics_sinks(&exposition, manager);
  tg_metrics_events(&exposition, manager);
  tg_metrics_lua(&exposition, manager);
  tg_metrics_shards(&exposition, manager);
  tg_metrics_scripts(&exposition, manager);
}

void tg_route_metrics(struct tg_request *request)
{
  struct tg_buf text = {0};
  tg_metrics_write(request->manager, request->live, &text);
  tg_respond(request, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, text.data, text.length);
  tg_buf_free(&text);
}
