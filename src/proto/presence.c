#include "proto/payload.h"

#include "base/suggest.h"
#include "proto/presence.h"

#include <string.h>

/* What fits an identify beside the token and the rest. */
enum { PRESENCE_MAX = TG_CLIENT_FRAME_MAX - 1024 };

enum { ACTIVITY_TYPE_LAST = 5, ACTIVITY_TYPE_CUSTOM = 4 };

static const char *const statuses[] = {"online", "idle", "dnd", "invisible", "offline"};
static const char *const presence_keys[] = {"status", "activities", "afk", "since"};
static const char *const activity_keys[] = {"name", "type", "state", "url"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool contains(const char *const *names, size_t count, const char *name)
{
  for (size_t i = 0; i < count; i++) {
    if (strcmp(names[i], name) == 0)
      return true;
  }
  return false;
}

static bool only_known_keys(const json_t *object, const char *what, const char *const *names, size_t count,
                            struct tg_error *error)
{
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value)
  {
    if (contains(names, count, key))
      continue;
    const char *meant = tg_suggest(key, names, count);
    tg_fail(error, "bad_presence", "%s has no field \"%.60s\"%s%s%s", what, key,
            meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    return false;
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

static json_t *normalise_activity(const json_t *given, size_t index, struct tg_error *error)
{
  char what[40];
  snprintf(what, sizeof what, "activities[%zu]", index + 1);
  if (!json_is_object(given))
    return tg_fail(error, "bad_presence", "%s must be a table like {name = \"the tide\", type = 3}", what),
           NULL;
  if (!only_known_keys(given, what, activity_keys, COUNT(activity_keys), error))
    return NULL;
  json_int_t type = 0;
  const json_t *type_given = member(given, "type");
  if (type_given && (!whole_number(type_given, &type) || type < 0 || type > ACTIVITY_TYPE_LAST))
    return tg_fail(error, "bad_presence",
                   "%s.type must be 0 (playing), 1 (streaming), 2 (listening), 3 (watching), 4 (custom) or 5 "
                   "(competing)",
                   what),
           NULL;
  const json_t *name = member(given, "name");
  if (!json_is_string(name) && (name || type != ACTIVITY_TYPE_CUSTOM))
    return tg_fail(error, "bad_presence", "%s.name must be a string", what), NULL;

  json_t *activity = json_object();
  json_object_set_new(activity, "name", name ? json_copy((json_t *)name) : json_string("Custom Status"));
  json_object_set_new(activity, "type", json_integer(type));
  static const char *const texts[] = {"state", "url"};
  for (size_t i = 0; i < COUNT(texts); i++) {
    const json_t *text = member(given, texts[i]);
    if (text && !json_is_string(text)) {
      json_decref(activity);
      return tg_fail(error, "bad_presence", "%s.%s must be a string", what, texts[i]), NULL;
    }
    if (text)
      json_object_set(activity, texts[i], (json_t *)text);
  }
  return activity;
}

static json_t *normalise_activities(const json_t *given, struct tg_error *error)
{
  json_t *activities = json_array();
  /* An empty Lua table may arrive as {}. */
  if (!given || (json_is_object(given) && json_object_size(given) == 0))
    return activities;
  if (!json_is_array(given)) {
    json_decref(activities);
    return tg_fail(error, "bad_presence", "activities must be a list of activities"), NULL;
  }
  for (size_t i = 0; i < json_array_size(given); i++) {
    json_t *activity = normalise_activity(json_array_get(given, i), i, error);
    if (!activity) {
      json_decref(activities);
      return NULL;
    }
    json_array_append_new(activities, activity);
  }
  return activities;
}

bool tg_presence_is_status(const json_t *value)
{
  return json_is_string(value) && contains(statuses, COUNT(statuses), json_string_value(value));
}

json_t *tg_presence_normalise(const json_t *given, struct tg_error *error)
{
  bool empty_list = json_is_array(given) && json_array_size(given) == 0;
  if (!json_is_object(given) && !empty_list)
    return tg_fail(error, "bad_presence", "a presence must be a table like {status = \"idle\"}"), NULL;
  if (!only_known_keys(given, "a presence", presence_keys, COUNT(presence_keys), error))
    return NULL;
  const json_t *status = member(given, "status");
  if (status && !tg_presence_is_status(status))
    return tg_fail(error, "bad_presence", "status must be one of online, idle, dnd, invisible, offline"),
           NULL;
  const json_t *afk = member(given, "afk");
  if (afk && !json_is_boolean(afk))
    return tg_fail(error, "bad_presence", "afk must be true or false"), NULL;
  const json_t *since = member(given, "since");
  json_int_t since_ms = 0;
  if (since && (!whole_number(since, &since_ms) || since_ms < 0))
    return tg_fail(error, "bad_presence", "since must be a time in milliseconds since 1970"), NULL;
  json_t *activities = normalise_activities(member(given, "activities"), error);
  if (!activities)
    return NULL;

  json_t *presence = json_object();
  json_object_set_new(presence, "since", since ? json_integer(since_ms) : json_null());
  json_object_set_new(presence, "activities", activities);
  json_object_set_new(presence, "status", status ? json_copy((json_t *)status) : json_string("online"));
  json_object_set_new(presence, "afk", json_boolean(json_is_true(afk)));
  if (json_dumpb(presence, NULL, 0, JSON_COMPACT) > PRESENCE_MAX) {
    json_decref(presence);
    return tg_fail(error, "too_large", "the presence is over %d bytes; a frame with it would not be accepted",
                   PRESENCE_MAX),
           NULL;
  }
  return presence;
}
