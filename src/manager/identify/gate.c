#include "manager/identify/gate.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "base/timer.h"

#include <stdlib.h>

enum { WAIT_MIN = 10000, WAIT_MAX = 24 * 60 * 60 * 1000 };

struct tg_gate {
  const struct tg_manager_env *env;
  void (*refresh)(void *ctx);
  void *ctx;
  struct tg_ledger *ledger;
  uv_timer_t *timer; /* the end of the window */
  bool closed;
};

static void on_timer(uv_timer_t *timer)
{
  struct tg_gate *gate = timer->data;
  gate->refresh(gate->ctx);
}

void tg_gate_close(struct tg_gate *gate, int held_back)
{
  tg_ms steady = tg_steady_clock(), wait = tg_ledger_reset_at(gate->ledger) - steady + 1000;
  if (wait < tg_patience(WAIT_MIN))
    wait = tg_patience(WAIT_MIN);
  if (wait > WAIT_MAX)
    wait = WAIT_MAX;
  char until[TG_HUMAN_SIZE];
  tg_human_moment(tg_wall_clock() + wait, until, sizeof until);
  tg_log(TG_WARN, TG_NO_SHARD,
         "identifies are held back until %s: %d of %d session starts are left, and %d %% are the reserve. "
         "Sessions that live go on and resume; %d shard%s wait%s. (Spent starts would make Discord reset the "
         "token)",
         until, tg_ledger_remaining(gate->ledger, steady), tg_ledger_total(gate->ledger),
         gate->env->config->resharding.identify_reserve, held_back, held_back == 1 ? "" : "s",
         held_back == 1 ? "s" : "");
  gate->closed = true;
  tg_timer_start(gate->timer, on_timer, wait);
}

tg_ms tg_gate_wait(const struct tg_gate *gate)
{
  return (tg_ms)uv_timer_get_due_in(gate->timer);
}

bool tg_gate_refreshed(struct tg_gate *gate)
{
  if (uv_is_active((uv_handle_t *)gate->timer))
    return false; /* its time has not come */
  if (gate->closed)
    tg_log(TG_INFO, TG_NO_SHARD, "the window of session starts is over: identifies go on");
  gate->closed = false;
  return true;
}

bool tg_gate_closed(const struct tg_gate *gate)
{
  return gate->closed;
}

int tg_gate_allowance(const struct tg_gate *gate)
{
  return gate->closed ? 0
                      : tg_ledger_allowance(gate->ledger, gate->env->config->resharding.identify_reserve,
                                            tg_steady_clock());
}

/* ---- life ---- */

struct tg_gate *tg_gate_new(const struct tg_manager_env *env, void (*refresh)(void *ctx), void *ctx)
{
  struct tg_gate *gate = tg_calloc(1, sizeof *gate);
  *gate = (struct tg_gate){.env = env, .refresh = refresh, .ctx = ctx};
  gate->timer = tg_timer_new(env->loop, gate);
  return gate;
}

void tg_gate_begin(struct tg_gate *gate, struct tg_ledger *ledger)
{
  gate->ledger = ledger;
}

void tg_gate_end(struct tg_gate *gate)
{
  uv_timer_stop(gate->timer);
}

void tg_gate_free(struct tg_gate *gate)
{
  tg_timer_free(gate->timer);
  free(gate);
}
