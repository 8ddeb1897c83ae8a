/* In a cluster the host that leads begins and takes back, whichever was asked. */

#include "base/buf.h"
#include "manager/cluster/post.h"
#include "manager/reshard/reshard_impl.h"

#include <stdlib.h>

enum {
  LEADER_PATIENCE = 60000, /* ms; it has to ask Discord first */
  HEARING = 5000,          /* ms until this host hears that one runs, with its next beat */
};

struct tg_passed_on {
  struct tg_passed_on *next;
  struct tg_reshard *reshard;
  bool begins;
  json_t *value; /* the answer, and until when it is kept: */
  tg_ms until;
  tg_manager_reply *reply;
  void *ctx;
};

static void answer(struct tg_passed_on *passed)
{
  tg_reply_value(passed->reply, passed->ctx, passed->value);
  free(passed);
}

/* Who has asked looks next how far it is, and is not to be told that none runs. */
static void on_answered(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_passed_on *passed = ctx;
  struct tg_reshard *reshard = passed->reshard;
  if (error) {
    passed->reply(passed->ctx, NULL, error);
    free(passed);
    return;
  }
  passed->value = json_incref(value);
  if (!passed->begins || !json_is_object(value) || tg_reshard_runs(reshard)) {
    answer(passed);
    return;
  }
  passed->until = tg_now() + HEARING;
  passed->next = reshard->passed_on;
  reshard->passed_on = passed;
  tg_reshard_arm(reshard);
}

bool tg_reshard_pass_on(struct tg_reshard *reshard, const json_t *args, bool begins, tg_manager_reply *reply,
                        void *ctx)
{
  if (!reshard->env->post)
    return false;
  struct tg_passed_on *passed = tg_alloc(sizeof *passed);
  *passed = (struct tg_passed_on){.reshard = reshard, .begins = begins, .reply = reply, .ctx = ctx};
  if (tg_post_to_leader(reshard->env->post, TG_METHOD_manager_reshard, args, tg_patience(LEADER_PATIENCE),
                        on_answered, passed))
    return true;
  free(passed);
  return false;
}

void tg_reshard_answer_passed_on(struct tg_reshard *reshard, bool anyway)
{
  tg_ms now = tg_now();
  for (struct tg_passed_on **at = &reshard->passed_on; *at;) {
    struct tg_passed_on *passed = *at;
    if (!anyway && now < passed->until && !tg_reshard_runs(reshard)) {
      at = &passed->next;
      continue;
    }
    *at = passed->next;
    answer(passed);
  }
}
