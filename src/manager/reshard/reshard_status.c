/* How far a resharding is. */

#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdio.h>
#include <string.h>

enum tg_reshard_phase tg_reshard_phase(const struct tg_reshard *reshard)
{
  if (reshard->wish.to > 0)
    return TG_RESHARD_WAITING;
  if (reshard->dropping >= 0)
    return reshard->env->next.count > 0 ? TG_RESHARD_ABORTING : TG_RESHARD_CLOSING;
  return reshard->abort_reason[0] && reshard->record.phase != TG_RESHARD_NONE ? TG_RESHARD_ABORTING
                                                                              : reshard->record.phase;
}

/* ---- sums over classes ---- */

static void add_counts(json_t *sum, json_t *counts)
{
  const char *type;
  json_t *count;
  json_object_foreach(counts, type, count)
  {
    json_int_t so_far = json_integer_value(json_object_get(sum, type));
    json_object_set_new(sum, type, json_integer(so_far + json_integer_value(count)));
  }
}

static bool contains(const json_t *list, const char *text)
{
  size_t i;
  json_t *item;
  json_array_foreach((json_t *)list, i, item)
  {
    if (strcmp(json_string_value(item), text) == 0)
      return true;
  }
  return false;
}

static void add_names(json_t *sum, json_t *names)
{
  size_t i;
  json_t *name;
  json_array_foreach(names, i, name)
  {
    const char *text = json_string_value(name);
    if (text && !contains(sum, text))
      json_array_append(sum, name);
  }
}

/* Types that are cut by time, by the words of all workers. */
static void gather_cut(struct tg_reshard *reshard)
{
  if (!reshard->cut)
    reshard->cut = json_array();
  for (int i = 0; reshard->classes && i < reshard->deal.classes; i++)
    add_names(reshard->cut, reshard->classes[i].cut);
}

void tg_reshard_note_cut(struct tg_reshard *reshard)
{
  gather_cut(reshard);
  reshard->cut_types[0] = '\0';
  size_t i, length = 0;
  json_t *name;
  json_array_foreach(reshard->cut, i, name)
  {
    if (length < sizeof reshard->cut_types)
      length += (size_t)snprintf(reshard->cut_types + length, sizeof reshard->cut_types - length, "%s%s",
                                 i > 0 ? ", " : "", json_string_value(name));
  }
}

/* ---- time ---- */

static tg_ms eta_of(const struct tg_reshard *reshard, enum tg_reshard_phase phase, tg_ms now)
{
  int classes = reshard->deal.classes;
  int left = reshard->classes ? classes - tg_reshard_switched(reshard) : 0;
  tg_ms settle = tg_patience(TG_RESHARD_SETTLED);
  tg_ms switching =
      left * tg_patience(TG_RESHARD_BEAT) + (reshard->first_switched ? 0 : tg_patience(TG_RESHARD_PAUSE));
  if (tg_slots_held_back(reshard->options.slots) && phase <= TG_RESHARD_IDENTIFYING)
    return -1;
  switch (phase) {
  case TG_RESHARD_PREPARING:
  case TG_RESHARD_IDENTIFYING:
    return tg_reshard_estimate(reshard, reshard->to - tg_reshard_up(reshard)) -
           tg_patience(TG_RESHARD_MARGIN) + tg_patience(TG_RESHARD_OVERLAP) + switching + settle;
  case TG_RESHARD_MATCHING:
    return tg_patience(TG_RESHARD_OVERLAP) + switching + settle;
  case TG_RESHARD_SWITCHING:
    return switching + settle;
  case TG_RESHARD_SETTLING:
    return reshard->settled_at ? settle - (now - reshard->settled_at) : settle;
  default:
    return -1;
  }
}

/* ---- in words ---- */

static int behind(const struct tg_reshard_class *class)
{
  return class->waits_for[0] ? (int)class->state : TG_CLASS_STATES;
}

/* All of this host are as far as they may be. */
static void describe_others(const struct tg_reshard *reshard, enum tg_reshard_phase phase, char *text,
                            size_t size)
{
  static const struct {
    enum tg_class_step step;
    const char *name;
  } awaited[] = {
      [TG_RESHARD_IDENTIFYING] = {TG_CLASS_STEP_UP, "have their new shards up"},
      [TG_RESHARD_MATCHING] = {TG_CLASS_STEP_SWITCHED, "have gone over"},
      [TG_RESHARD_SWITCHING] = {TG_CLASS_STEP_SWITCHED, "have gone over"},
      [TG_RESHARD_SETTLING] = {TG_CLASS_STEP_SETTLED, "have settled"},
      [TG_RESHARD_CLOSING] = {TG_CLASS_STEP_CLOSED, "have closed their old shards"},
  };
  if (phase >= sizeof awaited / sizeof *awaited || !awaited[phase].name)
    return;
  int count = tg_member_view(reshard->options.member)->classes[awaited[phase].step - 1];
  if (count < reshard->deal.classes)
    snprintf(text, size, "other hosts: of all %d classes %d %s", reshard->deal.classes, count,
             awaited[phase].name);
}

static void describe_wait(const struct tg_reshard *reshard, enum tg_reshard_phase phase, char *text,
                          size_t size)
{
  const struct tg_reshard_class *slowest = NULL;
  if (reshard->stuck) {
    snprintf(text, size, "room on the disk: how it goes on cannot be written");
  } else if (phase == TG_RESHARD_WAITING) {
    snprintf(text, size, "Discord's answer, how many identifies are left");
  } else if (phase >= TG_RESHARD_IDENTIFYING && phase <= TG_RESHARD_SWITCHING &&
             tg_slots_held_back(reshard->options.slots)) {
    snprintf(text, size, "identifies, which are held back");
  } else {
    for (int i = 0; reshard->classes && i < reshard->deal.classes; i++) {
      if (tg_reshard_has_class(reshard, i) &&
          (!slowest || behind(&reshard->classes[i]) < behind(slowest)))
        slowest = &reshard->classes[i];
    }
    snprintf(text, size, "%s", slowest ? slowest->waits_for : "");
    if (!text[0] && reshard->options.member)
      describe_others(reshard, phase, text, size);
  }
}

void tg_reshard_status(struct tg_reshard *reshard, struct tg_resharding_status *status)
{
  tg_ms now = tg_now();
  enum tg_reshard_phase phase = tg_reshard_phase(reshard);
  *status = (struct tg_resharding_status){.eta = -1, .planned = reshard->check.planned};
  snprintf(status->planned_waits_for, sizeof status->planned_waits_for, "%s",
           reshard->check.planned ? reshard->check.waits_for : "");
  status->last.result = reshard->last.result;
  snprintf(status->last.reason, sizeof status->last.reason, "%s", reshard->last.reason);
  status->last.from = reshard->last.from;
  status->last.to = reshard->last.to;
  status->last.identifies = reshard->last.identifies;
  status->last.began = reshard->last.began;
  status->last.ended = reshard->last.ended;
  status->done = reshard->done;
  status->aborted = reshard->aborted;
  status->failed = reshard->failures;
  status->identifies = reshard->all_identifies;
  if (!tg_reshard_runs(reshard))
    return;
  status->running = true;
  status->phase = tg_reshard_phase_name(phase);
  status->from = reshard->wish.to > 0 ? reshard->env->shards.range.total : reshard->from;
  status->to = reshard->wish.to > 0 ? reshard->wish.to : reshard->to;
  status->began = reshard->wish.to > 0 ? now : reshard->began;
  describe_wait(reshard, phase, status->waits_for, sizeof status->waits_for);
  if (reshard->wish.to > 0)
    return;
  tg_ms eta = eta_of(reshard, phase, now);
  status->eta = eta < 0 ? -1 : eta;
  status->up =
      reshard->env->next.count > 0 ? tg_reshard_up(reshard) : tg_shard_set_count_up(&reshard->env->shards);
  status->classes = reshard->deal.classes;
  json_decref(reshard->unmatched);
  reshard->unmatched = json_object();
  for (int i = 0; reshard->classes && i < reshard->deal.classes; i++) {
    const struct tg_reshard_class *class = &reshard->classes[i];
    if (!tg_reshard_has_class(reshard, i))
      continue;
    status->by_state[class->state]++;
    status->held_events += class->held;
    status->held_bytes += class->held_bytes;
    add_counts(reshard->unmatched, class->unmatched);
  }
  if (reshard->options.member) {
    const struct tg_cluster_view *view = tg_member_view(reshard->options.member);
    status->is_shared = true;
    memcpy(status->everywhere, view->classes, sizeof status->everywhere);
  }
  gather_cut(reshard);
  status->unmatched = reshard->unmatched;
  status->cut = reshard->cut;
}

json_t *tg_reshard_hand_over(const struct tg_reshard *reshard)
{
  return json_pack("{s:I, s:I, s:I, s:I}", "done", (json_int_t)reshard->done, "aborted",
                   (json_int_t)reshard->aborted, "failures", (json_int_t)reshard->failures, "identifies",
                   (json_int_t)reshard->all_identifies);
}

static uint64_t count_of(const json_t *handed, const char *name)
{
  return (uint64_t)json_integer_value(json_object_get(handed, name));
}

void tg_reshard_take_over(struct tg_reshard *reshard, const json_t *handed)
{
  reshard->done = count_of(handed, "done");
  reshard->aborted = count_of(handed, "aborted");
  reshard->failures = count_of(handed, "failures");
  reshard->all_identifies = count_of(handed, "identifies");
}
