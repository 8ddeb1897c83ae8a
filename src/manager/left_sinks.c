#include "manager/left_sinks.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "base/state_open.h"
#include "event_log/event_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_INTERVAL = 10000 /* ms */ };

enum state {
  UNREAD, /* its logs are still to be looked into, one a pulse */
  HELD,   /* somebody has one of them, or it cannot be read: the next look begins anew */
  KNOWN,
};

struct left {
  struct left *next; /* by name */
  char name[TG_STATS_SINK_NAME_SIZE];
  bool there; /* at the last look around */
  enum state state;
  bool held;   /* UNREAD: one of those up to now was */
  char **logs; /* UNREAD: from `next_log` on they are to be looked into; NULL: there is none */
  int next_log;
  bool told, complained; /* the program's log has a line of it; of why it cannot be read */
  uint64_t events, bytes;
  tg_ms youngest; /* of them, tg_steady_clock(); 0: there is none */
};

struct tg_left_sinks {
  const struct tg_manager_env *env;
  char *above; /* <state_dir>/sinks */
  bool tidied; /* what a process has left that was killed is removed */
  bool reloading;
  tg_ms look_at; /* tg_now(): around, the next time */
  struct left *first;
};

struct tg_left_sinks *tg_left_sinks_new(const struct tg_manager_env *env)
{
  struct tg_left_sinks *left = tg_calloc(1, sizeof *left);
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/sinks", env->state_dir);
  left->above = tg_buf_take(&path);
  left->env = env;
  return left;
}

static void drop(struct left **at)
{
  struct left *one = *at;
  *at = one->next;
  tg_event_log_list_free(one->logs);
  free(one);
}

void tg_left_sinks_free(struct tg_left_sinks *left)
{
  while (left->first)
    drop(&left->first);
  free(left->above);
  free(left);
}

static char *path_of(const struct tg_left_sinks *left, const char *name, const char *log)
{
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/%s%s%s", left->above, name, log ? "/" : "", log ? log : "");
  return tg_buf_take(&path);
}

/* ---- which there are ---- */

static bool is_left(const struct tg_left_sinks *left, const char *name)
{
  return tg_stats_is_sink_name(name) && !tg_config_sink(left->env->config, name);
}

static struct left *entry_of(struct tg_left_sinks *left, const char *name)
{
  struct left **at = &left->first;
  while (*at && strcmp((*at)->name, name) < 0)
    at = &(*at)->next;
  if (*at && strcmp((*at)->name, name) == 0)
    return *at;
  struct left *one = tg_calloc(1, sizeof *one);
  memcpy(one->name, name, strlen(name) + 1); /* a sink's name */
  one->state = HELD;
  one->next = *at;
  return *at = one;
}

static void find(struct tg_left_sinks *left, const char *name)
{
  struct left *one = entry_of(left, name);
  one->there = true;
  if (one->state != HELD)
    return;
  char *parent = path_of(left, name, NULL);
  one->logs = tg_event_log_list(parent);
  one->next_log = 0;
  one->state = UNREAD;
  one->held = false;
  one->events = one->bytes = 0;
  one->youngest = 0;
  free(parent);
}

static void look_around(struct tg_left_sinks *left)
{
  int fd = tg_state_directory(AT_FDCWD, left->above);
  DIR *walk = fd < 0 ? NULL : fdopendir(fd);
  for (struct left *one = left->first; one; one = one->next)
    one->there = false;
  for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;)
    if (is_left(left, entry->d_name))
      find(left, entry->d_name);
  for (struct left **at = &left->first; *at;)
    if ((*at)->there)
      at = &(*at)->next;
    else
      drop(at);
  if (walk)
    closedir(walk);
  else if (fd >= 0)
    close(fd);
}

/* ---- what is in them ---- */

static bool wants_all(void *ctx, int shard_id)
{
  (void)ctx, (void)shard_id;
  return true;
}

static tg_ms youngest_of(struct tg_event_log *log)
{
  struct tg_log_entry entry;
  tg_ms youngest = 0;
  for (int i = 0, shard; (shard = tg_event_log_shard_at(log, i)) >= 0; i++)
    for (tg_log_position at = 0; (at = tg_event_log_next(log, shard, at, &entry)) != 0;)
      youngest = entry.at > youngest ? entry.at : youngest;
  return youngest;
}

/* As one of several that may read it: its files stay as they are. */
static void look_into(struct tg_left_sinks *left, struct left *one, const char *name)
{
  char *directory = path_of(left, one->name, name);
  struct tg_error error = {0};
  struct tg_event_log *log = tg_event_log_open(
      &(struct tg_event_log_options){
          .directory = directory, .mode = TG_LOG_DRAIN, .wanted = wants_all, .reader = "manager"},
      &error);
  if (log) {
    struct tg_log_figures figures;
    tg_event_log_figures(log, &figures);
    tg_ms youngest = youngest_of(log);
    one->events += figures.events;
    one->bytes += figures.bytes;
    one->youngest = youngest > one->youngest ? youngest : one->youngest;
  } else if (strcmp(error.code, "missing") != 0) {
    one->held = true;
    if (strcmp(error.code, "locked") != 0 && !one->complained)
      tg_log(TG_WARN, TG_NO_SHARD, "what the sink %s has left cannot be looked at: %s", one->name,
             error.message);
    one->complained = one->complained || strcmp(error.code, "locked") != 0;
  }
  tg_event_log_close(log);
  free(directory);
}

static bool remove_left(struct tg_left_sinks *left, const char *name, struct tg_error *error)
{
  char *parent = path_of(left, name, NULL);
  bool gone = tg_event_logs_forget(parent, error);
  free(parent);
  struct left **at = &left->first;
  while (*at && strcmp((*at)->name, name) != 0)
    at = &(*at)->next;
  if (gone && *at)
    drop(at);
  return gone;
}

static void tell(const struct tg_left_sinks *left, struct left *one)
{
  char bytes[TG_HUMAN_SIZE], age[TG_HUMAN_SIZE];
  char *path = path_of(left, one->name, NULL);
  tg_human_bytes(one->bytes, bytes, sizeof bytes);
  tg_human_duration(left->env->config->queue.max_age, age, sizeof age);
  tg_log_with(
      TG_WARN, TG_NO_SHARD,
      TG_WITH(TG_NUMBER(EVENTS, one->events), TG_NUMBER(BYTES, one->bytes), TG_TEXT(PATH, path)),
      "the sink %s is not configured any more, and has left %llu events (%s) that nobody delivers. "
      "\"tidegate ctl queue forget %s\" removes them; configured again, it gets them; %s after the last of "
      "them (queue.max_age) they go by themselves",
      one->name, (unsigned long long)one->events, bytes, one->name, age);
  one->told = true;
  free(path);
}

/* All its logs were looked into. */
static void end_look(struct tg_left_sinks *left, struct left *one)
{
  struct tg_error error;
  tg_event_log_list_free(one->logs);
  one->logs = NULL;
  one->state = one->held ? HELD : KNOWN;
  if (one->held)
    return;
  if (one->events == 0 && !remove_left(left, one->name, &error))
    one->state = HELD;
  else if (one->events > 0 && !one->told)
    tell(left, one);
}

static void look_into_next(struct tg_left_sinks *left)
{
  struct left *one = left->first;
  while (one && one->state != UNREAD)
    one = one->next;
  if (!one)
    return;
  if (one->logs && one->logs[one->next_log])
    look_into(left, one, one->logs[one->next_log++]);
  if (!one->logs || !one->logs[one->next_log])
    end_look(left, one);
}

/* ---- in the course of time ---- */

static void expire(struct tg_left_sinks *left)
{
  tg_ms bound = tg_steady_clock() - left->env->config->queue.max_age;
  for (struct left *one = left->first, *next; one; one = next) {
    struct tg_error error;
    next = one->next;
    if (one->state != KNOWN || one->youngest >= bound)
      continue;
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, one->events), TG_NUMBER(BYTES, one->bytes)),
                "what the sink %s has left is older than queue.max_age, and goes", one->name);
    if (!remove_left(left, one->name, &error)) {
      tg_log(TG_WARN, TG_NO_SHARD, "%s", error.message);
      one->state = HELD;
    }
  }
}

void tg_left_sinks_look(struct tg_left_sinks *left)
{
  tg_ms now = tg_now();
  if (left->reloading)
    return;
  if (!left->tidied)
    tg_event_logs_tidy(left->above);
  left->tidied = true;
  if (now >= left->look_at) {
    look_around(left);
    left->look_at = now + tg_patience(LOOK_INTERVAL);
  }
  look_into_next(left);
  expire(left);
}

void tg_left_sinks_reloading(struct tg_left_sinks *left, bool running)
{
  left->reloading = running;
  left->look_at = 0;
  for (struct left **at = &left->first; *at;)
    if (is_left(left, (*at)->name))
      at = &(*at)->next;
    else
      drop(at); /* what its worker makes of it is not known from now on */
}

/* ---- what others ask ---- */

int tg_left_sinks_list(const struct tg_left_sinks *left, struct tg_left_sink *list, int max)
{
  int count = 0;
  for (const struct left *one = left->first; one; one = one->next) {
    if (one->state != KNOWN)
      continue;
    if (count < max) {
      list[count] = (struct tg_left_sink){.events = one->events, .bytes = one->bytes};
      memcpy(list[count].name, one->name, sizeof one->name);
    }
    count++;
  }
  return count;
}

bool tg_left_sinks_forget(struct tg_left_sinks *left, const char *name, struct tg_error *error)
{
  if (strcmp(name, "bot") == 0 || tg_config_sink(left->env->config, name))
    return tg_fail(
        error, "sink_configured",
        "the sink %s is configured: what waits for it is delivered. Take it out of the configuration "
        "first, and reload",
        name);
  if (left->reloading)
    return tg_fail(error, "reload_running", "a reload runs: until it is over nothing is forgotten");
  if (tg_stats_is_sink_name(name) && remove_left(left, name, error)) {
    tg_log(TG_INFO, TG_NO_SHARD, "what the sink %s had left is forgotten", name);
    return true;
  }
  if (!tg_stats_is_sink_name(name) || strcmp(error->code, "missing") == 0)
    return tg_fail(error, "no_sink", "no sink \"%s\" has left anything", name);
  if (strcmp(error->code, "locked") != 0)
    return false;
  struct tg_error why = *error;
  return tg_fail(error, "sink_busy", "%s. Try again in a moment", why.message);
}
