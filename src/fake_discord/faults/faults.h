#pragma once

/* Faults: POST /fault {"at": point, "do": action, ...}. admin.h lists them.
 *
 * At "now" an action is done to live connections at once. At any other point
 * it becomes a rule that waits for its moment, is used `count` times, and is
 * gone. Where several rules fit, the oldest is used, one a time. */

#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/session.h"

#define TG_FAKE_POINTS(X) X(now) X(accept) X(upgrade) X(hello) X(identify) X(resume) X(heartbeat) X(rest)

enum tg_fake_point {
#define X(name) TG_FAKE_AT_##name,
  TG_FAKE_POINTS(X)
#undef X
      TG_FAKE_POINT_COUNT
};

enum tg_fake_outcome {
  TG_FAKE_GO_ON,   /* as if nothing had been */
  TG_FAKE_INSTEAD, /* the fault has taken the place of what usually comes */
};

struct tg_fake_faults *tg_fake_faults_new(void);
void tg_fake_faults_free(struct tg_fake_faults *faults);

/* Forgets all rules and ends what lasts on connections. */
void tg_fake_faults_clear(struct tg_fake *fake);

/* POST /fault. NULL: `error` says why; code "none" when no connection matched. */
json_t *tg_fake_fault_post(struct tg_fake *fake, const json_t *request, struct tg_error *error);
/* The rules that wait. */
json_t *tg_fake_faults_to_json(const struct tg_fake *fake);

/* The points. */
bool tg_fake_fault_accept(struct tg_fake *fake, int fd); /* true: the socket is taken care of */
enum tg_fake_outcome tg_fake_fault_http(struct tg_fake *fake, struct tg_fake_http *http,
                                        const struct tg_fake_request *request, bool upgrade,
                                        void (*go_on)(void *http));
enum tg_fake_outcome tg_fake_fault_hello(struct tg_fake_conn *conn);
enum tg_fake_outcome tg_fake_fault_identify(struct tg_fake_conn *conn,
                                            const struct tg_fake_identify *identify);
enum tg_fake_outcome tg_fake_fault_resume(struct tg_fake_conn *conn, const char *session_id, uint64_t seq);
bool tg_fake_fault_beat(struct tg_fake_conn *conn); /* whether op 11 is sent */

/* ---- between faults.c, fault_points.c and fault_actions.c ---- */

/* Finds and uses up a rule; NULL: none. The result is {"do":...}; a new reference.
 * `shard` -1: not known here. `path` is of REST. */
json_t *tg_fake_fault_take(struct tg_fake *fake, enum tg_fake_point point, int shard, const char *path);

/* Checks an action's name, place and arguments. */
bool tg_fake_action_check(const json_t *request, enum tg_fake_point point, struct tg_error *error);

/* Does it to a connection. */
enum tg_fake_outcome tg_fake_action_run(struct tg_fake_conn *conn, const json_t *request);
