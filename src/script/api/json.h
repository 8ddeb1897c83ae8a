#pragma once

/* JSON for scripts: Lua values to text and back, and on to jansson.
 *
 * Values keep their shape on the way through Lua, so that a script may change
 * one field of a payload and send the rest as it came: arrays and objects are
 * marked with a metatable, therefore empty ones are written as [] and {} again,
 * and whole numbers keep their digits up to 2^53. null is the light userdata NULL
 * (as in lua-cjson), so that a key with null is not lost.
 *
 * A table becomes an array when its keys are 1..n. An empty one becomes what its
 * mark says (gateway.json.array and object, or it came from JSON); without a
 * mark [] under names that always hold lists (json_lists.c), {} under others.
 *
 * What is written is UTF-8, whatever bytes the script had in its strings. What
 * is read is RFC 8259 to the letter; of equal keys the last one counts, and half
 * of a surrogate pair becomes U+FFFD.
 *
 * Why events do not go through lua-cjson, which scripts have beside it: what a
 * script leaves alone in a payload has to go out as it came in. lua-cjson writes
 * a list that came empty as {}, numbers with 14 digits, and torn text as it is,
 * which spoils the whole body for the bot; and it reads what is no JSON (nan,
 * 0x1F). Nor would it be cheaper: decoding, which is what scripts do with events
 * most, takes it longer (scripts/bench json). */

#include "base/buf.h"

#include <jansson.h>
#include <lua.h>
#include <stdbool.h>

/* Makes the metatables that mark arrays and objects; once a lua_State. */
void tg_json_open(lua_State *L);

/* [-0, +0, m] The table on top of `to` is marked as the one at `index` of `from`
 * is, if at all. */
void tg_json_copy_mark(lua_State *from, int index, lua_State *to);

/* [-0, +1, e] Pushes the value. Text that is not JSON: pushes nothing, returns
 * false, and `*problem` (static text) and `*offset` say what and where. */
bool tg_json_decode(lua_State *L, const char *text, size_t length, const char **problem, size_t *offset);

/* [-0, +0, m] Appends the text of the value at `index`. False: `*problem` says
 * what cannot be written, and where in the value ("a function at embeds[1].url"),
 * until the next one is written; `out` holds a part then. */
bool tg_json_encode(lua_State *L, int index, struct tg_buf *out, const char **problem);

/* [-0, +0, m] If the value written last had bytes that are not UTF-8, the log says
 * so, once a minute for each `where` ("bot.lua:12"). NULL: the line of the script
 * that runs. */
void tg_json_tell_torn(lua_State *L, const char *where);

/* [-0, +1, m] Pushes a jansson value; NULL pushes nil. */
void tg_json_push(lua_State *L, const json_t *value);

/* [-0, +0, m] A new reference, or NULL and `*problem`, as of tg_json_encode().
 * Works in the state's own buffer: nothing is lost when Lua runs out of memory. */
json_t *tg_json_take(lua_State *L, int index, const char **problem);

/* [-0, +1, m] Pushes a userdata that owns a JSON value (NULL at first) and
 * releases it, whatever is raised meanwhile. */
json_t **tg_push_json_box(lua_State *L);

/* [-0, +1, e] The table of gateway.json. */
void tg_bind_json(lua_State *L);
