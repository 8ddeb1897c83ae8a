/* Processes that die, and bits that flip in their logs, meanwhile and while they live, at random: each event is
 * delivered, or named by a marker in its place. TG_FLIP_ROUNDS=20000 looks for longer; a round that fails names
 * its number, and TG_FLIP_FIRST=4711 begins with it. */

#include "unit/delivery/logged_world.h"

#include "event_log/event_log.h"

#include <fcntl.h>
#include <unistd.h>

enum { SHARDS = 3, EVENTS_MAX = 100, DEATHS = 3, FLIPS = 25, ROUNDS = 60, EPOCH = 7 };

static uint32_t round_number, dice;

/* Of a session of a shard: what Discord has sent, and up to where it is accounted for. */
struct account {
  uint64_t sent, told;
};
static struct account accounts[SHARDS][DEATHS + 1];

static struct account *account_of(int shard) { return &accounts[shard][epochs[shard] - EPOCH]; }

static uint32_t below(uint32_t limit)
{
  dice ^= dice << 13;
  dice ^= dice >> 17;
  dice ^= dice << 5;
  return dice % limit;
}

static void begin(void)
{
  begin_logged(NULL);
  config.queue.memory_bytes = below(2) ? 2000 : 1 << 20;
  config.event_handler.markers = true;
}

/* What is written ends with its last byte that is not zero. */
static void flip_in(const char *path)
{
  static char bytes[1 << 20];
  int fd = open(path, O_RDWR);
  assert_true(fd >= 0);
  ssize_t length = pread(fd, bytes, sizeof bytes, 0);
  while (length > 0 && bytes[length - 1] == 0)
    length--;
  for (int bits = (int)below(FLIPS); bits > 0 && length > 0; bits--) {
    off_t at = below((uint32_t)length);
    bytes[at] ^= (char)(1 << below(8));
    assert_int_equal(pwrite(fd, bytes + at, 1, at), 1);
  }
  close(fd);
}

static void flip_bits(void)
{
  char parent[128], path[1024];
  snprintf(parent, sizeof parent, "%s/log", state_dir);
  char **names = tg_event_log_list(parent);
  for (int i = 0; names && names[i]; i++)
    for (uint32_t segment = 1; segment <= 9; segment++) {
      snprintf(path, sizeof path, "%s/%s/%010u.segment", parent, names[i], segment);
      if (access(path, F_OK) == 0)
        flip_in(path);
    }
  tg_event_log_list_free(names);
}

static void emit(int shard, uint64_t sequence, bool replayed)
{
  char text[256];
  struct tg_event event;
  snprintf(text, sizeof text, "{\"t\":\"MESSAGE_DELETE\",\"s\":%d,\"op\":0,\"d\":{\"id\":\"%0*d\"}}",
           (int)sequence, 10 + (int)(sequence * 37 % 90), 1);
  make_event(&event, shard, sequence, text);
  event.replayed = replayed;
  tg_delivery_event(delivery, NULL, &event);
}

static void receive(void)
{
  for (int i = (int)below(EVENTS_MAX); i > 0; i--) {
    int shard = (int)below(SHARDS);
    emit(shard, ++account_of(shard)->sent, false);
    if (below(4) == 0)
      end_turn();
  }
  end_turn();
}

/* The session goes on from what was known to be durable, and Discord sends what came behind it; or it is over. */
static void take_shard(int shard, uint64_t known)
{
  if (below(8) == 0) {
    tg_delivery_adopt_session(delivery, shard, epochs[shard], 0);
    tg_delivery_new_session(delivery, shard, ++epochs[shard]);
    return;
  }
  tg_delivery_adopt_session(delivery, shard, epochs[shard], known);
  for (uint64_t i = tg_delivery_settled(delivery, shard) + 1; i <= account_of(shard)->sent; i++)
    emit(shard, i, true);
}

static void die(void)
{
  uint64_t known[SHARDS];
  for (int shard = 0; shard < SHARDS; shard++)
    known[shard] = value(&rows[shard].durable_sequence);
  end_process();
  flip_bits();
  next_process();
  for (int shard = 0; shard < SHARDS; shard++)
    take_shard(shard, known[shard]);
  end_turn();
}

/* "from" and "to" may be unknown: then all is meant. A marker with an open end goes up to the next event. */
static void note_marker(const char *body, int shard, int epoch)
{
  uint64_t from = 1, to = 0;
  struct account *account = &accounts[shard][epoch - EPOCH];
  sscanf(strstr(body, "\"gap\":{"), "\"gap\":{\"from\":%lu,\"to\":%lu", &from, &to);
  if (from > account->told + 1)
    fail_msg("round %u: %s comes behind %d", round_number, body, (int)account->told);
  if (to == 0)
    to = account->sent;
  if (to > account->told)
    account->told = to;
}

static void note_post(const struct fake_post *post)
{
  int shard, epoch, sequence;
  if (sscanf(post->key, "%d.%d.%d", &shard, &epoch, &sequence) != 3) {
    assert_int_equal(sscanf(post->body, "{\"shardId\":%d,\"totalShards\":16,\"epoch\":%d", &shard, &epoch), 2);
    note_marker(post->body, shard, epoch);
    return;
  }
  struct account *account = &accounts[shard][epoch - EPOCH];
  if ((uint64_t)sequence > account->told + 1)
    fail_msg("round %u: shard %d, epoch %d: %d to %d are neither there nor named", round_number, shard, epoch,
             (int)account->told + 1, sequence - 1);
  if ((uint64_t)sequence > account->told)
    account->told = (uint64_t)sequence;
}

/* Answers that many requests, in any order of the shards. */
static void deliver_some(int count)
{
  for (; open_posts > 0 && count > 0; count--) {
    int number = (int)below((uint32_t)post_count);
    while (!posts[number].open)
      number = (number + 1) % post_count;
    note_post(&posts[number]);
    answer(number, 200);
    if (below(3) == 0)
      end_turn();
  }
}

static void nothing_is_lost_in_silence(void **state)
{
  (void)state;
  const char *rounds = getenv("TG_FLIP_ROUNDS"), *first = getenv("TG_FLIP_FIRST");
  uint32_t from = first ? (uint32_t)atoi(first) : 1, to = from + (rounds ? (uint32_t)atoi(rounds) : ROUNDS);
  for (round_number = from; round_number < to; round_number++) {
    dice = round_number * 2654435761u | 1;
    memset(accounts, 0, sizeof accounts);
    begin();
    for (int deaths = (int)below(DEATHS) + 1; deaths > 0; deaths--) {
      receive();
      if (below(4) == 0)
        flip_bits();
      deliver_some((int)below(EVENTS_MAX));
      die();
    }
    receive();
    while (open_posts > 0) {
      deliver_some(EVENTS_MAX);
      end_turn();
    }
    for (int i = 0; i < SHARDS * (DEATHS + 1); i++) {
      const struct account *account = &accounts[0][0] + i;
      if (account->told != account->sent)
        fail_msg("round %u: shard %d, epoch %d ends with %d of %d", round_number, i / (DEATHS + 1),
                 i % (DEATHS + 1) + EPOCH, (int)account->told, (int)account->sent);
    }
    end_logged(NULL);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_in_silence)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
