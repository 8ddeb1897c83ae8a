-- A gateway under load whose processes are killed: for specs of what survives that.
--
--   local trial = require "spec.support.kill_trial"
--   after_each(trial.stop)
--
--   local t = trial.start { shards = 8, per_worker = 2, workers = 4, rate = 800 }
--   t:kill_worker(pid)  t:kill_manager()  t:kill_group()
--   t:again()                              the next start, on the same state directory
--   t:assert_nothing_lost { name = "...", identifies = 8 }
--   t:endure("the bot is down", function() t.bot:down() end, function() t.bot:up() end)
--
-- Everything of the scene (s.fake, s.bot, s.gateway, s:counters()) is at hand in t, too. Restarts of workers
-- and reconnects are hurried. The gateway is asked for markers, so that a gap would be seen.

local assert = require "luassert"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local random = require "spec.support.random"
local scene = require "spec.support.scene"
local tally = require "spec.support.tally"
local uv = require "luv"

local trial = {}

local Trial = {}

function Trial:__index(key)
  return Trial[key] or rawget(self, "scene")[key]
end

trial.Trial = Trial

trial.SCRIPT = [[
require "tidegate".configure { event_handler = { markers = true } }
]]

-- Back-off is this many times shorter.
local HURRY = 25

-- options: those of scene.start(), and rate (events a second, all shards together; default 500), size (of
-- each; default 300).
function trial.start(options)
  local given = {
    script = trial.SCRIPT, log_level = "info", reload = false,
    hurry = math.max(1, math.floor(HURRY / paths.slow)),
  }
  for name, value in pairs(options) do
    given[name] = value
  end
  given.rate, given.size = nil, nil
  given.fake = {
    max_concurrency = given.shards, guilds = given.shards * 3, message_size = options.size or 300,
  }
  for name, value in pairs(options.fake or {}) do
    given.fake[name] = value
  end
  local self = setmetatable({
    random = random.new(), shards = given.shards, per_worker = given.per_worker,
  }, Trial)
  self.scene = scene.start(given)
  self.bot:wait_for_events(given.shards, "READY")
  self.fake:settings { rate = options.rate or 500 }
  return self
end

trial.stop = scene.stop

-- Lets so much time pass: the instant of a kill is a matter of chance.
function Trial.pass(_, ms)
  local until_then = loop.now() + ms
  loop.wait_for("the instant", function() return loop.now() >= until_then end, ms + 10000)
end

local function await_end(pids)
  loop.wait_for("the processes to be gone", function()
    for _, pid in ipairs(pids) do
      if process.is_running(pid) then
        return false
      end
    end
    return true
  end)
end

-- A worker is gone from one moment to the next.
function Trial.kill_worker(_, pid)
  uv.kill(pid, "sigkill")
  await_end { pid }
end

-- The manager is; its workers have to notice by themselves.
function Trial:kill_manager()
  local workers = self.gateway:worker_pids()
  self.gateway.process:kill "SIGKILL"
  self.gateway.process:wait()
  return workers
end

-- All processes are, at once.
function Trial:kill_group()
  local workers = self.gateway:worker_pids()
  uv.kill(-self.gateway.pid, "sigkill")
  self.gateway.process:wait()
  await_end(workers)
end

Trial.await_end = function(_, pids) await_end(pids) end

function Trial:again(changes)
  return self.scene:again(changes)
end

-- Waits until so many more events of any shard are at the bot.
function Trial:await_events(n)
  local count = #self.bot.events + n
  loop.wait_for(function()
    return ("%d more events at the bot; the log ends:\n%s"):format(
      count - #self.bot.events, self.gateway.stderr:sub(-3000))
  end, function() return #self.bot.events >= count end, 30000, 2)
end

-- Waits until Discord has sent so many more.
function Trial:await_emitted(n)
  local count = self:counters().dispatches + n
  self:wait_counter("dispatches", count, 30000)
end

function Trial:assert_nothing_lost(expected)
  return tally.assert_nothing_lost(self.scene, expected)
end

function Trial:await_worker()
  local pids
  loop.wait_for("a worker", function()
    pids = self.gateway:worker_pids()
    return #pids > 0
  end)
  return self.random:one_of(pids)
end

-- Kills random workers at random instants, and lets the bot come and go. Mostly the next one dies under way,
-- sometimes before this one is back.
function Trial:kill_workers(times)
  local up = true
  for _ = 1, times do
    local resumed = self:counters().resumes_ok
    self:kill_worker(self:await_worker())
    if self.random:chance(0.2) then
      up = not up
      self.bot[up and "up" or "down"](self.bot)
    end
    if self.random:chance(0.75) then
      self:wait_counter("resumes_ok", resumed + self.per_worker, 30000)
      if up then
        self:await_events(self.random:between(1, 60))
      end
    end
    self:pass(self.random:between(0, 100))
  end
  self.bot:up()
end

-- All is well; then begin(t), a fault, for some hundred events, and a worker dies in the middle of it; then
-- finish(t), and all is well again.
function Trial:endure(name, begin, finish)
  self:await_events(50)
  begin(self)
  self:await_emitted(250)
  self:kill_worker(self.random:one_of(self.gateway:worker_pids()))
  self:await_emitted(250)
  finish(self)
  local report = self:assert_nothing_lost { name = name, identifies = self.shards }
  assert.is_nil(paths.read(self.gateway.state_dir .. "/dead.jsonl"))
  return report
end

return trial
