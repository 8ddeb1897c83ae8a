/* Many connections of one dialer at once: none keeps another one waiting, and what
 * is told of one is told to that one. */

#include "ws_fixture.h"

enum { MANY = 60 };

struct client {
  struct tg_ws *ws;
  struct peer peer; /* without a listener of its own */
  bool opened, ended;
  int messages, code;
  struct tg_buf heard;
};

static struct client clients[MANY];

/* The callback in which one frees all others, once. */
static enum moment frees_others;
static void free_all(struct client *but)
{
  for (int i = 0; i < MANY; i++)
    if (&clients[i] != but) {
      tg_ws_free(clients[i].ws);
      clients[i].ws = NULL;
    }
}

static void free_others(enum moment moment, struct client *client)
{
  if (frees_others != moment)
    return;
  frees_others = NEVER;
  free_all(client);
}

static void on_client_open(void *ctx)
{
  struct client *client = ctx;
  client->opened = true;
}

static void on_client_data(void *ctx, const void *bytes, size_t length)
{
  struct client *client = ctx;
  if (client->heard.length < 1024) /* what a flood brings is not of interest */
    tg_buf_append(&client->heard, bytes, length);
}

static void on_client_message_end(void *ctx)
{
  struct client *client = ctx;
  assert_non_null(client->ws);
  client->messages++;
  free_others(AT_MESSAGE_END, client);
}

static void on_client_drain(void *ctx)
{
  (void)ctx;
}

static void on_client_end(void *ctx, const struct tg_ws_end *end)
{
  struct client *client = ctx;
  assert_non_null(client->ws);
  assert_false(client->ended);
  client->ended = true;
  client->code = end->code;
  free_others(AT_END, client);
}

/* One by one, so that each has the peer that belongs to it. */
static void connect_client(int index)
{
  static const struct tg_ws_callbacks callbacks = {.on_open = on_client_open,
                                                   .on_data = on_client_data,
                                                   .on_message_end = on_client_message_end,
                                                   .on_drain = on_client_drain,
                                                   .on_end = on_client_end};
  struct client *client = &clients[index];
  *client = (struct client){0};
  client->ws = tg_ws_open(&world->loop, world->dialer, &world->url, &callbacks, client);
  peer_accept(world->peer);
  peer_take_request(world->peer);
  client->peer = *world->peer;
  world->peer->fd = -1;
  world->peer->ssl = NULL;
  world->peer->in = (struct tg_buf){0};
  world->peer->taken = 0;
}

static void drop_client(struct client *client)
{
  tg_ws_free(client->ws);
  client->ws = NULL;
  peer_hang_up(&client->peer);
  tg_buf_free(&client->peer.in);
  tg_buf_free(&client->heard);
}

static int count(bool (*is_so)(const struct client *client))
{
  int number = 0;
  for (int i = 0; i < MANY; i++)
    number += is_so(&clients[i]);
  return number;
}

static bool has_heard_one(const struct client *client)
{
  return client->messages >= 1;
}
static bool has_heard_two(const struct client *client)
{
  return client->messages >= 2;
}
static bool has_ended(const struct client *client)
{
  return client->ended;
}

/* Each gets a number of its own behind the answer, in another record: all of them
 * lie there before any of the clients looks. */
static void answer_all(void)
{
  for (int i = 0; i < MANY; i++) {
    char text[16];
    peer_answer(&clients[i].peer);
    snprintf(text, sizeof text, "first %d", i);
    peer_send_text(&clients[i].peer, text);
  }
}

static void assert_each_heard(const char *format)
{
  for (int i = 0; i < MANY; i++) {
    char text[64];
    struct client *client = &clients[i];
    int length = snprintf(text, sizeof text, "first %d", i);
    snprintf(text + length, sizeof text - (size_t)length, "%s", format);
    assert_int_equal(client->heard.length, strlen(text));
    assert_memory_equal(client->heard.data, text, strlen(text));
  }
}

static void hear_and_answer_each(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    for (int i = 0; i < MANY; i++)
      connect_client(i);
    answer_all();
    WAIT_UNTIL(count(has_heard_one) == MANY);
    assert_each_heard("");

    for (int i = 0; i < MANY; i++) {
      peer_send_text(&clients[i].peer, ", second");
      tg_ws_send(clients[i].ws, (const char[]){(char)('0' + i)}, 1);
    }
    WAIT_UNTIL(count(has_heard_two) == MANY);
    assert_each_heard(", second");
    for (int i = 0; i < MANY; i++)
      peer_expect(&clients[i].peer, TEXT, (const char[]){(char)('0' + i)}, 1);

    for (int i = 0; i < MANY; i++)
      peer_send_close(&clients[i].peer, 4000 + i, "");
    WAIT_UNTIL(count(has_ended) == MANY);
    for (int i = 0; i < MANY; i++) {
      assert_int_equal(clients[i].code, 4000 + i);
      drop_client(&clients[i]);
    }
  }
}

/* All that goes out, at each turn of the client. */
static bool flood(struct peer *peer)
{
  static const char bytes[64 * 1024];
  for (int i = 0; i < 64 && peer_send_some(peer, bytes, sizeof bytes) > 0; i++)
    ;
  return true;
}

static void hear_others_beside_a_flood(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    for (int i = 0; i < MANY; i++)
      connect_client(i);
    answer_all();
    WAIT_UNTIL(count(has_heard_one) == MANY);
    uint64_t before = tg_ws_received(clients[0].ws);
    peer_send(&clients[0].peer, "\x82\x7f\0\0\0\0\x7f\xff\xff\xff", 10); /* a message of two gigabytes */
    for (int i = 1; i < MANY; i++) {
      peer_send_text(&clients[i].peer, ", second");
      WAIT_UNTIL(flood(&clients[0].peer) && has_heard_two(&clients[i]));
    }
    WAIT_UNTIL(flood(&clients[0].peer) && tg_ws_received(clients[0].ws) > before + 1024 * 1024);
    assert_false(clients[0].ended);
    for (int i = 0; i < MANY; i++)
      drop_client(&clients[i]);
  }
}

/* Whoever is called first is the only one: the others have bytes that wait for their
 * turn, or had it already. */
static void may_be_freed_inside_each_other(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++)
    for (int at_end = 0; at_end < 2; at_end++) {
      use_tls(tls ? trusted_tls : NULL);
      for (int i = 0; i < MANY; i++)
        connect_client(i);
      answer_all();
      WAIT_UNTIL(count(has_heard_one) == MANY);
      frees_others = at_end ? AT_END : AT_MESSAGE_END;
      for (int i = 0; i < MANY; i++)
        if (at_end)
          peer_fin(&clients[i].peer);
        else
          peer_send_text(&clients[i].peer, ", second");
      WAIT_UNTIL(frees_others == NEVER);
      for (int i = 0; i < 10; i++)
        peer_let_it_look(world->peer);
      assert_int_equal(count(at_end ? has_ended : has_heard_two), 1);
      for (int i = 0; i < MANY; i++)
        drop_client(&clients[i]);
    }
}

/* Those that are left hear on. */
static void go_one_by_one(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    for (int i = 0; i < MANY; i++)
      connect_client(i);
    answer_all();
    WAIT_UNTIL(count(has_heard_one) == MANY);
    for (int i = 0; i < MANY; i += 2) {
      if (i % 3 == 0)
        peer_reset(&clients[i].peer);
      else if (i % 3 == 1)
        peer_fin(&clients[i].peer);
      drop_client(&clients[i]);
    }
    for (int i = 1; i < MANY; i += 2)
      peer_send_text(&clients[i].peer, ", second");
    WAIT_UNTIL(count(has_heard_two) == MANY / 2);
    for (int i = 1; i < MANY; i += 2) {
      assert_false(clients[i].ended);
      drop_client(&clients[i]);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(hear_and_answer_each),
      TEST(hear_others_beside_a_flood),
      TEST(go_one_by_one),
      TEST(may_be_freed_inside_each_other),
  };
  return RUN_TESTS(tests);
}
