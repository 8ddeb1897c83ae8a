#pragma once

/* What is said of a configuration that can be read: by run, before anything
 * starts, and by check. */

#include "base/error.h"
#include "config/config.h"
#include "script/script.h"

/* Better now, in one line, than by each worker and each request. False:
 * tls.ca_file has no certificates. */
bool tg_advice_certificates(const struct tg_config *config, struct tg_error *error);

/* Writes to standard error which environment variables are most likely not
 * meant: one may be why `program` has not found what it wanted. */
void tg_advice_print(const char *program);

/* Logs what is most likely not meant (config/config_warnings.h) and what the
 * script would not find, but for what was `said` before; `said` is what was found
 * now. `config` and `script` may be NULL: there is none. `said` is zeroed for the
 * first time; the caller frees it with tg_problems_free(). */
void tg_advice_log(const struct tg_config *config, const struct tg_script *script, struct tg_problems *said);
