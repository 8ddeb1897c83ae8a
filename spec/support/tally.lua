-- Counts what became of all events of a scene: what Discord sent against what the bot accepted, per shard and
-- guild.
--
--   local tally = require "spec.support.tally"
--   tally.assert_nothing_lost(s, { name = "manager killed", identifies = 4 })
--
-- Lost is what never came: a numbered message of a guild, or an s of a session that Discord still keeps. The
-- one exception is a RESUMED that a kill has cut off: Discord does not send it again, so there may be as many
-- holes as it said RESUMED without the bot hearing of it.

local assert = require "luassert"
local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

local tally = {}

local function without_gaps(events)
  local list, gaps = {}, {}
  for _, event in ipairs(events) do
    table.insert(event.gap and gaps or list, event)
  end
  return list, gaps
end

-- How often Discord said RESUMED, by shard.
local function resumed_by_shard(s)
  local count = {}
  for _, resume in ipairs(s:list "resumes") do
    if resume.result == "ok" then
      count[resume.shard] = (count[resume.shard] or 0) + 1
    end
  end
  return count
end

-- What the bot has of each session, by session id: {epoch, known (how many different s), resumed}.
local function received(events)
  local sessions, by_epoch = {}, {}
  for _, event in ipairs(events) do
    if event.s then
      local name = event.shard .. "." .. event.epoch
      local session = by_epoch[name]
      if not session then
        session = { seen = {}, known = 0, resumed = 0 }
        by_epoch[name] = session
      end
      if not session.seen[event.s] then
        session.seen[event.s] = true
        session.known = session.known + 1
        session.resumed = session.resumed + (event.t == "RESUMED" and 1 or 0)
        if event.t == "READY" then
          sessions[event:data().session_id] = session
        end
      end
    end
  end
  return sessions
end

-- Of each session that is alive: what is missing beyond the RESUMED that nobody heard. Resumes are counted by
-- shard, so a shard may have had one session only.
local function missing(s, events)
  local sessions, resumed = received(events), resumed_by_shard(s)
  local lines = {}
  for _, shard in ipairs(s.fake:sent().shards) do
    for _, sent in ipairs(shard.sessions) do
      local session = sessions[sent.session_id]
      local holes = sent.sequence - (session and session.known or 0)
      local unheard = (resumed[shard.shard] or 0) - (session and session.resumed or 0)
      if holes ~= unheard then
        lines[#lines + 1] = ("shard %d: %d of %d events are missing, and %d RESUMED"):format(
          shard.shard, holes, sent.sequence, unheard)
      end
    end
  end
  return lines
end

-- Waits until nothing is missing; what is after all, as text.
local function await_sequences(s, bot, timeout)
  local deadline = loop.now() + timeout * paths.slow
  while true do
    if bot.poll then
      bot:poll()
    end
    local lines = missing(s, (without_gaps(bot.events)))
    if #lines == 0 then
      return nil
    elseif loop.now() > deadline then
      return table.concat(lines, "\n")
    end
    local count, until_then = #bot.events, loop.now() + 100
    loop.wait_for("more events", function() return #bot.events > count or loop.now() > until_then end)
  end
end

local function describe_gaps(gaps)
  local lines = {}
  for i, event in ipairs(gaps) do
    lines[i] = ("shard %d epoch %d: %s to %s, %s"):format(event.shard, event.epoch, tostring(event.gap.from),
      tostring(event.gap.to), event.gap.reason)
  end
  return table.concat(lines, "\n")
end

local SUM = "# %s: %d events, %d numbered, 0 lost, %d repeated, 0 out of order, %d identifies, %d resumes"

-- Stops the flow of events, waits until all are at the bot, and fails unless each came at least once, in
-- order within its shard, repeated only with an equal key, no gap was told, no rule of Discord's was broken,
-- and no identify but `identifies` was spent. Prints the sum, for whoever runs the spec by hand.
-- options: name, identifies, timeout (ms; default 60,000), bot (another than the scene's, or a reader of
-- streams), repeated (no more may be repeated than that many; default: any number), told (true: the log may
-- tell of losses, which are another one's), any_order (as the checker has it).
function tally.assert_nothing_lost(s, options)
  local timeout, bot = options.timeout or 60000, options.bot or s.bot
  s.fake:settings { rate = 0 }
  local sent = s:wait_delivered(timeout, bot)
  local problem = await_sequences(s, bot, 10000)
  local events, gaps = without_gaps(bot.events)
  local report = checker.assert_nothing_lost(events, { guilds = sent, any_order = options.any_order })
  local counters = s:counters()
  print(SUM:format(options.name, #events, report.numbered, #report.doubled, counters.identifies,
    counters.resumes_ok))
  if #report.doubled > (options.repeated or math.huge) then
    error(report.text, 2)
  end
  if problem or #gaps > 0 then
    error((problem or "") .. describe_gaps(gaps), 2)
  end
  for _, gateway in ipairs(s.gateways) do
    local told = gateway.stderr:match "[^\n]*: events are lost[^\n]*"
      or gateway.stderr:match "[^\n]*: events of this session never came[^\n]*"
    if told and not options.told then
      error("the log tells of a loss: " .. told, 2)
    end
  end
  assert.same({}, s:list "violations")
  assert.equal(options.identifies, counters.identifies)
  return report
end

return tally
