#include "cli/topics.h"

#include "config/config_options.h"

#include <stdio.h>
#include <string.h>

static void item(const char *name, const char *what)
{
  printf("  %-26s  %s\n", name, what);
}

void tg_topic_environment(void)
{
  puts("Environment:\n"
       "\n"
       "Of each variable the key of gateway.configure that it stands for. What a script configures\n"
       "wins over it; an empty one is as if unset; commas or blanks separate a list.\n");
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    char what[96];
    snprintf(what, sizeof what, "%s%s", option->path, option->secret ? " (secret)" : "");
    if (option->env)
      item(option->env, what);
    if (option->env && strcmp(option->path, "plugins") == 0)
      item("TIDEGATE_PLUGIN_<NAME>", "the configuration of one, as JSON; - of its name is _ (secret)");
  }
  puts("\n"
       "A secret may stand in a file instead: its variable with _FILE behind the name holds the path,\n"
       "or the file is a credential of systemd with the variable's name in lower case.\n");
  item("CREDENTIALS_DIRECTORY", "set by systemd: where the credentials are");
  item("STATE_DIRECTORY", "set by systemd: the state directory, if state_dir is not given");
  item("XDG_STATE_HOME", "without either, it is tidegate in there, or in ~/.local/state");
  item("NOTIFY_SOCKET", "set by systemd: who is told of readiness, reloads and the stop");
  item("WATCHDOG_USEC", "set by systemd: how often it wants to hear from the gateway");
  item("JOURNAL_STREAM", "set by systemd: log lines have their priority then, and no time");
  item("TIDEGATE_CORE_DUMPS", "1: core dumps and debuggers may have the memory, and with it all secrets");
  item("NO_COLOR", "set to anything: ctl shows no colours");
}

void tg_topic_files(void)
{
  puts("Files:\n"
       "\n"
       "The state directory belongs to one gateway at a time; keep it over restarts.\n");
  item("STATE_DIR/shards", "sessions of the shards: what the next start resumes");
  item("STATE_DIR/guilds/", "which guilds each shard is in, a file for each");
  item("STATE_DIR/shards.1, guilds.1/", "of the other set of shards, where there are two");
  item("STATE_DIR/resharding.json", "which number of shards the bot has, and how far it is with another");
  item("STATE_DIR/reshard.*", "which classes of guilds have gone over, and what was delivered then");
  item("STATE_DIR/identify.json", "which identifies were used, and when");
  item("STATE_DIR/baseline.json", "what is usual of each shard, to find those that are deaf");
  item("STATE_DIR/clock.json", "how the times in these files go on, whatever the wall clock is set to");
  item("STATE_DIR/gateway_bot.json", "what Discord said last of the gateway");
  item("STATE_DIR/log/", "events that wait for the event handler, a directory for each worker");
  item("STATE_DIR/sinks/", "events that wait for other sinks, likewise in a directory for each");
  item("STATE_DIR/dead.jsonl", "events that it has refused for good, a line each; older: dead.jsonl.1 to .4");
  item("STATE_DIR/poison", "what scripts are doing, and what of it ended a process and must not run again");
  item("STATE_DIR/rocks/", "plugins, and what they depend on: tidegate plugin install");
  item("STATE_DIR/lock", "held by the gateway that uses the directory");
  puts("\n"
       "As a service:\n");
  item("/etc/tidegate/gateway.lua", "the script");
  item("/etc/tidegate/tidegate.env", "environment variables; only root reads it");
  item("/etc/credstore/tidegate.*", "secrets, if they are not to stand in the environment");
  item("/var/lib/tidegate", "the state directory");
}
