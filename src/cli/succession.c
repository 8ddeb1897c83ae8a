#include "cli/succession.h"

#include "base/buf.h"
#include "base/log.h"
#include "cli/image.h"
#include "cli/stand_in.h"
#include "manager/status.h"
#include "manager/upgrade/handed.h"
#include "shared/stats.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  LEAVE_PATIENCE = 300,                         /* ms for clients of the control API to take their answers */
  LOAD_PATIENCE = 10,                           /* s on top of the script's own time to load */
  PROBATION_PATIENCE = TG_HOST_PATIENCE / 1000, /* s, once that is over */
};

/* The callbacks get the `ctx` of the manager, which is the program: its first member. */
static struct tg_succession *of(void *ctx)
{
  return ctx;
}

static void rest(void *ctx, bool rest)
{
  struct tg_succession *succession = of(ctx);
  succession->rests_since = tg_now();
  tg_control_rest(*succession->control, rest);
}

static bool at_rest(void *ctx)
{
  const struct tg_succession *succession = of(ctx);
  return tg_control_at_rest(*succession->control) || tg_now() - succession->rests_since >= LEAVE_PATIENCE;
}

static int the_stand_in = -1; /* of this program's own beginning; for a signal handler */

static void on_return(void)
{
  tg_stand_in_act(the_stand_in);
}

/* Steals `manager`. */
static json_t *whole(const struct tg_succession *succession, json_t *manager)
{
  json_t *state =
      json_pack("{s:i, s:s, s:s, s:o, s:o}", "format", TG_HANDED_FORMAT, "version", TG_VERSION, "path",
                tg_image_path(), "manager", manager, "control", tg_control_hand_over(*succession->control));
  tg_handed_put_fd(state, "stats", succession->stats);
  return state;
}

static int show(void *ctx, json_t *manager)
{
  json_t *state = whole(of(ctx), manager);
  int fd = tg_handed_write(state);
  json_decref(state);
  return fd;
}

static int patience(const struct tg_succession *succession)
{
  const struct tg_config *config = tg_gateway_config(*succession->manager);
  if (config->cluster.url)
    return TG_HOST_PATIENCE / 1000;
  return LOAD_PATIENCE + (int)(config->script.load_budget / 1000);
}

static void execute(void *ctx, json_t *manager, bool back, struct tg_error *error)
{
  struct tg_succession *succession = of(ctx);
  json_t *state = whole(succession, manager);
  int stand_in = tg_stand_in_start(tg_control_socket(*succession->control));
  tg_handed_put_fd(state, "stand_in", stand_in);
  int count, *fds = tg_handed_fds(state, &count);
  struct tg_image_step step = {.path = back ? NULL : tg_image_path(),
                               .program = back ? tg_image_old() : -1,
                               .state = tg_handed_write(state),
                               .old = back ? -1 : tg_image_own(),
                               .patience = back ? 0 : patience(succession)};
  int *keep = tg_calloc((size_t)count + 2, sizeof *keep);
  if (count > 0)
    memcpy(keep, fds, (size_t)count * sizeof *keep);
  keep[count++] = step.state;
  if (step.old >= 0)
    keep[count++] = step.old;
  step.keep = keep;
  step.count = count;
  json_decref(state);
  if (step.state < 0)
    tg_fail(error, "upgrade_failed", "there is no memory for what the next program has to know");
  else
    tg_image_become(&step, error);
  if (step.state >= 0)
    close(step.state);
  if (stand_in >= 0)
    close(stand_in);
  free(keep);
  free(fds);
}

static void settled(void *ctx)
{
  (void)ctx;
  the_stand_in = -1; /* it ends with the descriptors that are closed here */
  tg_image_settled();
}

static void over(void *ctx)
{
  of(ctx)->of_manager.can_return = false;
  tg_image_settled();
  tg_image_forget_old();
}

/* ---- as the next program ---- */

static int stand_in_of(const json_t *handed)
{
  const json_t *fd = json_object_get(handed, "fd:stand_in");
  return json_is_integer(fd) ? (int)json_integer_value(fd) : -1;
}

static bool take(struct tg_succession *succession)
{
  int count, *fds;
  json_t *handed = tg_handed_read(tg_image_state());
  const char *path = json_string_value(json_object_get(handed, "path"));
  if (!handed || json_integer_value(json_object_get(handed, "format")) != TG_HANDED_FORMAT) {
    json_decref(handed);
    tg_image_guard(NULL, 0, on_return);
    tg_log(TG_ERROR, TG_NO_SHARD, "what the program before has handed on cannot be read");
    return false;
  }
  fds = tg_handed_fds(handed, &count);
  int *kept = tg_calloc((size_t)count + 2, sizeof *kept);
  if (count > 0)
    memcpy(kept, fds, (size_t)count * sizeof *kept);
  kept[count++] = tg_image_state();
  if (tg_image_old() >= 0)
    kept[count++] = tg_image_old();
  the_stand_in = stand_in_of(handed);
  tg_image_guard(kept, count, on_return);
  free(kept);
  free(fds);
  if (path)
    tg_image_set_path(path);
  succession->handed = handed;
  return true;
}

bool tg_succession_begin(struct tg_succession *succession, bool contained)
{
  succession->stats = -1;
  bool good = tg_image_state() < 0 || take(succession);
  succession->of_manager = (struct tg_successor){
      .path = tg_image_path(),
      .environment = tg_image_environment(),
      .container =
          contained
              ? "this is a container, whose program comes from its image: start one of the new image in "
                "its place, with the same state directory; the sessions are kept"
              : NULL,
      .handed = json_object_get(succession->handed, "manager"),
      .failure = tg_image_failure(),
      .can_return = tg_image_old() >= 0,
      .rest = rest,
      .at_rest = at_rest,
      .execute = execute,
      .show = show,
      .settled = settled,
      .over = over,
  };
  return good;
}

void tg_succession_attach_stats(struct tg_succession *succession)
{
  struct tg_error error;
  int fd = tg_handed_fd(succession->handed, "stats");
  struct tg_stats *handed = fd >= 0 ? tg_stats_map(fd, &error) : NULL;
  bool attached = handed && tg_stats_attach(tg_handed_copy(fd), &error);
  tg_stats_unmap(handed);
  if (!attached && fd >= 0)
    close(fd);
  struct tg_stats *made = attached ? NULL : tg_stats_make(&fd, &error);
  if (made) {
    tg_stats_unmap(made);
    attached = tg_stats_attach(tg_handed_copy(fd), &error);
  }
  succession->stats = attached ? fd : -1;
}

const json_t *tg_succession_control(const struct tg_succession *succession)
{
  return json_object_get(succession->handed, "control");
}

void tg_succession_listens(void)
{
  tg_stand_in_rest(the_stand_in);
  tg_image_wait(PROBATION_PATIENCE);
}

void tg_succession_fails(int exit_code)
{
  if (exit_code != TG_EXIT_OK)
    tg_image_go_back(exit_code);
}

void tg_succession_end(struct tg_succession *succession)
{
  tg_image_settled();
  json_decref(succession->handed);
  succession->handed = NULL;
}
