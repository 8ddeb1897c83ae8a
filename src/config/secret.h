#pragma once

/* Secrets that stand in files rather than in environment variables, which
 * children inherit and others may read. For each variable that carries a secret:
 *
 *   DISCORD_TOKEN_FILE=/run/secrets/token     names the file, or
 *   $CREDENTIALS_DIRECTORY/discord_token      systemd's LoadCredential= has put it there
 *
 * The variable itself comes before both. A newline at the end of the file does
 * not belong to the secret. */

#include "base/error.h"

enum { TG_SECRET_NAME = 64 }; /* bytes of a variable's name */

/* The file for the variable; NULL: there is none. The caller frees it.
 * `named_by`: the variable that led to it. A credential that is not there is
 * none; a file that DISCORD_TOKEN_FILE names is one in any case. */
char *tg_secret_path(const char *variable, const char *(*env)(const char *name),
                     char named_by[TG_SECRET_NAME]);

/* Its content, at least one byte; the caller frees it. NULL: `error` says why. */
char *tg_secret_read(const char *path, struct tg_error *error);
