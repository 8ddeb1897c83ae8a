-- A client of GET /live that keeps what comes.
--
--   local viewer = live.open(s.gateway, { headers = { ... } })
--   local snapshot = viewer:wait("a snapshot", "snapshot", function(snapshot) return ... end)
--   viewer.events       {name, data} in the order in which they came
--   viewer:close()
--
-- Gone with raw_client.cleanup().

local cjson = require "cjson"
local loop = require "spec.support.loop"
local raw_client = require "spec.support.raw_client"

local live = {}

local Viewer = {}
Viewer.__index = Viewer

-- The head and the body as far as it is there.
local function take(self)
  local head, last = self.client.received:match "^(.-\r\n)\r\n()"
  if not head then
    return
  end
  self.status = tonumber(head:match "^HTTP/1%.1 (%d+)")
  self.head = head
  self.at = self.at or last
  while self.status == 200 do
    local text, behind = self.client.received:match("^(.-)\n\n()", self.at)
    if not text then
      return
    end
    self.at = behind
    local name, data = text:match "^event: (%l+)\ndata: (.*)$"
    self.events[#self.events + 1] = { name = name, data = cjson.decode(data) }
  end
end

-- options: headers.
function live.open(gateway, options)
  local client = raw_client.connect(gateway:control_url())
  local lines = {}
  for name, value in pairs(options and options.headers or {}) do
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
  end
  client:write(("GET /live HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(table.concat(lines)))
  local self = setmetatable({ client = client, events = {}, seen = 0 }, Viewer)
  loop.wait_for("the head of an answer to GET /live", function()
    take(self)
    return self.status or client.closed
  end, nil, 2)
  return self
end

-- Waits for an event of that name, of those not looked at yet, that the predicate (default: any) likes.
function Viewer:wait(description, name, predicate, timeout)
  local found
  loop.wait_for(function()
    return ("%s; %d events came"):format(description, #self.events)
  end, function()
    take(self)
    while not found and self.seen < #self.events do
      self.seen = self.seen + 1
      local event = self.events[self.seen]
      if event.name == name and (not predicate or predicate(event.data)) then
        found = event.data
      end
    end
    return found
  end, timeout, 2)
  return found
end

-- The events of that name so far.
function Viewer:all(name)
  take(self)
  local list = {}
  for _, event in ipairs(self.events) do
    if event.name == name then
      list[#list + 1] = event.data
    end
  end
  return list
end

function Viewer:close()
  self.client:close()
end

-- A row of a snapshot, by the names of its columns; the state as its name.
function live.shard(snapshot, place, set)
  local shard = {}
  for i, name in ipairs(snapshot.columns) do
    shard[name] = snapshot.sets[set or 1].shards[place][i]
  end
  shard.state = snapshot.states[shard.state + 1]
  return shard
end

return live
