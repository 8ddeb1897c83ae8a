/* What people and scripts hear of a resharding: the log, the life-cycle event, on_resharding_switch. */

#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdio.h>
#include <string.h>

static void tell_script(const struct tg_reshard *reshard, const char *step, const char *reason)
{
  struct tg_hooks *hooks = reshard->env->hooks;
  if (!hooks->want_life[TG_LIFE_resharding])
    return;
  json_t *details = json_pack("{s:s, s:i, s:i}", "step", step, "from", reshard->from, "to", reshard->to);
  if (reshard->classes) {
    json_object_set_new(details, "switched", json_integer(tg_reshard_switched(reshard)));
    json_object_set_new(details, "classes", json_integer(reshard->deal.classes));
  }
  if (reason && reason[0])
    json_object_set_new(details, "reason", json_string(reason));
  tg_hook_life(hooks, TG_LIFE_resharding, NULL, details);
  json_decref(details);
}

void tg_reshard_tell_started(struct tg_reshard *reshard)
{
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(SHARDS, reshard->to)),
              "resharding from %d to %d begins: %d class%s of guilds, about %d identifies", reshard->from,
              reshard->to, reshard->deal.classes, reshard->deal.classes == 1 ? "" : "es", reshard->to);
  tell_script(reshard, "started", NULL);
}

static void ignore_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)ctx, (void)value, (void)error;
}

void tg_reshard_tell_switched(struct tg_reshard *reshard, const struct tg_reshard_class *class)
{
  int switched = tg_reshard_switched(reshard), classes = reshard->deal.classes;
  int tenth = switched * 10 / classes;
  /* Of many classes each tenth is a line. */
  tg_log_with(tenth > reshard->shown_tenth ? TG_INFO : TG_DEBUG, TG_NO_SHARD,
              TG_WITH(TG_NUMBER_IF(class->guilds != NULL, GUILDS, (int64_t)json_array_size(class->guilds))),
              "resharding from %d to %d: %d of %d class%s of guilds %s switched", reshard->from, reshard->to,
              switched, classes, classes == 1 ? "" : "es", switched == 1 ? "has" : "have");
  if (tenth > reshard->shown_tenth)
    reshard->shown_tenth = tenth;
  tell_script(reshard, "switched", NULL);
  json_t *args = json_array();
  json_array_append_new(args, class->guilds ? json_incref(class->guilds) : json_array());
  tg_call(reshard->env->calls, TG_METHOD_manager_on_resharding_switch, args, ignore_reply, NULL);
  json_decref(args);
}

void tg_reshard_tell_over(struct tg_reshard *reshard, const char *result, const char *reason)
{
  tg_ms now = tg_now();
  bool done = strcmp(result, "done") == 0;
  reshard->done += done;
  reshard->aborted += strcmp(result, "aborted") == 0;
  reshard->failures += strcmp(result, "failed") == 0;
  reshard->last.result = result;
  snprintf(reshard->last.reason, sizeof reshard->last.reason, "%s", reason);
  reshard->last.from = reshard->from;
  reshard->last.to = reshard->to;
  reshard->last.identifies = reshard->identifies;
  reshard->last.began = reshard->began;
  reshard->last.ended = now;
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(DURATION, now - reshard->began),
                      TG_NUMBER(SHARDS, reshard->env->shards.count), TG_TEXT_IF(reason[0], REASON, reason)),
              done ? "resharding from %d to %d is done, with %d identifies%s%s"
                   : "resharding from %d to %d was undone, after %d identifies%s%s",
              reshard->from, reshard->to, reshard->identifies, reshard->cut_types[0] ? "; cut by time: " : "",
              reshard->cut_types);
  tell_script(reshard, result, reason);
}
