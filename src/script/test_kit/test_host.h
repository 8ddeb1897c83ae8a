#pragma once

/* `tidegate test`: busted inside this program, so that specs of scripts can
 * require the test kit. */

/* Runs busted with these words, paths of specs or options (none: what .busted
 * or busted itself says). Returns the exit code of the program. */
int tg_script_test(int count, const char *const *words);
