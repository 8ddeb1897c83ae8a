#pragma once

/* How manager and worker reach the script for a reload without knowing it
 * (design 7.4): the command line wires these to tg_script_*(). */

#include <stdbool.h>

struct tg_reload {
  void *ctx;
  /* Builds the new state beside the running one. False: `*problem` (malloc)
   * says what is wrong, and nothing has changed. */
  bool (*prepare)(void *ctx, char **problem);
  void (*commit)(void *ctx, int generation);
  void (*abort)(void *ctx);
};
