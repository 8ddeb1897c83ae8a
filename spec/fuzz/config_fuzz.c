/* Any configuration, first as the script's table, then as the value of every
 * variable: problems are texts, and what is accepted can be shown, read again
 * and compared. */

#include "fuzz.h"

#include "config/config.h"

static const char *the_value;

static const char *every_variable(const char *name)
{
  if (strcmp(name, "DISCORD_TOKEN") == 0)
    return "FAKE.TOKEN";
  return strcmp(name, "INTENTS") == 0 && !the_value ? "1" : the_value;
}

static void load(const json_t *given)
{
  struct tg_config config, again;
  struct tg_problems problems;
  if (!tg_config_load(given, every_variable, &config, &problems)) {
    require(problems.count > 0 && !config.token);
    tg_problems_free(&problems);
    return;
  }
  require(problems.count == 0 && config.token && config.state_dir && config.rest.authorization);
  json_t *shown = tg_config_to_json(&config);
  the_value = NULL;
  require(tg_config_load(shown, every_variable, &again, &problems));
  struct tg_problems keys = tg_config_needs_restart(&config, &config);
  require(keys.count == 0);
  json_decref(shown);
  tg_config_free(&config);
  tg_config_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  the_value = NULL;
  json_t *given =
      length ? json_loadb((const char *)bytes, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
  if (given)
    load(given);
  json_decref(given);

  char *text = calloc(length + 1, 1);
  if (length)
    memcpy(text, bytes, length);
  the_value = text;
  load(NULL);
  the_value = NULL;
  free(text);
  return 0;
}
