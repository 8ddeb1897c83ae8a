#include "manager/shard_set.h"

#include "base/buf.h"

#include <stdlib.h>

void tg_shard_set_make(struct tg_shard_set *set, int side, const struct tg_shard_range *range)
{
  int count = range->last - range->first + 1;
  *set = (struct tg_shard_set){.side = side, .range = *range, .count = count};
  set->list = tg_calloc((size_t)count, sizeof *set->list);
  for (int i = 0; i < count; i++) {
    int id = range->first + i;
    set->list[i] = (struct tg_managed_shard){.id = id, .ref = tg_ref_of(id, side), .set = set, .held = true};
  }
}

void tg_shard_set_clear(struct tg_shard_set *set)
{
  tg_shard_table_close(set->table);
  free(set->list);
  *set = (struct tg_shard_set){0};
}

void tg_shard_set_move(struct tg_shard_set *to, struct tg_shard_set *from)
{
  *to = *from;
  for (int i = 0; i < to->count; i++)
    to->list[i].set = to;
  *from = (struct tg_shard_set){0};
}

void tg_shard_set_deal(struct tg_shard_set *set, const int *workers, int classes)
{
  for (int i = 0; i < set->count; i++) {
    struct tg_managed_shard *shard = &set->list[i];
    shard->worker_id = workers[shard->id % classes];
    atomic_store(&tg_shard_row_of(shard)->worker_id, shard->worker_id);
  }
}

int tg_shard_set_count_held(const struct tg_shard_set *set)
{
  int held = 0;
  for (int i = 0; i < set->count; i++)
    held += set->list[i].held;
  return held;
}

int tg_shard_set_count_up(const struct tg_shard_set *set)
{
  int up = 0;
  for (int i = 0; i < set->count; i++)
    up += tg_shard_state_of(&set->list[i]) == TG_SHARD_CONNECTED;
  return up;
}

int tg_shard_set_count_resuming(const struct tg_shard_set *set, int worker)
{
  int count = 0;
  for (int i = 0; i < set->count; i++) {
    const struct tg_managed_shard *shard = &set->list[i];
    struct tg_session session;
    count += shard->worker_id == worker && shard->told && tg_shard_state_of(shard) != TG_SHARD_CONNECTED &&
             tg_session_load(tg_shard_row_of(shard), &session);
  }
  return count;
}

int tg_shard_set_count_held_of(const struct tg_shard_set *set, int worker)
{
  int count = 0;
  for (int i = 0; i < set->count; i++)
    count += set->list[i].held && set->list[i].worker_id == worker;
  return count;
}

int tg_shard_set_count_of(const struct tg_shard_set *set, int worker)
{
  int count = 0;
  for (int i = 0; i < set->count; i++)
    count += set->list[i].worker_id == worker;
  return count;
}
