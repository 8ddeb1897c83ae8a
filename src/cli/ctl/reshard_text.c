#include "cli/ctl/figures.h"
#include "cli/ctl/reshard.h"

#include "base/human.h"

#include <inttypes.h>
#include <string.h>

static int64_t in_state(const json_t *running, const char *state)
{
  return tg_figure_number(json_object_get(running, "byState"), state);
}

/* How many classes are so far: of all hosts where several go over together, else in these states. */
static int64_t at_step(const json_t *running, const char *step, int64_t here)
{
  const json_t *everywhere = json_object_get(running, "everywhere");
  return everywhere ? tg_figure_number(everywhere, step) : here;
}

static int64_t over_here(const json_t *running)
{
  return in_state(running, "switched") + in_state(running, "settled") + in_state(running, "gone");
}

static int64_t classes_here(const json_t *running)
{
  const char *state;
  json_t *count;
  int64_t all = 0;
  json_object_foreach(json_object_get(running, "byState"), state, count) all += json_integer_value(count);
  return all;
}

void tg_ctl_reshard_step(const json_t *running, struct tg_buf *out)
{
  const char *phase = tg_figure_text(running, "phase");
  bool is_shared = json_object_get(running, "everywhere") != NULL;
  int64_t classes = tg_figure_number(running, "classes");
  int64_t gone = at_step(running, "closed", in_state(running, "gone"));
  int64_t settled = at_step(running, "settled", in_state(running, "settled") + gone);
  int64_t over = at_step(running, "switched", over_here(running));
  const struct {
    const char *phase, *text;
    int64_t done, all;
  } steps[] = {
      {"identifying", is_shared ? "classes with their new shards up" : "shards up",
       at_step(running, "up", tg_figure_number(running, "up")),
       is_shared ? classes : tg_figure_number(running, "to")},
      {"matching", is_shared ? "classes of this host ready" : "classes ready",
       in_state(running, "ready") + over_here(running), is_shared ? classes_here(running) : classes},
      {"switching", "classes over", over, classes},
      {"settling", "classes settled", settled, classes},
      {"closing", "classes without old shards", gone, classes},
      {"aborting", "classes still over", over, classes},
  };
  tg_human_safe(out, phase, false);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    if (strcmp(phase, steps[i].phase) == 0)
      tg_buf_printf(out, ", %" PRId64 " of %" PRId64 " %s", steps[i].done, steps[i].all, steps[i].text);
}

void tg_ctl_reshard_waiting(const json_t *object, struct tg_buf *out)
{
  const char *text = json_string_value(json_object_get(object, "waitsFor"));
  if (!text)
    return;
  tg_buf_puts(out, "; waits for ");
  tg_human_safe(out, text, false);
}

void tg_ctl_reshard_eta(const json_t *running, struct tg_buf *out)
{
  char left[TG_HUMAN_SIZE];
  int64_t eta;
  if (!tg_figure(running, "eta", &eta) || eta < 0)
    return;
  tg_human_seconds(eta, left, sizeof left);
  tg_buf_printf(out, ", about %s left", left);
}

int tg_ctl_reshard_filled(const json_t *running, int width)
{
  int64_t done = tg_figure_number(running, "duration"), left;
  int64_t over = at_step(running, "switched", over_here(running)) +
                 at_step(running, "closed", in_state(running, "gone"));
  if (!tg_figure(running, "eta", &left) || left < 0) {
    done = tg_figure_number(running, "up") + over;
    left = tg_figure_number(running, "to") + 2 * tg_figure_number(running, "classes") - done;
  }
  if (done <= 0 || left < 0)
    return 0;
  double share = (double)done / ((double)done + (double)left);
  return (int)(share * width);
}

void tg_ctl_reshard_end(const json_t *last, struct tg_buf *out)
{
  const char *reason = json_string_value(json_object_get(last, "reason"));
  tg_human_safe(out, tg_figure_text(last, "result"), false);
  tg_buf_printf(out, ": from %" PRId64 " to %" PRId64 " shards, %s, %s session starts",
                tg_figure_number(last, "from"), tg_figure_number(last, "to"),
                tg_figure_duration(last, "duration"), tg_figure_count(last, "identifies"));
  if (reason) {
    tg_buf_puts(out, "; ");
    tg_human_safe(out, reason, false);
  }
}
