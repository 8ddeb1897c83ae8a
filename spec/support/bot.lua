-- An event handler: the bot at the other end of the gateway, in the spec process.
--
--   local bot = require("spec.support.bot").start()
--   bot:wait_for_events(100)
--   bot.events[1]    {shard, total, epoch, s, t, key, body, guild_create, late, at}; :data() and :message()
--                    decode
--
-- It answers 204 and keeps what it accepted, in order of arrival: bot.events, and bot.by_shard[shard].
-- Requests without the right Authorization get 401 and are counted in bot.unauthorized. How it answers is a
-- policy:
--
--   bot:answer(function(request, event, events) return 503, { ["Retry-After"] = "1" } end)   nil: back to 204
--   bot:hang()        takes requests and never answers, until bot:answer(...)
--   bot:delay(ms)     answers later, by the policy of then
--   bot:down()        nobody listens, all connections broken; bot:up() listens on the same port again
--   bot:reset_connections()
--   bot:reset_bodies(function(headers) return true end)   breaks connections before the body is read
--
-- A policy function may also return "hang", "reset", or "half": the events are accepted, and the connection
-- breaks in the midst of the answer. `events` are all of the request. The events of a batch are recorded one
-- by one, as if each had come alone, with their `position` in it; bot.batches has the sizes.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local uv = require "luv"

local bot = {}

local Bot = {}
Bot.__index = Bot

local Event = {}
Event.__index = Event

-- The whole message as Discord sent it: {t, s, op, d}.
function Event:message()
  return self.decoded or cjson.decode(self.body).message
end

function Event:data()
  return self:message().d
end

-- The body that the event would have alone.
function Event:text()
  return cjson.encode {
    shardId = self.shard, totalShards = self.total, epoch = self.epoch, message = self.decoded,
    guildCreate = self.guild_create, deferred = self.deferred, gap = self.gap,
    resharding = self.resharding, late = self.late,
  }
end

local function from_table(value)
  local message = value.message or {}
  return setmetatable({
    shard = value.shardId,
    total = value.totalShards,
    epoch = value.epoch,
    s = message.s,
    t = message.t,
    guild_create = value.guildCreate,
    deferred = value.deferred,
    gap = value.gap,
    resharding = value.resharding,
    late = value.late,
    decoded = message,
  }, Event)
end

-- The common form is read without decoding it: 20,000 events are one spec.
local COMMON =
  '^{"shardId":(%d+),"totalShards":(%d+),"epoch":(%d+),"message":{"t":"([%u%d_]+)","s":(%d+),"op":0,"d":'

local function parse(body)
  local shard, total, epoch, t, s = body:match(COMMON)
  if shard and t ~= "GUILD_CREATE" and t ~= "INTERACTION_CREATE" then
    return { setmetatable({
      shard = tonumber(shard), total = tonumber(total), epoch = tonumber(epoch), s = tonumber(s), t = t,
      late = body:find(',"late":true}', -13, true) and true or nil,
    }, Event) }
  end
  local value = cjson.decode(body)
  if not value[1] then
    return { from_table(value) }
  end
  local events = {}
  for i, item in ipairs(value) do
    events[i] = from_table(item)
    events[i].position = i
  end
  return events
end

-- Of an event in a batch: the key that it would have alone.
local function key_of(event)
  local gap = event.gap
  local s = gap and ("gap-%d"):format(gap.to or gap.from and gap.from - 1 or 0) or event.s
  return ("%d.%d.%s"):format(event.shard, event.epoch, s or "?")
end

-- Its body does not say behind which event it stands.
local function is_handover(event)
  return event.resharding ~= nil
end

-- The key of a batch is made of its first and its last event.
local function key_of_batch(events)
  local first, last = key_of(events[1]), key_of(events[#events])
  return #events == 1 and first or first .. "-" .. last:match "[^.]+$"
end

local function record(self, request, events)
  if events[1].position then
    self.batches[#self.batches + 1] = #events
  end
  for _, event in ipairs(events) do
    event.at = loop.now()
    event.late = event.late or request.headers["x-tidegate-late"] == "1" or nil
    event.key = event.position and key_of(event) or request.headers["idempotency-key"]
    event.body = self.keep_bodies and (event.position and event:text() or request.body) or nil
    self.events[#self.events + 1] = event
    local shard = self.by_shard[event.shard]
    if not shard then
      shard = {}
      self.by_shard[event.shard] = shard
    end
    shard[#shard + 1] = event
  end
end

local function leave(self, shard)
  self.in_flight[shard] = self.in_flight[shard] - 1
end

local function answer(self, request, events)
  local status, headers, body = 204, nil, nil
  if self.policy then
    status, headers, body = self.policy(request, events[1], events)
  end
  if status == "hang" then
    return
  end
  leave(self, events[1].shard)
  if status == "reset" then
    request:reset()
    return
  elseif status == "half" then
    record(self, request, events)
    request:respond_half(200)
    return
  end
  status = status or 204
  -- What the other side can no longer hear about is not accepted: it will come again.
  if status >= 200 and status < 300 and not request.connection.closed then
    record(self, request, events)
  elseif status >= 300 then
    self.refused = self.refused + 1
  end
  request:respond(status, headers, body)
end

local function handle(self, request)
  self.requests = self.requests + 1
  if self.authorization and request.headers.authorization ~= self.authorization then
    self.unauthorized = self.unauthorized + 1
    return 401
  end
  local ok, events = pcall(parse, request.body)
  local key = request.headers["idempotency-key"]
  if not ok or not events[1] or not events[1].shard
    or (events[1].position and key ~= key_of_batch(events) and not is_handover(events[1])
      and not is_handover(events[#events])) then
    self.malformed[#self.malformed + 1] = request.body
    return 400
  end
  if key then
    self.attempts[key] = (self.attempts[key] or 0) + 1
  end
  local shard = events[1].shard
  self.in_flight[shard] = (self.in_flight[shard] or 0) + 1
  self.max_in_flight[shard] = math.max(self.max_in_flight[shard] or 0, self.in_flight[shard])
  if self.latency then
    local timer = uv.new_timer()
    timer:start(self.latency, 0, loop.callback(function()
      timer:close()
      answer(self, request, events)
    end))
  else
    answer(self, request, events)
  end
end

local started = {}

-- options: authorization (default "the bot's secret"; false: not checked), port, unix, keep_bodies (default
-- true), answer (the first policy).
function bot.start(options)
  options = options or {}
  local authorization = options.authorization
  if authorization == nil then
    authorization = "secret-of-the-bot"
  end
  local self = setmetatable({
    authorization = authorization,
    keep_bodies = options.keep_bodies ~= false,
    policy = options.answer,
    events = {},
    by_shard = {},
    requests = 0,     -- all that came
    refused = 0,      -- answered with an error by policy
    unauthorized = 0,
    malformed = {},   -- bodies of another shape than the gateway's
    batches = {},     -- how many events each accepted one had
    attempts = {},    -- by Idempotency-Key
    in_flight = {},   -- by shard; of a batch the shard of its first event
    max_in_flight = {},
  }, Bot)
  self.server = http.serve(function(request)
    return handle(self, request)
  end, options)
  self.url, self.port = self.server.url, self.server.port
  started[#started + 1] = self
  return self
end

function Bot:answer(policy)
  self.policy = policy
end

function Bot:hang()
  self.policy = function() return "hang" end
end

function Bot:delay(ms)
  self.latency = ms
end

function Bot:reset_bodies(which)
  self.server.on_head = which
end

function Bot:reset_connections()
  self.server:reset_connections()
end

function Bot:down()
  self.server:pause()
end

function Bot:up()
  self.server:listen()
end

function Bot:close()
  self.server:close()
end

-- Accepted events, all or those for which which(event) is true; which may also be an event name.
function Bot:select(which)
  if type(which) == "string" then
    local name = which
    which = function(event) return event.t == name end
  end
  local found = {}
  for _, event in ipairs(self.events) do
    if not which or which(event) then
      found[#found + 1] = event
    end
  end
  return found
end

-- The epoch of the shard's first session: a time, of which no spec knows more than that.
function Bot:first_epoch(shard)
  return self.by_shard[shard or 0][1].epoch
end

-- Waits until at least n events are accepted (of a name or kind, as select() takes it); returns them.
function Bot:wait_for_events(n, which, timeout)
  loop.step()
  local seen, count = 0, 0
  local match = which
  if type(which) == "string" then
    match = function(event) return event.t == which end
  end
  loop.wait_for(function()
    local kind = type(which) == "string" and which or "events"
    return ("%d %s at the bot; %d have come, %d requests, %d refused, %d unauthorized"):format(
      n, kind, count, self.requests, self.refused, self.unauthorized)
  end, function()
    for i = seen + 1, #self.events do
      if not match or match(self.events[i]) then
        count = count + 1
      end
    end
    seen = #self.events
    return count >= n
  end, timeout, 2)
  return self:select(which)
end

function Bot:forget()
  self.events, self.by_shard, self.attempts, self.batches = {}, {}, {}, {}
  self.requests, self.refused, self.unauthorized = 0, 0, 0
end

function bot.cleanup()
  for _, self in ipairs(started) do
    self:close()
  end
  started = {}
end

return bot
