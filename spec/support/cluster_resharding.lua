-- Hosts of a cluster that go over to another number of shards together, under load: for specs of what is to
-- be seen of that, and of what befalls a host, or Redis, in the midst of it.
--
--   local together = require "spec.support.cluster_resharding"
--   after_each(together.stop)
--
--   local t = together.start { shards = 4 }
--   t:reshard(8)                     by any host: t:reshard(8, t.hosts[2]); t:ask(host, body) may be refused
--   t:await_step("switched", 1)      so many classes, of all hosts
--   t:holder(2)                      the host that has class 2;  t:host_with("switched", spared_host)
--   t:await_changed(8)               all hosts that run have them; who was not there is started again
--   t:assert_verdict { name = "...", identifies = { [4] = 4, [8] = 8 } }
--
-- Everything of a cluster_trial is at hand in t, too.

local cjson = require "cjson"
local cluster_host = require "spec.support.cluster_host"
local judge = require "spec.support.cluster_judge"
local paths = require "spec.support.paths"
local resharding = require "spec.support.resharding"
local trial = require "spec.support.cluster_trial"

local together = { LONG = trial.LONG, stop = trial.stop }

local Run = {}

function Run:__index(key)
  return Run[key] or trial.Trial.__index(self, key)
end

local STEPS = { "up", "switched", "settled", "closed" }
for i, name in ipairs(STEPS) do
  STEPS[name] = i
end

-- Of who was not there when the number of shards has changed.
local START_ME_AGAIN = 75

-- options: those of cluster_trial.start(); shards defaults to 4, rate to 200, repeat_rate (equal events a
-- second over all guilds) to 0.
function together.start(options)
  local given = {
    shards = 4, rate = 200, intents = resharding.INTENTS, hurry = resharding.HURRY,
    fake = { guilds = (options.shards or 4) * 6, rate_in_turn = true, callback_deadline = 3600000 },
  }
  for name, value in pairs(options) do
    given[name] = value
  end
  local repeat_rate = given.repeat_rate or 0
  given.repeat_rate = nil
  local self = setmetatable(trial.start(given), Run)
  self.repeat_rate = repeat_rate
  self:flow()
  return self
end

function Run:flow()
  self.fake:settings { rate = self.rate, repeat_rate = self.repeat_rate }
  self:await_events(20)
end

-- ---- asking ----

-- POST /reshard as it stands, of the host; returns status and answer.
function Run.ask(_, host, body)
  local response, problem = host.gateway:control("POST", "/reshard", { json = body, timeout = 70000 })
  assert(response, problem)
  return response.status, response:json()
end

-- The same for another total; what holds it up for a moment (a shard that moves, what is left of earlier
-- ones) is waited for.
function Run:ask_for(host, total)
  local status, answer
  self:await(("an answer to a resharding to %d"):format(total), function()
    status, answer = self:ask(host, { totalShards = total })
    return answer.code ~= "not_ready"
  end)
  return status, answer
end

-- Begins one, by any host if none is given.
function Run:reshard(total, host)
  local status, answer = self:ask_for(host or self:any_host(), total)
  if status ~= 202 then
    error(("the resharding to %d is refused with %d: %s"):format(total, status, cjson.encode(answer)), 2)
  end
  return answer
end

function Run:any_host()
  local running = {}
  for _, host in ipairs(self.hosts) do
    if host:runs() then
      running[#running + 1] = host
    end
  end
  return self.random:one_of(running)
end

-- The host that leads, and one that does not.
function Run:leader()
  local name, other = self.redis:command("HGET", cluster_host.KEY .. "c", "leader"), nil
  local leads
  for _, host in ipairs(self.hosts) do
    if host.name == name then
      leads = host
    elseif host:runs() then
      other = host
    end
  end
  return leads, other
end

-- {running, planned, last} of the host.
function Run.status(_, host)
  local response = host.gateway:control("GET", "/reshard", { timeout = 5000 * paths.slow })
  return response.status == 200 and response:json() or {}
end

-- ---- how far it is ----

-- {class -> step as a number}, of those that have come to one.
function Run:classes()
  local classes = {}
  for class, step in pairs(self.redis:fields("HGETALL", cluster_host.KEY .. "class")) do
    classes[tonumber(class)] = tonumber(step)
  end
  return classes
end

function Run:steps()
  local counts = { up = 0, switched = 0, settled = 0, closed = 0 }
  for _, step in pairs(self:classes()) do
    for i = 1, step do
      counts[STEPS[i]] = counts[STEPS[i]] + 1
    end
  end
  return counts
end

-- Until at least so many classes are so far.
function Run:await_step(name, n, timeout)
  assert(STEPS[name], "there is no such step")
  return self:await(("%d classes to be %s"):format(n, name), function()
    local counts = self:steps()
    return counts[name] >= n and counts
  end, timeout or 60000)
end

function Run:holder(class)
  local lease = self:leases()[class]
  for _, host in ipairs(self.hosts) do
    if lease and host.name == lease.host then
      return host
    end
  end
end

-- A host, but for that one, that has a class which is so far, and the class; waits for one.
function Run:host_with(step, spared)
  local host, class
  self:await(("a host with a class that is %s"):format(step), function()
    for number, at in pairs(self:classes()) do
      local holder = self:holder(number)
      if at >= STEPS[step] and holder and holder ~= spared then
        host, class = holder, number
      end
    end
    return host
  end, 60000)
  return host, class
end

-- ---- the end ----

function Run:record()
  local ok, record = pcall(self.redis.fields, self.redis, "HGETALL", cluster_host.KEY .. "c")
  return ok and record or {}
end

-- Whoever was not there ends, for its supervisor to start it again.
function Run:start_again()
  for _, host in ipairs(self.hosts) do
    local process = host.gateway.process
    if process.ended and process.exit_code == START_ME_AGAIN then
      host:again()
      self.started_again = (self.started_again or 0) + 1
    end
  end
end

local function is_over(self, host, result)
  local status = self:status(host)
  local last = status.last
  local so = status.running == cjson.null and (last == cjson.null or last.result == result)
  if status.running == cjson.null and last ~= cjson.null and last and last.result ~= result then
    error(("%s says that it ended otherwise: %s"):format(host.name, cjson.encode(last)), 0)
  end
  return so
end

local function await_end(self, total, result, timeout)
  self:await(("all hosts to have %d shards"):format(total), function()
    self:start_again()
    local record = self:record()
    if tonumber(record.total) ~= total or record.next_total then
      return false
    end
    for _, host in ipairs(self.hosts) do
      if host:runs() and not is_over(self, host, result) then
        return false
      end
    end
    return true
  end, timeout or 90000)
  self.shards = total
end

function Run:await_changed(total, timeout)
  await_end(self, total, "done", timeout)
end

function Run:await_taken_back(timeout)
  await_end(self, self.shards, "aborted", timeout)
end

-- ---- the verdict ----

local function of_total(list, total)
  local own = {}
  for _, item in ipairs(list) do
    if item.total == total then
      own[#own + 1] = item
    end
  end
  return own
end

-- Each shard of those that there are has one connection with a session; of others there is none. one_each: no
-- session was begun in vain.
local function check_sessions(self, one_each)
  local connections
  self:await("the shards to be up, and no others", function()
    connections = self:list "connections"
    local own = of_total(connections, self.shards)
    return #connections == self.shards and #judge.missing(own, self.shards) == 0
  end, 60000)
  local sessions = self:list "sessions"
  judge.check_sessions({ connections = connections, sessions = of_total(sessions, self.shards) }, self.shards,
    one_each)
end

local FIGURES = "# %s: %d numbered and %d equal events; 0 lost, %d repeated with an equal key, %d with "
  .. "another, 0 out of order, %d late; %d identifies, %d resumes; longest pause of a guild %d ms"

-- Ends the load, and judges: each event once (options.repeated: or again with its key), in order but for
-- what is late, (epoch, s) of a shard id never falling, no rule of Discord's broken, identifies as expected
-- (by total; of each up to `spare` more; with `violations` so many were refused), each host with its share of
-- the shards, nothing left of others. Prints one line of figures; returns the checker's report.
function Run:assert_verdict(options)
  self:await_even()
  self.fake:settings { rate = 0, repeat_rate = 0 }
  local good, report = pcall(resharding.judge_bot, self, self.bot, options)
  if not good then
    error(tostring(report) .. "\n" .. self:logs(), 2)
  end
  local counters, pause = self:counters(), report.longest_pause
  print(FIGURES:format(options.name, report.numbered, report.repeats, #report.doubled,
    #report.doubled_with_other_key, report.late, counters.identifies, counters.resumes_ok,
    pause and pause.ms or 0))
  resharding.check_log(self)
  resharding.check_identifies(self, options.identifies, options.spare)
  local state = self.fake:state "identifies,violations"
  assert(#state.violations == (options.violations or 0), cjson.encode(state.violations))
  if not options.violations then
    judge.check_identifies(state.identifies, 5000)
  end
  judge.check_epochs(self.bot.events)
  check_sessions(self, not options.spare)
  self:await("no hole to be left", function() return self:holes() == 0 end, 60000)
  if options.pause and pause and pause.ms > options.pause * paths.slow then
    error(("a guild paused for longer than %d ms: %s"):format(options.pause, report.text), 2)
  end
  return report
end

return together
