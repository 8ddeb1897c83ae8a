/* A broker and its hosts with a network between them that delays, loses and
 * repeats, processes that die at any moment and clocks that have nothing in
 * common. Discord judges by the true time at which op 2 leaves. */

#include "base/buf.h"
#include "manager/identify/broker.h"
#include "manager/identify/broker_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
  SPACING = 5300,
  RULE = 5000,
  BUCKETS = 4,
  HOSTS = 3, /* host 0 is the broker and has shards, too */
  PER_HOST = 8,
  SHARDS = HOSTS * PER_HOST,
  STEP = 10,
  PACKETS_MAX = 512,
};

enum shard_phase { AWAY, CONNECTING, ASKING, SENDING, IDENTIFYING, UP };

struct sim_shard {
  enum shard_phase phase;
  tg_ms at; /* true time of the next thing to happen */
  tg_ms deadline;  /* by the clock of its host */
  int64_t request; /* key of the one that is under way; 0: none */
};

struct sim_host {
  bool alive;
  tg_ms born_at; /* true time, of the next life if it is dead */
  tg_ms offset;  /* of its clock */
  int lives;
  struct tg_scheduler *scheduler;
  struct tg_broker_client *client;
  int64_t check; /* key of the check that is under way; 0: none */
};

struct packet {
  bool used, answer;
  int host, life;
  int64_t key; /* joins request and answer */
  tg_ms at;
  struct tg_broker_message message;
  struct tg_broker_answer content;
};

/* Whoever waits at the broker: the way back to a request. */
struct sim_poll {
  int host, life;
  int64_t key;
  struct tg_broker_message message;
};

static struct {
  uint64_t random;
  tg_ms now;
  struct sim_host hosts[HOSTS];
  struct sim_shard shards[SHARDS];
  struct tg_broker *broker;
  struct packet packets[PACKETS_MAX];
  int64_t keys;
  tg_ms latest[BUCKETS], before[BUCKETS]; /* the ledger: broker's wall clock, which is the true time */
  tg_ms last_sent[BUCKETS];
  int loss; /* per cent of messages */
  int identifies, violations;
} sim;

static int chance(int below)
{
  sim.random = sim.random * 6364136223846793005u + 1442695040888963407u;
  return (int)((sim.random >> 33) % (uint64_t)below);
}

static tg_ms clock_of(int host)
{
  return sim.now + sim.hosts[host].offset;
}

/* ---- the network ---- */

static void post(struct packet packet)
{
  packet.used = true;
  packet.at = sim.now + 1 + chance(chance(10) ? 120 : 1500);
  for (int i = 0; i < PACKETS_MAX; i++) {
    if (!sim.packets[i].used) {
      sim.packets[i] = packet;
      return;
    }
  }
  fail_msg("more packets than expected");
}

static void post_lossy(struct packet packet)
{
  if (chance(100) >= sim.loss)
    post(packet);
  if (chance(100) < sim.loss / 2)
    post(packet); /* once more, and later than the first perhaps */
}

/* The client hears no answer within its time. */
static void arm_timeout(const struct packet *request)
{
  struct packet timeout = *request;
  timeout.used = timeout.answer = true;
  timeout.content = (struct tg_broker_answer){.verdict = TG_BROKER_DOWN, .retry_after = -1};
  tg_ms wait = request->message.word == TG_WORD_ASK ? request->message.wait : 0;
  timeout.at = sim.now + (sim.loss && chance(2) ? 300 /* a reset connection */ : 5000 + wait);
  for (int i = 0; i < PACKETS_MAX; i++) {
    if (!sim.packets[i].used) {
      sim.packets[i] = timeout;
      return;
    }
  }
  fail_msg("more packets than expected");
}

/* Where the key of the request under way is kept, to which the message belongs. */
static int64_t *request_of(const struct packet *packet)
{
  return packet->message.word == TG_WORD_CHECK ? &sim.hosts[packet->host].check
                                               : &sim.shards[packet->message.shard_id].request;
}

static void send_requests(int host)
{
  struct sim_host *me = &sim.hosts[host];
  struct packet packet = {.host = host, .life = me->lives};
  while (tg_broker_client_next(me->client, clock_of(host), &packet.message)) {
    packet.key = *request_of(&packet) = ++sim.keys;
    post_lossy(packet);
    arm_timeout(&packet);
  }
}

/* ---- Discord ---- */

static void op2(int shard)
{
  int bucket = shard % BUCKETS;
  sim.identifies++;
  if (sim.now - sim.last_sent[bucket] < RULE)
    sim.violations++;
  sim.last_sent[bucket] = sim.now;
  sim.shards[shard].phase = IDENTIFYING;
  sim.shards[shard].at = sim.now + 50 + chance(chance(8) ? 800 : 6000);
}

/* ---- shards, as a worker would run them ---- */

static void granted(int shard, tg_ms deadline)
{
  sim.shards[shard].phase = SENDING;
  sim.shards[shard].deadline = deadline;
  sim.shards[shard].at = sim.now + chance(chance(6) ? 30 : 1500);
}

static void leave(int host, int shard)
{
  struct sim_host *me = &sim.hosts[host];
  tg_scheduler_unused(me->scheduler, shard, clock_of(host));
  if (host == 0)
    return;
  if (tg_broker_client_leave(me->client, shard, clock_of(host)))
    sim.shards[shard].request = 0; /* cancelled: no answer reaches it */
}

static void step_shard(int host, int shard)
{
  struct sim_host *me = &sim.hosts[host];
  struct sim_shard *it = &sim.shards[shard];
  tg_ms now = clock_of(host);
  if (it->phase == ASKING && chance(2000) == 0) { /* its connection breaks */
    leave(host, shard);
    it->phase = CONNECTING;
    it->at = sim.now + 300;
  }
  if (it->phase == UP && chance(60000) == 0) { /* its session is lost */
    it->phase = AWAY;
    tg_scheduler_enqueue(me->scheduler, shard, TG_IDENTIFY_LOST, now);
  }
  if (it->at > sim.now)
    return;
  bool ready = it->phase == IDENTIFYING && chance(12) != 0;
  switch (it->phase) {
  case CONNECTING:
    it->phase = ASKING;
    tg_scheduler_ask(me->scheduler, shard, now);
    break;
  case SENDING:
    if (now > it->deadline) {
      leave(host, shard);
      it->phase = ASKING;
      tg_scheduler_ask(me->scheduler, shard, now);
      break;
    }
    op2(shard);
    tg_scheduler_sent(me->scheduler, shard, now);
    if (host > 0)
      tg_broker_client_sent(me->client, shard, now);
    break;
  case IDENTIFYING:
    it->phase = ready ? UP : AWAY;
    tg_scheduler_done(me->scheduler, shard, ready, now);
    if (host > 0)
      tg_broker_client_done(me->client, shard, ready, now);
    if (!ready)
      tg_scheduler_enqueue(me->scheduler, shard, TG_IDENTIFY_FIRST, now);
    break;
  default:
    break;
  }
}

static void start_shards(int host)
{
  int shard;
  while (tg_scheduler_next_start(sim.hosts[host].scheduler, clock_of(host), &shard)) {
    sim.shards[shard].phase = CONNECTING;
    sim.shards[shard].at = sim.now + 20 + chance(300);
  }
}

/* ---- processes ---- */

static void on_answer(void *ctx, void *waiting, const struct tg_broker_answer *answer)
{
  (void)ctx;
  struct sim_poll *poll = waiting;
  post_lossy((struct packet){.answer = true, .host = poll->host, .life = poll->life, .key = poll->key,
                             .message = poll->message, .content = *answer});
  free(poll);
}

static void on_taken_back(void *ctx, int shard)
{
  (void)ctx;
  sim.latest[shard % BUCKETS] = sim.before[shard % BUCKETS];
}

static void on_identified(void *ctx, int shard)
{
  (void)ctx;
  fail_msg("shard %d has identified without a slot", shard);
}

static void be_born(int host)
{
  struct sim_host *me = &sim.hosts[host];
  me->alive = true;
  me->lives++;
  me->offset = chance(1000000000);
  me->scheduler = tg_scheduler_new(BUCKETS, SPACING);
  tg_scheduler_set_allowance(me->scheduler, 1000000);
  tg_ms now = clock_of(host);
  if (host == 0) {
    static const struct tg_broker_callbacks callbacks = {on_answer, on_taken_back, on_identified};
    sim.broker = tg_broker_new(me->scheduler, &callbacks, NULL);
    for (int i = 0; i < BUCKETS; i++)
      if (sim.latest[i] + SPACING > sim.now)
        tg_scheduler_hold(me->scheduler, i, now + sim.latest[i] + SPACING - sim.now);
  } else {
    char name[40];
    snprintf(name, sizeof name, "host-%d-%d", host, me->lives);
    const struct tg_broker_client_options options = {name, "bot", host * PER_HOST, PER_HOST, SHARDS, BUCKETS};
    me->client = tg_broker_client_new(&options, now);
  }
  for (int shard = host * PER_HOST; shard < (host + 1) * PER_HOST; shard++) {
    if (sim.shards[shard].phase == UP)
      continue; /* resumes */
    sim.shards[shard].phase = AWAY;
    tg_scheduler_enqueue(me->scheduler, shard, TG_IDENTIFY_FIRST, now);
  }
}

static void die(int host, tg_ms pause)
{
  struct sim_host *me = &sim.hosts[host];
  me->alive = false;
  me->born_at = sim.now + pause;
  if (host == 0) { /* its clients see their connections break */
    for (int i = 0; i < PACKETS_MAX; i++)
      if (sim.packets[i].used && !sim.packets[i].answer)
        sim.packets[i].used = false;
    tg_broker_end(sim.broker, "gone");
    tg_broker_free(sim.broker);
    sim.broker = NULL;
  } else {
    tg_broker_client_free(me->client);
    me->client = NULL;
  }
  tg_scheduler_free(me->scheduler);
  me->scheduler = NULL;
  me->check = 0;
  for (int shard = host * PER_HOST; shard < (host + 1) * PER_HOST; shard++) {
    sim.shards[shard].request = 0;
    if (sim.shards[shard].phase != UP)
      sim.shards[shard].phase = AWAY;
  }
}

/* ---- arrivals ---- */

static void at_broker(const struct packet *packet)
{
  if (!sim.broker)
    return;
  struct packet back = *packet;
  back.answer = true;
  if (packet->message.word == TG_WORD_ASK) {
    struct sim_poll *poll = tg_alloc(sizeof *poll);
    *poll = (struct sim_poll){packet->host, packet->life, packet->key, packet->message};
    tg_broker_ask(sim.broker, &packet->message, poll, clock_of(0));
    return;
  }
  if (packet->message.word == TG_WORD_CHECK)
    tg_broker_check(sim.broker, &packet->message, clock_of(0));
  else
    tg_broker_report(sim.broker, &packet->message, clock_of(0));
  back.content = (struct tg_broker_answer){.verdict = TG_BROKER_NOTED, .retry_after = -1};
  post_lossy(back);
}

static void at_client(const struct packet *packet)
{
  struct sim_host *me = &sim.hosts[packet->host];
  if (!me->alive || me->lives != packet->life || *request_of(packet) != packet->key)
    return; /* it was answered before, or nobody waits for it */
  *request_of(packet) = 0;
  int shard = packet->message.shard_id;
  tg_ms now = clock_of(packet->host);
  if (tg_broker_client_answer(me->client, &packet->message, &packet->content, now) != TG_CLIENT_GRANTED)
    return;
  if (sim.shards[shard].phase != ASKING || tg_scheduler_busy(me->scheduler, shard, now)) {
    leave(packet->host, shard);
    if (sim.shards[shard].phase == ASKING)
      tg_scheduler_ask(me->scheduler, shard, now);
    return;
  }
  tg_ms deadline = tg_broker_client_deadline(me->client, shard);
  tg_scheduler_grant_until(me->scheduler, shard, deadline, now);
  granted(shard, deadline);
}

static void deliver(void)
{
  for (int i = 0; i < PACKETS_MAX; i++) {
    if (!sim.packets[i].used || sim.packets[i].at > sim.now)
      continue;
    struct packet packet = sim.packets[i];
    sim.packets[i].used = false;
    if (packet.answer)
      at_client(&packet);
    else
      at_broker(&packet);
  }
}

/* ---- the loop ---- */

static void step_broker(void)
{
  int shard;
  tg_ms deadline, now = clock_of(0);
  tg_broker_tick(sim.broker, now);
  while (tg_scheduler_next_grant(sim.hosts[0].scheduler, now, &shard, &deadline)) {
    sim.before[shard % BUCKETS] = sim.latest[shard % BUCKETS];
    sim.latest[shard % BUCKETS] = sim.now + deadline - now;
    if (shard < PER_HOST)
      granted(shard, deadline);
    else
      tg_broker_granted(sim.broker, shard, deadline, now);
  }
}

static void step_client(int host)
{
  struct sim_host *me = &sim.hosts[host];
  tg_ms now = clock_of(host);
  tg_scheduler_set_allowance(me->scheduler, tg_broker_client_open(me->client, now) ? 1000000 : 0);
  for (int shard = host * PER_HOST; shard < (host + 1) * PER_HOST; shard++)
    if (sim.shards[shard].phase == ASKING && tg_scheduler_ripe(me->scheduler, shard, now))
      tg_broker_client_ask(me->client, shard, tg_scheduler_priority(me->scheduler, shard));
  send_requests(host);
}

static int count_up(void)
{
  int up = 0;
  for (int i = 0; i < SHARDS; i++)
    up += sim.shards[i].phase == UP;
  return up;
}

static void begin(uint64_t seed, int loss)
{
  memset(&sim, 0, sizeof sim);
  sim.random = seed * 2654435761u + 12345;
  sim.loss = loss;
  sim.now = 1000000;
  for (int i = 0; i < HOSTS; i++)
    be_born(i);
}

/* Runs until all are up and `least` has passed, or until `most`; returns how long it took. */
static tg_ms run(tg_ms least, tg_ms most, int deaths)
{
  tg_ms began = sim.now, all_up_at = 0;
  for (; sim.now - began < most && (!all_up_at || sim.now - began < least); sim.now += STEP) {
    deliver();
    for (int host = 0; host < HOSTS; host++) {
      struct sim_host *me = &sim.hosts[host];
      if (!me->alive && sim.now >= me->born_at)
        be_born(host);
      if (!me->alive)
        continue;
      start_shards(host);
      for (int shard = host * PER_HOST; shard < (host + 1) * PER_HOST; shard++)
        step_shard(host, shard);
      if (host == 0)
        step_broker();
      else
        step_client(host);
      if (deaths && chance(deaths) == 0)
        die(host, chance(3) ? chance(3000) : chance(20000));
    }
    all_up_at = count_up() == SHARDS ? sim.now : 0;
  }
  return sim.now - began;
}

static void finish(void)
{
  for (int host = 0; host < HOSTS; host++)
    if (sim.hosts[host].alive)
      die(host, 0);
}

/* ---- what has to hold ---- */

static void all_come_up_as_fast_as_one_host(void **state)
{
  (void)state;
  begin(1, 0);
  for (int i = 0; i < SHARDS; i++)
    sim.shards[i].at = 0;
  tg_ms took = run(0, 600000, 0);
  assert_int_equal(sim.violations, 0);
  assert_int_equal(count_up(), SHARDS);
  assert_true(took >= (SHARDS / BUCKETS - 1) * SPACING);
  print_message("24 shards in 4 buckets: %lld s, %d identifies\n", (long long)took / 1000, sim.identifies);
  assert_true(took < SHARDS / BUCKETS * SPACING * 3);
  finish();
}

static void losses_delay_and_nothing_else(void **state)
{
  (void)state;
  tg_ms longest = 0;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    begin(seed, seed % 2 ? 10 : 30);
    tg_ms took = run(0, 3600000, 0);
    if (sim.violations || count_up() < SHARDS)
      fail_msg("seed %d: %d violations, %d up after %lld ms", (int)seed, sim.violations, count_up(),
               (long long)took);
    longest = took > longest ? took : longest;
    finish();
  }
  print_message("longest start with losses: %lld s\n", (long long)longest / 1000);
}

static void deaths_of_anybody_break_no_rule(void **state)
{
  (void)state;
  int identifies = 0;
  for (uint64_t seed = 100; seed < 140; seed++) {
    begin(seed, seed % 3 == 0 ? 0 : 15);
    run(400000, 400000, 3000); /* each host dies every 30 s */
    if (sim.violations)
      fail_msg("seed %d: %d violations of %d identifies", (int)seed, sim.violations, sim.identifies);
    identifies += sim.identifies;
    tg_ms took = run(0, 3600000, 0); /* and when they live on, all come up */
    if (sim.violations || count_up() < SHARDS)
      fail_msg("seed %d: %d violations, %d up after %lld ms", (int)seed, sim.violations, count_up(),
               (long long)took);
    finish();
  }
  print_message("%d identifies while hosts died\n", identifies);
  assert_true(identifies > 1000);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_come_up_as_fast_as_one_host),
      cmocka_unit_test(losses_delay_and_nothing_else),
      cmocka_unit_test(deaths_of_anybody_break_no_rule),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
