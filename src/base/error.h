#pragma once

/* What went wrong, in words for the person who runs the program.
 *
 *     struct tg_error error = {0};
 *     if (!open_it(path, &error)) {
 *       tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
 *
 * Functions that can fail in a way worth words return false and fill one of
 * these; the message says what happened, where, and what to do. `code` is a
 * short word that programs (and scripts, as err.code) may test. */

enum { TG_ERROR_CODE_SIZE = 32, TG_ERROR_MESSAGE_SIZE = 1500 };

struct tg_error {
  char code[TG_ERROR_CODE_SIZE]; /* "timeout", "refused", ...; "" = no error */
  char message[TG_ERROR_MESSAGE_SIZE];
};

/* `error` may be NULL. Always returns 0, so that it can stand in a return of
 * false or NULL-like results: `return tg_fail(error, "timeout", "..."), NULL`. */
int tg_fail(struct tg_error *error, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Exit codes of the program (numbers from sysexits.h). */
enum tg_exit {
  TG_EXIT_OK = 0,
  TG_EXIT_FAILED = 1,
  TG_EXIT_USAGE = 64,
  TG_EXIT_UNAVAILABLE = 69,   /* Discord or REST not reachable at start; of ctl: no gateway */
  TG_EXIT_AGAIN = 75,         /* it has to be started anew, and will do then */
  TG_EXIT_NO_PERMISSION = 77, /* ctl: not authorized */
  TG_EXIT_CONFIG = 78,        /* configuration, or a fatal close code */
};
