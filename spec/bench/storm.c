/* CPU time of events that a rule against storms drops, from the bytes of their messages to the counters: the
 * bot's own GUILD_MEMBER_UPDATEs, as after an edit of its profile, and a guild that floods; beside them what
 * such a rule costs events that pass. `ninja bench_storm`, then build/bench/storm. */

#include "delivery/delivery.h"
#include "proto/envelope.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EVENTS = 50000, ROUNDS = 9, GUILDS = 1000 };

static struct tg_delivery *delivery;
static struct tg_config config;
static struct tg_hooks hooks;
static uint64_t sequence;

static double cpu(void)
{
  struct timespec at;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
  return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* As Discord sends it, about 700 bytes. */
static int write_update(char *text, size_t size, uint64_t guild, const char *user)
{
  return snprintf(
      text, size,
      "{\"t\":\"GUILD_MEMBER_UPDATE\",\"s\":%d,\"op\":0,\"d\":{\"user\":{\"username\":\"ferry\",\"public_flags\":0,"
      "\"primary_guild\":null,\"id\":\"%s\",\"global_name\":null,\"display_name_styles\":null,"
      "\"display_name\":\"ferry\",\"discriminator\":\"0\",\"collectibles\":null,\"clan\":null,\"bot\":true,"
      "\"avatar_decoration_data\":null,\"avatar\":\"8342729096ea3675442027381ff50dfe\"},\"unusual_dm_activity_until\":"
      "null,\"roles\":[\"1212640000000000001\",\"1212640000000000002\",\"1212640000000000003\"],"
      "\"premium_since\":null,\"pending\":false,\"nick\":null,\"mute\":false,\"joined_at\":"
      "\"2024-02-29T11:34:12.451000+00:00\",\"guild_id\":\"%llu\",\"flags\":0,\"deaf\":false,"
      "\"communication_disabled_until\":null,\"banner\":null,\"avatar\":null}}",
      (int)++sequence, user, (unsigned long long)guild);
}

static void show(const char *text, size_t length)
{
  struct tg_envelope envelope;
  if (!tg_envelope_scan(text, length, &envelope))
    abort();
  struct tg_event event = {
      .type = tg_event_type(envelope.name.at, envelope.name.length),
      .epoch = 7,
      .sequence = envelope.sequence,
      .name = envelope.name,
      .raw = {text, length},
      .data = envelope.data,
  };
  tg_delivery_event(delivery, NULL, &event);
}

/* The best of some rounds, in ns an event. */
static double measure(const char *user, int guilds)
{
  enum { SIZE = 1200 };
  static char texts[EVENTS][SIZE];
  static int lengths[EVENTS];
  double best = 1e18;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < EVENTS; i++)
      lengths[i] = write_update(texts[i], SIZE, 1000000 + (uint64_t)(i % guilds), user);
    double start = cpu();
    for (int i = 0; i < EVENTS; i++)
      show(texts[i], (size_t)lengths[i]);
    double spent = (cpu() - start) / EVENTS;
    best = spent < best ? spent : best;
  }
  return best;
}

static void set_rules(bool self_updates, int count, double rate, int burst)
{
  static char *names[] = {(char *)"GUILD_MEMBER_UPDATE"};
  static struct tg_storm_rule rule;
  rule = (struct tg_storm_rule){{names, 1}, TG_STORM_PER_GUILD, TG_STORM_KEEP_FIRST, rate, burst};
  struct tg_storm_config storm = {{&rule, count}, self_updates};
  tg_delivery_set_storm(delivery, &storm);
}

int main(void)
{
  uv_loop_t *loop = uv_default_loop();
  config = (struct tg_config){.message_updates = TG_UPDATES_CONTENT, .queue = {.memory_bytes = 64 << 20},
                              .storm = {.self_updates = true}, .state_dir = (char *)"/nonexistent"};
  tg_log_set_level(TG_ERROR);
  delivery = tg_delivery_new(&(struct tg_delivery_options){.loop = loop, .config = &config, .hooks = &hooks});
  tg_delivery_new_session(delivery, 0, 7);
  static const char ready[] = "{\"t\":\"READY\",\"s\":1,\"op\":0,\"d\":{\"user\":{\"id\":\"1212644000000000000\"},"
                              "\"guilds\":[]}}";
  sequence = 1;
  show(ready, strlen(ready));
  printf("%d GUILD_MEMBER_UPDATEs of 0.7 KB each, nobody takes them, ns an event:\n", EVENTS);
  printf("%8.0f  no rules\n", measure("1212644000000000000", GUILDS));
  set_rules(false, 0, 1, 1);
  printf("%8.0f  self_updates = false, of the bot itself: dropped\n", measure("1212644000000000000", GUILDS));
  printf("%8.0f  self_updates = false, of others: passed on\n", measure("1212644000000000001", GUILDS));
  set_rules(true, 1, 0.001, 1);
  printf("%8.0f  a rule per guild, one guild floods: dropped\n", measure("1212644000000000000", 1));
  set_rules(true, 1, 1000000, 1000000);
  printf("%8.0f  a rule per guild, %d guilds: passed on\n", measure("1212644000000000000", GUILDS), GUILDS);
  tg_delivery_free(delivery);
  uv_run(loop, UV_RUN_DEFAULT);
  return 0;
}
