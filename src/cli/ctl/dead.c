/* `tidegate ctl dead`: the letters that a sink has refused for good. */

#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"
#include "cli/table.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  PATIENCE = 600000, /* ms: a bot may take its time over each of them */
  ANSWER_SHOWN = 48, /* bytes */
};

/* ---- which letters ---- */

#define WHICH                                                                                                \
  {"--shard", "SHARD", "of that shard", NULL}, {"--type", "TYPE", "of that type: MESSAGE_CREATE", NULL},     \
      {"--sink", "NAME", "that this sink has refused; bot is the event handler", NULL},                      \
      {"--status", "CODE", "with that answer, the last time: 413", NULL},                                    \
  {                                                                                                          \
    "--since", "AGE", "not older than 90s, 30m, 2h or 1d", NULL                                              \
  }

static const struct tg_ctl_option list_options[] = {
    WHICH,
    {"--limit", "NUMBER", "how many, from the newest on (50)", NULL},
    {"--before", "NUMBER", "older than the letter of that number", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_option options[] = {
    WHICH,
    {"--all", NULL, "all letters", NULL},
    {NULL, NULL, NULL, NULL},
};

/* Adds what the options say. False: one of them makes no sense. */
static bool add_options(const struct tg_ctl *ctl, json_t *which, struct tg_error *error)
{
  static const struct {
    const char *option, *key;
    size_t digits; /* 0: it is a name */
  } known[] = {{"--shard", "shard", 5},   {"--type", "type", 0},   {"--sink", "sink", 0},
               {"--status", "status", 3}, {"--limit", "limit", 4}, {"--before", "before", 18}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    const char *value = tg_ctl_value(ctl, known[i].option);
    if (!value)
      continue;
    if (known[i].digits > 0 && !tg_ctl_is_number(value, known[i].digits))
      return tg_fail(error, "usage", "dead: %s has to be a number, not \"%s\"", known[i].option, value);
    json_object_set_new(which, known[i].key,
                        known[i].digits > 0 ? json_integer(atoll(value)) : tg_json_text(value));
  }
  const char *since = tg_ctl_value(ctl, "--since");
  tg_ms age = since ? tg_ctl_age(since) : 0;
  if (age < 0)
    return tg_fail(error, "usage", "dead: --since has to be an age like 90s, 30m, 2h or 1d, not \"%s\"",
                   since);
  if (since)
    json_object_set_new(which, "since", json_integer(tg_wall_clock() - age));
  return true;
}

static bool add_numbers(const struct tg_ctl *ctl, json_t *which, struct tg_error *error)
{
  json_t *numbers = json_array();
  json_object_set_new(which, "numbers", numbers);
  for (int i = 0; i < ctl->word_count; i++) {
    if (!tg_ctl_is_number(ctl->words[i], 18))
      return tg_fail(error, "usage", "dead: expected the number of a letter, got \"%s\"", ctl->words[i]);
    json_array_append_new(numbers, json_integer(atoll(ctl->words[i])));
  }
  return true;
}

/* ---- asking ---- */

static bool ask_list(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  json_t *which = json_object(), *value;
  const char *key;
  struct tg_buf path = {0};
  bool good = add_options(ctl, which, error);
  tg_buf_puts(&path, "/dead");
  json_object_foreach(which, key, value)
  {
    tg_buf_printf(&path, "%s%s=", path.length == strlen("/dead") ? "?" : "&", key);
    if (json_is_integer(value))
      tg_buf_printf(&path, "%lld", (long long)json_integer_value(value));
    for (const char *at = json_string_value(value); at && *at; at++)
      tg_buf_printf(&path, "%%%02X", (unsigned char)*at);
  }
  json_decref(which);
  ask->path = tg_buf_take(&path);
  return good;
}

static bool ask_show(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  struct tg_buf path = {0};
  if (!tg_ctl_is_number(ctl->words[0], 18))
    return tg_fail(error, "usage", "dead: expected the number of a letter, got \"%s\"", ctl->words[0]);
  tg_buf_printf(&path, "/dead/%s", ctl->words[0]);
  ask->path = tg_buf_take(&path);
  return true;
}

static bool ask_which(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  json_t *which = json_object();
  bool good = add_options(ctl, which, error), all = tg_ctl_has(ctl, "--all");
  if (good && ctl->word_count > 0)
    good = add_numbers(ctl, which, error);
  if (good && all && json_object_size(which) > 0)
    good = tg_fail(error, "usage", "dead %s: --all means all letters, and the rest some of them",
                   ctl->action->name);
  else if (good && !all && json_object_size(which) == 0)
    good =
        tg_fail(error, "usage",
                "dead %s: which letters? Their numbers, --all, or --shard, --type, --sink, --status, --since",
                ctl->action->name);
  if (all)
    json_object_set_new(which, "all", json_true());
  ask->body = good ? json_dumps(which, JSON_COMPACT) : NULL;
  json_decref(which);
  return good;
}

/* ---- showing ---- */

static void add_letter(struct tg_table *table, const json_t *letter)
{
  char age[TG_HUMAN_SIZE];
  const char *answer = tg_figure_text(letter, "answer"),
             *sink = json_string_value(json_object_get(letter, "sink"));
  tg_human_duration(tg_wall_clock() - tg_figure_number(letter, "at"), age, sizeof age);
  tg_table_cell(table, TG_PLAIN, "%lld", (long long)tg_figure_number(letter, "n"));
  tg_table_cell(table, TG_PLAIN, "%s", age);
  tg_table_cell(table, TG_PLAIN, "%lld", (long long)tg_figure_number(letter, "shard"));
  tg_table_cell(table, TG_PLAIN, "%s", tg_figure_text(letter, "t"));
  tg_table_cell(table, TG_PLAIN, "%s", sink ? sink : "bot");
  tg_table_cell(table, TG_PLAIN, "%lld", (long long)tg_figure_number(letter, "status"));
  tg_table_cell(table, TG_PLAIN, "%s", tg_figure_bytes(letter, "bytes"));
  tg_table_cell(table, TG_PLAIN, "%lld", (long long)tg_figure_number(letter, "retries"));
  tg_table_cell(table, TG_DIM, "%.*s", (int)tg_utf8_cut(answer, strlen(answer), ANSWER_SHOWN), answer);
}

static void show_list(const json_t *answer)
{
  static const struct {
    const char *title;
    bool right;
  } columns[] = {{"Letter", true}, {"Age", true},   {"Shard", true},   {"Type", false},   {"Sink", false},
                 {"Answer", true}, {"Bytes", true}, {"Retries", true}, {"It said", false}};
  const json_t *letters = json_object_get(answer, "letters"), *retry = json_object_get(answer, "retry");
  int64_t matching = tg_figure_number(answer, "matching");
  size_t i;
  json_t *letter;
  if (json_array_size(letters) == 0) {
    puts(matching > 0 ? "no older letters" : "no dead letters");
    return;
  }
  struct tg_table table = {0};
  for (i = 0; i < sizeof columns / sizeof *columns; i++)
    tg_table_column(&table, columns[i].title, columns[i].right);
  json_array_foreach((json_t *)letters, i, letter)
  {
    add_letter(&table, letter);
  }
  tg_table_print(&table, stdout);
  if (json_is_integer(json_object_get(answer, "next")))
    printf("%zu of %s; --before %lld shows older ones\n", json_array_size(letters),
           tg_figure_count(answer, "matching"), (long long)tg_figure_number(answer, "next"));
  if (json_is_object(retry))
    printf("being sent again: %s of %s are done\n", tg_figure_count(retry, "done"),
           tg_figure_count(retry, "letters"));
}

static void show_letter(const json_t *answer)
{
  char *text = json_dumps(answer, JSON_INDENT(2) | JSON_ENSURE_ASCII);
  puts(text ? text : "{}");
  free(text);
}

static void show_problem(const json_t *problem)
{
  int64_t status = tg_figure_number(problem, "status");
  printf("letter %lld: ", (long long)tg_figure_number(problem, "n"));
  tg_put_safe(tg_figure_text(problem, "outcome"));
  if (status > 0)
    printf(" (%lld)", (long long)status);
  fputs(": ", stdout);
  tg_put_safe(tg_figure_text(problem, "reason"));
  putchar('\n');
}

static void show_part(const json_t *answer, const char *key, const char *words)
{
  if (tg_figure_number(answer, key) > 0)
    printf(", %s %s", tg_figure_count(answer, key), words);
}

static void show_retry(const json_t *answer)
{
  const json_t *problems = json_object_get(answer, "problems"), *stuck = json_object_get(answer, "stuck");
  size_t i;
  json_t *one;
  if (tg_figure_number(answer, "letters") == 0) {
    puts("there are no such letters");
    return;
  }
  printf("%s of %s delivered", tg_figure_count(answer, "delivered"), tg_figure_count(answer, "letters"));
  show_part(answer, "refused", "refused again");
  show_part(answer, "failed", "could not be delivered");
  show_part(answer, "untried", "not tried");
  show_part(answer, "gone", "were gone");
  puts(tg_figure_number(answer, "delivered") == tg_figure_number(answer, "letters")
           ? ""
           : "; what was not delivered stays");
  if (tg_figure_number(answer, "masked") > 0)
    printf(
        "%s of them went out without their secrets, which letters do not keep: tokens stood there as ***\n",
        tg_figure_count(answer, "masked"));
  json_array_foreach((json_t *)stuck, i, one)
  {
    fputs("not asked any more: ", stdout);
    tg_put_safe(json_is_string(one) ? json_string_value(one) : "-");
    putchar('\n');
  }
  json_array_foreach((json_t *)problems, i, one)
  {
    show_problem(one);
  }
}

/* What was not delivered makes it a failure. */
static enum tg_exit run_retry(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms timeout = ctl->timeout ? ctl->timeout : ctl->action->timeout;
  enum tg_exit result = tg_ctl_ask(ctl->client, ask->method, ask->path, ask->body, timeout, &answer, &error);
  if (result == TG_EXIT_OK)
    tg_ctl_show(ctl, answer.body);
  else
    tg_ctl_complain(&error, answer.body);
  bool left = tg_figure_number(answer.body, "refused") + tg_figure_number(answer.body, "failed") +
                  tg_figure_number(answer.body, "untried") >
              0;
  json_decref(answer.body);
  return result == TG_EXIT_OK && left ? TG_EXIT_FAILED : result;
}

static void show_purge(const json_t *answer)
{
  printf("%s removed\n", tg_figure_count(answer, "removed"));
}

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_LATER,
        .options = list_options,
        .method = "GET",
        .ask = ask_list,
        .show = show_list,
    },
    {
        .name = "list",
        .line = "the same",
        .timeout = TG_CTL_LATER,
        .options = list_options,
        .method = "GET",
        .ask = ask_list,
        .show = show_list,
    },
    {
        .name = "show",
        .usage = "NUMBER",
        .line = "all of a letter, with its event",
        .least = 1,
        .most = 1,
        .timeout = TG_CTL_LATER,
        .method = "GET",
        .ask = ask_show,
        .show = show_letter,
    },
    {
        .name = "retry",
        .usage = "[NUMBER...]",
        .line = "send letters again, marked as late; those that are accepted are gone",
        .most = 50,
        .timeout = PATIENCE,
        .options = options,
        .method = "POST",
        .path = "/dead/retry",
        .ask = ask_which,
        .show = show_retry,
        .run = run_retry,
    },
    {
        .name = "purge",
        .usage = "[NUMBER...]",
        .line = "remove letters for good",
        .most = 50,
        .timeout = PATIENCE,
        .options = options,
        .method = "POST",
        .path = "/dead/purge",
        .ask = ask_which,
        .show = show_purge,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_dead = {
    .name = "dead",
    .line = "dead letters, newest first: what a sink has refused; retry, purge",
    .page = "Each letter is tried once, beside what is delivered anyway. A sink that is down, or wants to be "
            "left\n"
            "alone, is not asked any more: what was not tried stays.\n",
    .actions = actions,
};
