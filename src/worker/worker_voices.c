/* Voice connections hang on the sessions of shards. Before the old shards of a class
 * are closed the new ones ask for their channels, or it is waited until they are over,
 * as resharding.voice says. That is done when there is no way back any more. */

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "delivery/reshard/voices.h"
#include "proto/payload.h"
#include "worker/worker_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  LOOK = 250,                 /* ms */
  MOVE_TIME = 60000,          /* until Discord has to have said that they are the new sessions' */
  MOVE_EACH = 1000,           /* more for each: so many commands may be sent in a minute */
  WAIT_TIME = 15 * 60 * 1000, /* for those that end by themselves */
};

struct tg_voices_left {
  struct tg_voices_left *next;
  struct tg_worker *worker;
  int class;
  int64_t nonce; /* of the manager's question, that goes on then */
  tg_ms until;   /* tg_now() */
  uv_timer_t *timer;
};

static int count(const struct tg_voices_left *left)
{
  return tg_delivery_each_voice(left->worker->delivery, left->class, NULL, NULL);
}

static void release(struct tg_voices_left *left)
{
  struct tg_voices_left **at = &left->worker->voices_left;
  while (*at != left)
    at = &(*at)->next;
  *at = left->next;
  tg_timer_free(left->timer);
  free(left);
}

static void look(uv_timer_t *timer)
{
  struct tg_voices_left *left = timer->data;
  int remain = count(left);
  if (remain > 0 && tg_now() < left->until) {
    tg_timer_start(left->timer, look, LOOK);
    return;
  }
  if (remain > 0)
    tg_log(TG_WARN, TG_NO_SHARD, "%d voice connection%s end%s with the shard that had asked for %s", remain,
           remain == 1 ? "" : "s", remain == 1 ? "s" : "", remain == 1 ? "it" : "them");
  struct tg_voices_left over = *left;
  release(left);
  tg_worker_close_class(over.worker, over.class, over.nonce);
}

/* What comes of it, the bot is told by the new session. */
static void move(void *ctx, tg_shard_ref ref, const struct tg_voice *voice)
{
  struct tg_worker *worker = ctx;
  struct tg_shard *shard = tg_worker_shard(worker, ref);
  char guild[24], channel[24];
  if (!shard)
    return;
  snprintf(guild, sizeof guild, "%" PRIu64, voice->guild);
  snprintf(channel, sizeof channel, "%" PRIu64, voice->channel);
  json_t *payload =
      json_pack("{s:i, s:{s:s, s:s, s:b, s:b}}", "op", TG_OP_VOICE_STATE_UPDATE, "d", "guild_id", guild,
                "channel_id", channel, "self_mute", voice->self_mute, "self_deaf", voice->self_deaf);
  tg_shard_command(shard, payload, TG_SEND_NORMAL, WAIT_TIME, NULL, NULL);
  json_decref(payload);
}

void tg_worker_leave_voices(struct tg_worker *worker, int class, int64_t nonce)
{
  struct tg_voices_left *left = tg_calloc(1, sizeof *left);
  *left =
      (struct tg_voices_left){.next = worker->voices_left, .worker = worker, .class = class, .nonce = nonce};
  worker->voices_left = left;
  left->timer = tg_timer_new(worker->options.loop, left);
  bool moves = worker->options.config->resharding.voice == TG_VOICE_MOVE;
  int voices = tg_delivery_each_voice(worker->delivery, class, moves ? move : NULL, worker);
  left->until = tg_now() + (moves ? tg_patience(MOVE_TIME) + voices * MOVE_EACH : tg_patience(WAIT_TIME));
  if (voices > 0)
    tg_log(TG_INFO, TG_NO_SHARD,
           moves ? "%d voice connection%s of old shards: the new ones ask for their channels"
                 : "%d voice connection%s of old shards: their end is waited for",
           voices, voices == 1 ? "" : "s");
  look(left->timer);
}

void tg_worker_forget_voices(struct tg_worker *worker)
{
  while (worker->voices_left)
    release(worker->voices_left);
}
