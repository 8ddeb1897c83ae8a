#include "control/cluster.h"

#include "base/url_parts.h"
#include "control/resharding.h"

#include <stdlib.h>
#include <string.h>

static json_t *or_null(bool known, json_int_t number)
{
  return known ? json_integer(number) : json_null();
}

/* Numbers of the script are doubles. */
static json_t *number_of(const json_t *answer, const char *key)
{
  const json_t *value = json_object_get(answer, key);
  return or_null(json_is_number(value), (json_int_t)json_number_value(value));
}

static const char *text_of(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* ---- as the last beat has told it ---- */

/* What each host that takes shards aims at. */
static int share(const struct tg_cluster_view *view)
{
  int hosts = 0;
  for (int i = 0; i < view->host_count; i++)
    hosts += !view->hosts[i].draining;
  return hosts > 0 ? (view->total + hosts - 1) / hosts : 0;
}

static int by_name(const void *a, const void *b)
{
  const struct tg_cluster_host *const *left = a, *const *right = b;
  return strcmp((*left)->name, (*right)->name);
}

/* Of itself a host knows better than Redis did when it was last asked. */
static int shards_of(const struct tg_cluster_status *status, const struct tg_cluster_host *host)
{
  return strcmp(host->name, status->host) == 0 ? status->view->held : host->shards;
}

static json_t *hosts_json(const struct tg_cluster_status *status)
{
  const struct tg_cluster_view *view = status->view;
  json_t *list = json_array();
  int target = share(view);
  const struct tg_cluster_host **sorted = tg_calloc((size_t)view->host_count + 1, sizeof *sorted);
  for (int i = 0; i < view->host_count; i++)
    sorted[i] = &view->hosts[i];
  qsort(sorted, (size_t)view->host_count, sizeof *sorted, by_name);
  for (int i = 0; i < view->host_count; i++) {
    const struct tg_cluster_host *host = sorted[i];
    json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:I, s:s, s:b}", "name", host->name, "shards",
                                          shards_of(status, host), "target", host->draining ? 0 : target,
                                          "age", (json_int_t)host->age, "digest", host->digest, "draining",
                                          host->draining));
  }
  free(sorted);
  return list;
}

/* Of all hosts together. */
static json_t *budget_json(const struct tg_cluster_status *status)
{
  const struct tg_cluster_budget_view *budget = &status->view->budget;
  tg_ms now = tg_boot_clock(), held_back = status->view->held_back;
  bool known = status->joined && budget->limit > 0;
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "total", or_null(known, budget->limit), "remaining",
                   or_null(known && budget->remaining >= 0, budget->remaining), "resetAfter",
                   or_null(known, budget->reset_after), "maxConcurrency",
                   or_null(known, budget->max_concurrency), "heldBack",
                   or_null(held_back > now, held_back - now));
}

static json_t *change_json(const struct tg_cluster_view *view)
{
  if (view->to == 0)
    return json_null();
  json_t *json = tg_resharding_steps_json(view->classes);
  json_object_set_new(json, "to", json_integer(view->to));
  return json;
}

json_t *tg_cluster_json(const struct tg_cluster_status *status, const char *url)
{
  const struct tg_cluster_view *view = status->view;
  char *public = tg_url_public(url);
  json_t *engine = json_pack("{s:s, s:b, s:o}", "url", public, "up", status->up, "beat",
                             or_null(status->joined, view->beat));
  json_t *shards = json_pack("{s:o, s:i, s:i, s:o}", "total", or_null(view->total > 0, view->total), "held",
                             view->held, "unsure", view->unsure, "free", or_null(status->joined, view->free));
  json_t *json =
      json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o}", "name", status->name, "host", status->host, "leader",
                view->leader, "engine", engine, "shards", shards, "hosts", hosts_json(status));
  json_t *more =
      json_pack("{s:i, s:o, s:o, s:b, s:b, s:I, s:I, s:I}", "holes", view->holes, "quiet",
                or_null(status->joined, view->quiet), "budget", budget_json(status), "draining",
                status->draining, "othersTake", status->has_others, "queued", (json_int_t)status->queued,
                "moves", (json_int_t)view->moves, "lostLeases", (json_int_t)view->lost_leases);
  json_object_update(json, more);
  json_decref(more);
  json_object_set_new(json, "resharding", change_json(view));
  free(public);
  return json;
}

/* ---- what only Redis knows ---- */

static json_t *find_host(const json_t *hosts, const char *name)
{
  size_t i;
  json_t *host;
  json_array_foreach((json_t *)hosts, i, host)
  {
    if (strcmp(text_of(host, "name"), name) == 0)
      return host;
  }
  return NULL;
}

static json_t *away_host(const char *name, json_t *age)
{
  return json_pack("{s:s, s:i, s:i, s:o, s:n, s:b, s:b}", "name", name, "shards", 0, "target", 0, "age", age,
                   "digest", "draining", 0, "alive", 0);
}

/* Who has holes is a host, whether Redis still knows it as one or not. */
static void add_hosts(json_t *hosts, const json_t *answer)
{
  size_t i;
  json_t *item;
  json_array_foreach(hosts, i, item) json_object_set_new(item, "alive", json_true());
  json_array_foreach(json_object_get(answer, "away"), i, item)
  {
    const char *name = text_of(item, "name");
    if (!find_host(hosts, name))
      json_array_append_new(hosts, away_host(name, number_of(item, "age")));
  }
  json_array_foreach(json_object_get(answer, "holes"), i, item)
  {
    const char *name = text_of(item, "host");
    if (!find_host(hosts, name))
      json_array_append_new(hosts, away_host(name, json_null()));
  }
}

/* -1: of several sessions, or to the end of one, which nobody has counted. */
static double events_of(const json_t *hole)
{
  static const double uncounted = 99999999999999; /* as the script writes an end that is not known */
  double from = json_number_value(json_object_get(hole, "from"));
  double to = json_number_value(json_object_get(hole, "to"));
  bool one_session = json_number_value(json_object_get(hole, "from_epoch")) ==
                     json_number_value(json_object_get(hole, "to_epoch"));
  return one_session && to < uncounted && to >= from ? to - from : -1;
}

/* {count, events, oldest}: events null where not all are counted, oldest: ms since it was left. */
static json_t *holes_of(const json_t *answer, const char *host)
{
  double now = json_number_value(json_object_get(answer, "now")), events = 0, oldest = 0;
  int count = 0;
  bool counted = true;
  size_t i;
  json_t *hole;
  json_array_foreach(json_object_get(answer, "holes"), i, hole)
  {
    if (strcmp(text_of(hole, "host"), host) != 0)
      continue;
    double age = now - json_number_value(json_object_get(hole, "at"));
    counted = counted && events_of(hole) >= 0;
    events += events_of(hole);
    oldest = age > oldest ? age : oldest;
    count++;
  }
  return json_pack("{s:i, s:o, s:o}", "count", count, "events", or_null(counted, (json_int_t)events),
                   "oldest", or_null(count > 0, (json_int_t)oldest));
}

void tg_cluster_add_survey(json_t *json, const json_t *answer)
{
  json_t *hosts = json_object_get(json, "hosts"), *host;
  size_t i;
  add_hosts(hosts, answer);
  json_array_foreach(hosts, i, host)
      json_object_set_new(host, "holes", holes_of(answer, text_of(host, "name")));
}

/* ---- metrics ---- */

static void gauge(struct tg_exposition *exposition, const char *name, const char *help, uint64_t value)
{
  tg_family(exposition, name, "gauge", help);
  tg_sample_uint(exposition, value);
}

static void counter(struct tg_exposition *exposition, const char *name, const char *help, uint64_t value)
{
  tg_family(exposition, name, "counter", help);
  tg_sample_uint(exposition, value);
}

void tg_cluster_metrics(struct tg_exposition *exposition, const struct tg_cluster_status *status)
{
  const struct tg_cluster_view *view = status->view;
  gauge(exposition, "tidegate_cluster_up", "1 when the cluster's Redis answers.", status->up);
  gauge(exposition, "tidegate_cluster_hosts", "Hosts of the cluster that live, as Redis has told this one.",
        (uint64_t)view->host_count);
  gauge(exposition, "tidegate_cluster_shards", "Shards of the cluster that this host has.",
        (uint64_t)view->held);
  gauge(exposition, "tidegate_cluster_free_shards", "Shards of the cluster that no host has.",
        (uint64_t)view->free);
  gauge(exposition, "tidegate_cluster_holes", "Ranges of events that only this host has, and delivers late.",
        (uint64_t)view->holes);
  gauge(exposition, "tidegate_cluster_draining", "1 while all shards of this host go to others.",
        status->draining);
  counter(exposition, "tidegate_cluster_moves_total", "Shards that this host has given to others.",
          view->moves);
  counter(exposition, "tidegate_cluster_lost_leases_total",
          "Shards that others have taken, because this host was not heard of.", view->lost_leases);
  if (!status->joined)
    return;
  tg_family(exposition, "tidegate_cluster_beat_seconds", "gauge",
            "How long Redis took to answer the last time that this host renewed its leases.");
  tg_sample_ms(exposition, view->beat);
}
