#pragma once

/* How many requests of scripts are under way to one host: 16. Those that are more
 * wait for their turn here, in order, so that the time of a request begins when it
 * does, and a host that is slow does not keep others waiting. */

#include <stdbool.h>
#include <sys/queue.h>

enum {
  TG_HTTP_SLOTS = 16,
  TG_HTTP_WAITING = 1000, /* more do not begin to wait */
};

struct tg_script;
struct tg_http_host;

/* Of a request; the owner keeps it where it is until it is given back. */
struct tg_http_slot {
  TAILQ_ENTRY(tg_http_slot) link;
  struct tg_http_host *host;
  bool waits;
  void (*go)(struct tg_http_slot *slot);
};

/* Whether so many wait for that host that another one is not to. */
bool tg_http_slots_are_full(const struct tg_script *script, const char *url);

/* True: the request may start. False: `go` is called when it may. */
bool tg_http_slot_take(struct tg_script *script, struct tg_http_slot *slot, const char *url,
                       void (*go)(struct tg_http_slot *slot));

/* The request has ended, or waits no longer. The next one may start before this
 * returns. */
void tg_http_slot_give(struct tg_script *script, struct tg_http_slot *slot);

/* The host, as it may be told ("http://127.0.0.1:9000"), and how many wait for it.
 * Until the slot is given back. */
const char *tg_http_slot_host(const struct tg_http_slot *slot, int *waiting);
