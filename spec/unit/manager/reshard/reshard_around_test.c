/* What else sees that a bot goes over: commands and scripts; and the check that begins it. */

#include "reshard_fixture.h"

/* ---- commands ---- */

/* (id >> 22) is 13: shard 1 of four, and 5 of eight. */
static const char guild_id[] = "54525952";

static void commands_follow_the_class(void **state)
{
  (void)state;
  mark("unready", true);
  begin_resharding();
  wait_for(phase_is("matching"));
  assert_int_equal(tg_gateway_total_of_guild(fixture.manager, guild_id), OLD);
  call(TG_METHOD_manager_leave_voice_channel, json_pack("[s]", guild_id));
  assert_int_equal(journal_count("to", 1), 1);
  end();
  mark("unready", false);
  mark("unsettled", true);
  begin_up();
  wait_for(phase_is("settling"));
  assert_int_equal(tg_gateway_total_of_guild(fixture.manager, guild_id), NEW);
  call(TG_METHOD_manager_leave_voice_channel, json_pack("[s]", guild_id));
  assert_int_equal(journal_count("to", tg_ref_of(5, 1)), 1);
  call(TG_METHOD_manager_send_payload, some_payload(1)); /* a number alone is one of the current shards */
  assert_int_equal(journal_count("to", 1), 2);
  json_t *args = some_payload(1);
  json_array_append_new(args, json_pack("{s:i}", "total_shards", NEW));
  assert_string_equal(call(TG_METHOD_manager_send_payload, args).error.code, "");
  assert_int_equal(journal_count("to", tg_ref_of(1, 1)), 1);
  args = some_payload(1);
  json_array_append_new(args, json_pack("{s:i}", "total_shards", 5));
  assert_string_equal(call(TG_METHOD_manager_send_payload, args).error.code, "bad_argument");
  stop(true);
}

/* Chunks come to the session that has asked. */
static void a_switch_waits_for_member_requests(void **state)
{
  (void)state;
  struct reply members = {0};
  mark("mute", true); /* no chunk comes */
  mark("slow", true);
  begin_resharding();
  wait_for(phase_is("identifying"));
  json_t *args = json_pack("[s, {s:[s], s:i}]", guild_id, "user_ids", "7", "timeout", 60000);
  tg_manager_call(fixture.manager, TG_METHOD_manager_request_members, args, on_reply, &members);
  json_decref(args);
  wait_for(journal_count("members", -1) == 1);
  assert_true(tg_members_await(fixture.manager->members, 0, CLASSES, 1));
  assert_false(tg_members_await(fixture.manager->members, 0, CLASSES, 2));
  assert_false(tg_members_await(fixture.manager->members, 1, CLASSES, 1));
  stop(true);
  assert_int_equal(members.count, 1);
}

/* ---- scripts ---- */

static struct {
  int asked, switches;
  bool lets;
} script;

static void on_start(struct tg_script *of, enum tg_method method, const struct tg_value *args, int count,
                     tg_hook_reply *reply, void *ctx)
{
  (void)of, (void)count;
  struct tg_value result = {.kind = TG_NIL};
  if (method == TG_METHOD_manager_on_resharding_switch) {
    assert_string_equal(json_string_value(json_array_get(args[0].json, 0)), "41771983423143936");
    script.switches++;
    reply(ctx, true, &result);
    return;
  }
  assert_int_equal(method, TG_METHOD_manager_reshard);
  assert_int_equal(json_integer_value(json_object_get(args[0].json, "total_shards")), NEW);
  script.asked++;
  result = tg_value_json(json_false());
  reply(ctx, !script.lets, &result); /* no opinion: the default runs */
}

static void override(enum tg_method method)
{
  static char some[1];
  fixture.hooks.start = on_start;
  fixture.hooks.method[method] = (struct tg_override *)some;
  memset(&script, 0, sizeof script);
}

static void scripts_hear_which_guilds_have_switched(void **state)
{
  (void)state;
  override(TG_METHOD_manager_on_resharding_switch);
  begin_resharding();
  wait_for(has_ended("done"));
  assert_int_equal(script.switches, CLASSES);
  stop(true);
}

/* ---- by itself ---- */

static void see_guilds(uint32_t each)
{
  const struct tg_shard_set *shards = &fixture.manager->env.shards;
  for (int i = 0; i < shards->count; i++)
    atomic_store(&tg_shard_row_of(&shards->list[i])->guilds, each);
}

static int check_soon(void **state)
{
  int failed = usual(state);
  fixture.config.resharding.enabled = true;
  fixture.config.resharding.shards_full_percentage = 80;
  fixture.config.resharding.check_interval = 200;
  return failed;
}

static void full_shards_begin_it(void **state)
{
  (void)state;
  begin_up();
  see_guilds(1999);
  assert_null(call(TG_METHOD_manager_resharding_needed, NULL).value);
  see_guilds(2000);
  json_t *total = call(TG_METHOD_manager_resharding_needed, NULL).value;
  assert_int_equal(json_integer_value(total), NEW);
  json_decref(total);
  wait_for(has_ended("done"));
  assert_int_equal(total_shards(), NEW);
  stop(true);
}

static void without_room_it_waits_and_says_for_what(void **state)
{
  (void)state;
  begin_up();
  struct tg_gateway_info *info = (struct tg_gateway_info *)fixture.manager->env.info;
  info->total = 1000;
  info->remaining = 105;
  info->reset_after = 3600000;
  tg_slots_info_changed(fixture.manager->slots);
  see_guilds(2000);
  wait_for(how().planned == NEW && how().planned_waits_for[0]);
  assert_non_null(strstr(how().planned_waits_for, "identifies"));
  assert_false(how().running);
  fixture.config.resharding.identify_reserve = 5;
  wait_for(has_ended("done"));
  assert_int_equal(how().planned, 0);
  stop(true);
}

static void a_script_puts_it_off(void **state)
{
  (void)state;
  override(TG_METHOD_manager_reshard);
  begin_up();
  see_guilds(2000);
  wait_for(script.asked >= 3);
  assert_int_equal(how().planned, NEW);
  assert_non_null(strstr(how().planned_waits_for, "script"));
  assert_false(marked("resharding.json"));
  script.lets = true;
  wait_for(has_ended("done"));
  assert_int_equal(total_shards(), NEW);
  stop(true);
}

static void a_refused_shard_is_helped(void **state)
{
  (void)state;
  fixture.config.resharding.check_interval = 3600000;
  begin_up();
  see_guilds(1600); /* seven shards would do; of eight each class has its worker */
  mark("4011", true);
  mark("lose", true);
  wait_for(how().running);
  assert_int_equal(how().to, NEW);
  assert_int_equal(fixture.exits, 0);
  stop(true);
}

#define CHECK_TEST(name) cmocka_unit_test_setup_teardown(name, check_soon, clean_up)

static int run_all(void)
{
  const struct CMUnitTest tests[] = {
      RESHARD_TEST(commands_follow_the_class),
      RESHARD_TEST(a_switch_waits_for_member_requests),
      RESHARD_TEST(scripts_hear_which_guilds_have_switched),
      CHECK_TEST(full_shards_begin_it),
      CHECK_TEST(without_room_it_waits_and_says_for_what),
      CHECK_TEST(a_script_puts_it_off),
      CHECK_TEST(a_refused_shard_is_helped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
  return run(argc, argv, run_all);
}
