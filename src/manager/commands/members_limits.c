/* RATE_LIMITED of member requests: what one of them was told holds for all of its kind. */

#include "base/buf.h"
#include "manager/commands/members_impl.h"

#include <stdlib.h>
#include <string.h>

bool tg_members_asks_all(const struct tg_members_request *request)
{
  return request->query && !request->query[0] && request->limit == 0;
}

static bool is_limit_of(const struct tg_members_limit *limit, const struct tg_members_request *request)
{
  return limit->all == tg_members_asks_all(request) && strcmp(limit->guild_id, request->guild_id) == 0;
}

void tg_members_note_limit(struct tg_members_request *request, tg_ms until)
{
  struct tg_members *members = request->all;
  struct tg_members_limit *limit = members->limits;
  while (limit && !is_limit_of(limit, request))
    limit = limit->next;
  if (!limit) {
    limit = tg_calloc(1, sizeof *limit);
    memcpy(limit->guild_id, request->guild_id, sizeof limit->guild_id);
    limit->all = tg_members_asks_all(request);
    limit->next = members->limits;
    members->limits = limit;
  }
  limit->until = until;
}

tg_ms tg_members_limited_until(const struct tg_members_request *request)
{
  tg_ms now = tg_now();
  for (const struct tg_members_limit *limit = request->all->limits; limit; limit = limit->next)
    if (limit->until > now && is_limit_of(limit, request))
      return limit->until;
  return 0;
}

void tg_members_forget_limits(struct tg_members *members, tg_ms now)
{
  struct tg_members_limit **link = &members->limits;
  while (*link) {
    struct tg_members_limit *limit = *link;
    if (limit->until > now) {
      link = &limit->next;
      continue;
    }
    *link = limit->next;
    free(limit);
  }
}
