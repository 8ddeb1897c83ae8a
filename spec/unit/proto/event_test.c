#include "proto/event.h"

#include "proto/envelope.h"
#include "proto/event_types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void documented_names_have_fixed_numbers(void **state)
{
  (void)state;
#define X(name)                                                                                              \
  assert_int_equal(tg_event_type(#name, sizeof #name - 1), TG_EVENT_##name);                                 \
  assert_string_equal(tg_event_type_name(TG_EVENT_##name), #name);
  TG_EVENT_NAMES(X)
#undef X
  assert_int_equal(tg_event_type_count(), TG_EVENT_KNOWN_COUNT);
  assert_string_equal(tg_event_type_name(TG_EVENT_OTHER), "OTHER");
  assert_string_equal(tg_event_type_name(UINT16_MAX), "OTHER");
}

static void only_the_given_bytes_count(void **state)
{
  (void)state;
  assert_int_equal(tg_event_type("READY_AND_MORE", 5), TG_EVENT_READY);
  assert_int_not_equal(tg_event_type("READY_AND_MORE", 14), TG_EVENT_READY);
  assert_int_equal(tg_event_type("", 0), TG_EVENT_OTHER);
  for (int i = 0; i < 3; i++) /* each time: what is kept of a new name is read again */
    assert_int_equal(tg_event_type("MESS\0\0\0\0\0AGE_CREATE", 19), TG_EVENT_OTHER);
  char longer[66];
  memset(longer, 'A', sizeof longer);
  assert_int_equal(tg_event_type(longer, 65), TG_EVENT_OTHER);
  assert_int_not_equal(tg_event_type(longer, 64), TG_EVENT_OTHER);
}

/* 0: there is none. */
static uint64_t user_of(const char *name, const char *data)
{
  uint64_t id = 0;
  struct tg_event event = {.type = tg_event_type(name, strlen(name)), .data = {data, strlen(data)}};
  return tg_event_user_id(&event, &id) ? id : 0;
}

static void users_stand_in_several_places(void **state)
{
  (void)state;
  assert_int_equal(user_of("GUILD_MEMBER_UPDATE", "{\"guild_id\":\"1\",\"user\":{\"id\":\"7\"}}"), 7);
  assert_int_equal(user_of("PRESENCE_UPDATE", "{\"user\":{\"id\":\"7\"},\"status\":\"idle\"}"), 7);
  assert_int_equal(user_of("READY", "{\"v\":10,\"user\":{\"bot\":true,\"id\":\"7\"}}"), 7);
  assert_int_equal(user_of("MESSAGE_CREATE", "{\"member\":{},\"author\":{\"id\":\"7\"}}"), 7);
  assert_int_equal(user_of("TYPING_START", "{\"user_id\":\"7\",\"member\":{\"user\":{\"id\":\"8\"}}}"), 7);
  assert_int_equal(user_of("MESSAGE_REACTION_ADD", "{\"user_id\":\"7\",\"message_author_id\":\"8\"}"), 7);
  assert_int_equal(user_of("GUILD_BAN_ADD", "{\"user\":{\"id\":\"7\"},\"guild_id\":\"8\"}"), 7);
  assert_int_equal(user_of("INTERACTION_CREATE", "{\"id\":\"8\",\"member\":{\"user\":{\"id\":\"7\"}}}"), 7);
  assert_int_equal(user_of("INTERACTION_CREATE", "{\"id\":\"8\",\"user\":{\"id\":\"7\"}}"), 7);
  assert_int_equal(user_of("NEVER_HEARD_OF", "{\"author\":{\"id\":\"7\"}}"), 7);
  assert_int_equal(user_of("CHANNEL_UPDATE", "{\"id\":\"8\",\"guild_id\":\"9\"}"), 0);
  assert_int_equal(user_of("GUILD_MEMBER_UPDATE", "{\"user\":\"7\"}"), 0);
  assert_int_equal(user_of("GUILD_MEMBER_UPDATE", "null"), 0);
}

/* Fills the table: the last test of the group. */
static void new_names_get_numbers_until_the_table_is_full(void **state)
{
  (void)state;
  uint16_t numbers[600];
  char name[32];
  for (int i = 0; i < 600; i++) {
    int length = snprintf(name, sizeof name, "NEW_EVENT_%d", i);
    numbers[i] = tg_event_type(name, (size_t)length);
    if (numbers[i] != TG_EVENT_OTHER)
      assert_string_equal(tg_event_type_name(numbers[i]), name);
  }
  assert_int_equal(tg_event_type_count(), TG_EVENT_TYPE_MAX);
  assert_int_equal(numbers[599], TG_EVENT_OTHER);
  int distinct = 0;
  for (int i = 0; i < 600; i++) {
    int length = snprintf(name, sizeof name, "NEW_EVENT_%d", i);
    assert_int_equal(tg_event_type(name, (size_t)length), numbers[i]);
    distinct += numbers[i] >= TG_EVENT_KNOWN_COUNT;
    assert_true(numbers[i] < TG_EVENT_TYPE_MAX);
  }
  assert_true(distinct > 400);
  assert_int_equal(tg_event_type("MESSAGE_CREATE", 14), TG_EVENT_MESSAGE_CREATE);
}

static void suggests_names(void **state)
{
  (void)state;
  assert_string_equal(tg_event_name_suggest("MESAGE_CREATE"), "MESSAGE_CREATE");
  assert_string_equal(tg_event_name_suggest("message_create"), "MESSAGE_CREATE");
  assert_null(tg_event_name_suggest("something else"));
}

static struct tg_event read_event(const char *raw)
{
  struct tg_envelope envelope;
  assert_true(tg_envelope_scan(raw, strlen(raw), &envelope));
  return (struct tg_event){
      .type = tg_event_type(envelope.name.at, envelope.name.length),
      .name = envelope.name,
      .raw = {raw, strlen(raw)},
      .data = envelope.data,
  };
}

static void guild_and_id(void **state)
{
  (void)state;
  static const struct {
    const char *raw;
    uint64_t guild_id, id; /* 0: none */
  } cases[] = {
      {"{\"t\":\"GUILD_CREATE\",\"s\":2,\"op\":0,\"d\":{\"channels\":[{\"id\":\"5\",\"guild_id\":\"6\"}],"
       "\"id\":\"7\"}}",
       7, 7},
      {"{\"t\":\"GUILD_UPDATE\",\"s\":2,\"op\":0,\"d\":{\"id\":\"7\",\"guild_id\":\"8\"}}", 7, 7},
      {"{\"t\":\"GUILD_DELETE\",\"s\":2,\"op\":0,\"d\":{\"id\":\"7\",\"unavailable\":true}}", 7, 7},
      {"{\"t\":\"GUILD_ROLE_CREATE\",\"s\":2,\"op\":0,\"d\":{\"id\":\"7\",\"guild_id\":\"8\"}}", 8, 7},
      {"{\"t\":\"MESSAGE_CREATE\",\"s\":2,\"op\":0,\"d\":{\"message_reference\":{\"guild_id\":\"1\"},\"id\":"
       "\"18446744073709551615\"}}",
       0, UINT64_MAX},
      {"{\"t\":\"INTERACTION_CREATE\",\"s\":2,\"op\":0,\"d\":{\"guild_id\":null,\"id\":\"3\",\"guild\":{"
       "\"id\":\"9\"}}}",
       0, 3},
      {"{\"t\":\"PRESENCES_REPLACE\",\"s\":2,\"op\":0,\"d\":[]}", 0, 0},
      {"{\"t\":\"RESUMED\",\"s\":2,\"op\":0,\"d\":null}", 0, 0},
      {"{\"t\":\"RESUMED\",\"s\":2,\"op\":0}", 0, 0},
      {"{\"t\":\"GUILD_DELETE\",\"s\":2,\"op\":0,\"d\":{\"id\":\"x7\"}}", 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tg_event event = read_event(cases[i].raw);
    uint64_t guild_id = 0, id = 0;
    if (tg_event_guild_id(&event, &guild_id) != (cases[i].guild_id != 0) || guild_id != cases[i].guild_id)
      fail_msg("guild id of %s", cases[i].raw);
    if (tg_event_id(&event, &id) != (cases[i].id != 0) || id != cases[i].id)
      fail_msg("id of %s", cases[i].raw);
  }
}

static void message_is_the_replacement_if_there_is_one(void **state)
{
  (void)state;
  struct tg_event event = read_event("{\"t\":\"X\",\"s\":2,\"op\":0,\"d\":1}");
  assert_ptr_equal(tg_event_message(&event).at, event.raw.at);
  event.replacement = (struct tg_span){"{}", 2};
  assert_ptr_equal(tg_event_message(&event).at, event.replacement.at);
}

static void names_of_guild_create(void **state)
{
  (void)state;
  assert_null(tg_guild_create_name(TG_GUILD_NONE));
  assert_string_equal(tg_guild_create_name(TG_GUILD_LOADING), "loading");
  assert_string_equal(tg_guild_create_name(TG_GUILD_JOINED), "joined");
  assert_string_equal(tg_guild_create_name(TG_GUILD_AVAILABLE), "available");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(documented_names_have_fixed_numbers),
      cmocka_unit_test(only_the_given_bytes_count),
      cmocka_unit_test(suggests_names),
      cmocka_unit_test(guild_and_id),
      cmocka_unit_test(message_is_the_replacement_if_there_is_one),
      cmocka_unit_test(names_of_guild_create),
      cmocka_unit_test(users_stand_in_several_places),
      cmocka_unit_test(new_names_get_numbers_until_the_table_is_full),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
