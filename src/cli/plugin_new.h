#pragma once

/* `tidegate plugin new`: lua/template, the plugin "my-plugin", under another
 * name. The files are in the program. */

#include <stdbool.h>

struct tg_template_file {
  const char *path; /* in the plugin's folder */
  const char *text;
};

/* Ends with a NULL path. */
extern const struct tg_template_file tg_template_files[];

/* Writes them to tidegate-plugin-`name`, a new folder where the process stands,
 * and says so on standard output. Returns the exit code. */
int tg_plugin_new(const char *name);
