-- For when something has to be lost: that each event is either at the bot or named by a marker, in its place.
--
--   local accounts = require "spec.support.accounts"
--   local told = accounts.await(s)            once no more is sent; told: how many were named by markers
--   accounts.await(s, 60000, s.sinks.audit)   of another bot than the scene's
--
-- Looks at the sessions that Discord still keeps.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

local accounts = {}

local function new_session()
  return { list = {}, seen = {}, resumed = 0 }
end

-- Of each session by its id: first arrivals and markers, in order, as {from, to, reason} each.
local function read(events)
  local by_name, by_id = {}, {}
  for _, event in ipairs(events) do
    local name = event.shard .. "." .. event.epoch
    local session = by_name[name] or new_session()
    by_name[name] = session
    local gap = event.gap
    local marker = gap and ("%s from %s"):format(event.key, tostring(gap.from))
    if gap and not session.seen[marker] then
      session.seen[marker] = true -- it may come again, as events may
      table.insert(session.list, { from = gap.from or 1, to = gap.to or math.huge, reason = gap.reason })
    elseif not gap and not session.seen[event.s] then
      session.seen[event.s] = true
      table.insert(session.list, { from = event.s, to = event.s })
      session.resumed = session.resumed + (event.t == "RESUMED" and 1 or 0)
      if event.t == "READY" then
        by_id[event:data().session_id] = session
      end
    end
  end
  return by_id
end

-- RESUMED that a broken connection cut off do not come again, and nothing is lost with them.
local function count_unheard(s, shard, session)
  local said = 0
  for _, resume in ipairs(s:list "resumes") do
    said = said + (resume.shard == shard and resume.result == "ok" and 1 or 0)
  end
  return said - session.resumed
end

local function judge(shard, session, last, unheard)
  local problems, told, expected = {}, 0, 1
  for _, account in ipairs(session.list) do
    if account.from < expected then
      problems[#problems + 1] = ("shard %d: %d to %s (%s) comes behind %d"):format(
        shard, account.from, account.to, account.reason or "event", expected - 1)
    end
    unheard = unheard - math.max(0, account.from - expected)
    if unheard < 0 and account.from > expected then
      problems[#problems + 1] = ("shard %d: %d to %d are neither there nor named"):format(
        shard, expected, account.from - 1)
    end
    told = told + (account.reason and account.to - account.from + 1 or 0)
    expected = math.max(expected, account.to + 1)
  end
  if last - expected + 1 > math.max(0, unheard) then
    problems[#problems + 1] = ("shard %d: %d to %d are neither there nor named"):format(shard, expected, last)
  end
  return problems, told
end

local function look(s, bot)
  local sessions = read(bot.events)
  local problems, told = {}, 0
  for _, shard in ipairs(s.fake:sent().shards) do
    for _, sent in ipairs(shard.sessions) do
      local session = sessions[sent.session_id] or new_session()
      local some, number = judge(shard.shard, session, sent.sequence, count_unheard(s, shard.shard, session))
      told = told + number
      for _, problem in ipairs(some) do
        problems[#problems + 1] = problem
      end
    end
  end
  return problems, told
end

-- Waits until all is accounted for; fails with what is not.
function accounts.await(s, timeout, bot)
  bot = bot or s.bot
  local deadline = loop.now() + (timeout or 60000) * paths.slow
  while true do
    local problems, told = look(s, bot)
    if #problems == 0 then
      return told
    elseif loop.now() > deadline then
      error(("%s\nthe log ends:\n%s"):format(table.concat(problems, "\n", 1, math.min(#problems, 20)),
        s.gateway.stderr:sub(-3000)), 2)
    end
    local count, until_then = #bot.events, loop.now() + 100
    loop.wait_for("more events", function() return #bot.events > count or loop.now() > until_then end)
  end
end

return accounts
