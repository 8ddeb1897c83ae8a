/* Answers to the manager's request_members: of all GUILD_MEMBERS_CHUNK and
 * RATE_LIMITED events only those with a nonce the manager waits for are sent
 * on to it, and, while it waits for any, RATE_LIMITED that do not say whose they
 * are. They go their usual way to the bot as well. */

#include "proto/event_types.h"
#include "worker/worker_impl.h"

#include <stdlib.h>
#include <string.h>

struct tg_expected_members {
  struct tg_expected_members *next;
  tg_ms until; /* tg_now() */
  char nonce[40]; /* Discord ignores more than 32 bytes */
};

void tg_worker_expect_members(struct tg_worker *worker, const json_t *payload, tg_ms until)
{
  const char *nonce = json_string_value(json_object_get(json_object_get(payload, "d"), "nonce"));
  struct tg_expected_members *expected = tg_calloc(1, sizeof *expected);
  if (!nonce || strlen(nonce) >= sizeof expected->nonce) {
    free(expected);
    return;
  }
  strcpy(expected->nonce, nonce);
  expected->until = until;
  expected->next = worker->expected_members;
  worker->expected_members = expected;
}

/* NULL: whether any is. Also forgets those whose time is over. */
static bool is_expected(struct tg_worker *worker, const struct tg_span *nonce)
{
  bool found = false;
  tg_ms now = tg_now();
  struct tg_expected_members **at = &worker->expected_members;
  while (*at) {
    struct tg_expected_members *expected = *at;
    if (expected->until <= now) {
      *at = expected->next;
      free(expected);
      continue;
    }
    found |= !nonce || (strlen(expected->nonce) == nonce->length &&
                        memcmp(expected->nonce, nonce->at, nonce->length) == 0);
    at = &expected->next;
  }
  return found;
}

static bool is_answer(struct tg_worker *worker, struct tg_span holder, bool limited)
{
  struct tg_span nonce, text;
  if (!tg_json_member(holder, "nonce", &nonce) || tg_json_is(nonce, "null"))
    return limited && is_expected(worker, NULL);
  return tg_json_plain_string(nonce, &text) && is_expected(worker, &text);
}

void tg_worker_forward_members(struct tg_worker *worker, const struct tg_event *event)
{
  bool limited = event->type == TG_EVENT_RATE_LIMITED;
  if (!worker->expected_members || (event->type != TG_EVENT_GUILD_MEMBERS_CHUNK && !limited))
    return;
  struct tg_span holder = event->data;
  if (limited && !tg_json_member(event->data, "meta", &holder))
    holder = (struct tg_span){0};
  if (!is_answer(worker, holder, limited))
    return;
  json_t *data = json_loadb(event->data.at, event->data.length, 0, NULL);
  if (limited)
    tg_say(worker->ipc, members_limited, .ref = tg_event_ref(event), .data = data);
  else
    tg_say(worker->ipc, members_chunk, .ref = tg_event_ref(event), .data = data);
  json_decref(data);
}

void tg_worker_forget_members(struct tg_worker *worker)
{
  while (worker->expected_members) {
    struct tg_expected_members *expected = worker->expected_members;
    worker->expected_members = expected->next;
    free(expected);
  }
}
