#pragma once

/* A log line as bytes: text for people, or JSON. No I/O. */

#include "base/log.h"

enum { TG_LOG_TEXT_MAX = 8192, TG_LOG_LINE_MAX = TG_LOG_TEXT_MAX + 8192 };

struct tg_log_line {
  enum tg_log_level level;
  const char *role;
  int worker_id; /* of the process that says it; -1: none */
  int shard_id;
  const char *text;
  const struct tg_log_field *fields; /* ends with TG_KEY_END */
};

/* The message and its fields as key=value, those at the end of the first line.
 * At most `size` bytes with the NUL. Returns the length. */
size_t tg_log_line_message(const struct tg_log_line *line, char *out, size_t size);

/* One line with its newline. Those after the first begin with `indent`. `time`
 * may be NULL. */
size_t tg_log_line_text(const struct tg_log_line *line, const char *time, const char *indent, char *out,
                        size_t size);

/* The caller frees the result; NULL: no memory. */
char *tg_log_line_json(const struct tg_log_line *line, const char *time, size_t *length);

const char *tg_log_level_name(enum tg_log_level level);
