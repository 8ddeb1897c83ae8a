-- Compares what the fake Discord sent with what the bot accepted: lost, doubled, out of order.
--
--   checker.assert_complete(bot.events, { guilds = { ["41771983423143937"] = 5000 }, contiguous = true })
--
-- Numbered messages: the fake numbers the MESSAGE_CREATEs of a guild 1, 2, 3, ... in d.nonce = "<guild>:<n>".
-- Sequences: within a session (shard, epoch) s counts every dispatch; (epoch, s) of a shard id never falls,
-- whatever the number of shards that it is one of. With order = "guild" s never falls within a guild.
-- Late: what a bot has got marked as such is exempt from order; it may neither be lost nor doubled.
-- Repeats: events that nothing tells apart are counted, by type, guild and user.

local checker = {}

local function number_of(event)
  local body = event.body
  if event.t ~= "MESSAGE_CREATE" then
    return nil
  elseif not body then
    error("the checker needs the bodies of the events: keep_bodies is off", 0)
  end
  local guild, n = body:match '"nonce":"(%d+):(%d+)"'
  return guild, tonumber(n)
end

-- A presence names its user in an object.
local USER = '"user":{"id":"(%d+)"'
local USER_ID = '"user_id":"(%d+)"'

local function repeat_of(event)
  local guild = event.body:match '"guild_id":"(%d+)"'
  local user = event.body:match(event.t == "PRESENCE_UPDATE" and USER or USER_ID)
  return guild and user and ("%s of guild %s, user %s"):format(event.t, guild, user)
end

local function new_report()
  return {
    numbered = 0,
    late = 0,
    repeats = 0,
    lost = {},
    doubled = {},
    doubled_with_other_key = {},
    out_of_order = {},
    unexpected = {},
  }
end

-- The first arrival of each event, in order. A second arrival is a double; with the same key a bot drops it.
local function first_arrivals(events, report)
  local seen, first = {}, {}
  for _, event in ipairs(events) do
    local guild, n = number_of(event)
    local name = guild and ("message %s:%d"):format(guild, n)
      or ("shard %d epoch %d s %d"):format(event.shard, event.epoch, event.s or -1)
    local earlier = seen[name]
    if earlier then
      local same_key = earlier.key ~= nil and earlier.key == event.key
      local list = same_key and report.doubled or report.doubled_with_other_key
      list[#list + 1] = ("%s (keys %s and %s)"):format(name, tostring(earlier.key), tostring(event.key))
    else
      seen[name] = event
      first[#first + 1] = event
    end
  end
  return first
end

local function check_guilds(first, sent, report)
  local last, got = {}, {}
  for _, event in ipairs(first) do
    local guild, n = number_of(event)
    if guild then
      report.numbered = report.numbered + 1
      got[guild] = got[guild] or {}
      got[guild][n] = true
      if not event.late then
        if last[guild] and n < last[guild] then
          table.insert(report.out_of_order, ("message %s:%d after %d"):format(guild, n, last[guild]))
        end
        last[guild] = math.max(last[guild] or 0, n)
      end
      if sent and n > (sent[guild] or 0) then
        table.insert(report.unexpected, ("message %s:%d, sent were %d"):format(guild, n, sent[guild] or 0))
      end
    end
  end
  local names = {}
  for guild in pairs(sent or got) do
    names[#names + 1] = guild
  end
  table.sort(names)
  for _, guild in ipairs(names) do
    for n = 1, sent and sent[guild] or last[guild] do
      if not (got[guild] and got[guild][n]) then
        table.insert(report.lost, ("message %s:%d"):format(guild, n))
      end
    end
  end
end

local function session_of(event)
  return event.shard .. "." .. event.epoch
end

-- {"<shard>.<epoch>.<s>" -> true}
local function late_ones(first)
  local late = {}
  for _, event in ipairs(first) do
    if event.late and event.s then
      late[session_of(event) .. "." .. event.s] = true
    end
  end
  return late
end

local WHOLE_GUILDS = { GUILD_CREATE = true, GUILD_UPDATE = true, GUILD_DELETE = true }

local function guild_of(event)
  if WHOLE_GUILDS[event.t] then
    return event:data().id
  end
  return event.body:match '"guild_id":"(%d+)"' or "none"
end

-- Each guild's events in order, and nothing passes READY.
local function check_guilds_sequences(first, sent, report)
  local last, reached, barrier, got = {}, {}, {}, {}
  local function refuse_order(event, before)
    table.insert(report.out_of_order, ("shard %d epoch %d s %d of guild %s after %d"):format(
      event.shard, event.epoch, event.s, guild_of(event), before))
  end
  for _, event in ipairs(first) do
    if event.s and not event.late then
      local session = session_of(event)
      local line = session .. "." .. guild_of(event)
      local is_barrier = event.t == "READY"
      local before = is_barrier and reached[session] or math.max(last[line] or 0, barrier[session] or 0)
      if before and event.s < before then
        refuse_order(event, before)
      end
      last[line] = event.s
      reached[session] = math.max(reached[session] or 0, event.s)
      barrier[session] = is_barrier and event.s or barrier[session]
      got[session] = got[session] or {}
      got[session][event.s] = true
    end
  end
  for session, highest in pairs(sent.contiguous and reached or {}) do
    for s = 1, highest do
      if not got[session][s] then
        table.insert(report.lost, ("session %s s %d"):format(session, s))
      end
    end
  end
end

local function check_sequences(first, sent, report)
  if sent.by_guild then
    check_guilds_sequences(first, sent, report)
    return
  end
  local last, late, contiguous = {}, late_ones(first), sent.contiguous
  for _, event in ipairs(first) do
    if event.s and not event.late and event.t ~= sent.any_order then
      local session = session_of(event)
      local before = last[session]
      if before and event.s < before then
        table.insert(report.out_of_order, ("shard %d epoch %d s %d after %d"):format(
          event.shard, event.epoch, event.s, before))
      elseif contiguous then
        for s = (before or 0) + 1, event.s - 1 do
          if not late[session .. "." .. s] then
            table.insert(report.lost, ("shard %d epoch %d s %d"):format(event.shard, event.epoch, s))
          end
        end
      end
      last[session] = math.max(before or 0, event.s)
    end
  end
end

local function check_epochs(first, report)
  local epochs = {}
  for _, event in ipairs(first) do
    local before = epochs[event.shard] or 0
    if event.late then
      report.late = report.late + 1
    elseif event.epoch < before then
      local text = ("shard %d epoch %d after %d"):format(event.shard, event.epoch, before)
      table.insert(report.out_of_order, text)
    else
      epochs[event.shard] = event.epoch
    end
  end
end

-- Of events that nothing tells apart too few are lost, and too many came twice.
local function check_repeats(first, repeats, report)
  local types, got = {}, {}
  for _, entry in ipairs(repeats) do
    types[entry.event] = true
  end
  for _, event in ipairs(first) do
    local name = types[event.t] and repeat_of(event)
    if name then
      got[name] = (got[name] or 0) + 1
    end
  end
  for _, entry in ipairs(repeats) do
    local name = ("%s of guild %s, user %s"):format(entry.event, entry.guild, entry.user)
    local count = got[name] or 0
    report.repeats = report.repeats + count
    for _ = count + 1, entry.count do
      table.insert(report.lost, ("%s (%d of %d came)"):format(name, count, entry.count))
    end
    for _ = entry.count + 1, count do
      local text = ("%s (%d came, sent were %d)"):format(name, count, entry.count)
      table.insert(report.doubled_with_other_key, text)
    end
  end
end

-- How long a guild waited at most from one of its messages to the next.
local function find_longest_pause(first, report)
  local last = {}
  for _, event in ipairs(first) do
    local guild = not event.late and number_of(event) or nil
    local before = guild and last[guild]
    local longest = report.longest_pause and report.longest_pause.ms or 0
    if before and event.at and event.at - before.at > longest then
      report.longest_pause = { ms = event.at - before.at, guild = guild, from = before.key, to = event.key }
    end
    if guild then
      last[guild] = event
    end
  end
end

local function describe(report)
  local lines = { ("%d numbered messages came"):format(report.numbered) }
  local pause = report.longest_pause
  if pause then
    lines[1] = ("%s; the longest pause of a guild was %d ms, of %s between %s and %s"):format(
      lines[1], pause.ms, pause.guild, tostring(pause.from), tostring(pause.to))
  end
  for _, kind in ipairs { "lost", "doubled_with_other_key", "doubled", "out_of_order", "unexpected" } do
    local list = report[kind]
    if #list > 0 then
      lines[#lines + 1] = ("%d %s: %s%s"):format(#list, (kind:gsub("_", " ")),
        table.concat(list, "; ", 1, math.min(#list, 10)), #list > 10 and "; ..." or "")
    end
  end
  return table.concat(lines, "\n")
end

-- sent.guilds: how many numbered messages went out, by guild id (without it, what came tells how many there
-- must be). sent.repeats: the fake's list of events that are equal, with their counts. sent.contiguous:
-- nothing is filtered, so that each s of a session must have come. sent.any_order: the name of events that
-- may come after later ones. sent.by_guild: event_handler.order is "guild".
-- The report has numbered, late and repeats
-- (how many came); lost, doubled (equal Idempotency-Key: a bot sorts these out itself),
-- doubled_with_other_key, out_of_order, unexpected: lists of descriptions; longest_pause, if the bot has
-- noted when events came: {ms, guild, from, to (the keys around it)}; and text.
function checker.compare(events, sent)
  sent = sent or {}
  local report = new_report()
  local first = first_arrivals(events, report)
  check_guilds(first, sent.guilds, report)
  check_sequences(first, sent, report)
  check_epochs(first, report)
  check_repeats(first, sent.repeats or {}, report)
  find_longest_pause(first, report)
  report.text = describe(report)
  return report
end

local function refuse(report, kinds)
  for _, kind in ipairs(kinds) do
    if #report[kind] > 0 then
      error(report.text, 3)
    end
  end
  return report
end

-- Each event once, in order.
function checker.assert_complete(events, sent)
  return refuse(checker.compare(events, sent),
    { "lost", "doubled", "doubled_with_other_key", "out_of_order", "unexpected" })
end

-- Each event at least once, in order, doubles only with an equal key: what may be expected after a crash.
-- sent.under_way: so many may have come again with another key.
function checker.assert_nothing_lost(events, sent)
  local report = checker.compare(events, sent)
  local kinds = { "lost", "out_of_order", "unexpected" }
  if #report.doubled_with_other_key > (sent and sent.under_way or 0) then
    table.insert(kinds, "doubled_with_other_key")
  end
  return refuse(report, kinds)
end

return checker
