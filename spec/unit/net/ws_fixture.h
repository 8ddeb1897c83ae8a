#pragma once

/* A WebSocket of net/ws.h and the peer that it is connected to. What the callbacks
 * tell is kept here. Names are resolved by the test itself: nothing leaves loopback.
 *
 * The units know nothing of what carries the connection: they have to hold for
 * whatever stands behind net/ws.h. */

#include "net/ws.h"

#include "unit/net/tls_certificate.h"
#include "unit/net/ws_peer.h"

#include <dirent.h>
#include <signal.h>

enum { PEERS = 2 };

enum moment { NEVER, AT_OPEN, AT_DATA, AT_MESSAGE_END, AT_DRAIN, AT_END };

enum phase { RESOLVING, CONNECTING, SECURING, UPGRADING, HALF_ANSWERED, OPEN, MID_FRAME, CLOSING, PHASES };

struct world {
  uv_loop_t loop;
  int descriptors;          /* of the process before it all */
  struct peer peers[PEERS]; /* at 127.0.0.1, 127.0.0.2, of one port */
  struct peer *peer;        /* the one that the client comes to */
  int known;                /* how many of them a name leads to */
  struct tg_gateway_url url;
  struct tg_dialer *dialer;
  struct tg_ws *ws;
  enum moment react_at; /* inside which callback ... */
  void (*react)(void);  /* ... the test does something, once */
  bool opened, drained, ended;
  int messages;
  struct tg_buf heard; /* their bytes, each message with "|" behind it */
  struct tg_ws_end end;
  char reason[128];
  int crowd[64]; /* sockets that fill the queue of a listener */
};

static struct world *world;

/* The same for all tests of a program. */
static char ca_file[64];
static SSL_CTX *trusted_tls, *unknown_tls, *expired_tls;

#define WAIT_UNTIL(condition) PEER_WAIT(world->peer, condition)

/* ---- the resolver, in the place of libuv's ---- */

struct lookup {
  uv_timer_t timer;
  uv_getaddrinfo_t *request;
  uv_getaddrinfo_cb done;
  struct addrinfo *found;
};

static inline void add_address(struct addrinfo **first, int family, const void *address, const char *port)
{
  struct addrinfo *found = calloc(1, sizeof *found), **last = first;
  struct sockaddr_storage *at = calloc(1, sizeof *at);
  at->ss_family = (sa_family_t)family;
  if (family == AF_INET) {
    ((struct sockaddr_in *)at)->sin_port = htons((uint16_t)atoi(port));
    memcpy(&((struct sockaddr_in *)at)->sin_addr, address, sizeof(struct in_addr));
  } else {
    ((struct sockaddr_in6 *)at)->sin6_port = htons((uint16_t)atoi(port));
    memcpy(&((struct sockaddr_in6 *)at)->sin6_addr, address, sizeof(struct in6_addr));
  }
  found->ai_family = family;
  found->ai_socktype = SOCK_STREAM;
  found->ai_addr = (struct sockaddr *)at;
  found->ai_addrlen = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
  while (*last)
    last = &(*last)->ai_next;
  *last = found;
}

static inline struct addrinfo *find_addresses(const char *name, const char *port)
{
  struct addrinfo *found = NULL;
  struct in6_addr binary;
  if (inet_pton(AF_INET, name, &binary) == 1)
    add_address(&found, AF_INET, &binary, port);
  else if (inet_pton(AF_INET6, name, &binary) == 1)
    add_address(&found, AF_INET6, &binary, port);
  else
    for (int i = 0; i < world->known; i++) {
      struct in_addr at = {htonl(INADDR_LOOPBACK + (uint32_t)i)};
      add_address(&found, AF_INET, &at, port);
    }
  return found;
}

static inline void free_lookup(uv_handle_t *handle)
{
  free(handle->data);
}

static inline void on_looked_up(uv_timer_t *timer)
{
  struct lookup *lookup = timer->data;
  lookup->done(lookup->request, lookup->found ? 0 : UV_EAI_NONAME, lookup->found);
  uv_close((uv_handle_t *)timer, free_lookup);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done, const char *node,
                   const char *service, const struct addrinfo *hints)
{
  (void)hints;
  struct lookup *lookup = calloc(1, sizeof *lookup);
  request->type = UV_UNKNOWN_REQ; /* so that uv_cancel() finds nothing to cancel */
  lookup->request = request;
  lookup->done = done;
  lookup->found = find_addresses(node, service);
  uv_timer_init(loop, &lookup->timer);
  lookup->timer.data = lookup;
  uv_timer_start(&lookup->timer, on_looked_up, 0, 0);
  return 0;
}

void uv_freeaddrinfo(struct addrinfo *found)
{
  while (found) {
    struct addrinfo *next = found->ai_next;
    free(found->ai_addr);
    free(found);
    found = next;
  }
}

/* ---- callbacks ---- */

/* Nothing comes after the end, nor after tg_ws_free(). */
static inline void called(void *ctx, enum moment moment)
{
  assert_ptr_equal(ctx, world);
  assert_non_null(world->ws); /* never before tg_ws_open() has returned */
  assert_false(world->ended);
  world->ended = moment == AT_END;
  if (world->react_at != moment)
    return;
  world->react_at = NEVER;
  world->react();
}

static inline void on_open(void *ctx)
{
  assert_false(world->opened);
  world->opened = true;
  called(ctx, AT_OPEN);
}

static inline void on_data(void *ctx, const void *bytes, size_t length)
{
  assert_true(world->opened);
  tg_buf_append(&world->heard, bytes, length);
  called(ctx, AT_DATA);
}

static inline void on_message_end(void *ctx)
{
  tg_buf_puts(&world->heard, "|");
  world->messages++;
  called(ctx, AT_MESSAGE_END);
}

static inline void on_drain(void *ctx)
{
  assert_int_equal(tg_ws_unsent(world->ws), 0);
  world->drained = true;
  called(ctx, AT_DRAIN);
}

static inline void on_end(void *ctx, const struct tg_ws_end *end)
{
  world->end = *end;
  snprintf(world->reason, sizeof world->reason, "%s", end->reason);
  world->end.reason = world->reason;
  called(ctx, AT_END);
}

/* ---- what tests do ---- */

static inline void use_tls(SSL_CTX *context)
{
  world->url.tls = context != NULL;
  world->peer->tls = context;
}

static inline void open_ws(void)
{
  static const struct tg_ws_callbacks callbacks = {.on_open = on_open,
                                                   .on_data = on_data,
                                                   .on_message_end = on_message_end,
                                                   .on_drain = on_drain,
                                                   .on_end = on_end};
  world->opened = world->drained = world->ended = false;
  world->messages = 0;
  world->heard.length = 0;
  world->ws = tg_ws_open(&world->loop, world->dialer, &world->url, &callbacks, world);
  assert_non_null(world->ws);
}

/* That callback will do that, once. */
static inline void prepare(enum moment moment, void (*react)(void))
{
  world->react_at = moment;
  world->react = react;
}

static inline bool has_reacted(void)
{
  return world->react_at == NEVER;
}

static inline void drop_ws(void)
{
  tg_ws_free(world->ws);
  world->ws = NULL;
  peer_hang_up(world->peer);
}

/* Opens one, and lets it in. */
static inline void connect_ws(void)
{
  open_ws();
  peer_accept(world->peer);
  peer_take_request(world->peer);
  peer_answer(world->peer);
  WAIT_UNTIL(world->opened);
}

/* A queue that is full: who connects is not answered. */
static inline void fill_queue(void)
{
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(world->peer->port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (size_t i = 0; i < sizeof world->crowd / sizeof *world->crowd; i++) {
    world->crowd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(world->crowd[i], (struct sockaddr *)&at, sizeof at);
  }
}

static inline void empty_queue(void)
{
  struct pollfd waiting = {.fd = world->peer->listener, .events = POLLIN};
  for (size_t i = 0; i < sizeof world->crowd / sizeof *world->crowd; i++) {
    if (world->crowd[i] >= 0)
      close(world->crowd[i]);
    world->crowd[i] = -1;
  }
  while (world->peer->listener >= 0 && poll(&waiting, 1, 0) == 1 && peer_accept_now(world->peer))
    peer_hang_up(world->peer);
}

static inline bool phase_exists(enum phase phase, bool tls)
{
  return phase != SECURING || tls;
}

/* Opens one, and brings it so far. */
static inline void reach(enum phase phase)
{
  struct peer *peer = world->peer;
  if (phase == CONNECTING)
    fill_queue();
  open_ws();
  if (phase == CONNECTING)
    peer_let_it_look(peer);
  if (phase <= CONNECTING)
    return;
  peer_accept(peer);
  if (phase == SECURING) {
    char byte;
    WAIT_UNTIL(recv(peer->fd, &byte, 1, MSG_PEEK) == 1);
    return;
  }
  peer_take_request(peer);
  if (phase == HALF_ANSWERED) {
    peer_say(peer, "HTTP/1.1 101 Switching Protocols\r\nUpgr");
    peer_let_it_look(peer);
  }
  if (phase < OPEN)
    return;
  peer_answer(peer);
  WAIT_UNTIL(world->opened);
  uint64_t before = tg_ws_received(world->ws);
  if (phase == MID_FRAME) {
    peer_send(peer, "\x81\x05he", 4);
    WAIT_UNTIL(tg_ws_received(world->ws) > before);
  } else if (phase == CLOSING) {
    tg_ws_close(world->ws, 4000, "bye", PATIENCE);
    peer_expect(peer, CLOSE,
                "\x0f\xa0"
                "bye",
                5);
  }
}

static inline void assert_heard(const char *text)
{
  assert_int_equal(world->heard.length, strlen(text));
  if (text[0])
    assert_memory_equal(world->heard.data, text, strlen(text));
}

/* It has ended by itself, and not by a close frame of the peer. */
static inline void assert_failed_with(const char *code)
{
  assert_string_equal(world->end.error.code, code);
  assert_true(world->end.error.message[0]);
  assert_int_equal(world->end.code, 1006);
  assert_string_equal(world->end.reason, "");
}

/* It has ended by a close frame of the peer. */
static inline void assert_closed_with(int code, const char *reason)
{
  assert_string_equal(world->end.error.code, "");
  assert_int_equal(world->end.code, code);
  assert_string_equal(world->end.reason, reason);
  assert_int_equal(world->end.http_status, 0);
}

/* ---- setting up ---- */

static inline int count_descriptors(void)
{
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  while (directory && readdir(directory))
    count++;
  closedir(directory);
  return count;
}

/* Both peers have one port; the first one alone listens. */
static inline void bind_peers(void)
{
  for (int attempt = 0;; attempt++) {
    uint16_t port = 0;
    for (int i = 0; i < PEERS; i++)
      peer_stop_listening(&world->peers[i]);
    if (peer_bind_ipv4(&world->peers[0], 0, &port) && peer_bind_ipv4(&world->peers[1], 1, &port))
      break;
    assert_true(attempt < 20);
  }
  assert_int_equal(listen(world->peer->listener, 8), 0);
  strcpy(world->url.port, world->peer->port);
}

static inline int setup(void **state)
{
  (void)state;
  struct tg_error error;
  world = calloc(1, sizeof *world);
  world->descriptors = count_descriptors();
  world->peer = &world->peers[0];
  world->known = 1;
  memset(world->crowd, -1, sizeof world->crowd);
  uv_loop_init(&world->loop);
  for (int i = 0; i < PEERS; i++) {
    world->peers[i].loop = &world->loop;
    world->peers[i].listener = world->peers[i].fd = -1;
  }
  bind_peers();
  strcpy(world->url.host, "gateway.test");
  strcpy(world->url.target, "/?v=10");
  world->dialer = tg_dialer_new(&world->loop, ca_file, NULL, &error);
  return world->dialer ? 0 : -1;
}

/* What stands behind a dialer may need turns of the loop to go away. */
static inline bool loop_is_over(void)
{
  return uv_loop_close(&world->loop) == 0;
}

static inline int teardown(void **state)
{
  (void)state;
  drop_ws();
  empty_queue();
  tg_dialer_free(world->dialer);
  for (int i = 0; i < PEERS; i++) {
    peer_hang_up(&world->peers[i]);
    peer_stop_listening(&world->peers[i]);
    tg_buf_free(&world->peers[i].in);
  }
  tg_ms deadline = tg_now() + PATIENCE;
  while (!loop_is_over()) {
    if (tg_now() > deadline)
      fail_msg("something on the loop is left behind");
    uv_run(&world->loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(count_descriptors(), world->descriptors);
  tg_buf_free(&world->heard);
  free(world);
  return 0;
}

/* The first loop of a process opens what stays. */
static inline int setup_all(void **state)
{
  (void)state;
  uv_loop_t loop;
  uv_loop_init(&loop);
  uv_loop_close(&loop);
  signal(SIGPIPE, SIG_IGN);
  snprintf(ca_file, sizeof ca_file, "/tmp/tidegate-ws-XXXXXX");
  int fd = mkstemp(ca_file);
  FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!file)
    return -1;
  trusted_tls = make_tls_server("trusted", 10, file);
  expired_tls = make_tls_server("expired", 0, file);
  unknown_tls = make_tls_server("unknown", 10, NULL);
  return fclose(file);
}

static inline int teardown_all(void **state)
{
  (void)state;
  SSL_CTX_free(trusted_tls);
  SSL_CTX_free(expired_tls);
  SSL_CTX_free(unknown_tls);
  unlink(ca_file);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define RUN_TESTS(tests) cmocka_run_group_tests(tests, setup_all, teardown_all)
