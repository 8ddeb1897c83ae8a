/* What TLS makes of bytes: records that come in pieces, many at once, between messages
 * of TLS itself, or broken. A client that reads ahead has to find each of them. */

#include "ws_fixture.h"

/* Appends what the peer would send for these bytes: records, as they go over the wire. */
static void seal(struct peer *peer, const void *bytes, size_t length, struct tg_buf *out)
{
  BIO *memory = BIO_new(BIO_s_mem());
  char *sealed;
  SSL_set0_wbio(peer->ssl, memory);
  assert_int_equal(SSL_write(peer->ssl, bytes, (int)length), (int)length);
  long size = BIO_get_mem_data(memory, &sealed);
  tg_buf_append(out, sealed, (size_t)size);
  SSL_set0_wbio(peer->ssl, BIO_new_socket(peer->fd, BIO_NOCLOSE));
}

static void seal_text(const char *text, struct tg_buf *out)
{
  struct tg_buf frame = {0};
  put_frame(&frame, TEXT, text, strlen(text));
  seal(world->peer, frame.data, frame.length, out);
  tg_buf_free(&frame);
}

/* Past the records. */
static void send_raw(const void *bytes, size_t length)
{
  assert_int_equal(send(world->peer->fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

static void connect_under_tls(int version)
{
  SSL_CTX_set_max_proto_version(trusted_tls, version);
  use_tls(trusted_tls);
  connect_ws();
}

static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
enum { VERSIONS = 2 };

static void hears_records_cut_at_every_byte(void **state)
{
  (void)state;
  for (int i = 0; i < VERSIONS; i++) {
    connect_under_tls(versions[i]);
    for (size_t cut = 0, length = 1; cut < length; cut++) {
      struct tg_buf records = {0};
      world->heard.length = 0;
      seal_text("one", &records);
      seal_text("two", &records);
      length = records.length;
      send_raw(records.data, cut);
      peer_let_it_look(world->peer);
      send_raw(records.data + cut, length - cut);
      WAIT_UNTIL(world->heard.length >= 8 || world->ended);
      assert_heard("one|two|");
      tg_buf_free(&records);
    }
    drop_ws();
  }
}

static void hears_records_byte_by_byte(void **state)
{
  (void)state;
  struct tg_buf records = {0};
  connect_under_tls(0);
  seal_text("one", &records);
  seal_text("two", &records);
  for (size_t i = 0; i < records.length; i++) {
    send_raw(records.data + i, 1);
    peer_let_it_look(world->peer);
  }
  WAIT_UNTIL(world->messages == 2);
  assert_heard("one|two|");
  tg_buf_free(&records);
}

/* A record an event, as Discord sends them; and frames that do not care for records. */
static void hears_many_records_at_once(void **state)
{
  (void)state;
  static const size_t pieces[] = {1, 2, 3, 7, 100, 1000};
  enum { EVENTS = 100 };
  for (int i = 0; i < VERSIONS; i++)
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
      struct tg_buf frames = {0}, records = {0}, expected = {0};
      connect_under_tls(versions[i]);
      for (int event = 0; event < EVENTS; event++) {
        char text[32];
        int length = snprintf(text, sizeof text, "event %d", event);
        put_frame(&frames, TEXT, text, (size_t)length);
        tg_buf_printf(&expected, "%s|", text);
      }
      for (size_t at = 0; at < frames.length; at += pieces[k]) {
        size_t left = frames.length - at;
        seal(world->peer, frames.data + at, left < pieces[k] ? left : pieces[k], &records);
      }
      send_raw(records.data, records.length);
      WAIT_UNTIL(world->messages == EVENTS);
      assert_int_equal(world->heard.length, expected.length);
      assert_memory_equal(world->heard.data, expected.data, expected.length);
      tg_buf_free(&frames);
      tg_buf_free(&records);
      tg_buf_free(&expected);
      drop_ws();
    }
}

/* The answer, HELLO, and a beginning of what follows: all in the first look. */
static void hears_records_behind_the_answer(void **state)
{
  (void)state;
  for (int i = 0; i < VERSIONS; i++)
    for (size_t cut = 0, left = 1; cut < left; cut++) {
      struct tg_buf answer = {0}, records = {0};
      SSL_CTX_set_max_proto_version(trusted_tls, versions[i]);
      use_tls(trusted_tls);
      reach(UPGRADING);
      put_answer(world->peer, &answer);
      seal(world->peer, answer.data, answer.length, &records);
      seal_text("hello", &records);
      size_t whole = records.length;
      seal_text("again", &records);
      left = records.length - whole;
      send_raw(records.data, whole + cut);
      WAIT_UNTIL(world->messages >= 1);
      peer_let_it_look(world->peer);
      assert_heard("hello|");
      send_raw(records.data + whole + cut, left - cut);
      WAIT_UNTIL(world->messages == 2);
      assert_heard("hello|again|");
      tg_buf_free(&answer);
      tg_buf_free(&records);
      drop_ws();
    }
}

/* Messages of TLS that bring no byte of ours. */
static void hears_records_between_updates_of_keys(void **state)
{
  (void)state;
  connect_under_tls(0);
  for (int i = 1; i <= 20; i++) {
    SSL_key_update(world->peer->ssl, i % 2 ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED);
    if (i % 3 == 0)
      SSL_do_handshake(world->peer->ssl); /* it goes alone, else in front of the text */
    peer_send_text(world->peer, "x");
    WAIT_UNTIL(world->messages == i);
    tg_ws_send(world->ws, "there", 5);
    peer_expect(world->peer, TEXT, "there", 5);
  }
  assert_int_equal(world->heard.length, 40);
}

static void hears_records_in_front_of_the_end(void **state)
{
  (void)state;
  enum { FIN, NOTIFIED, HALF_A_RECORD, RESET, ENDS };
  for (int i = 0; i < VERSIONS * ENDS; i++) {
    struct tg_buf records = {0}, close = {0};
    int end = i % ENDS;
    connect_under_tls(versions[i / ENDS]);
    for (int k = 0; k < 40; k++)
      seal_text("x", &records);
    put_close(&close, 4004, "no");
    seal(world->peer, close.data, close.length, &records);
    if (end == HALF_A_RECORD)
      tg_buf_append(&records, "\x17\x03\x03\x00\x40half", 9);
    send_raw(records.data, records.length);
    if (end == NOTIFIED)
      SSL_shutdown(world->peer->ssl);
    if (end == RESET)
      peer_reset(world->peer);
    else
      peer_fin(world->peer);
    WAIT_UNTIL(world->ended);
    assert_closed_with(4004, "no");
    assert_int_equal(world->messages, 40);
    tg_buf_free(&records);
    tg_buf_free(&close);
    drop_ws();
  }
}

/* Half a record, and then nothing more: it is the peer that went, not TLS that failed. */
static void tells_of_an_end_inside_a_record(void **state)
{
  (void)state;
  for (int i = 0; i < VERSIONS; i++) {
    struct tg_buf records = {0};
    connect_under_tls(versions[i]);
    seal_text("one", &records);
    seal_text("two", &records);
    send_raw(records.data, records.length - 3);
    peer_fin(world->peer);
    WAIT_UNTIL(world->ended);
    assert_failed_with("eof");
    assert_heard("one|");
    tg_buf_free(&records);
    drop_ws();
  }
}

static void tells_of_a_broken_record(void **state)
{
  (void)state;
  for (int i = 0; i < 2 * VERSIONS; i++) {
    struct tg_buf records = {0};
    connect_under_tls(versions[i / 2]);
    seal_text("one", &records);
    size_t good = records.length;
    seal_text("two", &records);
    records.data[records.length - 1] ^= 1;
    if (i % 2 == 0) { /* else the broken one is there already when the client looks */
      send_raw(records.data, good);
      WAIT_UNTIL(world->messages == 1);
      send_raw(records.data + good, records.length - good);
    } else {
      send_raw(records.data, records.length);
    }
    WAIT_UNTIL(world->ended);
    assert_failed_with("tls");
    assert_heard("one|");
    tg_buf_free(&records);
    drop_ws();
  }
}

static int back_to_any_version(void **state)
{
  SSL_CTX_set_max_proto_version(trusted_tls, 0);
  return teardown(state);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, back_to_any_version)
  const struct CMUnitTest tests[] = {
      TEST(hears_records_cut_at_every_byte),
      TEST(hears_records_byte_by_byte),
      TEST(hears_many_records_at_once),
      TEST(hears_records_behind_the_answer),
      TEST(hears_records_between_updates_of_keys),
      TEST(hears_records_in_front_of_the_end),
      TEST(tells_of_an_end_inside_a_record),
      TEST(tells_of_a_broken_record),
  };
  return RUN_TESTS(tests);
}
