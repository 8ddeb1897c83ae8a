/* Which voice connections hang on the old sessions, as the new shards are shown them. */

#include "delivery/reshard/voices.h"

#include "proto/envelope.h"
#include "proto/event_types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLASS = 3 };

static char directory[64];
static struct tg_voices *voices;

static int set_up(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/tidegate-voices-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  voices = tg_voices_open(directory, CLASS);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_voices_close(voices);
  tg_voices_remove(directory, CLASS);
  return rmdir(directory); /* nothing is left */
}

static void next_process(void)
{
  tg_voices_close(voices);
  voices = tg_voices_open(directory, CLASS);
}

static void show(const char *name, uint64_t guild, const char *d)
{
  struct tg_event event = {.type = tg_event_type(name, strlen(name)), .data = {d, strlen(d)}};
  tg_voices_note(voices, &event, guild, "old", "new");
}

/* A state of guild 7. */
static void show_state(const char *session, const char *channel)
{
  char d[200];
  snprintf(d, sizeof d,
           "{\"guild_id\":\"7\",\"user_id\":\"1\",\"session_id\":\"%s\",\"channel_id\":%s,\"self_mute\":true,"
           "\"self_deaf\":false}",
           session, channel);
  show("VOICE_STATE_UPDATE", 7, d);
}

static void expect(uint64_t guild, uint64_t channel)
{
  const struct tg_voice *voice = tg_voices_at(voices, 0);
  assert_non_null(voice);
  assert_int_equal(voice->guild, guild);
  assert_int_equal(voice->channel, channel);
  assert_null(tg_voices_at(voices, 1));
}

static void expect_none(void)
{
  assert_null(tg_voices_at(voices, 0));
}

static void a_guild_shows_who_is_where(void **state)
{
  (void)state;
  show("GUILD_CREATE", 7,
       "{\"id\":\"7\",\"voice_states\":["
       "{\"user_id\":\"8\",\"session_id\":\"theirs\",\"channel_id\":\"70\"},"
       "{\"user_id\":\"1\",\"session_id\":\"old\",\"channel_id\":\"71\",\"self_mute\":false,\"self_deaf\":"
       "true}]}");
  expect(7, 71);
  assert_false(tg_voices_at(voices, 0)->self_mute);
  assert_true(tg_voices_at(voices, 0)->self_deaf);
  show("GUILD_CREATE", 7, "{\"id\":\"7\",\"voice_states\":[]}");
  expect_none();
}

static void it_goes_to_another_channel_and_leaves(void **state)
{
  (void)state;
  show_state("theirs", "\"70\"");
  expect_none();
  show_state("old", "\"71\"");
  show_state("theirs", "null");
  expect(7, 71);
  assert_true(tg_voices_at(voices, 0)->self_mute);
  show_state("old", "\"72\"");
  expect(7, 72);
  show_state("old", "null");
  expect_none();
}

static void a_connection_of_the_new_session_is_no_matter(void **state)
{
  (void)state;
  show_state("new", "\"71\"");
  expect_none();
  show_state("old", "\"71\"");
  show_state("new", "\"71\""); /* it has moved */
  expect_none();
}

static void a_guild_that_is_left_has_none(void **state)
{
  (void)state;
  show_state("old", "\"71\"");
  show("GUILD_DELETE", 7, "{\"id\":\"7\",\"unavailable\":true}");
  expect(7, 71);
  show("GUILD_DELETE", 7, "{\"id\":\"7\"}");
  expect_none();
}

/* Nobody shows them again to a session that is resumed. */
static void they_outlive_the_process(void **state)
{
  (void)state;
  char path[100];
  show_state("old", "\"71\"");
  tg_voices_keep(voices);
  next_process();
  expect(7, 71);
  assert_true(tg_voices_at(voices, 0)->self_mute);
  assert_string_equal(tg_voices_at(voices, 0)->session, "old");
  show_state("old", "null");
  tg_voices_keep(voices);
  next_process();
  expect_none();
  snprintf(path, sizeof path, "%s/reshard.%d.voices", directory, CLASS);
  FILE *file = fopen(path, "w");
  fputs("[{\"guild\":7,\"channel\":\"8\"},3,{\"guild\":\"7\",\"channel\":\"8\"}", file);
  fclose(file);
  next_process();
  expect_none();
}

static void many_are_kept(void **state)
{
  (void)state;
  enum { MANY = 100 };
  for (uint64_t guild = 1; guild <= MANY; guild++)
    show("VOICE_STATE_UPDATE", guild, "{\"session_id\":\"old\",\"channel_id\":\"5\"}");
  tg_voices_keep(voices);
  next_process();
  assert_non_null(tg_voices_at(voices, MANY - 1));
  assert_null(tg_voices_at(voices, MANY));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      WITH(a_guild_shows_who_is_where),
      WITH(it_goes_to_another_channel_and_leaves),
      WITH(a_connection_of_the_new_session_is_no_matter),
      WITH(a_guild_that_is_left_has_none),
      WITH(they_outlive_the_process),
      WITH(many_are_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
