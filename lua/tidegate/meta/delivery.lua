---@meta

-- gateway.delivery, gateway.sink and gateway.cache: assign to a name to override it. deliver,
-- handle_interaction_queueing and handle_queue may wait, the others run inline and have to return at once.

---@class tidegate.Delivery
local delivery = {}

---Each event that the filters let pass. An override that does not call the default keeps it from the bot.
---@param shard tidegate.Shard
---@param event tidegate.Event
---@return true|nil
---@return tidegate.Error? err
function delivery:handle_discord_payload(shard, event) end

---Takes the first events of a shard's queue: one, or with event_handler.batch what goes in one request. The
---default POSTs them; called from a script it takes any number of events of one shard. With
---event_handler.order "guild" they are of one guild, and those of several come at once. An override has six
---times event_handler.timeout to return; nil alone leaves the events to the default. A failure counts as the
---answer `err.status` (without one: as no answer); `err.retry_after` in ms is obeyed.
---@param events tidegate.Event[] They can be kept. A marker comes as GATEWAY_GAP or GATEWAY_RESHARDING.
---@return boolean|nil
---@return tidegate.DeliveryError? err
function delivery:deliver(events) end

---@class tidegate.DeliveryError: tidegate.Error
---@field status? integer 0: no answer
---@field retry_after? integer ms
---@field delivered? integer Of the default: so many of the events were accepted before the failure.

---@param attempt integer from 1
---@param err { code: string, message: string, status: integer, retry_after?: integer } status 0: no answer
---@return integer|nil ms
function delivery:retry_delay(attempt, err) end

---@param status integer
---@return boolean|nil
function delivery:is_delivered(status) end

---The queue is full (queue.disk_bytes, or queue.memory_bytes without a log). The default drops the oldest, of
---the shard with most of it, interactions last; so it goes on after an override that made too little room.
---@param queue tidegate.Queue of the worker
function delivery:queue_overflow(queue) end

---An interaction that the bot does not answer in time, or cannot since it is down. It is safe in the queue
---already; what has to be done is to answer it through REST, within 3 s of its arrival. "wait" leaves it
---alone: nobody answers, and the bot gets it in its turn as if nothing had been.
---@param event tidegate.Event an INTERACTION_CREATE
---@return boolean|"wait"|nil queued false: the bot does not get it; else it does, with "deferred": true.
---@return tidegate.Error? err nil, err: it is not answered yet, the default is tried
function delivery:handle_interaction_queueing(event) end

---Drains the queue of a shard, in which something waits. The default returns when nothing does any more. An
---override is called again while something waits; one that has not looked at its queue for six times
---event_handler.timeout has lost it to the default, until it is empty.
---@param queue tidegate.Queue
function delivery:handle_queue(queue) end

---What waits of a shard, or of all shards of the worker. #queue is queue:length().
---@class tidegate.Queue
---@field shard_id? integer nil: of the worker
local queue = {}

---@return integer events In memory and in the log.
function queue:length() end

---@return integer
function queue:bytes() end

---@return integer ms Since the oldest was received.
function queue:age() end

---@return tidegate.Queue[] shards In which something waits.
function queue:shards() end

---The oldest events, of one shard. Those that are in the log alone come when these are gone.
---@param count? integer default 1, 1000 at most
---@return tidegate.Event[]
function queue:peek(count) end

---These are delivered: they leave the queue.
---@param events tidegate.Event|tidegate.Event[] as peek() returned them
---@return integer acked How many were still there.
function queue:ack(events) end

---Drops events by policy: they are counted, and with event_handler.markers the bot is told. A number: the
---oldest so many, interactions last. The others look only at what is in memory, and not at what is in flight.
---@param which integer|string|string[]|tidegate.Event|tidegate.Event[]|fun(event: tidegate.Event): boolean?
---@return integer dropped
function queue:drop(which) end

---A sink beside the bot, as `sinks` in the configuration names it.
---@class tidegate.Sink
---@field name string
---@field deliver tidegate.SinkFunction Assigned: it stands in the place of the sink's URL; nil: the default.
local sink = {}

---Takes the first events of a shard's queue: one, or with the sink's `batch` what goes in one request. May
---wait, for six times the sink's `timeout`; nil alone leaves the events to the default, which sends them to
---the sink's URL. A failure counts as the answer `err.status` (without one: as no answer). Their `body` is in
---the sink's `format`.
---@alias tidegate.SinkFunction fun(events: tidegate.Event[]): boolean?, tidegate.DeliveryError?

---What waits for the sink in this worker.
---@return tidegate.Queue
function sink:queue() end

---@class tidegate.Cache
local cache = {}

---@param event tidegate.Event
---@return "loading"|"joined"|"available"|nil
function cache:guild_create_kind(event) end

---@param event tidegate.Event
---@return boolean|nil
function cache:message_changed(event) end
