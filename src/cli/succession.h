#pragma once

/* The command `run` as one program after another in the same process: what is handed on beside what the
 * manager hands on, and how the next one is executed (image.h), or the one before again. */

#include "control/control.h"
#include "manager/manager.h"

struct tg_process;

struct tg_succession {
  struct tg_successor of_manager; /* for tg_manager_options */
  json_t *handed;                 /* NULL: this is an ordinary start */
  int stats;                      /* of this process: its page */
  struct tg_manager **manager;
  struct tg_control **control;
  tg_ms rests_since;
};

/* First: takes what was handed on, and sees to it that the program before goes on should this one end. False:
 * it cannot be understood (logged). `contained`: process 1 of a container is ours. */
bool tg_succession_begin(struct tg_succession *succession, bool contained);
/* Has this process count in the page of the program before, or in one that can be handed on. */
void tg_succession_attach_stats(struct tg_succession *succession);
/* What the control API was; NULL: there was none. */
const json_t *tg_succession_control(const struct tg_succession *succession);
/* The control API is there again. */
void tg_succession_listens(void);
/* This program ends with that code, or cannot begin: where that was to be its probation the one before goes
 * on, and this does not return. */
void tg_succession_fails(int exit_code);
void tg_succession_end(struct tg_succession *succession);

/* `run --candidate`: says on TG_CANDIDATE_VERDICT whether this program could take over. Returns the exit
 * code.
 */
int tg_candidate_run(const char *script);
