#pragma once

/* A worker around a class: lanes, a log that is flushed at the end of each turn, rows of the shard table, a
 * bot that takes what the lanes send. It can die at every step; what it has written stays. */

#include "unit/delivery/reshard/fake_discord.h"

#include "delivery/reshard/class.h"

#include <unistd.h>

static const char *state_dir = "/nonexistent";

struct record {
  uint64_t epoch, sequence;
  int event, session;
  bool flushed;
};

/* One for each shard of the class. Of what a process has, `row` and flushed records survive it. */
struct lane {
  tg_shard_ref ref;
  struct session *session; /* Discord's, which is not always that of the row */
  struct {
    int session; /* number; 0: none */
    uint64_t epoch, durable, delivered;
    bool loaded;
  } row;
  struct record *records;
  int head, count, room;
  uint64_t flushed_epoch, flushed_sequence; /* the last in the log */

  /* Of the process. */
  uint64_t received;
  enum tg_class_link link;
  tg_ms connects_at;
  tg_ms lost_since; /* the session is known to be lost; 0: it is not */
  int cursor;       /* the connection has shown the session up to here */
  bool is_no_more;  /* nobody runs it */
  int taken_from;   /* the session that it had when the other side took over; 0: that has not been */
};

static struct lane lanes[SESSIONS_MAX];
static int lane_count;
static struct tg_class *class;
static uint64_t worker_bytes;
static int process;             /* counts them */
static bool has_log, log_stuck; /* flushes come late */
static bool disk_full, dead, peaceful;
static bool clustered; /* other hosts may get the class: fake_hosts.h */
static int die_at, step_number;
static int switches, backs, urged, kills, losses;
static size_t member_bytes;

static bool trace;
static int watched = -1; /* its fate is told; -10 and less: that of those of a guild that have equals */

static bool is_watched(int event)
{
  return event == watched ||
         (watched < -1 && events[event].content < 0 && events[event].guild == -watched - 10);
}

#define TRACE(...)                                                                                           \
  do {                                                                                                       \
    if (trace)                                                                                               \
      printf("%8.2f ", (double)now / 1000), printf(__VA_ARGS__), putchar('\n');                              \
  } while (0)

#define FAIL(...)                                                                                            \
  do {                                                                                                       \
    printf("TG_RESHARD_FIRST=%llu TG_RESHARD_SEEDS=1, at %.2f s: ", (unsigned long long)seed,                \
           (double)now / 1000);                                                                              \
    printf(__VA_ARGS__);                                                                                     \
    putchar('\n');                                                                                           \
    fail();                                                                                                  \
  } while (0)

static const char *name_of(const struct lane *lane)
{
  static char text[4][24];
  static int i;
  i = (i + 1) % 4;
  snprintf(text[i], sizeof text[i], "%s %d", tg_ref_side(lane->ref) == 0 ? "old" : "new",
           tg_ref_id(lane->ref));
  return text[i];
}

static bool rules(const struct lane *lane)
{
  return tg_class_ruling_side(class) == tg_ref_side(lane->ref);
}

/* True: the process has died here. */
static bool dies(void)
{
  if (!dead && die_at > 0 && --die_at == 0) {
    TRACE("dies at step %d of a switch", step_number);
    dead = true;
  }
  step_number++;
  return dead;
}

/* --- the bot ------------------------------------------------------------------------ */

struct told {
  uint64_t epoch, sequence;
};
static struct told told[64]; /* by shard id */
static int position[GUILDS]; /* of the last event that it was told of */

/* The bot knows the key: the host that died had delivered it, and could not say so any more. */
static bool is_known(const struct lane *lane, const struct record *record)
{
  const struct event *event = &events[record->event];
  return clustered && event->delivered > 0 && event->key.ref == lane->ref &&
         event->key.epoch == record->epoch && event->key.sequence == record->sequence;
}

static void note_delivered(const struct lane *lane, const struct record *record)
{
  struct event *event = &events[record->event];
  event->secure = true;
  event->delivered++;
  event->key.ref = lane->ref;
  event->key.epoch = record->epoch;
  event->key.sequence = record->sequence;
}

static void tell_bot(struct lane *lane, const struct record *record)
{
  struct event *event = &events[record->event];
  struct told *last = &told[tg_ref_id(lane->ref)];
  if (is_known(lane, record))
    return;
  note_delivered(lane, record);
  if (is_watched(record->event))
    TRACE("%s: event %d is delivered as %llu.%llu", name_of(lane), record->event,
          (unsigned long long)record->epoch, (unsigned long long)record->sequence);
  if (record->session == lane->row.session)
    lane->row.delivered = record->sequence;
  if (event->own) {
    if (event->delivered > 1)
      FAIL("%s: %s of the session's own (%llu.%llu) is delivered twice", name_of(lane),
           tg_event_type_name(event->type), (unsigned long long)record->epoch,
           (unsigned long long)record->sequence);
    return;
  }
  if (record->epoch < last->epoch || (record->epoch == last->epoch && record->sequence <= last->sequence))
    FAIL("%s: %llu.%llu is delivered behind %llu.%llu", name_of(lane), (unsigned long long)record->epoch,
         (unsigned long long)record->sequence, (unsigned long long)last->epoch,
         (unsigned long long)last->sequence);
  *last = (struct told){record->epoch, record->sequence};
  if (event->loose || (clustered && event->given_up))
    return; /* the old session was lost before it had shown it: late, by the new one, is better than never */
  /* Which of several equal ones it is cannot be told: the next. */
  int at = record->event;
  if (event->content < 0)
    for (at = position[event->guild] + 1;
         at < event_count && (events[at].guild != event->guild || events[at].content != event->content ||
                              events[at].type != event->type || events[at].own);)
      at++;
  else if (event->delivered > 1)
    FAIL("%s: event %d (%s of guild %d) is delivered twice", name_of(lane), at,
         tg_event_type_name(event->type), event->guild);
  if (at >= event_count || at <= position[event->guild])
    FAIL("%s: event %d (%s of guild %d) is delivered behind event %d", name_of(lane), record->event,
         tg_event_type_name(event->type), event->guild, position[event->guild]);
  position[event->guild] = at;
}

/* No lane sends while one of the other side has a lower epoch in front. */
static bool may_send(const struct lane *lane)
{
  for (int i = 0; i < lane_count; i++) {
    const struct lane *other = &lanes[i];
    if (tg_ref_side(other->ref) != tg_ref_side(lane->ref) && other->head < other->count &&
        tg_class_has_ruled(class, i) && other->records[other->head].epoch < lane->records[lane->head].epoch)
      return false;
  }
  return true;
}

/* --- log, rows ------------------------------------------------------------------------ */

static void push(struct lane *lane, int event, uint64_t sequence)
{
  if (lane->count == lane->room) {
    lane->room = 2 * lane->room + 64;
    lane->records = tg_realloc(lane->records, (size_t)lane->room * sizeof *lane->records);
  }
  lane->records[lane->count++] =
      (struct record){lane->row.epoch, sequence, event, lane->row.session, !has_log};
}

/* At most so many records. */
static void flush(struct lane *lane, int most)
{
  for (int i = lane->head; i < lane->count && most > 0; i++) {
    struct record *record = &lane->records[i];
    if (record->flushed)
      continue;
    record->flushed = true;
    events[record->event].secure = true;
    lane->flushed_epoch = record->epoch;
    lane->flushed_sequence = record->sequence;
    most--;
  }
}

/* What the lane has of its session is safe up to here. */
static uint64_t settled(const struct lane *lane)
{
  for (int i = lane->head; i < lane->count; i++) {
    const struct record *record = &lane->records[i];
    if (!has_log && events[record->event].own && !rules(lane))
      continue; /* no RESUME brings READY again */
    if (!has_log || !record->flushed)
      return record->session == lane->row.session ? record->sequence - 1 : 0;
  }
  return lane->received;
}

static void settle_all(void)
{
  for (int m = 0; m < lane_count; m++)
    if (lanes[m].row.session > 0)
      tg_class_settled(class, m, lanes[m].row.epoch, settled(&lanes[m]));
}

static void write_rows(void)
{
  settle_all();
  for (int m = 0; m < lane_count; m++) {
    struct lane *lane = &lanes[m];
    uint64_t bound, safe = settled(lane);
    if (tg_class_bound(class, m, &bound) && bound < safe)
      safe = bound;
    if (safe > lane->row.durable)
      lane->row.durable = safe;
  }
}

static void send_some(int m)
{
  struct lane *lane = &lanes[m];
  for (int most = (int)below(12); most > 0 && lane->head < lane->count; most--) {
    if (!lane->records[lane->head].flushed || !tg_class_has_ruled(class, m) || !may_send(lane))
      return;
    tell_bot(lane, &lane->records[lane->head++]);
    if (!has_log)
      write_rows(); /* as soon as it is delivered */
  }
}

/* --- the switch ------------------------------------------------------------------------- */

static void filter_and_push(struct lane *lane, int event, uint64_t sequence)
{
  if (events[event].filtered_in == process && !events[event].loose && events[event].content >= 0)
    FAIL("%s: event %d (%s of guild %d) meets the filters twice", name_of(lane), event,
         tg_event_type_name(events[event].type), events[event].guild);
  events[event].filtered_in = process;
  push(lane, event, sequence);
}

static void release(void *ctx, int m, const struct tg_class_held *held)
{
  struct lane *lane = &lanes[m];
  (void)ctx;
  if (dies())
    return;
  if (held->event->epoch != lane->row.epoch)
    FAIL("%s: released with another epoch than the row's", name_of(lane));
  int event = lane->session->shown[held->event->sequence];
  if (held->change != lane->session->change[held->event->sequence] ||
      held->event->data.at[held->event->data.length - 1] != '}' ||
      held->event->name.at != held->event->raw.at + 6)
    FAIL("%s: released another event than was held", name_of(lane));
  filter_and_push(lane, event, held->event->sequence);
}

/* False: nothing has happened. Or the process is dead. */
static bool do_switch(void)
{
  struct tg_skip_list list;
  struct tg_error error;
  bool back = tg_class_ruling_side(class) == 1;
  step_number = 0;
  die_at = !peaceful && chance(15) ? 1 + (int)below(12) : 0;
  for (int m = 0; m < lane_count && has_log; m++)
    flush(&lanes[m], INT32_MAX);
  write_rows();
  if (dies())
    return false;
  tg_class_list(class, &list);
  if (dies())
    return tg_skip_list_free(&list), false;
  struct tg_skip_file *file = tg_skip_file_make(disk_full ? "/nonexistent" : state_dir, &list, &error);
  tg_skip_list_free(&list);
  if (!file) {
    TRACE("switch: the disk is full");
    return false;
  }
  back ? backs++ : switches++;
  for (int m = 0; m < lane_count; m++) {
    if (dies())
      return tg_skip_file_close(file), true;
    lanes[m].row.epoch = tg_skip_file_list(file)->members[m].epoch;
    lanes[m].taken_from = lanes[m].row.session;
  }
  TRACE("switch to side %d, %d entries", tg_skip_file_list(file)->ruling,
        tg_skip_file_list(file)->entry_count);
  tg_class_switch(class, file, now, release, NULL);
  if (dies())
    return true;
  for (int m = 0; m < lane_count && has_log; m++) {
    flush(&lanes[m], dies() ? (int)below(6) : INT32_MAX);
    if (dead)
      return true;
  }
  settle_all();
  dies();
  die_at = 0;
  return true;
}

/* --- events of a session -------------------------------------------------------------- */

static void give_up(int event)
{
  if (is_watched(event))
    TRACE("event %d is given up%s", event, events[event].secure ? ", but secure" : "");
  if (!events[event].secure)
    events[event].given_up = true;
}

/* What the ruler was not shown, and the class was not ready for. */
static void give_up_all(const struct lane *lane)
{
  for (int i = 0; i < event_count; i++)
    if (has_guild(lane->session, events[i].guild))
      give_up(i);
}

enum { FORSAKEN = 15000 /* ms that a shard may be without a session */ };

/* False: it stayed as it was. */
static bool obey_urge(void)
{
  enum tg_class_urge urge = tg_class_urges(class);
  if (urge == TG_CLASS_CALM || (clustered && tg_class_ruling_side(class) == 1))
    return false;
  TRACE("urged: %s", tg_class_urge_text(urge));
  urged++;
  for (int m = 0; m < lane_count; m++)
    if (rules(&lanes[m]) && lanes[m].lost_since > 0 && now - lanes[m].lost_since >= FORSAKEN)
      give_up_all(&lanes[m]); /* nobody waits any longer for what it alone would have shown */
  return do_switch();
}

static void on_hole(int m, int from, int to)
{
  struct lane *lane = &lanes[m];
  TRACE("%s: numbers %d to %d are missing", name_of(lane), from, to);
  tg_class_skipped(class, m, now);
  bool ruled = rules(lane);
  if (obey_urge() || dead || !ruled)
    return;
  for (int s = from; s <= to; s++)
    give_up(lane->session->shown[s]);
}

static void receive(int m, int s)
{
  struct lane *lane = &lanes[m];
  int event = lane->session->shown[s];
  if (lane->session->hole[s] || (uint64_t)s <= lane->received)
    return;
  if ((uint64_t)s > lane->received + 1)
    on_hole(m, (int)lane->received + 1, s - 1);
  if (dead)
    return;
  lane->received = (uint64_t)s;
  char text[256];
  struct tg_event shown;
  write_event(&shown, text, sizeof text, lane->session, s);
  shown.epoch = lane->row.epoch;
  enum tg_class_verdict verdict = tg_class_show(class, m, &shown, lane->session->change[s], now);
  if (is_watched(event))
    TRACE("%s: event %d (%d) comes as %d: %s", name_of(lane), event, events[event].content, s,
          verdict == TG_CLASS_PASS   ? "passes"
          : verdict == TG_CLASS_HOLD ? "is held"
                                     : "is dropped");
  switch (verdict) {
  case TG_CLASS_PASS:
    filter_and_push(lane, event, (uint64_t)s);
    break;
  case TG_CLASS_HOLD:
    obey_urge();
    break;
  case TG_CLASS_SKIP:
    break;
  }
}

/* --- connections ---------------------------------------------------------------------- */

static void set_link(int m, enum tg_class_link link)
{
  lanes[m].link = link;
  tg_class_link(class, m, link, now);
}

static void disconnect(int m, tg_ms pause)
{
  set_link(m, TG_CLASS_DOWN);
  lanes[m].connects_at = now + pause;
}

/* Discord begins the session; READY is on its way. */
static void identify(int m)
{
  begin_session(lanes[m].session);
  set_link(m, TG_CLASS_ASKING);
  lanes[m].connects_at = now + below(1000);
}

static void on_ready(int m)
{
  struct lane *lane = &lanes[m];
  bool ruled = rules(lane), had = lane->row.session > 0;
  lane->row.session = lane->session->number;
  lane->row.epoch = tg_class_next_epoch(class);
  lane->row.durable = lane->row.delivered = 0;
  lane->row.loaded = false;
  lane->received = 0;
  lane->cursor = 0;
  lane->lost_since = 0;
  TRACE("%s: READY, epoch %llu", name_of(lane), (unsigned long long)lane->row.epoch);
  tg_class_session(class, m, &(struct tg_class_session){.epoch = lane->row.epoch, .fresh = true}, now);
  bool switched = obey_urge();
  if (dead)
    return;
  if (ruled && had && !switched)
    give_up_all(lane);
  set_link(m, TG_CLASS_UP);
}

static void lose(int m)
{
  struct lane *lane = &lanes[m];
  TRACE("%s: the session is lost", name_of(lane));
  losses++;
  lane->lost_since = now;
  lane->connects_at = now + below(3000);
  tg_class_lost(class, m, now);
  obey_urge();
}

static void connect_lane(int m)
{
  struct lane *lane = &lanes[m];
  if (lane->row.session == 0 || lane->lost_since > 0) {
    identify(m);
  } else if (lane->session->is_over || lane->session->number != lane->row.session) {
    lose(m);
  } else {
    if (!clustered && (int)lane->row.durable + 1 < lane->session->kept_from)
      FAIL("%s: RESUME from %llu, and Discord was told that all before %d is durable", name_of(lane),
           (unsigned long long)lane->row.durable, lane->session->kept_from);
    lane->cursor = (int)lane->row.durable;
    set_link(m, TG_CLASS_REPLAYING);
  }
}

static void run_lane(int m)
{
  struct lane *lane = &lanes[m];
  if (lane->is_no_more)
    return;
  if (lane->link == TG_CLASS_DOWN) {
    if (lane->connects_at > now)
      return;
    connect_lane(m);
  }
  if (!dead && lane->link == TG_CLASS_ASKING) {
    if (lane->connects_at > now)
      return;
    on_ready(m);
  }
  int most = lane->link == TG_CLASS_REPLAYING ? (int)below(60) : INT32_MAX;
  for (; !dead && lane->link != TG_CLASS_DOWN && most > 0 && lane->cursor < lane->session->count; most--)
    receive(m, ++lane->cursor);
  if (!dead && lane->link == TG_CLASS_REPLAYING && lane->cursor == lane->session->count)
    set_link(m, TG_CLASS_UP);
  if (!dead && lane->link == TG_CLASS_UP && !lane->row.loaded && lane->cursor > 0) {
    lane->row.loaded = true;
    tg_class_loaded(class, m, now);
  }
}

/* --- the process ---------------------------------------------------------------------- */

static void adopt(int m)
{
  struct lane *lane = &lanes[m];
  uint64_t through = lane->row.durable, logged = lane->row.delivered;
  if (has_log)
    logged = lane->flushed_epoch == lane->row.epoch ? lane->flushed_sequence : 0;
  if (has_log && rules(lane) && logged > through)
    through = logged;
  lane->received = lane->row.durable = through;
  tg_class_session(class, m, &(struct tg_class_session){lane->row.epoch, through, logged, false}, now);
  if (lane->row.loaded)
    tg_class_loaded(class, m, now);
}

static void start(void)
{
  struct tg_class_options options = {.number = plan.number,
                                     .from = plan.from,
                                     .to = plan.to,
                                     .old_side = 0,
                                     .seed = seed + (uint64_t)process,
                                     .held_bytes = &worker_bytes,
                                     .member_bytes = member_bytes,
                                     .grace = 1500,
                                     .clustered = clustered};
  options.skip = tg_skip_file_open(state_dir, plan.number, plan.from, plan.to, 0);
  worker_bytes = 0;
  dead = false;
  process++;
  class = tg_class_new(&options);
  assert_non_null(class);
  for (int m = 0; m < lane_count; m++) {
    tg_class_know(class, m, lanes[m].row.epoch);
    lanes[m].row.epoch = tg_class_epoch(class, m);
  }
  for (int m = 0; m < lane_count; m++) {
    lanes[m].lost_since = 0;
    if (lanes[m].row.session > 0)
      adopt(m);
    disconnect(m, below(3000));
  }
}

/* What no log has is gone; and for good, if its session is over. */
static void die(void)
{
  kills++;
  TRACE("dead");
  for (int m = 0; m < lane_count; m++) {
    struct lane *lane = &lanes[m];
    int kept = has_log ? lane->head : lane->count;
    for (int i = lane->head; i < lane->count; i++) {
      const struct record *record = &lane->records[i];
      if (has_log && record->flushed)
        lane->records[kept++] = *record;
      else if (lane->session->is_over || lane->row.session != lane->session->number || lane->lost_since > 0)
        give_up(record->event);
    }
    if (has_log)
      lane->count = kept;
    else
      lane->head = lane->count;
  }
  tg_class_free(class);
  class = NULL;
}
