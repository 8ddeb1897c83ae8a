#pragma once

/* `tidegate plugin pack`: makes the rock of the plugin in whose folder the
 * process stands, a file there. What it depends on does not go into it. Returns
 * the exit code. */
int tg_plugin_pack(void);
