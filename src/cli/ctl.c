/* tidegate ctl: asks, or tells, the running gateway over its control API. */

#include "cli/advice.h"
#include "cli/cli.h"
#include "cli/ctl_client.h"
#include "cli/ctl_cluster.h"
#include "cli/ctl_drain.h"
#include "cli/ctl_figures.h"
#include "cli/ctl_queue.h"
#include "cli/ctl_reshard.h"
#include "cli/ctl_show.h"
#include "cli/options.h"
#include "cli/table.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  MAX_WORDS = 3,
  MAX_BODY = 1 << 20, /* as the control API has it */
  SOON = 10000,       /* what the manager knows itself */
  LATER = 60000,      /* what shards or workers have to do first */
  BEGIN = 90000,      /* Discord is asked first, and again if need be */
  DAY = 86400000,
  POLL = 250,
  APPEAR = 30000, /* --wait: a gateway that has just been started is not there yet */
};

struct ctl {
  struct tg_ctl_client *client;
  bool as_json, as_table, wait;
  bool now;      /* drain: without waiting for the bot */
  bool follows;  /* a resharding, after its first answer */
  tg_ms timeout; /* 0: what the command usually gets */
};

struct ask {
  const char *method;
  char *path;
  char *body; /* NULL: none */
  tg_ms more; /* than the command usually gets */
};

/* ---- what is asked ---- */

static bool fill_plain(struct ask *ask, const char *method, const char *path)
{
  ask->method = method;
  ask->path = tg_strdup(path);
  return true;
}

static bool ask_status(const char **words, struct ask *ask, struct tg_error *error)
{
  (void)words, (void)error;
  return fill_plain(ask, "GET", "/status");
}

static bool ask_shards(const char **words, struct ask *ask, struct tg_error *error)
{
  (void)words, (void)error;
  return fill_plain(ask, "GET", "/shards");
}

static bool ask_budget(const char **words, struct ask *ask, struct tg_error *error)
{
  (void)words, (void)error;
  return fill_plain(ask, "GET", "/identify");
}

static bool ask_reload(const char **words, struct ask *ask, struct tg_error *error)
{
  (void)words, (void)error;
  return fill_plain(ask, "POST", "/reload");
}

static bool ask_shutdown(const char **words, struct ask *ask, struct tg_error *error)
{
  (void)words, (void)error;
  return fill_plain(ask, "POST", "/shutdown");
}

static bool is_number(const char *text, size_t max_digits)
{
  size_t digits = strspn(text, "0123456789");
  return digits > 0 && digits <= max_digits && text[digits] == '\0';
}

static bool ask_reshard(const char **words, struct ask *ask, struct tg_error *error)
{
  const char *word = words[0];
  if (!word || strcmp(word, "status") == 0)
    return fill_plain(ask, "GET", "/reshard");
  bool aborts = strcmp(word, "abort") == 0;
  if (!aborts && (!is_number(word, 6) || atoi(word) == 0))
    return tg_fail(error, "usage", "reshard: expected the new number of shards, status or abort, got \"%s\"",
                   word);
  struct tg_buf body = {0};
  if (aborts)
    tg_buf_puts(&body, "{\"abort\":true}");
  else
    tg_buf_printf(&body, "{\"totalShards\":%d}", atoi(word));
  ask->body = tg_buf_take(&body);
  return fill_plain(ask, "POST", "/reshard");
}

static bool ask_queue(const char **words, struct ask *ask, struct tg_error *error)
{
  if (!words[0])
    return fill_plain(ask, "GET", "/queue");
  if (strcmp(words[0], "forget") != 0 || !words[1])
    return tg_fail(error, "usage", "queue: expected nothing, or forget and the name of a sink");
  ask->method = "POST";
  ask->path = tg_ctl_forget_path(words[1], error);
  return ask->path != NULL;
}

static bool ask_cluster(const char **words, struct ask *ask, struct tg_error *error)
{
  if (!words[0])
    return fill_plain(ask, "GET", "/cluster");
  if (strcmp(words[0], "forget") != 0 || !words[1])
    return tg_fail(error, "usage", "cluster: expected nothing, or forget and the name of a host");
  json_t *body = json_pack("{s:s}", "host", words[1]);
  ask->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
  json_decref(body);
  if (!ask->body)
    return tg_fail(error, "usage", "cluster forget: the name of the host is no text");
  return fill_plain(ask, "POST", "/cluster/forget");
}

static bool ask_drain(const char **words, struct ask *ask, struct tg_error *error)
{
  (void)words, (void)error;
  return fill_plain(ask, "POST", "/cluster/drain");
}

static char *read_input(struct tg_error *error)
{
  struct tg_buf text = {0};
  for (size_t n = 1; n > 0 && text.length <= MAX_BODY; text.length += n)
    n = fread(tg_buf_reserve(&text, 65536), 1, 65536, stdin);
  if (text.length <= MAX_BODY)
    return tg_buf_take(&text);
  tg_buf_free(&text);
  return tg_fail(error, "usage", "payload: standard input has over %d bytes", MAX_BODY), NULL;
}

static bool payload_path(const char *target, struct ask *ask, struct tg_error *error)
{
  struct tg_buf path = {0};
  if (strcmp(target, "all") == 0)
    tg_buf_puts(&path, "/payload");
  else if (strncmp(target, "guild:", 6) == 0 && is_number(target + 6, 20))
    tg_buf_printf(&path, "/guilds/%s/payload", target + 6);
  else if (is_number(target, 6))
    tg_buf_printf(&path, "/shards/%d/payload", atoi(target));
  else
    return tg_fail(error, "usage", "payload: expected a shard's number, guild:ID or all, got \"%s\"", target);
  ask->method = "POST";
  ask->path = tg_buf_take(&path);
  return true;
}

static bool ask_payload(const char **words, struct ask *ask, struct tg_error *error)
{
  if (!payload_path(words[0], ask, error))
    return false;
  ask->body = strcmp(words[1], "-") == 0 ? read_input(error) : tg_strdup(words[1]);
  if (!ask->body)
    return false;
  json_error_t problem;
  json_t *payload = json_loads(ask->body, 0, &problem);
  if (!payload)
    return tg_fail(error, "usage", "payload: the JSON is wrong at line %d, column %d: %s", problem.line,
                   problem.column, problem.text);
  bool is_object = json_is_object(payload);
  json_int_t timeout = json_integer_value(json_object_get(payload, "timeout"));
  ask->more = timeout > 0 && timeout < DAY ? timeout : 0; /* the gateway waits that long for the shard */
  json_decref(payload);
  return is_object || tg_fail(error, "usage", "payload: expected an object like {\"op\":3,\"d\":{...}}");
}

/* ---- what is shown ---- */

/* On a terminal nothing but ASCII: a name of somebody else cannot write on it. */
static void show_json(const json_t *answer)
{
  size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) | JSON_ENSURE_ASCII : JSON_COMPACT;
  char *text = answer ? json_dumps(answer, flags | JSON_ENCODE_ANY) : NULL;
  puts(text ? text : "{}");
  free(text);
}

/* That one has begun, is taken back, or how far it is. */
static void show_reshard(const json_t *answer)
{
  if (json_object_get(answer, "identifies"))
    printf("from %s to %s shards, with about %s session starts\n", tg_figure_count(answer, "from"),
           tg_figure_count(answer, "to"), tg_figure_count(answer, "identifies"));
  else if (json_object_get(answer, "aborting"))
    puts("the resharding is taken back");
  else
    tg_ctl_show_reshard(answer);
}

/* To one shard, to all of them, or an op 8 whose answer is the members. */
static void show_payload(const json_t *answer)
{
  const json_t *sent = json_object_get(answer, "sent");
  if (json_is_integer(sent))
    printf("sent over %lld shards\n", (long long)json_integer_value(sent));
  else if (json_is_array(json_object_get(answer, "members")))
    show_json(answer);
  else
    puts("sent");
}

static void show_shutdown(const json_t *answer)
{
  (void)answer;
  puts("the gateway is stopping; its sessions are ended");
}

static const struct command {
  const char *name;
  int least, most; /* words */
  const char *wanted;
  tg_ms timeout;
  bool (*ask)(const char **words, struct ask *ask, struct tg_error *error);
  void (*show)(const json_t *answer);
} commands[] = {
    {"status", 0, 0, NULL, SOON, ask_status, tg_ctl_show_status},
    {"shards", 0, 0, NULL, SOON, ask_shards, tg_ctl_show_shards},
    {"queue", 0, 2, NULL, SOON, ask_queue, tg_ctl_show_queue},
    {"reload", 0, 0, NULL, LATER, ask_reload, tg_ctl_show_reload},
    {"reshard", 0, 1, NULL, BEGIN, ask_reshard, show_reshard},
    {"payload", 2, 2, "a shard and the JSON to send", LATER, ask_payload, show_payload},
    {"cluster", 0, 2, NULL, SOON, ask_cluster, tg_ctl_show_cluster},
    {"drain", 0, 0, NULL, SOON, ask_drain, NULL},
    {"identify-budget", 0, 0, NULL, SOON, ask_budget, tg_ctl_show_budget},
    {"shutdown", 0, 0, NULL, SOON, ask_shutdown, show_shutdown},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static bool terminal_takes_colours(void)
{
  const char *term = getenv("TERM"), *refused = getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && !(refused && *refused);
}

static enum tg_exit show(const struct ctl *ctl, const struct command *command, const json_t *answer)
{
  bool table = ctl->as_table || (!ctl->as_json && (ctl->follows || isatty(STDOUT_FILENO)));
  if (table)
    command->show(answer);
  else
    show_json(answer);
  if (fflush(stdout) == 0)
    return TG_EXIT_OK;
  perror("tidegate ctl: standard output");
  return TG_EXIT_FAILED;
}

/* The gateway's own words, if it has said some: an error, or of a reload that
 * fails all that is wrong with the script. */
static void complain(const struct tg_error *error, const json_t *answer)
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

/* Of a payload to all shards some may have failed. */
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

static enum tg_exit ask_once(const struct ctl *ctl, const struct command *command, const struct ask *ask)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms timeout = ctl->timeout ? ctl->timeout : command->timeout + ask->more;
  enum tg_exit result = tg_ctl_ask(ctl->client, ask->method, ask->path, ask->body, timeout, &answer, &error);
  if (result == TG_EXIT_OK) {
    enum tg_exit shown = show(ctl, command, answer.body), failures = tell_failures(answer.body);
    result = shown ? shown : failures;
  } else {
    complain(&error, answer.body);
  }
  json_decref(answer.body);
  return result;
}

/* ---- --wait ---- */

struct waiting {
  tg_ms deadline;  /* INT64_MAX: none */
  tg_ms last_seen; /* when the gateway has last answered, or the start */
  bool answered;   /* the last time it was asked */
  bool draws;
};

static enum tg_exit not_ready(const struct ctl *ctl)
{
  fprintf(stderr, "tidegate ctl: not all shards are up after %lld ms\n", (long long)ctl->timeout);
  return TG_EXIT_FAILED;
}

/* False: it is not ready, and to be asked again. */
static bool ask_ready(const struct ctl *ctl, const struct command *command, const struct ask *ask,
                      struct waiting *waiting, enum tg_exit *result)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms left = waiting->deadline - tg_now();
  *result = tg_ctl_ask(ctl->client, ask->method, ask->path, NULL,
                       left > SOON ? SOON
                       : left > 1  ? left
                                   : 1,
                       &answer, &error);
  bool ready = json_is_true(json_object_get(answer.body, "ready"));
  bool absent = *result == TG_EXIT_UNAVAILABLE && tg_now() - waiting->last_seen < APPEAR;
  bool goes_on = (*result == TG_EXIT_OK ? !ready : absent) && tg_now() < waiting->deadline;
  bool cut_off = *result == TG_EXIT_UNAVAILABLE && waiting->answered && left < SOON;
  waiting->answered = *result == TG_EXIT_OK;
  if (waiting->answered)
    waiting->last_seen = tg_now();
  if (waiting->draws)
    tg_ctl_show_progress(goes_on && answer.body ? answer.body : NULL);
  if (!goes_on && *result == TG_EXIT_OK) {
    enum tg_exit shown = show(ctl, command, answer.body);
    *result = ready ? shown : not_ready(ctl);
  } else if (!goes_on && cut_off) { /* by the deadline, not by the gateway */
    *result = not_ready(ctl);
  } else if (!goes_on) {
    complain(&error, answer.body);
  }
  json_decref(answer.body);
  return !goes_on;
}

static enum tg_exit ask_until_ready(const struct ctl *ctl, const struct command *command,
                                    const struct ask *ask)
{
  struct waiting waiting = {
      .deadline = ctl->timeout ? tg_now() + ctl->timeout : INT64_MAX,
      .last_seen = tg_now(),
      .draws = terminal_takes_colours() && !ctl->as_json,
  };
  enum tg_exit result;
  while (!ask_ready(ctl, command, ask, &waiting, &result))
    usleep(POLL * 1000);
  return result;
}

/* ---- resharding ---- */

static bool reshard_is_followed(const struct ctl *ctl, const struct ask *ask)
{
  return ctl->wait || (strcmp(ask->method, "POST") == 0 && !ctl->as_json);
}

/* What is done is followed until it is over; what is only looked at if that is wanted. */
static enum tg_exit reshard(struct ctl *ctl, const struct command *command, const struct ask *ask)
{
  bool changes = strcmp(ask->method, "POST") == 0;
  struct tg_follow follow = {
      .client = ctl->client,
      .how = ctl->as_json               ? TG_FOLLOW_SILENT
             : terminal_takes_colours() ? TG_FOLLOW_BAR
                                        : TG_FOLLOW_LINES,
      .timeout = ctl->timeout,
      .wanted = !changes                     ? NULL
                : strstr(ask->body, "abort") ? "aborted"
                                             : "done",
  };
  ctl->follows = reshard_is_followed(ctl, ask);
  if (changes || !ctl->follows) {
    enum tg_exit result = ask_once(ctl, command, ask);
    if (result != TG_EXIT_OK || !ctl->follows)
      return result;
  }
  return tg_ctl_follow(&follow);
}

/* ---- draining ---- */

/* What is shown is how far it gets, not the first answer. */
static enum tg_exit drain(const struct ctl *ctl, const struct command *command, const struct ask *ask)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  const struct tg_drain wanted = {
      .client = ctl->client,
      .draws = terminal_takes_colours() && !ctl->as_json,
      .as_json = ctl->as_json,
      .anyway = ctl->now,
      .timeout = ctl->timeout,
  };
  enum tg_exit result = tg_ctl_ask(ctl->client, ask->method, ask->path, ctl->now ? "{\"now\":true}" : NULL,
                                   command->timeout, &answer, &error);
  if (result != TG_EXIT_OK)
    complain(&error, answer.body);
  json_decref(answer.body);
  return result == TG_EXIT_OK ? tg_ctl_wait_drained(&wanted) : result;
}

/* ---- the command line ---- */

static int __attribute__((format(printf, 1, 2))) misuse(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  fputs("tidegate ctl: ", stderr);
  vfprintf(stderr, format, args);
  va_end(args);
  fputs("\n\n" TG_HELP_CTL, stderr);
  return TG_EXIT_USAGE;
}

static const struct command *find(const char *name)
{
  for (int i = 0; i < COMMANDS; i++) {
    if (strcmp(commands[i].name, name) == 0)
      return &commands[i];
  }
  return NULL;
}

static int no_command(const char *name)
{
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++)
    names[i] = commands[i].name;
  const char *meant = tg_suggest(name, names, COMMANDS);
  return meant ? misuse("there is no command \"%s\" (did you mean %s?)", name, meant)
               : misuse("there is no command \"%s\"", name);
}

static int run(struct ctl *ctl, const struct command *command, const char **words)
{
  struct tg_error error = {0};
  struct ask ask = {0};
  int exit_code = TG_EXIT_USAGE;
  ctl->client = tg_ctl_client_new(&error);
  if (!ctl->client || !command->ask(words, &ask, &error))
    complain(&error, NULL);
  else
    exit_code = command->ask == ask_reshard ? (int)reshard(ctl, command, &ask)
                : command->ask == ask_drain ? (int)drain(ctl, command, &ask)
                : ctl->wait                 ? (int)ask_until_ready(ctl, command, &ask)
                                            : (int)ask_once(ctl, command, &ask);
  if (exit_code == TG_EXIT_UNAVAILABLE && command->ask == ask_queue && words[0])
    tg_ctl_forget_by_hand(words[1]);
  free(ask.path);
  free(ask.body);
  tg_ctl_client_free(ctl->client);
  return exit_code;
}

int tg_cli_ctl(int argc, char **argv)
{
  struct ctl ctl = {0};
  const char *words[MAX_WORDS] = {0}, *timeout = NULL;
  int exit_code;
  const struct tg_cli_option options[] = {
      {"--json", &ctl.as_json, NULL}, {"--table", &ctl.as_table, NULL}, {"--wait", &ctl.wait, NULL},
      {"--now", &ctl.now, NULL},      {"--timeout", NULL, &timeout},    {NULL, NULL, NULL},
  };
  int count = tg_cli_options(argc, argv, options, TG_HELP_CTL, words, MAX_WORDS, &exit_code);
  if (count < 0)
    return exit_code;
  if (count == 0)
    return misuse("a command is missing");
  const struct command *command = find(words[0]);
  if (!command)
    return no_command(words[0]);
  if (count - 1 < command->least)
    return misuse("%s needs %s", command->name, command->wanted);
  if (count - 1 > command->most)
    return misuse("\"%s\" is one word too many", words[command->most + 1]);
  if (ctl.as_json && ctl.as_table)
    return misuse("--json or --table, not both");
  if (ctl.wait && command->ask != ask_status && command->ask != ask_reshard)
    return misuse("%s has no --wait", command->name);
  if (ctl.now && command->ask != ask_drain)
    return misuse("%s has no --now", command->name);
  if (timeout && (!is_number(timeout, 9) || atoi(timeout) == 0))
    return misuse("--timeout takes milliseconds, not \"%s\"", timeout);
  ctl.timeout = timeout ? atoi(timeout) : 0;
  tg_table_set_colours(terminal_takes_colours());
  exit_code = run(&ctl, command, words + 1);
  if (exit_code == TG_EXIT_UNAVAILABLE || exit_code == TG_EXIT_NO_PERMISSION)
    tg_advice_print("tidegate ctl");
  return exit_code;
}
