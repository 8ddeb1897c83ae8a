#pragma once

/* Addresses that take a connection, refuse it, stay mute or answer, and a dial to
 * them. The name is resolved by the test itself. */

#include "net/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

enum { PEERS = 3, ACCEPTED_MAX = 8, PATIENCE = 8000 };

/* UPGRADES and REFUSES are proxies, too: they let pass before they do so. */
enum manner { ABSENT, MUTE, UPGRADES, REFUSES, CLOSES, BABBLES, WANTS_LOGIN, CANNOT_CONNECT };

struct peer {
  enum manner manner;
  int listener;
  int accepted[ACCEPTED_MAX];
  int count;
};

struct world {
  uv_loop_t loop;
  struct peer peers[PEERS]; /* at 127.0.0.1, 127.0.0.2, ... */
  int known;                /* how many of them the name leads to */
  struct tg_gateway_url url;
  char port[8];      /* of the peers */
  bool proxied;      /* they are those of a proxy */
  char tunnel[2048]; /* the request for one */
  struct tg_proxies *proxies;
  struct tg_dialer *dialer;
  struct tg_dial *dial;
  bool opened, came, ended, free_at_once;
  struct tg_link *link;
  char address[TG_ADDRESS_TEXT];
  char first[64]; /* message */
  struct tg_ws_end end;
};

static struct world *world;

/* ---- the resolver, in the place of libuv's ---- */

struct lookup {
  uv_timer_t timer;
  uv_getaddrinfo_t *request;
  uv_getaddrinfo_cb done;
};

static struct addrinfo *found_addresses(void)
{
  struct addrinfo *first = NULL, **last = &first;
  for (int i = 0; i < world->known; i++) {
    struct addrinfo *found = calloc(1, sizeof *found);
    struct sockaddr_in *at = calloc(1, sizeof *at);
    at->sin_family = found->ai_family = AF_INET;
    at->sin_port = htons((uint16_t)atoi(world->port));
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i);
    found->ai_addr = (struct sockaddr *)at;
    found->ai_addrlen = sizeof *at;
    *last = found;
    last = &found->ai_next;
  }
  return first;
}

static void free_lookup(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_looked_up(uv_timer_t *timer)
{
  struct lookup *lookup = timer->data;
  struct addrinfo *found = found_addresses();
  lookup->done(lookup->request, found ? 0 : UV_EAI_NONAME, found);
  uv_close((uv_handle_t *)timer, free_lookup);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done, const char *node,
                   const char *service, const struct addrinfo *hints)
{
  (void)hints;
  assert_string_equal(node, world->proxied ? "proxy.test" : "gateway.test");
  assert_string_equal(service, world->port);
  struct lookup *lookup = calloc(1, sizeof *lookup);
  lookup->request = request;
  lookup->done = done;
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

/* ---- the addresses ---- */

static void answer_upgrade(int fd, const char *head)
{
  char proof[128], accept[64], answer[256];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size;
  const char *key = strstr(head, "Sec-WebSocket-Key: ");
  int length = snprintf(proof, sizeof proof, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
  EVP_Digest(proof, (size_t)length, digest, &size, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, (int)size);
  length = snprintf(answer, sizeof answer,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n\r\n\x81\x05" "first", accept);
  assert_int_equal(send(fd, answer, (size_t)length, 0), length);
}

/* What the peer does once its client has sent a request. */
static void act(struct peer *peer, int index, const char *head)
{
  static const char refusal[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n";
  static const char babble[] = "220 smtp.test ESMTP\r\n";
  static const char login[] = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
  static const char bad_gateway[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
  static const char established[] = "HTTP/1.0 200 Connection established\r\n\r\n";
  int fd = peer->accepted[index];
  bool connect = strncmp(head, "CONNECT ", 8) == 0;
  if (connect)
    snprintf(world->tunnel, sizeof world->tunnel, "%.1000s", head);
  if (connect && (peer->manner == UPGRADES || peer->manner == REFUSES))
    send(fd, established, sizeof established - 1, 0);
  else if (peer->manner == WANTS_LOGIN)
    send(fd, login, sizeof login - 1, 0);
  else if (peer->manner == CANNOT_CONNECT)
    send(fd, bad_gateway, sizeof bad_gateway - 1, 0);
  else if (peer->manner == UPGRADES)
    answer_upgrade(fd, head);
  else if (peer->manner == REFUSES)
    send(fd, refusal, sizeof refusal - 1, 0);
  else if (peer->manner == BABBLES)
    send(fd, babble, sizeof babble - 1, 0);
  else
    close(fd), peer->accepted[index] = -1;
}

static void serve(struct peer *peer)
{
  char head[2048];
  int fd;
  while (peer->listener >= 0 && peer->count < ACCEPTED_MAX &&
         (fd = accept4(peer->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
    peer->accepted[peer->count++] = fd;
  for (int i = 0; i < peer->count; i++) {
    ssize_t n = peer->manner == MUTE ? 0 : recv(peer->accepted[i], head, sizeof head - 1, 0);
    if (n > 0) {
      head[n] = '\0';
      act(peer, i, head);
    }
  }
}

static void on_tick(uv_timer_t *timer)
{
  (void)timer;
  for (int i = 0; i < PEERS; i++)
    serve(&world->peers[i]);
}

/* Turns the loop until the flag is set. */
static void run_until(const bool *flag)
{
  uv_timer_t tick;
  uv_timer_init(&world->loop, &tick);
  uv_timer_start(&tick, on_tick, 2, 2);
  tg_ms deadline = tg_now() + PATIENCE;
  while (!*flag && tg_now() < deadline)
    uv_run(&world->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&tick, NULL);
  uv_run(&world->loop, UV_RUN_NOWAIT);
  assert_true(*flag);
}

/* ---- callbacks ---- */

static void on_link_data(void *ctx, const void *bytes, size_t length)
{
  (void)ctx;
  snprintf(world->first, sizeof world->first, "%.*s", (int)length, (const char *)bytes);
}

static void on_link_message_end(void *ctx)
{
  (void)ctx;
  world->came = true;
}

static void on_link_end(void *ctx, const struct tg_ws_end *end)
{
  (void)ctx, (void)end;
}

static void on_open(void *ctx, struct tg_link *link, const struct tg_address *address)
{
  static const struct tg_ws_callbacks callbacks = {
      .on_data = on_link_data, .on_message_end = on_link_message_end, .on_end = on_link_end};
  assert_ptr_equal(ctx, world);
  world->opened = true;
  world->link = link;
  tg_link_hand_over(link, &callbacks, NULL);
  tg_address_text(address, world->address);
  if (world->free_at_once) {
    tg_dial_free(world->dial);
    world->dial = NULL;
  }
}

static void on_end(void *ctx, const struct tg_ws_end *end)
{
  assert_ptr_equal(ctx, world);
  assert_false(world->ended);
  world->ended = true;
  world->end = *end;
  if (world->free_at_once) {
    tg_dial_free(world->dial);
    world->dial = NULL;
  }
}

static void dial(bool tls)
{
  static const struct tg_dial_callbacks callbacks = {.on_open = on_open, .on_end = on_end};
  world->url.tls = tls;
  world->opened = world->ended = false;
  world->dial = tg_dial_begin(world->dialer, &world->url, &callbacks, world);
}

static void hang_up(void)
{
  tg_dial_free(world->dial);
  world->dial = NULL;
  tg_link_free(world->link);
  world->link = NULL;
}

/* ---- setting up ---- */

/* The peers have one port at different addresses. */
static bool listen_at(int index, uint16_t *port)
{
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons(*port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)index)};
  socklen_t size = sizeof at;
  world->peers[index].listener = fd;
  if (bind(fd, (struct sockaddr *)&at, size) != 0)
    return false;
  getsockname(fd, (struct sockaddr *)&at, &size);
  *port = ntohs(at.sin_port);
  return world->peers[index].manner == ABSENT || listen(fd, ACCEPTED_MAX) == 0;
}

static void close_peers(void)
{
  for (int i = 0; i < PEERS; i++) {
    struct peer *peer = &world->peers[i];
    for (int k = 0; k < peer->count; k++)
      if (peer->accepted[k] >= 0)
        close(peer->accepted[k]);
    if (peer->listener >= 0)
      close(peer->listener);
    peer->listener = -1;
    peer->count = 0;
  }
}

/* So many of the manners as the name has addresses. */
static void set_peers(int count, enum manner first, enum manner second, enum manner third)
{
  const enum manner manners[PEERS] = {first, second, third};
  for (int attempt = 0;; attempt++) {
    uint16_t port = 0;
    bool good = true;
    close_peers();
    for (int i = 0; i < PEERS && good; i++) {
      world->peers[i].manner = manners[i];
      good = listen_at(i, &port);
    }
    snprintf(world->port, sizeof world->port, "%u", port);
    if (good)
      break;
    assert_true(attempt < 20);
  }
  world->known = count;
  strcpy(world->url.port, world->proxied ? "443" : world->port);
}

static int setup(void **state)
{
  (void)state;
  struct tg_error error;
  world = calloc(1, sizeof *world);
  for (int i = 0; i < PEERS; i++)
    world->peers[i].listener = -1;
  uv_loop_init(&world->loop);
  strcpy(world->url.host, "gateway.test");
  strcpy(world->url.target, "/?v=10");
  world->dialer = tg_dialer_new(&world->loop, NULL, NULL, &error);
  return world->dialer ? 0 : -1;
}

static int teardown(void **state)
{
  (void)state;
  hang_up();
  close_peers();
  uv_run(&world->loop, UV_RUN_DEFAULT);
  tg_dialer_free(world->dialer);
  tg_proxies_free(world->proxies);
  assert_int_equal(uv_loop_close(&world->loop), 0); /* no handle is left behind */
  free(world);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
