/* `tidegate ctl tap`: events as they pass. */

#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"

#include "base/buf.h"
#include "base/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct watch {
  bool as_json;
  struct tg_buf text; /* that has not ended yet */
};

static void show_event(const json_t *event)
{
  char when[16] = "";
  int64_t at = tg_figure_number(event, "at");
  time_t seconds = (time_t)(at / 1000);
  struct tm local;
  const json_t *message = json_object_get(event, "event");
  char *data = json_dumps(json_object_get(message, "d"), JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
  if (localtime_r(&seconds, &local))
    strftime(when, sizeof when, "%H:%M:%S", &local);
  if (tg_figure_number(event, "skipped") > 0)
    printf("(%s more were too many to show)\n", tg_figure_count(event, "skipped"));
  printf("%s.%03d shard %lld s %lld ", when, (int)(at % 1000), (long long)tg_figure_number(event, "shard"),
         (long long)tg_figure_number(event, "s"));
  tg_put_safe(tg_figure_text(event, "t"));
  putchar(' ');
  if (data)
    fputs(data, stdout);
  else
    printf("(%s)", tg_figure_bytes(event, "bytes"));
  putchar('\n');
  free(data);
}

static void show_line(const struct watch *watch, const char *data)
{
  json_t *event = json_loads(data, 0, NULL);
  if (json_is_object(event) && watch->as_json)
    puts(data);
  else if (json_is_object(event))
    show_event(event);
  json_decref(event);
}

static bool take(void *ctx, const char *bytes, size_t length)
{
  static const char data[] = "data: ";
  struct watch *watch = ctx;
  char *end;
  tg_buf_append(&watch->text, bytes, length);
  while (watch->text.length && (end = memchr(watch->text.data, '\n', watch->text.length))) {
    *end = '\0';
    if (strncmp(watch->text.data, data, sizeof data - 1) == 0)
      show_line(watch, watch->text.data + sizeof data - 1);
    tg_buf_consume(&watch->text, (size_t)(end + 1 - watch->text.data));
  }
  if (fflush(stdout) == 0 && tg_program_is_read())
    return true;
  tg_program_has_more();
  return false;
}

static bool ask(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *guild = tg_ctl_value(ctl, "--guild"), *shard = tg_ctl_value(ctl, "--shard");
  struct tg_buf path = {0};
  tg_buf_puts(&path, "/tap?");
  for (int i = 0; i < ctl->word_count; i++) {
    const char *type = ctl->words[i];
    if (type[strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] || !*type) {
      tg_buf_free(&path);
      return tg_fail(error, "usage", "tap: no type of events is called \"%s\"", type);
    }
    tg_buf_printf(&path, "%s%s", i == 0 ? "types=" : ",", type);
  }
  if (guild && tg_ctl_is_number(guild, 20))
    tg_buf_printf(&path, "&guild=%s", guild);
  if (shard && tg_ctl_is_number(shard, 5))
    tg_buf_printf(&path, "&shard=%s", shard);
  ask->path = tg_buf_take(&path);
  if (guild && !tg_ctl_is_number(guild, 20))
    return tg_fail(error, "usage", "tap: --guild has to be an id, not \"%s\"", guild);
  return !shard || tg_ctl_is_number(shard, 5) ||
         tg_fail(error, "usage", "tap: --shard has to be the number of a shard, not \"%s\"", shard);
}

static enum tg_exit run(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  struct watch watch = {.as_json = ctl->as_json || (!ctl->as_table && !isatty(STDOUT_FILENO))};
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  enum tg_exit result = tg_ctl_stream(ctl->client, ask->path, take, &watch, &answer, &error);
  if (result != TG_EXIT_OK)
    tg_ctl_complain(&error, answer.body);
  json_decref(answer.body);
  tg_buf_free(&watch.text);
  return result;
}

static const struct tg_ctl_option options[] = {
    {"--guild", "ID", "of that guild", NULL},
    {"--shard", "SHARD", "of that shard", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .usage = "[TYPE...]",
        .most = 32,
        .timeout = TG_CTL_SOON,
        .options = options,
        .method = "GET",
        .ask = ask,
        .run = run,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_tap = {
    .name = "tap",
    .line = "events as they pass, one a line, until Ctrl-C",
    .page = "As they come from Discord, before filters and scripts. At most 100 a second of each worker; "
            "tokens are\n"
            "masked, and of an event over 4 KiB only the type and size are shown.\n",
    .actions = actions,
};
