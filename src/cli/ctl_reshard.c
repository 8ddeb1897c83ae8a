#include "cli/ctl_reshard.h"
#include "cli/ctl_figures.h"
#include "cli/table.h"

#include "base/human.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
  BAR_WIDTH = 30,
  POLL = 250,
  ANSWER = 10000,   /* what the manager knows itself */
  APPEAR = 30000,   /* a gateway that is started again is not there for a while */
  USUAL_WIDTH = 80, /* of a terminal that does not tell */
};

/* ---- as text ---- */

static int64_t in_state(const json_t *running, const char *state)
{
  return tg_figure_number(json_object_get(running, "byState"), state);
}

void tg_ctl_reshard_step(const json_t *running, struct tg_buf *out)
{
  const char *phase = tg_figure_text(running, "phase");
  int64_t classes = tg_figure_number(running, "classes"), gone = in_state(running, "gone");
  int64_t settled = in_state(running, "settled") + gone, over = in_state(running, "switched") + settled;
  const struct {
    const char *phase, *text;
    int64_t done, all;
  } steps[] = {
      {"identifying", "shards up", tg_figure_number(running, "up"), tg_figure_number(running, "to")},
      {"matching", "classes ready", in_state(running, "ready") + over, classes},
      {"switching", "classes over", over, classes},
      {"settling", "classes settled", settled, classes},
      {"closing", "classes without old shards", gone, classes},
      {"aborting", "classes still over", over, classes},
  };
  tg_human_safe(out, phase, false);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    if (strcmp(phase, steps[i].phase) == 0)
      tg_buf_printf(out, ", %" PRId64 " of %" PRId64 " %s", steps[i].done, steps[i].all, steps[i].text);
}

static void put_waiting(const json_t *object, struct tg_buf *out)
{
  const char *text = json_string_value(json_object_get(object, "waitsFor"));
  if (!text)
    return;
  tg_buf_puts(out, "; waits for ");
  tg_human_safe(out, text, false);
}

static void put_eta(const json_t *running, struct tg_buf *out)
{
  char left[TG_HUMAN_SIZE];
  int64_t eta;
  if (!tg_figure(running, "eta", &eta) || eta < 0)
    return;
  tg_human_seconds(eta, left, sizeof left);
  tg_buf_printf(out, ", about %s left", left);
}

/* How much of it is done, of `width`: by the time that it takes if that is known, else by its steps. */
static int filled(const json_t *running, int width)
{
  int64_t done = tg_figure_number(running, "duration"), left;
  int64_t over = in_state(running, "switched") + in_state(running, "settled") + 2 * in_state(running, "gone");
  if (!tg_figure(running, "eta", &left) || left < 0) {
    done = tg_figure_number(running, "up") + over;
    left = tg_figure_number(running, "to") + 2 * tg_figure_number(running, "classes") - done;
  }
  if (done <= 0 || left < 0)
    return 0;
  double share = (double)done / ((double)done + (double)left);
  return (int)(share * width);
}

/* {"TYPE": n, ...} as "TYPE n, ..."; states as well. */
static char *counts_text(const json_t *counts)
{
  struct tg_buf out = {0};
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)counts, name, value)
      tg_buf_printf(&out, "%s%s %" PRId64, out.length ? ", " : "", name, (int64_t)json_integer_value(value));
  return out.length ? tg_buf_take(&out) : NULL;
}

static char *names_text(const json_t *names)
{
  struct tg_buf out = {0};
  const json_t *name;
  for (size_t i = 0; (name = json_array_get(names, i)); i++)
    tg_buf_printf(&out, "%s%s", i ? ", " : "", json_is_string(name) ? json_string_value(name) : "?");
  return out.length ? tg_buf_take(&out) : NULL;
}

/* How one has ended, in words that follow on "...: ". */
static void put_end(const json_t *last, struct tg_buf *out)
{
  const char *reason = json_string_value(json_object_get(last, "reason"));
  tg_human_safe(out, tg_figure_text(last, "result"), false);
  tg_buf_printf(out, ": from %" PRId64 " to %" PRId64 " shards, %s, %s session starts",
                tg_figure_number(last, "from"), tg_figure_number(last, "to"),
                tg_figure_duration(last, "duration"), tg_figure_count(last, "identifies"));
  if (reason) {
    tg_buf_puts(out, "; ");
    tg_human_safe(out, reason, false);
  }
}

/* ---- as a table ---- */

/* Takes `text`; NULL: no row. */
static void add_row(struct tg_table *table, const char *title, enum tg_colour colour, char *text)
{
  if (!text)
    return;
  tg_table_cell(table, TG_BOLD, "%s", title);
  tg_table_cell(table, colour, "%s", text);
  free(text);
}

static void add_running(struct tg_table *table, const json_t *running)
{
  struct tg_buf head = {0}, step = {0};
  const json_t *held = json_object_get(running, "held"), *waits = json_object_get(running, "waitsFor");
  tg_buf_printf(&head, "from %" PRId64 " to %" PRId64 " shards, for %s", tg_figure_number(running, "from"),
                tg_figure_number(running, "to"), tg_figure_duration(running, "duration"));
  put_eta(running, &head);
  tg_ctl_reshard_step(running, &step);
  add_row(table, "Resharding", TG_PLAIN, tg_buf_take(&head));
  add_row(table, "Step", TG_PLAIN, tg_buf_take(&step));
  add_row(table, "Classes", TG_PLAIN, counts_text(json_object_get(running, "byState")));
  if (json_is_string(waits))
    add_row(table, "Waits for", TG_UNEASY, tg_strdup(json_string_value(waits)));
  tg_table_cell(table, TG_BOLD, "Held");
  tg_table_cell(table, TG_PLAIN, "%s events (%s)", tg_figure_count(held, "events"),
                tg_figure_bytes(held, "bytes"));
  add_row(table, "Unmatched", TG_UNEASY, counts_text(json_object_get(running, "unmatched")));
  add_row(table, "By time", TG_UNEASY, names_text(json_object_get(running, "cut")));
}

void tg_ctl_show_reshard(const json_t *answer)
{
  struct tg_table table = {0};
  const json_t *running = json_object_get(answer, "running"), *planned = json_object_get(answer, "planned");
  const json_t *last = json_object_get(answer, "last");
  tg_table_column(&table, "", false);
  tg_table_column(&table, "", false);
  if (json_is_object(running))
    add_running(&table, running);
  else
    add_row(&table, "Resharding", TG_PLAIN, tg_strdup("none runs"));
  if (json_is_object(planned)) {
    struct tg_buf text = {0};
    tg_buf_printf(&text, "%" PRId64 " shards", tg_figure_number(planned, "to"));
    put_waiting(planned, &text);
    add_row(&table, "Planned", TG_UNEASY, tg_buf_take(&text));
  }
  if (json_is_object(last)) {
    struct tg_buf text = {0};
    put_end(last, &text);
    add_row(&table, "Last", TG_PLAIN, tg_buf_take(&text));
  }
  tg_table_print(&table, stdout);
}

/* ---- until it is over ---- */

struct following {
  const struct tg_follow *follow;
  tg_ms deadline;  /* INT64_MAX: none */
  tg_ms last_seen; /* when the gateway has last answered, or the start */
  bool seen;       /* one that runs */
  char *shown;     /* the last line */
};

static int terminal_width(void)
{
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : USUAL_WIDTH;
}

static void wipe(const struct following *following)
{
  if (following->follow->how == TG_FOLLOW_BAR)
    fputs("\r\033[K", stdout);
}

/* A line that is too long for the terminal would not be written over. */
static void draw_bar(const json_t *running)
{
  struct tg_buf line = {0};
  int full = filled(running, BAR_WIDTH);
  tg_buf_puts(&line, "[");
  for (int i = 0; i < BAR_WIDTH; i++)
    tg_buf_puts(&line, i < full ? "#" : ".");
  tg_buf_puts(&line, "] ");
  tg_ctl_reshard_step(running, &line);
  put_eta(running, &line);
  put_waiting(running, &line);
  char *text = tg_buf_take(&line);
  printf("\r\033[K%.*s", terminal_width() - 1, text);
  free(text);
}

/* Without the time that is left, which changes with each answer. */
static void write_line(struct following *following, const json_t *running)
{
  struct tg_buf line = {0};
  tg_ctl_reshard_step(running, &line);
  put_waiting(running, &line);
  char *text = tg_buf_take(&line);
  if (following->shown && strcmp(following->shown, text) == 0) {
    free(text);
    return;
  }
  puts(text);
  free(following->shown);
  following->shown = text;
}

static void show_step(struct following *following, const json_t *running)
{
  if (following->follow->how == TG_FOLLOW_BAR)
    draw_bar(running);
  else if (following->follow->how == TG_FOLLOW_LINES)
    write_line(following, running);
  fflush(stdout);
}

static enum tg_exit show_end(const struct following *following, const json_t *answer)
{
  const json_t *last = json_object_get(answer, "last");
  const char *wanted = following->follow->wanted;
  struct tg_buf text = {0};
  bool none = !wanted && !following->seen;
  bool fine = none || strcmp(tg_figure_text(last, "result"), wanted ? wanted : "done") == 0;
  if (none)
    tg_buf_puts(&text, "none runs");
  else if (json_is_object(last))
    put_end(last, &text);
  else
    tg_buf_puts(&text, "no resharding runs any more, and how it ended is not known: the gateway was started "
                       "again. `tidegate ctl status` shows its shards");
  char *words = tg_buf_take(&text);
  wipe(following);
  if (following->follow->how == TG_FOLLOW_SILENT) {
    char *json = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
    puts(json ? json : "{}");
    free(json);
  } else if (fine) {
    puts(words);
  }
  if (!fine)
    fprintf(stderr, "tidegate ctl: %s\n", words);
  free(words);
  return fine && fflush(stdout) == 0 ? TG_EXIT_OK : TG_EXIT_FAILED;
}

static enum tg_exit too_long(const struct following *following)
{
  wipe(following);
  fprintf(stderr, "tidegate ctl: the resharding is not over after %lld ms; it goes on\n",
          (long long)following->follow->timeout);
  return TG_EXIT_FAILED;
}

/* False: it is not over, and to be asked again. */
static bool look(struct following *following, enum tg_exit *result)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms left = following->deadline - tg_now();
  tg_ms timeout = left > ANSWER ? ANSWER : left > 1 ? left : 1;
  *result = tg_ctl_ask(following->follow->client, "GET", "/reshard", NULL, timeout, &answer, &error);
  bool there = *result == TG_EXIT_OK, in_time = tg_now() < following->deadline;
  bool absent = *result == TG_EXIT_UNAVAILABLE && tg_now() - following->last_seen < APPEAR;
  const json_t *running = json_object_get(answer.body, "running");
  bool goes_on = (there ? json_is_object(running) : absent) && in_time;
  if (there)
    following->last_seen = tg_now();
  if (goes_on && there) {
    following->seen = true;
    show_step(following, running);
  } else if (there && !json_is_object(running)) {
    *result = show_end(following, answer.body);
  } else if (!in_time && (there || absent)) {
    *result = too_long(following);
  } else if (!goes_on) {
    wipe(following);
    fprintf(stderr, "tidegate ctl: %s\n", error.message);
  }
  json_decref(answer.body);
  return !goes_on;
}

/* Only what is allowed in the midst of anything. The signal comes once more when this returns. */
static void on_interrupt(int number)
{
  static const char said[] = "\ntidegate ctl: the resharding goes on: `tidegate ctl reshard` shows how far "
                             "it is, `tidegate ctl reshard "
                             "abort` takes it back\n";
  ssize_t written = write(STDERR_FILENO, said, sizeof said - 1);
  (void)written;
  raise(number);
}

enum tg_exit tg_ctl_follow(const struct tg_follow *follow)
{
  struct following following = {
      .follow = follow,
      .deadline = follow->timeout ? tg_now() + follow->timeout : INT64_MAX,
      .last_seen = tg_now(),
  };
  struct sigaction interrupt = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
  enum tg_exit result;
  sigaction(SIGINT, &interrupt, NULL);
  while (!look(&following, &result))
    usleep(POLL * 1000);
  free(following.shown);
  return result;
}
