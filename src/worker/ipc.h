#pragma once

/* The line between the manager and a worker: one JSON object a line over a
 * socketpair, {"type":"identify_shard","ref":3}; worker/messages.h has all
 * there are. Rare by design: nothing here is done per event.
 *
 * A question carries a nonce, and is answered with a message of its own:
 * {"type":"nonce_reply","nonce":7,"data":...}, or with "error": {code, message}. */

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct tg_ipc;

struct tg_ipc_callbacks {
  /* `message` is borrowed; `type` is its "type". */
  void (*on_message)(void *ctx, const char *type, const json_t *message);
  /* The other side is gone. Free the ipc from here or later. */
  void (*on_closed)(void *ctx);
};

/* Takes over the socket `fd`, makes it close-on-exec. NULL: it is no socket
 * (logged). SIGPIPE has to be ignored in this process. */
struct tg_ipc *tg_ipc_new(uv_loop_t *loop, int fd, const struct tg_ipc_callbacks *callbacks, void *ctx);

/* Before tg_ipc_new(): waits for the next message, {"type":"secrets",...}, and
 * takes no byte of what follows it. NULL: the other side is gone, or `fd` is no
 * such line. The caller decrefs it. */
json_t *tg_ipc_receive(int fd);

/* Pending requests end with the error "closed". What is not flushed yet is
 * thrown away. The memory goes when the loop has closed the handles. */
void tg_ipc_free(struct tg_ipc *ipc);

/* Sends {"type": type, ...fields}; steals `fields` (an object, or NULL). After
 * the other side has gone it does nothing. */
void tg_ipc_send(struct tg_ipc *ipc, const char *type, json_t *fields);

/* `data` is borrowed; NULL when `error` is set. Called exactly once, perhaps
 * before tg_ipc_request() returns. */
typedef void tg_ipc_reply(void *ctx, const json_t *data, const struct tg_error *error);

/* Sends with a nonce and waits for its answer, at most `timeout` ms
 * (error "timeout"). Steals `fields`. */
void tg_ipc_request(struct tg_ipc *ipc, const char *type, json_t *fields, int64_t timeout,
                    tg_ipc_reply *reply, void *ctx);

/* Answers the question with that "nonce"; 0: it was none, nobody waits. Steals
 * `data`; `error` may be NULL. */
void tg_ipc_answer(struct tg_ipc *ipc, int64_t nonce, json_t *data, const struct tg_error *error);

/* Whether all that was sent has been handed to the kernel. */
bool tg_ipc_flushed(const struct tg_ipc *ipc);
/* And of what came no half message is here: whoever has the socket may go on with it. */
bool tg_ipc_at_rest(const struct tg_ipc *ipc);
int tg_ipc_fd(const struct tg_ipc *ipc);
