#include "base/log.h"

#include "base/clock.h"
#include "base/log_limit.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_TEXT = 8192, MAX_SECRETS = 16, MIN_SECRET = 6 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const priorities[] = {"<7>", "<6>", "<4>", "<3>"}; /* of syslog */

static struct {
  enum tg_log_level level;
  bool json;
  char role[32];
  char *secrets[MAX_SECRETS];
  int secret_count;
  bool terminal;
  bool journal;
  struct tg_log_limit limit;
  tg_log_sink *sink;
  void *sink_ctx;
} the_log = {.level = TG_INFO, .role = "tidegate"};

bool tg_log_level_parse(const char *name, enum tg_log_level *level)
{
  for (int i = TG_DEBUG; i <= TG_ERROR; i++) {
    if (strcmp(name, level_names[i]) == 0) {
      *level = (enum tg_log_level)i;
      return true;
    }
  }
  return false;
}

void tg_log_set_level(enum tg_log_level level) { the_log.level = level; }
enum tg_log_level tg_log_get_level(void) { return the_log.level; }
void tg_log_set_json(bool json) { the_log.json = json; }
void tg_log_set_terminal(bool terminal) { the_log.terminal = terminal; }

void tg_log_set_journal(bool journal) { the_log.journal = journal; }

void tg_log_set_sink(tg_log_sink *sink, void *ctx)
{
  the_log.sink = sink;
  the_log.sink_ctx = ctx;
}

void tg_log_set_role(const char *role) { snprintf(the_log.role, sizeof the_log.role, "%s", role); }

void tg_log_secret(const char *secret)
{
  if (!secret || strlen(secret) < MIN_SECRET)
    return;
  for (int i = 0; i < the_log.secret_count; i++) {
    if (strcmp(the_log.secrets[i], secret) == 0)
      return;
  }
  if (the_log.secret_count < MAX_SECRETS)
    the_log.secrets[the_log.secret_count++] = strdup(secret);
}

static void mask(char *text, const char *secret)
{
  size_t length = strlen(secret);
  for (char *at = text; (at = strstr(at, secret)) != NULL; at += 3) {
    memcpy(at, "***", 3);
    memmove(at + 3, at + length, strlen(at + length) + 1);
  }
}

static void clean(char *text)
{
  for (char *at = text; *at; at++) {
    if ((unsigned char)*at < 0x20 && *at != '\n' && *at != '\t')
      *at = '?';
  }
}

static void format_time(char *out, size_t size)
{
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  char seconds[32];
  strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(out, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

static ssize_t put_parts(const char *before, const char *line, size_t length)
{
  struct iovec parts[] = {{(void *)(uintptr_t)before, strlen(before)}, {(void *)(uintptr_t)line, length}};
  return writev(STDERR_FILENO, parts, 2);
}

/* One write a line: lines of several processes do not mix. A log that cannot be
 * written is no reason to stop: there is nobody to tell. */
static void put(enum tg_log_level level, const char *line, size_t length)
{
  const char *before = the_log.journal ? priorities[level] : the_log.terminal ? "\r\033[K" : "";
  size_t ahead = strlen(before);
  ssize_t n = put_parts(before, line, length);
  if (n < (ssize_t)ahead)
    return;
  for (size_t done = (size_t)n - ahead; done < length; done += (size_t)n) {
    n = write(STDERR_FILENO, line + done, length - done);
    if (n <= 0)
      return;
  }
}

static void put_json(enum tg_log_level level, int shard_id, const char *time, const char *text)
{
  json_t *line =
      json_pack("{s:s, s:s, s:s}", "time", time, "level", level_names[level], "role", the_log.role);
  if (!line)
    return;
  if (shard_id >= 0)
    json_object_set_new(line, "shard", json_integer(shard_id));
  json_t *message = json_string(text);
  json_object_set_new(line, "message", message ? message : json_string("(text that is not UTF-8)"));
  char *bytes = json_dumps(line, JSON_COMPACT);
  json_decref(line);
  if (!bytes)
    return;
  size_t length = strlen(bytes);
  bytes[length] = '\n'; /* in the place of the NUL, which nobody needs */
  put(level, bytes, length + 1);
  free(bytes);
}

static void put_text(enum tg_log_level level, int shard_id, const char *time, const char *text)
{
  char line[MAX_TEXT + 4096];
  char shard[32] = "";
  if (shard_id >= 0)
    snprintf(shard, sizeof shard, " shard %d", shard_id);
  size_t n = 0;
  if (!the_log.journal)
    n = (size_t)snprintf(line, sizeof line, "%s ", time);
  n += (size_t)snprintf(line + n, sizeof line - n, "%-5s %s%s: ", level_names[level], the_log.role, shard);
  for (const char *at = text; *at && n < sizeof line - 8; at++) {
    line[n++] = *at;
    if (*at != '\n')
      continue;
    if (the_log.journal) { /* an entry of its own there */
      memcpy(line + n, priorities[level], 3);
      n += 3;
    }
    line[n++] = ' ', line[n++] = ' ';
  }
  line[n++] = '\n';
  put(level, line, n);
}

static void put_line(enum tg_log_level level, int shard_id, const char *text)
{
  char time[64];
  format_time(time, sizeof time);
  if (the_log.json)
    put_json(level, shard_id, time, text);
  else
    put_text(level, shard_id, time, text);
}

static void show_held_back(tg_ms now)
{
  const struct tg_log_kind *over;
  while ((over = tg_log_limit_over(&the_log.limit, now))) {
    char text[MAX_TEXT];
    snprintf(text, sizeof text, "%u more like this were not shown: %s", over->held, over->text);
    put_line((enum tg_log_level)over->level, over->shard_id, text);
  }
}

void tg_log(enum tg_log_level level, int shard_id, const char *format, ...)
{
  if (level < the_log.level)
    return;
  char text[MAX_TEXT];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (int i = 0; i < the_log.secret_count; i++)
    mask(text, the_log.secrets[i]);
  clean(text);

  if (the_log.sink) {
    the_log.sink(the_log.sink_ctx, level, shard_id, text);
    return;
  }
  tg_log_tick();
  bool of_a_kind = level >= TG_WARN && the_log.level > TG_DEBUG && strcmp(format, "%s") != 0;
  if (!of_a_kind || tg_log_limit_pass(&the_log.limit, format, (int)level, shard_id, text, tg_now()))
    put_line(level, shard_id, text);
}

void tg_log_tick(void) { show_held_back(tg_now()); }
void tg_log_flush(void) { show_held_back(tg_now() + TG_LOG_WHILE); }
