#pragma once

/* A manager that goes over to another number of shards, with workers that are played. They keep which classes
 * have switched in files, as real ones do. What they are to do by marks:
 *
 *   4010, 4014   Discord refuses new shards
 *   4011         Discord refuses old shards that identify
 *   slow         new shards get no READY
 *   full         the new set cannot be prepared
 *   unready      classes stay at "overlap"; unsettled: at "switched"
 *   lose         shard 0 of the current set loses its session
 *
 * A class that has gone back is through a while later. */

#include "unit/manager/fixture.h"

#include "manager/internal.h"
#include "manager/reshard/deal.h"
#include "manager/reshard/record.h"
#include "manager/state_file.h"
#include "proto/shard_ref.h"

enum { OLD = 4, NEW = 8, CLASSES = 4 };

/* ---- the workers ---- */

static struct {
  struct tg_shard_table *tables[TG_SIDES];
  int side, totals[TG_SIDES], classes;
  bool mine[CLASSES], told[CLASSES];
  uint64_t epoch;
  int behind; /* so many looks until classes that have gone back are through */
} workings;

static inline struct tg_shard_row *row_of(tg_shard_ref ref)
{
  return tg_shard_table_row(workings.tables[tg_ref_side(ref)], tg_ref_id(ref));
}

static inline void open_table(int side, int total, uint64_t epoch)
{
  struct tg_error error;
  uint64_t bot = tg_identity_bot(TEST_TOKEN, TEST_INTENTS);
  workings.tables[side] =
      tg_shard_table_open(getenv("TG_TEST_DIR"), side, total, tg_identity(bot, total), epoch, &error);
  workings.totals[side] = total;
  if (!workings.tables[side])
    abort();
}

static const char *file_of(int class)
{
  static char name[32];
  snprintf(name, sizeof name, "class-%d", class);
  return name;
}

static inline void put_file(const char *name)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", getenv("TG_TEST_DIR"), name);
  close(open(path, O_WRONLY | O_CREAT, 0600));
}

static inline void say_state(int class, const char *state)
{
  json_t *figures = json_pack("{s:i, s:i, s:{s:i}, s:[s], s:b}", "held", 2, "held_bytes", 300, "unmatched",
                              "TYPING_START", 1, "guild_ids", "41771983423143936", "through",
                              workings.behind == 0);
  tg_say(played.ipc, class_state, .number = class, .state = state, .figures = figures, .file = "");
  json_decref(figures);
}

static inline bool new_ones_are_up(int class)
{
  int side = 1 - workings.side;
  for (int id = class; id < workings.totals[side]; id += workings.classes) {
    if (atomic_load(&tg_shard_table_row(workings.tables[side], id)->state) != TG_SHARD_CONNECTED)
      return false;
  }
  return true;
}

static inline void tell_states(void)
{
  for (int class = 0; class < workings.classes; class ++) {
    if (!workings.mine[class] || workings.told[class])
      continue;
    if (marked(file_of(class))) {
      say_state(class, "switched");
      say_state(class, marked("unsettled") ? "switched" : "settled");
    } else if (new_ones_are_up(class)) {
      say_state(class, "loading");
      say_state(class, "overlap");
      say_state(class, marked("unready") ? "overlap" : "ready");
    } else {
      say_state(class, "waiting");
      continue;
    }
    workings.told[class] = true;
  }
}

static inline void connect_shard(tg_shard_ref ref, bool anew)
{
  struct tg_session session = {.epoch = ++workings.epoch, .sequence = 1};
  snprintf(session.id, sizeof session.id, "session-%d", ref);
  if (anew)
    tg_session_store(row_of(ref), &session);
  atomic_store(&row_of(ref)->state, TG_SHARD_CONNECTED);
  write_journal(anew ? "ready" : "resume", ref);
  if (anew)
    tg_say(played.ipc, identify_done, .ref = ref, .result = "ready");
  if (tg_ref_side(ref) != workings.side)
    tell_states();
}

static inline void start_one(tg_shard_ref ref)
{
  struct tg_session session;
  if (tg_session_load(row_of(ref), &session))
    connect_shard(ref, false);
  else
    tg_say(played.ipc, request_identify, .ref = ref);
}

static inline void allow_one(tg_shard_ref ref)
{
  bool next = tg_ref_side(ref) != workings.side;
  write_journal("identify", ref);
  tg_say(played.ipc, identify_sent, .ref = ref);
  if (next && (marked("4010") || marked("4014")))
    tg_say(played.ipc, shard_fatal, .ref = ref, .code = marked("4010") ? 4010 : 4014);
  else if (!next && marked("4011"))
    tg_say(played.ipc, shard_fatal, .ref = ref, .code = 4011);
  else if (!(next && marked("slow")))
    connect_shard(ref, true);
}

static inline void prepare_two(const struct tg_message *message)
{
  const struct tg_message_prepare_set *set = &message->prepare_set;
  struct tg_error error;
  if (marked("full")) {
    tg_fail(&error, "disk", "shards.1 cannot be written");
    tg_ipc_answer(played.ipc, message->nonce, NULL, &error);
    return;
  }
  open_table(set->side, set->total_shards, (uint64_t)set->epoch);
  size_t i;
  json_t *class;
  memset(workings.told, 0, sizeof workings.told);
  workings.classes = tg_class_count(workings.totals[0], workings.totals[1]);
  json_array_foreach(set->classes, i, class) workings.mine[json_integer_value(class)] = true;
  write_journal("prepare", played.id);
  tg_ipc_answer(played.ipc, message->nonce, json_true(), NULL);
  tell_states();
}

static inline void switch_one(const struct tg_message *message)
{
  int class = message->switch_class.number;
  char path[PATH_MAX];
  if (message->switch_class.back) {
    snprintf(path, sizeof path, "%s/%s", getenv("TG_TEST_DIR"), file_of(class));
    unlink(path);
    workings.behind = 20;
  } else {
    put_file(file_of(class));
  }
  write_journal(message->switch_class.back ? "back" : "switch", class);
  tg_ipc_answer(played.ipc, message->nonce, json_true(), NULL);
  workings.told[class] = false;
  tell_states();
}

static inline void end_side(int side, int first, int step)
{
  for (int id = first; id < workings.totals[side]; id += step) {
    struct tg_shard_row *row = tg_shard_table_row(workings.tables[side], id);
    if (atomic_load(&row->state) != TG_SHARD_CONNECTED)
      continue;
    tg_session_forget(row);
    atomic_store(&row->state, TG_SHARD_OFFLINE);
  }
}

static inline void close_one(const struct tg_message *message)
{
  int class = message->close_class.number;
  write_journal("close", class);
  end_side(workings.side, class, workings.classes);
  tg_ipc_answer(played.ipc, message->nonce, json_true(), NULL);
}

static inline void drop_one(const struct tg_message *message)
{
  int side = message->drop_set.side;
  write_journal("drop", side);
  if (workings.behind > 0)
    write_journal("early", side);
  if (workings.tables[side])
    end_side(side, played.id, 2);
  workings.side = 1 - side;
  tg_ipc_answer(played.ipc, message->nonce, json_true(), NULL);
}

static inline void catch_up(void)
{
  if (workings.behind == 0 || --workings.behind > 0)
    return;
  memset(workings.told, 0, sizeof workings.told);
  tell_states();
}

static inline void on_look(uv_timer_t *timer)
{
  (void)timer;
  catch_up();
  if (played.id != 0 || !take_mark("lose"))
    return;
  tg_session_forget(row_of(tg_ref_of(0, workings.side)));
  atomic_store(&row_of(tg_ref_of(0, workings.side))->state, TG_SHARD_DISCONNECTED);
  tg_say(played.ipc, session_lost, .ref = tg_ref_of(0, workings.side), .reason = "as the test has it");
}

static inline void hear(void *ctx, const char *type, const json_t *json)
{
  static uv_timer_t timer;
  struct tg_message message;
  struct tg_error error;
  if (!tg_message_read(type, json, &message, &error))
    abort();
  switch (message.type) {
  case TG_MESSAGE_start:
    workings.side = message.start.side;
    open_table(message.start.side, message.start.total_shards, 0);
    uv_timer_init(&played.loop, &timer);
    uv_timer_start(&timer, on_look, 10, 10);
    tg_say(played.ipc, hello, .generation = message.start.generation);
    break;
  case TG_MESSAGE_prepare_set:
    prepare_two(&message);
    break;
  case TG_MESSAGE_identify_shard:
    start_one(message.identify_shard.ref);
    break;
  case TG_MESSAGE_allow_identify:
    allow_one(message.allow_identify.ref);
    break;
  case TG_MESSAGE_switch_class:
    switch_one(&message);
    break;
  case TG_MESSAGE_close_class:
    close_one(&message);
    break;
  case TG_MESSAGE_drop_set:
    drop_one(&message);
    break;
  case TG_MESSAGE_shard_payload:
    write_journal("to", message.shard_payload.ref);
    play_message(ctx, type, json);
    break;
  default:
    play_message(ctx, type, json);
  }
}

/* ---- the manager ---- */

static struct {
  int started, switched, done, aborted, failed;
} told;

static inline void on_life(struct tg_script *script, enum tg_life what, struct tg_shard *shard,
                           const json_t *details)
{
  (void)script, (void)shard;
  const char *step = json_string_value(json_object_get(details, "step"));
  assert_int_equal(what, TG_LIFE_resharding);
  told.started += strcmp(step, "started") == 0;
  told.switched += strcmp(step, "switched") == 0;
  told.done += strcmp(step, "done") == 0;
  told.aborted += strcmp(step, "aborted") == 0;
  told.failed += strcmp(step, "failed") == 0;
}

static inline struct tg_resharding_status how(void)
{
  struct tg_resharding_status status;
  tg_gateway_resharding(fixture.manager, &status);
  return status;
}

static inline bool phase_is(const char *phase)
{
  struct tg_resharding_status status = how();
  return status.running && strcmp(status.phase, phase) == 0;
}

static inline bool has_ended(const char *result)
{
  struct tg_resharding_status status = how();
  return !status.running && status.last.result && strcmp(status.last.result, result) == 0;
}

static inline int total_shards(void)
{
  struct tg_gateway_status status;
  tg_gateway_status(fixture.manager, &status);
  return status.total;
}

static inline bool all_up(void)
{
  struct tg_gateway_status status;
  tg_gateway_status(fixture.manager, &status);
  return status.total > 0 && status.up == status.total && strcmp(status.phase, "ready") == 0;
}

static inline void begin_up(void)
{
  fixture.hooks.life = on_life;
  fixture.hooks.want_life[TG_LIFE_resharding] = true;
  begin("plain");
  wait_for(all_up());
}

static inline struct reply reshard(int total)
{
  return call(TG_METHOD_manager_reshard, json_pack("[{s:i}]", "total_shards", total));
}

static inline struct reply abort_it(void)
{
  return call(TG_METHOD_manager_reshard, json_pack("[{s:b}]", "abort", 1));
}

static inline void begin_resharding(void)
{
  begin_up();
  struct reply reply = reshard(NEW);
  assert_string_equal(reply.error.code, "");
  json_decref(reply.value);
}

static inline struct tg_reshard_record read_record(void)
{
  struct tg_reshard_record record;
  struct tg_error error;
  if (!tg_reshard_record_read(fixture.dir, tg_identity_bot(TEST_TOKEN, 0), &record, &error))
    fail_msg("%s", error.message);
  return record;
}

static inline void assert_record(int side, int total)
{
  struct tg_reshard_record record = read_record();
  assert_int_equal(record.phase, TG_RESHARD_NONE);
  assert_int_equal(record.current.side, side);
  assert_int_equal(record.current.total, total);
  assert_int_equal(record.next.total, 0);
}

static inline void assert_all_went_over(void)
{
  assert_int_equal(total_shards(), NEW);
  assert_true(all_up());
  assert_record(1, NEW);
  assert_false(marked("shards"));
  assert_true(marked("shards.1"));
  for (int class = 0; class < CLASSES; class ++)
    assert_int_equal(journal_count("close", class), 1);
}

static inline int next_identifies(void)
{
  int count = 0;
  for (int id = 0; id < NEW; id++)
    count += journal_count("identify", tg_ref_of(id, 1));
  return count;
}

static inline int usual(void **state)
{
  int failed = set_up(state);
  fixture.config.spawn_shard_delay = 10;
  memset(&told, 0, sizeof told);
  return failed;
}

static inline int clean_up(void **state)
{
  static const char *const files[] = {
      "resharding.json", "mute", "4010", "4014", "4011", "slow", "full", "lose", "unready", "unsettled"};
  if (fixture.manager)
    end();
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    mark(files[i], false);
  for (int class = 0; class < CLASSES; class ++)
    mark(file_of(class), false);
  return tear_down(state);
}

#define RESHARD_TEST(name) cmocka_unit_test_setup_teardown(name, usual, clean_up)

/* The rest of main(), or of a worker. */
static inline int run(int argc, char **argv, int (*tests)(void))
{
  static const struct tg_ipc_callbacks callbacks = {hear, play_end};
  signal(SIGPIPE, SIG_IGN);
  setenv("TIDEGATE_HURRY", "100", 1);
  if (argc > 1 && strcmp(argv[1], "worker") == 0)
    return play_worker_with(&callbacks, argc, argv);
  tg_log_set_level(getenv("TG_TEST_LOG") ? TG_DEBUG : TG_ERROR);
  return tests();
}
