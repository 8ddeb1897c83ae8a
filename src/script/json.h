#pragma once

/* JSON for scripts: Lua values to text and back, and on to jansson.
 *
 * Values keep their shape on the way through Lua, so that a script may change
 * one field of a payload and send the rest as it came: arrays are marked with
 * a metatable, therefore an empty one is written as [] again, and numbers keep
 * all their digits. null is the light userdata NULL (as in lua-cjson), so that
 * a key with null is not lost.
 *
 * A table becomes an array when it is marked (gateway.json.array, or it came
 * from JSON) or its keys are 1..n; an empty unmarked table becomes {}, but []
 * under names that always hold lists at Discord or in the configuration
 * ("embeds", "activities", "urls", ...). */

#include "base/buf.h"

#include <jansson.h>
#include <lua.h>
#include <stdbool.h>

/* Makes the metatable of arrays; once a lua_State. */
void tg_json_open(lua_State *L);

/* [-0, +1, e] Pushes the value. Text that is not JSON: pushes nothing, returns
 * false, and `*problem` (static text) and `*offset` say what and where. */
bool tg_json_decode(lua_State *L, const char *text, size_t length, const char **problem, size_t *offset);

/* [-0, +0, m] Appends the text of the value at `index`. False: `*problem`
 * (static text) says what cannot be written; `out` holds a part then. */
bool tg_json_encode(lua_State *L, int index, struct tg_buf *out, const char **problem);

/* [-0, +1, m] Pushes a jansson value; NULL pushes nil. */
void tg_json_push(lua_State *L, const json_t *value);

/* [-0, +0, m] A new reference, or NULL and `*problem`. Works in the state's
 * own buffer: nothing is lost when Lua runs out of memory. */
json_t *tg_json_take(lua_State *L, int index, const char **problem);

/* [-0, +1, m] Pushes a userdata that owns a JSON value (NULL at first) and
 * releases it, whatever is raised meanwhile. */
json_t **tg_push_json_box(lua_State *L);

/* [-0, +1, e] The table of gateway.json. */
void tg_bind_json(lua_State *L);
