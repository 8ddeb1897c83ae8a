#include "manager/status.h"

#include "manager/internal.h"

static const char *phase_name(const struct tg_manager *manager)
{
  if (tg_manager_stopping(manager))
    return "stopping";
  return manager->all_up ? "ready" : "starting";
}

void tg_gateway_status(struct tg_manager *manager, struct tg_gateway_status *status)
{
  *status = (struct tg_gateway_status){
      .phase = phase_name(manager),
      .generation = manager->generation,
      .began = manager->began,
      .uptime = tg_now() - manager->began,
      .total = manager->range.total,
      .first = manager->range.first,
      .last = manager->range.last,
      .eta = -1,
      .workers = manager->worker_count,
  };
  if (!manager->shards) {
    status->total = status->first = 0;
    status->last = -1;
    return;
  }
  status->up = tg_spawn_count_up(manager);
  if (manager->spawned && !tg_slots_held_back(manager))
    status->eta = tg_scheduler_eta(manager->scheduler, tg_now());
}

bool tg_gateway_waits(struct tg_manager *manager, char *text, size_t size, tg_ms *left)
{
  if (manager->phase != TG_MANAGER_FETCHING || !tg_fetch_is_put_off(manager, text, size))
    return false;
  tg_ms rest = manager->fetch.wait_until - tg_now();
  *left = rest > 0 ? rest : 0;
  return true;
}

struct tg_shard_row *tg_gateway_shard(struct tg_manager *manager, int shard_id)
{
  return tg_manager_shard(manager, shard_id) ? tg_shard_table_row(manager->table, shard_id) : NULL;
}

void tg_gateway_shard_place(struct tg_manager *manager, int shard_id, int *worker, int *generation)
{
  *worker = tg_manager_shard(manager, shard_id)->worker_id;
  *generation = manager->workers[*worker].generation;
}

static const char *worker_state(const struct tg_managed_worker *worker)
{
  if (tg_manager_stopping(worker->manager))
    return worker->process ? "running" : "stopped";
  if (!worker->wanted)
    return "stopped";
  if (worker->state == TG_WORKER_READY)
    return "running";
  return worker->incarnation <= 1 && worker->process ? "starting" : "restarting";
}

void tg_gateway_worker(struct tg_manager *manager, int id, struct tg_worker_status *status)
{
  const struct tg_managed_worker *worker = &manager->workers[id];
  *status = (struct tg_worker_status){
      .pid = worker->process ? worker->process->pid : 0,
      .state = worker->manager ? worker_state(worker) : "stopped",
      .restarts = worker->incarnation > 1 ? (int)worker->incarnation - 1 : 0,
      .generation = worker->generation,
  };
  for (int i = 0; i < tg_manager_shard_count(manager); i++)
    status->shards += manager->shards[i].worker_id == id;
}

void tg_gateway_identifies(struct tg_manager *manager, struct tg_identify_status *status)
{
  *status = (struct tg_identify_status){.max_concurrency = manager->info.max_concurrency};
  if (!manager->ledger)
    return;
  tg_ms now = tg_steady_clock(), reset_at = tg_ledger_reset_at(manager->ledger);
  status->total = tg_ledger_total(manager->ledger);
  status->remaining = tg_ledger_remaining(manager->ledger, now);
  status->reset_after = reset_at > now ? reset_at - now : 0;
  status->reserve = tg_ledger_reserve(manager->ledger, manager->config->resharding.identify_reserve);
  status->waiting = tg_scheduler_waiting(manager->scheduler);
  status->held_back = tg_slots_held_back(manager);
}

json_t *tg_gateway_bot(struct tg_manager *manager)
{
  struct tg_gateway_info info = manager->info;
  struct tg_identify_status identifies;
  if (!info.url[0])
    return NULL;
  tg_gateway_identifies(manager, &identifies);
  if (manager->ledger) {
    info.total = identifies.total;
    info.remaining = identifies.remaining;
    info.reset_after = identifies.reset_after;
  }
  return tg_gateway_info_to_json(&info);
}
