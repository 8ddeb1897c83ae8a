#include "cli/ctl/figures.h"

#include "base/human.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In turn. */
static char *place(void)
{
  static char texts[8][TG_HUMAN_SIZE];
  static unsigned next;
  char *text = texts[next++ % 8];
  snprintf(text, TG_HUMAN_SIZE, "-");
  return text;
}

/* A real number may be out of range. */
bool tg_figure(const json_t *object, const char *key, int64_t *number)
{
  const json_t *value = json_object_get(object, key);
  double real = json_number_value(value);
  if (json_is_integer(value))
    *number = json_integer_value(value);
  else
    *number = real > 9e18 ? INT64_MAX : real < -9e18 ? INT64_MIN : (int64_t)real;
  return json_is_number(value);
}

int64_t tg_figure_number(const json_t *object, const char *key)
{
  int64_t result;
  return tg_figure(object, key, &result) ? result : 0;
}

const char *tg_figure_count(const json_t *object, const char *key)
{
  int64_t value;
  char *text = place();
  if (tg_figure(object, key, &value))
    tg_human_count(value, text, TG_HUMAN_SIZE);
  return text;
}

const char *tg_figure_bytes(const json_t *object, const char *key)
{
  int64_t value;
  char *text = place();
  if (tg_figure(object, key, &value) && value >= 0)
    tg_human_bytes((uint64_t)value, text, TG_HUMAN_SIZE);
  return text;
}

const char *tg_figure_duration(const json_t *object, const char *key)
{
  int64_t value;
  char *text = place();
  if (tg_figure(object, key, &value) && value >= 0)
    tg_human_duration(value, text, TG_HUMAN_SIZE);
  return text;
}

enum tg_colour tg_figure_colour(const char *state)
{
  static const char *const good[] = {"ready", "up", "running", "Connected"};
  static const char *const bad[] = {"down", "stopped", "Offline", "Disconnected"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    if (strcmp(state, good[i]) == 0)
      return TG_GOOD;
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (strcmp(state, bad[i]) == 0)
      return TG_BAD;
  }
  return TG_UNEASY;
}

const char *tg_figure_text(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "-";
}

void tg_put_safe(const char *text)
{
  struct tg_buf safe = {0};
  tg_human_safe(&safe, text, false);
  char *words = tg_buf_take(&safe);
  fputs(words, stdout);
  free(words);
}
