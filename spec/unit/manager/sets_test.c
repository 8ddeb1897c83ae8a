/* A manager with two sets of shards, whose workers do at random what workers may do:
 * ask, use their slots or not, identify in vain, lose sessions. Both sets have the
 * same ids; a worker that is told to do what the other shard of an id is to do ends
 * there and then, and the test with it. */

#include "fixture.h"

#include "manager/internal.h"
#include "proto/shard_ref.h"

enum { OLD = 4, NEW = 8, INDICES = NEW * TG_REF_PLACES, FAULTS = 3, ROUNDS = 4 };

/* ---- the workers ---- */

enum doing { NOTHING, CONNECTING, ASKED, ALLOWED, SENT, UP };

static struct {
  struct tg_shard_table *tables[TG_SIDES];
  enum doing doing[INDICES];
  tg_ms deadline[INDICES];
  int faults[INDICES];
  uint64_t epoch;
} workings;

static struct tg_shard_row *row_of(tg_shard_ref ref)
{
  return tg_shard_table_row(workings.tables[tg_ref_side(ref)], tg_ref_id(ref));
}

static void open_table(int side, int total)
{
  struct tg_error error;
  uint64_t bot = tg_identity_bot(TEST_TOKEN, TEST_INTENTS);
  workings.tables[side] =
      tg_shard_table_open(getenv("TG_TEST_DIR"), side, total, tg_identity(bot, total), 0, &error);
  if (!workings.tables[side])
    abort();
}

static bool fails(int index)
{
  return workings.faults[index] < FAULTS && tg_random(3) == 0 && ++workings.faults[index];
}

static void lose(tg_shard_ref ref)
{
  tg_session_forget(row_of(ref));
  atomic_store(&row_of(ref)->state, TG_SHARD_DISCONNECTED);
  workings.doing[tg_ref_index(ref)] = NOTHING;
  tg_say(played.ipc, session_lost, .ref = ref, .reason = "at random");
}

static void become_ready(tg_shard_ref ref)
{
  struct tg_session session = {.epoch = ++workings.epoch, .sequence = 1};
  snprintf(session.id, sizeof session.id, "session-%d", ref);
  tg_session_store(row_of(ref), &session);
  atomic_store(&row_of(ref)->state, TG_SHARD_CONNECTED);
  workings.doing[tg_ref_index(ref)] = UP;
  tg_say(played.ipc, identify_done, .ref = ref, .result = "ready");
}

static bool resume(tg_shard_ref ref)
{
  struct tg_session session;
  if (!tg_session_load(row_of(ref), &session))
    return false;
  atomic_store(&row_of(ref)->state, TG_SHARD_CONNECTED);
  workings.doing[tg_ref_index(ref)] = UP;
  write_journal("resume", ref);
  return true;
}

static void do_one_thing(int index)
{
  tg_shard_ref ref = tg_ref_at(index);
  switch (workings.doing[index]) {
  case NOTHING:
  case ASKED:
    break;
  case CONNECTING:
    if (resume(ref))
      break;
    workings.doing[index] = ASKED;
    tg_say(played.ipc, request_identify, .ref = ref);
    break;
  case ALLOWED:
    if (tg_now() >= workings.deadline[index] || fails(index)) {
      workings.doing[index] = CONNECTING;
      tg_say(played.ipc, identify_unused, .ref = ref);
    } else {
      workings.doing[index] = SENT;
      write_journal("sent", ref);
      tg_say(played.ipc, identify_sent, .ref = ref);
    }
    break;
  case SENT:
    if (!fails(index)) {
      become_ready(ref);
    } else {
      tg_say(played.ipc, identify_done, .ref = ref, .result = "invalid");
      lose(ref);
    }
    break;
  case UP:
    if (fails(index))
      lose(ref);
    break;
  }
}

static void work(uv_timer_t *timer)
{
  (void)timer;
  for (int i = 0; i < INDICES; i++)
    do_one_thing((int)tg_random(INDICES));
}

static void be(bool right)
{
  if (!right)
    abort();
}

static void hear(void *ctx, const char *type, const json_t *json)
{
  static uv_timer_t timer;
  struct tg_message message;
  struct tg_error error;
  be(tg_message_read(type, json, &message, &error));
  if (message.type == TG_MESSAGE_start) {
    if (message.start.moved)
      write_journal("moved", played.id);
    open_table(message.start.side, message.start.total_shards);
    uv_timer_init(&played.loop, &timer);
    uv_timer_start(&timer, work, 1, 1);
    tg_say(played.ipc, hello, .generation = message.start.generation);
  } else if (message.type == TG_MESSAGE_prepare_set) {
    open_table(message.prepare_set.side, message.prepare_set.total_shards);
  } else if (message.type == TG_MESSAGE_identify_shard) {
    int index = tg_ref_index(message.identify_shard.ref);
    be(workings.tables[tg_ref_side(message.identify_shard.ref)] && workings.doing[index] == NOTHING);
    workings.doing[index] = CONNECTING;
  } else if (message.type == TG_MESSAGE_allow_identify) {
    int index = tg_ref_index(message.allow_identify.ref);
    be(workings.doing[index] == ASKED);
    workings.doing[index] = ALLOWED;
    workings.deadline[index] = message.allow_identify.deadline;
  } else if (message.type == TG_MESSAGE_kill_shard) {
    write_journal("kill", message.kill_shard.ref);
    tg_ipc_answer(played.ipc, message.nonce, json_true(), NULL);
  } else {
    play_message(ctx, type, json);
  }
}

/* ---- the manager ---- */

static void begin_two_sets(void)
{
  static const int workers[] = {0, 0, 1, 1};
  struct tg_error error;
  fixture.config.spawn_shard_delay = 5;
  begin("random");
  struct tg_manager_env *env = &fixture.manager->env;
  wait_for(fixture.manager->phase == TG_MANAGER_RUNNING);
  assert_true(tg_manager_make_next(fixture.manager, NEW, 70, workers, 4, &error));
  assert_int_equal(env->next.count, NEW);
  for (int worker = 0; worker < 2; worker++)
    tg_say(tg_workers_line(fixture.manager->workers, worker), prepare_set, .side = env->next.side,
           .total_shards = NEW);
}

static void start_next(void)
{
  for (int i = 0; i < NEW; i++)
    tg_spawn_take(fixture.manager->spawner, &fixture.manager->env.next.list[i]);
}

static int count_all_up(void)
{
  const struct tg_manager_env *env = &fixture.manager->env;
  return tg_shard_set_count_up(&env->shards) + tg_shard_set_count_up(&env->next);
}

static int count_waiting(void)
{
  struct tg_identify_status identifies;
  tg_gateway_identifies(fixture.manager, &identifies);
  return identifies.waiting;
}

static int workers_started_again(void)
{
  struct tg_worker_status status;
  int restarts = 0;
  for (int i = 0; i < 2; i++) {
    tg_workers_status(fixture.manager->workers, i, &status);
    restarts += status.restarts;
  }
  return restarts;
}

static void check_sessions(const struct tg_shard_set *set)
{
  char name[32];
  for (int i = 0; i < set->count; i++) {
    struct tg_session session;
    snprintf(name, sizeof name, "session-%d", set->list[i].ref);
    assert_true(tg_session_load(tg_shard_row_of(&set->list[i]), &session));
    assert_string_equal(session.id, name);
    assert_ptr_equal(set->list[i].set, set);
    assert_true(journal_count("sent", set->list[i].ref) >= 1);
  }
}

static void both_sets_come_up_whatever_the_order(void **state)
{
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    begin_two_sets();
    const struct tg_manager_env *env = &fixture.manager->env;
    start_next();
    wait_for(count_all_up() == OLD + NEW || workers_started_again() > 0);
    assert_int_equal(workers_started_again(), 0); /* none was told what is another shard's */
    struct tg_gateway_status status;
    tg_gateway_status(fixture.manager, &status);
    assert_int_equal(status.total, OLD);   /* what is seen from outside is the current set */
    wait_for(count_all_up() == OLD + NEW); /* they may have lost some since */
    check_sessions(&env->shards);
    check_sessions(&env->next);
    stop(false);
    for (int side = 0; side < TG_SIDES; side++) {
      struct tg_session session;
      open_table(side, side == 0 ? OLD : NEW);
      for (int i = 0; i < tg_shard_table_total(workings.tables[side]); i++)
        assert_false(tg_session_load(tg_shard_table_row(workings.tables[side], i), &session));
      tg_shard_table_close(workings.tables[side]);
      tg_shard_table_remove(fixture.dir, side);
    }
    mark("journal", false);
  }
}

/* ---- who is told what ---- */

static void speak(int worker, tg_shard_ref ref)
{
  const struct tg_message message = {.type = TG_MESSAGE_session_lost, .session_lost = {ref, "so it says"}};
  tg_manager_hear(fixture.manager, (struct tg_worker_process){worker, 1}, &message);
}

/* Shard 6 of the new set is worker 1's, and nobody has one of that name in the old set. */
static void a_worker_speaks_of_its_own_shards_alone(void **state)
{
  (void)state;
  begin_two_sets();
  struct tg_managed_shard *shard = &fixture.manager->env.next.list[6],
                          *old = &fixture.manager->env.shards.list[3];
  tg_shard_ref none[] = {6, tg_ref_of(8, 1), shard->ref | 1 << 25, TG_NO_SHARD};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_null(tg_shard_of_ref(&fixture.manager->env, none[i]));
  wait_for(old->told);
  shard->told = true;
  speak(0, shard->ref);
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    speak(1, none[i]);
  assert_true(shard->told);
  speak(1, shard->ref);
  assert_false(shard->told);
  shard = &fixture.manager->env.next.list[3];
  shard->told = true;
  speak(1, shard->ref);
  assert_false(shard->told);
  assert_true(old->told);
  stop(true);
}

static void presences_pass_on(void **state)
{
  (void)state;
  struct reply reply;
  begin_two_sets();
  const struct tg_shard_set *next = &fixture.manager->env.next;
  json_t *presence = json_pack("{s:s}", "status", "idle");
  wait_for(count_all_up() == OLD);
  reply = call(TG_METHOD_manager_edit_shard_status, json_pack("[i, O]", 3, presence));
  assert_true(json_is_true(reply.value));
  wait_for(journal_count("presence", 3) >= 1);
  start_next();
  wait_for(journal_count("presence", next->list[3].ref) >= 1 &&
           journal_count("presence", next->list[7].ref) >= 1);
  assert_int_equal(journal_count("presence", next->list[2].ref), 0);
  wait_for(count_all_up() == OLD + NEW);
  call(TG_METHOD_manager_edit_bot_status, json_pack("[O]", presence));
  for (int i = 0; i < OLD; i++)
    assert_true(journal_count("presence", i) >= 1);
  for (int i = 0; i < NEW; i++)
    assert_true(journal_count("presence", next->list[i].ref) >= 1);
  json_decref(presence);
  stop(true);
}

/* ---- the end of a set ---- */

static void the_next_set_takes_the_place_of_the_first(void **state)
{
  (void)state;
  begin_two_sets();
  struct tg_manager_env *env = &fixture.manager->env;
  start_next();
  wait_for(count_all_up() == OLD + NEW);
  struct reply waits = {0}, killed;
  env->shards.list[1].told = false; /* its worker does not have it: what is sent waits */
  json_t *args = some_payload(1);
  tg_manager_call(fixture.manager, TG_METHOD_manager_send_payload, args, on_reply, &waits);
  json_decref(args);
  tg_manager_take_next(fixture.manager);
  assert_int_equal(waits.count, 1);
  assert_string_equal(waits.error.code, "no_shard");
  assert_int_equal(env->next.count, 0);
  assert_int_equal(env->shards.side, 1);
  assert_null(tg_shard_of_ref(env, 3));
  check_sessions(&env->shards);
  struct tg_gateway_status status;
  tg_gateway_status(fixture.manager, &status);
  assert_int_equal(status.total, NEW);
  assert_int_equal(status.last, NEW - 1);
  killed = call(TG_METHOD_manager_kill, json_pack("[i]", 3));
  assert_true(json_is_true(killed.value));
  assert_int_equal(journal_count("kill", tg_ref_of(3, 1)), 1);
  assert_int_equal(journal_count("kill", 3), 0);
  stop(true);
}

static void a_set_that_is_dropped_leaves_nothing(void **state)
{
  (void)state;
  begin_two_sets();
  struct tg_manager_env *env = &fixture.manager->env;
  struct reply told = {0}, late;
  wait_for(tg_workers_up(fixture.manager->workers, 0) && tg_workers_up(fixture.manager->workers, 1));
  /* Its bucket rests: it will wait for its READY. */
  json_t *args = json_pack("[i, i, i, i]", 0, 5, 1, NEW);
  tg_manager_call(fixture.manager, TG_METHOD_manager_tell_worker_to_prepare, args, on_reply, &told);
  if (told.count)
    fail_msg("%s: %s", told.error.code, told.error.message);
  start_next();
  tg_manager_drop_next(fixture.manager);
  assert_int_equal(told.count, 1);
  assert_string_equal(told.error.code, "no_shard");
  assert_int_equal(env->next.count, 0);
  late = call(TG_METHOD_manager_tell_worker_to_prepare, args);
  assert_string_equal(late.error.code, "not_ready");
  /* Its own shards may still lose sessions, and wait again. */
  wait_for(count_all_up() == OLD && count_waiting() == 0);
  stop(true);
}

/* ---- shards that move ---- */

static struct {
  int ended, done;
  const int *deal;
} moves;

static void on_all_ended(void *ctx)
{
  (void)ctx;
  assert_int_equal(tg_workers_running(fixture.manager->workers), 0);
  moves.ended++;
  tg_shard_set_deal(&fixture.manager->env.shards, moves.deal, OLD);
}

static void on_all_back(void *ctx)
{
  (void)ctx;
  moves.done++;
}

static void move_shards(const int *deal)
{
  static const struct tg_regroup regroup = {
      .ended = on_all_ended, .done = on_all_back, .patience = 2000, .moves = true};
  static const bool affected[] = {true, true};
  moves.deal = deal;
  tg_workers_regroup(fixture.manager->workers, affected, &regroup);
  assert_true(tg_workers_regrouping(fixture.manager->workers));
}

static void shards_move_between_workers(void **state)
{
  (void)state;
  static const int deal[] = {1, 0, 1, 0}, to_one[] = {0, 0, 0, 0};
  memset(&moves, 0, sizeof moves);
  fixture.config.spawn_shard_delay = 5;
  begin("random");
  wait_for(count_all_up() == OLD);
  const struct tg_shard_set *set = &fixture.manager->env.shards;
  move_shards(deal);
  wait_for(moves.done == 1);
  assert_int_equal(moves.ended, 1);
  assert_false(tg_workers_regrouping(fixture.manager->workers));
  wait_for(count_all_up() == OLD);
  for (int i = 0; i < OLD; i++)
    assert_int_equal(set->list[i].worker_id, deal[i]);
  assert_int_equal(journal_count("keep", -1), 2);
  assert_int_equal(journal_count("moved", -1), 2);
  assert_true(journal_count("resume", -1) >= 2); /* those that had lost theirs identify */
  check_sessions(set);
  move_shards(to_one);
  wait_for(moves.done == 2);
  wait_for(count_all_up() == OLD);
  assert_int_equal(tg_workers_running(fixture.manager->workers), 1); /* the other one has none any more */
  struct tg_worker_status status;
  tg_workers_status(fixture.manager->workers, 1, &status);
  assert_string_equal(status.state, "stopped");
  stop(true);
}

/* It is killed, and the other one does not begin before that. */
static void whoever_does_not_end_is_killed(void **state)
{
  (void)state;
  static const int deal[] = {1, 0, 1, 0};
  memset(&moves, 0, sizeof moves);
  fixture.config.spawn_shard_delay = 5;
  begin("stuck");
  wait_for(count_all_up() == OLD);
  move_shards(deal);
  wait_for(moves.done == 1);
  wait_for(count_all_up() == OLD);
  end(); /* they would not hear of the end, either */
}

/* The end of the gateway comes first. */
static void the_end_comes_while_shards_move(void **state)
{
  (void)state;
  static const int deal[] = {1, 0, 1, 0};
  memset(&moves, 0, sizeof moves);
  fixture.config.spawn_shard_delay = 5;
  begin("random");
  wait_for(count_all_up() == OLD);
  move_shards(deal);
  stop(true);
  assert_int_equal(moves.done, 0);
  assert_int_equal(journal_count("moved", -1), 0);
}

int main(int argc, char **argv)
{
  static const struct tg_ipc_callbacks callbacks = {hear, play_end};
  if (argc > 1 && strcmp(argv[1], "worker") == 0)
    return play_worker_with(&callbacks, argc, argv);
  signal(SIGPIPE, SIG_IGN);
  setenv("TIDEGATE_HURRY", "100", 1);
  const struct CMUnitTest tests[] = {
      MANAGER_TEST(both_sets_come_up_whatever_the_order),
      MANAGER_TEST(a_worker_speaks_of_its_own_shards_alone),
      MANAGER_TEST(presences_pass_on),
      MANAGER_TEST(the_next_set_takes_the_place_of_the_first),
      MANAGER_TEST(a_set_that_is_dropped_leaves_nothing),
      MANAGER_TEST(shards_move_between_workers),
      MANAGER_TEST(whoever_does_not_end_is_killed),
      MANAGER_TEST(the_end_comes_while_shards_move),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
