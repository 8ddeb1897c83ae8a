#pragma once

/* Faults: POST /fault {"at": point, "do": action, ...}. admin.h lists them.
 *
 * At "now" an action is done to live connections at once. At any other point
 * it becomes a rule that waits for its moment, is used `count` times, and is
 * gone. Where several rules fit, the oldest is used, one a time. */

#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/points.h"
#include "fake_discord/gateway/session.h"

#define TG_FAKE_POINTS(X) X(now) X(accept) X(upgrade) X(hello) X(identify) X(resume) X(heartbeat) X(rest)

enum tg_fake_point {
#define X(name) TG_FAKE_AT_##name,
  TG_FAKE_POINTS(X)
#undef X
      TG_FAKE_POINT_COUNT
};

struct tg_fake_faults *tg_fake_faults_new(void);
void tg_fake_faults_free(struct tg_fake_faults *faults);

/* Forgets all rules and ends what lasts on connections. */
void tg_fake_faults_clear(struct tg_fake *fake);

/* POST /fault. NULL: `error` says why; code "none" when no connection matched. */
json_t *tg_fake_fault_post(struct tg_fake *fake, const json_t *request, struct tg_error *error);
/* The rules that wait. */
json_t *tg_fake_faults_to_json(const struct tg_fake *fake);

/* What stands at the points of the way: rules that wait for them. */
extern const struct tg_fake_points tg_fake_fault_points;

/* ---- between faults.c, fault_points.c and fault_actions.c ---- */

/* Finds and uses up a rule; NULL: none. The result is {"do":...}; a new reference.
 * `shard` (of `total`) -1: not known here. `path` is of REST. */
json_t *tg_fake_fault_take(struct tg_fake *fake, enum tg_fake_point point, int shard, int total,
                           const char *path);

/* The point "accept". */
bool tg_fake_fault_accept(struct tg_fake *fake, int fd);

/* Checks an action's name, place and arguments. */
bool tg_fake_action_check(const json_t *request, enum tg_fake_point point, struct tg_error *error);

/* Does it to a connection. */
enum tg_fake_outcome tg_fake_action_run(struct tg_fake_conn *conn, const json_t *request);
