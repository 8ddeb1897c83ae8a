#pragma once

/* storm: how many events of a kind may pass, and what becomes of the rest. The same rules stand in the
 * configuration, and are set by scripts at run time (gateway.storm), as JSON:
 *
 *     {"rules": [{"events": ["TYPING_START"], "per": "guild", "rate": 5, "burst": 20, "keep": "first"}],
 *      "self_updates": false} */

#include "config/schema.h"

#include <jansson.h>
#include <stdbool.h>

enum tg_storm_per { TG_STORM_PER_GUILD, TG_STORM_PER_USER, TG_STORM_PER_SHARD, TG_STORM_PER_TYPE };

/* What passes while there are too many: as many as the rate allows; nothing; or as many as the rate allows,
 * and the last one of all, even if later. */
enum tg_storm_keep { TG_STORM_KEEP_FIRST, TG_STORM_KEEP_NONE, TG_STORM_KEEP_LAST };

struct tg_storm_rule {
  struct tg_strings events; /* names; "all" alone: all that a rule may drop unnamed */
  enum tg_storm_per per;
  enum tg_storm_keep keep;
  double rate; /* events a second */
  int burst;   /* so many at once */
};

enum { TG_STORM_RULES_MAX = 32 };

struct tg_storm_rules {
  struct tg_storm_rule *list;
  int count;
};

struct tg_storm_config {
  struct tg_storm_rules rules;
  bool self_updates; /* GUILD_MEMBER_UPDATEs of the bot itself pass */
};

/* Reads the whole from JSON (borrowed). False: `problems` says why, each with its path, and
 * `storm` is empty. The caller frees the problems, and the rest with tg_storm_config_free(). */
bool tg_storm_config_read(const json_t *given, struct tg_storm_config *storm, struct tg_problems *problems);
void tg_storm_config_free(struct tg_storm_config *storm);
/* As it is read. The caller decrefs it. */
json_t *tg_storm_config_write(const struct tg_storm_config *storm);

/* The rule in a few words, "TYPING_START per guild", by which it is counted and named; and its number, where
 * an earlier one of the rules has the same. */
enum { TG_STORM_TITLE_SIZE = 96 };
void tg_storm_title(const struct tg_storm_rules *rules, int index, char title[TG_STORM_TITLE_SIZE]);

/* Of the option storm.rules; the field is a struct tg_storm_rules. */
void tg_read_storm_rules(const struct tg_reader *reader, const json_t *value, void *field);
json_t *tg_write_storm_rules(const void *field);
void tg_release_storm_rules(void *field);

/* The words of `per`. */
const char *tg_storm_per_name(enum tg_storm_per per);
