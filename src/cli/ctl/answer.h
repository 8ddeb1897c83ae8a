#pragma once

/* What the gateway has answered, or why it has not, to the person or program that asked. */

#include "cli/ctl/command.h"

/* Whether lines may be written over: standard output is a terminal that can. */
bool tg_ctl_draws(void);
/* Whether they may be coloured: likewise, and nobody has said otherwise (NO_COLOR). */
bool tg_ctl_colours(void);

/* As the options want it, else for who looks. Whether it could be written tg_program_end() says. */
void tg_ctl_show(const struct tg_ctl *ctl, const json_t *answer);

/* On a terminal over several lines, and nothing but ASCII: a name of somebody else cannot write on it. */
void tg_ctl_show_json(const json_t *answer);

/* To standard error: the gateway's own words, if it has said some, else `error`. `answer` may be NULL. */
void tg_ctl_complain(const struct tg_error *error, const json_t *answer);

/* What most commands do. Of a question about several shards each failure is told, and makes it a failure. */
enum tg_exit tg_ctl_ask_and_show(const struct tg_ctl *ctl, const struct tg_ctl_ask *ask);
