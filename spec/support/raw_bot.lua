-- An event handler that answers with bytes, right or wrong: for what no HTTP server would send.
--
--   local bot = require("spec.support.raw_bot").start()
--   bot:answer(function(request) return { "HTTP/1.1 200 OK\r\n", 50, "\r\n", bot.CLOSE } end)
--   bot:wait_for_requests(3)
--   bot.requests[1]    {key, t, s, shard, head, body, at, connection}, in order of arrival
--
-- A policy is asked once a request and returns steps, which are taken one after the other: a text is sent, a
-- number is waited for (ms), a function is called with the connection and may return more steps; CLOSE and
-- RESET end the connection, STAY leaves it as it is, with nothing more read from it. After the last step the
-- connection takes its next request. nil is a plain 204.
--
-- raw_bot.pour(text) is a step: the text again and again, until the other side has had enough; bot.pours has
-- the `bytes` that it took of each, and whether it is `over`.
--
-- bot:on_head(policy) is asked the same way before the body is read, with the headers; nil: the body is read.

local http_reader = require "spec.support.http_reader"
local loop = require "spec.support.loop"
local uv = require "luv"

local raw_bot = { CLOSE = {}, RESET = {}, STAY = {} }

local Bot = { CLOSE = raw_bot.CLOSE, RESET = raw_bot.RESET, STAY = raw_bot.STAY }
Bot.__index = Bot

local Connection = {}
Connection.__index = Connection

local started = {}

function Connection:close(how)
  if self.closed then
    return
  end
  self.closed = true
  self.bot.open[self] = nil
  if how == raw_bot.RESET then
    self.stream:close_reset()
  else
    self.stream:close()
  end
end

function Connection:write(text)
  if not self.closed then
    self.stream:write(text, function() end) -- that the other side has closed shows when it is read
  end
end

function raw_bot.pour(text)
  local block = text:rep(math.ceil(65536 / #text))
  return function(connection)
    local pour = { bytes = 0, over = false }
    table.insert(connection.bot.pours, pour)
    local function more()
      if connection.closed then
        pour.over = true
        return
      end
      connection.stream:write(block, loop.callback(function(problem)
        if problem then
          pour.over = true
        else
          pour.bytes = pour.bytes + #block
          more()
        end
      end))
    end
    more()
  end
end

-- Takes the steps; waits in the connection's coroutine. False: nothing more is to be read.
local function take_steps(self, steps)
  for _, step in ipairs(steps) do
    if self.closed then
      return false
    elseif type(step) == "string" then
      self:write(step)
    elseif type(step) == "number" then
      local timer = uv.new_timer()
      timer:start(step, 0, loop.callback(function()
        timer:close()
        self.reader:wake()
      end))
      self.reader:sleep()
    elseif type(step) == "function" then
      local more = step(self)
      if more and not take_steps(self, more) then
        return false
      end
    elseif step == raw_bot.STAY then
      return false
    else
      self:close(step)
      return false
    end
  end
  return not self.closed
end

local function record(self, start, headers, body)
  local request = {
    start = start,
    headers = headers,
    key = headers["idempotency-key"],
    body = body,
    shard = tonumber(body:match '^%[?{"shardId":(%d+)'),
    t = body:match '"message":{"t":"([%u_]+)"',
    at = loop.now(),
    connection = self.number,
  }
  self.bot.requests[#self.bot.requests + 1] = request
  return request
end

local function serve(self, reader)
  while reader:has_more() do
    local start, headers = reader:head()
    local steps = self.bot.head_policy and self.bot.head_policy(headers, start)
    if not steps then
      local request = record(self, start, headers, reader:body(headers))
      steps = self.bot.policy and self.bot.policy(request) or { "HTTP/1.1 204 No Content\r\n\r\n" }
    end
    if not take_steps(self, steps) then
      return
    end
  end
  self:close()
end

local function accept(bot)
  local stream = uv.new_tcp()
  bot.listener:accept(stream)
  stream:nodelay(true)
  bot.accepted = bot.accepted + 1
  local self = setmetatable({ bot = bot, stream = stream, number = bot.accepted }, Connection)
  bot.open[self] = true
  if bot.greeting then
    self:write(bot.greeting)
  end
  self.reader = http_reader.new(function(reader)
    serve(self, reader)
  end)
  self.reader:start()
  stream:read_start(loop.callback(function(problem, chunk)
    if chunk then
      self.reader:feed(chunk)
    elseif problem then
      self:close()
    else
      self.reader:feed(nil)
    end
  end))
end

-- options: greeting (bytes that are sent to each connection at once), authorization (default "the bot's
-- secret": what the gateway is told to send; nobody looks).
function raw_bot.start(options)
  options = options or {}
  local self = setmetatable({
    authorization = "secret-of-the-bot",
    greeting = options.greeting,
    requests = {},
    pours = {},
    accepted = 0, -- connections
    open = {},
  }, Bot)
  self.listener = uv.new_tcp()
  assert(self.listener:bind("127.0.0.1", 0))
  assert(self.listener:listen(1024, loop.callback(function(problem)
    assert(not problem, problem)
    accept(self)
  end)))
  self.port = self.listener:getsockname().port
  self.url = ("http://127.0.0.1:%d"):format(self.port)
  started[#started + 1] = self
  return self
end

function Bot:answer(policy)
  self.policy = policy
end

function Bot:on_head(policy)
  self.head_policy = policy
end

-- Those of an event name, or all.
function Bot:select(name)
  local found = {}
  for _, request in ipairs(self.requests) do
    if not name or request.t == name then
      found[#found + 1] = request
    end
  end
  return found
end

-- Waits until at least n of them have come; returns them.
function Bot:wait_for_requests(n, name, timeout)
  loop.step()
  loop.wait_for(function()
    return ("%d requests with %s; %d have come"):format(n, name or "anything", #self:select(name))
  end, function() return #self:select(name) >= n end, timeout, 2)
  return self:select(name)
end

-- Nothing of an earlier policy; what spec/support/scene.lua calls at its end.
Bot.malformed = {}

function Bot:close()
  if self.listener then
    self.listener:close()
    self.listener = nil
  end
  for connection in pairs(self.open) do
    connection:close()
  end
end

function raw_bot.cleanup()
  for _, bot in ipairs(started) do
    bot:close()
  end
  started = {}
end

return raw_bot
