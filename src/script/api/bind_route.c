/* core.route: the table of what plugins serve. */

#include "script/api/routes.h"

#include "base/suggest.h"
#include "base/url_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

enum { METHODS = sizeof methods / sizeof *methods };

/* In a key, behind every letter that a path may have: of two routes with room for
 * the same path, the one that says the part itself comes first. */
static const char any_part = 0x7f;

/* ---- arguments ---- */

static void check_plugin(lua_State *L, const char *name)
{
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
  if (!islower((unsigned char)*name) || name[length])
    luaL_error(L, "self:route: '%s' is not the name of a plugin", name);
}

static void check_http_method(lua_State *L, const char *method)
{
  for (int i = 0; i < METHODS; i++)
    if (strcmp(method, methods[i]) == 0)
      return;
  const char *meant = tg_suggest(method, methods, METHODS);
  luaL_error(L, "self:route: there is no method '%s' (known: GET, POST, PUT, PATCH, DELETE)%s%s%s", method,
             meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

static bool is_name(const char *at, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (!isalpha((unsigned char)at[i]) && at[i] != '_' && (i == 0 || !isdigit((unsigned char)at[i])))
      return false;
  return length > 0;
}

/* Whether `path` has that name ahead of `part`, too. */
static bool is_named_before(const char *path, const char *part, size_t length)
{
  for (const char *at = path; at < part; at++)
    if (at[0] == '/' && at + 1 < part && strncmp(at + 1, part, length) == 0 &&
        (at[1 + length] == '/' || at[1 + length] == '\0'))
      return true;
  return false;
}

static void check_part(lua_State *L, const char *path, const char *part, size_t length)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  if (length == 0)
    luaL_error(L, "self:route: '%s' has an empty part; a path is as \"/\", \"/stats\" or \"/guilds/:id\"",
               path);
  if (*part == ':' && !is_name(part + 1, length - 1))
    luaL_error(L, "self:route: '%s': behind a ':' stands a name of letters, digits and _", path);
  if (*part == ':' && is_named_before(path, part, length))
    luaL_error(L, "self:route: '%s' has the same name twice", path);
  if (*part != ':' && strspn(part, letters) < length)
    luaL_error(L, "self:route: '%s': a part has letters, digits and -._~, or is a :name", path);
}

static void check_path(lua_State *L, const char *path)
{
  int count = 1;
  if (*path != '/')
    luaL_error(L, "self:route: '%s' does not begin with a '/'", path);
  if (strcmp(path, "/") == 0)
    return;
  for (const char *at = path; *at; count++) {
    size_t length = strcspn(++at, "/");
    check_part(L, path, at, length);
    at += length;
  }
  if (count > TG_ROUTE_PARTS_MAX)
    luaL_error(L, "self:route: '%s' has more than %d parts", path, TG_ROUTE_PARTS_MAX - 1);
}

static const char *check_text(lua_State *L, int index, const char *what)
{
  if (lua_type(L, index) != LUA_TSTRING)
    luaL_error(L, "self:route: expected %s, got %s", what, luaL_typename(L, index));
  if (strlen(lua_tostring(L, index)) < lua_objlen(L, index))
    luaL_error(L, "self:route: %s has no NUL", what);
  return lua_tostring(L, index);
}

/* ---- the table ---- */

static char *key_of(const char *path)
{
  struct tg_buf key = {0};
  for (const char *at = path; *at;) {
    size_t length = strcspn(at, ":");
    tg_buf_append(&key, at, length);
    at += length;
    if (*at) {
      tg_buf_append(&key, &any_part, 1);
      at += strcspn(at, "/");
    }
  }
  return tg_buf_take(&key);
}

static int order(const struct tg_plugin_route *route, const char *key, const char *method)
{
  int by_key = strcmp(route->key, key);
  return by_key ? by_key : strcmp(route->method, method);
}

static void free_route(struct tg_plugin_route *route)
{
  free(route->method);
  free(route->path);
  free(route->key);
  free(route->what);
  free(route);
}

void tg_routes_free(struct tg_state *state)
{
  while (state->routes) {
    struct tg_plugin_route *route = state->routes;
    state->routes = route->next;
    free_route(route);
  }
  state->route_count = 0;
}

static char *name_of(const char *method, const char *path)
{
  struct tg_buf text = {0};
  tg_buf_printf(&text, "route %s %s", method, path);
  return tg_buf_take(&text);
}

/* The link where the route has its place; it stands there already: raises. */
static struct tg_plugin_route **place_of(lua_State *L, struct tg_state *state, const char *full)
{
  const char *method = lua_tostring(L, 2);
  char *key = key_of(full);
  struct tg_plugin_route **link = &state->routes;
  int compared = -1;
  while (*link && (compared = order(*link, key, method)) < 0)
    link = &(*link)->next;
  free(key);
  if (*link && compared == 0)
    luaL_error(L, "self:route: %s %s is served already, by %s (%s)", method, lua_tostring(L, 3),
               (*link)->what, (*link)->where);
  return link;
}

/* core.route(plugin, method, path, fn). The path is that below the plugin's. */
static int l_route(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  lua_settop(L, 4);
  check_plugin(L, check_text(L, 1, "the name of the plugin"));
  const char *method = check_text(L, 2, "a method, as \"GET\""),
             *path = check_text(L, 3, "a path, as \"/stats\"");
  check_http_method(L, method);
  check_path(L, path);
  if (!lua_isfunction(L, 4))
    return luaL_error(L, "self:route: expected a function for %s %s, got %s", method, path,
                      luaL_typename(L, 4));
  if (state->script->role != TG_ROLE_MANAGER || state->phase == TG_STATE_RETIRED)
    return 0; /* the control API is the manager's */
  if (state->route_count == TG_ROUTES_MAX)
    return luaL_error(L, "self:route: the plugins of a script have at most %d routes", TG_ROUTES_MAX);
  const char *full = lua_pushfstring(L, "/%s%s", lua_tostring(L, 1), path);
  struct tg_plugin_route **link = place_of(L, state, full);
  char place[TG_WHERE_SIZE];
  int line = tg_place_of_function(L, 4, place, sizeof place);
  uint32_t owner = tg_owner_of_function(L, 4, TG_LUA_route, "self:route");
  lua_pushvalue(L, 4);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  struct tg_plugin_route *route = tg_calloc(1, sizeof *route);
  *route = (struct tg_plugin_route){.next = *link, .ref = ref, .owner = owner};
  snprintf(route->where, sizeof route->where, line > 0 ? "%s:%d" : "%s", place, line);
  route->method = tg_strdup(method);
  route->path = tg_strdup(full);
  route->key = key_of(full);
  route->what = name_of(method, path);
  *link = route;
  state->route_count++;
  return 0;
}

void tg_bind_route(lua_State *L)
{
  lua_pushcfunction(L, l_route);
  lua_setfield(L, -2, "route");
}

/* ---- which one ---- */

bool tg_route_split(struct tg_route_parts *parts, const char *path)
{
  *parts = (struct tg_route_parts){0};
  for (const char *at = path; *at == '/';) {
    size_t length = strcspn(++at, "/"), before = parts->text.length;
    if (parts->count == TG_ROUTE_PARTS_MAX) {
      parts->count = -1;
      return true;
    }
    if (!tg_url_decode(&parts->text, at, length, false))
      return false;
    parts->parts[parts->count].at = before;
    parts->parts[parts->count++].length = parts->text.length - before;
    at += length;
  }
  if (parts->count == 1)
    parts->parts[parts->count++].at = parts->text.length;
  return true;
}

static bool has_path(const struct tg_plugin_route *route, const struct tg_route_parts *parts)
{
  const char *at = route->path;
  for (int i = 0; i < parts->count; i++) {
    size_t length = parts->parts[i].length;
    if (*at++ != '/')
      return false;
    size_t wanted = strcspn(at, "/");
    if (*at == ':' ? length == 0
                   : length != wanted ||
                         (length > 0 && memcmp(parts->text.data + parts->parts[i].at, at, length) != 0))
      return false;
    at += wanted;
  }
  return parts->count > 0 && *at == '\0';
}

/* GET, and so HEAD, of several routes stand there once. */
static void allow_method(struct tg_buf *allow, const char *method)
{
  if (allow->length > 0 && strstr(allow->data, method))
    return;
  tg_buf_printf(allow, "%s%s%s", allow->length > 0 ? ", " : "", method,
                strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

const struct tg_plugin_route *tg_route_match(const struct tg_state *state, const struct tg_route_parts *parts,
                                             const char *method, struct tg_buf *allow)
{
  for (const struct tg_plugin_route *route = state->routes; route; route = route->next) {
    if (!has_path(route, parts))
      continue;
    if (strcmp(route->method, method) == 0)
      return route;
    allow_method(allow, route->method);
  }
  return NULL;
}
