-- The network between one program and its Redis: it can be cut, slow, and lead elsewhere.
--
--   local proxy = redis_proxy.start(server)          server: of spec.support.redis
--   proxy:url()                                      as server:url(), but through here
--   proxy:cut()                     nothing goes through; what is sent waits, as it does in a network
--   proxy:cut { refuse = true }     all connections are closed, and whoever connects is sent away
--   proxy:heal()                    what has waited arrives, late
--   proxy:stall(300)                answers take so many ms longer; or a function that says how many, of each
--   proxy:lead_to(other)            another server has that address from now on; connections are closed
--   proxy.accepted                  how many connections so far
--
-- Who gives up a connection that is cut has said what it has said: that arrives when it is healed. It works
-- while the spec waits for something (loop.wait_for). redis_proxy.cleanup() ends all.

local loop = require "spec.support.loop"
local uv = require "luv"

local redis_proxy = {}

local Proxy = {}
Proxy.__index = Proxy

local opened = {}

-- One way of a connection: {from, to, waiting: pieces {due, bytes; false: the end}, delay}.
local Way = {}
Way.__index = Way

local function close(pair)
  if pair.closed then
    return
  end
  pair.closed = true
  pair.proxy.pairs[pair] = nil
  for _, handle in ipairs { pair.client, pair.server, pair.up.timer, pair.down.timer } do
    handle:close()
  end
end

local function new_way(pair, from, to, is_answers)
  return setmetatable({
    pair = pair, from = from, to = to, is_answers = is_answers,
    waiting = {}, first = 1, last = 0, last_due = 0, timer = uv.new_timer(),
  }, Way)
end

-- Passes on what is due, in order.
function Way:pump()
  local proxy = self.pair.proxy
  while not self.pair.closed and not proxy.is_cut and self.pair.is_connected do
    local piece = self.waiting[self.first]
    if not piece then
      return
    end
    local wait = piece.due - loop.now()
    if wait > 0 then
      self.timer:start(math.ceil(wait), 0, loop.callback(function() self:pump() end))
      return
    end
    self.waiting[self.first] = nil
    self.first = self.first + 1
    if piece.bytes then
      self.to:write(piece.bytes)
    else
      close(self.pair)
    end
  end
end

function Way:take(bytes)
  local stall = self.is_answers and self.pair.proxy.delay or 0
  local due = loop.now() + (type(stall) == "function" and stall() or stall)
  self.last_due = math.max(self.last_due, due) -- nothing overtakes what came before it
  self.last = self.last + 1
  self.waiting[self.last] = { due = self.last_due, bytes = bytes }
  self:pump()
end

function Way:begin()
  self.from:read_start(loop.callback(function(_, chunk)
    if not self.pair.closed then
      self:take(chunk or false)
    end
  end))
end

local function serve(proxy, client)
  local server = uv.new_tcp()
  local pair = { proxy = proxy, client = client, server = server }
  pair.up, pair.down = new_way(pair, client, server), new_way(pair, server, client, true)
  proxy.pairs[pair] = true
  server:connect("127.0.0.1", proxy.server.port, loop.callback(function(problem)
    if pair.closed then
      return
    elseif problem then
      close(pair)
      return
    end
    pair.is_connected = true
    pair.down:begin()
    pair.up:pump()
  end))
  pair.up:begin()
end

local function close_all(proxy)
  local list = {}
  for pair in pairs(proxy.pairs) do
    list[#list + 1] = pair
  end
  for _, pair in ipairs(list) do
    close(pair)
  end
end

function redis_proxy.start(server)
  assert(server.port, "a proxy needs a server with a port, not one at a unix socket")
  local self = setmetatable({ server = server, pairs = {}, accepted = 0, delay = 0 }, Proxy)
  opened[#opened + 1] = self
  self.listener = uv.new_tcp()
  assert(self.listener:bind("127.0.0.1", 0))
  assert(self.listener:listen(128, loop.callback(function(problem)
    assert(not problem, problem)
    local client = uv.new_tcp()
    self.listener:accept(client)
    self.accepted = self.accepted + 1
    if self.refuses then
      client:close()
    else
      serve(self, client)
    end
  end)))
  self.port = self.listener:getsockname().port
  return self
end

function Proxy:url(login)
  return (self.server:url(login):gsub("^(%w+://.*):%d+/", "%1:" .. self.port .. "/"))
end

function Proxy:cut(how)
  self.is_cut, self.refuses = true, how and how.refuse
  if self.refuses then
    close_all(self)
  end
end

function Proxy:heal()
  self.is_cut, self.refuses = false, false
  for pair in pairs(self.pairs) do
    pair.up:pump()
    pair.down:pump()
  end
end

function Proxy:stall(delay)
  self.delay = delay
end

function Proxy:lead_to(server)
  self.server = server
  close_all(self)
end

function redis_proxy.cleanup()
  for _, self in ipairs(opened) do
    close_all(self)
    self.listener:close()
  end
  opened = {}
end

return redis_proxy
