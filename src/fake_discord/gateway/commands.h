#pragma once

/* Op 3, 4, 8, 31 and 43 of a client that has a session: judged, recorded,
 * answered. */

#include "fake_discord/gateway/conn.h"

/* `op` is one of the five. */
void tg_fake_command(struct tg_fake_conn *conn, int op, const json_t *d);
