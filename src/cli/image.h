#pragma once

/* The program that this process runs, and how another takes its place: the process stays, with its pid, its
 * children, and the descriptors that are handed on.
 *
 *     tg_image_begin(argv);                  first of all, while the environment is whole
 *     ...
 *     tg_image_become(&step, &error)         does not return but where it has failed
 *
 * and, as the program that was put there:
 *
 *     state = tg_image_state()               what the one before has written; -1: an ordinary start
 *     tg_image_guard(fds, count, returns)    from here on the end of this program is the other one's return
 *     tg_image_settled()                     it stays
 *
 * Main thread only. */

#include "base/error.h"

#include <stdbool.h>

/* Notes the command line, the environment, and the file of this program. */
void tg_image_begin(char **argv);

/* The file that this program was started from, which may hold another one by now. */
const char *tg_image_path(void);
/* It was handed on by the one before, which was started otherwise. */
void tg_image_set_path(const char *path);
/* As at the start; secrets are in it. */
char **tg_image_environment(void);

struct tg_image_step {
  const char *path; /* the program; NULL: `program` */
  int program;      /* descriptor of a program */
  int state;        /* what that one is to read */
  int old;          /* the program that goes on if it fails; -1: none */
  const int *keep;  /* descriptors that it needs; `state` and `old` are among them */
  int count;
  int patience; /* s that it has until tg_image_settled(); 0: any time */
};

/* This program, for `old` and `program`. -1: it cannot be had. Belongs to the process. */
int tg_image_own(void);

/* Returns only if that cannot be done: then nothing has changed. */
void tg_image_become(const struct tg_image_step *step, struct tg_error *error);

/* ---- of a program that was put in another's place ---- */

/* From now on it has so many seconds until tg_image_settled(), if there is a program to go back to. */
void tg_image_wait(int patience);

int tg_image_state(void);
/* The program that was here before; -1: none to go back to. */
int tg_image_old(void);
/* How the program failed in whose place this one has come back, in words; NULL: nothing of that kind. */
const char *tg_image_failure(void);

/* Signals that came meanwhile are heard from here on. */
void tg_image_listen(void);

/* Whatever ends this program - a crash, exit(), SIGALRM when its time is up - has the one before go on, with
 * these descriptors. `returns` is called right before that, perhaps in a signal handler. */
void tg_image_guard(const int *fds, int count, void (*returns)(void));
bool tg_image_guarded(void);
/* The same on purpose; `exit_code` says why. Returns where there is nothing to go back to. */
void tg_image_go_back(int exit_code);
/* This program stays: the descriptors that were kept for the other one are closed (this one works with copies
 * of them), but for tg_image_old(). */
void tg_image_settled(void);
/* Nor will it be needed any more. */
void tg_image_forget_old(void);
