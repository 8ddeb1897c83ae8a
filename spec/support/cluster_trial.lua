-- Several gateways that share the shards of a bot by one Redis, under load: for specs of what befalls one of
-- them, Redis, or what is between them. The fake Discord, with its real window of identifies, is the judge.
--
--   local trial = require "spec.support.cluster_trial"
--   after_each(trial.stop)
--
--   local t = trial.start { hosts = 3, shards = 12, max_concurrency = 16, rate = 240 }
--   t.hosts[1]:kill()                      spec.support.cluster_host
--   t.redis:restart { empty = true }       spec.support.redis
--   local since = t:now()                  Discord's clock
--   t:await_resumed(shards, since)         {shard -> ms since then}
--   t:await_even()                         all shards are up, and each host that runs has its share
--   t:assert_verdict { name = "..." }      stops the flow; t:flow() lets it go on
--
-- Everything of a kill_trial, and of its scene (t.fake, t.bot, t:counters()), is at hand in t, too.

local assert = require "luassert"
local checker = require "spec.support.checker"
local cluster_host = require "spec.support.cluster_host"
local judge = require "spec.support.cluster_judge"
local kill_trial = require "spec.support.kill_trial"
local loop = require "spec.support.loop"
local random = require "spec.support.random"
local redis = require "spec.support.redis"
local redis_proxy = require "spec.support.redis_proxy"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"
local tally = require "spec.support.tally"

local cluster_trial = {}

local Trial = {}

cluster_trial.Trial = Trial

function Trial:__index(key)
  return Trial[key] or kill_trial.Trial.__index(self, key)
end

local WINDOW = 5000

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
    script = script_of(self, options), log_level = "info", reload = false, ready = false, hurry = 1,
    workers = 2, per_worker = math.ceil(shards / 2),
  }
  for name, value in pairs(options) do
    common[name] = not OWN[name] and value or common[name]
  end
  self.common, self.proxies = common, options.proxies
  for i = 1, options.hosts or 3 do
    self:new_host("gw-" .. i, (options.each or {})[i])
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

-- `own`: what it has that the others have not.
function Trial:new_host(name, own)
  local host = cluster_host.new(self, name, self.proxies and redis_proxy.start(self.redis) or nil)
  host:set(self.common)
  host:set(own)
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
    error((not ok and problem .. "\n" or "") .. (not stopped and tostring(why) or ""), 0)
  end
end

-- ---- what there is ----

-- Discord's clock.
function Trial:now()
  return self.fake:state("counters").now
end

-- {shard -> {host, fence}}: leases that live.
function Trial:leases()
  local now = tonumber(self.redis:command("HGET", cluster_host.KEY .. "c", "now")) or 0
  local leases = {}
  for shard, text in pairs(self.redis:fields("HGETALL", cluster_host.KEY .. "lease")) do
    local fence, till, host = text:match "^(%d+) (%d+) %d+ (.*)$"
    if tonumber(till) > now then
      leases[tonumber(shard)] = { host = host, fence = tonumber(fence) }
    end
  end
  return leases
end

-- How many holes Redis knows of.
function Trial:holes()
  return self.redis:command("HLEN", cluster_host.KEY .. "holes")
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

-- Redis is back: the hosts have told it what there is, the quiet time is over, and then some.
function Trial:await_peace()
  self:await("leases of all shards, after a quiet time", function()
    local ok, record = pcall(self.redis.fields, self.redis, "HGETALL", cluster_host.KEY .. "c")
    local count = 0
    for _ in pairs(ok and record.now and self:leases() or {}) do
      count = count + 1
    end
    return count == self.shards and tonumber(record.now) > tonumber(record.quiet)
  end)
  self:await_flow(2500)
end

-- Nobody has another lease than before.
function Trial:assert_same_leases(before)
  local now = self:leases()
  for shard, lease in pairs(before) do
    assert.same(lease, now[shard], ("shard %d"):format(shard))
  end
end

-- How often a shard was resumed since then, at most.
function Trial:most_resumes(since)
  return judge.most_resumes(self:list "resumes", since)
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

-- Where sessions were lost: all messages of guilds have come, as the checker has it, and no rule was broken.
-- (Nothing may have been sent while a shard had no session.)
function Trial:assert_messages(name)
  self.fake:settings { rate = 0 }
  local sent, events = self.scene:wait_delivered(60000), {}
  for _, event in ipairs(self.bot.events) do
    if not event.gap then
      events[#events + 1] = event
    end
  end
  local report = checker.assert_nothing_lost(events, { guilds = sent })
  self:check_rules(false)
  print(("# %s: %d events, %d numbered, 0 lost, %d repeated, %d late, %d identifies, %d resumes"):format(name,
    #events, report.numbered, #report.doubled, report.late, self:counters().identifies,
    self:counters().resumes_ok))
  return report
end

cluster_trial.LONG = os.getenv "TG_SPEC_LONG" == "1"

return cluster_trial
