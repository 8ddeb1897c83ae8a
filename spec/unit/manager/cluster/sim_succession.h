#pragma once

/* A live upgrade, played. For sim_hosts.h. */

#include "sim_links.h"

/* Another program in its place, as member_succeed.c has it: workers, and so shards, have gone on. */
static void be_succeeded(struct sim_host *host)
{
  struct tg_cluster *before = host->cluster;
  struct tg_cluster_succession succession = {.total = host->changed ? NEW_SHARDS : SHARDS,
                                             .at = host->handed_at};
  trace("host %d is another program, after %lld ms", number_of(host),
        (long long)(clock_of(host) - host->handed_at));
  host->execs = false;
  make_cluster(host);
  tg_cluster_succeed(host->cluster, &succession);
  tell_disk(host);
  for (int i = 0; i < PLACES; i++) {
    struct sim_shard *shard = &host->shards[i];
    if (!is_there(host, i) || (i < SHARDS && host->changed))
      continue;
    tg_ms until = tg_cluster_lease_until(before, told(host, i));
    if (shard->fence && until)
      tg_cluster_runs_on(host->cluster, told(host, i), until);
    if (shard->phase == ASKING)
      begin_phase(shard, CONNECTING, 0);
    else if (shard->phase == UP)
      say_runs(host, i); /* its worker is replaced, and it resumes: so much matters of that */
  }
  if (host->draining)
    tg_cluster_drain(host->cluster, chance(2));
  tg_cluster_free(before);
  host->rests_till = world.now + 1000;
  world.upgrades++;
}

/* A program rests until it may go, or has come through its probation; or it falls over in it, and the one
 * before goes on by what it had handed on. */
static void step_succession(struct sim_host *host)
{
  bool is_new = host->comes_back || host->handed_at;
  if (!host->rests_till || host->stopped)
    return;
  if (!is_new && tg_cluster_at_rest(host->cluster, true)) {
    host->handed_at = clock_of(host);
    host->comes_back = chance(3) == 0;
  } else if (host->comes_back && is_new && chance(50) == 0) {
    host->comes_back = false;
  } else {
    if (world.now >= host->rests_till) {
      tg_cluster_rest(host->cluster, false);
      host->rests_till = host->handed_at = 0;
      host->comes_back = false;
    }
    return;
  }
  host->execs = host->stopped = true;
  host->runs_at = world.now + (chance(4) ? between(10, 500) : between(500, 9000));
}
