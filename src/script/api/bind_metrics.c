/* gateway.metrics: core.metric(kind, name, help, labels, buckets) -> handle,
 * whose methods add(n), set(n) and observe(n) lua/tidegate/metrics.lua gives
 * names to. What they count is in the statistics page: reloads keep it, and so
 * does the death of a worker. */

#include "script/api/json.h"
#include "script/vm/state.h"
#include "shared/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LABELS = 32 };

static const char *const kinds[] = {"counter", "gauge", "histogram", NULL};

static bool is_name(const char *name, const char *more)
{
  for (const char *at = name; *at; at++)
    if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' || strchr(more, *at) ||
          (*at >= '0' && *at <= '9' && at > name)))
      return false;
  return name[0] != '\0';
}

/* Reads the ascending limits at `index`. */
static int check_buckets(lua_State *L, int index, double *limits)
{
  static const double usual[] = {1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};
  if (lua_isnoneornil(L, index)) {
    memcpy(limits, usual, sizeof usual);
    return (int)(sizeof usual / sizeof usual[0]);
  }
  luaL_checktype(L, index, LUA_TTABLE);
  int count = (int)lua_objlen(L, index);
  luaL_argcheck(L, count > 0 && count <= TG_SERIES_LIMITS_MAX, index, "expected 1 to 32 bucket limits");
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, index, i + 1);
    limits[i] = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    if (i > 0 && limits[i] <= limits[i - 1])
      luaL_argerror(L, index, "bucket limits must ascend");
  }
  return count;
}

/* ---- labels: sorted, as Prometheus's text has them, so that equal ones are equal ---- */

static int by_name(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* NULL: fine. Some names are the gateway's own to give. */
static const char *bad_label(const char *name, enum tg_series_kind kind)
{
  if (!is_name(name, "") || strncmp(name, "__", 2) == 0)
    return "a label's name has letters, digits and _, and does not begin with __";
  if (strcmp(name, "worker") == 0)
    return "the label \"worker\" is the gateway's own: it says whose gauge it is";
  if (kind == TG_SERIES_HISTOGRAM && strcmp(name, "le") == 0)
    return "the label \"le\" is the one of a histogram's buckets";
  return NULL;
}

static void write_value(struct tg_buf *out, const json_t *value)
{
  if (json_is_boolean(value))
    tg_buf_puts(out, json_is_true(value) ? "true" : "false");
  else if (json_is_number(value))
    tg_buf_printf(out, "%.14g", json_number_value(value));
  for (const char *at = json_string_value(value); at && *at; at++) {
    if (*at == '\n')
      tg_buf_puts(out, "\\n");
    else if (*at == '"' || *at == '\\')
      tg_buf_append(out, (char[]){'\\', *at}, 2);
    else
      tg_buf_append(out, at, 1);
  }
}

/* Into the state's scratch buffer, with a NUL. Returns what is wrong, or NULL. */
static const char *write_labels(json_t *labels, enum tg_series_kind kind, struct tg_buf *out)
{
  const char *names[MAX_LABELS], *name, *problem = NULL;
  json_t *value;
  int count = 0;
  out->length = 0;
  if (json_object_size(labels) > MAX_LABELS)
    return "there are more than 32 of them";
  json_object_foreach(labels, name, value) {
    problem = problem ? problem : bad_label(name, kind);
    if (json_is_object(value) || json_is_array(value) || json_is_null(value))
      problem = "a label's value is a string, a number or a boolean";
    names[count++] = name;
  }
  qsort(names, (size_t)count, sizeof names[0], by_name);
  for (int i = 0; i < count && !problem; i++) {
    tg_buf_printf(out, "%s%s=\"", i > 0 ? "," : "", names[i]);
    write_value(out, json_object_get(labels, names[i]));
    tg_buf_puts(out, "\"");
  }
  tg_buf_append(out, "", 1);
  return problem;
}

/* ---- making one ---- */

/* The name of a histogram's samples must not be that of another metric. */
static bool is_taken(lua_State *L, const struct tg_stats *stats, const char *name, enum tg_series_kind kind)
{
  static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
  size_t length = strlen(name);
  enum tg_series_kind other;
  bool taken = false;
  for (int i = 0; i < 3 && !taken; i++) {
    size_t tail = strlen(suffixes[i]);
    if (length > tail && strcmp(name + length - tail, suffixes[i]) == 0) {
      lua_pushlstring(L, name, length - tail);
      taken = tg_series_kind(stats, lua_tostring(L, -1), &other) && other == TG_SERIES_HISTOGRAM;
      lua_pop(L, 1);
    }
    lua_pushfstring(L, "%s%s", name, suffixes[i]);
    taken = taken || (kind == TG_SERIES_HISTOGRAM && tg_series_kind(stats, lua_tostring(L, -1), &other));
    lua_pop(L, 1);
  }
  return taken;
}

static void check_name(lua_State *L, const struct tg_stats *stats, const char *name, enum tg_series_kind kind)
{
  enum tg_series_kind other;
  luaL_argcheck(L, is_name(name, ":"), 2, "a metric's name has letters, digits and _");
  if (strncmp(name, "tidegate_", strlen("tidegate_")) == 0)
    luaL_error(L, "metric %s: names that begin with tidegate_ are the gateway's own", name);
  if (tg_series_kind(stats, name, &other) && other != kind)
    luaL_error(L, "metric %s is a %s already", name, kinds[other]);
  if (is_taken(L, stats, name, kind))
    luaL_error(L, "metric %s: a histogram has samples of its own name with _bucket, _sum and _count, which "
                  "another metric must not have", name);
}

static int l_metric(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_stats *stats = state->script->stats;
  enum tg_series_kind kind = (enum tg_series_kind)luaL_checkoption(L, 1, NULL, kinds);
  const char *name = luaL_checkstring(L, 2), *help = luaL_optstring(L, 3, ""), *problem = "";
  check_name(L, stats, name, kind);
  double limits[TG_SERIES_LIMITS_MAX];
  int limit_count = kind == TG_SERIES_HISTOGRAM ? check_buckets(L, 5, limits) : 0;
  json_t **labels = tg_push_json_box(L);
  *labels = lua_istable(L, 4) ? tg_json_take(L, 4, &problem) : json_object();
  if (!json_is_object(*labels))
    return luaL_error(L, "metric %s: labels are a table of names and values %s", name, problem);
  struct tg_series **handle = lua_newuserdata(L, sizeof *handle);
  luaL_getmetatable(L, "tidegate.metric");
  lua_setmetatable(L, -2);
  problem = write_labels(*labels, kind, &state->scratch);
  if (problem)
    return luaL_error(L, "metric %s: labels: %s", name, problem);
  struct tg_series_text text = {.name = name, .labels = state->scratch.data, .help = help};
  *handle = tg_series(stats, kind, &text, limits, limit_count);
  if (!*handle)
    return luaL_error(L,
                      "metric %s: there are too many series (%d), or its texts are too long (%d bytes); "
                      "labels must not have endless values",
                      name, TG_SERIES_MAX, TG_SERIES_TEXT_MAX);
  return 1;
}

/* ---- the handle ---- */

static struct tg_series *self(lua_State *L, lua_Number *number)
{
  tg_state_of(L);
  struct tg_series **handle = luaL_checkudata(L, 1, "tidegate.metric");
  *number = luaL_optnumber(L, 2, 1);
  luaL_argcheck(L, isfinite(*number), 2, "expected a finite number");
  return *handle;
}

static int l_add(lua_State *L)
{
  lua_Number number;
  struct tg_series *series = self(L, &number);
  luaL_argcheck(L, series->kind != TG_SERIES_HISTOGRAM, 1, "a histogram is given values with observe()");
  luaL_argcheck(L, series->kind != TG_SERIES_COUNTER || number >= 0, 2, "a counter only grows");
  tg_series_add(series, number);
  return 0;
}

static int l_set(lua_State *L)
{
  lua_Number number;
  struct tg_series *series = self(L, &number);
  luaL_argcheck(L, series->kind == TG_SERIES_GAUGE, 1, "only a gauge can be set");
  tg_series_set(series, number);
  return 0;
}

static int l_observe(lua_State *L)
{
  lua_Number number;
  struct tg_series *series = self(L, &number);
  luaL_argcheck(L, series->kind == TG_SERIES_HISTOGRAM, 1, "only a histogram observes");
  tg_series_observe(series, number);
  return 0;
}

static int l_value(lua_State *L)
{
  lua_Number number;
  lua_pushnumber(L, tg_series_value(self(L, &number)));
  return 1;
}

void tg_bind_metrics(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"add", l_add}, {"set", l_set}, {"observe", l_observe}, {"value", l_value}, {0}};
  luaL_newmetatable(L, "tidegate.metric");
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_metric);
  lua_setfield(L, -2, "metric");
}
