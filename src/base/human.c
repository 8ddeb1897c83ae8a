#include "base/human.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECOND = 1000 };

void tg_human_seconds(tg_ms duration, char *text, size_t size)
{
  long long seconds = (duration + SECOND - 1) / SECOND;
  if (seconds < 60)
    snprintf(text, size, "%lld s", seconds);
  else if (seconds < 3600)
    snprintf(text, size, "%lld min %lld s", seconds / 60, seconds % 60);
  else if (seconds < 86400)
    snprintf(text, size, "%lld h %lld min", seconds / 3600, seconds % 3600 / 60);
  else
    snprintf(text, size, "%lld d %lld h", seconds / 86400, seconds % 86400 / 3600);
}

void tg_human_duration(tg_ms duration, char *text, size_t size)
{
  if (duration < SECOND)
    snprintf(text, size, "%lld ms", (long long)duration);
  else
    tg_human_seconds(duration / SECOND * SECOND, text, size);
}

void tg_human_moment(tg_ms wall, char *text, size_t size)
{
  time_t seconds = (time_t)(wall / SECOND);
  struct tm parts;
  gmtime_r(&seconds, &parts);
  strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &parts);
}

void tg_human_bytes(uint64_t bytes, char *text, size_t size)
{
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) {
    snprintf(text, size, "%llu bytes", (unsigned long long)bytes);
    return;
  }
  double amount = (double)bytes / 1024;
  size_t unit = 0;
  for (; amount >= 1023.95 && unit + 1 < sizeof units / sizeof *units; unit++)
    amount /= 1024;
  snprintf(text, size, "%.1f %s", amount, units[unit]);
}

void tg_human_count(int64_t count, char *text, size_t size)
{
  char digits[24];
  int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
  int first = digits[0] == '-';
  size_t n = 0;
  for (int i = 0; i < length && n + 2 < size; i++) {
    if (i > first && (length - i) % 3 == 0)
      text[n++] = ',';
    text[n++] = digits[i];
  }
  text[n] = '\0';
}

/* The code point at `text`, and its length; a byte that is no UTF-8 counts as
 * itself. */
static uint32_t decode(const unsigned char *text, size_t *length)
{
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  size_t more = text[0] >= 0xf0 && text[0] < 0xf8   ? 3
                : text[0] >= 0xe0 && text[0] < 0xf0 ? 2
                : text[0] >= 0xc0 && text[0] < 0xe0 ? 1
                                                    : 0;
  uint32_t point = more > 0 ? text[0] & (0x3fu >> more) : text[0];
  for (size_t i = 1; i <= more; i++) {
    if ((text[i] & 0xc0) != 0x80)
      return *length = 1, text[0];
    point = point << 6 | (text[i] & 0x3f);
  }
  *length = more + 1;
  return point >= least[more] ? point : (*length = 1, text[0]);
}

static bool is_harmful(uint32_t point, size_t length)
{
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || (length == 1 && point >= 0x80) ||
         point == 0x61c || point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

void tg_human_safe(struct tg_buf *out, const char *text, bool lines)
{
  const unsigned char *at = (const unsigned char *)text;
  for (size_t length; *at; at += length) {
    uint32_t point = decode(at, &length);
    if (is_harmful(point, length) && !(lines && (point == '\n' || point == '\t')))
      tg_buf_printf(out, "\\u%04x", (unsigned)point);
    else
      tg_buf_append(out, at, length);
  }
}
