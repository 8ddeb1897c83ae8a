#include "cli/ctl/command.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
/* In the order of the help. */
const struct tg_ctl_command *const tg_ctl_commands[] = {
    &tg_ctl_status,
    &tg_ctl_shards,
    &tg_ctl_queue,
    &tg_ctl_dead,
    &tg_ctl_tap,
    &tg_ctl_config,
    &tg_ctl_reload,
    &tg_ctl_reshard,
    &tg_ctl_reconnect,
    &tg_ctl_payload,
    &tg_ctl_identify_budget,
    &tg_ctl_log_level,
    &tg_ctl_upgrade,
    &tg_ctl_cluster,
    &tg_ctl_drain,
    &tg_ctl_shutdown,
    NULL,
};
/* clang-format on */

const struct tg_ctl_option tg_ctl_common_options[] = {
    {"--json", NULL, "the answer as JSON, also on a terminal", NULL},
    {"--table", NULL, "the answer for people, also where no terminal is", NULL},
    {"--timeout", "MS", "how long to wait for it, in milliseconds", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct tg_ctl_command *tg_ctl_command_find(const char *name)
{
  for (int i = 0; tg_ctl_commands[i]; i++)
    if (strcmp(tg_ctl_commands[i]->name, name) == 0)
      return tg_ctl_commands[i];
  return NULL;
}

tg_ms tg_ctl_age(const char *text)
{
  static const struct {
    char unit;
    tg_ms length;
  } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
  size_t digits = strspn(text, "0123456789");
  for (size_t i = 0; digits > 0 && digits <= 6 && i < sizeof units / sizeof *units; i++)
    if (text[digits] == units[i].unit && text[digits + 1] == '\0')
      return atoi(text) * units[i].length;
  return -1;
}
