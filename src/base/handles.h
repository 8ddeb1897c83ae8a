#pragma once

/* The uv handles of one object, counted: libuv closes them in a later turn of
 * the loop, and until then the memory that they are in has to stay.
 *
 *     tg_handles_init(&owner->handles, loop, free_owner, owner);
 *     tg_handles_timer(&owner->handles, &owner->timer, owner);
 *     ...
 *     tg_handles_close(&owner->handles, &owner->timer);
 *     tg_handles_end(&owner->handles); // free_owner(owner) with the last of them
 */

#include <stdbool.h>
#include <uv.h>

struct tg_handles {
  uv_loop_t *loop;
  int open; /* not closed yet */
  bool ended;
  void (*gone)(void *ctx);
  void *ctx;
};

/* `gone` is called once: after tg_handles_end(), when no handle is open any more. */
void tg_handles_init(struct tg_handles *handles, uv_loop_t *loop, void (*gone)(void *ctx), void *ctx);

/* A timer that is counted; its `data` is `owner`. */
void tg_handles_timer(struct tg_handles *handles, uv_timer_t *timer, void *owner);

/* One more, which the caller has made. */
void tg_handles_add(struct tg_handles *handles);

/* Closes a handle of any type that is counted. Its `data` is not the owner's any more. */
void tg_handles_close(struct tg_handles *handles, void *handle);

/* For who closes it with a callback of his own: it is closed. */
void tg_handles_closed(struct tg_handles *handles);

/* There will be no more. */
void tg_handles_end(struct tg_handles *handles);
