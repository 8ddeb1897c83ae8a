#include "cli/ctl/answer.h"

#include "base/buf.h"
#include "base/human.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool tg_ctl_draws(void)
{
  const char *term = getenv("TERM");
  return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

bool tg_ctl_colours(void)
{
  const char *refused = getenv("NO_COLOR");
  return tg_ctl_draws() && !(refused && *refused);
}

/* ---- answers ---- */

void tg_ctl_show_json(const json_t *answer)
{
  size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) | JSON_ENSURE_ASCII : JSON_COMPACT;
  char *text = answer ? json_dumps(answer, flags | JSON_ENCODE_ANY) : NULL;
  puts(text ? text : "{}");
  free(text);
}

void tg_ctl_show(const struct tg_ctl *ctl, const json_t *answer)
{
  if (ctl->as_table || (!ctl->as_json && isatty(STDOUT_FILENO)))
    ctl->action->show(answer);
  else
    tg_ctl_show_json(answer);
}

/* ---- failures ---- */

/* Of a reload that fails there is all that is wrong with the script. */
void tg_ctl_complain(const struct tg_error *error, const json_t *answer)
{
  const char *said = json_string_value(json_object_get(answer, "error"));
  const char *problem = json_string_value(json_object_get(answer, "problem"));
  struct tg_buf text = {0};
  bool own = strcmp(error->code, "refused") == 0 && said;
  if (own && problem) {
    tg_buf_puts(&text, "the reload failed, nothing has changed:\n");
    said = problem;
  }
  tg_human_safe(&text, own ? said : error->message, true);
  char *words = tg_buf_take(&text);
  fprintf(stderr, "tidegate ctl: %s\n", words);
  free(words);
}

static enum tg_exit tell_failures(const json_t *answer)
{
  size_t i;
  json_t *each;
  enum tg_exit result = TG_EXIT_OK;
  json_array_foreach(json_object_get(answer, "results"), i, each)
  {
    const char *said = json_string_value(json_object_get(each, "error"));
    if (!said)
      continue;
    struct tg_buf text = {0};
    tg_human_safe(&text, said, true);
    char *words = tg_buf_take(&text);
    fprintf(stderr, "tidegate ctl: shard %lld: %s\n",
            (long long)json_integer_value(json_object_get(each, "shardId")), words);
    free(words);
    result = TG_EXIT_FAILED;
  }
  return result;
}

/* ---- both ---- */

enum tg_exit tg_ctl_ask_and_show(const struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms timeout = ctl->timeout ? ctl->timeout : ctl->action->timeout + ask->more;
  enum tg_exit result = tg_ctl_ask(ctl->client, ask->method, ask->path, ask->body, timeout, &answer, &error);
  if (result == TG_EXIT_OK) {
    tg_ctl_show(ctl, answer.body);
    result = tell_failures(answer.body);
  } else {
    tg_ctl_complain(&error, answer.body);
  }
  json_decref(answer.body);
  return result;
}
