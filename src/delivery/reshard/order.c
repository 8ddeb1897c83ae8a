#include "delivery/reshard/order.h"

#include "base/buf.h"

#include <stdlib.h>

enum { ROOM_MIN = 16 };

void tg_order_free(struct tg_order *order)
{
  free(order->places);
  *order = (struct tg_order){0};
}

/* The guild's place, or the free one where it belongs: there always is one. */
static struct tg_guild_place *find(const struct tg_order *order, uint64_t guild)
{
  size_t at = (size_t)((guild * 0x9e3779b97f4a7c15u) >> 32) & (order->room - 1);
  while (order->places[at].guild != 0 && order->places[at].guild != guild)
    at = (at + 1) & (order->room - 1);
  return &order->places[at];
}

static void grow(struct tg_order *order)
{
  struct tg_order old = *order;
  order->room = old.room > 0 ? 2 * old.room : ROOM_MIN;
  order->places = tg_calloc(order->room, sizeof *order->places);
  for (size_t i = 0; i < old.room; i++)
    if (old.places[i].guild != 0)
      *find(order, old.places[i].guild) = old.places[i];
  free(old.places);
}

void tg_order_note(struct tg_order *order, uint64_t guild, int side, uint64_t reached)
{
  if (guild == 0)
    return;
  if (4 * order->count >= 3 * order->room)
    grow(order);
  struct tg_guild_place *place = find(order, guild);
  order->count += place->guild == 0;
  place->guild = guild;
  if (reached > place->reached[side])
    place->reached[side] = reached;
}

uint64_t tg_order_reached(const struct tg_order *order, uint64_t guild, int side)
{
  return order->room == 0 || guild == 0 ? 0 : find(order, guild)->reached[side];
}
