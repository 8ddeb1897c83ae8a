/* Another program takes this one's place (manager/upgrade/), within the time of a lease. What a shard is, and
 * until when its lease is counted on, stands in its row, by which its worker goes meanwhile; this is the
 * rest.
 */

#include "base/buf.h"
#include "base/log.h"
#include "manager/cluster/member_impl.h"
#include "net/redis_url.h"

#include <stdio.h>
#include <string.h>

/* Of what is handed on: a program that knows another one cannot follow. */
enum { FORMAT = 1 };

/* ---- at rest ---- */

void tg_member_rest(struct tg_member *member, bool rest)
{
  if (member->stopped || !member->cluster)
    return;
  tg_redis_link_rest(member->link, rest);
  tg_cluster_rest(member->cluster, rest);
  tg_member_pump(member);
}

static bool has_tasks(const struct tg_member *member)
{
  const struct tg_member_side *side = &member->sides[member->side];
  for (int i = 0; i < side->count; i++)
    if (side->list[i].tasks)
      return true;
  return false;
}

bool tg_member_at_rest(const struct tg_member *member, bool sure, const char **waits_for)
{
  if (sure && !tg_member_is_connected(member))
    *waits_for = "the cluster's Redis";
  else if (has_tasks(member) || !tg_cluster_at_rest(member->cluster, false))
    *waits_for = "a shard that is on its way from a host of the cluster to another";
  else if (sure && !tg_cluster_at_rest(member->cluster, true))
    *waits_for = "the cluster's Redis, which is to say that it knows what this host has";
  else
    return true;
  return false;
}

bool tg_member_changes(const struct tg_member *member)
{
  return member->to > 0 || member->view.to > 0 || member->postponed;
}

/* ---- on this side ---- */

json_t *tg_member_hand_over(const struct tg_member *member)
{
  const struct tg_cluster_view *view = &member->view;
  json_t *json =
      json_pack("{s:i, s:s, s:s, s:s, s:b, s:b, s:o}", "format", FORMAT, "name", member->name, "host",
                member->host, "where", tg_redis_link_where(member->link), "draining", member->draining,
                "anyway", member->drains_anyway, "reads", tg_redis_link_hand_over(member->link));
  json_t *process = json_pack("{s:s, s:I, s:I, s:I, s:I}", "home", member->home, "life",
                              (json_int_t)member->life, "mark", (json_int_t)view->mark, "mark_kept",
                              (json_int_t)member->mark_kept, "at", (json_int_t)tg_boot_clock());
  json_t *counted =
      json_pack("{s:I, s:I}", "moves", (json_int_t)view->moves, "lost_leases", (json_int_t)view->lost_leases);
  json_object_update_new(json, process);
  json_object_update_new(json, counted);
  return json;
}

/* ---- on the other ---- */

static int64_t number(const json_t *json, const char *name)
{
  return json_integer_value(json_object_get(json, name));
}

static bool is_text(const json_t *json, const char *name, const char *wanted)
{
  const char *text = json_string_value(json_object_get(json, name));
  return text && wanted && strcmp(text, wanted) == 0;
}

static bool is_where(const json_t *handed, const char *text)
{
  struct tg_redis_url url;
  struct tg_error error;
  bool same = tg_redis_url_parse(text, &url, &error) && is_text(handed, "where", url.name);
  tg_redis_url_free(&url);
  return same;
}

bool tg_member_could_follow(const struct tg_config *config, const json_t *handed, struct tg_error *error)
{
  if (!config->cluster.url != !handed)
    return tg_fail(error, "restart", "it is %s host of a cluster now: restart it", handed ? "no" : "to be a");
  if (!handed)
    return true;
  if (number(handed, "format") != FORMAT)
    return tg_fail(error, "restart",
                   "hosts of a cluster are kept in another way by this version: restart it");
  if (!is_text(handed, "name", config->cluster.name) || !is_text(handed, "host", config->cluster.host) ||
      !is_where(handed, config->cluster.url))
    return tg_fail(error, "restart", "it is to be another host, or of another cluster, now: restart it");
  return true;
}

/* The program in between, which has failed, may have lost it. */
static void forget_shard(struct tg_managed_shard *shard)
{
  shard->held = shard->told = shard->wanted = shard->was_up = shard->had_session = false;
}

static void take_shards(struct tg_member *member)
{
  const struct tg_shard_set *shards = &member->env->shards;
  for (int i = 0; i < shards->count; i++) {
    struct tg_managed_shard *shard = &shards->list[i];
    struct tg_shard_row *row = tg_shard_row_of(shard);
    tg_ms until = atomic_load(&row->lease_until);
    if (shard->held && until != 0 && atomic_load(&row->fence) != 0)
      tg_cluster_runs_on(member->cluster, shard->id, until);
    else
      forget_shard(shard); /* if it is this host's after all, the cluster says so */
  }
}

bool tg_member_take_over(struct tg_member *member, const struct tg_member_past *past, const json_t *handed,
                         struct tg_error *error)
{
  const char *home = json_string_value(json_object_get(handed, "home"));
  const struct tg_cluster_succession succession = {.total = member->env->shards.range.total,
                                                   .at = number(handed, "at"),
                                                   .moves = (uint64_t)number(handed, "moves"),
                                                   .lost_leases = (uint64_t)number(handed, "lost_leases")};
  if (!home || strlen(home) != TG_HOME_LENGTH)
    return tg_fail(error, "handed", "what the program before was in the cluster cannot be read");
  if (!tg_member_make_link(member, error))
    return false;
  memcpy(member->home, home, sizeof member->home);
  member->life = (uint64_t)number(handed, "life");
  member->mark_kept = (uint64_t)number(handed, "mark_kept");
  tg_member_identify(member, past, (uint64_t)number(handed, "mark"));
  tg_cluster_succeed(member->cluster, &succession);
  tg_member_tell_rows(member, past);
  take_shards(member);
  tg_member_take_sides(member, succession.total);
  if (json_is_true(json_object_get(handed, "draining")))
    tg_member_drain(member, json_is_true(json_object_get(handed, "anyway")));
  tg_redis_link_take_over(member->link, json_object_get(handed, "reads"));
  tg_redis_link_rest(member->link, true);
  tg_redis_link_connect(member->link);
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(SHARDS, tg_shard_set_count_held(&member->env->shards))),
              "goes on as the host \"%s\" of the cluster \"%s\"", member->host, member->name);
  return true;
}
