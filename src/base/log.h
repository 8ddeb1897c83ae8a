#pragma once

/* Log lines on standard error: text for people, JSON lines for machines.
 *
 * One line an event of meaning. Every line carries the time, the level, the
 * role of the process and, where it is about one, the shard. Words registered
 * with tg_log_secret() are masked wherever they turn up.
 *
 * In programs that run for good nobody waits for standard error (log_writer.h).
 * Lines that were lost over that are counted, and told by one with the field
 * "held" in their place.
 *
 * Loop thread only. */

#include "base/log_field.h"

#include <stdbool.h>

enum tg_log_level { TG_DEBUG, TG_INFO, TG_WARN, TG_ERROR };

/* For lines that are about no shard. */
#define TG_NO_SHARD (-1)

/* Reads "debug", "info", "warn" or "error". False: not a level. */
bool tg_log_level_parse(const char *name, enum tg_log_level *level);

/* As it is configured. */
void tg_log_set_level(enum tg_log_level level);
/* In its place, until it is taken back. */
enum { TG_LOG_AS_CONFIGURED = -1 };
void tg_log_ask_level(int level); /* or TG_LOG_AS_CONFIGURED */
int tg_log_asked_level(void);     /* likewise */
/* The one that counts. */
enum tg_log_level tg_log_get_level(void);

/* JSON lines from here on (log.format = "json"). */
void tg_log_set_json(bool json);

/* Names this process in every line: "manager", "worker" with its number (-1: it
 * has none). The text is copied. */
void tg_log_set_role(const char *role, int worker_id);

/* How many processes share what a kind of line may take (log_limit.h). */
void tg_log_set_processes(int processes);

/* From here on `secret` is written as "***". Short words (under 6 bytes) are
 * not masked: they would blank out half of every line. The text is copied. */
void tg_log_secret(const char *secret);

/* Standard error is a terminal, where some process of the gateway may have left
 * its progress bar: each line wipes what stands in its place. */
void tg_log_set_terminal(bool terminal);

/* Standard error goes to systemd's journal: each line begins with its priority
 * ("<6>", sd-daemon(3)), which the journal takes off and files, and text has no
 * time of its own, as the journal knows it. */
void tg_log_set_journal(bool journal);

/* From here on lines go to `sink` instead of standard error; NULL: back there. */
typedef void tg_log_sink(void *ctx, enum tg_log_level level, int shard_id, const char *text,
                         const struct tg_log_field *fields);
void tg_log_set_sink(tg_log_sink *sink, void *ctx);

/* Is told, besides, of each line at TG_WARN or above that goes out: what it says with its fields, without
 * secrets. NULL: nobody. May not log. */
typedef void tg_log_watcher(enum tg_log_level level, int shard_id, const char *text);
void tg_log_set_watcher(tg_log_watcher *watcher);

/* Makes `text` what a line would show of it: secrets are "***", control characters "?". It does not get
 * longer. */
void tg_log_make_safe(char *text);

/* Shows what was held back once its time is over; to be called now and then. */
void tg_log_tick(void);

/* Shows all that is held back: the process ends. */
void tg_log_flush(void);

/* Text that only shows how things are at the moment, such as a progress bar.
 * False: whoever reads standard error is behind, and it was left out. */
bool tg_log_draw(const char *text);

/* One line; no newline needed. Lines of one format are held back when they
 * come in masses (log_limit.h), but at debug level; information only where it
 * is about a shard. Texts over 8 KiB are cut.
 * Control characters other than newline and tab are written as "?"; in text
 * form the lines after the first (tracebacks) are indented. */
void tg_log(enum tg_log_level level, int shard_id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with fields: TG_WITH() of log_field.h. */
void tg_log_with(enum tg_log_level level, int shard_id, const struct tg_log_field *fields, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* For work done only to be logged at debug level. */
static inline bool tg_log_on(enum tg_log_level level)
{
  return level >= tg_log_get_level();
}
