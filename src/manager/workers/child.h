#pragma once

/* A process of ours: one that was started here, or one that this process has had all along, from before it
 * went on with another program (cli/image.h). Loop thread only. */

#include <stdint.h>
#include <uv.h>

struct tg_child;

/* It has ended, with that exit status or by that signal; the child is no more. */
typedef void tg_child_ended(void *owner, int64_t status, int number);

/* NULL: it cannot be started; *failed is what libuv says. `options` without exit_cb. */
struct tg_child *tg_child_start(uv_loop_t *loop, uv_process_options_t *options, tg_child_ended *ended,
                                void *owner, int *failed);
/* `pid` is a child of this process that libuv does not know. It may have ended already. */
struct tg_child *tg_child_adopt(uv_loop_t *loop, int pid, tg_child_ended *ended, void *owner);

int tg_child_pid(const struct tg_child *child);
void tg_child_kill(struct tg_child *child, int number);
/* Nobody wants to know any more how it ends: the child is no more. */
void tg_child_forget(struct tg_child *child);
