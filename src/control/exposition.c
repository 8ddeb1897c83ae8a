#include "control/exposition.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- text ---- */

static void put_escaped(struct tg_buf *out, const char *text, bool quotes)
{
  struct tg_buf mended = {0};
  tg_utf8_mend(&mended, text, strlen(text));
  for (size_t i = 0; i < mended.length; i++) {
    char c = mended.data[i];
    if (c == '\n')
      tg_buf_append(out, "\\n", 2);
    else if (c == '\\' || (c == '"' && quotes))
      tg_buf_append(out, (char[]){'\\', c}, 2);
    else
      tg_buf_append(out, &c, 1);
  }
  tg_buf_free(&mended);
}

static void put_uint(struct tg_buf *out, uint64_t value)
{
  char digits[20], *at = digits + sizeof digits;
  do {
    *--at = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  tg_buf_append(out, at, (size_t)(digits + sizeof digits - at));
}

static void put_double(struct tg_buf *out, double value)
{
  if (isnan(value))
    tg_buf_puts(out, "NaN");
  else if (isinf(value))
    tg_buf_puts(out, value > 0 ? "+Inf" : "-Inf");
  else if (value >= 0 && value < 1e15 && value == floor(value))
    put_uint(out, (uint64_t)value);
  else
    tg_buf_printf(out, "%.15g", value);
}

/* ---- families and labels ---- */

void tg_family(struct tg_exposition *exposition, const char *name, const char *type, const char *help)
{
  exposition->name = name;
  exposition->type = type;
  exposition->help = help;
  exposition->begun = exposition->labelled = false;
}

/* The name of a sample, with the family's head in front of the first one. */
static void begin_sample(struct tg_exposition *exposition, const char *suffix)
{
  struct tg_buf *out = exposition->out;
  if (!exposition->begun) {
    exposition->begun = true;
    tg_buf_printf(out, "# HELP %s ", exposition->name);
    put_escaped(out, exposition->help, false);
    tg_buf_printf(out, "\n# TYPE %s %s\n", exposition->name, exposition->type);
  }
  tg_buf_puts(out, exposition->name);
  tg_buf_puts(out, suffix);
}

static void begin_label(struct tg_exposition *exposition)
{
  if (exposition->labelled) {
    tg_buf_append(exposition->out, ",", 1);
    return;
  }
  begin_sample(exposition, "");
  tg_buf_append(exposition->out, "{", 1);
  exposition->labelled = true;
}

void tg_label(struct tg_exposition *exposition, const char *name, const char *value)
{
  begin_label(exposition);
  tg_buf_puts(exposition->out, name);
  tg_buf_append(exposition->out, "=\"", 2);
  put_escaped(exposition->out, value, true);
  tg_buf_append(exposition->out, "\"", 1);
}

void tg_label_int(struct tg_exposition *exposition, const char *name, int64_t value)
{
  begin_label(exposition);
  tg_buf_puts(exposition->out, name);
  tg_buf_append(exposition->out, "=\"", 2);
  if (value < 0)
    tg_buf_append(exposition->out, "-", 1);
  put_uint(exposition->out, value < 0 ? (uint64_t)-value : (uint64_t)value);
  tg_buf_append(exposition->out, "\"", 1);
}

void tg_labels(struct tg_exposition *exposition, const char *text)
{
  if (!text[0])
    return;
  begin_label(exposition);
  tg_buf_puts(exposition->out, text);
}

/* ---- samples ---- */

static void end_labels(struct tg_exposition *exposition)
{
  if (!exposition->labelled)
    begin_sample(exposition, "");
  tg_buf_puts(exposition->out, exposition->labelled ? "} " : " ");
  exposition->labelled = false;
}

void tg_sample_uint(struct tg_exposition *exposition, uint64_t value)
{
  end_labels(exposition);
  put_uint(exposition->out, value);
  tg_buf_append(exposition->out, "\n", 1);
}

void tg_sample_double(struct tg_exposition *exposition, double value)
{
  end_labels(exposition);
  put_double(exposition->out, value);
  tg_buf_append(exposition->out, "\n", 1);
}

void tg_sample_ms(struct tg_exposition *exposition, int64_t ms)
{
  end_labels(exposition);
  struct tg_buf *out = exposition->out;
  uint64_t value = ms < 0 ? (uint64_t)-ms : (uint64_t)ms;
  if (ms < 0)
    tg_buf_append(out, "-", 1);
  put_uint(out, value / 1000);
  unsigned rest = (unsigned)(value % 1000);
  char fraction[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10)};
  size_t length = rest % 10 ? 4 : rest % 100 ? 3 : rest ? 2 : 0;
  tg_buf_append(out, fraction, length);
  tg_buf_append(out, "\n", 1);
}

void tg_histogram(struct tg_exposition *exposition, const char *labels, const double *limits,
                  const uint64_t *counts, int limit_count, double sum)
{
  struct tg_buf *out = exposition->out;
  const char *comma = labels[0] ? "," : "";
  uint64_t count = 0;
  for (int i = 0; i <= limit_count; i++) {
    begin_sample(exposition, "_bucket");
    tg_buf_printf(out, "{%s%sle=\"", labels, comma);
    put_double(out, i < limit_count ? limits[i] : INFINITY);
    tg_buf_puts(out, "\"} ");
    put_uint(out, count += counts[i]);
    tg_buf_append(out, "\n", 1);
  }
  const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
  begin_sample(exposition, "_sum");
  tg_buf_printf(out, "%s%s%s ", open, labels, close);
  put_double(out, sum);
  tg_buf_append(out, "\n", 1);
  begin_sample(exposition, "_count");
  tg_buf_printf(out, "%s%s%s ", open, labels, close);
  put_uint(out, count);
  tg_buf_append(out, "\n", 1);
}
