#include "control/resharding.h"

/* ---- JSON ---- */

static json_t *text_or_null(const char *text)
{
  json_t *value = *text ? json_string(text) : NULL;
  return value ? value : json_null();
}

static json_t *classes_by_state(const struct tg_resharding_status *status)
{
  json_t *states = json_object();
  for (int state = 0; state < TG_CLASS_STATES; state++)
    if (status->by_state[state] > 0)
      json_object_set_new(states, tg_class_state_name((enum tg_class_state)state),
                          json_integer(status->by_state[state]));
  return states;
}

static const char *const steps[] = {"up", "switched", "settled", "closed"};

json_t *tg_resharding_steps_json(const int counts[4])
{
  json_t *json = json_object();
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    json_object_set_new(json, steps[i], json_integer(counts[i]));
  return json;
}

json_t *tg_resharding_running_json(const struct tg_resharding_status *status)
{
  if (!status->running)
    return json_null();
  json_t *json = json_pack(
      "{s:i, s:i, s:s, s:I, s:o, s:i, s:i, s:o, s:o, s:{s:I, s:I}}", "from", status->from, "to", status->to,
      "phase", status->phase, "duration", (json_int_t)(tg_now() - status->began), "eta",
      status->eta >= 0 ? json_integer(status->eta) : json_null(), "up", status->up, "classes",
      status->classes, "byState", classes_by_state(status), "waitsFor", text_or_null(status->waits_for),
      "held", "events", (json_int_t)status->held_events, "bytes", (json_int_t)status->held_bytes);
  json_object_set_new(json, "unmatched",
                      status->unmatched ? json_deep_copy(status->unmatched) : json_object());
  json_object_set_new(json, "cut", status->cut ? json_deep_copy(status->cut) : json_array());
  if (status->is_shared)
    json_object_set_new(json, "everywhere", tg_resharding_steps_json(status->everywhere));
  return json;
}

static json_t *planned_json(const struct tg_resharding_status *status)
{
  if (status->planned == 0)
    return json_null();
  return json_pack("{s:i, s:o}", "to", status->planned, "waitsFor", text_or_null(status->planned_waits_for));
}

static json_t *last_json(const struct tg_resharding_status *status)
{
  if (!status->last.result)
    return json_null();
  return json_pack("{s:s, s:o, s:i, s:i, s:i, s:I}", "result", status->last.result, "reason",
                   text_or_null(status->last.reason), "from", status->last.from, "to", status->last.to,
                   "identifies", status->last.identifies, "duration",
                   (json_int_t)(status->last.ended - status->last.began));
}

json_t *tg_resharding_json(const struct tg_resharding_status *status)
{
  return json_pack("{s:o, s:o, s:o}", "running", tg_resharding_running_json(status), "planned",
                   planned_json(status), "last", last_json(status));
}

/* ---- metrics ---- */

static void gauge(struct tg_exposition *exposition, const char *name, const char *help, uint64_t value)
{
  tg_family(exposition, name, "gauge", help);
  tg_sample_uint(exposition, value);
}

static void write_classes(struct tg_exposition *exposition, const struct tg_resharding_status *status)
{
  tg_family(exposition, "tidegate_resharding_classes", "gauge",
            "Classes of guilds that go over together, by how far they are.");
  for (int state = 0; state < TG_CLASS_STATES; state++) {
    tg_label(exposition, "state", tg_class_state_name((enum tg_class_state)state));
    tg_sample_uint(exposition, (uint64_t)status->by_state[state]);
  }
}

static void write_steps(struct tg_exposition *exposition, const struct tg_resharding_status *status)
{
  if (!status->is_shared)
    return;
  tg_family(exposition, "tidegate_resharding_cluster_classes", "gauge",
            "Classes of guilds of all hosts, by how far they are at least.");
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    tg_label(exposition, "step", steps[i]);
    tg_sample_uint(exposition, (uint64_t)status->everywhere[i]);
  }
}

static void write_types(struct tg_exposition *exposition, const struct tg_resharding_status *status)
{
  const char *type;
  json_t *count;
  size_t i;
  tg_family(exposition, "tidegate_resharding_unmatched_total", "counter",
            "Events of the old or the new shards that the other ones have not shown, in this resharding.");
  json_object_foreach(status->unmatched, type, count)
  {
    tg_label(exposition, "type", type);
    tg_sample_uint(exposition, (uint64_t)json_integer_value(count));
  }
  tg_family(exposition, "tidegate_resharding_cut", "gauge",
            "1 for types whose events differ between old and new shards: they go over at one moment, and are "
            "not compared.");
  json_array_foreach(status->cut, i, count)
  {
    if (!json_is_string(count))
      continue;
    tg_label(exposition, "type", json_string_value(count));
    tg_sample_uint(exposition, 1);
  }
}

static void write_running(struct tg_exposition *exposition, const struct tg_resharding_status *status)
{
  gauge(exposition, "tidegate_resharding_from_shards", "How many shards the bot had.",
        (uint64_t)status->from);
  gauge(exposition, "tidegate_resharding_to_shards", "How many it is to have.", (uint64_t)status->to);
  gauge(exposition, "tidegate_resharding_shards_up", "How many of these are Connected.",
        (uint64_t)status->up);
  tg_family(exposition, "tidegate_resharding_start_time_seconds", "gauge",
            "When it began, in seconds since 1970.");
  tg_sample_ms(exposition, tg_wall_at(status->began));
  if (status->eta >= 0) {
    tg_family(exposition, "tidegate_resharding_eta_seconds", "gauge", "About how long until it is over.");
    tg_sample_ms(exposition, status->eta);
  }
  write_classes(exposition, status);
  write_steps(exposition, status);
  gauge(exposition, "tidegate_resharding_held_events",
        "Events that workers hold until their twin comes, or their class goes over.", status->held_events);
  gauge(exposition, "tidegate_resharding_held_bytes", "What these take in memory.", status->held_bytes);
  write_types(exposition, status);
}

static void write_ended(struct tg_exposition *exposition, const struct tg_resharding_status *status)
{
  const struct {
    const char *result;
    uint64_t count;
  } ended[] = {{"done", status->done}, {"aborted", status->aborted}, {"failed", status->failed}};
  tg_family(exposition, "tidegate_reshardings_total", "counter",
            "Times that the gateway went over to another number of shards, by how that ended.");
  for (size_t i = 0; i < sizeof ended / sizeof *ended; i++) {
    tg_label(exposition, "result", ended[i].result);
    tg_sample_uint(exposition, ended[i].count);
  }
  tg_family(exposition, "tidegate_resharding_identifies_total", "counter",
            "Session starts that this has taken.");
  tg_sample_uint(exposition, status->identifies);
}

void tg_resharding_metrics(struct tg_exposition *exposition, const struct tg_resharding_status *status)
{
  gauge(exposition, "tidegate_resharding_running",
        "1 while the gateway goes over to another number of shards.", status->running);
  gauge(exposition, "tidegate_resharding_planned_shards",
        "The number of shards that the bot should go over to, and does not yet; 0: none.",
        (uint64_t)status->planned);
  write_ended(exposition, status);
  if (status->running)
    write_running(exposition, status);
}
