#pragma once

/* The script of a process: a LuaJIT state with the `gateway` table, behind the
 * hooks. All that the rest of the program may know of Lua is here.
 *
 *     script = tg_script_new(TG_ROLE_WORKER, loop, worker_id);
 *     if (!tg_script_load(script, "bot.lua", &problem)) ...   problem: text with traceback
 *     config = tg_script_config(script);
 *     ... make http, worker or manager with tg_script_hooks(script) ...
 *     tg_script_attach_worker(script, worker);
 *     tg_script_started(script);                              runs on("load")
 *
 * Loop thread only. */

#include "config/config.h"
#include "hooks/hooks.h"

#include <stdbool.h>
#include <uv.h>

struct tg_script;
struct tg_manager;
struct tg_worker;
struct tg_http;

enum tg_role { TG_ROLE_MANAGER, TG_ROLE_WORKER };

struct tg_script *tg_script_new(enum tg_role role, uv_loop_t *loop, int worker_id);

/* The end of the process is near: unload handlers run up to their first wait,
 * then no Lua runs any more and the hooks are empty. Call it before the worker
 * or manager and the http client are freed. */
void tg_script_stop(struct tg_script *script);

/* After worker and manager (they hold the hooks). The loop has to turn once
 * more: closing timers hold memory. */
void tg_script_free(struct tg_script *script);

/* Before the load: the file that tg_script_sources() of another process has
 * made. What the load finds there is not read from disk. Closes it. */
void tg_script_give_sources(struct tg_script *script, int fd);

/* Before the load: nothing of the script is run. Its configuration is that of
 * those sources. Until a reload, that is. */
void tg_script_go_without(struct tg_script *script);

/* Runs the script (NULL: no script, only the environment configures), checks
 * its configuration, and loads the plugins that this names. False: `*problem`
 * (malloc) says all that is wrong, with traceback or one line a key. */
bool tg_script_load(struct tg_script *script, const char *path, char **problem);

/* Belongs to the script; replaced, at another address, by a reload. */
const struct tg_config *tg_script_config(const struct tg_script *script);

/* The same pointer for the life of the script. */
struct tg_hooks *tg_script_hooks(struct tg_script *script);

void tg_script_attach_http(struct tg_script *script, struct tg_http *http);
void tg_script_attach_manager(struct tg_script *script, struct tg_manager *manager);
void tg_script_attach_worker(struct tg_script *script, struct tg_worker *worker);
void tg_script_started(struct tg_script *script);

/* Reload in two phases (design 7.4). Prepare builds a new state beside the
 * running one; nothing changes. Then commit swaps, or abort throws it away. */
bool tg_script_prepare(struct tg_script *script, char **problem);
void tg_script_commit(struct tg_script *script, int generation); /* nothing prepared: only the number */
void tg_script_abort(struct tg_script *script);
int tg_script_generation(const struct tg_script *script);

/* The Lua files a generation was loaded from (base/reload.h says what for). The
 * newest generation is the prepared one; else the one that could not be
 * prepared, or was aborted, since the last commit; else the live one. */
int tg_script_sources(const struct tg_script *script); /* of the live one; -1: none */
json_t *tg_script_files(const struct tg_script *script);
void tg_script_note_files(struct tg_script *script, int generation, const json_t *files);

/* Of the files that the live generation was read from. 0: there is none. */
uint64_t tg_script_sum(const struct tg_script *script);

/* A file of the newest generation that is another one on disk by now; NULL:
 * none. `*sum` changes whenever any of its files does. */
const char *tg_script_changed_file(const struct tg_script *script, uint64_t *sum);

/* Adds what the script, or a module that it loads, may ask for and would not
 * find (lua-cjson, which belongs to the program, but is no library of it), and
 * what is strange about its plugins. Of a script that is loaded; the texts say
 * what to do. */
void tg_script_warn(const struct tg_script *script, struct tg_problems *warnings);

/* For `tidegate check`: overridden methods, filters, handlers and plugins as JSON. */
json_t *tg_script_describe(const struct tg_script *script);

/* For `tidegate plugin list`: {"plugins": [{"plugin", "version", "from"}],
 * "problems": [text]}, of this tree, or (NULL) of all that the script finds, that
 * of the environment when it is not loaded, and what is built in. NULL: `*problem`
 * (malloc) says why. */
json_t *tg_script_installed(struct tg_script *script, const char *tree, char **problem);

/* For `tidegate version`: of LuaJIT, and of the lua-cjson that modules find; "": there is none. */
struct tg_script_versions {
  char luajit[64], cjson[32];
};

struct tg_script_versions tg_script_versions(void);
