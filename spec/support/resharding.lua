-- A gateway that goes from one number of shards to another under load: for specs of what is to be seen of
-- that, which is nothing.
--
--   local resharding = require "spec.support.resharding"
--   after_each(resharding.stop)
--
--   local t = resharding.start { shards = 4, per_worker = 2, rate = 400, repeat_rate = 100 }
--   t:reshard(8)                               to be refused: t:ask_reshard { totalShards = 8 }
--   t:await_phase "matching"                   t:await_classes("ready", 2), t:await_switched(2),
--                                              t:await_reshard(what, predicate)
--   t:interact(20)                             in random guilds
--   t:await_over()                             "done", "aborted", "failed"; returns what `last` says
--   t:assert_verdict { name = "4 to 8", identifies = { [4] = 4, [8] = 8 } }
--
-- It is a kill_trial, too: t:kill_worker(pid), t:kill_manager(), t:kill_group(), t:again(),
-- t:await_events(n); and a scene: t.fake, t.bot, t.gateway, t:list "closes". What Discord does with two
-- sessions of a guild is chosen at the fake: t.fake:pace { lag = 200, jitter = 50, total = 8 },
-- t.fake:differ { ... }.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local http = require "spec.support.http"
local kill_trial = require "spec.support.kill_trial"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

local resharding = {}

local Run = {}

function Run:__index(key)
  return Run[key] or kill_trial.Trial.__index(self, key)
end

-- Guilds, their messages and contents, presences, voice states, typing.
local INTENTS = 1 + 512 + 32768 + 256 + 128 + 2048

-- Waits of the protocol are this many times shorter: an overlap of 15 s is one and a half, and what waits for
-- the other side still a second, so that a loaded machine does not decide.
local HURRY = math.max(1, math.floor(10 / paths.slow))

resharding.INTENTS, resharding.HURRY = INTENTS, HURRY

local PHASES = { "waiting", "preparing", "identifying", "matching", "switching", "settling", "closing" }
for i, name in ipairs(PHASES) do
  PHASES[name] = i
end

-- options: those of kill_trial.start(), and repeat_rate (equal events a second over all guilds; default 0).
-- Identifies need not wait for each other. Messages are of each guild in turn: so a pause means something.
function resharding.start(options)
  local given = { hurry = HURRY, intents = INTENTS }
  for name, value in pairs(options) do
    given[name] = value
  end
  local repeat_rate = given.repeat_rate or 0
  given.repeat_rate = nil
  given.fake = {
    callback_deadline = 3600000, max_concurrency = 16, guilds = given.shards * 6, rate_in_turn = true,
  }
  for name, value in pairs(options.fake or {}) do
    given.fake[name] = value
  end
  local self = setmetatable(kill_trial.start(given), Run)
  self.interactions, self.answered = {}, {}
  self.fake:settings { repeat_rate = repeat_rate }
  return self
end

resharding.stop = kill_trial.stop

-- The shard, of so many, that a guild belongs to. Ids need all of their 64 bits.
function resharding.shard_of(guild_id, total)
  return tonumber(loadstring("return " .. guild_id .. "ULL")() / 4194304ULL % total)
end

-- ---- the control API ----

local function without_nulls(value)
  if type(value) == "table" then
    for name, member in pairs(value) do
      value[name] = member ~= cjson.null and without_nulls(member) or nil
    end
  end
  return value
end

-- POST /reshard as it stands; returns status and answer.
function Run:ask_reshard(body)
  local response, problem = self.gateway:control("POST", "/reshard", { json = body })
  assert(response, problem)
  local ok, answer = pcall(cjson.decode, response.body)
  return response.status, ok and without_nulls(answer) or response.body
end

-- Begins a resharding.
function Run:reshard(total)
  local status, answer = self:ask_reshard { totalShards = total }
  if status ~= 202 then
    error(("the resharding to %d is refused with %d: %s"):format(total, status, cjson.encode(answer)), 2)
  end
  return answer
end

function Run:abort()
  return self:ask_reshard { abort = true }
end

-- {running, planned, last}, each perhaps nil; nil while no manager answers.
function Run:reshard_status()
  local response = http.request("GET", self.gateway:control_url() .. "/reshard", {
    headers = { Authorization = self.gateway.control_secret }, timeout = 5000 * paths.slow,
  })
  return response and response.status == 200 and without_nulls(cjson.decode(response.body)) or nil
end

-- Waits until predicate(status) is true, and returns its value; a manager may be away meanwhile.
function Run:await_reshard(description, predicate, timeout)
  local deadline = loop.now() + (timeout or 60000) * paths.slow
  local last
  while true do
    local status = self:reshard_status()
    last = status or last
    local value = status and predicate(status)
    if value then
      return value
    elseif loop.now() > deadline then
      error(("waited in vain for %s; GET /reshard says %s. The log ends:\n%s"):format(
        description, cjson.encode(last or {}), self.gateway.stderr:sub(-4000)), 2)
    end
    self:pass(10)
  end
end

-- Until this phase has begun; an error when it is over without.
function Run:await_phase(name, timeout)
  assert(PHASES[name], "there is no such phase")
  return self:await_reshard("the phase " .. name, function(status)
    local running = status.running
    if running and running.phase == "aborting" then
      error("it is taken back before the phase " .. name, 0)
    elseif running then
      return PHASES[running.phase] >= PHASES[name] and running
    elseif status.last and status.last.result ~= "done" then
      error(("it is over before the phase %s: %s"):format(name, cjson.encode(status.last)), 0)
    end
    return not status.planned and status.last -- else what is over is an earlier one
  end, timeout)
end

-- Until at least n classes are in a state.
function Run:await_classes(state, n, timeout)
  return self:await_reshard(("%d classes %s"):format(n, state), function(status)
    return status.running and (status.running.byState[state] or 0) >= n and status.running
  end, timeout)
end

-- Until at least n classes have gone over, and have not come back.
function Run:await_switched(n, timeout)
  return self:await_reshard(n .. " classes to go over", function(status)
    local states = status.running and status.running.byState or {}
    return (states.switched or 0) + (states.settled or 0) + (states.gone or 0) >= n and status.running
  end, timeout)
end

-- Until none runs, and the last one came to this result ("done" unless said).
function Run:await_over(result, timeout)
  return self:await_reshard("the end: " .. (result or "done"), function(status)
    local over = not status.running and status.last
    if over and over.result ~= (result or "done") then
      error("it ended otherwise: " .. cjson.encode(over), 0)
    end
    return over
  end, timeout or 120000)
end

-- ---- interactions ----

-- Emits n of them, each in a random guild.
function Run:interact(n)
  local guilds = self.fake:guilds()
  for _ = 1, n do
    local guild = self.random:one_of(guilds).id
    for _, one in ipairs(self.fake:emit({ interaction = 2, guild = guild }).interactions) do
      table.insert(self.interactions, one)
    end
  end
end

-- What a bot does with those that nobody has answered in its place.
local function answer_interactions(self)
  for _, event in ipairs(self.bot:select "INTERACTION_CREATE") do
    local d = event:data()
    if not event.deferred and not self.answered[d.id] then
      self.answered[d.id] = true
      local url = ("%s/interactions/%s/%s/callback"):format(self.fake.rest, d.id, d.token)
      assert(http.request("POST", url, {
        json = { type = 5 }, headers = { ["User-Agent"] = "DiscordBot (spec, 1)" },
      }))
    end
  end
end

-- Each came to the bot, by one key, and had exactly one answer.
local function check_interactions(self)
  self.bot:wait_for_events(#self.interactions, "INTERACTION_CREATE")
  answer_interactions(self)
  local keys, answers = {}, {}
  for _, event in ipairs(self.bot:select "INTERACTION_CREATE") do
    local id = event:data().id
    if keys[id] and keys[id] ~= event.key then
      error(("interaction %s came as %s and as %s"):format(id, keys[id], event.key), 3)
    end
    keys[id] = event.key
  end
  for _, callback in ipairs(self:list "callbacks") do
    answers[callback.id] = (answers[callback.id] or "") .. callback.status .. " "
  end
  for _, one in ipairs(self.interactions) do
    if answers[one.id] ~= "204 " then
      error(("interaction %s, which came as %s, was answered: %s"):format(
        one.id, tostring(keys[one.id]), answers[one.id] or "never"), 3)
    end
  end
end

-- ---- the verdict ----

local function await_repeats(self, bot, repeats, timeout)
  local wanted = 0
  for _, entry in ipairs(repeats) do
    wanted = wanted + entry.count
  end
  local deadline = loop.now() + timeout * paths.slow
  while true do
    if bot.poll then
      bot:poll()
    end
    local report = checker.compare(bot.events, { repeats = repeats })
    if report.repeats >= wanted then
      return
    elseif loop.now() > deadline then
      error("events that are equal are missing: " .. report.text, 3)
    end
    self:pass(100)
  end
end

-- What came with an s; markers have none. An express interaction passes others.
local function sequenced(events, options)
  local list = {}
  for _, event in ipairs(events) do
    if event.gap and not options.gaps then
      error(("events are missing, and a marker says so: %s"):format(event.body), 3)
    elseif event.s and not (options.express and event.t == "INTERACTION_CREATE") then
      list[#list + 1] = event
    end
  end
  return list
end

-- Waits until all is at that bot, and compares. `self`: whatever has a scene; options: those of
-- Run:assert_verdict() that concern a bot.
function resharding.judge_bot(self, bot, options)
  local timeout = options.timeout or 60000
  local guilds = self:wait_delivered(timeout, bot)
  local repeats = self.fake:sent().repeats
  await_repeats(self, bot, repeats, timeout)
  local judge = options.repeated and checker.assert_nothing_lost or checker.assert_complete
  return judge(sequenced(bot.events, options), {
    guilds = guilds, repeats = repeats, under_way = options.under_way,
  })
end

-- No gateway has told of a loss.
function resharding.check_log(self)
  for _, gateway in ipairs(self.gateways) do
    local told = gateway.stderr:match "[^\n]*: events are lost[^\n]*"
      or gateway.stderr:match "[^\n]*: events of this session never came[^\n]*"
    if told then
      error("the log tells of a loss: " .. told, 3)
    end
  end
end

-- By total, for {[4] = 4, [8] = 8}; of each of them up to `spare` more.
function resharding.check_identifies(self, expected, spare)
  local got = {}
  for total, count in pairs(self:counters().identifies_by_total) do
    got[tonumber(total)] = count
  end
  for _, counts in ipairs { expected, got } do
    for total in pairs(counts) do
      local more = got[total] and expected[total] and got[total] - expected[total]
      if not more or more < 0 or more > (spare or 0) then
        error(("identifies by total: %s for %d, not %s"):format(
          tostring(got[total]), total, tostring(expected[total])), 3)
      end
    end
  end
end

local FIGURES = "# %s: %d numbered and %d equal events, %d interactions; 0 lost, %d repeated with an equal "
  .. "key, %d doubled, 0 out of order; %d identifies, %d resumes; longest pause of a guild %d ms"

-- Ends the load, waits until all is at the bot, and judges: each event once, in order, (epoch, s) of a shard
-- id never falling, each interaction answered once, no rule of Discord's broken, identifies as expected.
-- options: name, identifies (by total), spare (so many more of each may have been cut off), repeated (true:
-- events may come again with an equal key, as after a crash), under_way (so many with another key), gaps
-- (true: markers may tell of losses, of which there are none), violations (how many the faults of the spec
-- make), voices_dropped (likewise), pause (ms that no guild's pause may exceed), express (true: interactions
-- need not come in order), timeout, others (more bots, or readers of streams, that get all events: each of
-- them is judged likewise, but for interactions). Prints one line of figures; returns the checker's report.
function Run:assert_verdict(options)
  self.fake:settings { rate = 0, repeat_rate = 0 }
  local report = resharding.judge_bot(self, self.bot, options)
  check_interactions(self)
  for _, bot in ipairs(options.others or {}) do
    resharding.judge_bot(self, bot, options)
  end
  local counters, pause = self:counters(), report.longest_pause
  print(FIGURES:format(options.name, report.numbered, report.repeats, #self.interactions, #report.doubled,
    #report.doubled_with_other_key, counters.identifies, counters.resumes_ok, pause and pause.ms or 0))
  resharding.check_log(self)
  if options.identifies then
    resharding.check_identifies(self, options.identifies, options.spare)
  end
  local dropped = self:list "voices_dropped"
  if #dropped ~= (options.voices_dropped or 0) then
    error("voice connections were dropped: " .. cjson.encode(dropped), 2)
  end
  local violations = self:list "violations"
  if #violations ~= (options.violations or 0) then
    error("rules of Discord's were broken: " .. cjson.encode(violations), 2)
  end
  if options.pause and pause and pause.ms > options.pause * paths.slow then
    error(("a guild paused for longer than %d ms: %s"):format(options.pause, report.text), 2)
  end
  return report
end

return resharding
