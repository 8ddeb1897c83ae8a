#include "proto/event_names.h"

#include "base/suggest.h"

#include <stddef.h>
#include <string.h>

static const char *const documented[] = {
#define X(name) #name,
    TG_EVENT_NAMES(X)
#undef X
};

enum { COUNT = sizeof documented / sizeof documented[0] };

bool tg_event_name_is_documented(const char *name)
{
  for (size_t i = 0; i < COUNT; i++) {
    if (strcmp(documented[i], name) == 0)
      return true;
  }
  return false;
}

const char *tg_event_name_suggest(const char *name)
{
  return tg_suggest(name, documented, COUNT);
}

static bool nearly_equal(const char *a, const char *b)
{
  size_t a_length = strlen(a), b_length = strlen(b), head = 0, tail = 0;
  size_t shorter = a_length < b_length ? a_length : b_length, longer = a_length + b_length - shorter;
  while (head < shorter && a[head] == b[head])
    head++;
  while (tail < shorter - head && a[a_length - 1 - tail] == b[b_length - 1 - tail])
    tail++;
  return longer - head - tail <= 2;
}

const char *tg_event_name_misspelt(const char *name)
{
  for (size_t i = 0; i < COUNT && !tg_event_name_is_documented(name); i++) {
    if (nearly_equal(documented[i], name))
      return tg_event_name_suggest(name);
  }
  return NULL;
}
