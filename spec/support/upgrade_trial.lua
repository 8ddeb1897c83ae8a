-- A gateway under load whose program is replaced while it runs: for specs of live upgrades.
--
--   local trial = require "spec.support.upgrade_trial"
--   after_each(trial.stop)
--
--   local t = trial.start { shards = 4, per_worker = 2 }
--   t:install { ["0.1.0"] = "0.2.0" }        another program at the same path: a copy with other words in it
--   t:install "#!/bin/sh\nexit 1\n"          or that text
--   t:upgrade()                              asks for it, and waits for its end; returns how it ended
--   t:assert_unharmed()                      same process, nothing lost, no identify, counters, sockets
--
-- All the while GET /healthz is asked, each time over a new connection.

local assert = require "luassert"
local health_watch = require "spec.support.health_watch"
local installed = require "spec.support.installed"
local kill_trial = require "spec.support.kill_trial"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local uv = require "luv"

local trial = {}

local Trial = {}

function Trial:__index(key)
  return Trial[key] or rawget(self, "under_load")[key]
end

-- ms without an answer of /healthz, where others do not keep the machine busy: else as many times more as
-- there are processes for each processor.
local SILENCE = 200
local AWAY = 1000 -- and without a shard, likewise

local function at_most(ms)
  return ms * paths.slow * math.max(1, uv.loadavg() / uv.available_parallelism())
end

-- options: those of kill_trial.start(). The program is a copy of that of the build.
function trial.start(options)
  local program = installed.new()
  local self = setmetatable({ installed = program, program = program.path }, Trial)
  local given = { program = self.program, rate = 400, watched = nil }
  for name, value in pairs(options) do
    given[name] = value
  end
  self.under_load = kill_trial.start(given)
  self.pid = self.gateway.pid
  self.upgrades = 0
  self.before = { metrics = self:metrics() }
  if options.watched ~= false then
    self.health = health_watch.start(self.gateway:control_url())
  end
  return self
end

trial.stop = kill_trial.stop

function Trial:install(what)
  self.installed:put(what)
end

-- GET /upgrade.
function Trial:status()
  return self.gateway:control("GET", "/upgrade"):json()
end

function Trial:metrics()
  return prometheus.parse(self.gateway:control("GET", "/metrics").body)
end

-- Asks for the upgrade, with the answer to that; or by signal.
function Trial:ask()
  self.upgrades = self.upgrades + 1
  return self.gateway:control("POST", "/upgrade", { timeout = 30000 })
end

function Trial:signal()
  self.upgrades = self.upgrades + 1
  self.gateway.process:kill "SIGUSR2"
end

-- `tidegate ctl`, of the build.
function Trial:ctl(...)
  local at = self.gateway:control_url():gsub("^http://", "")
  local options = { env = { TIDEGATE_CONTROL = at }, timeout = 60000 }
  return process.run({ paths.bin "tidegate", "ctl", ... }, options)
end

-- Waits until the upgrade that was asked for has ended; GET /upgrade's "last".
function Trial:await_end()
  loop.wait_for(function()
    return "the end of the upgrade; the log ends:\n" .. self.gateway.stderr:sub(-4000)
  end, function()
    if self.gateway.process.ended then
      error("the gateway has ended:\n" .. self.gateway.stderr:sub(-4000), 0)
    end
    return self.gateway:count_log "manager: upgraded from" + self.gateway:count_log "the upgrade has failed"
      + self.gateway:count_log "the upgrade does not take place" >= self.upgrades
  end, 60000)
  return self:status().last
end

-- Both.
function Trial:upgrade()
  local answer = self:ask()
  return self:await_end(), answer
end

function Trial:wait_for(pattern)
  return self.gateway:wait_for_log(pattern, 30000)
end

-- What the manager has open, but for connections: how many of each kind.
function Trial:files()
  local dir, found = ("/proc/%d/fd/"):format(self.pid), {}
  local scan = assert(uv.fs_scandir(dir))
  for name in function() return uv.fs_scandir_next(scan) end do
    local link = uv.fs_readlink(dir .. name)
    local kind = link and (link:match "^(%a+):%[" or link:gsub("^.*/", ""))
    if kind and kind ~= "socket" then
      found[kind] = (found[kind] or 0) + 1
    end
  end
  return found
end

-- Soon: what clients had is closed, and a program that is gone is forgotten.
function Trial:assert_files_are(wanted)
  local deadline = loop.now() + 10000 * paths.slow
  while loop.now() < deadline and not pcall(assert.same, wanted, self:files()) do
    loop.step()
    self.gateway:control("GET", "/healthz")
  end
  assert.same(wanted, self:files())
end

function Trial:await_up()
  local deadline = loop.now() + 20000 * paths.slow
  repeat
    loop.step()
    assert.is_true(loop.now() < deadline, "the shards are not up again:\n" .. self.gateway.stderr:sub(-4000))
  until self.gateway:control("GET", "/readyz").status == 200
end

-- No shard is long away, and those of two workers are not at once. Returns the longest time, in ms.
function Trial:assert_one_at_a_time()
  local closes, resumes, longest = {}, {}, 0
  for _, close in ipairs(self.under_load.scene:list "closes") do
    closes[close.shard] = closes[close.shard] or {}
    table.insert(closes[close.shard], close.at)
  end
  local away = {}
  for _, resume in ipairs(self.under_load.scene:list "resumes") do
    resumes[resume.shard] = (resumes[resume.shard] or 0) + 1
    away[#away + 1] = {
      worker = math.floor(resume.shard / self.per_worker), to = resume.at,
      from = closes[resume.shard][resumes[resume.shard]],
    }
  end
  for _, one in ipairs(away) do
    longest = math.max(longest, one.to - one.from)
    for _, other in ipairs(away) do
      local apart = one.worker == other.worker or one.to <= other.from or other.to <= one.from
      assert.is_true(apart, ("workers %d and %d were away at once"):format(one.worker, other.worker))
    end
  end
  assert.is_true(longest <= at_most(AWAY), ("a shard was away for %d ms"):format(longest))
  return longest
end

-- What an upgrade, however it ends, leaves as it was. options: resumes (so many, when nothing else happened).
function Trial:assert_unharmed(name, options)
  self:await_up()
  local seen = self.health:stop()
  local before, after = self.before.metrics:counters(), self:metrics():counters()
  assert.is_true(process.is_running(self.pid))
  assert.same({}, seen.failures)
  assert.is_true(seen.silence <= at_most(SILENCE), ("/healthz was silent for %d ms"):format(seen.silence))
  for counter, value in pairs(before) do
    assert.is_true((after[counter] or 0) >= value, counter .. " has gone back")
  end
  self:assert_nothing_lost { name = name, identifies = self.shards }
  if options and options.resumes then
    assert.equal(options.resumes, self:counters().resumes_ok)
    print(("# %s: no shard was away for more than %d ms"):format(name, self:assert_one_at_a_time()))
  end
  print(("# %s: /healthz asked %d times, silent for %d ms at most"):format(name, seen.answers, seen.silence))
end

return trial
