/* What request_members is asked for. */

#include "base/buf.h"
#include "base/suggest.h"
#include "manager/commands/members_impl.h"
#include "proto/intents.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  TIMEOUT = 60000, /* ms for the whole; RATE_LIMITED may cost 30 s of it */
  TIMEOUT_MAX = 600000,
};

static bool check_names(const struct tg_args *args, const json_t *options)
{
  static const char *const names[] = {"query", "limit", "presences", "user_ids", "timeout"};
  enum { COUNT = sizeof names / sizeof *names };
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)options, key, value)
  {
    size_t i = 0;
    while (i < COUNT && strcmp(key, names[i]) != 0)
      i++;
    if (i < COUNT)
      continue;
    const char *like = tg_suggest(key, names, COUNT);
    tg_arg_bad(args, "there is no option \"%s\"%s%s%s", key, like ? "; did you mean \"" : "",
               like ? like : "", like ? "\"?" : "");
    return false;
  }
  return true;
}

static bool read_ids(const struct tg_args *args, const json_t *given, json_t *ids)
{
  size_t count = json_is_array(given) ? json_array_size(given) : 1;
  for (size_t i = 0; i < count; i++) {
    uint64_t id;
    char text[24];
    if (!tg_read_id(json_is_array(given) ? json_array_get(given, i) : given, &id)) {
      tg_arg_bad(args, "user_ids[%zu] has to be an id as a string of digits", i + 1);
      return false;
    }
    snprintf(text, sizeof text, "%" PRIu64, id);
    json_array_append_new(ids, json_string(text));
  }
  if (count == 0)
    tg_arg_bad(args, "user_ids is empty");
  return count > 0;
}

static bool read_number(const struct tg_args *args, const json_t *options, const char *name, int low,
                        int high, int *number)
{
  const json_t *given = json_object_get(options, name);
  if (!given)
    return true;
  *number = (int)json_number_value(given);
  if (json_is_number(given) && json_number_value(given) >= low && json_number_value(given) <= high)
    return true;
  tg_arg_bad(args, "%s has to be a number from %d to %d", name, low, high);
  return false;
}

bool tg_members_read(const struct tg_args *args, const json_t *options, struct tg_members_request *request)
{
  const struct tg_manager_env *env = request->all->env;
  const json_t *query = json_object_get(options, "query"), *ids = json_object_get(options, "user_ids");
  const json_t *presences = json_object_get(options, "presences");
  const char *text = query ? json_string_value(query) : "";
  int timeout = TIMEOUT;
  if (!check_names(args, options) || (ids && !read_ids(args, ids, request->ids)))
    return false;
  if (query && (ids || !text)) {
    tg_arg_bad(args, ids ? "give query or user_ids, not both" : "query has to be a string");
    return false;
  }
  request->limit = text && text[0] ? 100 : 0;
  if (!read_number(args, options, "limit", 0, 100000, &request->limit) ||
      !read_number(args, options, "timeout", 1000, TIMEOUT_MAX, &timeout))
    return false;
  request->askers->deadline = tg_now() + timeout;
  request->presences = json_is_true(presences);
  const struct tg_shard_row *row = tg_shard_row_of(tg_shard_of_ref(env, request->ref));
  uint64_t missing = atomic_load(&row->missing_intents), intents = env->config->intents & ~missing;
  if (!ids)
    request->query = tg_strdup(text);
  /* Discord would not answer at all. */
  if (!ids && !text[0] && request->limit == 0 && !(intents & TG_INTENT_GUILD_MEMBERS))
    tg_arg_bad(args, missing & TG_INTENT_GUILD_MEMBERS
                         ? "Discord has refused the intent guild_members, which all members of a guild need"
                         : "all members of a guild need the intent guild_members");
  else if (presences && !json_is_boolean(presences))
    tg_arg_bad(args, "presences has to be true or false");
  else if (request->presences && !(intents & TG_INTENT_GUILD_PRESENCES))
    tg_arg_bad(args, missing & TG_INTENT_GUILD_PRESENCES
                         ? "Discord has refused the intent guild_presences, which presences need"
                         : "presences need the intent guild_presences");
  else
    return true;
  return false;
}

tg_ms tg_members_patience(const json_t *options)
{
  double timeout = json_number_value(json_object_get(options, "timeout"));
  return timeout >= 1000 && timeout <= TIMEOUT_MAX ? (tg_ms)timeout : TIMEOUT;
}
