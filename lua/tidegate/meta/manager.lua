---@meta

-- gateway.manager: assign to a name to override it. Methods are run in the manager; called from a worker,
-- they reach it and wait. All but calculate_*, prepare_buckets, get_shard_info and handle_worker_exit may
-- wait.

---@class tidegate.Manager
local manager = {}

---What GET /gateway/bot says.
---@class tidegate.GatewayBot
---@field url string wss://; ws:// only if rest.url is no https://, or gateway_bot.url is configured
---@field shards integer
---@field session_start_limit tidegate.SessionStartLimit

---@class tidegate.SessionStartLimit
---@field total integer
---@field remaining integer
---@field reset_after integer
---@field max_concurrency integer

---@return tidegate.GatewayBot|nil
---@return tidegate.Error? err
function manager:fetch_gateway_bot() end

---@param info tidegate.GatewayBot
---@return integer
function manager:calculate_total_shards(info) end

---@param shard_id integer
---@return integer worker_id
function manager:calculate_worker_id(shard_id) end

---@param guild_id string
---@param total? integer
---@return integer shard_id
function manager:calculate_shard_id(guild_id, total) end

---@class tidegate.Bucket
---@field id integer
---@field workers { id: integer, queue: integer[] }[] The shards of each worker, in the order of their start.

---@return tidegate.Bucket[]
function manager:prepare_buckets() end

---@return true|nil
---@return tidegate.Error? err
function manager:spawn_shards() end

---@param worker_id integer
---@param shard_id integer
---@param bucket_id integer
---@return true|nil
---@return tidegate.Error? err
function manager:tell_worker_to_identify(worker_id, shard_id, bucket_id) end

---Returns when the shard may identify.
---@param shard_id integer
---@param total? integer of how many it is one: while the bot goes over to another number, two have that id
---@return true|nil
---@return tidegate.Error? err
function manager:request_identify(shard_id, total) end

---Returns when it is sent.
---@param shard_id integer
---@param payload tidegate.Payload
---@param options? { timeout?: integer, priority?: "low"|"normal"|"high", total_shards?: integer }
---@return true|nil
---@return tidegate.Error? err
function manager:send_payload(shard_id, payload, options) end

---@class tidegate.ShardInfo
---@field shard_id integer
---@field worker_id integer
---@field rtt integer ms; -1: unknown
---@field state tidegate.ShardState
---@field session_id? string
---@field sequence integer
---@field delivered integer
---@field queued integer
---@field generation integer

---In a cluster: of the shards that this host has.
---@return tidegate.ShardInfo[]
function manager:get_shard_info() end

---@param shard_id integer
---@return true|nil
---@return tidegate.Error? err
function manager:kill(shard_id) end

---Ends the gateway. 1000 and 1001 end the sessions, other codes keep them; a host of a cluster always does.
---@param code? integer
---@param reason? string
---@return true|nil
---@return tidegate.Error? err
function manager:shutdown(code, reason) end

---@param presence tidegate.Presence
---@return true|nil
---@return tidegate.Error? err
function manager:edit_bot_status(presence) end

---@param shard_id integer
---@param presence tidegate.Presence
---@return true|nil
---@return tidegate.Error? err
function manager:edit_shard_status(shard_id, presence) end

---@class tidegate.MembersOptions
---@field query? string The beginning of names; "" (the default) is everybody.
---@field user_ids? string[] Or these.
---@field limit? integer
---@field presences? boolean
---@field timeout? integer

---Those who ask for the same while it is under way get one answer of Discord.
---@param guild_id string
---@param options? tidegate.MembersOptions
---@return { members: table[], not_found: string[], presences?: table[] }|nil
---@return tidegate.Error? err
function manager:request_members(guild_id, options) end

---@param guild_ids string[]
---@return true|nil
---@return tidegate.Error? err
function manager:request_soundboard_sounds(guild_ids) end

---@param guild_id string
---@param channel_id string
---@param options? { self_mute?: boolean, self_deaf?: boolean }
---@return true|nil
---@return tidegate.Error? err
function manager:join_voice_channel(guild_id, channel_id, options) end

---@param guild_id string
---@return true|nil
---@return tidegate.Error? err
function manager:leave_voice_channel(guild_id) end

---Every resharding.check_interval: how many shards there should be; nil: as many as there are.
---@return integer|nil total
---@return tidegate.Error? err
function manager:resharding_needed() end

---@class tidegate.ReshardWish
---@field total_shards? integer
---@field automatic? boolean The check for it asks.
---@field abort? boolean In place of a total: what runs is undone.

---@class tidegate.ReshardBegun
---@field from integer
---@field to integer
---@field identifies integer How many it may take.

---Answers when it has begun. An override that returns false puts it off until the next check.
---@param info tidegate.ReshardWish
---@return tidegate.ReshardBegun|boolean|nil
---@return tidegate.Error? err
function manager:reshard(info) end

---A shard of the set that the bot goes over to has its turn to connect.
---@param worker_id integer
---@param shard_id integer
---@param bucket_id integer
---@param total? integer shards of that set
---@return true|nil
---@return tidegate.Error? err
function manager:tell_worker_to_prepare(worker_id, shard_id, bucket_id, total) end

---These guilds are on the new shards now.
---@param guild_ids string[]
---@return true|nil
---@return tidegate.Error? err
function manager:on_resharding_switch(guild_ids) end

---@param worker_id integer
---@param reason string
function manager:handle_worker_exit(worker_id, reason) end
