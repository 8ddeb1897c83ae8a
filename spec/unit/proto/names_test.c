/* Suggestions and the names of intents. */

#include "base/suggest.h"
#include "proto/intents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void suggests_what_was_meant(void **state)
{
  (void)state;
  static const char *const names[] = {"heartbeat", "identify", "resume", "send", "is_open"};
  static const struct {
    const char *word, *meant;
  } cases[] = {
      {"heartbeet", "heartbeat"}, {"HEARTBEAT", "heartbeat"},
      {"identfy", "identify"},    {"reusme", "resume"},
      {"sned", "send"},           {"isopen", "is_open"},
      {"banana", NULL},           {"", NULL},
      {"connection", NULL},       {"xyz", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *got = tg_suggest(cases[i].word, names, 5);
    if (cases[i].meant ? !got || strcmp(got, cases[i].meant) != 0 : got != NULL)
      fail_msg("%s: %s", cases[i].word, got ? got : "nothing");
  }
  assert_null(tg_suggest("heartbeat", names, 0));
}

static void survives_long_words(void **state)
{
  (void)state;
  char word[3000];
  memset(word, 'a', sizeof word - 1);
  word[sizeof word - 1] = '\0';
  const char *const names[] = {word, "a"};
  assert_null(tg_suggest(word, names, 2));
  assert_string_equal(tg_suggest("a", names, 2), "a");
}

static void names_all_intents(void **state)
{
  (void)state;
  static const struct {
    const char *name;
    int bit;
  } cases[] = {
      {"guilds", 0},
      {"guild_members", 1},
      {"guild_moderation", 2},
      {"guild_expressions", 3},
      {"guild_integrations", 4},
      {"guild_webhooks", 5},
      {"guild_invites", 6},
      {"guild_voice_states", 7},
      {"guild_presences", 8},
      {"guild_messages", 9},
      {"guild_message_reactions", 10},
      {"guild_message_typing", 11},
      {"direct_messages", 12},
      {"direct_message_reactions", 13},
      {"direct_message_typing", 14},
      {"message_content", 15},
      {"guild_scheduled_events", 16},
      {"auto_moderation_configuration", 20},
      {"auto_moderation_execution", 21},
      {"guild_message_polls", 24},
      {"direct_message_polls", 25},
      {"GUILD_MESSAGES", 9},
      {"GuildMessages", 9},
      {"guild_bans", 2},
      {"GuildBans", 2},
      {"GUILD_EMOJIS", 3},
      {"GUILD_EMOJIS_AND_STICKERS", 3},
  };
  uint64_t all = 0, bit;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (!tg_intent_parse(cases[i].name, &bit) || bit != UINT64_C(1) << cases[i].bit)
      fail_msg("%s", cases[i].name);
    all |= bit;
  }
  assert_int_equal(all, TG_INTENTS_ALL);
  assert_int_equal(all & ~(uint64_t)TG_INTENTS_PRIVILEGED, 53575421);
  assert_false(tg_intent_parse("guild", &bit));
  assert_false(tg_intent_parse("guildss", &bit));
  assert_false(tg_intent_parse("", &bit));
  assert_string_equal(tg_intent_suggest("guild_mesages"), "guild_messages");
  assert_string_equal(tg_intent_suggest("GatewayIntentBits.Guilds"), "guilds");
  assert_null(tg_intent_suggest("everything"));
}

static void formats_intents(void **state)
{
  (void)state;
  char text[64];
  tg_intents_format(1 | 512 | 1 << 17, text, sizeof text);
  assert_string_equal(text, "guilds, guild_messages, bit 17");
  tg_intents_format(0, text, sizeof text);
  assert_string_equal(text, "");
  tg_intents_format(TG_INTENTS_ALL, text, 12);
  assert_string_equal(text, "guilds, gui");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(suggests_what_was_meant),
      cmocka_unit_test(survives_long_words),
      cmocka_unit_test(names_all_intents),
      cmocka_unit_test(formats_intents),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
