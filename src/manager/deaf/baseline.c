#include "manager/deaf/baseline.h"

#include <math.h>
#include <string.h>

/* The newest week, or day, counts so much. */
static const double week_weight = 0.4, day_weight = 0.25;

enum { STEPS = 254, FEW_HOURS = 72 };

double tg_usual_busy(struct tg_usual usual)
{
  return usual.busy > 0 ? (usual.busy - 1) / (double)STEPS : 0;
}

/* The longest silence is forgotten by a quarter each time that it was not reached again. */
static void learn(struct tg_usual *usual, double busy, int longest, double weight)
{
  int faded = usual->longest - (usual->longest + 3) / 4;
  double before = usual->busy > 0 ? tg_usual_busy(*usual) : busy;
  double now = before + (busy - before) * weight;
  longest = longest > faded ? longest : faded;
  usual->busy = (uint8_t)(1 + lround(fmin(fmax(now, 0), 1) * STEPS));
  usual->longest = (uint8_t)(longest < TG_LONGEST_MAX ? longest : TG_LONGEST_MAX);
}

void tg_baseline_learn(struct tg_baseline *baseline, int week_hour, double busy, int longest)
{
  learn(&baseline->week[week_hour], busy, longest, week_weight);
}

void tg_baseline_learn_type(struct tg_baseline *baseline, int type, int day_hour, double busy, int longest)
{
  learn(&baseline->types[type][day_hour], busy, longest, day_weight);
}

/* ---- what to expect ---- */

static void add_quieter(struct tg_usual *quietest, struct tg_usual usual)
{
  if (usual.busy == 0)
    return;
  if (quietest->busy == 0 || usual.busy < quietest->busy)
    quietest->busy = usual.busy;
  if (usual.longest > quietest->longest)
    quietest->longest = usual.longest;
}

/* Of the hour and its two neighbours in a ring of `count`. */
static void add_around(struct tg_usual *quietest, const struct tg_usual *hours, int count, int hour)
{
  for (int i = -1; i <= 1; i++)
    add_quieter(quietest, hours[(hour + i + count) % count]);
}

/* The same hour of all days, with its neighbours. */
static struct tg_usual any_day(const struct tg_baseline *baseline, int week_hour)
{
  struct tg_usual quietest = {0};
  for (int away = 0; away < TG_WEEK_HOURS; away += TG_DAY_HOURS)
    if (baseline->week[(week_hour + away) % TG_WEEK_HOURS].busy > 0)
      add_around(&quietest, baseline->week, TG_WEEK_HOURS, (week_hour + away) % TG_WEEK_HOURS);
  return quietest;
}

static struct tg_usual any_hour(const struct tg_baseline *baseline)
{
  struct tg_usual quietest = {0};
  for (int hour = 0; hour < TG_WEEK_HOURS; hour++)
    add_quieter(&quietest, baseline->week[hour]);
  return quietest;
}

/* How often something comes follows the week; of how long it may be silent a few hours say little. */
struct tg_usual tg_baseline_expect(const struct tg_baseline *baseline, int week_hour)
{
  bool few = tg_baseline_known(baseline) < FEW_HOURS;
  struct tg_usual day = any_day(baseline, week_hour), exact = {0};
  if (day.busy == 0)
    return day;
  if (baseline->week[week_hour].busy > 0)
    add_around(&exact, baseline->week, TG_WEEK_HOURS, week_hour);
  return (struct tg_usual){.busy = exact.busy > 0 ? exact.busy : day.busy,
                           .longest = few ? any_hour(baseline).longest : day.longest};
}

struct tg_usual tg_baseline_expect_type(const struct tg_baseline *baseline, int type, int day_hour)
{
  struct tg_usual quietest = {0};
  if (baseline->types[type][day_hour].busy > 0)
    add_around(&quietest, baseline->types[type], TG_DAY_HOURS, day_hour);
  return quietest;
}

int tg_baseline_known(const struct tg_baseline *baseline)
{
  int known = 0;
  for (int hour = 0; hour < TG_WEEK_HOURS; hour++)
    known += baseline->week[hour].busy > 0;
  return known;
}

/* ---- the text ---- */

void tg_baseline_write(const struct tg_baseline *baseline, struct tg_buf *text)
{
  static const char digits[] = "0123456789abcdef";
  const uint8_t *bytes = (const uint8_t *)baseline;
  char *at = tg_buf_reserve(text, 2 * sizeof *baseline);
  for (size_t i = 0; i < sizeof *baseline; i++) {
    *at++ = digits[bytes[i] >> 4];
    *at++ = digits[bytes[i] & 15];
  }
  text->length += 2 * sizeof *baseline;
}

static int digit_of(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tg_baseline_read(struct tg_baseline *baseline, const char *text)
{
  uint8_t *bytes = (uint8_t *)baseline;
  bool good = strlen(text) == 2 * sizeof *baseline;
  for (size_t i = 0; good && i < sizeof *baseline; i++) {
    int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    bytes[i] = (uint8_t)(high << 4 | low);
  }
  if (!good)
    *baseline = (struct tg_baseline){0};
  return good;
}
