/* Shards that go to other hosts, and what is left of them here. */

#include "worker/worker_impl.h"

static void refuse(struct tg_worker *worker, const struct tg_message *message)
{
  struct tg_error error;
  tg_fail(&error, "not_ready", "worker %d cannot do \"%s\"", worker->options.worker_id,
          tg_message_name(message->type));
  tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
}

void tg_worker_on_let_go_shard(struct tg_worker *worker, const struct tg_message *message)
{
  refuse(worker, message);
}

void tg_worker_on_leave_shard(struct tg_worker *worker, const struct tg_message *message)
{
  refuse(worker, message);
}

void tg_worker_on_fill_hole(struct tg_worker *worker, const struct tg_message *message)
{
  refuse(worker, message);
}

void tg_worker_on_void_left(struct tg_worker *worker, const struct tg_message *message)
{
  refuse(worker, message);
}
