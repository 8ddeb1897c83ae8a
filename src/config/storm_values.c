#include "config/storm_values.h"

#include "base/buf.h"
#include "config/config_values.h"
#include "config/handler_values.h"
#include "config/schema_map.h"
#include "proto/event_names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_MAX = 1000000, RULE_PATH_SIZE = 64 };

static const char *const pers[] = {"guild", "user", "shard", "type", NULL};
static const char *const keeps[] = {"first", "none", "last", NULL};

const char *tg_storm_per_name(enum tg_storm_per per)
{
  return pers[per];
}

/* The gateway itself goes by these: which guilds there are, and whether a session is up. */
static const char *check_event(const char *text)
{
  static const char *const own[] = {"READY", "RESUMED", "GUILD_CREATE", "GUILD_DELETE"};
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
    if (strcmp(text, own[i]) == 0)
      return "no rule may drop READY, RESUMED, GUILD_CREATE or GUILD_DELETE: the gateway itself goes by "
             "them; "
             "gateway.filter keeps them from the bot";
  return tg_check_handled_event(text);
}

static void read_rate(const struct tg_reader *reader, const json_t *value, void *field)
{
  double rate = json_number_value(value);
  if (json_is_number(value) && rate > 0 && rate <= RATE_MAX) {
    *(double *)field = rate;
    return;
  }
  char got[TG_DESCRIPTION_SIZE];
  tg_describe(reader, value, got, sizeof got);
  tg_problem(reader, 0, "expected a number of events a second, above 0 and up to %d, got %s", RATE_MAX, got);
}

static json_t *write_rate(const void *field)
{
  double rate = *(const double *)field;
  return rate == floor(rate) ? json_integer((json_int_t)rate) : json_real(rate);
}

#define FIELD(name)                                                                                          \
  .offset = offsetof(struct tg_storm_rule, name), .size = sizeof((struct tg_storm_rule *)0)->name

static const struct tg_option rule_options[] = {
    {.path = "events",
     FIELD(events),
     .kind = TG_OPTION_STRINGS,
     .check = check_event,
     .meant = tg_event_name_misspelt},
    {.path = "per", FIELD(per), .kind = TG_OPTION_CHOICE, .choices = pers, .number = TG_STORM_PER_GUILD},
    {.path = "rate", FIELD(rate), .kind = TG_OPTION_CUSTOM, .read = read_rate, .write = write_rate},
    {.path = "burst", FIELD(burst), .kind = TG_OPTION_INT, .min = 1, .max = RATE_MAX},
    {.path = "keep", FIELD(keep), .kind = TG_OPTION_CHOICE, .choices = keeps, .number = TG_STORM_KEEP_FIRST},
};

enum { RULE_OPTIONS = sizeof rule_options / sizeof rule_options[0] };

/* --- one rule -------------------------------------------------------------------- */

static void check_rule(const char *path, struct tg_storm_rule *rule, const json_t *given,
                       struct tg_problems *problems)
{
  if (!tg_schema_find(given, "events"))
    tg_problem_add(problems, "%s.events: is required: names of events, or \"all\"", path);
  else if (json_array_size(json_object_get(given, "events")) == 0 && rule->events.count == 0)
    tg_problem_add(problems, "%s.events: names no event", path);
  if (!tg_schema_find(given, "rate"))
    tg_problem_add(problems, "%s.rate: is required: so many events a second pass", path);
  for (int i = 0; i < rule->events.count && rule->events.count > 1; i++)
    if (strcmp(rule->events.items[i], TG_ALL_EVENTS) == 0)
      tg_problem_add(problems, "%s.events: \"all\" stands beside others; write it alone", path);
  for (int i = 0; i < rule->events.count && rule->keep == TG_STORM_KEEP_LAST; i++)
    if (strcmp(rule->events.items[i], "INTERACTION_CREATE") == 0)
      tg_problem_add(problems, "%s.keep: \"last\" brings events later, which an interaction cannot wait for",
                     path);
  if (rule->burst == 0)
    rule->burst = rule->rate > 1 ? (int)ceil(rule->rate) : 1;
}

static void read_rule(const char *path, const json_t *given, struct tg_storm_rule *rule,
                      struct tg_problems *problems)
{
  char prefix[RULE_PATH_SIZE + 1];
  if (!json_is_object(given)) {
    tg_problem_add(problems,
                   "%s: expected a table like { events = { \"TYPING_START\" }, per = \"guild\", "
                   "rate = 5 }, got %s",
                   path, tg_json_kind(given));
    return;
  }
  snprintf(prefix, sizeof prefix, "%s.", path);
  tg_schema_read_table(prefix, rule_options, RULE_OPTIONS, given, NULL, rule, problems);
  check_rule(path, rule, given, problems);
}

/* --- all of them ------------------------------------------------------------------- */

void tg_release_storm_rules(void *field)
{
  struct tg_storm_rules *rules = field;
  for (int i = 0; i < rules->count; i++)
    tg_schema_release(rule_options, RULE_OPTIONS, &rules->list[i]);
  free(rules->list);
  *rules = (struct tg_storm_rules){0};
}

void tg_read_storm_rules(const struct tg_reader *reader, const json_t *value, void *field)
{
  struct tg_storm_rules rules = {0};
  bool empty_table = json_is_object(value) && json_object_size(value) == 0;
  size_t count = json_array_size(value);
  if (!json_is_array(value) && !empty_table) {
    tg_problem(reader, 0, "expected a list of rules, each a table, got %s", tg_json_kind(value));
    return;
  }
  if (count > TG_STORM_RULES_MAX) {
    tg_problem(reader, 0, "there are %zu rules; %d are allowed", count, TG_STORM_RULES_MAX);
    return;
  }
  rules.list = tg_calloc(count + 1, sizeof rules.list[0]);
  for (size_t i = 0; i < count; i++) {
    char path[RULE_PATH_SIZE];
    snprintf(path, sizeof path, "%.40s[%zu]", reader->path, i + 1);
    read_rule(path, json_array_get(value, i), &rules.list[rules.count++], reader->problems);
  }
  tg_release_storm_rules(field);
  *(struct tg_storm_rules *)field = rules;
}

json_t *tg_write_storm_rules(const void *field)
{
  const struct tg_storm_rules *rules = field;
  json_t *list = json_array();
  for (int i = 0; i < rules->count; i++)
    json_array_append_new(list,
                          tg_schema_write(rule_options, RULE_OPTIONS, &rules->list[i], TG_SECRETS_SHOWN));
  return list;
}

void tg_storm_title(const struct tg_storm_rules *rules, int index, char title[TG_STORM_TITLE_SIZE])
{
  enum { WORDS = TG_STORM_TITLE_SIZE - sizeof "... per guild (32)" };
  char names[WORDS + 1], before[TG_STORM_TITLE_SIZE];
  const struct tg_storm_rule *rule = &rules->list[index];
  size_t length = 0;
  for (int i = 0; i < rule->events.count && length < WORDS; i++)
    length +=
        (size_t)snprintf(names + length, sizeof names - length, "%s%s", i ? "," : "", rule->events.items[i]);
  snprintf(title, TG_STORM_TITLE_SIZE, "%s%s per %s", names, length > WORDS ? "..." : "", pers[rule->per]);
  for (int i = 0; i < index; i++) {
    tg_storm_title(rules, i, before);
    if (strcmp(before, title) != 0)
      continue;
    snprintf(title + strlen(title), TG_STORM_TITLE_SIZE - strlen(title), " (%d)", index + 1);
    return;
  }
}

/* --- with what stands beside them ----------------------------------------------------- */

#define OPTION(name)                                                                                         \
  .offset = offsetof(struct tg_storm_config, name), .size = sizeof((struct tg_storm_config *)0)->name

static const struct tg_option options[] = {
    {.path = "rules",
     OPTION(rules),
     .kind = TG_OPTION_CUSTOM,
     .read = tg_read_storm_rules,
     .write = tg_write_storm_rules,
     .release = tg_release_storm_rules},
    {.path = "self_updates", OPTION(self_updates), .kind = TG_OPTION_BOOL, .number = true},
};

enum { OPTIONS = sizeof options / sizeof options[0] };

bool tg_storm_config_read(const json_t *given, struct tg_storm_config *storm, struct tg_problems *problems)
{
  *storm = (struct tg_storm_config){0};
  *problems = (struct tg_problems){0};
  tg_schema_read_table("storm.", options, OPTIONS, given, NULL, storm, problems);
  if (problems->count == 0)
    return true;
  tg_storm_config_free(storm);
  return false;
}

void tg_storm_config_free(struct tg_storm_config *storm)
{
  tg_schema_release(options, OPTIONS, storm);
  *storm = (struct tg_storm_config){0};
}

json_t *tg_storm_config_write(const struct tg_storm_config *storm)
{
  return tg_schema_write(options, OPTIONS, storm, TG_SECRETS_SHOWN);
}
