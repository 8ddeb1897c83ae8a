/* What waits for a sink by type, and discarding it: GET /queue/types, POST /queue/discard. */

#include "base/clock.h"
#include "base/url_parts.h"
#include "control/routes.h"
#include "manager/commands/queues.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 100 };

static bool is_type(const char *text)
{
  return *text && strlen(text) <= NAME_MAX_LENGTH &&
         text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

static bool is_shard(const char *text)
{
  return *text && strlen(text) <= 5 && text[strspn(text, "0123456789")] == '\0';
}

/* ---- GET /queue/types ---- */

static void on_types(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  const char *name;
  json_t *row, *list = json_array();
  tg_ms now = tg_steady_clock();
  json_object_foreach(json_object_get(value, "types"), name, row)
  {
    tg_ms oldest = json_integer_value(json_array_get(row, 2));
    json_array_append_new(list, json_pack("{s:s, s:O, s:O, s:I}", "type", name, "events",
                                          json_array_get(row, 0), "bytes", json_array_get(row, 1), "age",
                                          (json_int_t)(now > oldest ? now - oldest : 0)));
  }
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 200,
                    json_pack("{s:O, s:O}", "types", list, "onDisk", json_object_get(value, "onDisk")));
  json_decref(list);
}

struct wanted {
  char sink[NAME_MAX_LENGTH + 1];
  int shard_id;
};

/* False: answered. */
static bool read_query(struct tg_request *request, struct wanted *wanted)
{
  const char *query = request->query;
  struct tg_span name, value;
  while (tg_query_next(&query, &name, &value)) {
    bool is_sink = name.length == 4 && memcmp(name.at, "sink", 4) == 0;
    char text[NAME_MAX_LENGTH + 1] = "";
    if (value.length <= NAME_MAX_LENGTH)
      memcpy(text, value.at, value.length);
    if (is_sink && *text) {
      memcpy(wanted->sink, text, sizeof text);
    } else if (name.length == 5 && memcmp(name.at, "shard", 5) == 0 && is_shard(text)) {
      wanted->shard_id = atoi(text);
    } else {
      tg_respond_error(request, 400, "expected ?sink= and a name, or ?shard= and a number");
      return false;
    }
  }
  return true;
}

void tg_route_queue_types(struct tg_request *request)
{
  struct wanted wanted = {.sink = "bot", .shard_id = -1};
  if (!read_query(request, &wanted))
    return;
  const struct tg_queue_question question = {.sink = wanted.sink, .shard_id = wanted.shard_id, .type = ""};
  tg_manager_queue_types(request->manager, &question, on_types, request);
}

/* ---- POST /queue/discard ---- */

static void on_discarded(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 200, json_incref(value));
}

/* NULL: it is as it should be. */
static const char *take(struct tg_queue_question *question, const char *name, const json_t *value)
{
  const char *text = json_string_value(value);
  if (strcmp(name, "sink") == 0) {
    question->sink = text;
    return text && *text ? NULL : "the name of a sink; \"bot\" is the event handler";
  }
  if (strcmp(name, "type") == 0) {
    question->type = text;
    return text && is_type(text) ? NULL : "the type of an event, like TYPING_START";
  }
  if (strcmp(name, "all") == 0)
    return json_is_true(value) ? NULL : "true";
  json_int_t number = json_integer_value(value);
  if (strcmp(name, "shard") == 0) {
    question->shard_id = (int)number;
    return json_is_integer(value) && number >= 0 && number <= 65535 ? NULL : "the number of a shard";
  }
  question->older = number;
  return json_is_integer(value) && number >= 0 && number <= 365 * 86400000LL ? NULL
                                                                             : "an age in milliseconds";
}

/* Who means all that waits has to say so. False: answered. */
static bool read_body(struct tg_request *request, struct tg_queue_question *question)
{
  static const char *const names[] = {"sink", "all", "shard", "type", "older"};
  const char *name;
  json_t *value;
  bool any = false;
  json_object_foreach(request->json, name, value)
  {
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(name, names[i]) != 0)
      i++;
    bool known = i < sizeof names / sizeof *names;
    const char *wanted = known ? take(question, name, value) : NULL;
    if (!known)
      tg_respond_error(request, 400, "there is no \"%s\": events are named by sink, shard, type, older, all",
                       name);
    else if (wanted)
      tg_respond_error(request, 400, "%s has to be %s", name, wanted);
    if (!known || wanted)
      return false;
    any = any || i > 0;
  }
  if (!any)
    tg_respond_error(request, 400,
                     "which events? {\"all\":true}, or what they have in common: shard, type, older");
  return any;
}

void tg_route_discard(struct tg_request *request)
{
  struct tg_queue_question question = {.sink = "bot", .shard_id = -1, .type = ""};
  if (read_body(request, &question))
    tg_manager_discard(request->manager, &question, on_discarded, request);
}
