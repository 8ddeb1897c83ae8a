/* gateway.metrics: core.metric(kind, name, help, labels, buckets) -> handle,
 * whose methods add(n), set(n) and observe(n) lua/tidegate/metrics.lua gives
 * names to. */

#include "script/metrics.h"

#include "script/json.h"
#include "script/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 10000, MAX_BUCKETS = 32 };

enum kind { COUNTER, GAUGE, HISTOGRAM };
static const char *const kinds[] = {"counter", "gauge", "histogram", NULL};

struct tg_metric {
  struct tg_metric *next;
  enum kind kind;
  char *name, *help;
  char *labels; /* JSON text with sorted keys: equal labels are equal text */
  double value; /* of a histogram the sum */
  double count;
  int bucket_count;
  double limits[MAX_BUCKETS], buckets[MAX_BUCKETS];
};

static struct tg_metric *find(struct tg_metric *list, const char *name, const char *labels, int *series)
{
  for (*series = 0; list; list = list->next, ++*series) {
    if (strcmp(list->name, name) == 0 && strcmp(list->labels, labels) == 0)
      return list;
  }
  return NULL;
}

static const struct tg_metric *find_name(const struct tg_metric *list, const char *name)
{
  while (list && strcmp(list->name, name) != 0)
    list = list->next;
  return list;
}

static bool is_name(const char *name)
{
  size_t letters = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");
  return name[0] && !(name[0] >= '0' && name[0] <= '9') && name[letters] == '\0';
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
  luaL_argcheck(L, count > 0 && count <= MAX_BUCKETS, index, "expected 1 to 32 bucket limits");
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, index, i + 1);
    limits[i] = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    if (i > 0 && limits[i] <= limits[i - 1])
      luaL_argerror(L, index, "bucket limits must ascend");
  }
  return count;
}

static int l_metric(lua_State *L)
{
  struct tg_script *script = tg_state_of(L)->script;
  enum kind kind = (enum kind)luaL_checkoption(L, 1, NULL, kinds);
  const char *name = luaL_checkstring(L, 2), *help = luaL_optstring(L, 3, ""), *problem = "";
  luaL_argcheck(L, is_name(name), 2, "a metric's name has letters, digits and _");
  double limits[MAX_BUCKETS];
  int buckets = kind == HISTOGRAM ? check_buckets(L, 5, limits) : 0;
  json_t **labels = tg_push_json_box(L);
  *labels = lua_istable(L, 4) ? tg_json_take(L, 4, &problem) : json_object();
  if (!json_is_object(*labels))
    return luaL_error(L, "metric %s: labels are a table of names and values %s", name, problem);
  const struct tg_metric *namesake = find_name(script->metrics, name);
  if (namesake && namesake->kind != kind)
    return luaL_error(L, "metric %s is a %s already", name, kinds[namesake->kind]);

  struct tg_metric **handle = lua_newuserdata(L, sizeof *handle);
  luaL_getmetatable(L, "tidegate.metric");
  lua_setmetatable(L, -2);
  char *text = json_dumps(*labels, JSON_COMPACT | JSON_SORT_KEYS);
  int series;
  struct tg_metric *metric = find(script->metrics, name, text, &series);
  if (!metric && series >= MAX_SERIES) {
    free(text);
    return luaL_error(L, "metric %s: too many series (%d); labels must not have endless values", name,
                      series);
  }
  if (metric) {
    free(text);
  } else {
    metric = tg_calloc(1, sizeof *metric);
    *metric = (struct tg_metric){.next = script->metrics,
                                 .kind = kind,
                                 .name = tg_strdup(name),
                                 .help = tg_strdup(help),
                                 .labels = text,
                                 .bucket_count = buckets};
    if (buckets > 0)
      memcpy(metric->limits, limits, (size_t)buckets * sizeof limits[0]);
    script->metrics = metric;
  }
  *handle = metric;
  return 1;
}

static struct tg_metric *self(lua_State *L, lua_Number *number)
{
  tg_state_of(L);
  struct tg_metric **handle = luaL_checkudata(L, 1, "tidegate.metric");
  *number = luaL_optnumber(L, 2, 1);
  luaL_argcheck(L, isfinite(*number), 2, "expected a finite number");
  return *handle;
}

static int l_add(lua_State *L)
{
  lua_Number number;
  struct tg_metric *metric = self(L, &number);
  luaL_argcheck(L, metric->kind != COUNTER || number >= 0, 2, "a counter only grows");
  metric->value += number;
  return 0;
}

static int l_set(lua_State *L)
{
  lua_Number number;
  self(L, &number)->value = number;
  return 0;
}

static int l_observe(lua_State *L)
{
  lua_Number number;
  struct tg_metric *metric = self(L, &number);
  metric->value += number;
  metric->count++;
  for (int i = 0; i < metric->bucket_count; i++) {
    if (number <= metric->limits[i])
      metric->buckets[i]++;
  }
  return 0;
}

static int l_value(lua_State *L)
{
  lua_Number number;
  struct tg_metric *metric = self(L, &number);
  lua_pushnumber(L, metric->kind == HISTOGRAM ? metric->count : metric->value);
  return 1;
}

json_t *tg_script_metrics(const struct tg_script *script)
{
  json_t *all = json_array();
  for (const struct tg_metric *metric = script->metrics; metric; metric = metric->next) {
    json_t *one = json_pack("{s:s, s:s, s:s, s:o}", "name", metric->name, "kind", kinds[metric->kind], "help",
                            metric->help, "labels", json_loads(metric->labels, 0, NULL));
    if (metric->kind != HISTOGRAM) {
      json_object_set_new(one, "value", json_real(metric->value));
    } else {
      json_t *buckets = json_array();
      for (int i = 0; i < metric->bucket_count; i++)
        json_array_append_new(buckets, json_pack("[f, f]", metric->limits[i], metric->buckets[i]));
      json_object_set_new(one, "sum", json_real(metric->value));
      json_object_set_new(one, "count", json_real(metric->count));
      json_object_set_new(one, "buckets", buckets);
    }
    json_array_insert_new(all, 0, one); /* in order of their making */
  }
  return all;
}

void tg_metrics_free(struct tg_metric *metrics)
{
  while (metrics) {
    struct tg_metric *next = metrics->next;
    free(metrics->name);
    free(metrics->help);
    free(metrics->labels);
    free(metrics);
    metrics = next;
  }
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
