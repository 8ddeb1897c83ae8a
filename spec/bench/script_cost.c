/* What a script costs an event that is in memory already: CPU microseconds, of the hooks alone, the best of
 * some rounds. Each event is a MESSAGE_CREATE of about 1.4 KB, and another one than those before it.
 *
 *     script_cost SCRIPT     prints them */

#include "proto/envelope.h"
#include "proto/event.h"
#include "proto/event_types.h"
#include "script/script.h"
#include "script/vm/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { EVENTS = 20000, ROUNDS = 15, WARM_UP = 3, TEXTS = 512, TEXT_SIZE = 2048 };

struct text {
  char at[TEXT_SIZE];
  size_t length;
};

static struct text texts[TEXTS];
static uint64_t sequence;

static double cpu(void)
{
  struct timespec at;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
  return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

/* ---- the core, as far as these scripts ask it ---- */

static int shard_id(const struct tg_shard *shard)
{
  (void)shard;
  return 0;
}

static struct tg_shard *worker_shard(struct tg_worker *worker, int id)
{
  (void)id;
  return (struct tg_shard *)worker;
}

static struct tg_delivery *worker_delivery(struct tg_worker *worker)
{
  return (struct tg_delivery *)worker;
}

static void enqueue(struct tg_delivery *delivery, const struct tg_event *event)
{
  (void)delivery, (void)event;
}

/* ---- events ---- */

static void write_content(struct text *text, int number)
{
  static const char *const words[] = {"ferry", "tide", "harbour", "lantern",
                                      "rope",  "gull", "anchor",  "swell"};
  for (int i = 0; text->length < 1360; i++)
    text->length += (size_t)snprintf(text->at + text->length, TEXT_SIZE - text->length, "%s%s",
                                     i > 0 ? " " : "", words[(number * 7 + i * (number % 5 + 1)) % 8]);
}

static void write_text(struct text *text, int number)
{
  text->length = (size_t)snprintf(
      text->at, TEXT_SIZE,
      "{\"t\":\"MESSAGE_CREATE\",\"s\":%d,\"op\":0,\"d\":{\"type\":0,\"tts\":false,\"timestamp\":"
      "\"2026-11-30T12:00:%02d.%06d+00:00\",\"pinned\":false,\"mentions\":[],\"mention_roles\":[],"
      "\"mention_everyone\":false,\"id\":\"13100010000%08d\",\"flags\":0,\"embeds\":[],\"edited_timestamp\":"
      "null,"
      "\"components\":[],\"channel_type\":0,\"channel_id\":\"1250000000000000%03d\",\"author\":{\"username\":"
      "\"tide%d\",\"public_flags\":64,\"id\":\"1100000000000000%03d\",\"global_name\":\"Tide %d\","
      "\"discriminator\":\"0\",\"avatar\":\"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a%03d\"},\"attachments\":[],"
      "\"member\":{"
      "\"roles\":[\"1200000000000000001\",\"1200000000000000002\"],\"premium_since\":null,\"pending\":false,"
      "\"nick\":null,\"mute\":false,\"joined_at\":\"2023-01-01T00:00:00.000000+00:00\",\"flags\":0,"
      "\"deaf\":false,\"avatar\":null},\"nonce\":\"%d:%d\",\"guild_id\":\"41771983423143937\",\"content\":\"",
      number, number % 60, number * 977 % 1000000, number, number % 97, number, number, number, number % 1000,
      number, number);
  write_content(text, number);
  text->length += (size_t)snprintf(text->at + text->length, TEXT_SIZE - text->length, "\"}}");
}

/* As the delivery does. */
static void show(struct tg_script *script, const struct text *text)
{
  struct tg_hooks *hooks = tg_script_hooks(script);
  struct tg_shard *shard = (struct tg_shard *)script;
  struct tg_envelope envelope;
  if (!tg_envelope_scan(text->at, text->length, &envelope))
    abort();
  struct tg_event event = {.type = TG_EVENT_MESSAGE_CREATE,
                           .epoch = 7,
                           .sequence = ++sequence,
                           .name = envelope.name,
                           .raw = {text->at, text->length},
                           .data = envelope.data};
  uint8_t want = hooks->want[event.type];
  if ((want & TG_WANT_DROP) || ((want & TG_WANT_FILTER) && hooks->filter(script, &event) == TG_DROP))
    return;
  struct tg_value args[] = {tg_value_shard(shard), tg_value_event(&event)};
  tg_hook_call(hooks, TG_METHOD_delivery_handle_discord_payload, args, 2, NULL);
  if (want & TG_WANT_HANDLER)
    hooks->dispatch(script, shard, &event);
}

static double measure(struct tg_script *script)
{
  double best = 1e9;
  for (int round = -WARM_UP; round < ROUNDS; round++) {
    double began = cpu();
    for (int i = 0; i < EVENTS; i++)
      show(script, &texts[i % TEXTS]);
    double spent = (cpu() - began) / EVENTS;
    if (round >= 0 && spent < best)
      best = spent;
  }
  return best;
}

int main(int argc, char **argv)
{
  char *problem = NULL;
  uv_loop_t *loop = uv_default_loop();
  struct tg_script *script = tg_script_new(TG_ROLE_WORKER, loop, 0);
  if (argc != 2 || !tg_script_load(script, argv[1], &problem)) {
    fprintf(stderr, "script_cost: %s\n", problem ? problem : "usage: script_cost SCRIPT");
    return 1;
  }
  struct tg_core core = tg_core_real;
  core.shard_id = shard_id;
  core.worker_shard = worker_shard;
  core.worker_delivery = worker_delivery;
  core.delivery_enqueue = enqueue;
  script->core = &core;
  tg_script_attach_worker(script, (struct tg_worker *)script);
  tg_script_started(script);
  for (int i = 0; i < TEXTS; i++)
    write_text(&texts[i], i + 1);
  printf("%.4f\n", measure(script));
  return 0;
}
