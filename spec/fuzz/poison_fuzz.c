/* The notes on scripts, to which anything has happened (scripts may have scribbled
 * over them): nothing that is read there is believed, and what is noted from then
 * on counts. The first two bytes choose a call, and the place that died. */

#include "fuzz.h"

#include "shared/poison.h"

static const struct tg_poison_call of_event = {
    .group = TG_LUA_filter, .type = 3, .shard_id = 1, .epoch = 7, .sequence = 41, .last = 41};
static const struct tg_poison_call of_timer = {.group = TG_LUA_timer, .shard_id = TG_NO_SHARD};
static const char where[TG_WHERE_SIZE] = "bot.lua:12";

static void open_notes(void)
{
  struct tg_error error = {0};
  require(tg_poison_open(fuzz_directory, &error));
}

static void die(const struct tg_poison_call *call)
{
  struct tg_poison_death death;
  tg_poison_enter(call, where);
  require(tg_poison_take(TG_POISON_MANAGER, true, &death));
}

static void write_notes(void)
{
  open_notes();
  die(&of_event);
  die(&of_timer);
  die(&of_timer);
  require(tg_poison_skips(&of_event, where) && tg_poison_skips(&of_timer, where));
  tg_poison_enter(&of_event, where);
  tg_poison_enter(&of_timer, where);
  tg_poison_close();
}

static void check_death(int place, bool guilty)
{
  struct tg_poison_death death;
  if (!tg_poison_take(place, guilty, &death))
    return;
  require(memchr(death.hook, '\0', sizeof death.hook) && memchr(death.where, '\0', sizeof death.where) &&
          memchr(death.event, '\0', sizeof death.event) && death.deaths >= 0);
  require(!tg_poison_take(place, guilty, &death));
}

static void check_notes(struct tg_shard_table *table, int place, bool guilty)
{
  check_death(TG_POISON_MANAGER, guilty);
  check_death(place, guilty);
  tg_poison_skips(&of_event, where);
  tg_poison_skips(&of_timer, NULL);
  tg_poison_has_event(&of_event, where);
  require(tg_poison_count_off(true) >= 0 && tg_poison_count_off(false) >= 0);
  tg_poison_load_is_off();
  tg_poison_tidy(table, NULL);
  die(&of_event);
  die(&of_event);
  require(tg_poison_skips(&of_event, where));
  tg_poison_forgive();
  require(tg_poison_count_off(true) == 0 && tg_poison_count_off(false) == 0 && !tg_poison_load_is_off() &&
          !tg_poison_skips(&of_timer, where));
  die(&of_timer);
  die(&of_timer);
  require(tg_poison_skips(&of_timer, where));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  struct tg_error error = {0};
  if (length < 2)
    return 0;
  fuzz_be_silent();
  fuzz_fresh_directory();
  struct tg_shard_table *table = tg_shard_table_open(fuzz_directory, 0, 2, 1, 0, &error);
  require(table != NULL);
  write_notes();
  fuzz_damage("poison", bytes + 2, length - 2);
  open_notes();
  check_notes(table, bytes[1], bytes[0] & 1);
  tg_poison_close();
  tg_shard_table_close(table);
  return 0;
}
