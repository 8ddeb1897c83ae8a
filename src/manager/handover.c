/* What the next program in this process is told of the gateway, and how it goes on with it. What stands in
 * files of the state directory (shards, sessions, counters of both, the ledger of identifies) needs no word.
 */

#include "base/buf.h"
#include "manager/internal.h"
#include "manager/lock.h"
#include "manager/upgrade/handed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- on this side ---- */

static json_t *hand_shards(const struct tg_shard_set *shards)
{
  json_t *list = json_array();
  for (int i = 0; i < shards->count; i++) {
    const struct tg_managed_shard *shard = &shards->list[i];
    json_array_append_new(list, json_pack("{s:i, s:b, s:b, s:b, s:b, s:b}", "worker", shard->worker_id,
                                          "held", shard->held, "told", shard->told, "wanted", shard->wanted,
                                          "was_up", shard->was_up, "had_session", shard->had_session));
  }
  return list;
}

static json_t *text_of(uint64_t number)
{
  char text[24];
  snprintf(text, sizeof text, "%016" PRIx64, number);
  return json_string(text);
}

json_t *tg_manager_hand_over(struct tg_manager *manager)
{
  const struct tg_manager_env *env = &manager->env;
  const struct tg_shard_set *shards = &env->shards;
  struct tg_reload_counts reloads = tg_reload_counts(manager->reloads);
  json_t *json =
      json_pack("{s:o, s:s, s:I, s:I, s:i, s:b}", "bot", text_of(env->bot_with_intents), "state_dir",
                env->state_dir, "stamp", (json_int_t)env->stamp, "began", (json_int_t)manager->began,
                "usual_workers", manager->usual_workers, "all_up", tg_spawn_all_up(manager->spawner));
  tg_handed_put_fd(json, "lock", manager->lock_fd);
  json_object_set_new(json, "info", tg_fetch_hand_over(manager->fetch));
  json_object_set_new(json, "set",
                      json_pack("{s:i, s:i, s:i, s:i, s:o}", "side", shards->side, "total",
                                shards->range.total, "first", shards->range.first, "last", shards->range.last,
                                "shards", hand_shards(shards)));
  json_object_set_new(json, "workers", tg_workers_hand_over(manager->workers));
  json_object_set_new(json, "presences", tg_presences_hand_over(manager->presences));
  json_object_set_new(json, "resharding", tg_reshard_hand_over(manager->reshard));
  json_object_set_new(
      json, "reloads",
      json_pack("{s:I, s:I}", "done", (json_int_t)reloads.done, "failed", (json_int_t)reloads.failed));
  json_object_set_new(json, "deaf", tg_deaf_hand_over(manager->deaf));
  json_object_set_new(json, "upgrade", tg_upgrade_hand_over(manager->upgrade));
  if (manager->member) {
    json_object_set_new(json, "cluster", tg_member_hand_over(manager->member));
    json_object_set_new(json, "shared_presences", tg_shared_presences_hand_over(manager->shared_presences));
    json_object_set_new(json, "leaving", json_boolean(manager->leaving));
  }
  return json;
}

/* ---- on the other ---- */

static int64_t number(const json_t *json, const char *name)
{
  return json_integer_value(json_object_get(json, name));
}

static bool yes(const json_t *json, const char *name)
{
  return json_is_true(json_object_get(json, name));
}

static bool is_text(const json_t *json, const char *name, const char *wanted)
{
  const char *text = json_string_value(json_object_get(json, name));
  return text && strcmp(text, wanted) == 0;
}

bool tg_manager_could_follow(const struct tg_config *config, const json_t *handed, struct tg_error *error)
{
  const json_t *set = json_object_get(handed, "set");
  int side = (int)number(set, "side"), total = (int)number(set, "total"), last = config->last_shard_id;
  uint64_t bot = tg_identity_bot(config->token, config->intents);
  char name[24];
  snprintf(name, sizeof name, "%016" PRIx64, bot);
  if (!is_text(handed, "bot", name))
    return tg_fail(error, "restart",
                   "the token or the intents are others now than those that it runs with: restart it");
  if (!is_text(handed, "state_dir", config->state_dir))
    return tg_fail(error, "restart", "the state directory is another one now (%s): restart it",
                   config->state_dir);
  if (!tg_member_could_follow(config, json_object_get(handed, "cluster"), error))
    return false;
  if (config->first_shard_id != number(set, "first") || (last >= 0 ? last : total - 1) != number(set, "last"))
    return tg_fail(error, "restart", "its range of shards is another one now: restart it");
  if (tg_shard_table_peek(config->state_dir, side, bot) != total)
    return tg_fail(error, "restart",
                   "it keeps sessions in another way than this version, which would begin new ones for all "
                   "shards");
  return true;
}

static void take_shards(struct tg_shard_set *shards, const json_t *list)
{
  for (int i = 0; i < shards->count; i++) {
    struct tg_managed_shard *shard = &shards->list[i];
    const json_t *handed = json_array_get(list, (size_t)i);
    shard->worker_id = (int)number(handed, "worker");
    shard->held = yes(handed, "held");
    shard->told = yes(handed, "told");
    shard->wanted = yes(handed, "wanted");
    shard->was_up = yes(handed, "was_up");
    shard->had_session = yes(handed, "had_session");
  }
}

static bool take_set(struct tg_manager *manager, const json_t *handed, struct tg_error *error)
{
  struct tg_manager_env *env = &manager->env;
  struct tg_shard_range range = {.total = (int)number(handed, "total"),
                                 .first = (int)number(handed, "first"),
                                 .last = (int)number(handed, "last")};
  int side = (int)number(handed, "side");
  struct tg_shard_table *table = tg_shard_table_open(
      env->state_dir, side, range.total, tg_identity(env->bot_with_intents, range.total), 0, error);
  if (!table)
    return false;
  tg_shard_set_make(&env->shards, side, &range);
  env->shards.table = table;
  take_shards(&env->shards, json_object_get(handed, "shards"));
  return true;
}

static void take_counts(struct tg_manager *manager, const json_t *handed)
{
  const json_t *reloads = json_object_get(handed, "reloads");
  tg_reload_take_over(manager->reloads,
                      &(struct tg_reload_counts){.done = (uint64_t)number(reloads, "done"),
                                                 .failed = (uint64_t)number(reloads, "failed")});
  tg_reshard_take_over(manager->reshard, json_object_get(handed, "resharding"));
  tg_deaf_take_over(manager->deaf, json_object_get(handed, "deaf"));
}

static bool take_place_in_cluster(struct tg_manager *manager, const json_t *handed, struct tg_error *error)
{
  struct tg_member_past past;
  if (!manager->member)
    return true;
  tg_reshard_past(manager->reshard, &past);
  tg_shared_presences_take_over(manager->shared_presences, json_object_get(handed, "shared_presences"));
  return tg_member_take_over(manager->member, &past, json_object_get(handed, "cluster"), error);
}

bool tg_manager_take_over(struct tg_manager *manager, const json_t *handed, struct tg_error *error)
{
  struct tg_manager_env *env = &manager->env;
  manager->began = number(handed, "began");
  manager->usual_workers = (int)number(handed, "usual_workers");
  env->stamp = number(handed, "stamp");
  if (!tg_fetch_take_over(manager->fetch, json_object_get(handed, "info")))
    return tg_fail(error, "handed", "the gateway information of the program before cannot be read");
  if (!tg_reshard_restore(manager->reshard, error) ||
      !take_set(manager, json_object_get(handed, "set"), error))
    return false;
  tg_presences_begin(manager->presences, &env->shards);
  tg_presences_take_over(manager->presences, json_object_get(handed, "presences"));
  tg_slots_begin(manager->slots);
  tg_optional_begin(manager->optional);
  if (!tg_reshard_begin(manager->reshard, error) || !take_place_in_cluster(manager, handed, error))
    return false;
  take_counts(manager, handed);
  manager->phase = TG_MANAGER_RUNNING;
  tg_spawn_take_over(manager->spawner, yes(handed, "all_up"));
  tg_workers_take_over(manager->workers, json_object_get(handed, "workers"));
  if (manager->member)
    tg_member_go_on(manager->member);
  tg_redis_commands_look(manager->redis_commands);
  tg_deaf_begin(manager->deaf);
  tg_upgrade_go_on(manager->upgrade, json_object_get(handed, "upgrade"));
  if (yes(handed, "leaving"))
    tg_manager_stop(manager, true, TG_EXIT_OK);
  return true;
}
