/* How far the start is: a bar on a terminal, a line at each tenth elsewhere. */

#include "base/human.h"
#include "base/log.h"
#include "manager/internal.h"
#include "manager/status.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_WIDTH = 30 };

static bool bar_shown; /* of this process's standard error */

/* A bar that goes over the edge could not be wiped again. */
static size_t width_of_terminal(void)
{
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void format_left(struct tg_manager *manager, char *text, size_t size)
{
  char time[TG_HUMAN_SIZE];
  tg_ms left = tg_slots_eta(manager->slots);
  tg_human_seconds(left, time, sizeof time);
  if (tg_slots_held_back(manager->slots))
    snprintf(text, size, "identifies are held back");
  else
    snprintf(text, size, left > 0 ? "about %s left" : "nearly there", time);
}

static void draw_bar(struct tg_manager *manager, int up, int total)
{
  char bar[BAR_WIDTH + 1], left[80], text[160], line[200];
  int filled = up * BAR_WIDTH / total;
  for (int i = 0; i < BAR_WIDTH; i++)
    bar[i] = i < filled ? '#' : '.';
  bar[BAR_WIDTH] = '\0';
  format_left(manager, left, sizeof left);
  snprintf(text, sizeof text, "[%s] %d of %d shards up, %s", bar, up, total, left);
  /* The cursor goes back to the start: the next line, whoever writes it, takes
   * the place of the bar. */
  snprintf(line, sizeof line, "\r\033[K%.*s\r", (int)width_of_terminal() - 1, text);
  if (tg_log_draw(line))
    bar_shown = true;
}

void tg_progress_draw(struct tg_manager *manager)
{
  int total = tg_shard_set_count_held(&manager->env.shards);
  if (!tg_spawn_begun(manager->spawner) || tg_spawn_all_up(manager->spawner) || manager->env.stopping ||
      total == 0)
    return;
  int up = tg_shard_set_count_up(&manager->env.shards), percent = up * 100 / total;
  if (manager->options.progress) {
    draw_bar(manager, up, total);
  } else if (percent / 10 > manager->shown_percent / 10 && up < total) {
    char left[80];
    format_left(manager, left, sizeof left);
    tg_log(TG_INFO, TG_NO_SHARD, "%d of %d shards are up (%d %%), %s", up, total, percent, left);
  }
  if (percent > manager->shown_percent)
    manager->shown_percent = percent;
}

/* Of a host of a cluster that has no shards, or gives them away. */
static bool format_share(struct tg_manager *manager, int held, char *text, size_t size)
{
  if (!manager->member)
    return false;
  bool leaves = tg_member_is_draining(manager->member);
  if (held == 0)
    snprintf(text, size, leaves ? "all shards have gone to other hosts" : "no shard is this host's yet");
  else if (leaves)
    snprintf(text, size, "%d shard%s to go to other hosts", held, held == 1 ? " is" : "s are");
  return held == 0 || leaves;
}

void tg_manager_status_text(struct tg_manager *manager, char *text, size_t size)
{
  const struct tg_shard_set *shards = tg_current_set(&manager->env);
  int total = tg_shard_set_count_held(shards);
  int workers = tg_workers_count(manager->workers);
  int up = total > 0 ? tg_shard_set_count_up(shards) : 0;
  char left[80];
  tg_ms wait;
  switch (manager->phase) {
  case TG_MANAGER_NEW:
  case TG_MANAGER_FETCHING:
    if (!tg_gateway_waits(manager, text, size, &wait))
      snprintf(text, size, "asking Discord where and how to connect");
    break;
  case TG_MANAGER_LOADING:
    snprintf(text, size, "%d worker%s load%s", workers, workers == 1 ? "" : "s", workers == 1 ? "s" : "");
    break;
  case TG_MANAGER_RUNNING:
    format_left(manager, left, sizeof left);
    if (format_share(manager, total, text, size))
      break;
    if (tg_spawn_all_up(manager->spawner) && !tg_slots_held_back(manager->slots))
      snprintf(text, size, "%d of %d shard%s up", up, total, total == 1 ? "" : "s");
    else
      snprintf(text, size, "%d of %d shard%s up, %s", up, total, total == 1 ? "" : "s", left);
    break;
  case TG_MANAGER_STOPPING:
  case TG_MANAGER_OVER:
    snprintf(text, size, "stopping; the sessions are %s",
             manager->keep_sessions ? "kept for the next start" : "ended");
    break;
  }
}

void tg_progress_end(void)
{
  if (bar_shown)
    tg_log_draw("\r\033[K");
  bar_shown = false;
}
