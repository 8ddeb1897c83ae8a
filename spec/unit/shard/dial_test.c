/* From a URL to a WebSocket, against addresses that take a connection, refuse
 * it, stay mute or answer. The name is resolved by the test itself. */

#include "shard/dial.h"

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

enum manner { ABSENT, MUTE, UPGRADES, REFUSES, CLOSES, BABBLES };

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
  struct tg_dialer *dialer;
  struct tg_dial *dial;
  bool opened, ended, free_at_once;
  struct tg_stream *stream;
  char address[TG_ADDRESS_TEXT];
  char behind[64]; /* the upgrade */
  struct tg_dial_end end;
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
    at->sin_port = htons((uint16_t)atoi(world->url.port));
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
  assert_string_equal(node, "gateway.test");
  assert_string_equal(service, world->url.port);
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
                    "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n\r\nfirst", accept);
  assert_int_equal(send(fd, answer, (size_t)length, 0), length);
}

/* What the peer does once its client has sent a request. */
static void act(struct peer *peer, int index, const char *head)
{
  static const char refusal[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n";
  static const char babble[] = "220 smtp.test ESMTP\r\n";
  int fd = peer->accepted[index];
  if (peer->manner == UPGRADES)
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

static void on_stream_end(void *ctx, const struct tg_error *error)
{
  (void)ctx, (void)error;
}

static void on_open(void *ctx, struct tg_stream *stream, const struct tg_address *address, const char *bytes,
                    size_t length)
{
  static const struct tg_stream_callbacks callbacks = {.on_end = on_stream_end};
  assert_ptr_equal(ctx, world);
  world->opened = true;
  world->stream = stream;
  tg_stream_hand_over(stream, &callbacks, NULL);
  tg_address_text(address, world->address);
  snprintf(world->behind, sizeof world->behind, "%.*s", (int)length, bytes);
  if (world->free_at_once) {
    tg_dial_free(world->dial);
    world->dial = NULL;
  }
}

static void on_end(void *ctx, const struct tg_dial_end *end)
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
  tg_stream_close(world->stream, TG_STREAM_FIN);
  world->stream = NULL;
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
    snprintf(world->url.port, sizeof world->url.port, "%u", port);
    if (good)
      break;
    assert_true(attempt < 20);
  }
  world->known = count;
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
  world->dialer = tg_dialer_new(&world->loop, NULL, &error);
  return world->dialer ? 0 : -1;
}

static int teardown(void **state)
{
  (void)state;
  hang_up();
  close_peers();
  uv_run(&world->loop, UV_RUN_DEFAULT);
  tg_dialer_free(world->dialer);
  assert_int_equal(uv_loop_close(&world->loop), 0); /* no handle is left behind */
  free(world);
  return 0;
}

/* ---- the tests ---- */

static void hands_over_what_is_open(void **state)
{
  (void)state;
  set_peers(1, UPGRADES, ABSENT, ABSENT);
  dial(false);
  assert_false(world->opened);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.1");
  assert_string_equal(world->behind, "first");
}

static void may_be_freed_inside_its_callbacks(void **state)
{
  (void)state;
  world->free_at_once = true;
  set_peers(2, MUTE, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  hang_up();
  set_peers(2, ABSENT, REFUSES, ABSENT);
  dial(false);
  run_until(&world->ended);
  set_peers(2, ABSENT, ABSENT, ABSENT);
  dial(false);
  run_until(&world->ended);
}

static void goes_on_at_once_where_one_refuses_the_connection(void **state)
{
  (void)state;
  set_peers(3, ABSENT, ABSENT, UPGRADES);
  tg_ms began = tg_now();
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.3");
  assert_true(tg_now() - began < 3000);
}

static void goes_on_where_one_breaks_off_or_talks_nonsense(void **state)
{
  (void)state;
  set_peers(3, CLOSES, BABBLES, UPGRADES);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.3");
  assert_int_equal(world->peers[0].count, 1);
  assert_int_equal(world->peers[1].count, 1);
}

static void tries_others_beside_one_that_is_mute(void **state)
{
  (void)state;
  set_peers(2, MUTE, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");

  /* ... and begins with that one, from then on. */
  hang_up();
  tg_ms began = tg_now();
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");
  assert_true(tg_now() - began < 2000);
  assert_int_equal(world->peers[0].count, 1);
}

/* Turns the loop until somebody has connected to the peer. */
static void run_until_connected(const struct peer *peer, int count)
{
  for (tg_ms deadline = tg_now() + PATIENCE; peer->count < count && tg_now() < deadline;) {
    uv_run(&world->loop, UV_RUN_NOWAIT);
    on_tick(NULL);
  }
  assert_int_equal(peer->count, count);
}

static void begins_with_another_when_the_owner_has_lost_patience(void **state)
{
  (void)state;
  set_peers(2, MUTE, MUTE, ABSENT);
  dial(true);
  run_until_connected(&world->peers[1], 1); /* beside the first one, which has had its time */
  hang_up();
  dial(true);
  run_until_connected(&world->peers[1], 2);
  assert_int_equal(world->peers[0].count, 1);
}

static void blame_counts_for_the_next_one(void **state)
{
  (void)state;
  set_peers(2, UPGRADES, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.1");
  struct tg_address address;
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(world->url.port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  tg_address_set(&address, (struct sockaddr *)&at, sizeof at);
  tg_dialer_blame(world->dialer, &address);
  hang_up();
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");
}

static void an_answer_is_the_last_word(void **state)
{
  (void)state;
  set_peers(2, REFUSES, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_int_equal(world->end.http_status, 429);
  assert_int_equal(world->end.retry_after, 7000);
  assert_string_equal(world->end.error.code, "refused_upgrade");
  assert_int_equal(world->peers[1].count, 0);
}

static void tells_of_the_one_that_got_farthest(void **state)
{
  (void)state;
  set_peers(3, ABSENT, CLOSES, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_int_equal(world->end.http_status, 0);
  assert_string_equal(world->end.error.code, "eof");
  assert_non_null(strstr(world->end.error.message, "gateway.test (127.0.0.2)"));
}

static void tells_that_a_name_does_not_exist(void **state)
{
  (void)state;
  set_peers(0, ABSENT, ABSENT, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_string_equal(world->end.error.code, "resolve");
  assert_non_null(strstr(world->end.error.message, "the name gateway.test cannot be resolved"));
}

/* Nobody accepts, and no more connections fit into the queue. */
static void fill_queue(int fds[4 * ACCEPTED_MAX])
{
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(world->url.port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < 4 * ACCEPTED_MAX; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(fds[i], (struct sockaddr *)&at, sizeof at);
  }
}

static void may_be_freed_in_every_phase(void **state)
{
  (void)state;
  static const char *const words[] = {
      "the name gateway.test is not resolved", "gateway.test (127.0.0.1) does not take the connection",
      "gateway.test (127.0.0.1) is connected, but does not answer in TLS",
      "gateway.test (127.0.0.1) is connected, but does not answer the WebSocket "
      "upgrade"};
  for (int phase = 0; phase < 4; phase++) {
    char text[200] = "";
    int fds[4 * ACCEPTED_MAX];
    set_peers(1, MUTE, ABSENT, ABSENT);
    if (phase == 1)
      fill_queue(fds);
    dial(phase == 2);
    if (phase == 0)
      tg_dial_progress(world->dial, text, sizeof text);
    for (tg_ms deadline = tg_now() + PATIENCE; strcmp(text, words[phase]) != 0 && tg_now() < deadline;) {
      uv_run(&world->loop, UV_RUN_NOWAIT);
      tg_dial_progress(world->dial, text, sizeof text);
    }
    assert_string_equal(text, words[phase]);
    hang_up();
    uv_run(&world->loop, UV_RUN_NOWAIT);
    for (int i = 0; phase == 1 && i < 4 * ACCEPTED_MAX; i++)
      close(fds[i]);
  }
  assert_false(world->opened || world->ended);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(hands_over_what_is_open),
      TEST(may_be_freed_inside_its_callbacks),
      TEST(goes_on_at_once_where_one_refuses_the_connection),
      TEST(goes_on_where_one_breaks_off_or_talks_nonsense),
      TEST(tries_others_beside_one_that_is_mute),
      TEST(begins_with_another_when_the_owner_has_lost_patience),
      TEST(blame_counts_for_the_next_one),
      TEST(an_answer_is_the_last_word),
      TEST(tells_of_the_one_that_got_farthest),
      TEST(tells_that_a_name_does_not_exist),
      TEST(may_be_freed_in_every_phase),
  };
  setenv("TIDEGATE_HURRY", "10", 1); /* 300 ms for a handshake */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
