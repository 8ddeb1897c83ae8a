#pragma once

/* What workers and identify slots do around the real cluster.c of a host, as its header says. */

#include "sim_links.h"

/* ---- numbers ---- */

/* Shards are told by their places; the cluster has numbers of its own. */
static int told(const struct sim_host *host, int place)
{
  if (place < SHARDS)
    return place;
  return host->changed ? place - SHARDS : TG_CLUSTER_NEXT + place - SHARDS;
}

static int place_of(int number, int total)
{
  if (number >= TG_CLUSTER_NEXT)
    return SHARDS + number - TG_CLUSTER_NEXT;
  return total == NEW_SHARDS ? SHARDS + number : number;
}

/* Whether the cluster speaks of it as of now. */
static bool is_there(const struct sim_host *host, int place)
{
  return place < SHARDS ? !host->changed : host->changed || host->change;
}

static struct sim_class *class_of(struct sim_host *host, int place)
{
  return &host->classes[(place < SHARDS ? place : place - SHARDS) % SHARDS];
}

/* ---- logs and lanes ---- */

static uint16_t in_lane(int host)
{
  return (uint16_t)(1 << host);
}

static uint16_t as_left(int host)
{
  return (uint16_t)(8 << host);
}

static void leave_all(int host, int shard)
{
  struct sim_place *place = &world.places[shard];
  for (int k = 0; k < place->session_count; k++) {
    for (int s = 0; s < place->sessions[k].count; s++) {
      uint16_t *event = &place->sessions[k].events[s];
      if (*event & in_lane(host))
        *event = (uint16_t)((*event & ~in_lane(host)) | as_left(host));
    }
  }
}

static void clear_all(int host, int shard, uint16_t bits)
{
  struct sim_place *place = &world.places[shard];
  (void)host;
  for (int k = 0; k < place->session_count; k++)
    for (int s = 0; s < place->sessions[k].count; s++)
      place->sessions[k].events[s] &= (uint16_t)~bits;
}

static bool try_hole(int host, const struct sim_hole *hole)
{
  struct sim_place *place = &world.places[hole->shard];
  if (!world.bot_up)
    return false;
  for (int k = 0; k < place->session_count; k++) {
    struct sim_session *session = &place->sessions[k];
    if (session->epoch < hole->from_epoch || session->epoch > hole->to_epoch)
      continue;
    for (int s = 0; s < session->count; s++) {
      uint64_t sequence = (uint64_t)s + 1;
      bool inside = (session->epoch > hole->from_epoch || sequence > hole->from) &&
                    (session->epoch < hole->to_epoch || sequence <= hole->to);
      if (inside && session->events[s] & (in_lane(host) | as_left(host)))
        session->events[s] |= EVENT_DELIVERED;
    }
  }
  return true;
}

static int session_index(const struct sim_place *place, uint64_t epoch)
{
  for (int k = place->session_count - 1; k >= 0; k--)
    if (place->sessions[k].epoch <= epoch)
      return k;
  return 0;
}

/* The last event that the old shard's log has. */
static sim_twin last_of_old(int number, const struct sim_shard *shard)
{
  int session = shard->epoch ? session_index(&world.places[number], shard->epoch) + 1 : 0;
  return (sim_twin)session << TWIN_SESSION | (sim_twin)shard->durable;
}

/* Delivers some; and past the ends of sessions that have no more here. */
static void step_lane(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  struct sim_place *place = &world.places[number];
  tg_ms until = tg_cluster_lease_until(host->cluster, told(host, number));
  if (number >= SHARDS && !host->changed && class_of(host, number)->step < TG_CLASS_STEP_SWITCHED)
    return;
  bool may = world.bot_up && (until == TG_LEASE_OPEN || clock_of(host) < until);
  for (int left = 20; shard->lane_session < place->session_count;) {
    struct sim_session *session = &place->sessions[shard->lane_session];
    if (session->epoch > shard->epoch)
      return;
    uint64_t end = session->epoch == shard->epoch ? shard->durable : (uint64_t)session->count;
    while (shard->delivered < end) {
      uint16_t *event = &session->events[shard->delivered];
      if (*event & in_lane(number_of(host))) {
        if (!may || left-- == 0)
          return;
        *event |= EVENT_DELIVERED;
      }
      shard->delivered++;
    }
    if (session->epoch == shard->epoch)
      return;
    shard->lane_session++;
    shard->delivered = 0;
  }
}

static void note_progress(struct sim_host *host, int number, struct tg_cluster_progress *progress)
{
  const struct sim_shard *shard = &host->shards[number];
  const struct sim_place *place = &world.places[number];
  bool any = shard->lane_session < place->session_count && shard->epoch > 0;
  *progress = (struct tg_cluster_progress){
      .epoch = shard->epoch,
      .durable = shard->durable,
      .delivered_epoch = any ? place->sessions[shard->lane_session].epoch : shard->epoch,
      .delivered = any ? shard->delivered : shard->durable,
      .guilds = GUILDS,
      .published = number >= SHARDS && class_of(host, number)->published,
  };
}

static void on_progress(void *ctx, int number, struct tg_cluster_progress *progress)
{
  struct sim_host *host = ctx;
  note_progress(host, place_of(number, host->changed ? NEW_SHARDS : SHARDS), progress);
}

/* ---- shards, as a worker would run them ---- */

static void hang_up(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  if (shard->connection)
    disconnect(number_of(host), number, shard->connection);
  shard->connection = 0;
}

static void begin_phase(struct sim_shard *shard, enum phase phase, tg_ms wait)
{
  shard->phase = phase;
  shard->at = world.now + wait;
}

static void stop_shard(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  hang_up(host, number);
  leave_all(number_of(host), number);
  struct tg_cluster_progress before = shard->left;
  note_progress(host, number, &shard->left);
  if (shard->left_fence) { /* from the first event that is not delivered */
    shard->left.delivered_epoch = before.delivered_epoch;
    shard->left.delivered = before.delivered;
    shard->left.published = shard->left.published || before.published;
  }
  shard->left_fence = shard->fence;
  shard->fence = 0;
  begin_phase(shard, OFF, 0);
}

static void say_runs(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  char id[32];
  snprintf(id, sizeof id, "session-%llu", (unsigned long long)shard->epoch);
  const struct tg_cluster_session session = {shard->epoch, id, "wss://gateway-1", "intents-1"};
  tg_cluster_runs(host->cluster, told(host, number), &session);
  begin_phase(shard, UP, 0);
}

static void connected(struct sim_host *host, int number, int connection, uint64_t replay_to)
{
  struct sim_shard *shard = &host->shards[number];
  shard->connection = connection;
  shard->heard_of = world.places[number].session_count - 1;
  shard->kicked = false;
  shard->replayed_to = replay_to;
}

static void step_connecting(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  struct sim_place *place = &world.places[number];
  if (!shard->has_session) {
    begin_phase(shard, ASKING, 0);
    tg_cluster_ask(host->cluster, told(host, number), TG_IDENTIFY_LOST, clock_of(host));
    host->wakeup = world.now;
    return;
  }
  if (!tg_cluster_may_resume(host->cluster, told(host, number))) {
    shard->at = world.now + 500;
    return;
  }
  int kicked = place->connected;
  uint64_t last = last_session(place) ? (uint64_t)last_session(place)->count : 0;
  if (!resume(number_of(host), number, shard->epoch, shard->durable)) {
    shard->has_session = false;
    begin_phase(shard, CONNECTING, 1000 + chance(1000));
    return;
  }
  if (kicked >= 0 && kicked != number_of(host)) {
    hosts[kicked].shards[number].kicked = true;
    hosts[kicked].shards[number].cut_after = last;
  }
  connected(host, number, place->connection, last);
  shard->phase = RESUMING;
}

static void step_sending(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  if (clock_of(host) > shard->deadline) {
    tg_cluster_unask(host->cluster, told(host, number));
    begin_phase(shard, CONNECTING, 0);
    return;
  }
  shard->accepted = identify(number_of(host), number, shard->granted);
  if (shard->accepted)
    connected(host, number, world.places[number].connection, 0);
  tg_cluster_sent(host->cluster, told(host, number));
  begin_phase(shard, IDENTIFYING, 50 + chance(chance(10) ? 500 : 4000));
}

static void step_identifying(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  tg_cluster_done(host->cluster, told(host, number));
  if (!shard->accepted) {
    begin_phase(shard, CONNECTING, 2000);
    return;
  }
  shard->epoch = shard->granted;
  shard->durable = 0;
  shard->has_session = true;
  say_runs(host, number);
}

/* Reads what is its own of what has come; false: it waits for what the old shard has. */
static bool take_event(struct sim_host *host, int number, struct sim_session *session)
{
  struct sim_shard *shard = &host->shards[number];
  const struct sim_class *class = class_of(host, number);
  bool is_new = number >= SHARDS && !host->changed;
  sim_twin twin = session->twins[shard->durable];
  if (number >= SHARDS && class->switched && twin && twin <= class->last) {
    shard->durable++; /* it was the old one's */
    return true;
  }
  if (number < SHARDS && class->switched)
    return false; /* it is the new ones' */
  if (is_new && !class->switched && shard->durable > 0) {
    const struct sim_shard *old = &host->shards[number % SHARDS];
    if (!twin || twin > last_of_old(number % SHARDS, old))
      return false;
    shard->durable++;
    return true;
  }
  bool counts = !is_new || class->step >= TG_CLASS_STEP_SWITCHED;
  session->events[shard->durable++] |= (uint16_t)((counts ? EVENT_RECEIVED : 0) | in_lane(number_of(host)));
  return true;
}

/* Reads what has come, and notices that the connection has ended. */
static void step_reading(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  struct sim_session *session = &world.places[number].sessions[shard->heard_of];
  uint64_t end = shard->kicked ? shard->cut_after : (uint64_t)session->count;
  bool waits = false;
  while (shard->durable < end && !waits)
    waits = !take_event(host, number, session);
  bool is_over =
      !shard->kicked && (!world.places[number].alive || world.places[number].connection != shard->connection);
  if (shard->kicked || is_over) {
    shard->kicked = false;
    shard->connection = 0;
    tg_cluster_cut(host->cluster, told(host, number), clock_of(host));
    begin_phase(shard, CONNECTING, 100 + chance(500));
  } else if (shard->phase == RESUMING && (waits || shard->durable >= shard->replayed_to)) {
    say_runs(host, number);
  }
}

static void step_shard(struct sim_host *host, int number)
{
  struct sim_shard *shard = &host->shards[number];
  if (shard->phase == UP || shard->phase == RESUMING)
    step_reading(host, number);
  if (shard->fence)
    step_lane(host, number);
  if (world.now < shard->at)
    return;
  switch (shard->phase) {
  case CONNECTING:
    step_connecting(host, number);
    break;
  case SENDING:
    step_sending(host, number);
    break;
  case IDENTIFYING:
    step_identifying(host, number);
    break;
  case STOPPING:
    begin_phase(shard, WAITING, 0);
    tg_cluster_let_go(host->cluster, told(host, number), false);
    host->wakeup = world.now;
    break;
  case EXPECTING:
    begin_phase(shard, OFF, 0);
    tg_cluster_expected(host->cluster, told(host, number));
    break;
  default:
    break;
  }
}

/* ---- words ---- */

static void run_shard(struct sim_host *host, int place, const struct tg_cluster_word *word)
{
  struct sim_shard *shard = &host->shards[place];
  struct sim_class *class = class_of(host, place);
  if (place < SHARDS && class->without_old)
    return;
  class->fence = shard->fence = word->fence;
  if (!word->own) {
    class->published = class->published && place >= SHARDS;
    leave_all(number_of(host), place);
    shard->epoch = word->session.epoch;
    shard->has_session = word->session.id != NULL;
    shard->durable = shard->delivered = word->sequence;
    shard->lane_session = session_index(&world.places[place], shard->epoch);
  }
  begin_phase(shard, CONNECTING, 50 + chance(300));
}

static void note_hole(struct sim_host *host, const struct tg_cluster_word *word)
{
  for (size_t i = 0; i < sizeof host->holes / sizeof host->holes[0]; i++) {
    struct sim_hole *hole = &host->holes[i];
    if (hole->used)
      continue;
    *hole = (struct sim_hole){
        true, place_of(word->shard, word->total), word->from_epoch, word->from, word->to_epoch, word->to, ""};
    snprintf(hole->key, sizeof hole->key, "%s", word->key);
    world.holes++;
    return;
  }
}

#include "sim_change.h"

static void obey_shard(struct sim_host *host, const struct tg_cluster_word *word)
{
  int place = place_of(word->shard, word->total);
  struct sim_shard *shard = &host->shards[place];
  switch (word->kind) {
  case TG_CLUSTER_RUN:
    run_shard(host, place, word);
    break;
  case TG_CLUSTER_LOST:
    world.lost_leases++;
    *class_of(host, place) = (struct sim_class){.published = class_of(host, place)->published};
    stop_shard(host, place);
    break;
  case TG_CLUSTER_RELEASED:
    world.moves++;
    stop_shard(host, place);
    break;
  case TG_CLUSTER_EXPECT:
    begin_phase(shard, EXPECTING, 50 + chance(200));
    break;
  case TG_CLUSTER_LET_GO:
    hang_up(host, place);
    begin_phase(shard, STOPPING, chance(50));
    break;
  case TG_CLUSTER_KEEP:
    begin_phase(shard, CONNECTING, 50);
    break;
  case TG_CLUSTER_VOID:
    clear_all(number_of(host), place, as_left(number_of(host)));
    shard->left_fence = 0;
    break;
  case TG_CLUSTER_GRANTED:
    shard->granted = word->epoch;
    shard->deadline = word->deadline;
    begin_phase(shard, SENDING, chance(6) ? chance(30) : chance(600));
    break;
  default:
    break;
  }
}

static void obey(struct sim_host *host)
{
  struct tg_cluster_word word;
  while (tg_cluster_next_word(host->cluster, &word)) {
    static const char *const names[] = {"run",      "lost",  "expect",     "unexpect", "let go",      "keep",
                                        "released", "void",  "hole",       "granted",  "ask discord", "total",
                                        "change",   "class", "taken back", "changed",  "mismatch"};
    trace("host %d: %s shard %d fence %llu%s from %llu", number_of(host), names[word.kind], word.shard,
          (unsigned long long)word.fence, word.own ? " own" : "", (unsigned long long)word.sequence);
    if (word.kind == TG_CLUSTER_HOLE)
      note_hole(host, &word);
    else if (word.kind == TG_CLUSTER_ASK_DISCORD)
      host->discord_at = world.now + 50 + chance(300);
    else if (word.kind == TG_CLUSTER_MISMATCH)
      violation("host %d: mismatch of %s, %s", number_of(host), word.text, word.theirs);
    else if (word.kind >= TG_CLUSTER_TOTAL)
      obey_change(host, &word);
    else
      obey_shard(host, &word);
  }
}

/* ---- processes ---- */

static uint64_t wall_clock_of(const struct sim_host *host)
{
  return (uint64_t)((redis_clock() - world.redis_offset + host->wall_offset) / 1000);
}

static void keep_mark(struct sim_host *host)
{
  struct tg_cluster_view view;
  tg_cluster_view(host->cluster, &view);
  if (view.mark > host->mark && view.mark > wall_clock_of(host))
    host->mark = view.mark;
}

static void make_cluster(struct sim_host *host)
{
  char name[32], home[32];
  snprintf(name, sizeof name, "host-%d", number_of(host));
  snprintf(home, sizeof home, "home-%d-%d", number_of(host), host->home);
  uint64_t mark = wall_clock_of(host) > host->mark ? wall_clock_of(host) : host->mark;
  const struct tg_cluster_options options = {.host = name,
                                             .home = home,
                                             .life = (uint64_t)host->life,
                                             .bot = "bot",
                                             .digest = "intents-1",
                                             .total = chance(2) ? SHARDS : 0,
                                             .was = host->changed ? NEW_SHARDS : SHARDS,
                                             .change = host->change,
                                             .to = host->change ? NEW_SHARDS : 0,
                                             .ended = host->ended,
                                             .done = host->done,
                                             .before = host->done ? SHARDS : 0,
                                             .reserve = RESERVE,
                                             .mark = mark,
                                             .progress = on_progress,
                                             .ctx = host};
  host->linked = false;
  host->link++;
  host->link_at = host->wakeup = world.now;
  host->asked = 0;
  host->discord_at = 0;
  host->cluster = tg_cluster_new(&options, clock_of(host));
  memset(host->holes, 0, sizeof host->holes);
}

/* What its disk has. */
static void tell_disk(struct sim_host *host)
{
  for (int i = 0; i < PLACES; i++) {
    const struct sim_shard *shard = &host->shards[i];
    char id[32];
    snprintf(id, sizeof id, "session-%llu", (unsigned long long)shard->epoch);
    const struct tg_cluster_session session = {shard->epoch, shard->has_session ? id : NULL,
                                               "wss://gateway-1", "intents-1"};
    uint64_t fence = i < SHARDS && host->classes[i].without_old ? host->classes[i].fence : shard->fence;
    if (fence && is_there(host, i))
      tg_cluster_had(host->cluster, told(host, i), fence, &session);
    if (shard->left_fence && host->changed && i < SHARDS)
      tg_cluster_left_before(host->cluster, i, shard->left_fence, &shard->left);
    else if (shard->left_fence && is_there(host, i))
      tg_cluster_left(host->cluster, told(host, i), shard->left_fence, &shard->left);
  }
}

static void be_born(struct sim_host *host)
{
  host->life++;
  host->alive = true;
  host->stopped = host->draining = host->execs = false;
  host->rests_till = 0;
  host->rate = 0.99 + chance(200) / 10000.0;
  make_cluster(host);
  trace("host %d is born", number_of(host));
  for (int i = 0; i < PLACES; i++) {
    struct sim_shard *shard = &host->shards[i];
    begin_phase(shard, OFF, 0);
    shard->connection = 0;
    shard->kicked = false;
    if (i < SHARDS)
      host->classes[i].step = host->classes[i].told = TG_CLASS_STEP_NONE;
  }
  tell_disk(host);
}

#include "sim_succession.h"

/* `wiped`: with its disk, and all that was only there. */
static void die(struct sim_host *host, bool wiped)
{
  trace("host %d dies%s", number_of(host), wiped ? ", and its disk" : "");
  host->alive = host->linked = false;
  host->link++;
  for (int i = 0; i < PLACES; i++) {
    hang_up(host, i);
    if (!wiped)
      continue;
    struct sim_place *place = &world.places[i];
    uint16_t bits = in_lane(number_of(host)) | as_left(number_of(host));
    for (int k = 0; k < place->session_count; k++) {
      for (int s = 0; s < place->sessions[k].count; s++) {
        uint16_t *event = &place->sessions[k].events[s];
        if (*event & bits && !(*event & EVENT_DELIVERED))
          *event |= EVENT_EXCUSED; /* who had it before may have thrown it away */
        *event &= (uint16_t)~bits;
      }
    }
    host->shards[i] = (struct sim_shard){0};
  }
  if (wiped) {
    host->home++;
    host->changed = false;
    host->change = host->ended = host->done = host->mark = 0;
    memset(host->classes, 0, sizeof host->classes);
  }
  tg_cluster_free(host->cluster);
  host->cluster = NULL;
}

static void step_host(struct sim_host *host)
{
  if (!host->alive || host->stopped)
    return;
  obey(host);
  if (host->discord_at && world.now >= host->discord_at) {
    host->discord_at = 0;
    tg_cluster_budget(host->cluster, world.limit, world.limit - world.spent, 86400000, BUCKETS, SHARDS);
  }
  for (size_t i = 0; i < sizeof host->holes / sizeof host->holes[0]; i++) {
    struct sim_hole *hole = &host->holes[i];
    if (!hole->used || !try_hole(number_of(host), hole))
      continue;
    tg_cluster_filled(host->cluster, hole->key);
    hole->used = false;
  }
  for (int i = 0; i < (world.changes ? PLACES : SHARDS); i++)
    step_shard(host, i);
  step_classes(host);
  if (world.now >= host->wakeup) {
    tg_ms now = clock_of(host);
    tg_cluster_tick(host->cluster, now);
    host->wakeup = world.now + (tg_cluster_wakeup(host->cluster, now) - now);
    keep_mark(host);
  }
  obey(host);
  step_link(host);
}
