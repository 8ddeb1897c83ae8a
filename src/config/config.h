#pragma once

/* The configuration: what gateway.configure and the environment may say, checked, with defaults filled in.
 *
 * tg_config_load() takes the table of gateway.configure as JSON (NULL: there
 * was none), lets the environment fill what it leaves out, and reports every
 * mistake at once, each with the path of its key. The struct owns all its
 * strings; tg_config_free() releases them. All durations are milliseconds. */

#include "base/clock.h"
#include "base/log.h"
#include "config/batch_values.h"
#include "config/schema.h"
#include "config/storm_values.h"
#include "proto/compression.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { TG_SHARDS_MAX = 65536 }; /* of a bot: ids go up to 65535 */

/* None: what waits in memory may be lost, and nothing is asked again for it; of sinks alone. */
enum tg_durability { TG_DURABILITY_LOG, TG_DURABILITY_MEMORY, TG_DURABILITY_NONE };
enum tg_sync { TG_SYNC_NONE, TG_SYNC_INTERVAL, TG_SYNC_BATCH };
enum tg_message_updates { TG_UPDATES_CONTENT, TG_UPDATES_ALL };
/* What becomes of voice connections whose shard goes: the new one joins, or it waits for their end. */
enum tg_resharding_voice { TG_VOICE_MOVE, TG_VOICE_WAIT };

/* How an event looks in its request: delivery/formats/format.h. */
enum tg_event_format { TG_FORMAT_SEED, TG_FORMAT_DISCORDENO, TG_FORMAT_CHAT_SDK, TG_FORMAT_CLOUDEVENTS };

/* What waits for what: all events of a shard for each other, or those of a guild alone. */
enum tg_event_order { TG_ORDERED_BY_SHARD, TG_ORDERED_BY_GUILD };
enum { TG_IN_FLIGHT_MAX = 128 }; /* requests of a handler, or of a shard */

/* How a Redis sink writes: streams and entries of its own, or those of @discordjs/brokers. */
enum tg_redis_layout { TG_LAYOUT_OWN, TG_LAYOUT_DISCORDJS };

/* Who takes events, and how they are sent. */
struct tg_handler_config {
  struct tg_strings urls; /* none: events only reach Lua */
  char *authorization;    /* NULL: no header */
  tg_ms timeout;
  struct tg_batch_config batch;
  enum tg_event_order order;
  int in_flight; /* TG_ORDERED_BY_GUILD: requests of a shard at once */
  bool markers;
  enum tg_event_format format;
  bool guild_loaded;                 /* TG_FORMAT_DISCORDENO: a loading guild's t is another one */
  json_t *headers;                   /* {"X-Name": "value"}, checked; NULL: none */
  struct tg_strings signing_secrets; /* TG_SIGNING_SECRETS at most */
  struct tg_strings events;          /* names of those that the bot gets; "all" alone: all */
};

/* What waits for whoever takes them. */
struct tg_queue_config {
  uint64_t memory_bytes; /* a worker */
  uint64_t disk_bytes;
  tg_ms max_age;
  enum tg_durability durability;
  enum tg_sync sync;
  struct tg_strings drop_first;
};

struct tg_redis_config {
  char *prefix; /* of all keys */
  enum tg_redis_layout layout;
  int64_t max_length; /* entries of a stream */
  int replicas;       /* that have to have a batch before it counts; 0: none */
  tg_ms settle;       /* how long accepted events stay in the log, for a Redis that comes back without them */
  char *commands_group; /* TG_LAYOUT_DISCORDJS: the group that reads the bot's commands */
};

enum {
  TG_SINKS_MAX = 9,       /* with the bot */
  TG_SINK_PATH_SIZE = 64, /* bytes of "sinks.<name>", for messages */
};

/* Where events go beside the bot. */
struct tg_sink_config {
  char *name;
  struct tg_handler_config handler; /* no URLs: a script takes the events */
  struct tg_queue_config queue;
  struct tg_redis_config redis;
};

struct tg_config {
  char *token; /* bare, without "Bot " */
  uint64_t intents;
  uint64_t optional_intents; /* of them: those to do without when Discord refuses them */

  struct {
    char *url; /* no slash at the end */
    char *authorization;
  } rest;
  struct {
    char *url;  /* NULL: fetched. Given alone (GATEWAY_URL), it replaces the fetched one */
    int shards; /* 0: fetched */
    int total, remaining, max_concurrency; /* session_start_limit; 0: fetched */
    tg_ms reset_after;
  } gateway_bot;

  int total_shards;   /* 0: what calculate_total_shards says */
  int first_shard_id; /* 0 */
  int last_shard_id;  /* -1: total_shards - 1 */
  int shards_per_worker;
  int total_workers; /* 0: one a core */
  bool spread_shards_in_round_robin;
  tg_ms spawn_shard_delay;

  enum tg_compression transport_compression;
  json_t *presence; /* NULL: none */
  struct {
    char *os, *browser, *device;
  } properties;
  int large_threshold;
  int capabilities; /* of IDENTIFY; -1: none are sent */

  struct tg_handler_config event_handler;
  struct tg_queue_config queue;
  struct tg_sink_config *sinks; /* beside event_handler, sorted by their names; NULL: none */
  int sink_count;
  struct {
    tg_ms grace;
    bool fallback;
    bool express;
  } interaction;
  enum tg_message_updates message_updates;
  struct tg_storm_config storm;
  struct {
    bool enabled;
    int shards_full_percentage;
    tg_ms check_interval;
    int identify_reserve; /* per cent of session_start_limit.total */
    enum tg_resharding_voice voice;
  } resharding;
  tg_ms deaf_after; /* a shard that hears nothing for so long may be deaf; 0: it is not looked for */
  struct {
    char *listen;
    char *authorization;
  } control;
  struct {
    char *url;         /* of the Redis where the bot's hosts meet; NULL: this gateway runs its shards alone */
    char *name, *host; /* of the cluster; of this host in it. NULL without the URL */
  } cluster;
  char *state_dir;
  struct {
    tg_ms inline_budget, slice_budget, load_budget, kill_after;
    uint64_t memory;
    bool secrets; /* scripts see them */
  } script;
  struct tg_strings rocks_trees;
  json_t *plugins;        /* {"drop-bots": {...}}, by their names; NULL: none */
  bool plugins_of_script; /* gateway.configure names them, not the environment */
  struct {
    enum tg_log_level level;
    bool json;
  } log;
  struct {
    char *ca_file; /* NULL: the system's */
  } tls;
  json_t *secret_files; /* {"token": path}: where the secrets stand that come from files */
  json_t *sources;      /* where the others come from: config/config_sources.h */
};

/* `given` is borrowed; NULL or an empty object means the environment alone
 * decides. `env` looks up a variable (getenv in the program, a table in
 * tests). False: `problems` says why, and `config` is empty. */
bool tg_config_load(const json_t *given, const char *(*env)(const char *name), struct tg_config *config,
                    struct tg_problems *problems);

void tg_config_free(struct tg_config *config);

/* The state directory as the environment alone has it. The caller frees it. */
char *tg_config_state_dir(const char *(*env)(const char *name));

/* Where rocks are looked for as the environment alone has it: TIDEGATE_ROCKS_TREES,
 * else rocks in the state directory, /usr/local and /usr. The caller frees it
 * with tg_strings_free(). */
struct tg_strings tg_config_rocks_trees(const char *(*env)(const char *name));

/* Everything the configuration says, defaults included, secrets as "***", and
 * URLs without users, passwords and queries. The caller decrefs it. */
json_t *tg_config_to_json(const struct tg_config *config);

/* The same as scripts see it: secrets as their placeholders, unless
 * script.secrets lets scripts see them. */
json_t *tg_config_for_scripts(const struct tg_config *config);

/* What the configuration has for a secret option; NULL: nothing, or a list or a table. */
const char *tg_config_secret(const struct tg_config *config, const struct tg_option *option);

/* Every text in it that must not be seen, in the log or in files. The caller
 * frees it with tg_strings_free(). */
struct tg_strings tg_config_secrets(const struct tg_config *config);

/* The sink of that name, which is not the bot's; NULL: there is none. */
const struct tg_sink_config *tg_config_sink(const struct tg_config *config, const char *name);

/* The bot's id, which is the first part of its token; "": the token has none. */
enum { TG_BOT_ID_SIZE = 24 };
void tg_config_bot_id(const struct tg_config *config, char id[TG_BOT_ID_SIZE]);

/* The keys whose values differ and cannot change while the program runs
 * (token, intents, shard numbers, state directory, addresses, the durability of
 * a sink that is in both). The result
 * holds their paths; the caller frees it with tg_problems_free(). */
struct tg_problems tg_config_needs_restart(const struct tg_config *old, const struct tg_config *new_config);

/* A reload takes `next` for `running`: the values that cannot change change
 * places, so that `next` is what runs from now on, and `running` has what was
 * wanted instead (tg_config_needs_restart() goes on telling them apart). */
void tg_config_carry_over(struct tg_config *running, struct tg_config *next);

/* The key paths, in order, for documentation checks. Ends with NULL. */
extern const char *const tg_config_keys[];
