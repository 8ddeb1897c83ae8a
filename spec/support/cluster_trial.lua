-- Several gateways that share the shards of a bot by one Redis, under load: for specs of what befalls one of
-- them, Redis, or what is between them. The fake Discord, with its real window of identifies, is the judge.
--
--   local trial = require "spec.support.cluster_trial"
--   after_each(trial.stop)
--
--   local t = trial.start { hosts = 3, shards = 12, max_concurrency = 16, rate = 240 }
--   t.hosts[1].name                        "gw-1"; t.hosts[1].gateway as spec.support.gateway has it
--   t.hosts[1]:kill()  :freeze()  :thaw()  :again { intents = 1 }  :shards()
--   t.hosts[1].proxy:cut()                 with proxies = true (spec.support.redis_proxy)
--   t.redis:restart { empty = true }       spec.support.redis
--   local since = t:now()                  Discord's clock
--   t:await_resumed(shards, since)         {shard -> ms since then}
--   t:await_even()                         all shards are up, and each host that runs has its share
--   t:assert_verdict { name = "..." }      stops the flow; t:flow() lets it go on
--
-- Everything of a kill_trial, and of its scene (t.fake, t.bot, t:counters()), is at hand in t, too.

local assert = require "luassert"
local judge = require "spec.support.cluster_judge"
local kill_trial = require "spec.support.kill_trial"
local loop = require "spec.support.loop"
local random = require "spec.support.random"
local redis = require "spec.support.redis"
local redis_proxy = require "spec.support.redis_proxy"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"
local tally = require "spec.support.tally"
local uv = require "luv"

local cluster_trial = {}

local Trial = {}

function Trial:__index(key)
  return Trial[key] or kill_trial.Trial.__index(self, key)
end

local NAME = "bot"
local WINDOW = 5000

-- ---- a host ----

local Host = {}
Host.__index = Host

-- On its state directory, if it was there before. `changes` hold from now on: what gateway.start() takes.
function Host:start(changes)
  for name, value in pairs(changes or {}) do
    self.options[name] = value
  end
  local options = {}
  for name, value in pairs(self.options) do
    options[name] = value
  end
  options.state_dir = self.gateway and self.gateway.state_dir
  options.env = {
    TIDEGATE_CLUSTER = (self.proxy or self.trial.redis):url(), TIDEGATE_CLUSTER_NAME = NAME,
    TIDEGATE_CLUSTER_HOST = self.name,
  }
  for name, value in pairs(self.options.env or {}) do
    options.env[name] = value
  end
  self.gateway = self.trial.scene:run(options)
  return self
end

Host.again = Host.start

function Host:runs()
  return self.gateway ~= nil and not self.gateway.process.ended and not self.is_frozen
end

-- All its processes, at once, from one moment to the next. Returns what it had, and Discord's clock.
function Host:kill()
  local shards, since = self:shards(), self.trial:now()
  local workers = self.gateway:worker_pids()
  uv.kill(-self.gateway.pid, "sigkill")
  self.gateway.process:wait()
  self.trial:await_end(workers)
  return shards, since
end

-- All its processes stand still; its connections stay.
function Host:freeze()
  local shards, since = self:shards(), self.trial:now()
  self.is_frozen = true
  uv.kill(-self.gateway.pid, "sigstop")
  return shards, since
end

function Host:thaw()
  self.is_frozen = false
  uv.kill(-self.gateway.pid, "sigcont")
end

-- SIGTERM, and it has ended; returns what it had, and Discord's clock from before.
function Host:stop(timeout)
  local shards, since = self:shards(), self.trial:now()
  local code = self.gateway:stop("SIGTERM", timeout or 60000)
  assert.equal(0, code)
  return shards, since
end

-- Numbers of the shards of which it has a lease, in order.
function Host:shards()
  local list = {}
  for shard, lease in pairs(self.trial:leases()) do
    if lease.host == self.name then
      list[#list + 1] = shard
    end
  end
  table.sort(list)
  return list
end

-- ---- the start ----

local function literal(url, authorization)
  return ("{ url = %q, authorization = %s, markers = true }"):format(url,
    authorization and ("%q"):format(authorization) or "nil")
end

-- A bot and, if so wanted, a Redis beside it.
local function script_of(self, options)
  local sinks = {}
  for _, name in ipairs(options.sinks or {}) do
    if name == "stream" then
      sinks[#sinks + 1] = ("stream = { url = %q }"):format(self.redis:url())
    else
      sinks[#sinks + 1] = ("[%q] = %s"):format(name,
        literal(self.scene.sinks[name].url, self.scene.sinks[name].authorization))
    end
  end
  return ('require "tidegate".configure { event_handler = { markers = true }, sinks = { %s } }\n'):format(
    table.concat(sinks, ", "))
end

local OWN = {
  hosts = true, proxies = true, redis = true, rate = true, size = true, max_concurrency = true, fake = true,
  sinks = true, bot = true, each = true, ready = true,
}

local started = {}

-- options: hosts (default 3), shards (12: what Discord recommends; the hosts are not told), max_concurrency
-- (16), rate (events a second of all shards together; 240), size (of each; 300), proxies (true: each host has
-- one, to Redis), redis (options of redis.start()), fake (settings), bot (options of it), sinks (names of
-- more bots; "stream": the cluster's Redis is a sink, too), each (a list of what one host has that others
-- have not), ready (false: does not wait until all is up), and what gateway.start() takes, for all hosts.
function cluster_trial.start(options)
  local shards = options.shards or 12
  local self = setmetatable({
    hosts = {}, shards = shards, rate = options.rate or 240, random = random.new(), readers = {},
  }, Trial)
  started[#started + 1] = self
  local fake = {
    max_concurrency = options.max_concurrency or 16, identify_window = WINDOW, guilds = shards * 3,
    message_size = options.size or 300,
  }
  for name, value in pairs(options.fake or {}) do
    fake[name] = value
  end
  local bots = {}
  for _, name in ipairs(options.sinks or {}) do
    bots[name] = name ~= "stream" and { authorization = "secret-of-the-sink-" .. name } or nil
  end
  self.scene = scene.start { gateway = false, shards = shards, fake = fake, bot = options.bot, sinks = bots }
  self.redis = redis.start(options.redis)
  local common = {
    script = script_of(self, options), log_level = "info", reload = false, workers = 2, ready = false,
    hurry = 1,
  }
  for name, value in pairs(options) do
    common[name] = not OWN[name] and value or common[name]
  end
  for i = 1, options.hosts or 3 do
    self:new_host("gw-" .. i, common, (options.each or {})[i], options.proxies)
  end
  for _, name in ipairs(options.sinks or {}) do
    self.readers[name] = name == "stream" and streams.reader(self.redis) or nil
  end
  if options.ready ~= false then
    self:await_even()
    self.bot:wait_for_events(shards, "READY")
    self:flow()
  end
  return self
end

function Trial:new_host(name, common, own, is_proxied)
  local host = setmetatable({ trial = self, name = name, options = {} }, Host)
  for _, options in ipairs { common, own or {} } do
    for key, value in pairs(options) do
      host.options[key] = value
    end
  end
  host.proxy = is_proxied and redis_proxy.start(self.redis) or nil
  table.insert(self.hosts, host)
  return host:start()
end

function Trial:flow()
  self.fake:settings { rate = self.rate }
  self:await_events(20)
end

-- SIGTERM to all at once; then as scene.stop().
function cluster_trial.stop()
  for _, self in ipairs(started) do
    self.redis:thaw()
    for _, host in ipairs(self.hosts) do
      if host.proxy then
        host.proxy:heal()
      end
      if host.is_frozen then
        host:thaw()
      end
      if host.gateway and not host.gateway.process.ended then
        host.gateway.process:kill "SIGTERM"
      end
    end
  end
  local ok, problem = pcall(loop.wait_for, "the ends of the hosts", function()
    for _, self in ipairs(started) do
      for _, host in ipairs(self.hosts) do
        if host.gateway and not host.gateway.process.ended then
          return false
        end
      end
    end
    return true
  end, 30000)
  started = {}
  local stopped, why = pcall(scene.stop)
  redis_proxy.cleanup()
  if not ok or not stopped then
    error(table.concat({ not ok and problem or nil, not stopped and tostring(why) or nil }, "\n"), 0)
  end
end

-- ---- what there is ----

-- Discord's clock.
function Trial:now()
  return self.fake:state("counters").now
end

-- {shard -> {host, fence}}: leases that live.
function Trial:leases()
  local base = ("tidegate:{%s}:"):format(NAME)
  local now = tonumber(self.redis:command("HGET", base .. "c", "now")) or 0
  local leases = {}
  for shard, text in pairs(self.redis:fields("HGETALL", base .. "lease")) do
    local fence, till, host = text:match "^(%d+) (%d+) %d+ (.*)$"
    if tonumber(till) > now then
      leases[tonumber(shard)] = { host = host, fence = tonumber(fence) }
    end
  end
  return leases
end

-- {host -> how many shards}, of those that run; and how many others have.
function Trial:shares()
  local shares, others = {}, 0
  for _, host in ipairs(self.hosts) do
    shares[host.name] = host:runs() and 0 or nil
  end
  for _, lease in pairs(self:leases()) do
    if shares[lease.host] then
      shares[lease.host] = shares[lease.host] + 1
    else
      others = others + 1
    end
  end
  return shares, others
end

function Trial:logs()
  local parts = {}
  for _, host in ipairs(self.hosts) do
    parts[#parts + 1] = ("---- %s (%s), its log ends:\n%s"):format(host.name,
      host.gateway.process.ended and "ended" or host.is_frozen and "frozen" or "runs",
      host.gateway.stderr:sub(-2000))
  end
  return table.concat(parts, "\n")
end

-- Looks again and again until predicate() is true, and returns that.
function Trial:await(description, predicate, timeout)
  local ok, value = pcall(redis.wait_for, description, predicate, timeout or 30000)
  if not ok then
    error(value .. "\n" .. self:logs(), 2)
  end
  return value
end

-- Each shard has a connection with a session, at Discord.
function Trial:await_up(timeout)
  self:await("all shards to be up", function()
    return #judge.missing(self:list "connections", self.shards) == 0
  end, timeout)
end

-- And hosts that run have as many as each other, but for one.
function Trial:await_even(timeout)
  self:await("the shares to be even", function()
    local shares, others = self:shares()
    local least, most, sum = math.huge, 0, 0
    for _, count in pairs(shares) do
      least, most, sum = math.min(least, count), math.max(most, count), sum + count
    end
    return others == 0 and sum == self.shards and most - least <= 1
  end, timeout or 60000)
  self:await_up()
end

-- Waits until Discord has taken each of these shards up again by RESUME; {shard -> ms since `since`}.
function Trial:await_resumed(shards, since, timeout)
  return self:await(("RESUMEs of %d shards"):format(#shards), function()
    return judge.resumed(self:list "resumes", shards, since)
  end, timeout)
end

-- Nothing but waiting, under the flow of events.
function Trial:await_flow(ms)
  local events = #self.bot.events
  self:pass(ms)
  assert(#self.bot.events > events, "no event has come meanwhile")
end

-- Prints what became of some times, for whoever runs the spec by hand; returns judge.figures().
function Trial.figures(_, name, values)
  local figures = judge.figures(values)
  print(("# %s: %d, median %d ms, p99 %d ms, at most %d ms"):format(name, figures.count, figures.median,
    figures.p99, figures.max))
  return figures
end

-- How long planned moves took since then: figures, printed. None of them took a session from a connection
-- that was there.
function Trial:moved(name, since)
  local state = self.fake:state "closes,resumes"
  assert.equal(0, judge.taken(state.resumes, since))
  return self:figures(name, judge.moves(state, since))
end

-- ---- the verdict ----

-- What must hold whatever was done: also where events were lost with their session, and told. one_each: no
-- session was lost.
function Trial:check_rules(one_each)
  local state = self.fake:state "identifies,violations,connections,sessions"
  assert.same({}, state.violations)
  judge.check_identifies(state.identifies, WINDOW)
  judge.check_epochs(self.bot.events)
  judge.check_sessions(state, self.shards, one_each)
end

-- The bot, and all sinks, as tally.assert_nothing_lost() takes them.
local function receivers(self)
  local list = { [""] = self.bot }
  for name, bot in pairs(self.scene.sinks) do
    list[(" (%s)"):format(name)] = bot
  end
  for name, reader in pairs(self.readers) do
    list[(" (%s)"):format(name)] = reader
  end
  return list
end

-- All is well: no event was lost, those that came twice have equal keys, order was kept but for what is
-- marked as late; as tally has it. No rule of Discord's was broken, no identify was refused or came early,
-- each shard has one session, epochs rise. expected: name, identifies (default: one a shard), and what
-- tally.assert_nothing_lost() takes. Returns its report, of the bot.
function Trial:assert_verdict(expected)
  local reports = {}
  self:await_up(expected.timeout)
  for name, bot in pairs(receivers(self)) do
    local passed = { identifies = self.shards }
    for key, value in pairs(expected) do
      passed[key] = value
    end
    passed.name, passed.bot = expected.name .. name, bot
    local ok, report = pcall(tally.assert_nothing_lost, self.scene, passed)
    if not ok then
      error(tostring(report) .. "\n" .. self:logs(), 2)
    end
    reports[bot] = report
  end
  self:await_up()
  self:check_rules((expected.identifies or self.shards) == self.shards)
  return reports[self.bot]
end

cluster_trial.LONG = os.getenv "TG_SPEC_LONG" == "1"

return cluster_trial
