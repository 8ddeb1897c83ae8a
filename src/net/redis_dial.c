#include "net/redis_dial.h"

#include "base/buf.h"
#include "base/timer.h"
#include "net/race.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 500 };

/* One address. */
struct redis_try {
  struct tg_redis_dial *dial;
  int index;
  bool securing; /* TCP stands */
  struct tg_stream *stream;
};

struct tg_redis_dial {
  uv_loop_t *loop;
  const struct tg_redis_url *url;
  struct tg_tls *tls;
  struct tg_address_memory *memory;
  struct tg_redis_dial_callbacks callbacks;
  void *ctx;
  uv_getaddrinfo_t *resolving; /* NULL: done */
  uv_timer_t *timer;           /* of the race */
  struct tg_addresses addresses;
  struct tg_race race;
  struct redis_try *tries[TG_ADDRESSES_MAX];
  struct tg_error error; /* of the try that got farthest */
  bool secured;          /* it failed in TLS */
};

static void advance(struct tg_redis_dial *dial);

/* Where that address is, for people. */
static void name_of(const struct tg_redis_dial *dial, int index, char *text, size_t size)
{
  char address[TG_ADDRESS_TEXT], which[TG_ADDRESS_TEXT + 8] = "";
  if (dial->url->host) {
    tg_address_text(&dial->addresses.list[index], address);
    if (strcmp(address, dial->url->host) != 0)
      snprintf(which, sizeof which, " (%s)", address);
  }
  snprintf(text, size, "Redis at %.400s%s", dial->url->name, which);
}

static void drop_try(struct tg_redis_dial *dial, int index)
{
  struct redis_try *try = dial->tries[index];
  dial->tries[index] = NULL;
  if (!try)
    return;
  tg_stream_close(try->stream, TG_STREAM_FIN);
  free(try);
}

/* Those that have had their time are tried later, next time. */
static void drop_all(struct tg_redis_dial *dial)
{
  tg_ms now = tg_now();
  for (int i = 0; i < dial->race.begun; i++) {
    if (dial->tries[i] && tg_race_is_late(&dial->race, i, now))
      tg_address_failed(dial->memory, &dial->addresses.list[i], now);
    drop_try(dial, i);
  }
}

static void lose(struct tg_redis_dial *dial)
{
  uv_timer_stop(dial->timer);
  drop_all(dial);
  dial->callbacks.on_end(dial->ctx, &dial->error);
}

static void win(struct redis_try *try)
{
  struct tg_redis_dial *dial = try->dial;
  struct tg_stream *stream = try->stream;
  struct tg_address address = dial->addresses.list[try->index];
  dial->tries[try->index] = NULL;
  free(try);
  uv_timer_stop(dial->timer);
  drop_all(dial);
  tg_address_worked(dial->memory, &address);
  dial->callbacks.on_open(dial->ctx, stream, &address);
}

/* ---- words ---- */

static const char take_tls[] =
    "does Redis take TLS on that port? The URL of one without TLS begins with redis://";

/* What is to be done is not in the words of the system. */
static const char *advice_for(const struct tg_redis_url *url, const struct tg_error *error)
{
  if (url->path && access(url->path, F_OK) != 0)
    return errno == ENOENT ? " (is Redis running, and is that its \"unixsocket\"?)" : "";
  if (url->path && access(url->path, W_OK) != 0)
    return " (this user may not write to the socket; see Redis' \"unixsocketperm\", and its group)";
  if (strcmp(error->code, "refused") == 0)
    return url->path ? " (is Redis running?)"
                     : " (is Redis running there, and is that address in its \"bind\"?)";
  return "";
}

static void explain_tls(const char *why, struct tg_error *error)
{
  if (strstr(why, "the certificate of "))
    tg_fail(error, "tls", "%s", why);
  else
    tg_fail(error, "tls", "%s (%s)", why, take_tls);
}

static void note_error(struct tg_redis_dial *dial, bool secured, const struct tg_error *error)
{
  if (dial->error.code[0] && dial->secured && !secured)
    return;
  dial->secured = secured;
  if (secured)
    explain_tls(error->message, &dial->error);
  else
    tg_fail(&dial->error, "refused", "%s%s", error->message, advice_for(dial->url, error));
}

void tg_redis_dial_progress(const struct tg_redis_dial *dial, char *text, size_t size)
{
  const struct redis_try *best = NULL;
  for (int i = 0; i < dial->race.begun; i++)
    if (dial->tries[i] && (!best || dial->tries[i]->securing))
      best = dial->tries[i];
  char name[NAME_SIZE];
  if (!best) {
    snprintf(text, size,
             dial->resolving ? "the name of %.400s is not resolved" : "Redis at %.400s is not tried yet",
             dial->url->name);
    return;
  }
  name_of(dial, best->index, name, sizeof name);
  if (best->securing)
    snprintf(text, size, "%s takes the connection, but does not answer in TLS (%s)", name, take_tls);
  else
    snprintf(text, size, "%s does not take the connection", name);
}

/* ---- one address ---- */

static void fail(struct redis_try *try, const struct tg_error *error)
{
  struct tg_redis_dial *dial = try->dial;
  note_error(dial, try->securing, error);
  if (try->securing)
    tg_address_failed(dial->memory, &dial->addresses.list[try->index], tg_now());
  tg_race_failed(&dial->race, try->index);
  drop_try(dial, try->index);
  advance(dial);
}

static void on_open(void *ctx)
{
  struct redis_try *try = ctx;
  struct tg_redis_dial *dial = try->dial;
  struct tg_error error;
  if (!dial->tls || try->securing) {
    win(try);
    return;
  }
  try->securing = true;
  tg_race_connected(&dial->race, try->index, tg_now());
  if (!tg_stream_secure(try->stream, dial->tls, dial->url->host, &error))
    fail(try, &error);
}

static void on_end(void *ctx, const struct tg_error *error)
{
  fail(ctx, error);
}

static void begin_try(struct tg_redis_dial *dial, int index)
{
  /* Nothing is read here. */
  static const struct tg_stream_callbacks callbacks = {.on_open = on_open, .on_end = on_end};
  struct tg_error error;
  char name[NAME_SIZE];
  struct redis_try *try = tg_calloc(1, sizeof *try);
  *try = (struct redis_try){.dial = dial, .index = index};
  name_of(dial, index, name, sizeof name);
  try->stream = tg_stream_connect(dial->loop, &dial->addresses.list[index], name, &callbacks, try, &error);
  if (try->stream) {
    dial->tries[index] = try;
    return;
  }
  free(try);
  note_error(dial, false, &error);
  tg_race_failed(&dial->race, index);
}

/* ---- the race ---- */

static void on_timer(uv_timer_t *timer)
{
  advance(timer->data);
}

static void advance(struct tg_redis_dial *dial)
{
  int index, give_up;
  while ((index = tg_race_next(&dial->race, tg_now(), &give_up)) >= 0) {
    if (give_up >= 0) {
      tg_address_failed(dial->memory, &dial->addresses.list[give_up], tg_now());
      drop_try(dial, give_up);
    }
    begin_try(dial, index);
  }
  if (tg_race_lost(&dial->race)) {
    lose(dial);
    return;
  }
  tg_ms due = tg_race_due(&dial->race);
  if (due >= 0)
    tg_timer_start(dial->timer, on_timer, due - tg_now());
  else
    uv_timer_stop(dial->timer);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
  struct tg_redis_dial *dial = request->data;
  free(request);
  if (dial) { /* not freed meanwhile */
    dial->resolving = NULL;
    tg_fail(&dial->error, "dns", "the name %s of %s cannot be resolved: %s", dial->url->host, dial->url->name,
            status ? uv_strerror(status) : "it has no address");
    tg_addresses_take(&dial->addresses, found);
    tg_addresses_sort(&dial->addresses, dial->memory, tg_now());
    tg_race_begin(&dial->race, dial->addresses.count);
    advance(dial);
  }
  uv_freeaddrinfo(found);
}

static void resolve(struct tg_redis_dial *dial)
{
  const struct tg_redis_url *url = dial->url;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
  dial->resolving = tg_calloc(1, sizeof *dial->resolving);
  dial->resolving->data = dial;
  /* Only a name that is no name fails at once; say so from the loop. */
  if (uv_getaddrinfo(dial->loop, dial->resolving, on_resolved, url->host, url->port, &hints) != 0)
    uv_getaddrinfo(dial->loop, dial->resolving, on_resolved, "invalid.", url->port, &hints);
}

struct tg_redis_dial *tg_redis_dial_begin(uv_loop_t *loop, const struct tg_redis_url *url, struct tg_tls *tls,
                                          struct tg_address_memory *memory,
                                          const struct tg_redis_dial_callbacks *callbacks, void *ctx)
{
  struct tg_redis_dial *dial = tg_calloc(1, sizeof *dial);
  dial->loop = loop;
  dial->url = url;
  dial->tls = tls;
  dial->memory = memory;
  dial->callbacks = *callbacks;
  dial->ctx = ctx;
  dial->timer = tg_timer_new(loop, dial);
  if (url->path) {
    tg_address_set_unix(&dial->addresses.list[0], url->path);
    dial->addresses.count = 1;
    tg_race_begin(&dial->race, 1);
    tg_timer_start(dial->timer, on_timer, 0);
  } else {
    resolve(dial);
  }
  return dial;
}

void tg_redis_dial_free(struct tg_redis_dial *dial)
{
  if (!dial)
    return;
  if (dial->resolving) {
    dial->resolving->data = NULL;
    uv_cancel((uv_req_t *)dial->resolving);
  }
  drop_all(dial);
  tg_timer_free(dial->timer);
  free(dial);
}
