/* Sessions that are deaf, of `tidegate ctl status`. */

#include "cli/ctl/deaf.h"

#include "cli/ctl/figures.h"

static bool was_deaf(const json_t *deaf)
{
  static const char *const counts[] = {"resumes", "identifies", "heard", "givenUp"};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    if (tg_figure_number(deaf, counts[i]) > 0)
      return true;
  return json_array_size(json_object_get(deaf, "suspects")) > 0;
}

/* "3, 7" */
static void put_list(struct tg_buf *out, const json_t *list)
{
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *item = json_array_get(list, i);
    tg_buf_puts(out, i ? ", " : "");
    if (json_is_string(item))
      tg_buf_puts(out, json_string_value(item));
    else
      tg_buf_printf(out, "%lld", (long long)json_integer_value(item));
  }
}

static void put_now(struct tg_buf *out, const json_t *deaf)
{
  const json_t *shard = json_object_get(deaf, "shard"), *suspects = json_object_get(deaf, "suspects");
  const json_t *vanished = json_object_get(deaf, "vanished");
  if (json_is_object(shard)) {
    const char *type = json_string_value(json_object_get(shard, "event"));
    tg_buf_printf(out, "shard %s has had no %s for %s: %s; ", tg_figure_count(shard, "shardId"),
                  type ? type : "events", tg_figure_duration(shard, "silent"), tg_figure_text(shard, "step"));
  }
  if (json_array_size(suspects) > 0) {
    tg_buf_puts(out, "suspected: ");
    put_list(out, suspects);
    tg_buf_puts(out, "; ");
  }
  if (json_array_size(vanished) > 0) {
    tg_buf_puts(out, "no shard gets ");
    put_list(out, vanished);
    tg_buf_puts(out, "; ");
  }
  if (json_is_true(json_object_get(deaf, "outage")))
    tg_buf_puts(out, "many shards are silent, as in an outage of Discord; ");
}

bool tg_ctl_deaf_line(const json_t *deaf, struct tg_buf *line)
{
  size_t start = line->length;
  put_now(line, deaf);
  bool trouble = line->length > start;
  if (trouble || was_deaf(deaf))
    tg_buf_printf(line, "%s resumed, %s with a new session: %s hear again, %s given up",
                  tg_figure_count(deaf, "resumes"), tg_figure_count(deaf, "identifies"),
                  tg_figure_count(deaf, "heard"), tg_figure_count(deaf, "givenUp"));
  return trouble;
}
