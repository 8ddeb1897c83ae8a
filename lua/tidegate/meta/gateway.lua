---@meta tidegate

-- Types of the `gateway` table for editors (LuaCATS: lua-language-server and others). Nothing here is run.
-- Durations are milliseconds, snowflakes are strings.
-- luacheck: no max comment line length

---@class tidegate.Gateway
---@field version string
---@field role "manager"|"worker" Which process this is: the same script is loaded in each.
---@field worker_id? integer Only in a worker.
---@field script? string The path of the script.
---@field config tidegate.EffectiveConfig What holds, defaults included; read only. Secrets are placeholders ("***token***") unless script.secrets is true.
---@field state table Lives through reloads of this process: numbers, strings, booleans and tables of them.
---@field manager tidegate.Manager
---@field shard tidegate.Shard
---@field delivery tidegate.Delivery
---@field cache tidegate.Cache
---@field default tidegate.Default The original methods, whatever the script has assigned.
---@field http tidegate.Http
---@field rest tidegate.Rest
---@field log tidegate.Log
---@field json tidegate.Json
---@field utf8 tidegate.Utf8
---@field crypto tidegate.Crypto
---@field metrics tidegate.Metrics
local gateway = {}

---@class tidegate.Default
---@field manager tidegate.Manager
---@field shard tidegate.Shard
---@field delivery tidegate.Delivery
---@field cache tidegate.Cache

---What went wrong, as the second result of a call that returned nil. tostring() gives the message.
---@class tidegate.Error
---@field code string A short word for programs: "timeout", "refused", "cancelled", ...
---@field message string
---@field status? integer Of an answer to a request that counts as failed.
---@field data? any Its body, decoded.
---@field retry_after? integer ms

---Settles the configuration. Once, at the top level of the script; mistakes are raised, all at once.
---@param config tidegate.Config
function gateway.configure(config) end

---A sink of the configuration, by its name. After gateway.configure; raises for a name that is not there.
---@param name string
---@return tidegate.Sink
function gateway.sink(name) end

---Loads a plugin, as a part of this script. Mistakes are raised, all at once; so is what its `load` raises.
---@param name string      "drop-bots": the rock tidegate-plugin-drop-bots, or one that is built in.
---@param config? table    As its schema has it.
---@param options? tidegate.PluginOptions
function gateway.plugin(name, config, options) end

---Decides which events go on to the bot. `false` drops them at no cost. A function is asked for each event:
---nil = no opinion, false = drop, a table or JSON text = what is delivered instead of `d`. It may not wait.
---@param names tidegate.DispatchName|tidegate.DispatchName[]
---@param rule boolean|fun(event: tidegate.Event): (false|table|string|nil)
---@param options? { priority?: integer } Higher is asked first.
---@return tidegate.Subscription
function gateway.filter(names, rule, options) end

---Runs beside delivery, may wait, and can no longer change the event. `ordered` keeps the events of a shard
---or guild one behind the other, whatever the function waits for. `concurrency` bounds how many events the
---function works on at once in a worker; the others wait, in order.
---@param names tidegate.DispatchName|tidegate.DispatchName[]
---@param handler fun(event: tidegate.Event, shard: tidegate.Shard)
---@param options? { priority?: integer, ordered?: "shard"|"guild", concurrency?: integer } 256 at once.
---@return tidegate.Subscription
---@overload fun(name: "disconnected", handler: fun(shard: tidegate.Shard, details: tidegate.Disconnected), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "invalid_session", handler: fun(shard: tidegate.Shard, details: tidegate.InvalidSession), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "heartbeat_ack", handler: fun(shard: tidegate.Shard, details: tidegate.HeartbeatAck), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "guilds_loaded", handler: fun(shard: tidegate.Shard, details: tidegate.GuildsLoaded), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "resharding", handler: fun(shard: nil, details: tidegate.Resharding), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "deaf", handler: fun(shard: nil, details: tidegate.Deaf), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "handler_down"|"handler_up", handler: fun(shard: nil, details: tidegate.HandlerChange), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(name: "reload", handler: fun(shard: nil, details: tidegate.Reload), options?: tidegate.LifeOptions): tidegate.Subscription
---@overload fun(names: tidegate.LifeNames, handler: tidegate.LifeHandler, options?: tidegate.LifeOptions): tidegate.Subscription
function gateway.on(names, handler, options) end

---Hands a value to the on_broadcast handlers of all processes that run, this one too. Everywhere all values
---come in one and the same order.
---@param topic string
---@param value any What JSON can carry, up to 1 MiB.
---@return true|nil sent
---@return tidegate.Error? err "too_large", "unavailable"
function gateway.broadcast(topic, value) end

---From now on all workers go by these rules against storms, in the place of those of the configuration (nil: by
---those again), until the next reload. Not while the script is loaded.
---@param storm tidegate.Config.storm|nil
---@return true|nil sent
---@return tidegate.Error? err "unavailable"
function gateway.storm(storm) end

---@param topic string
---@param handler fun(value: any, from: { role: "manager"|"worker", worker_id?: integer }) It may wait.
---@param options? { priority?: integer }
---@return tidegate.Subscription
function gateway.on_broadcast(topic, handler, options) end

---@class tidegate.LifeOptions
---@field priority? integer Higher is started first.

---@alias tidegate.LifeNames tidegate.LifeName|tidegate.LifeName[]
---@alias tidegate.LifeHandler fun(shard?: tidegate.Shard, details?: table)

---@class tidegate.Subscription
local subscription = {}

---From the next event on it is not asked any more; what it has begun goes on.
function subscription:remove() end

---The time, in ms: since 1970, and of a clock that nobody sets, for durations. In the test kit both stand still.
---@return integer wall
---@return integer monotonic
function gateway.now() end

---Starts `body` in a coroutine of its own, in the next turn of the loop.
---@param body function
---@param ... any its arguments
---@return true|nil started
---@return tidegate.Error? err
function gateway.spawn(body, ...) end

---Waits. Only where waiting is possible: handlers, waiting methods, spawn, after, every.
---@param ms number
---@return true|nil
---@return tidegate.Error? err "cancelled" when the script was reloaded meanwhile
function gateway.sleep(ms) end

---@param ms number
---@param body function
---@return tidegate.Timer|nil
---@return tidegate.Error? err
function gateway.after(ms, body) end

---The next run comes `ms` after the last one has ended.
---@param ms number
---@param body function
---@return tidegate.Timer|nil
---@return tidegate.Error? err
function gateway.every(ms, body) end

---@class tidegate.Timer
local timer = {}

function timer:cancel() end

return gateway
