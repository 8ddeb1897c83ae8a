#include "shared/class_state.h"

#include <stddef.h>
#include <string.h>

static const char *const names[TG_CLASS_STATES] = {
    [TG_CLASS_WAITING] = "waiting", [TG_CLASS_LOADING] = "loading",   [TG_CLASS_OVERLAP] = "overlap",
    [TG_CLASS_READY] = "ready",     [TG_CLASS_SWITCHED] = "switched", [TG_CLASS_SETTLED] = "settled",
    [TG_CLASS_GONE] = "gone",
};

int tg_class_count(int from, int to)
{
  while (to != 0) {
    int rest = from % to;
    from = to;
    to = rest;
  }
  return from;
}

const char *tg_class_state_name(enum tg_class_state state)
{
  return names[state];
}

bool tg_class_state_parse(const char *name, enum tg_class_state *state)
{
  for (int i = 0; name && i < TG_CLASS_STATES; i++) {
    if (strcmp(names[i], name) == 0) {
      *state = (enum tg_class_state)i;
      return true;
    }
  }
  return false;
}
