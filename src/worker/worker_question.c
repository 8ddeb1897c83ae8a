/* Whether a session still hears: the members of one of its guilds are requested, of whom there has to be a
 * GUILD_MEMBERS_CHUNK (or a RATE_LIMITED), whatever else happens in its guilds. Only the bot itself is asked
 * for, for which no privileged intent is needed. The answer goes its usual way to the bot as well, with a
 * nonce that nobody there waits for. */

#include "base/timer.h"
#include "proto/event_types.h"
#include "proto/payload.h"
#include "worker/worker_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE_SIZE = 33 };

struct tg_question {
  struct tg_question *next;
  struct tg_worker *worker;
  tg_shard_ref ref;
  int64_t message; /* nonce of the manager's */
  char nonce[NONCE_SIZE];
  uv_timer_t *timer; /* NULL: it is not sent yet */
  tg_ms patience;    /* from when it was sent */
  bool overdue;      /* at the last look */
};

static void release(struct tg_question *question)
{
  struct tg_question **at = &question->worker->questions;
  while (*at != question)
    at = &(*at)->next;
  *at = question->next;
  tg_timer_free(question->timer);
  free(question);
}

static void answer(struct tg_question *question, const struct tg_error *error)
{
  tg_ipc_answer(question->worker->ipc, question->message, error ? NULL : json_true(), error);
  release(question);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_question *question = timer->data;
  struct tg_error error;
  if (!question->overdue) { /* it may be this loop that is late: what has come meanwhile is read first */
    question->overdue = true;
    tg_timer_start(timer, on_timer, 1);
    return;
  }
  tg_fail(&error, "unanswered", "Discord has not answered shard %d", tg_ref_id(question->ref));
  answer(question, &error);
}

static struct tg_question *find(struct tg_worker *worker, tg_shard_ref ref, struct tg_span nonce)
{
  struct tg_question *question = worker->questions;
  while (question && (question->ref != ref || strlen(question->nonce) != nonce.length ||
                      memcmp(question->nonce, nonce.at, nonce.length) != 0))
    question = question->next;
  return question;
}

struct sent {
  struct tg_worker *worker;
  tg_shard_ref ref;
  char nonce[NONCE_SIZE];
};

static void on_sent(void *ctx, const struct tg_error *error)
{
  struct sent sent = *(struct sent *)ctx;
  free(ctx);
  struct tg_question *question =
      find(sent.worker, sent.ref, (struct tg_span){sent.nonce, strlen(sent.nonce)});
  if (!question)
    return;
  if (error) {
    struct tg_error not_sent;
    tg_fail(&not_sent, "not_sent", "%s", error->message);
    answer(question, &not_sent);
    return;
  }
  question->timer = tg_timer_new(sent.worker->options.loop, question);
  tg_timer_start(question->timer, on_timer, question->patience);
}

static json_t *make_payload(const struct tg_question *question, uint64_t guild_id)
{
  char guild[24], bot[TG_BOT_ID_SIZE];
  snprintf(guild, sizeof guild, "%" PRIu64, guild_id);
  tg_config_bot_id(question->worker->options.config, bot);
  json_t *d = json_pack("{s:s, s:i, s:s}", "guild_id", guild, "limit", 1, "nonce", question->nonce);
  if (bot[0])
    json_object_set_new(d, "user_ids", json_pack("[s]", bot));
  else
    json_object_set_new(d, "query", json_string(""));
  return json_pack("{s:i, s:o}", "op", TG_OP_REQUEST_GUILD_MEMBERS, "d", d);
}

void tg_worker_ask_discord(struct tg_worker *worker, const struct tg_message *message)
{
  tg_shard_ref ref = message->question_shard.ref;
  struct tg_error error;
  uint64_t guild_id = tg_delivery_any_guild(worker->delivery, ref);
  if (guild_id == 0) {
    tg_fail(&error, "no_guild", "no guild of shard %d is known", tg_ref_id(ref));
    tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
    return;
  }
  struct tg_question *question = tg_calloc(1, sizeof *question);
  struct sent *sent = tg_alloc(sizeof *sent);
  *question = (struct tg_question){.next = worker->questions,
                                   .worker = worker,
                                   .ref = ref,
                                   .message = message->nonce,
                                   .patience = message->question_shard.patience};
  snprintf(question->nonce, sizeof question->nonce, "hears-%" PRIx64, tg_random(UINT64_MAX));
  worker->questions = question;
  sent->worker = worker;
  sent->ref = ref;
  memcpy(sent->nonce, question->nonce, sizeof sent->nonce);
  json_t *payload = make_payload(question, guild_id);
  tg_shard_send(tg_worker_shard(worker, ref), payload, TG_SEND_HIGH, question->patience, on_sent, sent);
  json_decref(payload);
}

void tg_worker_hear_answer(struct tg_worker *worker, const struct tg_event *event)
{
  bool limited = event->type == TG_EVENT_RATE_LIMITED;
  struct tg_span holder = event->data, nonce, text;
  if (event->type != TG_EVENT_GUILD_MEMBERS_CHUNK && !limited)
    return;
  if (limited && !tg_json_member(event->data, "meta", &holder))
    return;
  struct tg_question *question = NULL;
  if (tg_json_member(holder, "nonce", &nonce) && tg_json_plain_string(nonce, &text))
    question = find(worker, tg_event_ref(event), text);
  if (question)
    answer(question, NULL);
}

void tg_worker_forget_questions(struct tg_worker *worker)
{
  while (worker->questions)
    release(worker->questions);
}
