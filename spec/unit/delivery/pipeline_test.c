/* One event's way: sequences, caches, filters, scripts. */

#include "fake_world.h"

static void counts_and_drops_what_came_before(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  deliver_as(0, 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  deliver_as(0, 2, "{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}");
  assert_int_equal(value(&rows[0].received), 2);
  assert_int_equal(value(&rows[0].replayed), 2);
  assert_int_equal(value(&rows[0].queued_events), 2);
  assert_int_equal(value(&rows[0].gaps), 0);
  deliver_as(0, 6, "{\"t\":\"TYPING_START\",\"s\":6,\"op\":0,\"d\":{}}");
  assert_int_equal(value(&rows[0].gaps), 1);
  assert_non_null(strstr(logged, "[0] events of this session never came"));
}

static void an_epoch_nobody_announced_starts_a_session(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  epochs[0] = 8;
  deliver_as(0, 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  answer(0, 200);
  assert_string_equal(posts[1].key, "0.8.1");
}

static void constant_filters_settle(void **state)
{
  (void)state;
  hooks.want[TG_EVENT_TYPING_START] = TG_WANT_DROP;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "CHANNEL_UPDATE", "{}");
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(value(&rows[0].filtered), 2);
  assert_int_equal(post_count, 1);
  assert_int_equal(tg_delivery_settled(delivery, 0), 1);
  answer(0, 200);
  assert_int_equal(tg_delivery_settled(delivery, 0), 3);
  assert_int_equal(value(&rows[0].durable_sequence), 3);
}

static enum tg_verdict verdict;

static enum tg_verdict on_filter(struct tg_script *script, struct tg_event *event)
{
  (void)script;
  note_call("filter;");
  if (verdict == TG_REPLACED) {
    const char *text = "{\"t\":\"CHANNEL_UPDATE\",\"s\":1,\"op\":0,\"d\":{\"new\":1}}";
    event->replacement = (struct tg_span){strdup(text), strlen(text)};
  }
  return verdict;
}

static void on_dispatch(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  (void)script;
  (void)shard;
  struct tg_span message = tg_event_message(event);
  note_call("on %.*s;", (int)event->name.length, event->name.at);
  assert_int_equal(message.at[0], '{');
}

static void computed_filters_decide(void **state)
{
  (void)state;
  hooks.filter = on_filter;
  hooks.dispatch = on_dispatch;
  hooks.want[TG_EVENT_CHANNEL_UPDATE] = TG_WANT_FILTER | TG_WANT_HANDLER;
  verdict = TG_PASS;
  deliver(0, "CHANNEL_UPDATE", "{\"old\":1}");
  assert_string_equal(calls, "filter;on CHANNEL_UPDATE;");
  assert_non_null(strstr(posts[0].body, "{\"old\":1}"));
  verdict = TG_REPLACED;
  deliver(1, "CHANNEL_UPDATE", "{\"old\":1}");
  assert_non_null(
      strstr(posts[1].body, "\"message\":{\"t\":\"CHANNEL_UPDATE\",\"s\":1,\"op\":0,\"d\":{\"new\":1}}}"));
  calls[0] = '\0';
  verdict = TG_DROP;
  deliver(2, "CHANNEL_UPDATE", "{}");
  assert_string_equal(calls, "filter;"); /* no handlers of what was dropped */
  assert_int_equal(post_count, 2);
  assert_int_equal(value(&rows[2].filtered), 1);
  assert_int_equal(tg_delivery_settled(delivery, 2), 1);
}

static void handlers_run_without_filters(void **state)
{
  (void)state;
  hooks.dispatch = on_dispatch;
  hooks.want[TG_EVENT_CHANNEL_UPDATE] = TG_WANT_HANDLER;
  deliver(0, "CHANNEL_UPDATE", "{}");
  assert_string_equal(calls, "on CHANNEL_UPDATE;");
  assert_int_equal(post_count, 1);
}

static bool fails;
static const char *kind_answer;
static int changed_answer = -1;

static bool on_call(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                    struct tg_value *result)
{
  (void)script;
  if (method == TG_METHOD_delivery_handle_discord_payload) {
    assert_int_equal(count, 2);
    assert_int_equal(args[0].kind, TG_SHARD);
    assert_int_equal(args[1].kind, TG_EVENT);
    note_call("payload;");
    return !fails;
  }
  assert_int_equal(count, 1);
  struct tg_event *event = args[0].event;
  if (method == TG_METHOD_cache_guild_create_kind) {
    note_call("kind was %s;", tg_guild_create_name(tg_delivery_guild_create_kind(delivery, event)));
    if (!kind_answer)
      return false;
    *result = tg_value_string(kind_answer, strlen(kind_answer));
    return true;
  }
  assert_int_equal(method, TG_METHOD_cache_message_changed);
  note_call("changed was %d;", tg_delivery_message_changed(delivery, event));
  if (changed_answer < 0)
    return false;
  *result = (struct tg_value){.kind = TG_BOOL, .boolean = changed_answer};
  return true;
}

static void hook(enum tg_method method)
{
  hooks.call = on_call;
  hooks.method[method] = (struct tg_override *)&hooks;
}

static void scripts_take_over_delivery(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_discord_payload);
  fails = false;
  deliver(0, "CHANNEL_UPDATE", "{}");
  assert_string_equal(calls, "payload;");
  assert_int_equal(post_count, 0);
  assert_int_equal(tg_delivery_settled(delivery, 0), 1);
  fails = true; /* then the default runs */
  deliver(0, "CHANNEL_UPDATE", "{}");
  assert_int_equal(post_count, 1);
}

static void guild_creates_are_told_apart(void **state)
{
  (void)state;
  deliver(0, "READY",
          "{\"guilds\":[{\"id\":\"10\",\"unavailable\":true},{\"id\":\"11\",\"unavailable\":true}]}");
  answer(0, 200);
  assert_int_equal(atomic_load(&rows[0].guilds), 2);
  deliver(0, "GUILD_CREATE", "{\"id\":\"10\",\"unavailable\":false}");
  deliver(0, "GUILD_CREATE", "{\"id\":\"10\",\"unavailable\":false}");
  deliver(0, "GUILD_CREATE", "{\"id\":\"12\"}");
  assert_int_equal(atomic_load(&rows[0].guilds), 3);
  const char *kinds[] = {"loading", "available", "joined"};
  for (int i = 0; i < 3; i++) {
    char end[40];
    struct fake_post *post = &posts[i + 1];
    snprintf(end, sizeof end, "},\"guildCreate\":\"%s\"}", kinds[i]);
    assert_string_equal(post->body + strlen(post->body) - strlen(end), end);
    json_t *body = json_loads(post->body, 0, NULL);
    assert_non_null(body);
    json_decref(body);
    answer(i + 1, 200);
  }
  deliver(0, "GUILD_DELETE", "{\"id\":\"10\",\"unavailable\":true}");
  assert_int_equal(atomic_load(&rows[0].guilds), 3);
  deliver(0, "GUILD_DELETE", "{\"id\":\"10\"}");
  assert_int_equal(atomic_load(&rows[0].guilds), 2);
  assert_null(strstr(posts[4].body, "guildCreate"));
}

static void guilds_are_known_although_filtered(void **state)
{
  (void)state;
  hooks.want[TG_EVENT_GUILD_CREATE] = TG_WANT_DROP;
  deliver(0, "READY", "{\"guilds\":[]}");
  deliver(0, "GUILD_CREATE", "{\"id\":\"12\"}");
  hooks.want[TG_EVENT_GUILD_CREATE] = 0;
  answer(0, 200);
  deliver(0, "GUILD_CREATE", "{\"id\":\"12\"}");
  assert_non_null(strstr(posts[1].body, "\"available\""));
}

static void an_adopted_session_keeps_the_count(void **state)
{
  (void)state;
  epochs[0] = 9;
  tg_delivery_adopt_session(delivery, 0, 9, 100);
  next_sequence[0] = 100;
  atomic_store(&rows[0].guilds, 40);
  deliver(0, "GUILD_CREATE", "{\"id\":\"10\",\"unavailable\":false}");
  assert_non_null(strstr(posts[0].body, "\"guildCreate\":\"available\""));
  assert_int_equal(atomic_load(&rows[0].guilds), 40);
  deliver(0, "GUILD_CREATE", "{\"id\":\"11\"}");
  assert_int_equal(atomic_load(&rows[0].guilds), 41);
  deliver(0, "GUILD_DELETE", "{\"id\":\"77\"}");
  assert_int_equal(atomic_load(&rows[0].guilds), 40);
}

static void guilds_loaded_when_all_have_come(void **state)
{
  (void)state;
  hooks.want_life[TG_LIFE_guilds_loaded] = true;
  hooks.dispatch = on_dispatch;
  hooks.want[TG_EVENT_GUILD_CREATE] = TG_WANT_HANDLER;
  deliver(0, "READY", "{\"guilds\":[{\"id\":\"10\"},{\"id\":\"11\"}]}");
  deliver(0, "GUILD_CREATE", "{\"id\":\"10\"}");
  assert_null(strstr(calls, "guilds_loaded"));
  calls[0] = '\0';
  deliver(0, "GUILD_CREATE", "{\"id\":\"11\"}");
  assert_string_equal(calls, "on GUILD_CREATE;guilds_loaded{\"guilds\":2,\"missing\":0,\"shard_id\":0};");
  calls[0] = '\0';
  deliver(0, "GUILD_CREATE", "{\"id\":\"12\"}");
  advance(60000);
  assert_string_equal(calls, "on GUILD_CREATE;"); /* once a session */
}

static void guilds_loaded_after_a_quiet_time(void **state)
{
  (void)state;
  hooks.want_life[TG_LIFE_guilds_loaded] = true;
  deliver(3, "READY", "{\"guilds\":[{\"id\":\"10\"},{\"id\":\"11\"},{\"id\":\"12\"}]}");
  advance(14999);
  deliver(3, "GUILD_CREATE", "{\"id\":\"10\"}");
  advance(14999);
  assert_string_equal(calls, "");
  advance(1);
  assert_string_equal(calls, "guilds_loaded{\"guilds\":3,\"missing\":2,\"shard_id\":3};");
  assert_non_null(strstr(logged, "[3] 2 of 3 guilds have not come yet"));
}

static void guilds_loaded_at_once_without_guilds(void **state)
{
  (void)state;
  hooks.want_life[TG_LIFE_guilds_loaded] = true;
  deliver(0, "READY", "{\"guilds\":[]}");
  assert_string_equal(calls, "guilds_loaded{\"guilds\":0,\"missing\":0,\"shard_id\":0};");
  calls[0] = '\0';
  config.intents = 0x200; /* no GUILDS intent: none will come */
  deliver(1, "READY", "{\"guilds\":[{\"id\":\"10\"}]}");
  assert_string_equal(calls, "guilds_loaded{\"guilds\":1,\"missing\":1,\"shard_id\":1};");
}

static void scripts_may_name_the_kind(void **state)
{
  (void)state;
  hook(TG_METHOD_cache_guild_create_kind);
  kind_answer = "available";
  deliver(0, "READY", "{\"guilds\":[]}");
  answer(0, 200);
  deliver(0, "GUILD_CREATE", "{\"id\":\"12\"}");
  assert_string_equal(calls, "kind was joined;");
  assert_non_null(strstr(posts[1].body, "\"guildCreate\":\"available\""));
  kind_answer = "visiting";
  deliver(1, "GUILD_CREATE", "{\"id\":\"13\"}");
  assert_non_null(strstr(posts[2].body, "\"guildCreate\":\"joined\""));
  assert_non_null(strstr(logged, "guild_create_kind returned \"visiting\""));
  kind_answer = NULL;
  deliver(2, "GUILD_CREATE", "{\"id\":\"13\"}");
  assert_non_null(strstr(posts[3].body, "\"guildCreate\":\"joined\""));
}

static void message_updates_without_news_are_dropped(void **state)
{
  (void)state;
  deliver(0, "MESSAGE_CREATE", "{\"id\":\"1\",\"content\":\"hello\",\"edited_timestamp\":null}");
  deliver(0, "MESSAGE_UPDATE",
          "{\"id\":\"1\",\"content\":\"hello\",\"edited_timestamp\":null,\"embeds\":[{}]}");
  assert_int_equal(value(&rows[0].filtered), 1);
  deliver(0, "MESSAGE_UPDATE",
          "{\"id\":\"1\",\"content\":\"hullo\",\"edited_timestamp\":\"2026-08-20T14:04:02.766123+00:00\"}");
  assert_int_equal(value(&rows[0].filtered), 1);
  deliver(1, "MESSAGE_UPDATE",
          "{\"id\":\"1\",\"content\":\"hullo\",\"edited_timestamp\":null}"); /* one cache */
  assert_int_equal(value(&rows[1].filtered), 1);
  answer(0, 200);
  answer(1, 200);
  assert_int_equal(tg_delivery_settled(delivery, 0), 3);
}

static void message_updates_without_contents(void **state)
{
  (void)state;
  static const char created[] = "{\"id\":\"1\",\"content\":\"\",\"edited_timestamp\":null}";
  static const char edited[] =
      "{\"id\":\"1\",\"content\":\"\",\"edited_timestamp\":\"2026-08-20T14:04:02.766123+00:00\"}";
  config.intents = 0x201;
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "MESSAGE_CREATE", created);
  deliver(0, "MESSAGE_UPDATE", created);
  assert_int_equal(value(&rows[0].filtered), 1);
  deliver(0, "MESSAGE_UPDATE", edited);
  assert_int_equal(value(&rows[0].filtered), 1);
  deliver(0, "MESSAGE_UPDATE", edited);
  assert_int_equal(value(&rows[0].filtered), 2);
}

static void all_message_updates_pass_if_wanted(void **state)
{
  (void)state;
  config.message_updates = TG_UPDATES_ALL;
  for (int i = 0; i < 3; i++)
    deliver(0, "MESSAGE_UPDATE", "{\"id\":\"1\",\"content\":\"hello\",\"edited_timestamp\":null}");
  deliver(0, "MESSAGE_UPDATE", "{}");
  assert_int_equal(value(&rows[0].filtered), 0);
  assert_int_equal(value(&rows[0].queued_events), 4);
}

static void scripts_may_judge_updates(void **state)
{
  (void)state;
  hook(TG_METHOD_cache_message_changed);
  const char *text = "{\"id\":\"1\",\"content\":\"hello\",\"edited_timestamp\":null}";
  changed_answer = -1;
  deliver(0, "MESSAGE_CREATE", text);
  deliver(0, "MESSAGE_UPDATE", text);
  assert_string_equal(calls, "changed was 0;"); /* asked for updates only */
  assert_int_equal(value(&rows[0].filtered), 1);
  changed_answer = 1;
  deliver(0, "MESSAGE_UPDATE", text);
  assert_int_equal(value(&rows[0].filtered), 1);
  changed_answer = 0;
  deliver(0, "MESSAGE_UPDATE", "{\"id\":\"1\",\"content\":\"other\",\"edited_timestamp\":null}");
  assert_int_equal(value(&rows[0].filtered), 2);
  assert_non_null(strstr(calls, "changed was 1;"));
}

static void messages_without_id_pass(void **state)
{
  (void)state;
  deliver(0, "MESSAGE_UPDATE", "{\"content\":\"x\"}");
  deliver(0, "MESSAGE_UPDATE", "null");
  deliver(0, "MESSAGE_CREATE", "[1,2]");
  assert_int_equal(value(&rows[0].filtered), 0);
}

static void unknown_events_pass(void **state)
{
  (void)state;
  deliver(0, "SOMETHING_NEW_FROM_DISCORD", "[\"not\",\"an\",\"object\"]");
  assert_non_null(strstr(posts[0].body, "\"d\":[\"not\",\"an\",\"object\"]}}"));
}

static void shards_without_a_row_work(void **state)
{
  (void)state;
  struct tg_event event;
  make_event(&event, 3, 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  event.shard_id = 99;
  tg_delivery_event(delivery, NULL, &event);
  assert_string_equal(posts[0].key, "99.7.1");
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin_world, end_world)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(counts_and_drops_what_came_before),
      IN_WORLD(an_epoch_nobody_announced_starts_a_session),
      IN_WORLD(constant_filters_settle),
      IN_WORLD(computed_filters_decide),
      IN_WORLD(handlers_run_without_filters),
      IN_WORLD(scripts_take_over_delivery),
      IN_WORLD(guild_creates_are_told_apart),
      IN_WORLD(guilds_are_known_although_filtered),
      IN_WORLD(an_adopted_session_keeps_the_count),
      IN_WORLD(guilds_loaded_when_all_have_come),
      IN_WORLD(guilds_loaded_after_a_quiet_time),
      IN_WORLD(guilds_loaded_at_once_without_guilds),
      IN_WORLD(scripts_may_name_the_kind),
      IN_WORLD(message_updates_without_news_are_dropped),
      IN_WORLD(message_updates_without_contents),
      IN_WORLD(all_message_updates_pass_if_wanted),
      IN_WORLD(scripts_may_judge_updates),
      IN_WORLD(messages_without_id_pass),
      IN_WORLD(unknown_events_pass),
      IN_WORLD(shards_without_a_row_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
