#include "manager/commands/ask_worker.h"

#include "base/buf.h"

#include <stdlib.h>

struct worker_question {
  tg_manager_reply *reply;
  void *ctx;
};

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct worker_question question = *(struct worker_question *)ctx;
  free(ctx);
  if (error)
    question.reply(question.ctx, NULL, error);
  else
    tg_reply_value(question.reply, question.ctx, json_true());
}

void tg_ask_worker(struct tg_workers *workers, const struct tg_manager_env *env,
                   const struct tg_managed_shard *shard, const struct tg_message *message, tg_ms timeout,
                   tg_manager_reply *reply, void *ctx)
{
  struct tg_ipc *line = tg_workers_line(workers, shard->worker_id);
  if (env->stopping) {
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
    return;
  }
  if (!line) {
    tg_reply_error(reply, ctx, "worker_down", "worker %d, which runs shard %d, is not up", shard->worker_id,
                   shard->id);
    return;
  }
  struct worker_question *question = tg_alloc(sizeof *question);
  *question = (struct worker_question){reply, ctx};
  tg_message_ask(line, message, timeout, on_answer, question);
}
