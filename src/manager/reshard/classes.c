/* Classes: what their workers say of them; switching them, back, and closing the shards they have left. */

#include "base/buf.h"
#include "base/log.h"
#include "delivery/reshard/skip_file.h"
#include "manager/reshard/reshard_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what workers say ---- */

static void take_json(json_t **kept, json_t *value, bool good)
{
  json_decref(*kept);
  *kept = good ? json_incref(value) : NULL;
}

static uint64_t read_count(const json_t *figures, const char *key)
{
  json_int_t number = json_integer_value(json_object_get(figures, key));
  return number > 0 ? (uint64_t)number : 0;
}

static int read_small(const json_t *figures, const char *key)
{
  const json_t *value = json_object_get(figures, key);
  json_int_t number = json_integer_value(value);
  return json_is_integer(value) && number >= 0 && number <= TG_SHARDS_MAX ? (int)number : -1;
}

static void take_figures(struct tg_reshard_class *class, json_t *figures)
{
  const char *waits_for = json_string_value(json_object_get(figures, "waits_for"));
  json_t *unmatched = json_object_get(figures, "unmatched"), *cut = json_object_get(figures, "cut");
  json_t *guilds = json_object_get(figures, "guild_ids");
  snprintf(class->waits_for, sizeof class->waits_for, "%s", waits_for ? waits_for : "");
  class->held = read_count(figures, "held");
  class->held_bytes = read_count(figures, "held_bytes");
  class->loading = read_small(figures, "loading");
  class->lost = read_small(figures, "lost");
  class->through = !json_is_false(json_object_get(figures, "through"));
  take_json(&class->unmatched, unmatched, json_is_object(unmatched));
  take_json(&class->cut, cut, json_is_array(cut));
  take_json(&class->guilds, guilds, json_is_array(guilds));
}

static void take_file(struct tg_reshard_class *class, const char *file)
{
  if (!file || !file[0])
    return;
  free(class->file);
  class->file = tg_strdup(file);
  class->file_is_news = true;
}

static void take_state(struct tg_reshard *reshard, int number, enum tg_class_state state)
{
  struct tg_reshard_class *class = &reshard->classes[number];
  bool was_switched = tg_class_is_switched(class->state), is_switched = tg_class_is_switched(state);
  class->state = state;
  reshard->ruled[number] = is_switched;
  if (is_switched && !class->announced)
    tg_reshard_tell_switched(reshard, class);
  else if (was_switched && !is_switched)
    tg_log(TG_INFO, TG_NO_SHARD, "a class of guilds has gone back to the %d shards: %d of %d have switched",
           reshard->from, tg_reshard_switched(reshard), reshard->deal.classes);
  class->announced = is_switched;
}

void tg_reshard_class_state(struct tg_reshard *reshard, int worker,
                            const struct tg_message_class_state *message)
{
  enum tg_class_state state;
  int number = message->number;
  if (!reshard->classes)
    return; /* of a set that is over */
  if (number < 0 || number >= reshard->deal.classes || reshard->deal.workers[number] != worker ||
      !tg_class_state_parse(message->state, &state)) {
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker)),
                "a worker spoke about a class of guilds that it has not, or in unknown words: it is ignored");
    return;
  }
  take_figures(&reshard->classes[number], message->figures);
  take_file(&reshard->classes[number], message->file);
  take_state(reshard, number, state);
  if (reshard->options.member)
    tg_reshard_class_heard(reshard, number);
}

void tg_reshard_forget_class(struct tg_reshard *reshard, int number)
{
  struct tg_reshard_class *class = &reshard->classes[number];
  free(class->file);
  class->file = NULL;
  class->state = TG_CLASS_WAITING;
  class->announced = class->opened = class->told_sessions = class->file_is_news = false;
  class->through = true;
  class->step = class->told = TG_CLASS_STEP_NONE;
  class->settled_at = 0;
  reshard->ruled[number] = false;
}

/* By the file that its worker goes by when it starts. That may have switched it without a word. */
static void find_state(struct tg_reshard *reshard, int number)
{
  const struct tg_reshard_record *record = &reshard->record;
  int ruling = tg_skip_file_ruling(reshard->env->state_dir, number, record->current.total,
                                   record->next.total, record->current.side);
  bool switched = ruling == record->next.side;
  reshard->classes[number].state = switched ? TG_CLASS_SWITCHED : TG_CLASS_WAITING;
  reshard->classes[number].through = ruling < 0;
  reshard->ruled[number] = switched;
}

void tg_reshard_find_states(struct tg_reshard *reshard)
{
  for (int i = 0; i < reshard->deal.classes; i++)
    find_state(reshard, i);
}

void tg_reshard_classes_unknown(struct tg_reshard *reshard, int worker)
{
  for (int i = 0; reshard->classes && i < reshard->deal.classes; i++) {
    struct tg_reshard_class *class = &reshard->classes[i];
    if (reshard->deal.workers[i] != worker || class->state == TG_CLASS_GONE)
      continue;
    find_state(reshard, i);
    class->loading = class->lost = -1;
    class->opened = false;
    class->held = class->held_bytes = 0;
    snprintf(class->waits_for, sizeof class->waits_for, "worker %d, which has ended", worker);
  }
}

int tg_reshard_switched(const struct tg_reshard *reshard)
{
  int count = 0;
  for (int i = 0; i < reshard->deal.classes; i++)
    count += tg_class_is_switched(reshard->classes[i].state);
  return count;
}

void tg_reshard_free_classes(struct tg_reshard *reshard)
{
  for (int i = 0; reshard->classes && i < reshard->deal.classes; i++) {
    json_decref(reshard->classes[i].unmatched);
    json_decref(reshard->classes[i].cut);
    json_decref(reshard->classes[i].guilds);
    free(reshard->classes[i].file);
  }
  free(reshard->classes);
  reshard->classes = NULL;
}

/* ---- questions about a class ---- */

struct class_question {
  struct tg_reshard *reshard;
  uint64_t run;
  int number;
  bool closes;
};

static void log_refusal(const struct class_question *question, const struct tg_error *error)
{
  bool usual = strcmp(error->code, "not_ready") == 0 || strcmp(error->code, "closed") == 0;
  tg_log_with(usual ? TG_DEBUG : TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(WORKER, question->reshard->deal.workers[question->number]),
                      TG_TEXT(REASON, error->message)),
              "a class of guilds could not be %s; it is tried again",
              question->closes ? "closed" : "switched");
}

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct class_question question = *(struct class_question *)ctx;
  free(ctx);
  struct tg_reshard *reshard = question.reshard;
  if (question.run != reshard->run || !reshard->classes)
    return;
  struct tg_reshard_class *class = &reshard->classes[question.number];
  tg_ms now = tg_now();
  class->asked = false;
  class->retry_at = now + tg_patience(TG_RESHARD_BEAT);
  if (error) {
    log_refusal(&question, error);
    return;
  }
  if (question.closes)
    take_state(reshard, question.number, TG_CLASS_GONE);
  else /* its state comes by itself */
    reshard->next_switch_at = now + tg_patience(reshard->first_switched ? TG_RESHARD_BEAT : TG_RESHARD_PAUSE);
  reshard->first_switched = reshard->first_switched || !question.closes;
}

/* NULL: it cannot be asked now. */
static struct tg_ipc *line_of(const struct tg_reshard *reshard, int number, tg_ms now)
{
  const struct tg_reshard_class *class = &reshard->classes[number];
  int worker = reshard->deal.workers[number];
  if (class->asked || now < class->retry_at || reshard->told[worker] != TG_RESHARD_TOLD)
    return NULL;
  return tg_workers_line(reshard->options.workers, worker);
}

static struct class_question *question_about(struct tg_reshard *reshard, int number, bool closes)
{
  struct class_question *question = tg_alloc(sizeof *question);
  *question = (struct class_question){reshard, reshard->run, number, closes};
  reshard->classes[number].asked = true;
  return question;
}

/* ---- switching ---- */

/* Chunks come to the session that has asked. */
static bool awaits_members(struct tg_reshard *reshard, int number, tg_ms patience, tg_ms now)
{
  struct tg_reshard_class *class = &reshard->classes[number];
  if (!tg_members_await(reshard->options.members, reshard->record.current.side, reshard->deal.classes,
                        number)) {
    class->members_since = 0;
    return false;
  }
  if (!class->members_since)
    class->members_since = now;
  return now - class->members_since < tg_patience(patience);
}

static bool any_asked(const struct tg_reshard *reshard)
{
  for (int i = 0; i < reshard->deal.classes; i++) {
    if (reshard->classes[i].asked)
      return true;
  }
  return false;
}

/* An old session that is gone for good has nothing to be matched with. */
static bool may_switch(const struct tg_reshard *reshard, const struct tg_reshard_class *class)
{
  return class->state == TG_CLASS_READY ||
         (class->state == TG_CLASS_OVERLAP && class->lost == reshard->record.current.side);
}

void tg_reshard_switch_some(struct tg_reshard *reshard, tg_ms now)
{
  if (now < reshard->next_switch_at || any_asked(reshard))
    return;
  for (int i = 0; i < reshard->deal.classes; i++) {
    struct tg_ipc *line = may_switch(reshard, &reshard->classes[i]) ? line_of(reshard, i, now) : NULL;
    if (!line || !tg_reshard_has_class(reshard, i) || awaits_members(reshard, i, TG_RESHARD_MEMBERS, now))
      continue;
    tg_ask(line, TG_RESHARD_ASK, on_answer, question_about(reshard, i, false), switch_class, .number = i,
           .back = false);
    return;
  }
}

bool tg_reshard_switch_back(struct tg_reshard *reshard, tg_ms now)
{
  for (int i = 0; i < reshard->deal.classes; i++) {
    struct tg_ipc *line = tg_class_is_switched(reshard->classes[i].state) ? line_of(reshard, i, now) : NULL;
    if (line)
      tg_ask(line, TG_RESHARD_ASK, on_answer, question_about(reshard, i, false), switch_class, .number = i,
             .back = true);
  }
  for (int i = 0; i < reshard->deal.classes; i++) {
    const struct tg_reshard_class *class = &reshard->classes[i];
    if (reshard->options.member && !reshard->env->shards.list[i].held)
      continue; /* another host's */
    if (class->asked || tg_class_is_switched(class->state) || !class->through)
      return false;
  }
  return true;
}

/* ---- closing ---- */

static void forget_old(struct tg_reshard *reshard, int number)
{
  struct tg_shard_set *old = &reshard->env->shards;
  for (int id = number; id < old->count; id += reshard->deal.classes)
    tg_spawn_killed(reshard->options.spawner, &old->list[id]);
}

bool tg_reshard_close_some(struct tg_reshard *reshard, tg_ms now)
{
  bool all = true;
  for (int i = 0; i < reshard->deal.classes; i++) {
    bool gone = reshard->classes[i].state == TG_CLASS_GONE;
    struct tg_ipc *line = gone ? NULL : line_of(reshard, i, now);
    all = all && gone;
    if (!line || reshard->classes[i].state < TG_CLASS_SETTLED || !tg_reshard_has_class(reshard, i) ||
        awaits_members(reshard, i, TG_RESHARD_LONG_ASK, now))
      continue;
    forget_old(reshard, i);
    tg_ask(line, TG_RESHARD_LONG_ASK, on_answer, question_about(reshard, i, true), close_class, .number = i);
  }
  return all;
}
