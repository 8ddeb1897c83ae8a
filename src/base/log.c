#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log_limit.h"
#include "base/log_line.h"
#include "base/log_writer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  MIN_SECRET = 6,
  FIELD_TEXTS = 4096,
  DRAWINGS_BEHIND = 16, /* lines that wait: then nobody sees how things are at the moment */
};

static const char *const priorities[] = {"<7>", "<6>", "<4>", "<3>"}; /* of syslog */

static struct {
  enum tg_log_level level; /* the one that counts */
  enum tg_log_level configured;
  int asked; /* TG_LOG_AS_CONFIGURED: none */
  bool json;
  char role[32];
  int worker_id;
  char **secrets; /* the longest first: one may be part of another */
  int secret_count;
  bool terminal;
  bool journal;
  struct tg_log_limit limit;
  tg_log_watcher *watcher;
  tg_log_sink *sink;
  void *sink_ctx;
} the_log = {.level = TG_INFO,
             .configured = TG_INFO,
             .asked = TG_LOG_AS_CONFIGURED,
             .role = "tidegate",
             .worker_id = -1,
             .limit = {.processes = 1}};

bool tg_log_level_parse(const char *name, enum tg_log_level *level)
{
  for (int i = TG_DEBUG; i <= TG_ERROR; i++) {
    if (strcmp(name, tg_log_level_name((enum tg_log_level)i)) == 0) {
      *level = (enum tg_log_level)i;
      return true;
    }
  }
  return false;
}

static void choose_level(void)
{
  the_log.level = the_log.asked >= 0 ? (enum tg_log_level)the_log.asked : the_log.configured;
}

void tg_log_set_level(enum tg_log_level level)
{
  the_log.configured = level;
  choose_level();
}

void tg_log_ask_level(int level)
{
  the_log.asked = level;
  choose_level();
}

int tg_log_asked_level(void)
{
  return the_log.asked;
}

enum tg_log_level tg_log_get_level(void)
{
  return the_log.level;
}

void tg_log_set_json(bool json)
{
  the_log.json = json;
}
void tg_log_set_terminal(bool terminal)
{
  the_log.terminal = terminal;
}

void tg_log_set_journal(bool journal)
{
  the_log.journal = journal;
}

void tg_log_set_sink(tg_log_sink *sink, void *ctx)
{
  the_log.sink = sink;
  the_log.sink_ctx = ctx;
}

void tg_log_set_watcher(tg_log_watcher *watcher)
{
  the_log.watcher = watcher;
}

void tg_log_set_role(const char *role, int worker_id)
{
  snprintf(the_log.role, sizeof the_log.role, "%s", role);
  the_log.worker_id = worker_id;
}

void tg_log_set_processes(int processes)
{
  the_log.limit.processes = processes > 0 ? (unsigned)processes : 1;
}

void tg_log_secret(const char *secret)
{
  if (!secret || strlen(secret) < MIN_SECRET)
    return;
  int at = 0;
  for (int i = 0; i < the_log.secret_count; i++) {
    if (strcmp(the_log.secrets[i], secret) == 0)
      return;
    at += strlen(the_log.secrets[i]) >= strlen(secret);
  }
  the_log.secrets = tg_realloc(the_log.secrets, (size_t)(the_log.secret_count + 1) * sizeof(char *));
  memmove(&the_log.secrets[at + 1], &the_log.secrets[at],
          (size_t)(the_log.secret_count++ - at) * sizeof(char *));
  the_log.secrets[at] = tg_strdup(secret);
}

static void mask(char *text, const char *secret)
{
  size_t length = strlen(secret);
  for (char *at = text; (at = strstr(at, secret)) != NULL; at += 3) {
    memcpy(at, "***", 3);
    memmove(at + 3, at + length, strlen(at + length) + 1);
  }
}

/* C1 controls, too: "\u009b" is what ESC [ is. */
static void clean(char *text)
{
  for (unsigned char *at = (unsigned char *)text; *at; at++) {
    if ((*at < 0x20 && *at != '\n' && *at != '\t') || *at == 0x7f)
      *at = '?';
    else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
      at[0] = at[1] = '?';
  }
}

void tg_log_make_safe(char *text)
{
  for (int i = 0; i < the_log.secret_count; i++)
    mask(text, the_log.secrets[i]);
  clean(text);
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

/* What was lost on the way stands for so many lines. */
static void put(enum tg_log_level level, unsigned lines, const char *line, size_t length)
{
  const char *before = the_log.journal ? priorities[level] : the_log.terminal ? "\r\033[K" : "";
  tg_log_writer_put(lines, before, line, length);
}

static void put_line(const struct tg_log_line *line, unsigned lines)
{
  char time[64], text[TG_LOG_LINE_MAX], indent[8];
  size_t length;
  if (the_log.watcher && line->level >= TG_WARN) {
    tg_log_line_message(line, text, sizeof text);
    the_log.watcher(line->level, line->shard_id, text);
  }
  format_time(time, sizeof time);
  if (the_log.json) {
    char *json = tg_log_line_json(line, time, &length);
    if (json)
      put(line->level, lines, json, length);
    free(json);
    return;
  }
  /* In the journal each line is an entry of its own, and has its time there. */
  snprintf(indent, sizeof indent, "%s  ", the_log.journal ? priorities[line->level] : "");
  length = tg_log_line_text(line, the_log.journal ? NULL : time, indent, text, sizeof text);
  put(line->level, lines, text, length);
}

/* Where lines are missing that nobody has read in time, or that could not be
 * written; if this one gets lost, too, its number is told later. */
static void show_lost(void)
{
  int code;
  uint64_t lost = tg_log_writer_lost(&code);
  if (lost == 0)
    return;
  put_line(
      &(struct tg_log_line){
          .level = TG_WARN,
          .role = the_log.role,
          .worker_id = the_log.worker_id,
          .shard_id = TG_NO_SHARD,
          .text = "lines of the log are missing here",
          .fields = TG_WITH(TG_TEXT(REASON, code ? strerror(code) : "nobody has read them in time"),
                            TG_NUMBER(HELD, (int64_t)lost)),
      },
      lost < UINT32_MAX ? (unsigned)lost : UINT32_MAX);
}

static void show_held_back(tg_ms now)
{
  const struct tg_line_kind *over;
  while ((over = tg_log_limit_over(&the_log.limit, now))) {
    char text[TG_LOG_TEXT_MAX];
    snprintf(text, sizeof text, "more like this were not shown: %s", over->text);
    put_line(
        &(struct tg_log_line){
            .level = (enum tg_log_level)over->level,
            .role = the_log.role,
            .worker_id = the_log.worker_id,
            .shard_id = over->shard_id,
            .text = text,
            .fields = TG_WITH(TG_NUMBER(HELD, over->held)),
        },
        1);
  }
}

/* A secret that is cut in two would not be found. */
static void cut(char *text, size_t size)
{
  size_t longest = 0;
  for (int i = 0; i < the_log.secret_count; i++) {
    size_t length = strlen(the_log.secrets[i]);
    longest = length > longest ? length : longest;
  }
  text[longest < size ? size - 1 - longest : 0] = '\0';
}

/* Copies the fields with texts that are safe to be written. `texts` holds them. */
static void copy_fields(const struct tg_log_field *given, struct tg_log_field *fields, char *texts,
                        size_t size)
{
  int count = 0;
  for (; given->key != TG_KEY_END && count < TG_LOG_FIELDS_MAX; given++) {
    struct tg_log_field *field = &fields[count++];
    *field = *given;
    if (!given->text || !tg_log_key_is_text(given->key))
      continue;
    field->text = "";
    if (size < 2)
      continue; /* never the given text, which may have secrets in it */
    if ((size_t)snprintf(texts, size, "%s", given->text) >= size)
      cut(texts, size);
    tg_log_make_safe(texts);
    field->text = texts;
    size_t length = strlen(texts) + 1;
    texts += length;
    size -= length;
  }
  fields[count].key = TG_KEY_END;
}

/* Information comes in masses about shards alone. */
static bool may_pass(const struct tg_log_line *line, const char *format)
{
  if (the_log.level == TG_DEBUG || (line->level <= TG_INFO && line->shard_id < 0) ||
      strcmp(format, "%s") == 0)
    return true;
  char message[TG_LOG_LINE_MAX];
  tg_log_line_message(line, message, sizeof message);
  return tg_log_limit_pass(&the_log.limit, format, (int)line->level, line->shard_id, message, tg_now());
}

__attribute__((format(printf, 4, 0))) static void write_line(enum tg_log_level level, int shard_id,
                                                             const struct tg_log_field *given,
                                                             const char *format, va_list args)
{
  char text[TG_LOG_TEXT_MAX], texts[FIELD_TEXTS];
  struct tg_log_field fields[TG_LOG_FIELDS_MAX + 1];
  if ((size_t)vsnprintf(text, sizeof text, format, args) >= sizeof text)
    cut(text, sizeof text);
  tg_log_make_safe(text);
  copy_fields(given, fields, texts, sizeof texts);
  struct tg_log_line line = {level, the_log.role, the_log.worker_id, shard_id, text, fields};
  if (the_log.sink) {
    char message[TG_LOG_LINE_MAX];
    tg_log_line_message(&line, message, sizeof message);
    the_log.sink(the_log.sink_ctx, level, shard_id, message, fields);
    return;
  }
  tg_log_tick();
  if (may_pass(&line, format))
    put_line(&line, 1);
}

void tg_log(enum tg_log_level level, int shard_id, const char *format, ...)
{
  if (level < the_log.level)
    return;
  va_list args;
  va_start(args, format);
  write_line(level, shard_id, TG_WITH(TG_NONE), format, args);
  va_end(args);
}

void tg_log_with(enum tg_log_level level, int shard_id, const struct tg_log_field *fields, const char *format,
                 ...)
{
  if (level < the_log.level)
    return;
  va_list args;
  va_start(args, format);
  write_line(level, shard_id, fields, format, args);
  va_end(args);
}

void tg_log_tick(void)
{
  show_lost();
  show_held_back(tg_now());
}
void tg_log_flush(void)
{
  show_lost();
  show_held_back(tg_now() + TG_LOG_WHILE);
}

bool tg_log_draw(const char *text)
{
  return tg_log_writer_behind() < DRAWINGS_BEHIND && tg_log_writer_put(0, "", text, strlen(text));
}
