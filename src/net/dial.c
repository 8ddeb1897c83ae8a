#include "net/dial.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "net/race.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "net/tunnel.h"
#include "proto/close_code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tg_dialer {
  uv_loop_t *loop;
  struct tg_link_context *links;
  struct tg_resolver *resolver;
  const struct tg_proxies *proxies;
  struct tg_address_memory memory;
};

enum { NAME_SIZE = 360 };

enum stage { RESOLVING, CONNECTING, TUNNELLING, SECURING, UPGRADING };

/* One address. */
struct
try {
  struct tg_dial *dial;
  int index;
  enum stage stage;
  struct tg_stream *stream; /* up to the tunnel */
  struct tg_tunnel tunnel;
  struct tg_link *link; /* from TLS on */
};

struct tg_dial {
  struct tg_dialer *dialer;
  struct tg_gateway_url url;
  struct tg_dial_callbacks callbacks;
  void *ctx;
  const struct tg_proxy *proxy; /* NULL: direct */
  struct tg_lookup *lookup;     /* NULL: done */
  uv_timer_t *timer;            /* of the race */
  struct tg_addresses addresses;
  struct tg_race race;
  struct try *tries[TG_ADDRESSES_MAX];
  struct tg_error error; /* of the try that got farthest */
  enum stage farthest;
};

struct tg_dialer *tg_dialer_new(uv_loop_t *loop, const char *ca_file, const struct tg_proxies *proxies,
                                struct tg_error *error)
{
  struct tg_link_context *links = tg_link_context_new(loop, ca_file, error);
  if (!links)
    return NULL;
  struct tg_dialer *dialer = tg_calloc(1, sizeof *dialer);
  dialer->loop = loop;
  dialer->links = links;
  dialer->resolver = tg_resolver_new(loop);
  dialer->proxies = proxies;
  return dialer;
}

void tg_dialer_free(struct tg_dialer *dialer)
{
  if (!dialer)
    return;
  tg_link_context_free(dialer->links);
  tg_resolver_free(dialer->resolver);
  free(dialer);
}

void tg_dialer_blame(struct tg_dialer *dialer, const struct tg_address *address)
{
  tg_address_failed(&dialer->memory, address, tg_now());
}

/* ---- ends ---- */

static void note_error(struct tg_dial *dial, enum stage stage, const struct tg_error *error)
{
  if (dial->error.code[0] && stage < dial->farthest)
    return;
  dial->error = *error;
  dial->farthest = stage;
}

static void drop_try(struct tg_dial *dial, int index)
{
  struct try *try = dial->tries[index];
  dial->tries[index] = NULL;
  if (!try)
    return;
  tg_stream_close(try->stream, TG_STREAM_FIN);
  tg_link_free(try->link);
  free(try);
}

static enum stage stage_of(const struct try *try)
{
  if (!try->link)
    return try->stage;
  return tg_link_stage(try->link) == TG_LINK_SECURING ? SECURING : UPGRADING;
}

static const char *mute_in(enum stage stage)
{
  static const char *const words[] = {
      [TUNNELLING] = "does not answer CONNECT",
      [SECURING] = "does not answer in TLS",
      [UPGRADING] = "does not answer the WebSocket upgrade",
  };
  return words[stage];
}

/* Whoever is at the other end in that stage, for people. */
static void name_of(const struct tg_dial *dial, int index, enum stage stage, char *text, size_t size)
{
  const struct tg_proxy *proxy = dial->proxy;
  const char *host = proxy ? proxy->host : dial->url.host;
  char address[TG_ADDRESS_TEXT], which[TG_ADDRESS_TEXT + 8] = "";
  tg_address_text(&dial->addresses.list[index], address);
  if (strcmp(address, host) != 0)
    snprintf(which, sizeof which, " (%s)", address);
  if (!proxy)
    snprintf(text, size, "%.200s%s", host, which);
  else
    snprintf(text, size, "%.100s%sthe proxy %.100s%s", stage > TUNNELLING ? dial->url.host : "",
             stage > TUNNELLING ? " behind " : "", proxy->where, which);
}

/* That another address came through shows whose fault it is. */
static void tell_of_mute_address(struct tg_dial *dial, int index)
{
  const struct tg_address *address = &dial->addresses.list[index];
  enum stage stage = stage_of(dial->tries[index]);
  char name[NAME_SIZE];
  if (stage == CONNECTING || tg_address_is_bad(&dial->dialer->memory, address, tg_now()))
    return;
  name_of(dial, index, stage, name, sizeof name);
  tg_log(TG_WARN, TG_NO_SHARD,
         "%s takes connections, but %s: another address is used, and is tried first from now on", name,
         mute_in(stage));
}

/* Those that have had their time are tried later, next time. */
static void drop_all(struct tg_dial *dial, bool another_is_through)
{
  tg_ms now = tg_now();
  for (int i = 0; i < dial->race.begun; i++) {
    if (dial->tries[i] && tg_race_is_late(&dial->race, i, now)) {
      if (another_is_through)
        tell_of_mute_address(dial, i);
      tg_dialer_blame(dial->dialer, &dial->addresses.list[i]);
    }
    drop_try(dial, i);
  }
}

static void lose(struct tg_dial *dial, int http_status, tg_ms retry_after)
{
  struct tg_ws_end end = {.code = TG_CLOSE_NONE,
                          .reason = "",
                          .http_status = http_status,
                          .retry_after = retry_after,
                          .error = dial->error};
  uv_timer_stop(dial->timer);
  drop_all(dial, false);
  dial->callbacks.on_end(dial->ctx, &end);
}

static void win(struct tg_dial *dial, int index)
{
  struct tg_link *link = dial->tries[index]->link;
  struct tg_address address = dial->addresses.list[index];
  free(dial->tries[index]);
  dial->tries[index] = NULL;
  uv_timer_stop(dial->timer);
  drop_all(dial, true);
  tg_address_worked(&dial->dialer->memory, &address);
  dial->callbacks.on_open(dial->ctx, link, &address);
}

/* ---- one address ---- */

static void advance(struct tg_dial *dial);

static void fail(struct try *try, const struct tg_error *error)
{
  struct tg_dial *dial = try->dial;
  note_error(dial, stage_of(try), error);
  if (try->stage > CONNECTING)
    tg_dialer_blame(dial->dialer, &dial->addresses.list[try->index]);
  tg_race_failed(&dial->race, try->index);
  drop_try(dial, try->index);
  advance(dial);
}

/* An answer is the last word, whatever other addresses there are: who is refused
 * does not come again by another door. */
static void refuse(struct try *try, const struct tg_ws_end *end)
{
  struct tg_dial *dial = try->dial;
  dial->error = end->error;
  if (end->http_status >= 500)
    tg_dialer_blame(dial->dialer, &dial->addresses.list[try->index]);
  lose(dial, end->http_status, end->retry_after);
}

static void on_link_open(void *ctx)
{
  struct try *try = ctx;
  win(try->dial, try->index);
}

static void on_link_end(void *ctx, const struct tg_ws_end *end)
{
  struct try *try = ctx;
  if (end->http_status)
    refuse(try, end);
  else
    fail(try, &end->error);
}

/* TCP stands, all the way. */
static void begin_link(struct try *try)
{
  static const struct tg_ws_callbacks link_callbacks = {.on_open = on_link_open, .on_end = on_link_end};
  struct tg_dial *dial = try->dial;
  struct tg_error error;
  char name[NAME_SIZE];
  name_of(dial, try->index, SECURING, name, sizeof name);
  int fd = tg_stream_release(try->stream);
  try->stream = NULL;
  try->stage = SECURING;
  try->link = tg_link_begin(dial->dialer->links, fd, &dial->url, name, &link_callbacks, try, &error);
  if (!try->link)
    fail(try, &error);
}

static void begin_tunnel(struct try *try)
{
  struct tg_dial *dial = try->dial;
  struct tg_buf request = {0};
  try->stage = TUNNELLING;
  tg_tunnel_request(&try->tunnel, dial->proxy, dial->url.host, dial->url.port, &request);
  tg_stream_write(try->stream, request.data, request.length);
  tg_buf_free(&request);
}

static void on_open(void *ctx)
{
  struct try *try = ctx;
  tg_race_connected(&try->dial->race, try->index, tg_now());
  if (try->dial->proxy)
    begin_tunnel(try);
  else
    begin_link(try);
}

static void receive_tunnel(void *ctx, const char *bytes, size_t length)
{
  struct try *try = ctx;
  struct tg_dial *dial = try->dial;
  ssize_t used = tg_tunnel_feed(&try->tunnel, bytes, length);
  struct tg_error error;
  char to[300];
  if (used < 0 || (tg_tunnel_stands(&try->tunnel) && (size_t)used < length)) {
    tg_fail(&error, "proxy", "the proxy %s (%s) does not answer CONNECT as HTTP has it", dial->proxy->where,
            dial->proxy->variable);
    fail(try, &error);
  } else if (tg_tunnel_stands(&try->tunnel)) {
    begin_link(try);
  } else if (try->tunnel.complete) {
    snprintf(to, sizeof to, "%s:%s", dial->url.host, dial->url.port);
    tg_proxy_explain_refusal(dial->proxy, try->tunnel.status, to, &dial->error);
    lose(dial, 0, -1);
  }
}

/* A connection that ends while a proxy is asked would look like Discord's doing. */
static void on_end(void *ctx, const struct tg_error *error)
{
  struct try *try = ctx;
  const struct tg_proxy *proxy = try->dial->proxy;
  struct tg_error cut;
  if (proxy && try->stage == TUNNELLING) {
    tg_fail(&cut, "proxy", "the proxy %s (%s) broke the connection off when it was asked for %s:%s",
            proxy->where, proxy->variable, try->dial->url.host, try->dial->url.port);
    error = &cut;
  }
  fail(try, error);
}

static const struct tg_stream_callbacks stream_callbacks = {
    .on_open = on_open, .on_data = receive_tunnel, .on_end = on_end};

static void begin_try(struct tg_dial *dial, int index)
{
  struct tg_error error;
  char name[NAME_SIZE];
  struct try *try = tg_calloc(1, sizeof *try);
  *try = (struct try){.dial = dial, .index = index, .stage = CONNECTING};
  name_of(dial, index, CONNECTING, name, sizeof name);
  try->stream = tg_stream_connect(dial->dialer->loop, &dial->addresses.list[index], name, &stream_callbacks,
                                  try, &error);
  if (try->stream) {
    dial->tries[index] = try;
    return;
  }
  free(try);
  note_error(dial, CONNECTING, &error);
  tg_race_failed(&dial->race, index);
}

/* ---- the race ---- */

static void on_timer(uv_timer_t *timer)
{
  advance(timer->data);
}

static void advance(struct tg_dial *dial)
{
  int index, give_up;
  while ((index = tg_race_next(&dial->race, tg_now(), &give_up)) >= 0) {
    if (give_up >= 0) {
      tg_dialer_blame(dial->dialer, &dial->addresses.list[give_up]);
      drop_try(dial, give_up);
    }
    begin_try(dial, index);
  }
  if (tg_race_lost(&dial->race)) {
    lose(dial, 0, -1);
    return;
  }
  tg_ms due = tg_race_due(&dial->race);
  if (due >= 0)
    tg_timer_start(dial->timer, on_timer, due - tg_now());
  else
    uv_timer_stop(dial->timer);
}

static void begin_race(struct tg_dial *dial)
{
  tg_addresses_sort(&dial->addresses, &dial->dialer->memory, tg_now());
  tg_race_begin(&dial->race, dial->addresses.count);
  if (tg_proxy_tunnels(dial->proxy, dial->url.host, &dial->error))
    advance(dial);
  else
    lose(dial, 0, -1);
}

static void on_looked_up(void *ctx, int status, const struct tg_addresses *addresses)
{
  struct tg_dial *dial = ctx;
  const char *why = status ? uv_strerror(status) : "it has no address";
  dial->lookup = NULL;
  dial->addresses = *addresses;
  if (dial->proxy)
    tg_fail(&dial->error, "proxy", "the name of the proxy %s (%s) cannot be resolved: %s", dial->proxy->where,
            dial->proxy->variable, why);
  else
    tg_fail(&dial->error, "resolve", "the name %s cannot be resolved: %s", dial->url.host, why);
  begin_race(dial);
}

static void on_known(uv_timer_t *timer)
{
  begin_race(timer->data);
}

static void resolve(struct tg_dial *dial)
{
  struct tg_resolver *resolver = dial->dialer->resolver;
  const char *host = dial->proxy ? dial->proxy->host : dial->url.host;
  const char *port = dial->proxy ? dial->proxy->port : dial->url.port;
  const struct tg_addresses *known = tg_resolver_recall(resolver, host, port);
  if (!known) {
    dial->lookup = tg_lookup_begin(resolver, host, port, on_looked_up, dial);
    return;
  }
  dial->addresses = *known;
  tg_timer_start(dial->timer, on_known, 0);
}

struct tg_dial *tg_dial_begin(struct tg_dialer *dialer, const struct tg_gateway_url *url,
                              const struct tg_dial_callbacks *callbacks, void *ctx)
{
  struct tg_dial *dial = tg_calloc(1, sizeof *dial);
  dial->dialer = dialer;
  dial->url = *url;
  dial->callbacks = *callbacks;
  dial->ctx = ctx;
  dial->timer = tg_calloc(1, sizeof *dial->timer);
  uv_timer_init(dialer->loop, dial->timer);
  dial->timer->data = dial;
  dial->proxy = tg_proxy_for(dialer->proxies, url->tls, url->host);
  resolve(dial);
  return dial;
}

static void free_handle(uv_handle_t *handle)
{
  free(handle);
}

void tg_dial_free(struct tg_dial *dial)
{
  if (!dial)
    return;
  tg_lookup_free(dial->lookup);
  drop_all(dial, false);
  uv_close((uv_handle_t *)dial->timer, free_handle);
  free(dial);
}

void tg_dial_progress(const struct tg_dial *dial, char *text, size_t size)
{
  const struct try *best = NULL;
  for (int i = 0; i < dial->race.begun; i++)
    if (dial->tries[i] && (!best || stage_of(dial->tries[i]) > stage_of(best)))
      best = dial->tries[i];
  char name[NAME_SIZE];
  if (!best) {
    snprintf(text, size, "the name %s is not resolved", dial->proxy ? dial->proxy->host : dial->url.host);
    return;
  }
  name_of(dial, best->index, stage_of(best), name, sizeof name);
  if (stage_of(best) == CONNECTING)
    snprintf(text, size, "%s does not take the connection", name);
  else
    snprintf(text, size, "%s is connected, but %s", name, mute_in(stage_of(best)));
}
