#pragma once

/* The hosts, and what carries their calls to Redis and its answers back: late, or never. */

#include "sim_world.h"

enum phase { OFF, WAITING, CONNECTING, RESUMING, ASKING, SENDING, IDENTIFYING, UP, STOPPING, EXPECTING };

/* A shard at a host. */
struct sim_shard {
  /* On disk. */
  uint64_t fence;      /* 0: it is not here */
  uint64_t left_fence; /* 0: nothing is left */
  struct tg_cluster_progress left;
  uint64_t epoch, durable;
  bool has_session;
  int lane_session; /* the lane is delivered up to here: index of the session, and sequence */
  uint64_t delivered;
  /* In memory. */
  enum phase phase;
  tg_ms at;             /* true time of the next thing to happen */
  int connection;       /* at Discord */
  int heard_of;         /* session of the connection, as an index */
  uint64_t replayed_to; /* RESUMED comes behind this */
  uint64_t cut_after;   /* kicked: what came before can still be read */
  bool kicked;
  uint64_t granted;
  bool accepted; /* the identify that is under way */
  tg_ms deadline;
};

/* A class, at a host, while the number of shards is changed. */
struct sim_class {
  /* On disk. */
  bool switched; /* here: what has a copy up to `last` is the old shard's */
  sim_twin last;
  bool without_old;
  bool published; /* all know that it has switched */
  uint64_t fence;
  /* In memory. */
  enum tg_class_step step, told; /* as all know; as Redis was told */
  tg_ms since;                   /* both sides have been up */
};

struct sim_hole {
  bool used;
  int shard; /* its place */
  uint64_t from_epoch, from, to_epoch, to;
  char key[96];
};

struct sim_host {
  bool alive, stopped, partitioned, draining;
  tg_ms born_at, runs_at, joined_again_at; /* ends of its faults, true time */
  int life, home;
  uint64_t mark; /* on disk, where the count has outrun the clock */
  double rate;
  tg_ms offset, wall_offset;
  struct tg_cluster *cluster;
  /* Another program is to take the place of this one, which rests; its memory stands still, and goes over. */
  tg_ms rests_till; /* 0: it does not */
  bool execs, comes_back;
  tg_ms handed_at;
  bool linked;
  int link, run; /* counts connections; to which process of Redis this one goes */
  tg_ms link_at; /* next attempt */
  int asked;     /* calls without an answer, since: */
  tg_ms asked_at;
  tg_ms last_there, last_back;
  tg_ms wakeup, discord_at; /* when /gateway/bot answers; 0: it was not asked */
  struct sim_shard shards[PLACES];
  struct sim_hole holes[256];
  /* Of changes of the number of shards; on disk. */
  bool changed; /* the new shards are the shards */
  uint64_t change, ended, done;
  struct sim_class classes[SHARDS];
};

static struct sim_host hosts[HOSTS];

/* ---- the network to Redis ---- */

struct packet {
  bool used, back;
  int host, link, run;
  tg_ms at;
  uint64_t id;
  char *name, *body; /* name NULL: an answer, or a post of which the word is in `word` */
  char word[16];
};

enum { PACKETS_MAX = 4096 };
static struct packet packets[PACKETS_MAX];
static int packets_end; /* none is used from there on */

static tg_ms clock_of(const struct sim_host *host)
{
  return (tg_ms)((double)world.now * host->rate) + host->offset;
}

static int number_of(const struct sim_host *host)
{
  return (int)(host - hosts);
}

static tg_ms delay(void)
{
  return chance(200) ? 1 + chance(6) : chance(2) ? chance(1500) : chance(300);
}

static void send_packet(struct packet packet, tg_ms *last)
{
  struct sim_host *host = &hosts[packet.host];
  tg_ms at = delay() + (host->partitioned ? host->joined_again_at : world.now);
  *last = packet.at = at > *last ? at : *last;
  packet.used = true;
  for (int i = 0; i < PACKETS_MAX; i++) {
    if (packets[i].used)
      continue;
    packets[i] = packet;
    packets_end = i >= packets_end ? i + 1 : packets_end;
    return;
  }
  abort();
}

static void drop_packet(struct packet *packet)
{
  packet->used = false;
  free(packet->body);
}

/* No answer is heard any more; what is on its way there may still arrive, long after the end. */
static void link_ends(struct sim_host *host)
{
  if (!host->linked)
    return;
  bool arrives = chance(2);
  for (int i = 0; i < PACKETS_MAX; i++)
    if (packets[i].used && packets[i].host == number_of(host) && (packets[i].back || !arrives))
      drop_packet(&packets[i]);
  trace("host %d: link down", number_of(host));
  host->linked = false;
  host->link++;
  host->asked = 0;
  host->link_at = world.now + 100 + chance(500);
  if (host->alive)
    tg_cluster_link_down(host->cluster, clock_of(host));
}

static void post_all(void)
{
  struct redis_post post;
  while (redis_next_post(&post)) {
    int number = post.host[5] - '0';
    struct sim_host *host = &hosts[number];
    if (!host->alive || !host->linked || host->partitioned)
      continue; /* it reads from the end when it comes back */
    struct packet packet = {.back = true, .host = number, .link = host->link, .body = tg_strdup(post.body)};
    strcpy(packet.word, post.word);
    send_packet(packet, &host->last_back);
  }
}

static void reach_redis(struct packet *packet)
{
  struct sim_host *host = &hosts[packet->host];
  if (!world.redis_up || packet->run != world.redis_run) { /* refused, or reset */
    int link = packet->link;
    drop_packet(packet);
    if (link == host->link)
      link_ends(host);
    return;
  }
  if (world.redis_frozen) {
    packet->at = world.now + STEP;
    return;
  }
  char *answer = redis_run(packet->name, packet->body, redis_clock());
  if (world.trace && getenv("TG_CLUSTER_CALLS"))
    trace("host %d: %s %s -> %s", packet->host, packet->name, packet->body, answer);
  struct packet back = {
      .back = true, .host = packet->host, .link = packet->link, .id = packet->id, .body = answer};
  drop_packet(packet);
  send_packet(back, &host->last_back);
  post_all();
}

static void reach_host(struct packet *packet)
{
  struct sim_host *host = &hosts[packet->host];
  if (host->stopped && host->alive) {
    packet->at = world.now + STEP;
    return;
  }
  struct packet arrived = *packet;
  packet->used = false;
  if (host->alive && host->linked && packet->link == host->link) {
    if (arrived.word[0])
      tg_cluster_posted(host->cluster, arrived.word, arrived.body, strlen(arrived.body), clock_of(host));
    else if (!tg_cluster_answered(host->cluster, arrived.id, arrived.body, strlen(arrived.body),
                                  clock_of(host)))
      violation("an answer that is none: %.150s", arrived.body);
    host->asked -= !arrived.word[0];
    host->asked_at = world.now;
    host->wakeup = world.now; /* a tick */
  }
  free(arrived.body);
}

static void deliver_packets(void)
{
  for (;;) { /* in order of time: the clock of Redis goes on within a step, too */
    struct packet *first = NULL;
    while (packets_end > 0 && !packets[packets_end - 1].used)
      packets_end--;
    for (int i = 0; i < packets_end; i++)
      if (packets[i].used && packets[i].at <= world.now && (!first || packets[i].at < first->at))
        first = &packets[i];
    if (!first)
      return;
    if (first->back)
      reach_host(first);
    else
      reach_redis(first);
  }
}

static void step_link(struct sim_host *host)
{
  if (host->linked && host->asked && world.now - host->asked_at > 3000)
    link_ends(host);
  if (!host->linked && world.now >= host->link_at) {
    host->link_at = world.now + 500;
    if (world.redis_up && !world.redis_frozen && !host->partitioned) {
      char run[32];
      snprintf(run, sizeof run, "run-%d", world.redis_run);
      host->linked = true;
      host->run = world.redis_run;
      host->last_there = host->last_back = 0;
      tg_cluster_link_up(host->cluster, run, clock_of(host));
      host->wakeup = world.now;
      trace("host %d: link up, %s", number_of(host), run);
    }
  }
  struct tg_cluster_call call;
  while (tg_cluster_next_call(host->cluster, &call)) {
    struct packet packet = {.host = number_of(host),
                            .link = host->link,
                            .run = host->run,
                            .id = call.id,
                            .name = (char *)call.name,
                            .body = call.body};
    if (host->asked++ == 0)
      host->asked_at = world.now;
    send_packet(packet, &host->last_there);
  }
}
