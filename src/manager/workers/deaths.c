#include "manager/workers/deaths.h"

#include "base/log.h"
#include "base/log_writer.h"
#include "shared/poison.h"

#include <stdio.h>

static const char *consequence(const struct tg_poison_death *death)
{
  if (death->call.sequence == 0)
    return "";
  if (death->every_hook)
    return "; it will be shown to no function of the script any more";
  if (death->call.last > death->call.sequence)
    return "; it and those behind it will be shown one by one";
  if (death->call.group == TG_LUA_handler)
    return "; it is not shown to that again";
  return "; it will pass without that";
}

static void tell(int worker, const struct tg_poison_death *death)
{
  const struct tg_poison_call *call = &death->call;
  char hook[TG_POISON_NAME + TG_WHERE_SIZE + 4], who[24] = "the manager", what[TG_POISON_NAME + 8];
  snprintf(hook, sizeof hook, death->where[0] ? "%s (%s)" : "%s", death->hook, death->where);
  if (worker != TG_POISON_MANAGER)
    snprintf(who, sizeof who, "worker %d", worker);
  snprintf(what, sizeof what, "%s was ", death->event[0] ? death->event : "an event");
  bool event = call->sequence > 0;
  tg_log_with(TG_ERROR, call->shard_id,
              TG_WITH(TG_NUMBER_IF(worker >= 0, WORKER, worker), TG_TOLD(EVENT, death->event),
                      TG_NUMBER_IF(event, EPOCH, call->epoch), TG_NUMBER_IF(event, SEQUENCE, call->sequence),
                      TG_NUMBER_IF(call->last > call->sequence, LAST, call->last), TG_TOLD(METHOD, hook)),
              "%sinside of %s when %s ended%s", event ? what : "", hook, who, consequence(death));
  if (death->off)
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TOLD(METHOD, hook)),
                "%s has ended its process %d times in %d minutes: it is switched off until the next reload",
                hook, death->deaths, TG_POISON_WINDOW / 60000);
}

void tg_deaths_look(int worker, bool guilty, struct tg_stats *stats)
{
  struct tg_poison_death death;
  if (!tg_poison_take(worker, guilty, &death))
    return;
  if (!stats)
    stats = tg_stats();
  tg_count(&stats->lua[death.call.group].errors);
  tell(worker, &death);
  if (worker == TG_POISON_MANAGER)
    tg_log_writer_drain(); /* before the same function ends this process, too */
}
