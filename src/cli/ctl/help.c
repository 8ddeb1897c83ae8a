#include "cli/ctl/command.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_WIDTH = 17, FORM_WIDTH = 24 }; /* longer ones push their text away */

static void put_item(struct tg_buf *out, int width, const char *name, const char *line)
{
  tg_buf_printf(out, "  %-*s  %s\n", width, name, line);
}

/* ---- the list ---- */

static char *list_page(void)
{
  struct tg_buf out = {0};
  tg_buf_puts(&out,
              "tidegate ctl COMMAND\n\n"
              "Asks, or tells, the running gateway. `tidegate ctl COMMAND --help` tells more of each.\n\n");
  for (int i = 0; tg_ctl_commands[i]; i++)
    put_item(&out, NAME_WIDTH, tg_ctl_commands[i]->name, tg_ctl_commands[i]->line);
  tg_buf_puts(&out, "\n");
  put_item(&out, NAME_WIDTH, "--json, --table",
           "form of the answer; without it a table on a terminal, else JSON");
  tg_buf_puts(&out,
              "TIDEGATE_CONTROL (127.0.0.1:8377, or unix:/path) and TIDEGATE_CONTROL_SECRET: where it is.\n"
              "Exit codes: 0 fine, 1 refused or failed, 64 usage, 69 not reachable, 77 not authorized.\n");
  return tg_buf_take(&out);
}

/* ---- the page of one ---- */

/* "forget NAME" */
static void put_form(struct tg_buf *out, const struct tg_ctl_action *action)
{
  tg_buf_puts(out, action->name);
  if (action->usage)
    tg_buf_printf(out, "%s%s", *action->name ? " " : "", action->usage);
}

/* "tidegate ctl queue [forget NAME]" */
static void put_usage(struct tg_buf *out, const struct tg_ctl_command *command)
{
  struct tg_buf forms = {0};
  const struct tg_ctl_action *first = command->actions;
  bool several = first[1].name != NULL;
  bool optional = several && *first->name == '\0' && first->least == 0;
  for (const struct tg_ctl_action *action = first; action->name; action++) {
    if (forms.length > 0 && (*action->name || action->usage))
      tg_buf_puts(&forms, "|");
    put_form(&forms, action);
  }
  tg_buf_printf(out, "tidegate ctl %s", command->name);
  char *text = forms.length > 0 ? tg_buf_take(&forms) : NULL;
  if (text)
    tg_buf_printf(out, optional ? " [%s]" : " %s", text);
  free(text);
  tg_buf_puts(out, "\n\n");
}

static void put_forms(struct tg_buf *out, const struct tg_ctl_command *command)
{
  for (const struct tg_ctl_action *action = command->actions; action->name; action++) {
    struct tg_buf form = {0};
    tg_buf_printf(&form, "%s%s", command->name, *action->name || action->usage ? " " : "");
    put_form(&form, action);
    char *text = tg_buf_take(&form);
    put_item(out, FORM_WIDTH, text, action->line ? action->line : command->line);
    free(text);
  }
  tg_buf_puts(out, "\n");
}

/* An action before this one has it, too. */
static bool is_listed(const struct tg_ctl_command *command, const struct tg_ctl_action *until,
                      const struct tg_ctl_option *wanted)
{
  for (const struct tg_ctl_action *action = command->actions; action != until; action++)
    for (const struct tg_ctl_option *option = action->options; option && option->name; option++)
      if (strcmp(option->name, wanted->name) == 0)
        return true;
  return false;
}

static void put_option(struct tg_buf *out, const struct tg_ctl_option *option)
{
  struct tg_buf name = {0};
  tg_buf_printf(&name, "%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
  char *text = tg_buf_take(&name);
  put_item(out, FORM_WIDTH, text, option->line);
  free(text);
}

static char *command_page(const struct tg_ctl_command *command)
{
  struct tg_buf out = {0};
  put_usage(&out, command);
  put_forms(&out, command);
  if (command->page)
    tg_buf_printf(&out, "%s\n", command->page);
  for (const struct tg_ctl_action *action = command->actions; action->name; action++)
    for (const struct tg_ctl_option *option = action->options; option && option->name; option++)
      if (!is_listed(command, action, option))
        put_option(&out, option);
  for (const struct tg_ctl_option *option = tg_ctl_common_options; option->name; option++)
    put_option(&out, option);
  return tg_buf_take(&out);
}

char *tg_ctl_help(const struct tg_ctl_command *command)
{
  return command ? command_page(command) : list_page();
}
