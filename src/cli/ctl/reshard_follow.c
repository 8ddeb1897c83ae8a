#include "cli/ctl/answer.h"
#include "cli/ctl/figures.h"
#include "cli/ctl/reshard.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
  BAR_WIDTH = 30,
  POLL = 250,
  APPEAR = 30000,   /* a gateway that is started again is not there for a while */
  USUAL_WIDTH = 80, /* of a terminal that does not tell */
};

enum how {
  BAR,    /* one line, written over and over: a terminal */
  LINES,  /* a line for each step */
  SILENT, /* nothing but what came of it, as JSON */
};

struct following {
  const struct tg_ctl *ctl;
  enum how how;
  const char *wanted;
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
  if (following->how == BAR)
    fputs("\r\033[K", stdout);
}

/* A line that is too long for the terminal would not be written over. */
static void draw_bar(const json_t *running)
{
  struct tg_buf line = {0};
  int full = tg_ctl_reshard_filled(running, BAR_WIDTH);
  tg_buf_puts(&line, "[");
  for (int i = 0; i < BAR_WIDTH; i++)
    tg_buf_puts(&line, i < full ? "#" : ".");
  tg_buf_puts(&line, "] ");
  tg_ctl_reshard_step(running, &line);
  tg_ctl_reshard_eta(running, &line);
  tg_ctl_reshard_waiting(running, &line);
  char *text = tg_buf_take(&line);
  printf("\r\033[K%.*s", terminal_width() - 1, text);
  free(text);
}

/* Without the time that is left, which changes with each answer. */
static void write_line(struct following *following, const json_t *running)
{
  struct tg_buf line = {0};
  tg_ctl_reshard_step(running, &line);
  tg_ctl_reshard_waiting(running, &line);
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
  if (following->how == BAR)
    draw_bar(running);
  else if (following->how == LINES)
    write_line(following, running);
  fflush(stdout);
}

static enum tg_exit show_end(const struct following *following, const json_t *answer)
{
  const json_t *last = json_object_get(answer, "last");
  const char *wanted = following->wanted;
  struct tg_buf text = {0};
  bool none = !wanted && !following->seen;
  bool fine = none || strcmp(tg_figure_text(last, "result"), wanted ? wanted : "done") == 0;
  if (none)
    tg_buf_puts(&text, "none runs");
  else if (json_is_object(last))
    tg_ctl_reshard_end(last, &text);
  else
    tg_buf_puts(&text, "no resharding runs any more, and how it ended is not known: the gateway was started "
                       "again. `tidegate ctl status` shows its shards");
  char *words = tg_buf_take(&text);
  wipe(following);
  if (following->how == SILENT) {
    char *json = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
    puts(json ? json : "{}");
    free(json);
  } else if (fine) {
    puts(words);
  }
  if (!fine)
    fprintf(stderr, "tidegate ctl: %s\n", words);
  free(words);
  return fine ? TG_EXIT_OK : TG_EXIT_FAILED;
}

static enum tg_exit too_long(const struct following *following)
{
  wipe(following);
  fprintf(stderr, "tidegate ctl: the resharding is not over after %lld ms; it goes on\n",
          (long long)following->ctl->timeout);
  return TG_EXIT_FAILED;
}

/* False: it is not over, and to be asked again. */
static bool look(struct following *following, enum tg_exit *result)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms left = following->deadline - tg_now();
  tg_ms timeout = left > TG_CTL_SOON ? TG_CTL_SOON : left > 1 ? left : 1;
  *result = tg_ctl_ask(following->ctl->client, "GET", "/reshard", NULL, timeout, &answer, &error);
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

enum tg_exit tg_ctl_follow(const struct tg_ctl *ctl, const char *wanted)
{
  struct following following = {
      .ctl = ctl,
      .how = ctl->as_json     ? SILENT
             : tg_ctl_draws() ? BAR
                              : LINES,
      .wanted = wanted,
      .deadline = ctl->timeout ? tg_now() + ctl->timeout : INT64_MAX,
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
