#include "manager/cluster_front.h"

#include "base/buf.h"
#include "base/log.h"
#include "config/cluster_rules.h"
#include "manager/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOLD_EVERY = 60000 /* ms */ };

/* ---- at hand ---- */

static uint64_t queued(const struct tg_shard_set *shards)
{
  uint64_t events = 0;
  for (int i = 0; i < shards->count; i++)
    if (shards->list[i].held)
      events += atomic_load(&tg_shard_row_of(&shards->list[i])->queued_events);
  return events;
}

bool tg_manager_cluster(struct tg_manager *manager, struct tg_cluster_status *status)
{
  struct tg_member *member = manager->member;
  const struct tg_config *config = manager->env.config;
  if (!member)
    return false;
  *status = (struct tg_cluster_status){
      .name = config->cluster.name,
      .host = config->cluster.host,
      .up = tg_member_is_connected(member),
      .draining = tg_member_is_draining(member),
      .has_others = tg_member_has_others(member),
      .queued = queued(tg_current_set(&manager->env)),
      .view = tg_member_view(member),
  };
  status->joined = status->view->host_count > 0;
  return true;
}

/* ---- what Redis is asked ---- */

struct cluster_question {
  tg_manager_reply *reply;
  void *ctx;
  char *host; /* that is to be forgotten; NULL: none */
};

static bool is_there(struct tg_manager *manager, struct tg_error *error)
{
  if (!manager->member)
    return tg_fail(error, "no_cluster",
                   "this gateway is not part of a cluster: its configuration has no cluster.url");
  if (!tg_member_is_connected(manager->member))
    return tg_fail(error, "redis_away", "the cluster's Redis does not answer");
  return true;
}

/* Steals `asking`. */
static void end(struct cluster_question *asking, json_t *value, const struct tg_error *error)
{
  if (error)
    tg_reply_error(asking->reply, asking->ctx, error->code, "%s", error->message);
  else
    tg_reply_value(asking->reply, asking->ctx, value);
  free(asking->host);
  free(asking);
}

static void on_survey(struct cluster_question *asking, json_t *answer)
{
  end(asking, json_incref(answer), NULL);
}

static void on_forgotten(struct cluster_question *asking, json_t *answer)
{
  struct tg_error error;
  json_int_t holes = json_integer_value(json_object_get(answer, "holes"));
  bool known = json_is_true(json_object_get(answer, "known")) || holes > 0;
  if (json_object_get(answer, "refused"))
    tg_fail(&error, "host_alive", "the host \"%s\" is alive: it delivers by itself what only it has",
            asking->host);
  else if (!known)
    tg_fail(&error, "no_host", "the cluster knows no host \"%s\"", asking->host);
  if (json_object_get(answer, "refused") || !known) {
    end(asking, NULL, &error);
    return;
  }
  tg_log(TG_WARN, TG_NO_SHARD, "the host \"%s\" of the cluster is forgotten, with %lld holes", asking->host,
         (long long)holes);
  end(asking, json_pack("{s:s, s:I}", "host", asking->host, "holes", holes), NULL);
}

static void on_answer(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct cluster_question *asking = ctx;
  struct tg_error problem;
  json_t *answer = text ? json_loadb(text, length, 0, NULL) : NULL;
  if (!text) {
    tg_fail(&problem, "redis_away", "the cluster's Redis has not answered: %s", error->message);
    end(asking, NULL, &problem);
  } else if (!json_is_object(answer)) {
    tg_fail(&problem, "bad_answer", "the cluster's script in Redis has not answered with an object");
    end(asking, NULL, &problem);
  } else if (asking->host) {
    on_forgotten(asking, answer);
  } else {
    on_survey(asking, answer);
  }
  json_decref(answer);
}

/* Steals `body`; `host` is copied. */
static void ask(struct tg_manager *manager, const char *name, json_t *body, const char *host,
                tg_manager_reply *reply, void *ctx)
{
  struct tg_error error;
  struct cluster_question *asking = tg_alloc(sizeof *asking);
  *asking = (struct cluster_question){reply, ctx, host ? tg_strdup(host) : NULL};
  if (!is_there(manager, &error)) {
    json_decref(body);
    end(asking, NULL, &error);
  } else if (!tg_redis_link_ask(tg_member_link(manager->member), name, body, on_answer, asking)) {
    tg_fail(&error, "redis_away", "the connection to the cluster's Redis has just ended");
    end(asking, NULL, &error);
  }
}

void tg_manager_cluster_survey(struct tg_manager *manager, tg_manager_reply *reply, void *ctx)
{
  ask(manager, "status", json_object(), NULL, reply, ctx);
}

void tg_manager_cluster_forget(struct tg_manager *manager, const char *host, tg_manager_reply *reply,
                               void *ctx)
{
  const char *wrong = tg_check_cluster_name(host);
  if (wrong)
    tg_reply_error(reply, ctx, "bad_argument", "\"%.80s\" is no name of a host: %s", host, wrong);
  else
    ask(manager, "forget", json_pack("{s:s}", "name", host), host, reply, ctx);
}

/* ---- what is done ---- */

bool tg_manager_cluster_drain(struct tg_manager *manager, bool anyway, struct tg_error *error)
{
  if (!is_there(manager, error))
    return false;
  if (!tg_member_has_others(manager->member))
    return tg_fail(
        error, "no_others",
        "no other host of the cluster is there that takes shards: they stay, and so does what waits "
        "here; a stop keeps their sessions for the next start");
  tg_member_drain(manager->member, anyway);
  return true;
}

/* ---- what is told ---- */

bool tg_cluster_front_waits(struct tg_manager *manager, char *text, size_t size, tg_ms *left)
{
  struct tg_member *member = manager->member;
  if (!member || !tg_member_waits(member))
    return false;
  *left = -1;
  const char *trouble = tg_member_trouble(member);
  if (tg_member_is_connected(member))
    snprintf(text, size, "waiting for the cluster to know its number of shards");
  else if (trouble)
    snprintf(text, size, "waiting for the cluster: %s", trouble);
  else
    snprintf(text, size, "waiting for the cluster's Redis, %s", tg_redis_link_where(tg_member_link(member)));
  return true;
}

static const char *own_digest(const struct tg_cluster_view *view, const char *host)
{
  for (int i = 0; i < view->host_count; i++)
    if (strcmp(view->hosts[i].name, host) == 0)
      return view->hosts[i].digest;
  return NULL;
}

/* Their names, with commas; NULL: there is none. */
static char *hosts_that_differ(const struct tg_cluster_view *view, const char *digest)
{
  struct tg_buf names = {0};
  for (int i = 0; i < view->host_count; i++)
    if (strcmp(view->hosts[i].digest, digest) != 0)
      tg_buf_printf(&names, "%s%s", names.length > 0 ? ", " : "", view->hosts[i].name);
  return names.length > 0 ? tg_buf_take(&names) : NULL;
}

void tg_cluster_front_look(struct tg_manager *manager, tg_ms now)
{
  struct tg_cluster_status status;
  if (manager->env.stopping || now < manager->differing_told_again || !tg_manager_cluster(manager, &status))
    return;
  const char *digest = own_digest(status.view, status.host);
  char *names = digest ? hosts_that_differ(status.view, digest) : NULL;
  if (!names)
    return;
  manager->differing_told_again = now + TOLD_EVERY;
  tg_log(
      TG_ERROR, TG_NO_SHARD,
      "hosts of the cluster have other intents or session options than this one: %s; shards do not move "
      "between "
      "them and this host, and one that has to identifies anew. Give all hosts the same configuration, one "
      "after the other",
      names);
  free(names);
}
