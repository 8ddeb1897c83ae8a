#include "script/api/http_slots.h"

#include "net/http_text.h"
#include "script/vm/state.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct tg_http_host {
  LIST_ENTRY(tg_http_host) link;
  TAILQ_HEAD(, tg_http_slot) waiting;
  int under_way, waiting_count;
  char name[];
};

/* Scheme, host and port. What is no URL fails all the same, wherever it is counted. */
static char *name_of_host(const char *url)
{
  struct tg_http_url parsed;
  struct tg_error ignored;
  char *name = tg_strdup(tg_http_url_parse(url, &parsed, &ignored) ? parsed.where : "");
  for (char *at = name; *at && !parsed.socket_path; at++)
    *at = (char)tolower((unsigned char)*at);
  tg_http_url_free(&parsed);
  return name;
}

/* NULL: nothing is under way there. */
static struct tg_http_host *find_host(const struct tg_script *script, const char *name)
{
  struct tg_http_host *host;
  LIST_FOREACH(host, &script->http_hosts, link)
  {
    if (strcmp(host->name, name) == 0)
      break;
  }
  return host;
}

bool tg_http_slots_are_full(const struct tg_script *script, const char *url)
{
  char *name = name_of_host(url);
  const struct tg_http_host *host = find_host(script, name);
  free(name);
  return host && host->waiting_count >= TG_HTTP_WAITING;
}

static struct tg_http_host *host_of(struct tg_script *script, const char *url)
{
  char *name = name_of_host(url);
  struct tg_http_host *host = find_host(script, name);
  if (!host) {
    host = tg_calloc(1, sizeof *host + strlen(name) + 1);
    memcpy(host->name, name, strlen(name) + 1);
    TAILQ_INIT(&host->waiting);
    LIST_INSERT_HEAD(&script->http_hosts, host, link);
  }
  free(name);
  return host;
}

bool tg_http_slot_take(struct tg_script *script, struct tg_http_slot *slot, const char *url,
                       void (*go)(struct tg_http_slot *slot))
{
  struct tg_http_host *host = host_of(script, url);
  *slot = (struct tg_http_slot){.host = host, .go = go, .waits = host->under_way == TG_HTTP_SLOTS};
  if (slot->waits) {
    TAILQ_INSERT_TAIL(&host->waiting, slot, link);
    host->waiting_count++;
  } else {
    host->under_way++;
  }
  return !slot->waits;
}

static void leave_queue(struct tg_http_slot *slot)
{
  TAILQ_REMOVE(&slot->host->waiting, slot, link);
  slot->host->waiting_count--;
  slot->waits = false;
}

void tg_http_slot_give(struct tg_script *script, struct tg_http_slot *slot)
{
  struct tg_http_host *host = slot->host;
  if (slot->waits)
    leave_queue(slot);
  else
    host->under_way--;
  struct tg_http_slot *next = TAILQ_FIRST(&host->waiting);
  if (next && host->under_way < TG_HTTP_SLOTS && !script->stopped) {
    leave_queue(next);
    host->under_way++;
    next->go(next);
  } else if (!next && host->under_way == 0) {
    LIST_REMOVE(host, link);
    free(host);
  }
}

const char *tg_http_slot_host(const struct tg_http_slot *slot, int *waiting)
{
  *waiting = slot->host->waiting_count;
  return slot->host->name;
}
