/* CPU time of a class of guilds while a bot goes over from 2 shards to 4: an event of both sets, by how far
 * the second one is behind, and a tick while many events wait for their copies. `ninja bench_reshard_class`,
 * then build/bench/reshard_class. */

#include "delivery/reshard/class.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OLD = 0, NEW = 1, OTHER = 2, PAIRS = 300000, BODY = 600, RATE = 1000 /* events a second */ };

static struct tg_class *class;
static uint64_t held_bytes, sequences[3];
static tg_ms now = 1000;
static bool idle; /* events are only written: what the others cost less that */

static double cpu(void)
{
  struct timespec at;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
  return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void show(int m, int id)
{
  static char raw[BODY + 200];
  int length =
      snprintf(raw, sizeof raw,
               "{\"t\":\"MESSAGE_CREATE\",\"s\":%d,\"op\":0,\"d\":{\"id\":\"%d\",\"guild_id\":\"%d\","
               "\"content\":\"%*s\"}}",
               (int)++sequences[m], id, (4 + 4 * (id % 50)) << 22, BODY, "text");
  char *data = strstr(raw, "\"d\":") + 4;
  struct tg_event event = {
      .type = TG_EVENT_MESSAGE_CREATE,
      .shard_id = tg_ref_id(tg_class_ref(class, m)),
      .side = (uint8_t)tg_ref_side(tg_class_ref(class, m)),
      .epoch = tg_class_epoch(class, m),
      .sequence = sequences[m],
      .name = {raw + 6, strlen("MESSAGE_CREATE")},
      .raw = {raw, (size_t)length},
      .data = {data, (size_t)(raw + length - 1 - data)},
  };
  if (idle)
    return;
  tg_class_show(class, m, &event, TG_GUILD_CHANGE_NONE, now);
  if (sequences[m] % 64 == 0)
    tg_class_settled(class, m, event.epoch, sequences[m]);
}

static void begin(void)
{
  struct tg_class_options options = {.from = 2, .to = 4, .seed = 1, .held_bytes = &held_bytes};
  class = tg_class_new(&options);
  memset(sequences, 0, sizeof sequences);
  for (int m = OLD; m <= OTHER; m++) {
    tg_class_session(class, m, &(struct tg_class_session){.epoch = 7 + (uint64_t)m, .fresh = true}, now);
    tg_class_link(class, m, TG_CLASS_UP, now);
    tg_class_loaded(class, m, now);
  }
}

static double pairs(int first, int second, int lag_ms)
{
  int lag = lag_ms * RATE / 1000;
  begin();
  double start = cpu();
  for (int id = 1; id <= PAIRS + lag; id++) {
    if (id <= PAIRS)
      show(first, id);
    if (id > lag)
      show(second, id - lag);
    now += id % (RATE / 1000) == 0;
    if (id % (RATE / 4) == 0)
      tg_class_tick(class, now);
  }
  double spent = cpu() - start;
  tg_class_free(class);
  return spent / (2 * PAIRS);
}

static double tick(int waiting, tg_ms age)
{
  enum { TICKS = 200 };
  begin();
  for (int id = 1; id <= waiting; id++)
    show(OLD, id);
  now += age;
  tg_class_tick(class, now);
  double start = cpu();
  for (int i = 0; i < TICKS; i++)
    tg_class_tick(class, ++now);
  double spent = cpu() - start;
  struct tg_class_figures figures;
  tg_class_figures(class, &figures);
  if (figures.open != (uint64_t)waiting)
    printf("%llu of them wait\n", (unsigned long long)figures.open);
  tg_class_free(class);
  return spent / TICKS;
}

int main(void)
{
  idle = true;
  double written = pairs(OLD, NEW, 0);
  idle = false;
  printf("ns an event: the ruler first by 0 ms %.0f, by 300 ms %.0f; last by 0 ms %.0f, by 300 ms %.0f\n",
         pairs(OLD, NEW, 0) - written, pairs(OLD, NEW, 300) - written, pairs(NEW, OLD, 0) - written,
         pairs(NEW, OLD, 300) - written);
  printf("us a tick: 1000 wait %.1f, 30000 %.1f, 30000 for 8 s %.1f, for 30 s %.1f\n", tick(1000, 0) / 1000,
         tick(30000, 0) / 1000, tick(30000, 8000) / 1000, tick(30000, 30000) / 1000);
  return 0;
}
