-- Reads the streams that a Redis sink writes back, as if a bot had got their entries.
--
--   local reader = streams.reader(r, { prefix = "tidegate" })       r: of spec.support.redis
--   reader:poll()                         what is new since the last time; all of it stands in reader.events
--   reader:reread()                       everything anew: a Redis that was killed may have lost some
--   reader:begin_again()                  Redis has lost what it knew; what was read stays, and what comes
--                                         again by the same id is dropped, as a bot with a watermark does
--   reader.events, reader.by_shard        as a bot has them: {shard, total, epoch, s, t, key, body, ...}
--   reader:wait_for_events(100)
--
-- The checker and the tally take a reader where they take a bot. The body of an event is its d, which is all
-- that they look at. An entry of another form than the promised one is an error.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

local streams = {}

local Reader = {}
Reader.__index = Reader

local PAGE = 500

local Event = {}
Event.__index = Event

function Event:data()
  return cjson.decode(self.body)
end

local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do
    assert(fields[list[i]] == nil, "a field stands twice in an entry")
    fields[list[i]] = list[i + 1]
  end
  return fields
end

local KNOWN = {
  t = true, g = true, d = true, shard = true, key = true, guildCreate = true, deferred = true, marker = true,
}

-- An entry that is an event: what it says of itself is what its stream and its id say.
local function check_event(event, fields)
  local name = ("%d.%d.%d"):format(event.shard, event.epoch, event.s)
  local guild = fields.d:match '"guild_id":"(%d+)"'
  assert(fields.key == name, ("the key is %s, not %s"):format(tostring(fields.key), name))
  assert(tonumber(fields.shard) == event.shard, "it is of shard " .. tostring(fields.shard))
  assert(event.t, "it has no type")
  assert(event.t ~= "MESSAGE_CREATE" or fields.g == guild, "its guild is " .. tostring(fields.g))
end

local function event_of(stream, id, list)
  local fields = fields_of(list)
  for name in pairs(fields) do
    assert(KNOWN[name], "there is a field " .. name)
  end
  local epoch, s = id:match "^(%d+)-(%d+)$"
  local event = setmetatable({
    id = id, shard = stream.shard, total = stream.total, epoch = tonumber(epoch), s = tonumber(s),
    t = fields.t, g = fields.g, key = fields.key, body = fields.d, at = loop.now(),
    guild_create = fields.guildCreate, deferred = fields.deferred, marker = fields.marker,
  }, Event)
  assert(fields.d, "it has no d")
  if event.marker then
    local told = cjson.decode(fields.d)
    event.gap = event.marker == "gap" and told or nil
    event.resharding = event.marker == "resharding" and told or nil
    event.s = nil
  else
    check_event(event, fields)
  end
  return event
end

-- options: prefix (default "tidegate").
function streams.reader(redis, options)
  local self = setmetatable({ redis = redis, prefix = options and options.prefix or "tidegate" }, Reader)
  self:forget()
  return self
end

function Reader:forget()
  self.events, self.by_shard, self.last, self.seen = {}, {}, {}, {}
end

function Reader:begin_again()
  self.last = {}
end

-- {name, total, shard} of each, fewer shards first: of one resharding, in the order in which they took over.
function Reader:streams()
  local list = {}
  for _, name in ipairs(self.redis:command("SMEMBERS", self.prefix .. ":streams")) do
    local total, shard = name:match "^[^:]+:(%d+):(%d+)$"
    assert(total and name:sub(1, #self.prefix) == self.prefix, "not the name of a stream: " .. name)
    list[#list + 1] = { name = name, total = tonumber(total), shard = tonumber(shard) }
  end
  table.sort(list, function(a, b)
    return a.total < b.total or a.total == b.total and a.shard < b.shard
  end)
  return list
end

local function take(self, stream, id, list)
  local name = stream.name .. " " .. id
  self.last[stream.name] = id
  if self.seen[name] then
    return
  end
  self.seen[name] = true
  local ok, event = pcall(event_of, stream, id, list)
  if not ok then
    error(("entry %s of %s: %s"):format(id, stream.name, tostring(event)), 0)
  end
  self.events[#self.events + 1] = event
  local shard = self.by_shard[event.shard] or {}
  self.by_shard[event.shard] = shard
  shard[#shard + 1] = event
end

local function poll(self, stream)
  while true do
    local last = self.last[stream.name]
    local page = self.redis:command("XRANGE", stream.name, last and "(" .. last or "-", "+", "COUNT", PAGE)
    for _, entry in ipairs(page) do
      take(self, stream, unpack(entry))
    end
    if #page < PAGE then
      return
    end
  end
end

function Reader:poll()
  for _, stream in ipairs(self:streams()) do
    poll(self, stream)
  end
end

function Reader:reread()
  self:forget()
  self:poll()
end

-- All that a spec waits for is waited for like this: Redis is asked again and again.
function Reader:wait_for(description, predicate, timeout)
  local deadline = loop.now() + (timeout or 20000) * paths.slow
  while true do
    self:poll()
    local value = predicate()
    if value then
      return value
    elseif loop.now() > deadline then
      error(("waited in vain for %s; %d entries were read from the streams"):format(
        type(description) == "function" and description() or description, #self.events), 2)
    end
    local next_look = loop.now() + 20
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
end

function Reader:wait_for_events(n, timeout)
  self:wait_for(n .. " entries", function() return #self.events >= n end, timeout)
end

return streams
