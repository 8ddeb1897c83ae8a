#include "cli/advice.h"

#include "base/log.h"
#include "config/config_warnings.h"
#include "net/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool tg_advice_certificates(const struct tg_config *config, struct tg_error *error)
{
  const char *path = config->tls.ca_file;
  struct tg_error why;
  if (!path)
    return true;
  struct tg_tls *tls = NULL;
  if (access(path, R_OK) != 0)
    tg_fail(&why, "tls", "certificates to trust cannot be read from %s: %s", path, strerror(errno));
  else
    tls = tg_tls_client(path, &why);
  bool good = tls != NULL;
  tg_tls_free(tls);
  if (!good)
    tg_fail(error, "tls",
            "%s. tls.ca_file (TIDEGATE_CA_FILE) has to name a file of PEM certificates; without it the "
            "system's are trusted",
            why.message);
  return good;
}

void tg_advice_print(const char *program)
{
  struct tg_problems warnings = tg_config_warnings(NULL, environ);
  for (int i = 0; i < warnings.count; i++)
    fprintf(stderr, "%s: warning: %s\n", program, warnings.items[i]);
  tg_problems_free(&warnings);
}

static bool is_among(const struct tg_problems *problems, const char *text)
{
  for (int i = 0; i < problems->count; i++)
    if (strcmp(problems->items[i], text) == 0)
      return true;
  return false;
}

void tg_advice_log(const struct tg_config *config, const struct tg_script *script, struct tg_problems *said)
{
  struct tg_problems warnings = tg_config_warnings(config, environ);
  if (script)
    tg_script_warn(script, &warnings);
  for (int i = 0; i < warnings.count; i++)
    if (!is_among(said, warnings.items[i]))
      tg_log(TG_WARN, TG_NO_SHARD, "%s", warnings.items[i]);
  tg_problems_free(said);
  *said = warnings;
}
