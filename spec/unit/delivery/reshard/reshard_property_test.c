/* A class between two sets of shards, against everything that can happen: jitter, stalls, equal events, types
 * that differ between the sets, guilds that come and go, outages, lost sessions and connections on either
 * side, skipped numbers, deaths at every step, full disks, and switches forth and back. Whatever it is: no
 * event is lost or doubled, each guild's come in order, no key names two, (epoch, s) rises for each shard id,
 * and a process runs its filters once for an event. The same in a cluster, where the host may be another one
 * after a death: there, what was delivered last may come again, under the key that it had.
 *
 * TG_RESHARD_SEEDS=20000 looks for longer; a seed that fails is told, and TG_RESHARD_FIRST=4711 begins with
 * it. TG_RESHARD_TRACE=815 says what happens, and what becomes of event 815. */

#include "unit/delivery/reshard/fake_hosts.h"

#include <time.h>

enum { TROUBLE = 120000 /* ms */, PEACE = 100000, SETTLES = 90000, BUDGET = 4 /* s of each test */ };

static tg_ms ticks_at, restarts_at, bot_is_down_until;

/* --- a seed ------------------------------------------------------------------------- */

static void make_plan(void)
{
  static const int totals[][2] = {{1, 2}, {2, 3}, {4, 2}, {3, 4}, {2, 4}, {4, 6}, {3, 1}, {2, 6}};
  static const int multiples[][2] = {{1, 2}, {2, 4}, {2, 6}, {3, 6}};
  static const tg_ms lags[] = {100, 500, 3000};
  const int *pair = clustered ? multiples[below(sizeof multiples / sizeof multiples[0])]
                              : totals[below(sizeof totals / sizeof totals[0])];
  plan.from = pair[0];
  plan.to = pair[1];
  plan.number = (int)below((uint32_t)tg_class_count(pair[0], pair[1]));
  plan.pause = STEP + below(250);
  plan.otherwise = chance(30) ? 20 + below(80) : 0;
  plan.one_sided = chance(30) ? 20 + below(80) : 0;
  plan.odd_outages = chance(30);
  plan.repeats = chance(50) ? below(30) : 0;
  plan.lag = lags[below(3)];
  plan.jitter = below(400);
  plan.trouble_every = chance(85) ? 5000 << below(6) : 0;
  has_log = chance(80) || clustered;
  member_bytes = chance(20) ? 20000 : 0;
}

static void add_lanes(int total, int side)
{
  int step = tg_class_count(plan.from, plan.to);
  for (int id = plan.number; id < total; id += step) {
    struct lane *lane = &lanes[lane_count++];
    struct session *session = &sessions[session_count++];
    *lane = (struct lane){.ref = tg_ref_of(id, side), .session = session};
    *session = (struct session){.ref = lane->ref};
    lane->row.epoch = 9;
    if (side == 1)
      continue;
    begin_session(session);
    lane->row.session = session->number;
    lane->row.epoch = 5 + below(5);
    lane->row.durable = lane->row.delivered = (uint64_t)session->count;
    lane->row.loaded = true;
    for (int s = 1; s <= session->count; s++)
      events[session->shown[s]].delivered = 1;
  }
}

static void begin(uint64_t number)
{
  seed = number;
  dice = (number + 1) * 0x9e3779b97f4a7c15u;
  now = 16000;
  event_count = session_count = lane_count = sessions_ever = process = 0;
  memset(told, 0, sizeof told);
  direct_at = 0;
  for (int guild = 0; guild < GUILDS; guild++) {
    position[guild] = -1;
    guild_is_there[guild] = true;
    last_change[guild] = TG_GUILD_CHANGE_NONE;
  }
  make_plan();
  add_lanes(plan.from, 0);
  add_lanes(plan.to, 1);
  for (int i = 0; i < event_count; i++)
    position[events[i].guild] = i;
  log_stuck = disk_full = dead = peaceful = false;
  die_at = 0;
  ticks_at = restarts_at = bot_is_down_until = 0;
  tg_skip_file_remove(state_dir, plan.number);
  start();
  begin_redis();
  read_rows();
}

static void end(void)
{
  if (class)
    tg_class_free(class);
  class = NULL;
  for (int i = 0; i < session_count; i++)
    free_session(&sessions[i]);
  for (int m = 0; m < lane_count; m++)
    free(lanes[m].records);
}

/* --- trouble ------------------------------------------------------------------------ */

static struct session *some_session(void)
{
  struct session *session = &sessions[below((uint32_t)session_count)];
  return session->number > 0 && !session->is_over ? session : NULL;
}

static void skip_number(struct session *session)
{
  int guild = (int)below(GUILDS);
  if (session->head[guild] == session->tail[guild])
    return;
  int event = session->queue[guild][session->head[guild]++].event;
  number_event(session, event, events[event].change);
  session->hole[session->count] = true;
}

static void trouble_discord(void)
{
  struct session *session = some_session();
  if (session && once_in(plan.trouble_every)) {
    session->stalled_until = now + below(30000);
    TRACE("session %d stalls until %.2f", session->number, (double)session->stalled_until / 1000);
  }
  if (session && once_in(4 * plan.trouble_every))
    skip_number(session);
  if (plan.odd_outages && once_in(2 * plan.trouble_every))
    emit_one_sided_outage();
  if (session && once_in(2 * plan.trouble_every)) {
    session->is_over = true;
    TRACE("session %d is over", session->number);
    for (int m = 0; m < lane_count && class; m++)
      if (lanes[m].session == session)
        disconnect(m, below(4000));
  }
}

static void trouble_worker(void)
{
  if (once_in(plan.trouble_every))
    disconnect((int)below((uint32_t)lane_count), below(chance(20) ? 30000 : 2000));
  if (once_in(plan.trouble_every))
    log_stuck = !log_stuck;
  if (once_in(4 * plan.trouble_every))
    disk_full = !disk_full;
  if (once_in(2 * plan.trouble_every))
    bot_is_down_until = now + below(20000);
  if (once_in(plan.trouble_every))
    dead = true;
}

/* --- a turn --------------------------------------------------------------------------- */

static void run_lanes(void)
{
  int first = (int)below((uint32_t)lane_count);
  for (int i = 0; i < lane_count && !dead; i++)
    run_lane((first + i) % lane_count);
}

/* The manager's and the class's own wish to switch. */
static void look(void)
{
  if (ticks_at > now)
    return;
  for (int m = 0; m < lane_count; m++)
    set_link(m, lanes[m].link);
  ticks_at = tg_class_tick(class, now);
  if (obey_urge() || dead)
    return;
  bool back = tg_class_ruling_side(class) == 1;
  if (clustered && back) {
    if (!peaceful && !redis.published && once_in(2000))
      take_back();
  } else if (tg_class_may_switch(class, back) && chance(back ? 15 : 30)) {
    do_switch();
  }
}

static void end_turn(void)
{
  for (int m = 0; m < lane_count && has_log && !log_stuck; m++)
    flush(&lanes[m], INT32_MAX);
  if (chance(90))
    write_rows();
  if (clustered)
    tell_others();
  for (int m = 0; m < lane_count && bot_is_down_until <= now; m++)
    send_some(m);
  for (int m = 0; m < lane_count; m++)
    if (has_log && lanes[m].link == TG_CLASS_UP && once_in(5000))
      lanes[m].session->kept_from = (int)lanes[m].row.durable + 1;
}

static void turn(void)
{
  now += STEP;
  while (once_in(plan.pause))
    emit_some_event();
  if (!peaceful && plan.trouble_every > 0)
    trouble_discord();
  for (int i = 0; i < session_count; i++)
    run_session(&sessions[i]);
  if (!class) {
    if (restarts_at > now)
      return;
    start();
  }
  run_lanes();
  if (!dead)
    look();
  if (!dead && !peaceful && plan.trouble_every > 0)
    trouble_worker();
  if (!dead)
    end_turn();
  if (dead) {
    die();
    if (clustered && !peaceful && chance(50))
      move_to_another_host();
    restarts_at = now + below(3000);
  }
}

/* --- what must be --------------------------------------------------------------------- */

static void check_all_came(void)
{
  int owed[GUILDS][200] = {{0}};
  for (int i = 0; i < event_count; i++) {
    const struct event *event = &events[i];
    bool may_lack = event->given_up || event->loose || event->own;
    if (event->content < 0)
      owed[event->guild][-event->content] += event->delivered - !may_lack;
    else if (!may_lack && event->delivered == 0)
      FAIL("event %d (%s of guild %d) is lost", i, tg_event_type_name(event->type), event->guild);
  }
  for (int guild = 0; guild < GUILDS; guild++)
    for (int content = 0; content < 200; content++)
      if (owed[guild][content] < 0)
        FAIL("%d events of guild %d with content %d are lost", -owed[guild][content], guild, -content);
}

static bool is_settled(void)
{
  return class && tg_class_state(class) == TG_CLASS_SETTLED;
}

static void check_class(void)
{
  char text[160];
  static const uint16_t same[] = {TG_EVENT_MESSAGE_CREATE, TG_EVENT_MESSAGE_UPDATE, TG_EVENT_CHANNEL_UPDATE,
                                  TG_EVENT_MESSAGE_REACTION_ADD, TG_EVENT_GUILD_DELETE};
  if (clustered ? !is_settled() : !tg_class_may_switch(class, tg_class_ruling_side(class) == 1)) {
    tg_class_waits_for(class, text, sizeof text);
    for (uint16_t type = 0; type < tg_event_type_count(); type++)
      if (tg_class_unmatched(class, type) > 0)
        TRACE("%llu of %s had no copy%s", (unsigned long long)tg_class_unmatched(class, type),
              tg_event_type_name(type), tg_class_is_cut(class, type) ? ", and it is cut" : "");
    FAIL("the class is %s: waits for %s", tg_class_state_name(tg_class_state(class)), text);
  }
  for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
    if (tg_class_is_cut(class, same[i]))
      FAIL("%s is taken for a type that differs", tg_event_type_name(same[i]));
}

static void run_seed(uint64_t number)
{
  begin(number);
  TRACE("seed %llu: %d to %d, class %d, %s", (unsigned long long)number, plan.from, plan.to, plan.number,
        has_log ? "log" : "memory");
  while (now < TROUBLE)
    turn();
  log_stuck = disk_full = false;
  peaceful = true;
  while (now < TROUBLE + PEACE)
    turn();
  plan.pause = 1 << 30;
  for (int i = 0; i < session_count; i++)
    sessions[i].stalled_until = 0;
  tg_ms quiet = now + 10000;
  while (now < quiet || (clustered && !is_settled() && now < quiet + SETTLES))
    turn();
  check_all_came();
  check_class();
  end();
}

static void run_seeds(int seconds)
{
  const char *seeds = getenv("TG_RESHARD_SEEDS"), *first = getenv("TG_RESHARD_FIRST");
  uint64_t number = first ? strtoull(first, NULL, 10) : 1,
           count = seeds ? strtoull(seeds, NULL, 10) : UINT64_MAX;
  clock_t until = clock() + seconds * CLOCKS_PER_SEC;
  uint64_t done = 0, total = 0;
  const char *event = getenv("TG_RESHARD_TRACE");
  trace = event != NULL;
  watched = trace && *event ? atoi(event) : -1;
  for (; done < count && (seeds || clock() < until); done++, number++) {
    run_seed(number);
    total += (uint64_t)event_count;
  }
  printf("%llu seeds, %llu events, %d switches, %d back, %d urged, %d deaths, %d sessions lost\n",
         (unsigned long long)done, (unsigned long long)total, switches, backs, urged, kills, losses);
}

static void one_host(void **state)
{
  (void)state;
  run_seeds(BUDGET);
  assert_true(switches > 0 && backs > 0 && kills > 0);
}

static void several_hosts(void **state)
{
  (void)state;
  clustered = true;
  switches = backs = urged = kills = losses = 0;
  run_seeds(BUDGET);
  printf("%d moves to another host, %d of what had switched, %d taken back\n", moves, published_moves,
         undone);
  begin_redis();
  assert_true(switches > 0 && kills > 0 && published_moves > 0 && moves > published_moves && undone > 0);
}

int main(void)
{
  char directory[] = "/tmp/tidegate-reshard-XXXXXX";
  assert_non_null(mkdtemp(directory));
  state_dir = directory;
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_host), cmocka_unit_test(several_hosts)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  for (int number = 0; number < 8; number++)
    tg_skip_file_remove(directory, number);
  rmdir(directory);
  return failed;
}
