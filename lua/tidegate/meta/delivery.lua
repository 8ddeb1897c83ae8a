---@meta

-- gateway.delivery and gateway.cache: assign to a name to override it. deliver, handle_interaction_queueing
-- and handle_queue may wait, the others run inline and have to return at once.

---@class tidegate.Delivery
local delivery = {}

---Each event that the filters let pass. An override that does not call the default keeps it from the bot.
---@param shard tidegate.Shard
---@param event tidegate.Event
---@return true|nil
---@return tidegate.Error? err
function delivery:handle_discord_payload(shard, event) end

---@param events table[]
---@return true|nil
---@return tidegate.Error? err
function delivery:deliver(events) end

---@param attempt integer from 1
---@param err { code: string, message: string, status: integer, retry_after?: integer } status 0: no answer
---@return integer|nil ms
function delivery:retry_delay(attempt, err) end

---@param status integer
---@return boolean|nil
function delivery:is_delivered(status) end

---@param queue table
function delivery:queue_overflow(queue) end

---An interaction that the bot does not answer in time, or cannot since it is down. It is safe in the queue
---already; what has to be done is to answer it through REST, within 3 s of its arrival.
---@param event tidegate.Event an INTERACTION_CREATE
---@return boolean|nil queued false: the bot is not to get it any more. Else it does, with "deferred": true.
---@return tidegate.Error? err nil, err: it is not answered yet, the default is tried
function delivery:handle_interaction_queueing(event) end

---@param queue table
function delivery:handle_queue(queue) end

---@class tidegate.Cache
local cache = {}

---@param event tidegate.Event
---@return "loading"|"joined"|"available"|nil
function cache:guild_create_kind(event) end

---@param event tidegate.Event
---@return boolean|nil
function cache:message_changed(event) end
