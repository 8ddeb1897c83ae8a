#include "manager/deaf/told.h"

#include "base/human.h"
#include "base/log.h"

#include <stdio.h>

/* Each step of `deaf`, as the log and the life-cycle event have it. */
static const struct {
  const char *step; /* NULL: scripts hear nothing of it */
  enum tg_log_level level;
  const char *text; /* behind "no events had come for ...:" */
} words[] = {
    [TG_CURE_ASKS] = {NULL, TG_INFO, "Discord is asked something that it has to answer"},
    [TG_CURE_ALIVE] = {NULL, TG_INFO, "it hears, so that there are none"},
    [TG_CURE_RESUMES] = {"resume", TG_WARN,
                         "the session seems to be deaf, and is resumed on another connection"},
    [TG_CURE_IDENTIFIES] = {"identify", TG_WARN,
                            "a RESUME has not helped: the session is ended for a new one"},
    [TG_CURE_HEARS] = {"hears", TG_INFO, "now it hears again"},
    [TG_CURE_WAITS] =
        {"waits", TG_WARN,
         "a RESUME has not helped; a new session has to wait, as the day's session starts are down "
         "to the reserve (resharding.identify_reserve)"},
    [TG_CURE_ALONE] =
        {"given_up", TG_ERROR,
         "a RESUME has not helped. Without another shard to compare with it may be Discord's outage: "
         "no session start is spent. A restart with SIGINT begins a new session"},
    [TG_CURE_GIVEN_UP] = {"given_up", TG_ERROR,
                          "a new session has not helped either; it is left alone for a day"},
    [TG_CURE_UNDECIDED] = {NULL, TG_INFO, "nothing could be found out now: it is looked at again later"},
};

static void tell_script(struct tg_deaf_told *told, const char *step, int shard_id, const char *type,
                        tg_ms silent)
{
  if (!told->hooks->want_life[TG_LIFE_deaf])
    return;
  json_t *details = json_pack("{s:s, s:I}", "step", step, "silent", (json_int_t)silent);
  if (shard_id >= 0)
    json_object_set_new(details, "shard_id", json_integer(shard_id));
  if (type)
    json_object_set_new(details, "event", json_string(type));
  tg_hook_life(told->hooks, TG_LIFE_deaf, NULL, details);
  json_decref(details);
}

static void count(struct tg_deaf_status *counts, enum tg_cure_news news)
{
  counts->resumes += news == TG_CURE_RESUMES;
  counts->identifies += news == TG_CURE_IDENTIFIES;
  counts->cured += news == TG_CURE_HEARS;
  counts->given_up += news == TG_CURE_GIVEN_UP || news == TG_CURE_ALONE;
}

static const char *name_of(int type)
{
  return type == TG_HEARING_ALL ? NULL : tg_traffic_name(TG_TRAFFIC_FIRST_TYPE + type);
}

void tg_told_news(struct tg_deaf_told *told, enum tg_cure_news news, const struct tg_suspect *suspect,
                  int shard_id, tg_ms silent)
{
  const char *type = name_of(suspect->type);
  char time[TG_HUMAN_SIZE];
  tg_human_duration(silent, time, sizeof time);
  count(&told->counts, news);
  tg_log_with(words[news].level, shard_id, TG_WITH(TG_TOLD(EVENT, type), TG_TOLD_NUMBER(DURATION, silent)),
              "no %s had come for %s%s: %s", type ? type : "events", time,
              type ? ", which its sisters get" : "", words[news].text);
  if (words[news].step)
    tell_script(told, words[news].step, shard_id, type, silent);
}

void tg_told_answer(struct tg_deaf_told *told, enum tg_cure_answer answer, const struct tg_error *error)
{
  told->counts.answered += answer == TG_CURE_ANSWERED;
  told->counts.unanswered += answer == TG_CURE_UNANSWERED;
  told->counts.not_asked += answer == TG_CURE_NOT_ASKED;
  if (error)
    tg_log(TG_DEBUG, TG_NO_SHARD, "whether a shard hears: %s", error->message);
}

void tg_told_vanished(struct tg_deaf_told *told, int type, bool gone, tg_ms silent)
{
  const char *name = name_of(type);
  char time[TG_HUMAN_SIZE];
  tg_human_duration(silent, time, sizeof time);
  if (gone)
    tg_log_with(
        TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TOLD(EVENT, name), TG_TOLD_NUMBER(DURATION, silent)),
        "no shard has had a %s for %s, while other events come: Discord does not send them, or the bot may "
        "not have them any more. Look at its intents in the Developer Portal, and at Discord's status page",
        name, time);
  else
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TOLD(EVENT, name)), "there are %s again", name);
  tell_script(told, gone ? "vanished" : "back", -1, name, silent);
}

void tg_told_outage(struct tg_deaf_told *told, bool outage)
{
  if (told->outage == outage)
    return;
  told->outage = outage;
  tg_log(outage ? TG_WARN : TG_INFO, TG_NO_SHARD,
         outage ? "many shards get far fewer events than usual at a time: that looks like an outage of "
                  "Discord. None "
                  "of them is taken for deaf"
                : "the shards get events again");
}

/* ---- another program ---- */

#define COUNTERS(X) X(answered) X(unanswered) X(not_asked) X(resumes) X(identifies) X(cured) X(given_up)

json_t *tg_told_hand_over(const struct tg_deaf_told *told)
{
  json_t *json = json_object();
#define X(name) json_object_set_new(json, #name, json_integer((json_int_t)told->counts.name));
  COUNTERS(X)
#undef X
  return json;
}

void tg_told_take_over(struct tg_deaf_told *told, const json_t *handed)
{
#define X(name) told->counts.name = (uint64_t)json_integer_value(json_object_get(handed, #name));
  COUNTERS(X)
#undef X
}
