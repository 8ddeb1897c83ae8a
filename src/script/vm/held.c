#include "script/vm/held.h"

#include "base/log.h"
#include "script/vm/sched.h"

#include <stdio.h>

/* "MESSAGE_CREATE (bot.lua:12)": what runs, and the function that it is. */
static void name_it(const struct tg_state *state, char *out, size_t size)
{
  const struct tg_owner *owner = &state->memory.owners[state->memory.owner];
  const char *what = state->what ? state->what : "the script", *path = state->script->path;
  if (owner->source[0] && owner->line > 0)
    snprintf(out, size, "%s (%s:%d)", what, owner->source, owner->line);
  else
    snprintf(out, size, path ? "%s (%s)" : "%s", what, path);
}

/* Once for all calls that are inside of each other: the innermost is to blame.
 * Time that stands still is the test kit's, and nobody waits there. */
void tg_held_tell(struct tg_state *state, tg_ms duration)
{
  struct tg_script *script = state->script;
  char name[200];
  unsigned more;
  if (state->held_told || script->clock || !script->state)
    return;
  state->held_told = true;
  name_it(state, name, sizeof name);
  if (tg_fault_heard(script, name, "held the loop", &more))
    return;
  tg_log_with(
      TG_WARN, state->running ? state->running->shard_id : state->shard_id,
      TG_WITH(TG_TOLD(METHOD, name), TG_TOLD_NUMBER(DURATION, duration), TG_NUMBER_IF(more > 0, HELD, more)),
      "%s held the loop for %lld ms: heartbeats, events and all else waited for it", name,
      (long long)duration);
}
