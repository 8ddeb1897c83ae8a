/* The second set of shards: how it comes, takes the place of the first, or goes. All
 * rooms that keep something by shard hear of it here. */

#include "manager/internal.h"

bool tg_manager_make_next(struct tg_manager *manager, int total, uint64_t first_epoch, const int *workers,
                          int classes, struct tg_error *error)
{
  struct tg_manager_env *env = &manager->env;
  const struct tg_shard_range range = {.first = 0, .last = total - 1, .total = total};
  int side = !env->shards.side;
  struct tg_shard_table *table = tg_shard_table_open(
      env->state_dir, side, total, tg_identity(env->bot_with_intents, total), first_epoch, error);
  if (!table)
    return false;
  tg_shard_table_set_bot(table, env->bot_with_intents);
  tg_shard_table_clear_counters(table);
  tg_shard_set_make(&env->next, side, &range);
  env->next.table = table;
  tg_shard_set_deal(&env->next, workers, classes);
  for (int i = 0; i < total; i++) {
    struct tg_shard_row *row = tg_shard_row_of(&env->next.list[i]);
    atomic_store(&row->state, TG_SHARD_OFFLINE);
    atomic_store(&row->rtt, -1);
    atomic_store(&row->lease_until, 0);
    env->next.list[i].held = !env->clustered;
  }
  tg_presences_begin(manager->presences, &env->next);
  tg_optional_begin_next(manager->optional);
  return true;
}

/* Nobody finds its shards any more: who is told that his has gone may ask again. */
static void end_set(struct tg_manager *manager, struct tg_shard_set *over)
{
  tg_spawn_set_over(manager->spawner, over);
  tg_sendings_set_over(manager->sendings, over);
  tg_members_set_over(manager->members, over);
  tg_presences_set_over(manager->presences, over);
  tg_shard_set_clear(over);
}

void tg_manager_drop_next(struct tg_manager *manager)
{
  struct tg_shard_set over = {0};
  tg_shard_set_move(&over, &manager->env.next);
  end_set(manager, &over);
}

void tg_manager_take_next(struct tg_manager *manager)
{
  struct tg_shard_set over = {0};
  tg_shard_set_move(&over, &manager->env.shards);
  tg_shard_set_move(&manager->env.shards, &manager->env.next);
  end_set(manager, &over);
}
