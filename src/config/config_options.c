#include "config/config_options.h"

#include "base/address.h"
#include "config/batch_values.h"
#include "config/cluster_rules.h"
#include "config/config.h"
#include "config/config_values.h"
#include "config/handler_values.h"
#include "config/plugin_values.h"
#include "config/sink_values.h"
#include "proto/event_names.h"

#include <limits.h>
#include <stdio.h>

/* TARGET is the struct that the rows are about. */
#define FIELD(name) .offset = offsetof(TARGET, name), .size = sizeof((TARGET *)0)->name
#define BOOL(name, default) FIELD(name), .kind = TG_OPTION_BOOL, .number = (default)
#define RANGE(name, type, from, to, default)                                                                 \
  FIELD(name), .kind = TG_OPTION_##type, .min = (from), .max = (to), .number = (default)
#define STRING(name) FIELD(name), .kind = TG_OPTION_STRING
#define STRINGS(name) FIELD(name), .kind = TG_OPTION_STRINGS
#define CHOICE(name, list, default)                                                                          \
  FIELD(name), .kind = TG_OPTION_CHOICE, .choices = (list), .number = (default)
#define CUSTOM(name, what)                                                                                   \
  FIELD(name), .kind = TG_OPTION_CUSTOM, .read = tg_read_##what, .write = tg_write_##what

/* Bounds that only keep out slips of the pen. */
enum { WORKERS_MAX = 1024, HOUR = 3600 * 1000, DAY = 24 * HOUR };
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static const char *const durabilities[] = {"log", "memory", NULL};
static const char *const sink_durability_words[] = {"log", "memory", "none", NULL};
static const char *const layouts[] = {"tidegate", "discordjs", NULL};
static const char *const syncs[] = {"none", "interval", "batch", NULL};
static const char *const formats[] = {"seed", "discordeno", "chat-sdk", "cloudevents", NULL};
static const char *const orders[] = {"shard", "guild", NULL};
static const char *const message_updates[] = {"content", "all", NULL};
static const char *const voices[] = {"move", "wait", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

/* S(path, ...): the keys of each table in `sinks`. */
#define SINK_OPTIONS(S)                                                                                      \
  S("url", CUSTOM(handler.urls, sink_url), .check = tg_check_sink_url, .url = true, .in_file = true)         \
  S("urls", STRINGS(handler.urls), .check = tg_check_sink_url, .url = true, .in_file = true)                 \
  S("events", STRINGS(handler.events), .text = TG_ALL_EVENTS, .check = tg_check_handled_event,               \
    .meant = tg_event_name_misspelt)                                                                         \
  S("queue.memory_bytes", RANGE(queue.memory_bytes, SIZE, 4096, 1024 * GIB, 16 * MIB))                       \
  S("queue.disk_bytes", RANGE(queue.disk_bytes, SIZE, 4096, 1024 * 1024 * GIB, GIB))                         \
  S("queue.max_age", RANGE(queue.max_age, MS, 1000, INT64_C(365) * DAY, DAY))                                \
  S("queue.durability", CHOICE(queue.durability, sink_durability_words, TG_DURABILITY_LOG), .restart = true) \
  S("queue.sync", CHOICE(queue.sync, syncs, TG_SYNC_NONE))                                                   \
  S("queue.drop_first", STRINGS(queue.drop_first), .text = "TYPING_START,PRESENCE_UPDATE",                   \
    .check = tg_check_event_name, .meant = tg_event_name_misspelt)                                           \
  S("format", CHOICE(handler.format, formats, TG_FORMAT_SEED))                                               \
  S("authorization", STRING(handler.authorization), .secret = true, .in_file = true)                         \
  S("timeout", RANGE(handler.timeout, MS, 1, HOUR, 10000))                                                   \
  S("batch", CUSTOM(handler.batch, batch))                                                                   \
  S("order", CHOICE(handler.order, orders, TG_ORDERED_BY_SHARD))                                             \
  S("in_flight", RANGE(handler.in_flight, INT, 1, TG_IN_FLIGHT_MAX, 32))                                     \
  S("markers", BOOL(handler.markers, false))                                                                 \
  S("headers", CUSTOM(handler.headers, headers), .release = tg_release_json, .secrets = tg_header_secrets,   \
    .secret = true, .composed = true)                                                                        \
  S("signing_secrets", STRINGS(handler.signing_secrets), .check = tg_check_signing_secret, .secret = true,   \
    .composed = true, .in_file = true)                                                                       \
  S("guild_loaded", BOOL(handler.guild_loaded, false))                                                       \
  S("prefix", STRING(redis.prefix), .text = "tidegate", .check = tg_check_redis_name)                        \
  S("layout", CHOICE(redis.layout, layouts, TG_LAYOUT_OWN))                                                  \
  S("max_length", RANGE(redis.max_length, COUNT, 1000, INT64_C(1000000000), 100000))                         \
  S("replicas", RANGE(redis.replicas, INT, 0, 100, 0))                                                       \
  S("settle", RANGE(redis.settle, MS, 0, HOUR, 2000))                                                        \
  S("commands_group", STRING(redis.commands_group), .text = "tidegate", .check = tg_check_redis_name)

#define TARGET struct tg_sink_config
#define S(name, ...) {.path = name, __VA_ARGS__},
const struct tg_option tg_sink_options[] = {SINK_OPTIONS(S)};
#undef S
#undef TARGET

const size_t tg_sink_option_count = sizeof tg_sink_options / sizeof tg_sink_options[0];

static const struct tg_map_form sink_form = {
    .what = "sink",
    .options = tg_sink_options,
    .option_count = sizeof tg_sink_options / sizeof tg_sink_options[0],
    .size = sizeof(struct tg_sink_config),
    .count_at = offsetof(struct tg_config, sink_count) - offsetof(struct tg_config, sinks),
    .max = TG_SINKS_MAX - 1,
    .check_name = tg_check_sink_name,
    .is_shown = tg_sink_has,
    .finish = tg_finish_sink,
};

/* X(path, ...): the order is that of the messages and of the documentation. */
#define OPTIONS(X)                                                                                           \
  X("token", CUSTOM(token, token), .release = tg_release_string, .env = "DISCORD_TOKEN", .secret = true,     \
    .restart = true)                                                                                         \
  X("intents", CUSTOM(intents, intents), .env = "INTENTS", .restart = true)                                  \
  X("optional_intents", FIELD(optional_intents), .kind = TG_OPTION_CUSTOM, .read = tg_read_intents,          \
    .write = tg_write_optional_intents)                                                                      \
  X("rest.url", STRING(rest.url), .text = "https://discord.com/api/v10", .env = "REST_URL",                  \
    .check = tg_check_rest_url, .url = true)                                                                 \
  X("rest.authorization", STRING(rest.authorization), .env = "REST_AUTHORIZATION", .secret = true)           \
  X("gateway_bot.url", STRING(gateway_bot.url), .env = "GATEWAY_URL", .check = tg_check_gateway_url,         \
    .url = true, .restart = true)                                                                            \
  X("gateway_bot.shards", RANGE(gateway_bot.shards, INT, 1, TG_SHARDS_MAX, 0), .unset_is_default = true,     \
    .restart = true)                                                                                         \
  X("gateway_bot.session_start_limit.total", RANGE(gateway_bot.total, INT, 1, INT_MAX, 0),                   \
    .unset_is_default = true, .restart = true)                                                               \
  X("gateway_bot.session_start_limit.remaining", RANGE(gateway_bot.remaining, INT, 0, INT_MAX, 0),           \
    .unset_is_default = true, .restart = true)                                                               \
  X("gateway_bot.session_start_limit.reset_after", RANGE(gateway_bot.reset_after, MS, 0, 7 * DAY, 0),        \
    .unset_is_default = true, .restart = true)                                                               \
  X("gateway_bot.session_start_limit.max_concurrency",                                                       \
    RANGE(gateway_bot.max_concurrency, INT, 1, TG_SHARDS_MAX, 0), .unset_is_default = true, .restart = true) \
  X("total_shards", RANGE(total_shards, INT, 1, TG_SHARDS_MAX, 0), .env = "TOTAL_SHARDS",                    \
    .unset_is_default = true, .restart = true)                                                               \
  X("first_shard_id", RANGE(first_shard_id, INT, 0, TG_SHARDS_MAX - 1, 0), .env = "FIRST_SHARD_ID",          \
    .restart = true)                                                                                         \
  X("last_shard_id", RANGE(last_shard_id, INT, 0, TG_SHARDS_MAX - 1, -1), .env = "LAST_SHARD_ID",            \
    .unset_is_default = true, .restart = true)                                                               \
  X("shards_per_worker", RANGE(shards_per_worker, INT, 1, TG_SHARDS_MAX, 25), .env = "SHARDS_PER_WORKER",    \
    .restart = true)                                                                                         \
  X("total_workers", RANGE(total_workers, INT, 1, WORKERS_MAX, 0), .env = "TOTAL_WORKERS",                   \
    .unset_is_default = true, .restart = true)                                                               \
  X("spread_shards_in_round_robin", BOOL(spread_shards_in_round_robin, false), .restart = true)              \
  X("spawn_shard_delay", RANGE(spawn_shard_delay, MS, 0, HOUR, 5300), .env = "SPAWN_SHARD_DELAY")            \
  X("transport_compression", CUSTOM(transport_compression, compression), .text = "zlib-stream",              \
    .env = "TRANSPORT_COMPRESSION")                                                                          \
  X("presence", CUSTOM(presence, presence), .release = tg_release_json)                                      \
  X("properties.os", STRING(properties.os), .text = "linux")                                                 \
  X("properties.browser", STRING(properties.browser), .text = "tidegate")                                    \
  X("properties.device", STRING(properties.device), .text = "tidegate")                                      \
  X("large_threshold", RANGE(large_threshold, INT, 50, 250, 50))                                             \
  X("capabilities", RANGE(capabilities, INT, 0, INT_MAX, -1), .unset_is_default = true)                      \
  X("event_handler.urls", STRINGS(event_handler.urls), .env = "EVENT_HANDLER_URL",                           \
    .check = tg_check_handler_url, .url = true)                                                              \
  X("event_handler.authorization", STRING(event_handler.authorization), .env = "EVENT_HANDLER_SECRET_KEY",   \
    .secret = true)                                                                                          \
  X("event_handler.timeout", RANGE(event_handler.timeout, MS, 1, HOUR, 10000))                               \
  X("event_handler.batch", CUSTOM(event_handler.batch, batch))                                               \
  X("event_handler.order", CHOICE(event_handler.order, orders, TG_ORDERED_BY_SHARD))                         \
  X("event_handler.in_flight", RANGE(event_handler.in_flight, INT, 1, TG_IN_FLIGHT_MAX, 32))                 \
  X("event_handler.markers", BOOL(event_handler.markers, false))                                             \
  X("event_handler.format", CHOICE(event_handler.format, formats, TG_FORMAT_SEED),                           \
    .env = "EVENT_HANDLER_FORMAT")                                                                           \
  X("event_handler.guild_loaded", BOOL(event_handler.guild_loaded, false))                                   \
  X("event_handler.headers", CUSTOM(event_handler.headers, headers), .release = tg_release_json,             \
    .env = "EVENT_HANDLER_HEADERS", .secrets = tg_header_secrets, .secret = true, .composed = true)          \
  X("event_handler.signing_secrets", STRINGS(event_handler.signing_secrets),                                 \
    .env = "EVENT_HANDLER_SIGNING_SECRETS", .check = tg_check_signing_secret, .secret = true,                \
    .composed = true)                                                                                        \
  X("event_handler.events", STRINGS(event_handler.events), .text = TG_ALL_EVENTS,                            \
    .check = tg_check_handled_event, .meant = tg_event_name_misspelt)                                        \
  X("queue.memory_bytes", RANGE(queue.memory_bytes, SIZE, 4096, 1024 * GIB, 64 * MIB))                       \
  X("queue.disk_bytes", RANGE(queue.disk_bytes, SIZE, 4096, 1024 * 1024 * GIB, GIB))                         \
  X("queue.max_age", RANGE(queue.max_age, MS, 1000, INT64_C(365) * DAY, DAY))                                \
  X("queue.durability", CHOICE(queue.durability, durabilities, TG_DURABILITY_LOG), .restart = true)          \
  X("queue.sync", CHOICE(queue.sync, syncs, TG_SYNC_NONE))                                                   \
  X("queue.drop_first", STRINGS(queue.drop_first), .text = "TYPING_START,PRESENCE_UPDATE",                   \
    .check = tg_check_event_name, .meant = tg_event_name_misspelt)                                           \
  X("sinks", FIELD(sinks), .kind = TG_OPTION_MAP, .form = &sink_form)                                        \
  X("interaction.grace", RANGE(interaction.grace, MS, 0, 2900, 1500))                                        \
  X("interaction.fallback", BOOL(interaction.fallback, true))                                                \
  X("interaction.express", BOOL(interaction.express, false))                                                 \
  X("message_updates", CHOICE(message_updates, message_updates, TG_UPDATES_CONTENT))                         \
  X("storm.rules", CUSTOM(storm.rules, storm_rules), .release = tg_release_storm_rules)                      \
  X("storm.self_updates", BOOL(storm.self_updates, true))                                                    \
  X("resharding.enabled", BOOL(resharding.enabled, true))                                                    \
  X("resharding.shards_full_percentage", RANGE(resharding.shards_full_percentage, INT, 1, 100, 80))          \
  X("resharding.check_interval", RANGE(resharding.check_interval, MS, 1000, INT64_C(365) * DAY, 8 * HOUR))   \
  X("resharding.identify_reserve", RANGE(resharding.identify_reserve, INT, 0, 90, 10))                       \
  X("resharding.voice", CHOICE(resharding.voice, voices, TG_VOICE_MOVE))                                     \
  X("deaf_after", RANGE(deaf_after, MS, 0, DAY, 600000))                                                     \
  X("control.listen", STRING(control.listen), .text = "127.0.0.1:8377", .env = "TIDEGATE_CONTROL",           \
    .check = tg_check_listen, .restart = true)                                                               \
  X("control.authorization", STRING(control.authorization), .env = "TIDEGATE_CONTROL_SECRET",                \
    .secret = true)                                                                                          \
  X("cluster.url", STRING(cluster.url), .env = "TIDEGATE_CLUSTER", .check = tg_check_cluster_url,            \
    .url = true, .in_file = true, .restart = true)                                                           \
  X("cluster.name", STRING(cluster.name), .env = "TIDEGATE_CLUSTER_NAME", .check = tg_check_cluster_name,    \
    .restart = true)                                                                                         \
  X("cluster.host", STRING(cluster.host), .env = "TIDEGATE_CLUSTER_HOST", .check = tg_check_cluster_name,    \
    .restart = true)                                                                                         \
  X("state_dir", STRING(state_dir), .env = "TIDEGATE_STATE_DIR", .restart = true)                            \
  X("script.inline_budget", RANGE(script.inline_budget, MS, 1, HOUR, 5))                                     \
  X("script.slice_budget", RANGE(script.slice_budget, MS, 1, HOUR, 50))                                      \
  X("script.load_budget", RANGE(script.load_budget, MS, 1, HOUR, 500))                                       \
  X("script.kill_after", RANGE(script.kill_after, MS, 100, HOUR, 10000))                                     \
  X("script.memory", RANGE(script.memory, SIZE, MIB, 64 * GIB, 64 * MIB))                                    \
  X("script.secrets", BOOL(script.secrets, false))                                                           \
  X("rocks_trees", STRINGS(rocks_trees), .env = "TIDEGATE_ROCKS_TREES", .check = tg_check_tree)              \
  X("plugins", CUSTOM(plugins, plugins), .release = tg_release_json, .env = "TIDEGATE_PLUGINS")              \
  X("log.level", CHOICE(log.level, log_levels, TG_INFO), .env = "LOG_LEVEL")                                 \
  X("log.format", CUSTOM(log.json, log_format), .env = "LOG_FORMAT")                                         \
  X("tls.ca_file", STRING(tls.ca_file), .env = "TIDEGATE_CA_FILE", .restart = true)

#define TARGET struct tg_config
#define X(name, ...) {.path = name, __VA_ARGS__},
const struct tg_option tg_config_options[] = {OPTIONS(X)};
#undef X
#undef TARGET

#define X(name, ...) name,
const char *const tg_config_keys[] = {OPTIONS(X) NULL};
#undef X

const size_t tg_config_option_count = sizeof tg_config_options / sizeof tg_config_options[0];

bool tg_config_variable(size_t index, char name[TG_VARIABLE_NAME])
{
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    size_t names = !option->env ? 0 : tg_option_has_file(option) ? 2 : 1;
    if (index < names) {
      snprintf(name, TG_VARIABLE_NAME, "%s%s", option->env, index == 1 ? "_FILE" : "");
      return true;
    }
    index -= names;
  }
  snprintf(name, TG_VARIABLE_NAME, "CREDENTIALS_DIRECTORY");
  return index == 0;
}
