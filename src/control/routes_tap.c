/* Events as they pass, as server-sent events: GET /tap. */

#include "base/url_parts.h"
#include "control/routes.h"
#include "manager/status.h"
#include "manager/taps.h"

#include <stdlib.h>
#include <string.h>

enum { TYPES_MAX = 32, WORD_MAX = 100 };

struct tap_viewer {
  struct tg_request *request;
  int64_t id;
  uint64_t lost; /* lines that the client was too slow for */
  struct tg_buf event;
};

static void end(struct tap_viewer *tap)
{
  tg_respond_end(tap->request);
  tg_buf_free(&tap->event);
  free(tap);
}

static void on_line(void *ctx, const char *line)
{
  struct tap_viewer *tap = ctx;
  if (!line) {
    tap->request->on_gone = NULL;
    end(tap);
    return;
  }
  tg_buf_reset(&tap->event, 64 << 10);
  if (tap->lost > 0)
    tg_buf_printf(&tap->event, "event: lost\ndata: %llu\n\n", (unsigned long long)tap->lost);
  tg_buf_puts(&tap->event, "event: event\ndata: ");
  tg_buf_puts(&tap->event, line);
  tg_buf_puts(&tap->event, "\n\n");
  bool goes = tg_respond_more(tap->request, tap->event.data, tap->event.length);
  tap->lost = goes ? 0 : tap->lost + 1;
}

static void on_gone(struct tg_request *request)
{
  struct tap_viewer *tap = request->ctx;
  tg_taps_remove(tg_gateway_taps(request->manager), tap->id);
  end(tap);
}

/* ---- which events ---- */

static bool take_types(json_t *filter, const char *text)
{
  json_t *types = json_array();
  json_object_set_new(filter, "types", types);
  for (const char *at = text; *at;) {
    size_t length = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (length == 0 || json_array_size(types) == TYPES_MAX || (at[length] && at[length] != ','))
      return false;
    json_array_append_new(types, json_stringn(at, length));
    at += length + (at[length] == ',');
  }
  return json_array_size(types) > 0;
}

static bool is_number(const char *text, size_t digits)
{
  return *text && strlen(text) <= digits && text[strspn(text, "0123456789")] == '\0';
}

/* NULL: it is as it should be. */
static const char *take(json_t *filter, struct tg_span name, const char *value)
{
  if (name.length == 5 && memcmp(name.at, "types", 5) == 0)
    return take_types(filter, value) ? NULL
                                     : "types have to be names like MESSAGE_CREATE,TYPING_START, 32 at most";
  if (name.length == 5 && memcmp(name.at, "guild", 5) == 0 && is_number(value, 20))
    return json_object_set_new(filter, "guild", json_string(value)), NULL;
  if (name.length == 5 && memcmp(name.at, "shard", 5) == 0 && is_number(value, 5))
    return json_object_set_new(filter, "shard", json_integer(atoi(value))), NULL;
  return "expected ?types=, ?guild= and an id, or ?shard= and a number";
}

/* NULL: answered. */
static json_t *read_filter(struct tg_request *request)
{
  const char *query = request->query, *problem = NULL;
  json_t *filter = json_object();
  struct tg_span name, value;
  while (!problem && tg_query_next(&query, &name, &value)) {
    struct tg_buf text = {0};
    bool whole = tg_url_decode(&text, value.at, value.length, true);
    char *plain = tg_buf_take(&text);
    problem = whole && strlen(plain) < TYPES_MAX * WORD_MAX ? take(filter, name, plain) : "that is no query";
    free(plain);
  }
  if (!problem)
    return filter;
  json_decref(filter);
  tg_respond_error(request, 400, "%s", problem);
  return NULL;
}

void tg_route_tap(struct tg_request *request)
{
  static const char beginning[] = ": events as they pass\n\n";
  json_t *filter = read_filter(request);
  if (!filter)
    return;
  struct tap_viewer *tap = tg_calloc(1, sizeof *tap);
  tap->request = request;
  tap->id = tg_taps_add(tg_gateway_taps(request->manager), filter, on_line, tap);
  if (tap->id == 0) {
    free(tap);
    tg_respond_error(request, 503, "8 look at events already: there is room when one of them has ended");
    return;
  }
  request->on_gone = on_gone;
  request->ctx = tap;
  struct tg_taps *taps = tg_gateway_taps(request->manager);
  if (!tg_respond_begin(request, "text/event-stream",
                        "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n")) {
    tg_taps_remove(taps, tap->id);
    free(tap);
    return;
  }
  tg_respond_more(request, beginning, sizeof beginning - 1);
}
