/* What the script in Redis is asked about another number of shards, and what it answers, in words. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdlib.h>
#include <string.h>

static json_int_t number(const json_t *answer, const char *key)
{
  return (json_int_t)json_number_value(json_object_get(answer, key));
}

static const char *text(const json_t *answer, const char *key)
{
  const char *value = json_string_value(json_object_get(answer, key));
  return value ? value : "?";
}

/* Why it does not begin. */
static void explain(const struct tg_reshard *reshard, const json_t *answer, struct tg_error *error)
{
  const char *why = text(answer, "refused");
  int to = reshard->wish.to,
      reserve = reshard->env->info->total * reshard->env->config->resharding.identify_reserve / 100;
  if (strcmp(why, "quiet") == 0)
    tg_fail(error, "not_ready",
            "the cluster's Redis has just begun anew, and hosts tell it what they have: try again in some "
            "seconds");
  else if (strcmp(why, "leader") == 0)
    tg_fail(error, "not_leader", "the host \"%s\" leads the cluster, and this one does not: it begins there",
            text(answer, "theirs"));
  else if (strcmp(why, "running") == 0)
    tg_fail(error, "resharding_running", "the cluster goes over to %d shards already; one at a time",
            (int)number(answer, "to"));
  else if (strcmp(why, "total") == 0)
    tg_fail(error, "bad_argument",
            "the cluster has %d shards, and can go over to multiples of that, not to %d",
            (int)number(answer, "total"), to);
  else if (strcmp(why, "left") == 0)
    tg_fail(
        error, "not_ready",
        "the host \"%s\" still has events of shards that are no more: it has to be up and to deliver them, "
        "or to be forgotten (ctl cluster forget)",
        text(answer, "theirs"));
  else if (strcmp(why, "moving") == 0)
    tg_fail(error, "not_ready",
            "not all shards are up, or some are on their way to another host: try again when they are");
  else if (strcmp(why, "budget") == 0)
    tg_fail(error, "budget",
            "%d shards take about %d identifies, and of the day's %d are left, %d of which are the reserve "
            "(resharding.identify_reserve)",
            to, tg_check_identifies(to), (int)number(answer, "remaining"), reserve);
  else
    tg_fail(error, "refused", "the cluster has refused it: %s", why);
}

/* ---- it begins ---- */

static void on_begun(void *ctx, const char *answered, size_t length, const struct tg_error *error)
{
  struct tg_reshard *reshard = ctx;
  struct tg_error problem;
  json_t *answer = answered ? json_loadb(answered, length, 0, NULL) : NULL;
  if (reshard->wish.to == 0) { /* nobody waits for it any more */
    json_decref(answer);
    return;
  }
  if (!answered)
    tg_fail(&problem, "redis_away", "the cluster's Redis has not answered: %s", error->message);
  else if (!json_is_object(answer))
    tg_fail(&problem, "bad_answer", "the cluster's script in Redis has not answered with an object");
  else if (json_object_get(answer, "refused"))
    explain(reshard, answer, &problem);
  reshard->wish.granted = json_is_object(answer) && !json_object_get(answer, "refused");
  json_decref(answer);
  if (!reshard->wish.granted)
    tg_reshard_answer_wish(reshard, &problem);
}

void tg_reshard_ask_to_begin(struct tg_reshard *reshard)
{
  const struct tg_config *config = reshard->env->config;
  struct tg_error error;
  int reserve = reshard->env->info->total * config->resharding.identify_reserve / 100;
  json_t *body =
      json_pack("{s:s, s:i, s:i}", "host", config->cluster.host, "to", reshard->wish.to, "reserve", reserve);
  reshard->wish.asked = true;
  if (tg_redis_link_ask(tg_member_link(reshard->options.member), "reshard", body, on_begun, reshard))
    return;
  tg_fail(&error, "redis_away", "the cluster's Redis does not answer; nothing has changed");
  tg_reshard_answer_wish(reshard, &error);
}

/* ---- it is taken back ---- */

struct taking_back {
  struct tg_reshard *reshard;
  tg_manager_reply *reply; /* NULL: nobody waits */
  void *ctx;
};

static void answer_abort(const struct taking_back *back, const struct tg_error *error)
{
  if (!back->reply && error)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error->message)),
                "resharding cannot be taken back");
  else if (back->reply && error)
    back->reply(back->ctx, NULL, error);
  else if (back->reply)
    tg_reply_value(back->reply, back->ctx, json_true());
}

static void on_taken_back(void *ctx, const char *answered, size_t length, const struct tg_error *error)
{
  struct taking_back back = *(struct taking_back *)ctx;
  struct tg_error problem;
  free(ctx);
  json_t *answer = answered ? json_loadb(answered, length, 0, NULL) : NULL;
  const char *why = json_string_value(json_object_get(answer, "refused"));
  bool is_late = why && strcmp(why, "late") == 0;
  back.reshard->is_asking = false;
  if (!answered)
    tg_fail(&problem, "redis_away", "the cluster's Redis has not answered: %s", error->message);
  else if (is_late)
    tg_fail(&problem, "too_late",
            "%d classes of guilds have gone over to the new shards already, for all hosts of the cluster: it "
            "cannot be undone any more",
            (int)number(answer, "switched"));
  else if (why)
    tg_fail(&problem, "no_resharding", "no resharding runs");
  if (is_late)
    back.reshard->abort_wanted[0] = '\0';
  answer_abort(&back, !answered || why ? &problem : NULL);
  json_decref(answer);
}

void tg_reshard_ask_to_abort(struct tg_reshard *reshard, tg_manager_reply *reply, void *ctx)
{
  struct tg_error error;
  struct taking_back *back = tg_alloc(sizeof *back);
  *back = (struct taking_back){reshard, reply, ctx};
  if (tg_redis_link_ask(tg_member_link(reshard->options.member), "abort", json_object(), on_taken_back,
                        back)) {
    reshard->is_asking = true;
    return;
  }
  tg_fail(&error, "redis_away", "the cluster's Redis does not answer");
  answer_abort(back, &error);
  free(back);
}
