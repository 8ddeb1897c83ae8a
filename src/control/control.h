#pragma once

/* The control API, in the manager's process: routes over
 * HTTP/1.1 at control.listen. Loop thread only. */

#include "base/error.h"
#include "config/config.h"

#include <jansson.h>
#include <uv.h>

struct tg_control;
struct tg_manager;

/* Listens and logs where. False: `error` says why it cannot and what to do.
 * With control.listen = "off" there is nothing: true, and *control is NULL. */
bool tg_control_start(struct tg_control **control, uv_loop_t *loop, struct tg_manager *manager,
                      const struct tg_config *config, const json_t *handed, struct tg_error *error);

/* For the next program in this process, as `handed` there (NULL: there was none before): the socket, which
 * never ceases to listen. A new reference. */
json_t *tg_control_hand_over(const struct tg_control *control);
int tg_control_socket(const struct tg_control *control); /* -1: there is none */
/* Clients that keep their connection are let go, for that; or no longer. And whether all have gone. */
void tg_control_rest(struct tg_control *control, bool rest);
bool tg_control_at_rest(const struct tg_control *control);

/* After a reload: the secret may have changed. The address stays. */
void tg_control_reconfigure(struct tg_control *control, const struct tg_config *config);

/* Before tg_manager_free(): requests that come from here on get 503. */
void tg_control_close(struct tg_control *control);

/* After tg_manager_free(), so that who still waits hears how it ended. The
 * memory goes when the loop has closed the handles. */
void tg_control_free(struct tg_control *control);
