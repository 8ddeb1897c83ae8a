#pragma once

#include <stdbool.h>

/* What each of our programs does first of all, and last.
 *
 *     int main(int argc, char **argv)
 *     {
 *       tg_program_begin();
 *       ...
 *       return tg_program_end("tidegate", exit_code);
 *     } */

/* Before anything else, threads and descriptors above all:
 * - Standard descriptors that are closed are opened on /dev/null, or the next
 *   socket would take their place, and get what was meant for people.
 * - SIGPIPE is ignored: who has gone is told by the write that fails. */
void tg_program_begin(void);

/* For programs that run for good: signals that mean nothing here, but would end
 * the process or stop it, are ignored from here on. SIGUSR1 and SIGUSR2, until somebody listens; SIGXFSZ
 * (a file has reached its limit: the write fails, that is enough); SIGTTOU (a
 * background job writes to a terminal that is set to stop those). */
void tg_program_serves(void);

/* For programs that have secrets in their memory. The kernel keeps it to itself: it
 * goes into no core dump, and debuggers and other processes of the same user
 * cannot read it, nor what /proc has of this process; root can. Unless the
 * environment variable TIDEGATE_CORE_DUMPS says 1. Children have it until they
 * execute another program. */
void tg_program_keeps_secrets(void);

/* False: standard output is a pipe or socket that nobody reads any more: `... ctl shards | head`. */
bool tg_program_is_read(void);
/* There would be more to be written, but nobody reads it: to tg_program_end() that is as if it had been
 * tried. */
void tg_program_has_more(void);

/* What stands in stdout's buffer, and in the log's, goes out (log_writer.h).
 * Returns `exit_code`; but when that was 0, and not all of stdout could be
 * written, says so on standard error in the name of `program`, and returns
 * TG_EXIT_FAILED. Where that is because its reader has had enough, the process
 * ends by SIGPIPE and says nothing, as other programs do, unless it was started
 * with that signal ignored. */
int tg_program_end(const char *program, int exit_code);
