#include "proto/presence.h"

#include "base/suggest.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ACTIVITY_TYPE_LAST = 5, ACTIVITY_TYPE_CUSTOM = 4 };
enum { KEY_SHOWN = 20, VALUE_SHOWN = 40 }; /* bytes at most */

static const char *const statuses[] = {"online", "idle", "dnd", "invisible", "offline"};
static const char *const presence_keys[] = {"status", "activities", "afk", "since"};
static const char *const activity_keys[] = {"name", "type", "state", "url"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Where the eye is. */
struct place {
  struct tg_presence_fault *fault; /* or NULL */
  size_t activity;                 /* from 1; 0: the presence itself */
};

/* Always false. */
__attribute__((format(printf, 3, 4))) static bool wrong(const struct place *place, const char *key,
                                                        const char *format, ...)
{
  struct tg_presence_fault *fault = place->fault;
  if (!fault)
    return false;
  int length = 0;
  if (place->activity > 0)
    length = snprintf(fault->path, sizeof fault->path, ".activities[%zu]", place->activity);
  snprintf(fault->path + length, sizeof fault->path - (size_t)length, "%s%.*s", *key ? "." : "",
           (int)tg_utf8_cut(key, strlen(key), KEY_SHOWN), key);
  va_list args;
  va_start(args, format);
  vsnprintf(fault->text, sizeof fault->text, format, args);
  va_end(args);
  return false;
}

static bool contains(const char *const *names, size_t count, const char *name)
{
  for (size_t i = 0; i < count; i++) {
    if (strcmp(names[i], name) == 0)
      return true;
  }
  return false;
}

static bool only_known_keys(const struct place *place, const json_t *object, const char *const *names,
                            size_t count)
{
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value)
  {
    if (contains(names, count, key))
      continue;
    const char *meant = tg_suggest(key, names, count);
    if (meant)
      return wrong(place, key, "is not known; did you mean \"%s\"?", meant);
    return wrong(place, key, "is not known; there %s",
                 place->activity > 0 ? "are name, type, state and url: bots may set no more"
                                     : "are status, activities, afk and since");
  }
  return true;
}

/* Scripts write numbers as doubles. */
static bool whole_number(const json_t *value, json_int_t *number)
{
  if (json_is_integer(value)) {
    *number = json_integer_value(value);
    return true;
  }
  double real = json_is_real(value) ? json_real_value(value) : 0.5;
  if (real < -9e15 || real > 9e15 || (double)(json_int_t)real != real)
    return false;
  *number = (json_int_t)real;
  return true;
}

/* NULL and JSON null say the same: not given. */
static const json_t *member(const json_t *object, const char *key)
{
  const json_t *value = json_object_get(object, key);
  return json_is_null(value) ? NULL : value;
}

static bool is_activity_type(const json_t *value, json_int_t *type)
{
  return whole_number(value, type) && *type >= 0 && *type <= ACTIVITY_TYPE_LAST;
}

static bool is_text(const struct place *place, const json_t *object, const char *key)
{
  const json_t *text = member(object, key);
  return !text || json_is_string(text) || wrong(place, key, "must be a string");
}

static bool check_activity(const struct place *place, const json_t *given)
{
  if (!json_is_object(given))
    return wrong(place, "", "must be a table like {name = \"the tide\", type = 3}");
  json_int_t type = 0;
  if (member(given, "type") && !is_activity_type(member(given, "type"), &type))
    return wrong(
        place, "type",
        "must be 0 (playing), 1 (streaming), 2 (listening), 3 (watching), 4 (custom) or 5 (competing)");
  if (!member(given, "name") && type != ACTIVITY_TYPE_CUSTOM)
    return wrong(place, "name", "is required");
  return only_known_keys(place, given, activity_keys, COUNT(activity_keys)) &&
         is_text(place, given, "name") && is_text(place, given, "state") && is_text(place, given, "url");
}

/* An empty Lua table may arrive as {}. */
static bool is_empty(const json_t *list)
{
  return !list || (json_is_object(list) && json_object_size(list) == 0);
}

static bool check_activities(const struct place *place, const json_t *given)
{
  if (!is_empty(given) && !json_is_array(given))
    return wrong(place, "activities", "must be a list of activities");
  for (size_t i = 0; i < json_array_size(given); i++) {
    struct place at = {place->fault, i + 1};
    if (!check_activity(&at, json_array_get(given, i)))
      return false;
  }
  return true;
}

static bool check_status(const struct place *place, const json_t *status)
{
  static const char expected[] = "must be one of online, idle, dnd, invisible, offline";
  if (!status || (json_is_string(status) && contains(statuses, COUNT(statuses), json_string_value(status))))
    return true;
  if (!json_is_string(status))
    return wrong(place, "status", "%s", expected);
  const char *got = json_string_value(status);
  return wrong(place, "status", "%s; got \"%.*s\"", expected, (int)tg_utf8_cut(got, strlen(got), VALUE_SHOWN),
               got);
}

static bool check(const struct place *place, const json_t *given)
{
  bool empty_list = json_is_array(given) && json_array_size(given) == 0;
  if (!json_is_object(given) && !empty_list)
    return wrong(place, "", "must be a table like {status = \"idle\"}");
  if (!only_known_keys(place, given, presence_keys, COUNT(presence_keys)) ||
      !check_status(place, member(given, "status")))
    return false;
  const json_t *afk = member(given, "afk"), *since = member(given, "since");
  json_int_t ms;
  if (afk && !json_is_boolean(afk))
    return wrong(place, "afk", "must be true or false");
  if (since && (!whole_number(since, &ms) || ms < 0))
    return wrong(place, "since", "must be a time in milliseconds since 1970");
  return check_activities(place, member(given, "activities"));
}

/* ---- what is sent ---- */

static json_t *whole(const json_t *value)
{
  json_int_t number;
  return value && whole_number(value, &number) ? json_integer(number) : NULL;
}

static json_t *complete_activity(const json_t *given)
{
  const json_t *name = member(given, "name"), *type = member(given, "type");
  return json_pack("{s:o, s:o, s:O*, s:O*}", "name",
                   name ? json_copy((json_t *)name) : json_string("Custom Status"), "type",
                   type ? whole(type) : json_integer(0), "state", member(given, "state"), "url",
                   member(given, "url"));
}

json_t *tg_presence_normalise(const json_t *given, struct tg_presence_fault *fault)
{
  const struct place place = {fault, 0};
  if (!check(&place, given))
    return NULL;
  const json_t *status = member(given, "status"), *since = whole(member(given, "since")),
               *list = member(given, "activities");
  json_t *activities = json_array();
  for (size_t i = 0; i < json_array_size(list); i++)
    json_array_append_new(activities, complete_activity(json_array_get(list, i)));
  json_t *presence =
      json_pack("{s:o, s:o, s:o, s:b}", "since", since ? since : json_null(), "activities", activities,
                "status", status ? json_copy((json_t *)status) : json_string("online"), "afk",
                json_is_true(member(given, "afk")));
  if (json_dumpb(presence, NULL, 0, JSON_COMPACT) > TG_PRESENCE_MAX) {
    json_decref(presence);
    wrong(&place, "", "is over %d bytes; a frame with it would not be accepted", TG_PRESENCE_MAX);
    return NULL;
  }
  return presence;
}

/* Numbers as Discord reads them: 3.0 is none. */
static bool is_complete(const struct place *place, const json_t *d)
{
  const json_t *since = json_object_get(d, "since"), *activities = json_object_get(d, "activities");
  if (!json_is_null(since) && !json_is_integer(since))
    return wrong(place, "since", "must be a time in milliseconds, or null");
  if (!json_is_array(activities))
    return wrong(place, "activities", "must be a list, empty for none");
  for (size_t i = 0; i < json_array_size(activities); i++) {
    struct place at = {place->fault, i + 1};
    const json_t *activity = json_array_get(activities, i);
    if (!json_is_string(json_object_get(activity, "name")))
      return wrong(&at, "name", "must be a string");
    if (!json_is_integer(json_object_get(activity, "type")))
      return wrong(&at, "type", "must be a number; an activity needs a name and a type");
  }
  if (!json_is_string(json_object_get(d, "status")))
    return check_status(place, json_true());
  return json_is_boolean(json_object_get(d, "afk")) || wrong(place, "afk", "must be true or false");
}

bool tg_presence_is_complete(const json_t *d, struct tg_presence_fault *fault)
{
  const struct place place = {fault, 0};
  return check(&place, d) && is_complete(&place, d);
}
