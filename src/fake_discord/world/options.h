#pragma once

/* The command line of tidegate-fake-discord. */

#include "fake_discord/world/settings.h"

#include <stdbool.h>

struct tg_fake_options {
  char listen[128]; /* "127.0.0.1:0" */
  char admin[128];
  char tls_dir[512]; /* "": plain */
  int guilds;        /* 0: four a shard */
  uint64_t seed;
  bool parent_death; /* end with the parent process */
  struct tg_fake_settings settings;
};

/* Fills `options`. -1: go on; else the exit code (after --help, or after a
 * message on standard error that says which option is wrong). */
int tg_fake_options_parse(int argc, char **argv, struct tg_fake_options *options);
