---@meta

-- gateway.shard: assign to a name to override it for all shards; `self` is the shard. request_identify and
-- make_presence may wait, the others run inline and have to return at once.

---@alias tidegate.ShardState
---| "Offline"
---| "Disconnected"
---| "Connecting"
---| "Unidentified"
---| "Identifying"
---| "Resuming"
---| "Connected"

---@class tidegate.Shard
---@field id integer
---@field state tidegate.ShardState
---@field session_id? string
---@field sequence? integer
---@field epoch integer Counts the sessions of this shard; the first one has the time in Unix seconds.
---@field rtt integer ms; -1: unknown
---@field worker_id integer
---@field total_shards integer
local shard = {}

---A command to Discord: {op = 3, d = {...}}.
---@class tidegate.Payload
---@field op integer
---@field d any

---As Discord's op 3 has it.
---@class tidegate.Presence
---@field status? "online"|"idle"|"dnd"|"invisible"|"offline"
---@field activities? { name: string, type?: integer, state?: string, url?: string }[]
---@field afk? boolean
---@field since? integer

function shard:connect() end

function shard:identify() end

function shard:resume() end

---A code other than 1000 and 1001 keeps the session.
---@param code? integer
---@param reason? string
function shard:close(code, reason) end

function shard:shutdown() end

---Returns when the shard may identify.
---@return true|nil
---@return tidegate.Error? err
function shard:request_identify() end

---True when sent or queued. An override is asked about each command for the shard: true has seen to it, false
---or nil, err refuses it, without an opinion it is sent.
---@param payload tidegate.Payload
---@param options? { timeout?: integer, priority?: "low"|"normal"|"high" }
---@return true|nil
---@return tidegate.Error? err
function shard:send(payload, options) end

---An override's false holds commands back.
---@return boolean
function shard:is_open() end

---How many commands a minute may leave; asked at HELLO.
---@return integer
function shard:calculate_safe_requests() end

---@return tidegate.Presence|nil
function shard:make_presence() end

---@param interval integer
function shard:heartbeat(interval) end

---@param interval integer
function shard:start_heartbeating(interval) end

function shard:stop_heartbeating() end

---@param bytes string
---@return string|nil text
---@return tidegate.Error? err
function shard:decompress_packet(bytes) end

---@param packet string|table
function shard:handle_packet(packet) end

---@param code integer
---@param reason string
---@return "resume"|"identify"|"stop"|nil
function shard:handle_close(code, reason) end
