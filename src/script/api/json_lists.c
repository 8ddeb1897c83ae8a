/* The members that are lists, by their names: Lua has one empty table, JSON has
 * two, and Discord refuses {} where it wants []. */

#include "script/api/json_impl.h"

#include <string.h>

/* Only tables that are empty and do not come from JSON are looked up here. `tags`
 * is an object in a role, and `options` in an entry of the audit log, but nobody
 * sends these; names that are sent both ways ("colors", "metadata") are left out. */
/* clang-format off */
static const char *const list_names[] = {
    "_trace", "access_tokens", "actions", "activities", "activity_instances", "added_members",
    "allow_list", "answer_counts", "answers", "application_commands", "applied_tags", "attachments",
    "audit_log_entries", "auto_moderation_rules", "available_tags", "banned_users", "burst_colors",
    "buttons", "by_month", "by_month_day", "by_n_weekday", "by_weekday", "by_year_day", "changes",
    "channel_ids", "channel_types", "channels", "choices", "commands", "components", "connections",
    "contexts", "default_channel_ids", "default_values", "drop_first", "embedded_activities", "embeds",
    "emojis", "entitlement_ids", "entitlement_sku_ids", "entitlements", "event_webhooks_types", "events",
    "exempt_channels", "exempt_roles", "failed_users", "features", "fields", "game_relationships",
    "geo_ordered_rtc_regions", "guild_ids", "guild_join_requests", "guild_scheduled_event_exceptions",
    "guild_scheduled_events", "guilds", "ids", "include_roles", "integration_types", "integrations",
    "intents", "items", "keyword_filter", "members", "mention_channels", "mention_roles", "mentions",
    "message_snapshots", "messages", "not_found", "optional_intents", "options", "parse", "participants",
    "permission_overwrites", "permissions", "presences", "presets", "private_channels", "prompts",
    "reactions", "recipients", "redirect_uris", "regex_patterns", "relationships", "removed_member_ids",
    "renewal_sku_ids", "rocks_trees", "role_ids", "roles", "rpc_origins", "scopes", "shard",
    "signing_secrets", "sku_ids", "soundboard_sounds", "stage_instances", "sticker_ids", "sticker_items",
    "sticker_packs", "stickers", "tags", "threads", "urls", "user_ids", "users", "values", "voice_states",
    "webhooks", "welcome_channels",
};
/* clang-format on */

bool tg_json_is_list_name(const char *name)
{
  for (size_t i = 0; i < sizeof list_names / sizeof *list_names; i++) {
    if (strcmp(name, list_names[i]) == 0)
      return true;
  }
  return false;
}

bool tg_json_is_name_of_maps(const char *name)
{
  return strcmp(name, "resolved") == 0;
}
