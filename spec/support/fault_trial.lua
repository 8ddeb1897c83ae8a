-- A fault while events flow, and what came of it: for specs of what a network and Discord do to a shard.
--
--   local trial = require "spec.support.fault_trial"
--   local t
--   setup(function() t = trial.start() end)
--   teardown(trial.stop)
--
--   t:survives({ resumes = 1 }, function() t.fake:fault { ["do"] = "rst" } end)
--
-- All the while numbered messages are emitted: before the fault, while nobody is connected, and afterwards.
-- survives() fails when one of them is lost, doubled or out of order, when the fake sees a rule broken, and
-- when identifies and resumes are not as many as named.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local trial = {}

local Trial = {}

function Trial:__index(key)
  return Trial[key] or rawget(self, "scene")[key]
end

-- Events a second, and their size: few enough for any machine, and still some while a shard is away.
local RATE, SIZE = 200, 200

-- How much faster than usual the shard's waits are (TIDEGATE_HURRY), unless a spec says otherwise. A slow
-- build gets the time that it needs.
trial.HURRY = 150

local function take_out(options, name, default)
  local value = options[name]
  options[name] = nil
  return value == nil and default or value
end

-- options: those of scene.start(); fake: settings of the fake. One shard, unless `shards` says more.
function trial.start(options)
  options = options or {}
  local given = { log_level = "debug", workers = 1 }
  for name, value in pairs(options) do
    given[name] = value
  end
  given.fake = { message_size = SIZE, guilds = 3 }
  for name, value in pairs(options.fake or {}) do
    given.fake[name] = value
  end
  given.hurry = math.max(1, math.floor(take_out(given, "hurry", trial.HURRY) / paths.slow))
  local rate = take_out(given, "rate", RATE)
  local self = setmetatable({ given = given, shards = given.shards or 1, rate = rate }, Trial)
  self:begin()
  return self
end

function Trial:begin()
  self.scene = scene.start(self.given)
  self.identified_at = loop.now()
  if self.given.ready ~= false then
    self:flow()
  end
end

trial.stop = scene.stop

-- Events begin to flow.
function Trial:flow()
  self.fake:settings { rate = self.rate * self.shards }
  self.bot:wait_for_events(#self.bot.events + 5)
end

-- No more events; all that were emitted are at the bot, each once and in order.
function Trial:assert_nothing_lost()
  self.fake:settings { rate = 0 }
  local ok, guilds = pcall(self.scene.wait_delivered, self.scene)
  if not ok then
    local report = checker.compare(self.bot.events, { guilds = self.fake:sent_guilds() })
    error(report.text .. "\n" .. guilds, 0)
  end
  return checker.assert_complete(self.bot.events, { guilds = guilds })
end

local ONLY = "counters,connections,closes,violations"

local function is_up(self, state)
  local ready = 0
  for _, connection in ipairs(state.connections) do
    if connection.state == "ready" and not connection.deaf then
      ready = ready + 1
    end
  end
  return ready == self.shards
end

local function count_gaps(self)
  return self.gateway:count_log "never came"
end

local function judge(self, expected, before, log)
  local after = self.fake:state(ONLY)
  local function assert_count(counter, wanted, what)
    local n = after.counters[counter] - before.counters[counter]
    assert(not wanted or n == wanted, ("%d %s, not %s:\n%s"):format(n, what, tostring(wanted), log))
  end
  assert_count("resumes_ok", expected.resumes or 0, "resumes")
  assert_count("identifies_ok", expected.identifies or 0, "identifies")
  assert_count("resumes", expected.attempts, "tries to resume")
  assert_count("upgrades", expected.connections, "connections")
  local broken = after.violations[#before.violations + (expected.violations or 0) + 1]
  assert(not broken, broken and ("the fake saw a rule broken: %s, %s"):format(broken.rule, broken.detail))
  assert(count_gaps(self) - before.gaps == (expected.gaps or 0), "gaps in the sequence:\n" .. log)
  assert(not self.gateway.process.ended, "the gateway has ended")
end

-- expected: resumes and identifies (default 0; those that the fake accepted), attempts (all resumes, if there
-- were more), connections (that were upgraded), violations (that the fault itself makes), gaps (in the
-- sequence), quiet (no events from before the fault until all is well again: for sessions that end without a
-- chance to replay).
-- Returns the log of the gateway since the fault.
function Trial:survives(expected, fault)
  self:mend()
  self.broken = "by a spec that failed"
  if expected.identifies then
    self:await_good_standing()
  end
  if expected.quiet then
    self:assert_nothing_lost()
  end
  local before, from = self.fake:state(ONLY), #self.gateway.stderr
  before.gaps = count_gaps(self)
  local resumes = before.counters.resumes_ok + (expected.resumes or 0)
  local identifies = before.counters.identifies_ok + (expected.identifies or 0)
  fault()
  self.fake:wait_for(function()
    return ("the shard to be up again, with %d resumes and %d identifies; the log ends:\n%s"):format(
      resumes, identifies, self.gateway.stderr:sub(math.max(from, #self.gateway.stderr - 4000)))
  end, function(state)
    return state.counters.resumes_ok >= resumes and state.counters.identifies_ok >= identifies
      and is_up(self, state)
  end, { only = ONLY })
  self:flow()
  self:assert_nothing_lost()
  local log = self.gateway.stderr:sub(from + 1)
  judge(self, expected, before, log)
  self:flow()
  if expected.identifies then
    self.identified_at = loop.now()
  end
  self.broken = expected.quiet and "left behind"
  return log
end

-- Starts anew when an earlier fault has left no ground to stand on: it was not survived, or a session was
-- left while Discord still had it, and would take up events that belong to the new one.
function Trial:mend()
  if self.broken == "left behind" then
    scene.stop()
  elseif self.broken then
    pcall(scene.stop) -- its own failure has been told
  else
    return
  end
  self:begin()
  self.broken = nil
end

-- A session that is lost soon after it began makes the next identify wait, longer each time. That is not what
-- the specs here are about.
function Trial:await_good_standing()
  local healthy = 60000 / self.given.hurry
  loop.wait_for("the last session to be old enough", function()
    return loop.now() - self.identified_at > healthy
  end, healthy + 1000)
end

-- The only connection, as the fake sees it.
function Trial:connection()
  return self.fake:state("connections").connections[1]
end

function Trial:last_close()
  local closes = self.scene:list "closes"
  return closes[#closes]
end

-- Waits for so many more heartbeats, on whatever connection.
function Trial:wait_heartbeats(n)
  local from = self.fake:state("counters").counters.heartbeats
  self.fake:wait_for(n .. " heartbeats", function(state)
    return state.counters.heartbeats >= from + n
  end, { only = "counters" })
end

-- Lets so much time pass; for faults that need their moment.
function Trial.pass(_, ms)
  local deadline = loop.now() + ms
  loop.wait_for("the time to pass", function() return loop.now() >= deadline end, ms + 10000)
end

return trial
