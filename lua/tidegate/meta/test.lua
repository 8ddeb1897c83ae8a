---@meta tidegate.test

-- The test kit, in specs that `tidegate test` runs. Errors of the script fail the test that met them.

---@class tidegate.Test
---@field null lightuserdata JSON's null.
local test = {}

---@class tidegate.KitOptions
---@field role? "worker"|"manager" Default "worker".
---@field worker_id? integer Default 0.
---@field shards? integer All of this worker's. Default 1.
---@field env? table<string, any> The environment while the script loads, in the place of the tester's own.
---@field keep_errors? boolean Errors of the script do not fail the test; see kit:errors().

---@class tidegate.PluginKitOptions: tidegate.KitOptions
---@field as? string Another name for it.
---@field version? string Which versions of the rock will do.

---Loads the script at `path`; raises what is wrong with it.
---@param path string
---@param options? tidegate.KitOptions
---@return tidegate.Kit
function test.load(path, options) end

---Loads a script from its text.
---@param text string
---@param options? tidegate.KitOptions
---@return tidegate.Kit
function test.script(text, options) end

---Loads a plugin by itself: the one that lies where the specs are run (tidegate/plugins/NAME/), else the one
---that scripts would find. TIDEGATE_ROCKS_TREES of the tester holds, for what it depends on.
---@param name string
---@param config? table of plain values
---@param options? tidegate.PluginKitOptions
---@return tidegate.Kit
function test.plugin(name, config, options) end

---An event as argument of a method: kit.cache:message_changed(test.event("MESSAGE_UPDATE", {...}))
---@param name tidegate.DispatchName
---@param data? table
---@param options? { shard?: integer, sequence?: integer }
---@return table
function test.event(name, data, options) end

---Events as argument of a method: kit.delivery:deliver(test.events { test.event("READY"), ... })
---@param list table[] of what test.event() returns
---@return table
function test.events(list) end

---A queue as argument of a method, of a shard or, without one, of the worker: see kit:fill_queue().
---@param shard_id? integer
---@return table
function test.queue(shard_id) end

---A shard as argument of a method.
---@param id integer
---@return table
function test.shard(id) end

---Marks a table as a list: an empty one becomes [].
---@param list? table
---@return table
function test.array(list) end

---Marks a table as an object: an empty one becomes {}, whatever its name.
---@param object? table
---@return table
function test.object(object) end

---A script under test. Its methods are called through manager, delivery, cache and kit:shard(id): overrides
---or defaults, with what they return. A call that waits moves the time on until it has ended.
---@class tidegate.Kit
---@field path string
---@field role "worker"|"manager"
---@field config tidegate.EffectiveConfig
---@field manager tidegate.Manager
---@field delivery tidegate.Delivery
---@field cache tidegate.Cache
local kit = {}

---@class tidegate.EventResult
---@field outcome "passed"|"dropped"|"replaced" By filters, or by the caches of the gateway.
---@field body? tidegate.Body What the bot gets; nil: nothing.
---@field sequence integer

---@class tidegate.Body
---@field shardId integer
---@field totalShards integer
---@field epoch integer
---@field message { t: string, s: integer, op: integer, d: any }
---@field guildCreate? "loading"|"joined"|"available"

---Sends an event through the worker's whole path: caches, filters, handle_discord_payload, handlers.
---@param name tidegate.DispatchName
---@param data? table d
---@param options? { shard?: integer, sequence?: integer, epoch?: integer }
---@return tidegate.EventResult
function kit:event(name, data, options) end

---Fires an event of the life cycle.
---@param name tidegate.LifeName
---@param details? table
---@param options? { shard?: integer }
function kit:fire(name, details, options) end

---A value that another process has broadcast: the manager, or the worker `worker_id`.
---@param topic string
---@param value any
---@param options? { worker_id?: integer }
function kit:broadcast(topic, value, options) end

---What the script has broadcast.
---@param topic? string
---@return { topic: string, value: any, at: integer }[]
function kit:broadcasts(topic) end

---The methods of gateway.shard, called on this shard (default 0).
---@param id? integer
---@return tidegate.KitShard
function kit:shard(id) end

---@class tidegate.KitShard: tidegate.Shard
local kit_shard = {}

---Sets what the script sees of the shard.
---@param fields tidegate.KitShardFields
function kit_shard:set(fields) end

---@class tidegate.KitShardFields
---@field state? tidegate.ShardState
---@field session_id? string
---@field sequence? integer
---@field epoch? integer
---@field rtt? integer
---@field safe_requests? integer

---What takes the events of a sink beside the bot: what the script has assigned, or the default, whose answer
---kit:answer("sink:deliver", ...) gives. A call that waits moves the time on until it has ended.
---@param name string
---@return { deliver: fun(events: table): any, any } sink Of what test.events() returns.
function kit:sink(name) end

---Asks for what a plugin serves, as a client of the control API does. For a kit in the manager's role. A
---route that waits moves the time on until it has answered.
---@param method "GET"|"HEAD"|"POST"|"PUT"|"PATCH"|"DELETE"
---@param target string "/plugins/drop-bots/stats?since=5"
---@param body? any     Becomes JSON.
---@return { status: integer, body: any, allow?: string } answer The body as its JSON says.
function kit:route(method, target, body) end

---Lets time pass: sleep, after and every run as they would.
---@param ms number
function kit:advance(ms) end

---@return integer ms since the script was loaded
function kit:now() end

---Lets events wait in the queue of a shard, behind those that do already. It is the gateway's own, in memory:
---`queue.memory_bytes` and `queue.drop_first` hold; queue_overflow is asked when there is no room. Nothing
---is sent by itself: events are there for methods that look at queues. What the defaults of deliver and
---handle_queue take is delivered. They wait in the queues of sinks, too, as far as `events` names them.
---@param shard_id integer
---@param list table[] of what test.event() returns
function kit:fill_queue(shard_id, list) end

---What waits in the queue of a shard.
---@param shard_id? integer default 0
---@return { type: string, sequence: integer, data: any }[]
function kit:queued(shard_id) end

---What the defaults return to the script: a value, nil and an error, or a function of their arguments (of the
---shard's id first, for those of a shard). Without it they answer like a small gateway where all goes well.
---@param name string "manager:send_payload", "shard:send", "shard:request_identify"
---@param value any
---@param err? string|{ code: string, message?: string }
function kit:answer(name, value, err) end

---@class tidegate.KitAnswer
---@field status? integer Default 200.
---@field headers? table<string, string>
---@field body? string
---@field json? any
---@field delay? integer ms
---@field error? string Instead: "refused", "timeout", ...

---Answers requests of gateway.http and gateway.rest whose "METHOD url" contains `pattern`. The newest answer
---counts. A request without one times out when its time has passed.
---@param pattern string
---@param answer tidegate.KitAnswer|string|fun(request: tidegate.KitRequest): tidegate.KitAnswer|string
function kit:answer_http(pattern, answer) end

---@class tidegate.KitCall
---@field name string "shard:send"
---@field shard_id? integer
---@field args table
---@field at integer

---The defaults that the script has called, in order.
---@param name? string
---@return tidegate.KitCall[]
function kit:calls(name) end

---@class tidegate.KitRequest
---@field method string
---@field url string
---@field headers table<string, string> Names in lower case.
---@field body? string
---@field json? any What the body says, to look at. An answer that says the same has `body = request.body`.
---@field answered boolean
---@field at integer

---@param pattern? string
---@return tidegate.KitRequest[]
function kit:requests(pattern) end

---What went to the bot so far.
---@param event_type? tidegate.DispatchName
---@return tidegate.Body[]
function kit:delivered(event_type) end

---A value that another process has broadcast: a worker, or the manager.
---@param topic string
---@param value any
---@param options? { worker_id?: integer }
function kit:broadcast(topic, value, options) end

---What the script has broadcast; its own handlers get it, too.
---@param topic? string
---@return { topic: string, value: any, at: integer }[]
function kit:broadcasts(topic) end

---@class tidegate.KitLine
---@field level "debug"|"info"|"warn"|"error"
---@field shard_id? integer
---@field text string As in the log, with its fields.
---@field fields? table<string, string|number|boolean> Those that the script has given, but `shard`.
---@field at integer

---The lines of the log: all, those of a level, or those that contain `part`.
---@param part? string
---@return tidegate.KitLine[]
function kit:log(part) end

---@return { what: string, message: string, at: integer }[]
function kit:errors() end

---Loads the script again, as SIGHUP does. A script from text needs its new text; a plugin does not.
---@param text? string
---@return true|nil reloaded
---@return string? problem
function kit:reload(text) end

---Runs Lua inside of the script's state, with `gateway` at hand: kit:eval "return gateway.state.count"
---@param text string
---@return any ...
function kit:eval(text) end

---What the script has overridden, its filters and handlers, as `tidegate check --json` shows them.
---@return table
function kit:describe() end

---Ends the script; unload handlers run. Happens by itself when the kit is no longer used.
function kit:close() end

return test
