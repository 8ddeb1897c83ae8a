#include "control/deaf.h"

/* ---- JSON ---- */

static json_t *shard_json(const struct tg_deaf_status *status)
{
  if (status->shard < 0)
    return json_null();
  return json_pack("{s:i, s:s?, s:s, s:I}", "shardId", status->shard, "event", status->type, "step",
                   status->step, "silent", (json_int_t)status->silent);
}

json_t *tg_deaf_json(const struct tg_manager *manager)
{
  struct tg_deaf_status status;
  tg_gateway_deaf(manager, &status);
  json_t *vanished = json_array();
  for (int i = 0; status.vanished[i]; i++)
    json_array_append_new(vanished, json_string(status.vanished[i]));
  json_t *suspects = json_array();
  for (int i = 0; i < status.suspect_count; i++)
    json_array_append_new(suspects, json_integer(status.suspects[i]));
  json_t *questions = json_pack("{s:I, s:I, s:I}", "answered", (json_int_t)status.answered, "unanswered",
                                (json_int_t)status.unanswered, "notAsked", (json_int_t)status.not_asked);
  return json_pack("{s:I, s:i, s:b, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "after",
                   (json_int_t)status.after, "known", status.known, "outage", status.outage, "shard",
                   shard_json(&status), "suspects", suspects, "vanished", vanished, "questions", questions,
                   "resumes", (json_int_t)status.resumes, "identifies", (json_int_t)status.identifies,
                   "heard", (json_int_t)status.cured, "givenUp", (json_int_t)status.given_up);
}

const char *tg_deaf_word(const struct tg_deaf_status *status, int shard_id)
{
  if (status->shard == shard_id)
    return status->step;
  for (int i = 0; i < status->suspect_count; i++)
    if (status->suspects[i] == shard_id)
      return "suspected";
  return NULL;
}

/* ---- metrics ---- */

struct counted {
  const char *value;
  uint64_t count;
};

static void write_counters(struct tg_exposition *exposition, const char *name, const char *help,
                           const char *label, const struct counted *list, int count)
{
  tg_family(exposition, name, "counter", help);
  for (int i = 0; i < count; i++) {
    tg_label(exposition, label, list[i].value);
    tg_sample_uint(exposition, list[i].count);
  }
}

static void write_gauge(struct tg_exposition *exposition, const char *name, const char *help, int value)
{
  tg_family(exposition, name, "gauge", help);
  tg_sample_uint(exposition, (uint64_t)value);
}

void tg_deaf_metrics(struct tg_exposition *exposition, const struct tg_manager *manager)
{
  struct tg_deaf_status status;
  tg_gateway_deaf(manager, &status);
  const struct counted questions[] = {
      {"answered", status.answered}, {"unanswered", status.unanswered}, {"not_asked", status.not_asked}};
  const struct counted actions[] = {{"resume", status.resumes}, {"identify", status.identifies}};
  const struct counted results[] = {{"heard", status.cured}, {"given_up", status.given_up}};
  write_counters(exposition, "tidegate_deaf_questions_total",
                 "Questions to Discord on shards that get no events, by what came of them.", "result",
                 questions, 3);
  write_counters(exposition, "tidegate_deaf_actions_total", "What was done for shards that seemed deaf.",
                 "action", actions, 2);
  write_counters(exposition, "tidegate_deaf_results_total", "What came of that.", "result", results, 2);
  int vanished = 0;
  while (status.vanished[vanished])
    vanished++;
  write_gauge(exposition, "tidegate_deaf_shards", "1 while something is done for a shard that seems deaf.",
              status.shard >= 0);
  write_gauge(exposition, "tidegate_deaf_known_shards",
              "Shards of which enough is known to tell at any hour that they are deaf.", status.known);
  write_gauge(exposition, "tidegate_deaf_outage",
              "1 while many shards are silent at a time, and none is touched.", status.outage);
  write_gauge(exposition, "tidegate_deaf_vanished_types",
              "Types of events that no shard gets any more, while others come.", vanished);
}
