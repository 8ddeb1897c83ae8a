/* What the other side of the socket between manager and worker sends, in the
 * pieces that the input chooses: nothing but whole messages comes out. */

#include "fuzz.h"

#include "worker/messages.h"

#include <signal.h>
#include <sys/socket.h>

static struct tg_ipc *ipc;
static bool closed;

static void on_message(void *ctx, const char *type, const json_t *message)
{
  (void)ctx;
  if (!type || !json_is_object(message))
    abort();
  if (strcmp(type, "nonce_reply") == 0)
    abort(); /* those have somebody who waits for them */
  struct tg_message read;
  struct tg_error error;
  if (!tg_message_read(type, message, &read, &error) && !error.message[0])
    abort();
  tg_ipc_answer(ipc, read.nonce, json_true(), NULL);
}

static void on_closed(void *ctx)
{
  (void)ctx;
  closed = true;
}

static void on_reply(void *ctx, const json_t *data, const struct tg_error *error)
{
  int *replies = ctx;
  if (!data == !error)
    abort();
  (*replies)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static const struct tg_ipc_callbacks callbacks = {on_message, on_closed};
  uv_loop_t loop;
  int pair[2], replies = 0;
  signal(SIGPIPE, SIG_IGN);
  fuzz_be_silent();
  if (length < 1 || length > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return 0;
  uv_loop_init(&loop);
  closed = false;
  ipc = tg_ipc_new(&loop, pair[0], &callbacks, NULL);
  if (!ipc)
    abort();
  tg_ipc_request(ipc, "kill_shard", NULL, 60000, on_reply, &replies);
  for (size_t at = 1, piece = bytes[0] + 1u; at < length; at += piece) {
    size_t rest = length - at;
    if (write(pair[1], bytes + at, rest < piece ? rest : piece) < 0)
      break;
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  close(pair[1]);
  for (int turn = 0; turn < 100 && !closed; turn++)
    uv_run(&loop, UV_RUN_NOWAIT);
  tg_ipc_free(ipc);
  if (replies != 1)
    abort();
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
  }
  return uv_loop_close(&loop) == 0 ? 0 : (abort(), 0);
}
