#include "manager/cluster/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

/* Holes of this host: ranges of events that it alone has, to be delivered late. */

static struct tg_told_hole *find(struct tg_cluster *cluster, const char *key)
{
  for (int i = 0; i < cluster->hole_count; i++)
    if (strcmp(cluster->holes[i].key, key) == 0)
      return &cluster->holes[i];
  return NULL;
}

static bool is_listed(const json_t *holes, const char *key)
{
  size_t i;
  json_t *hole;
  json_array_foreach(holes, i, hole)
  {
    const char *listed = tg_answer_text(hole, "key");
    if (listed && strcmp(listed, key) == 0)
      return true;
  }
  return false;
}

static void say_hole(struct tg_cluster *cluster, const json_t *hole, const char *key)
{
  cluster->holes = tg_realloc(cluster->holes, (size_t)(cluster->hole_count + 1) * sizeof *cluster->holes);
  cluster->holes[cluster->hole_count++] = (struct tg_told_hole){.key = tg_strdup(key)};
  struct tg_cluster_word word = {.kind = TG_CLUSTER_HOLE, .key = key};
  word.shard = (int)tg_answer_number(hole, "shard");
  word.total = (int)tg_answer_number(hole, "total");
  word.from_epoch = (uint64_t)tg_answer_number(hole, "from_epoch");
  word.from = (uint64_t)tg_answer_number(hole, "from");
  word.to_epoch = (uint64_t)tg_answer_number(hole, "to_epoch");
  word.to = (uint64_t)tg_answer_number(hole, "to");
  tg_cluster_say(cluster, &word);
}

void tg_holes_told(struct tg_cluster *cluster, const json_t *holes)
{
  for (int i = cluster->hole_count - 1; i >= 0; i--) {
    if (is_listed(holes, cluster->holes[i].key))
      continue;
    free(cluster->holes[i].key); /* given up by somebody, or Redis has lost it */
    cluster->holes[i] = cluster->holes[--cluster->hole_count];
  }
  size_t i;
  json_t *hole;
  json_array_foreach(holes, i, hole)
  {
    const char *key = tg_answer_text(hole, "key");
    if (key && !find(cluster, key))
      say_hole(cluster, hole, key);
  }
}

void tg_cluster_filled(struct tg_cluster *cluster, const char *key)
{
  struct tg_told_hole *hole = find(cluster, key);
  if (hole)
    hole->filled = true;
}

void tg_holes_tick(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->hole_count; i++) {
    struct tg_told_hole *hole = &cluster->holes[i];
    if (!hole->filled || hole->said_so)
      continue;
    hole->said_so = true;
    tg_cluster_call(cluster, TG_CALL_FILLED, -1, json_pack("{s:s}", "key", hole->key));
  }
}

void tg_filled_answered(struct tg_cluster *cluster)
{
  cluster->beat_at = cluster->now; /* which will not name it any more */
}

void tg_holes_link_down(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->hole_count; i++)
    cluster->holes[i].said_so = false;
}

void tg_holes_free(struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->hole_count; i++)
    free(cluster->holes[i].key);
  free(cluster->holes);
}
