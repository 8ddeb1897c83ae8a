#include "fake_discord/faults/faults.h"

#include "base/suggest.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/gateway/pace.h"
#include "fake_discord/world/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HELD_MAX = 1000 };

struct rule {
  TAILQ_ENTRY(rule) link;
  enum tg_fake_point point;
  int64_t left; /* -1: for ever */
  int64_t skip; /* so many pass unharmed first */
  json_t *request;
};

TAILQ_HEAD(rules, rule);

struct tg_fake_faults {
  struct rules rules;
  int held[HELD_MAX]; /* sockets that were accepted and left alone */
  int held_count;
};

static const char *const point_names[] = {
#define X(name) #name,
    TG_FAKE_POINTS(X)
#undef X
};

struct tg_fake_faults *tg_fake_faults_new(void)
{
  struct tg_fake_faults *faults = tg_calloc(1, sizeof *faults);
  TAILQ_INIT(&faults->rules);
  return faults;
}

static void free_rule(struct tg_fake_faults *faults, struct rule *rule)
{
  TAILQ_REMOVE(&faults->rules, rule, link);
  json_decref(rule->request);
  free(rule);
}

static void drop_all(struct tg_fake_faults *faults)
{
  while (!TAILQ_EMPTY(&faults->rules))
    free_rule(faults, TAILQ_FIRST(&faults->rules));
  while (faults->held_count > 0)
    close(faults->held[--faults->held_count]);
}

void tg_fake_faults_free(struct tg_fake_faults *faults)
{
  drop_all(faults);
  free(faults);
}

void tg_fake_faults_clear(struct tg_fake *fake)
{
  drop_all(fake->faults);
  tg_fake_paces_clear(fake);
  json_array_clear(fake->differences);
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  {
    conn->wire = (struct tg_fake_wire){0};
    conn->withhold_acks = 0;
    conn->withhold_dispatches = false;
    if ((conn->deaf || conn->unread) && conn->state < TG_FAKE_CLOSING) {
      conn->deaf = conn->unread = false;
      tg_stream_set_reading(conn->stream, true);
      tg_fake_conn_expect_beat(conn);
    }
    if (conn->session)
      conn->session->deaf_to[0] = '\0';
    if (conn->session)
      tg_fake_session_pump(conn->session);
  }
}

/* ---- rules ---- */

static bool fits(const struct rule *rule, int shard, int total, const char *path)
{
  struct tg_fake_target target;
  if (!tg_fake_target_parse(rule->request, &target, NULL))
    return false;
  if (!target.all && (shard < 0 || !tg_fake_target_has_shard(&target, shard, total)))
    return false;
  const char *route = json_string_value(json_object_get(rule->request, "route"));
  return !route || (path && strstr(path, route));
}

json_t *tg_fake_fault_take(struct tg_fake *fake, enum tg_fake_point point, int shard, int total,
                           const char *path)
{
  struct rule *rule;
  TAILQ_FOREACH(rule, &fake->faults->rules, link)
  {
    if (rule->point != point || !fits(rule, shard, total, path))
      continue;
    if (rule->skip > 0) {
      rule->skip--;
      return NULL;
    }
    json_t *request = json_incref(rule->request);
    if (rule->left > 0 && --rule->left == 0)
      free_rule(fake->faults, rule);
    return request;
  }
  return NULL;
}

json_t *tg_fake_faults_to_json(const struct tg_fake *fake)
{
  json_t *result = json_array();
  struct rule *rule;
  TAILQ_FOREACH(rule, &fake->faults->rules, link)
  json_array_append_new(result, json_pack("{s:s, s:O, s:I, s:I}", "at", point_names[rule->point], "do",
                                          json_object_get(rule->request, "do"), "left",
                                          (json_int_t)rule->left, "skip", (json_int_t)rule->skip));
  return result;
}

static bool read_rule(const json_t *request, struct rule *rule, struct tg_error *error)
{
  const json_t *count = json_object_get(request, "count"), *skip = json_object_get(request, "skip"),
               *route = json_object_get(request, "route");
  bool all = json_is_string(count) && strcmp(json_string_value(count), "all") == 0;
  if ((count && !all && (!json_is_integer(count) || json_integer_value(count) < 1)) ||
      (skip && (!json_is_integer(skip) || json_integer_value(skip) < 0)) || (route && !json_is_string(route)))
    return tg_fail(error, "type",
                   "count: expected a number from 1 or \"all\"; skip: a number; route: a text");
  rule->left = all ? -1 : count ? json_integer_value(count) : 1;
  rule->skip = json_integer_value(skip);
  return true;
}

static json_t *arm(struct tg_fake *fake, enum tg_fake_point point, const json_t *request,
                   struct tg_error *error)
{
  struct rule read = {.point = point};
  struct tg_fake_target target;
  if (!read_rule(request, &read, error) || !tg_fake_target_parse(request, &target, error))
    return NULL;
  if (target.connection >= 0)
    return tg_fail(error, "type", "connection is for faults at \"now\" only"), NULL;
  struct rule *rule = tg_alloc(sizeof *rule);
  *rule = read;
  rule->request = json_deep_copy(request);
  TAILQ_INSERT_TAIL(&fake->faults->rules, rule, link);
  return json_pack("{s:s}", "armed", point_names[point]);
}

/* ---- POST /fault ---- */

static bool find_point(const json_t *request, enum tg_fake_point *point, struct tg_error *error)
{
  const json_t *given = json_object_get(request, "at");
  const char *name = given ? json_string_value(given) : "now";
  for (int i = 0; name && i < TG_FAKE_POINT_COUNT; i++)
    if (strcmp(point_names[i], name) == 0) {
      *point = (enum tg_fake_point)i;
      return true;
    }
  return tg_fail(error, "type",
                 "at: expected now, accept, upgrade, hello, identify, resume, heartbeat or rest");
}

static json_t *act_now(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  struct tg_fake_target target;
  if (!tg_fake_target_parse(request, &target, error))
    return NULL;
  int count = 0;
  struct tg_fake_conn *conn, *next;
  for (conn = LIST_FIRST(&fake->conns); conn; conn = next) {
    next = LIST_NEXT(conn, link);
    if (conn->state >= TG_FAKE_CLOSING || !tg_fake_target_has_conn(&target, conn))
      continue;
    tg_fake_action_run(conn, request);
    count++;
  }
  if (count == 0)
    return tg_fail(error, "none", "no live connection matches"), NULL;
  return json_pack("{s:i}", "connections", count);
}

static json_t *kill_sessions(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  struct tg_fake_target target;
  if (!tg_fake_target_parse(request, &target, error))
    return NULL;
  int count = 0;
  struct tg_fake_session *session, *next;
  for (session = LIST_FIRST(&fake->sessions); session; session = next) {
    next = LIST_NEXT(session, link);
    if (!tg_fake_target_has_shard(&target, session->identify.shard_id, session->identify.total))
      continue;
    tg_fake_session_kill(session, "fault");
    count++;
  }
  if (count == 0)
    return tg_fail(error, "none", "no session matches"), NULL;
  return json_pack("{s:i}", "sessions", count);
}

json_t *tg_fake_fault_post(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  enum tg_fake_point point = TG_FAKE_AT_now;
  if (!json_is_object(request))
    return tg_fail(error, "type", "expected a JSON object"), NULL;
  if (!find_point(request, &point, error) || !tg_fake_action_check(request, point, error))
    return NULL;
  const char *action = json_string_value(json_object_get(request, "do"));
  if (point != TG_FAKE_AT_now)
    return arm(fake, point, request, error);
  if (strcmp(action, "clear") == 0) {
    tg_fake_faults_clear(fake);
    return json_pack("{s:b}", "cleared", 1);
  }
  if (strcmp(action, "kill_session") == 0)
    return kill_sessions(fake, request, error);
  if (strcmp(action, "reset_token") == 0) {
    const json_t *code = json_object_get(request, "code");
    tg_fake_reset_token(fake, code ? (int)json_integer_value(code) : 4004);
    return json_pack("{s:b}", "reset", 1);
  }
  return act_now(fake, request, error);
}

/* ---- accept ---- */

bool tg_fake_fault_accept(struct tg_fake *fake, int fd)
{
  json_t *request = tg_fake_fault_take(fake, TG_FAKE_AT_accept, -1, -1, NULL);
  if (!request)
    return false;
  const char *action = json_string_value(json_object_get(request, "do"));
  struct tg_fake_faults *faults = fake->faults;
  if (strcmp(action, "hang") == 0 && faults->held_count < HELD_MAX) {
    faults->held[faults->held_count++] = fd;
  } else {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (strcmp(action, "rst") == 0)
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
  }
  json_decref(request);
  return true;
}
