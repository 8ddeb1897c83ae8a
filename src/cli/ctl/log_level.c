/* `tidegate ctl log-level`: how much all processes log, without a reload. */

#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static bool ask(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *word = ctl->words[0];
  enum tg_log_level level;
  struct tg_buf body = {0};
  if (strcmp(word, "configured") == 0)
    tg_buf_puts(&body, "{\"level\":null}");
  else if (tg_log_level_parse(word, &level))
    tg_buf_printf(&body, "{\"level\":\"%s\"}", word);
  else
    return tg_fail(error, "usage", "log-level: expected debug, info, warn, error or configured, got \"%s\"",
                   word);
  ask->body = tg_buf_take(&body);
  return true;
}

static void show(const json_t *answer)
{
  const char *level = tg_figure_text(answer, "level"), *configured = tg_figure_text(answer, "configured");
  fputs("the log level is ", stdout);
  tg_put_safe(level);
  if (strcmp(level, configured) != 0) {
    fputs(" until the next reload or start; configured is ", stdout);
    tg_put_safe(configured);
  }
  putchar('\n');
}

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .line = "which it is",
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .path = "/log-level",
        .show = show,
    },
    {
        .name = "",
        .usage = "LEVEL",
        .line = "from now on it is debug, info, warn or error; configured: that one again",
        .values = "debug|info|warn|error|configured",
        .least = 1,
        .most = 1,
        .timeout = TG_CTL_SOON,
        .method = "POST",
        .path = "/log-level",
        .ask = ask,
        .show = show,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_log_level = {
    .name = "log-level",
    .line = "how much all processes log, until the next reload or start",
    .actions = actions,
};
