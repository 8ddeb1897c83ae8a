#pragma once

/* What `run` and `worker` have in common: a loop, a script, its logging, HTTP
 * clients, and the wiring of reloads. */

#include "hooks/reload.h"
#include "net/http.h"
#include "net/proxy.h"
#include "script/script.h"

#include <stdbool.h>
#include <uv.h>

struct tg_process {
  uv_loop_t loop;
  struct tg_script *script;
  struct tg_proxies *proxies;  /* of the environment */
  struct tg_http *http;        /* the program's own: events to the bot, gateway information */
  struct tg_http *script_http; /* requests of scripts, bounded a host */
  struct tg_reload reload; /* wired to the script */
  /* Called after a reload's commit, with the new configuration. */
  void (*reconfigure)(void *ctx, const struct tg_config *config);
  void *reconfigure_ctx;
  int exit_code;
  bool over;
};

/* First of all, in each process that gets to know secrets: they leave the
 * environment, and the memory is nobody else's. */
void tg_process_keeps_secrets(void);

/* Loads the script and the configuration; on failure says why on the log and
 * returns the exit code of the program, else TG_EXIT_OK. tg_process_end() in
 * both cases. `sources_fd`: see tg_script_give_sources(); -1: none. `bare`: see
 * tg_script_go_without(). */
int tg_process_begin(struct tg_process *process, enum tg_role role, int worker_id, const char *script_path,
                     int sources_fd, bool bare);

/* Standard error is a terminal that can wipe a line. */
bool tg_process_on_terminal(void);

/* For on_exit of manager and worker: ends tg_process_run(). */
void tg_process_exit(void *ctx, int exit_code);

/* Turns the loop until tg_process_exit(), then ends the script. Returns the
 * exit code. */
int tg_process_run(struct tg_process *process);

/* Lets the handles that are being closed go, and frees. */
void tg_process_end(struct tg_process *process);
