#pragma once

/* Answers GET /healthz at the socket of the control API while one program goes and the next has not begun to
 * listen: a small process of its own, for a script may take its time to load. Everybody else gets 503 and
 * comes again. It waits a moment before it answers anybody: mostly the next program is faster. */

/* `listener`: the socket; -1: there is none. Returns a descriptor to be handed on: whoever has it says on it
 * how things are, and the process ends when nobody has it any more. -1: there is no such process. */
int tg_stand_in_start(int listener);

/* This program listens: the other one is quiet. Likewise when it does no longer; safe in a signal handler. */
void tg_stand_in_rest(int fd);
void tg_stand_in_act(int fd);
