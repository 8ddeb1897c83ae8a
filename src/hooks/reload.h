#pragma once

/* How manager and worker reach the script for a reload without knowing it
 * (design 7.4): the command line wires these to tg_script_*(). */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct tg_reload {
  void *ctx;
  /* Builds the new state beside the running one. False: `*problem` (malloc)
   * says what is wrong, and nothing has changed. */
  bool (*prepare)(void *ctx, char **problem);
  /* Without a prepared state: the running one gets that number. */
  void (*commit)(void *ctx, int generation);
  void (*abort)(void *ctx);

  /* A worker that starts runs the generation of the manager, from these
   * sources: a file descriptor, to be closed by the caller; -1: none. */
  int (*sources)(void *ctx);
  /* The files that the newest generation, prepared or not, was read from, in
   * place of such sources. A new list. */
  json_t *(*files)(void *ctx);
  /* A worker has read these for that generation: they are sources, too. */
  void (*note_files)(void *ctx, int generation, const json_t *files);

  /* Of the files that the running generation was read from: another script has
   * another sum. */
  uint64_t (*sum)(void *ctx);
};
