/* `tidegate ctl reload`, `shutdown`: what is done to the gateway as a whole. */

#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"

#include <stdio.h>

/* ---- reload ---- */

static void show_reload(const json_t *answer)
{
  const json_t *keys = json_object_get(answer, "needsRestart");
  size_t i;
  json_t *key;
  printf("reloaded: generation %s\n", tg_figure_count(answer, "generation"));
  json_array_foreach((json_t *)keys, i, key)
  {
    fputs(i == 0 ? "changed, but needs a restart: " : ", ", stdout);
    tg_put_safe(json_is_string(key) ? json_string_value(key) : "?");
  }
  if (json_array_size(keys) > 0)
    putchar('\n');
}

static const struct tg_ctl_action reload_actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_LATER,
        .method = "POST",
        .path = "/reload",
        .show = show_reload,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_reload = {
    .name = "reload",
    .line = "reload the script; what is wrong with it goes to standard error",
    .actions = reload_actions,
};

/* ---- shutdown ---- */

static void show_shutdown(const json_t *answer)
{
  (void)answer;
  puts("the gateway is stopping; its sessions are ended");
}

static const struct tg_ctl_action shutdown_actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .method = "POST",
        .path = "/shutdown",
        .show = show_shutdown,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_shutdown = {
    .name = "shutdown",
    .line = "stop the gateway and end its sessions",
    .page = "SIGTERM stops it, too, and keeps the sessions for the next start. A host of a cluster keeps "
            "them in any case.\n",
    .actions = shutdown_actions,
};
