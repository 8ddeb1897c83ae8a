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
-- survives() fails when one of them is lost, doubled or out of order, when the fake sees a rule broken, and when
-- identifies and resumes are not as many as named.

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

-- How much faster than usual the shard's waits are (TIDEGATE_HURRY), unless a spec says otherwise. A slow build
-- gets the time that it needs.
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
function Trial:assert_nothing_lost(sent)
  self.fake:settings { rate = 0 }
  local ok, guilds = pcall(self.scene.wait_delivered, self.scene)
  if not ok then
    local report = checker.compare(self.bot.events, { guilds = self.fake:sent_guilds() })
    error(report.text .. "\n" .. guilds, 0)
  end
  return checker.assert_complete(self.bot.events, { guilds = guilds, contiguous = sent and sent.contiguous })
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

local function gaps(self)
  return self.gateway:count_log "never came"
end

-- expected: resumes and identifies (default 0; those that the fake answered with READY or RESUMED), attempts (all
-- resumes, if there were more), connections (that were upgraded), violations (that the fault itself makes), gaps
-- (in the sequence), quiet (no events from before the fault until all is well again: for sessions that end without
-- a chance to replay).
-- Returns the log of the gateway since the fault, and the state of the fake.
function Trial:survives(expected, fault)
  self:mend()
  self.broken = true
  if expected.identifies then
    self:await_good_standing()
  end
  local identifies, resumes = expected.identifies or 0, expected.resumes or 0
  if expected.quiet then
    self:assert_nothing_lost()
  end
  local before = self.fake:state(ONLY)
  local log_from, gaps_before = #self.gateway.stderr, gaps(self)
  fault()
  local after = self.fake:wait_for(function()
    return ("%d resumes and %d identifies; the log ends:\n%s"):format(
      resumes, identifies, self.gateway.stderr:sub(math.max(log_from, #self.gateway.stderr - 4000)))
  end, function(state)
    return state.counters.resumes_ok - before.counters.resumes_ok >= resumes
      and state.counters.identifies_ok - before.counters.identifies_ok >= identifies
      and is_up(self, state) and state
  end, { only = ONLY })
  self:flow()
  self:assert_nothing_lost()

  after = self.fake:state(ONLY)
  local function count(name)
    return after.counters[name] - before.counters[name]
  end
  local log = self.gateway.stderr:sub(log_from + 1)
  assert(count "resumes_ok" == resumes, ("%d resumes, not %d:\n%s"):format(count "resumes_ok", resumes, log))
  assert(count "identifies_ok" == identifies,
    ("%d identifies, not %d:\n%s"):format(count "identifies_ok", identifies, log))
  if expected.attempts then
    assert(count "resumes" == expected.attempts, ("%d RESUMEs were tried:\n%s"):format(count "resumes", log))
  end
  if expected.connections then
    assert(count "upgrades" == expected.connections, ("%d connections:\n%s"):format(count "upgrades", log))
  end
  local broken = after.violations[#before.violations + (expected.violations or 0) + 1]
  assert(not broken, broken and ("the fake saw a rule broken: %s, %s"):format(broken.rule, broken.detail))
  assert(gaps(self) - gaps_before == (expected.gaps or 0), "gaps in the sequence:\n" .. log)
  assert(not self.gateway.process.ended, "the gateway has ended")
  self:flow()
  -- A session that was left while Discord still had it would take up events that belong to the new one.
  self.broken = expected.quiet
  if expected.identifies then
    self.identified_at = loop.now()
  end
  return log, after
end

-- Starts anew when an earlier fault has left no ground to stand on.
function Trial:mend()
  if self.broken then
    pcall(scene.stop)
    self:begin()
    self.broken = false
  end
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
