---@meta

-- What gateway.configure takes. Durations are milliseconds. What is left out comes from the environment or
-- has a default: see examples/deploy/README.md.

---@class tidegate.Config
---@field token? string The bot's, bare or with "Bot " before it.
---@field intents? integer|tidegate.Intent[] Required.
---@field optional_intents? integer|tidegate.Intent[] Of `intents`: to do without if refused.
---@field rest? tidegate.Config.rest
---@field gateway_bot? tidegate.Config.gateway_bot
---@field total_shards? integer Recommended by Discord if left out.
---@field first_shard_id? integer
---@field last_shard_id? integer
---@field shards_per_worker? integer
---@field total_workers? integer
---@field spread_shards_in_round_robin? boolean
---@field spawn_shard_delay? integer ms, at least between two identifies of a bucket.
---@field transport_compression? "zlib-stream"|"zstd-stream"|false Default "zlib-stream".
---@field presence? tidegate.Presence
---@field properties? tidegate.Config.properties
---@field large_threshold? integer
---@field capabilities? integer Sent with IDENTIFY.
---@field event_handler? tidegate.Config.event_handler
---@field queue? tidegate.Config.queue
---@field sinks? table<string,tidegate.Config.sink> By their names: where events go beside the bot.
---@field interaction? tidegate.Config.interaction
---@field message_updates? "content"|"all" "content" drops those in which nobody did anything.
---@field storm? tidegate.Config.storm
---@field resharding? tidegate.Config.resharding
---@field deaf_after? integer ms without events before a shard may count as deaf; 0: nobody looks.
---@field control? tidegate.Config.control
---@field cluster? tidegate.Config.cluster
---@field state_dir? string
---@field script? tidegate.Config.script
---@field rocks_trees? string[]
---@field plugins? table<string,table> By their names, with their configurations: further plugins.
---@field log? tidegate.Config.log
---@field tls? tidegate.Config.tls

---@class tidegate.Config.rest
---@field url? string
---@field authorization? string

---@class tidegate.Config.gateway_bot
---@field url? string
---@field shards? integer
---@field session_start_limit? tidegate.Config.gateway_bot.session_start_limit

---@class tidegate.Config.gateway_bot.session_start_limit
---@field total? integer
---@field remaining? integer
---@field reset_after? integer
---@field max_concurrency? integer

---@class tidegate.Config.properties
---@field os? string
---@field browser? string
---@field device? string

---@class tidegate.Config.event_handler
---@field urls? string[] None: events only reach Lua.
---@field authorization? string
---@field timeout? integer
---@field batch? boolean|tidegate.Batch
---@field order? "shard"|"guild" Which events wait for each other. Default "shard".
---@field in_flight? integer With "guild": requests of a shard at once, one a guild. Default 32.
---@field markers? boolean
---@field format? "seed"|"discordeno"|"chat-sdk"|"cloudevents" Default "seed".
---@field guild_loaded? boolean With "discordeno": a loading guild's GUILD_CREATE is GUILD_LOADED_DD.
---@field headers? table<string,string|tidegate.InFile> More headers of each request.
---@field signing_secrets? string[] One or two, "whsec_...": requests are signed as Standard Webhooks.
---@field events? string[] Those that the bot gets; others still reach scripts. Default "all".

---How many events go in one request, as a list.
---@class tidegate.Batch
---@field events? integer At most so many. Default 64.
---@field bytes? integer At most so many; an event that is larger goes alone. Default 262144.
---@field linger? integer So many ms its first event waits for others, but for no interaction. Default 0.

---A text that stands in a file.
---@class tidegate.InFile
---@field file string

---What becomes of events that come too fast.
---@class tidegate.Config.storm
---@field rules? tidegate.StormRule[] At most 32; an event has to pass all that name it.
---@field self_updates? boolean Default true; false drops the GUILD_MEMBER_UPDATEs of the bot itself.

---@class tidegate.StormRule
---@field events string[]|"all"
---@field rate number Events a second that pass.
---@field burst? integer So many at once. Default: as in a second.
---@field per? "guild"|"user"|"shard"|"type" What counts for itself. Default "guild".
---@field keep? "first"|"last"|"none" "last": the last one comes later after all; "none": none passes.

---@class tidegate.Config.queue
---@field memory_bytes? integer Of each worker.
---@field disk_bytes? integer
---@field max_age? integer
---@field durability? "log"|"memory"
---@field sync? "none"|"interval"|"batch"
---@field drop_first? string[]

---Of one kind, which its URLs say; none: a script takes the events.
---@class tidegate.Config.sink
---@field url? string|tidegate.InFile http://, https://, http+unix://, redis://, rediss:// or redis+unix://.
---@field urls? (string|tidegate.InFile)[] Instead of `url`.
---@field events? string[] Those that it gets. Default "all".
---@field queue? tidegate.Config.sink.queue
---@field format? "seed"|"discordeno"|"chat-sdk"|"cloudevents" Default "seed".
---@field authorization? string|tidegate.InFile
---@field timeout? integer
---@field batch? boolean|tidegate.Batch
---@field order? "shard"|"guild" HTTP. Default "shard".
---@field in_flight? integer HTTP. Default 32.
---@field markers? boolean
---@field headers? table<string,string|tidegate.InFile>
---@field signing_secrets? (string|tidegate.InFile)[]
---@field guild_loaded? boolean
---@field prefix? string Redis: of the keys.
---@field layout? "tidegate"|"discordjs" Redis. Default "tidegate".
---@field max_length? integer Redis: entries of a stream.
---@field replicas? integer Redis: so many have to have a batch before it counts.
---@field settle? integer Redis: ms that accepted events are kept for one that comes back without them.
---@field commands_group? string Redis, layout "discordjs": the group that reads what bots send.

---@class tidegate.Config.sink.queue
---@field memory_bytes? integer Of each worker.
---@field disk_bytes? integer
---@field max_age? integer
---@field durability? "log"|"memory"|"none" "none": what waits may be lost.
---@field sync? "none"|"interval"|"batch"
---@field drop_first? string[]

---@class tidegate.Config.interaction
---@field grace? integer
---@field fallback? boolean
---@field express? boolean

---@class tidegate.Config.resharding
---@field enabled? boolean Whether it goes over to another number of shards by itself.
---@field shards_full_percentage? integer Of 2,500 guilds a shard: from so many on.
---@field check_interval? integer ms
---@field identify_reserve? integer Per cent of the day's session starts that are kept back.
---@field voice? "move"|"wait" Voice connections: joined again by the new shard; or the old one waits.

---@class tidegate.Config.control
---@field listen? string
---@field authorization? string

---The same on all hosts of a bot, but for `host`: they share its shards.
---@class tidegate.Config.cluster
---@field url? string|tidegate.InFile Of the Redis where they meet: redis://, rediss:// or redis+unix://.
---@field name? string Of the cluster in that Redis. Default "bot".
---@field host? string Of this host, which no other has. Default: the machine's name.

---@class tidegate.Config.script
---@field inline_budget? integer
---@field slice_budget? integer
---@field load_budget? integer
---@field kill_after? integer
---@field memory? integer Bytes in each process. From four fifths on the handlers of gateway.on wait.
---@field secrets? boolean Scripts see secrets, rather than placeholders. Default false.

---@class tidegate.Config.log
---@field level? "debug"|"info"|"warn"|"error"
---@field format? "text"|"json"

---@class tidegate.Config.tls
---@field ca_file? string

---The configuration that holds: the same keys, with everything filled in.
---@alias tidegate.EffectiveConfig tidegate.Config

---@alias tidegate.Intent
---| "guilds"
---| "guild_members"
---| "guild_moderation"
---| "guild_expressions"
---| "guild_integrations"
---| "guild_webhooks"
---| "guild_invites"
---| "guild_voice_states"
---| "guild_presences"
---| "guild_messages"
---| "guild_message_reactions"
---| "guild_message_typing"
---| "direct_messages"
---| "direct_message_reactions"
---| "direct_message_typing"
---| "message_content"
---| "guild_scheduled_events"
---| "auto_moderation_configuration"
---| "auto_moderation_execution"
---| "guild_message_polls"
---| "direct_message_polls"
