#pragma once

/* `tidegate test`: busted inside this program, so that specs of scripts can
 * require the modules that are embedded in it. */

/* Runs the specs under the paths (none: what .busted or busted itself says).
 * Returns the exit code of the program. */
int tg_script_test(int count, const char *const *paths);
