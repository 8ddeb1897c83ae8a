#pragma once

/* What is usual of one shard: in which part of the minutes of an hour events come, and how long the longest
 * silence in it was. By the hour of the week for all events together; by the hour of the day for the types
 * that are watched one by one. Weeks, and days, that have gone by count less and less. Pure; minutes are
 * those of hearing.h. */

#include "base/buf.h"
#include "shared/traffic.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  TG_WEEK_HOURS = 168,
  TG_DAY_HOURS = 24,
  TG_BASELINE_TYPES = TG_TRAFFIC_COUNT - TG_TRAFFIC_FIRST_TYPE,
  TG_LONGEST_MAX = 255, /* minutes: longer silences are not told apart */
};

/* Of one hour, all 0: not known. */
struct tg_usual {
  uint8_t busy;    /* 1 + the part of the minutes in which something came, of 254 */
  uint8_t longest; /* minutes in which nothing came, on end */
};

struct tg_baseline {
  struct tg_usual week[TG_WEEK_HOURS];
  struct tg_usual types[TG_BASELINE_TYPES][TG_DAY_HOURS];
};

/* From 0 to 1. */
double tg_usual_busy(struct tg_usual usual);

/* An hour has been listened to: `busy` from 0 to 1, `longest` in minutes. */
void tg_baseline_learn(struct tg_baseline *baseline, int week_hour, double busy, int longest);
void tg_baseline_learn_type(struct tg_baseline *baseline, int type, int day_hour, double busy, int longest);

/* What to expect in that hour: of it and its neighbours, as clocks are changed and habits shift, that with
 * the fewest events, and the longest silence that any day has had at that time (in the first three days: at
 * any time). An hour of the week that was never seen is taken from the same hour of all other days. All 0:
 * not known. */
struct tg_usual tg_baseline_expect(const struct tg_baseline *baseline, int week_hour);
struct tg_usual tg_baseline_expect_type(const struct tg_baseline *baseline, int type, int day_hour);

/* How many hours of the week are known. */
int tg_baseline_known(const struct tg_baseline *baseline);

/* As text for a file, hexadecimal; appended. */
void tg_baseline_write(const struct tg_baseline *baseline, struct tg_buf *text);
/* False: it is none, and `baseline` knows nothing. */
bool tg_baseline_read(struct tg_baseline *baseline, const char *text);
