#include "cli/ctl/figures.h"
#include "cli/ctl/reshard.h"

#include "base/human.h"

#include <inttypes.h>
#include <string.h>

static int64_t in_state(const json_t *running, const char *state)
{
  return tg_figure_number(json_object_get(running, "byState"), state);
}

void tg_ctl_reshard_step(const json_t *running, struct tg_buf *out)
{
  const char *phase = tg_figure_text(running, "phase");
  int64_t classes = tg_figure_number(running, "classes"), gone = in_state(running, "gone");
  int64_t settled = in_state(running, "settled") + gone, over = in_state(running, "switched") + settled;
  const struct {
    const char *phase, *text;
    int64_t done, all;
  } steps[] = {
      {"identifying", "shards up", tg_figure_number(running, "up"), tg_figure_number(running, "to")},
      {"matching", "classes ready", in_state(running, "ready") + over, classes},
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
  int64_t over = in_state(running, "switched") + in_state(running, "settled") + 2 * in_state(running, "gone");
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
