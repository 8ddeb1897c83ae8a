/* `run --candidate`, for the gateway that runs: would this program do in its place? */

#include "cli/image.h"
#include "cli/process.h"
#include "cli/succession.h"

#include "base/log.h"
#include "manager/upgrade/candidate.h"
#include "manager/upgrade/handed.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Steals `verdict`. */
static void say(json_t *verdict)
{
  if (ftruncate(TG_CANDIDATE_VERDICT, 0) == 0 && lseek(TG_CANDIDATE_VERDICT, 0, SEEK_SET) == 0)
    json_dumpfd(verdict, TG_CANDIDATE_VERDICT, JSON_COMPACT);
  json_decref(verdict);
}

static bool look(const struct tg_config *config, const json_t *handed, struct tg_error *error)
{
  if (json_integer_value(json_object_get(handed, "format")) != TG_HANDED_FORMAT)
    return tg_fail(error, "restart", "it cannot read what is handed on: restart it");
  return tg_manager_could_follow(config, json_object_get(handed, "manager"), error);
}

int tg_candidate_run(const char *script)
{
  struct tg_process process;
  struct tg_error error;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  tg_process_keeps_secrets();
  prctl(PR_SET_NAME, "tidegate-next");
  json_t *handed = tg_handed_read(TG_CANDIDATE_STATE);
  int exit_code = tg_process_begin(&process, TG_ROLE_MANAGER, 0, script, -1, false);
  bool good = exit_code == TG_EXIT_OK && look(tg_script_config(process.script), handed, &error);
  if (good) {
    say(json_pack("{s:s}", "version", TG_VERSION));
    poll(NULL, 0, TG_CANDIDATE_LIFE); /* what falls over soon, falls here */
  } else if (exit_code == TG_EXIT_OK) {
    say(json_pack("{s:s, s:s}", "version", TG_VERSION, "problem", error.message));
  }
  tg_process_end(&process);
  json_decref(handed);
  return exit_code;
}
