#pragma once

/* Shared by the json_*.c files. */

#include <lua.h>
#include <stdbool.h>

enum { TG_JSON_DEPTH = 256 };

/* Metatables that say what a table is, even when it is empty. */
enum tg_json_mark { TG_JSON_ARRAY, TG_JSON_OBJECT, TG_JSON_MARKS };

/* [-0, +1] */
void tg_json_push_mark(lua_State *L, enum tg_json_mark mark);

/* Whether a member of that name is a list wherever it stands: at Discord, and
 * in the configuration. */
bool tg_json_is_list_name(const char *name);

/* Whether the members of an object of that name are objects, whatever lists
 * have their names: `resolved` of an interaction has maps by id. */
bool tg_json_is_name_of_maps(const char *name);
