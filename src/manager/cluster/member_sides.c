/* Which shards there are, and by what number the cluster speaks of them. While their number is being changed
 * those to come have numbers from TG_CLUSTER_NEXT on, and the other side; afterwards they have the numbers,
 * and what is left of those that were has theirs with how many there were. A reference names a shard all the
 * time. */

#include "base/buf.h"
#include "manager/cluster/member_impl.h"

#include <stdlib.h>

/* ---- by number ---- */

struct tg_managed_shard *tg_member_managed(const struct tg_member *member, int number)
{
  const struct tg_manager_env *env = member->env;
  return number >= TG_CLUSTER_NEXT ? tg_shard_set_find(&env->next, number - TG_CLUSTER_NEXT)
                                   : tg_shard_set_find(&env->shards, number);
}

int tg_member_number(const struct tg_member *member, const struct tg_managed_shard *shard)
{
  return shard->set == &member->env->next ? TG_CLUSTER_NEXT + shard->id : shard->id;
}

struct tg_member_shard *tg_member_find(struct tg_member *member, int number, int total)
{
  struct tg_member_side *current = &member->sides[member->side], *other = &member->sides[!member->side];
  bool is_next = number >= TG_CLUSTER_NEXT, is_others = !is_next && total != current->count;
  const struct tg_member_side *side = is_next || is_others ? other : current;
  int id = is_next ? number - TG_CLUSTER_NEXT : number;
  if ((is_next && member->to == 0) || (is_others && total != other->count) || id < 0 || id >= side->count)
    return NULL;
  return &side->list[id];
}

/* ---- rows ---- */

static struct tg_shard_row *row_at(struct tg_shard_table *table, int id)
{
  return table && id >= 0 && id < tg_shard_table_total(table) ? tg_shard_table_row(table, id) : NULL;
}

struct tg_shard_row *tg_member_row(const struct tg_member *member, tg_shard_ref ref)
{
  const struct tg_managed_shard *managed = tg_shard_of_ref(member->env, ref);
  return managed ? tg_shard_row_of(managed) : row_at(member->sides[tg_ref_side(ref)].table, tg_ref_id(ref));
}

struct tg_shard_row *tg_member_row_of(const struct tg_member *member, int number)
{
  bool is_next = number >= TG_CLUSTER_NEXT;
  int id = is_next ? number - TG_CLUSTER_NEXT : number;
  return tg_member_row(member, tg_ref_of(id, is_next ? !member->side : member->side));
}

/* ---- lists ---- */

void tg_member_bury(struct tg_member *member, void *list)
{
  member->graves = tg_realloc(member->graves, (size_t)(member->grave_count + 1) * sizeof *member->graves);
  member->graves[member->grave_count++] = list;
}

void tg_member_unlist(struct tg_member *member, int number)
{
  struct tg_member_side *side = &member->sides[number];
  if (!side->list)
    return;
  tg_member_forget_tasks(side);
  for (int i = 0; i < side->count; i++)
    side->list[i].member = NULL;
  tg_member_bury(member, side->list);
  side->list = NULL;
  side->count = 0;
}

void tg_member_list(struct tg_member *member, int number, int count)
{
  struct tg_member_side *side = &member->sides[number];
  tg_member_unlist(member, number);
  side->list = tg_calloc((size_t)count, sizeof *side->list);
  side->count = count;
  for (int i = 0; i < count; i++)
    side->list[i] = (struct tg_member_shard){.member = member, .ref = tg_ref_of(i, number)};
}

static void close_table(struct tg_member_side *side)
{
  tg_shard_table_close(side->table);
  side->table = NULL;
}

/* ---- the total ---- */

void tg_member_take_sides(struct tg_member *member, int total)
{
  const struct tg_manager_env *env = member->env;
  member->total = total;
  member->side = env->shards.side;
  member->to = env->next.count;
  struct tg_member_side *side = &member->sides[member->side], *other = &member->sides[!member->side];
  if (side->count != total)
    tg_member_list(member, member->side, total);
  close_table(side); /* the gateway has it now */
  if (member->to > 0)
    close_table(other);
  int others = member->to > 0 ? member->to : other->table ? tg_shard_table_total(other->table) : 0;
  if (others > 0 && other->count != others)
    tg_member_list(member, !member->side, others);
}

void tg_member_change_sides(struct tg_member *member, int total)
{
  member->total = total;
  member->side = member->env->shards.side;
  member->to = 0;
}

/* ---- what is left ---- */

bool tg_member_has_old(const struct tg_member *member)
{
  const struct tg_member_side *side = &member->sides[!member->side];
  if (member->total == 0 || member->to > 0 || !side->table)
    return false;
  for (int i = 0; i < side->count; i++) {
    const struct tg_shard_row *row = row_at(side->table, i);
    if (side->list[i].tasks || (row && atomic_load(&row->left_fence)))
      return true;
  }
  return tg_member_fills(member, side->count);
}

void tg_member_forget_old(struct tg_member *member)
{
  if (member->to > 0)
    return;
  tg_member_unlist(member, !member->side);
  close_table(&member->sides[!member->side]);
}

void tg_member_free_sides(struct tg_member *member)
{
  for (int i = 0; i < TG_SIDES; i++) {
    close_table(&member->sides[i]);
    free(member->sides[i].list);
  }
  for (int i = 0; i < member->grave_count; i++)
    free(member->graves[i]);
  free(member->graves);
}
