#include "fake_discord/emit/differ.h"

#include "base/buf.h"
#include "fake_discord/world/target.h"

#include <string.h>

/* Of the rule for events of this name in sessions of so many shards; NULL: there is none. */
static const char *find(const struct tg_fake *fake, const char *name, int total, size_t *at)
{
  size_t i;
  json_t *rule;
  json_array_foreach(fake->differences, i, rule)
  {
    if (json_integer_value(json_object_get(rule, "total")) == total &&
        strcmp(json_string_value(json_object_get(rule, "event")), name) == 0) {
      *at = i;
      return json_string_value(json_object_get(rule, "how"));
    }
  }
  return NULL;
}

json_t *tg_fake_differ_post(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  static const char *const keys[] = {"event", "how", NULL};
  struct tg_fake_target target;
  const char *name = json_string_value(json_object_get(request, "event"));
  const char *how = json_string_value(json_object_get(request, "how"));
  if (!json_is_object(request))
    return tg_fail(error, "type", "expected a JSON object"), NULL;
  if (!tg_fake_check_keys(request, keys, error) || !tg_fake_target_parse(request, &target, error))
    return NULL;
  if (!name || target.total < 0 || !target.any_shard || !how ||
      (strcmp(how, "built") != 0 && strcmp(how, "missing") != 0 && strcmp(how, "same") != 0))
    return tg_fail(error, "type",
                   "expected the name of an event, a total, and how: \"built\", \"missing\" or \"same\""),
           NULL;
  size_t at;
  if (find(fake, name, (int)target.total, &at))
    json_array_remove(fake->differences, at);
  if (strcmp(how, "same") != 0)
    json_array_append_new(fake->differences, json_deep_copy(request));
  return tg_fake_differ_to_json(fake);
}

json_t *tg_fake_differ_to_json(const struct tg_fake *fake)
{
  return json_deep_copy(fake->differences);
}

/* The same with one key more, at the end. */
static struct tg_fake_event *build_for(const struct tg_fake_event *event, int total)
{
  struct tg_buf out = {0};
  size_t length = event->length > 0 ? event->length - 1 : 0; /* without the brace */
  tg_buf_append(&out, event->data, length);
  tg_buf_printf(&out, "%s\"built_for\":%d}", length > 1 ? "," : "", total);
  struct tg_fake_event *built = tg_fake_event_new_as(event->name, event->t, out.data, out.length);
  built->number = event->number;
  built->guild_id = event->guild_id;
  tg_buf_free(&out);
  return built;
}

bool tg_fake_give(struct tg_fake_session *session, struct tg_fake_event *event)
{
  struct tg_fake *fake = session->fake;
  size_t at;
  const char *how =
      json_array_size(fake->differences) > 0 ? find(fake, event->name, session->identify.total, &at) : NULL;
  if (!how) {
    tg_fake_session_append(session, event);
    return true;
  }
  if (strcmp(how, "missing") == 0)
    return false;
  struct tg_fake_event *built =
      event->data[0] == '{' ? build_for(event, session->identify.total) : tg_fake_event_ref(event);
  tg_fake_session_append(session, built);
  tg_fake_event_unref(built);
  return true;
}
