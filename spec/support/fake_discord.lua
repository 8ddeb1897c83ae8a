-- tidegate-fake-discord under a spec's control.
--
--   local fake = require("spec.support.fake_discord").start { shards = 4, max_concurrency = 1, tls = true }
--   fake.gateway, fake.rest, fake.admin, fake.ca, fake.token, fake.identify_interval
--   fake:emit { count = 100, shard = 2 }
--   fake:fault { at = "identify", ["do"] = "invalid_session", shard = 1 }
--   fake:wait_for("two resumes", function(state) return #state.resumes == 2 end)
--   fake:stop()
--
-- What the methods take and return is the admin API's: src/fake_discord/admin.h. They raise an error when the
-- fake refuses, at the caller's line.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local fake_discord = {}

local Fake = {}
Fake.__index = Fake

-- Identifies of a bucket are judged by this window in specs, instead of five seconds.
local WINDOW = 200

-- What start() takes besides settings, and the option it becomes.
local OPTIONS = { guilds = "--guilds", seed = "--seed", listen = "--listen" }

-- tls: true; guilds, seed, listen: as on the command line; everything else is a setting
-- (src/fake_discord/world/settings.h). The identify window is 200 ms unless set. Beats that come faster than
-- Discord's would use up what it lets a client send in a minute: with them that limit is off unless set.
function fake_discord.start(options)
  local argv = { paths.bin "tidegate-fake-discord", "--parent-death" }
  local settings = { identify_window = WINDOW }
  for name, value in pairs(options or {}) do
    if name == "tls" then
      if value then
        argv[#argv + 1] = "--tls"
        argv[#argv + 1] = paths.tmp()
      end
    elseif OPTIONS[name] then
      argv[#argv + 1] = OPTIONS[name]
      argv[#argv + 1] = tostring(value)
    else
      settings[name] = value
    end
  end
  if settings.heartbeat_interval and not settings.send_limit then
    settings.send_limit = 100000
  end
  for name, value in pairs(settings) do
    argv[#argv + 1] = "--set"
    argv[#argv + 1] = ("%s=%s"):format(name, tostring(value))
  end
  local self = setmetatable({ token = settings.token or "fake.discord.token" }, Fake)
  -- A client that waits this long between identifies is never too early.
  self.identify_interval = settings.identify_window + 50
  self.process = process.start(argv)
  local line = self.process:wait_for_output("^([^\n]*)\n", "stdout")
  for name, value in pairs(cjson.decode(line)) do
    self[name] = value ~= cjson.null and value or nil
  end
  return self
end

local function ask(self, method, path, body)
  local response, problem = http.request(method, self.admin .. path, { json = body, timeout = 20000 })
  if not response then
    error(("the fake Discord does not answer %s %s: %s"):format(method, path, problem), 3)
  end
  local answer = response:json()
  if response.status ~= 200 then
    error(("the fake Discord refuses %s %s: %s"):format(method, path, answer.error), 3)
  end
  return answer
end

-- only: "identifies,violations"; without it everything.
function Fake:state(only)
  return (ask(self, "GET", "/state" .. (only and "?only=" .. only or "")))
end

function Fake:sent(shard)
  return (ask(self, "GET", "/sent" .. (shard and "?shard=" .. shard or "")))
end

function Fake:guilds(shard)
  return (ask(self, "GET", "/guilds" .. (shard and "?shard=" .. shard or "")))
end

function Fake:settings(settings)
  return (ask(self, settings and "POST" or "GET", "/settings", settings))
end

function Fake:emit(what)
  loop.step()
  return (ask(self, "POST", "/emit", what))
end

function Fake:fault(what)
  loop.step()
  return (ask(self, "POST", "/fault", what))
end

-- {lag, jitter, stall, shard or shards, total}; without it what holds.
function Fake:pace(what)
  loop.step()
  return (ask(self, what and "POST" or "GET", "/pace", what))
end

-- {event, total, how}; without it what holds.
function Fake:differ(what)
  return (ask(self, what and "POST" or "GET", "/differ", what))
end

function Fake:bulk(what)
  return (ask(self, what and "POST" or "GET", "/bulk", what))
end

-- what: a list such as { "history" }; without it everything.
function Fake:reset(what)
  ask(self, "POST", "/reset", what and { what = what })
end

-- Looks at the state again and again until predicate(state) is true, and returns that.
-- options: only (as in state()), timeout.
function Fake:wait_for(description, predicate, options)
  options = options or {}
  local deadline = loop.now() + (options.timeout or 10000) * paths.slow
  while true do
    local state = ask(self, "GET", "/state" .. (options.only and "?only=" .. options.only or ""))
    local value = predicate(state)
    if value then
      return value
    elseif loop.now() > deadline then
      error(("waited in vain for %s; the fake Discord has seen: %s"):format(
        type(description) == "function" and description() or description,
        cjson.encode(state):sub(1, 3000)), 2)
    end
    local next_look = loop.now() + 10
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
end

-- The last number of each guild's messages: for checker.assert_complete(events, { guilds = ... }).
function Fake:sent_guilds()
  local guilds = {}
  for _, guild in ipairs(ask(self, "GET", "/sent").guilds) do
    guilds[guild.id] = guild.last
  end
  return guilds
end

-- Waits until all that was to be emitted has been, and returns sent_guilds().
function Fake:wait_emitted(timeout)
  local deadline = loop.now() + (timeout or 20000) * paths.slow
  while ask(self, "GET", "/sent").pending > 0 do
    if loop.now() > deadline then
      error("the fake Discord could not emit everything in time", 2)
    end
    local next_look = loop.now() + 10
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
  return self:sent_guilds()
end

-- Ends it, and fails when a sanitizer has reported something.
function Fake:stop()
  if self.stopped then
    return
  end
  self.stopped = true
  self.process:kill "SIGTERM"
  local code, signal = self.process:wait()
  if code ~= 0 then
    error(("the fake Discord ended with %s:\n%s"):format(
      tostring(code or signal), self.process.stderr:sub(-4000)), 2)
  end
end

return fake_discord
