#include "fake_discord/gateway/session.h"

#include "base/buf.h"

#include <stdlib.h>

LIST_HEAD(route, tg_fake_session);

struct set {
  int total;
  struct route *shards; /* by shard id */
};

struct tg_fake_routes {
  struct set *sets; /* one for each shard count that sessions were opened with */
  size_t count;
};

static struct route *find(struct tg_fake *fake, int shard_id, int total)
{
  struct tg_fake_routes *routes = fake->routes;
  if (!routes)
    routes = fake->routes = tg_calloc(1, sizeof *routes);
  for (size_t i = 0; i < routes->count; i++)
    if (routes->sets[i].total == total)
      return &routes->sets[i].shards[shard_id];
  routes->sets = tg_realloc(routes->sets, (routes->count + 1) * sizeof *routes->sets);
  struct set *set = &routes->sets[routes->count++];
  *set = (struct set){total, tg_calloc((size_t)total, sizeof *set->shards)};
  return &set->shards[shard_id];
}

void tg_fake_routes_add(struct tg_fake *fake, struct tg_fake_session *session)
{
  LIST_INSERT_HEAD(find(fake, session->identify.shard_id, session->identify.total), session, route);
}

void tg_fake_routes_remove(struct tg_fake *fake, struct tg_fake_session *session)
{
  (void)fake;
  LIST_REMOVE(session, route);
}

struct tg_fake_session *tg_fake_route_next(struct tg_fake *fake, uint64_t guild_id, size_t *step,
                                           struct tg_fake_session *last)
{
  struct tg_fake_session *next = last ? LIST_NEXT(last, route) : NULL;
  while (!next && fake->routes && *step < fake->routes->count) {
    struct set *set = &fake->routes->sets[(*step)++];
    next = LIST_FIRST(&set->shards[(guild_id >> 22) % (uint64_t)set->total]);
  }
  return next;
}

void tg_fake_routes_free(struct tg_fake *fake)
{
  for (size_t i = 0; fake->routes && i < fake->routes->count; i++)
    free(fake->routes->sets[i].shards);
  if (fake->routes)
    free(fake->routes->sets);
  free(fake->routes);
  fake->routes = NULL;
}
