#include "manager/steady.h"

#include "base/boot.h"
#include "base/human.h"
#include "base/log.h"
#include "manager/state_file.h"

#include <string.h>

enum {
  STEP = 1000,          /* ms: smaller ones are nobody's business */
  HELD_UP = 100,        /* ms between two looks at clocks: then they tell nothing of each other */
  SAVE_EVERY = 3600000, /* ms: so much is lost at most when a machine starts without a clock */
  AT_LEAST_AWAY = 1000, /* ms that a start of the machine takes */
};

static const char file_name[] = "clock.json";

/* No clock was ever set to a later time, nor so far from another one: the year 3000. */
static const json_int_t latest = 32503680000000;

static tg_ms look_at_wall(tg_ms otherwise)
{
  tg_ms before = tg_now(), wall = tg_wall_clock(), after = tg_now();
  return after - before < HELD_UP ? wall - after : otherwise;
}

static void boot_name(char boot[TG_BOOT_SIZE])
{
  tg_boot_name(boot);
  boot[strcspn(boot, "\n")] = '\0';
}

/* ---- the file ---- */

struct clock_content {
  char boot[TG_BOOT_SIZE];
  json_int_t ahead;         /* tg_steady_ahead(), during that boot */
  json_int_t steady;        /* when the file was written */
  json_int_t wall_distance; /* the wall clock less the steady one, then */
};

static bool is_sound(const struct clock_content *content)
{
  return content->steady >= 0 && content->steady <= latest && content->ahead >= -latest &&
         content->ahead <= latest && content->wall_distance >= -latest && content->wall_distance <= latest;
}

static bool read_file(const struct tg_steady *steady, struct clock_content *content)
{
  struct tg_error error;
  const char *boot = "";
  json_t *object = tg_state_file_read(steady->state_dir, file_name, &error);
  bool whole = json_unpack(object, "{s:s, s:I, s:I, s:I}", "boot", &boot, "ahead", &content->ahead, "steady",
                           &content->steady, "wallDistance", &content->wall_distance) == 0 &&
               is_sound(content);
  if (object && !whole)
    tg_fail(&error, "damaged", "%s/%s is damaged (its times cannot be)", steady->state_dir, file_name);
  if (!whole && strcmp(error.code, "missing") != 0)
    tg_log(TG_WARN, TG_NO_SHARD, "%s: times of earlier starts are taken for those of the wall clock",
           error.message);
  *content->boot = '\0';
  strncat(content->boot, boot, sizeof content->boot - 1);
  json_decref(object);
  return whole;
}

/* Nothing but a repetition is lost when that fails; the disk's other users say so. */
static void save(struct tg_steady *steady)
{
  struct tg_error error;
  char boot[TG_BOOT_SIZE];
  boot_name(boot);
  json_t *object = json_pack("{s:s, s:I, s:I, s:I}", "boot", boot, "ahead", (json_int_t)tg_steady_ahead(),
                             "steady", (json_int_t)tg_steady_clock(), "wallDistance",
                             (json_int_t)(steady->wall_ahead - tg_steady_ahead()));
  tg_state_file_write(steady->state_dir, file_name, object, &error);
  json_decref(object);
  steady->saved_at = tg_now();
}

/* ---- the clock ---- */

static bool is_another_boot(const struct clock_content *then)
{
  char boot[TG_BOOT_SIZE];
  boot_name(boot);
  return !boot[0] || strcmp(boot, then->boot) != 0;
}

/* What the steady clock is ahead of tg_now() from here on. */
static tg_ms go_on(const struct tg_steady *steady, const struct clock_content *then)
{
  tg_ms wall_ahead = steady->wall_ahead;
  if (!steady->rebooted && tg_now() + then->ahead >= then->steady)
    return then->ahead;
  tg_ms by_wall = wall_ahead - then->wall_distance, least = then->steady + AT_LEAST_AWAY - tg_now();
  return by_wall > least ? by_wall : least;
}

void tg_steady_begin(struct tg_steady *steady, const char *state_dir)
{
  struct clock_content then = {0};
  *steady = (struct tg_steady){.state_dir = state_dir};
  steady->wall_ahead = look_at_wall(tg_wall_clock() - tg_now());
  bool goes_on = read_file(steady, &then);
  steady->rebooted = goes_on && is_another_boot(&then);
  tg_steady_set_ahead(goes_on ? go_on(steady, &then) : steady->wall_ahead);
  save(steady);
}

void tg_steady_look(struct tg_steady *steady)
{
  tg_ms ahead = look_at_wall(steady->wall_ahead), step = ahead - steady->wall_ahead;
  bool set = step >= STEP || step <= -STEP;
  if (set) {
    char by[TG_HUMAN_SIZE];
    tg_human_duration(step > 0 ? step : -step, by, sizeof by);
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TOLD_NUMBER(DURATION, step > 0 ? step : -step)),
                step > 0
                    ? "the clock of this machine has gone forward by %s: it was set, or the machine slept. "
                      "What waits and what is counted goes by time that passes, and does not notice"
                    : "the clock of this machine was set back by %s. What waits and what is counted goes "
                      "by time that passes, and does not notice",
                by);
    steady->wall_ahead = ahead;
  }
  if (set || tg_now() - steady->saved_at >= SAVE_EVERY)
    save(steady);
}

void tg_steady_end(struct tg_steady *steady)
{
  save(steady);
}
