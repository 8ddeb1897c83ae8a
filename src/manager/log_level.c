/* The log level that somebody has asked for while everything runs: in all processes, and in each that starts
 * meanwhile, until a reload brings the configured one back. */

#include "base/log.h"
#include "base/log_line.h"
#include "manager/internal.h"

static const char *name_of(int level)
{
  return level == TG_LOG_AS_CONFIGURED ? "" : tg_log_level_name((enum tg_log_level)level);
}

static void change(struct tg_manager *manager, int level)
{
  const struct tg_message message = {.type = TG_MESSAGE_log_level, .log_level = {name_of(level)}};
  tg_log_ask_level(level);
  tg_workers_tell_all(manager->workers, &message, -1);
}

/* Said while the level is the one that shows more. */
static void say(int level)
{
  if (level == TG_LOG_AS_CONFIGURED)
    tg_log(TG_INFO, TG_NO_SHARD, "the log level is the configured one again");
  else
    tg_log(TG_INFO, TG_NO_SHARD, "the log level is \"%s\" until the next reload or start, as was asked for",
           name_of(level));
}

void tg_manager_ask_log_level(struct tg_manager *manager, int level)
{
  bool quieter = level > (int)tg_log_get_level();
  if (quieter)
    say(level);
  change(manager, level);
  if (!quieter)
    say(level);
}

void tg_log_level_tell(struct tg_manager *manager, int worker)
{
  struct tg_ipc *line = tg_workers_line(manager->workers, worker);
  if (line && tg_log_asked_level() != TG_LOG_AS_CONFIGURED)
    tg_say(line, log_level, .level = name_of(tg_log_asked_level()));
}

void tg_log_level_reloaded(struct tg_manager *manager)
{
  if (tg_log_asked_level() == TG_LOG_AS_CONFIGURED)
    return;
  change(manager, TG_LOG_AS_CONFIGURED);
  say(TG_LOG_AS_CONFIGURED);
}
