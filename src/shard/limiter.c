#include "shard/limiter.h"

void tg_limiter_init(struct tg_limiter *limiter, int limit, tg_ms window)
{
  if (limit < 0)
    limit = 0;
  if (limit > TG_LIMITER_MAX)
    limit = TG_LIMITER_MAX;
  *limiter = (struct tg_limiter){.limit = limit, .window = window};
}

tg_ms tg_limiter_wait(const struct tg_limiter *limiter, tg_ms now)
{
  if (limiter->limit == 0)
    return limiter->window;
  if (limiter->count < limiter->limit)
    return 0;
  tg_ms free_at = limiter->sent[limiter->first] + limiter->window;
  return free_at > now ? free_at - now : 0;
}

void tg_limiter_take(struct tg_limiter *limiter, tg_ms now)
{
  if (limiter->limit == 0)
    return;
  limiter->sent[(limiter->first + limiter->count) % limiter->limit] = now;
  if (limiter->count < limiter->limit)
    limiter->count++;
  else
    limiter->first = (limiter->first + 1) % limiter->limit;
}
