#pragma once

#include <stdbool.h>

/* As process 1, which is what a container starts. The kernel gives it duties: what
 * others leave behind has to be waited for, and signals have no default effect. */

/* In process 1: goes on in a child, where it returns true, while process 1 passes
 * signals on, waits for all that ends, and ends with the exit code of the child (or
 * 128 and the number of the signal that ended it). Any other process: returns false
 * at once. Before there are threads or an event loop. */
bool tg_init_if_first(void);
