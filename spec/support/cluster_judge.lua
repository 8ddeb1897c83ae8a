-- Verdicts on what Discord and the bot have seen of a cluster. Pure: lists of the fake's journal, and events.
--
--   judge.check_identifies(state.identifies, 5000)
--   judge.check_epochs(bot.events)
--   judge.check_sessions(state, 12, true)
--   judge.resumed(state.resumes, { 3, 7 }, since)      {shard -> ms since then}, or nil: not all yet
--   judge.moves(state, since), judge.taken(state.resumes, since)
--   judge.most_resumes(state.resumes, since), judge.repeated(bot.events, count), judge.figures(list)

local judge = {}

-- None was refused, and those of a bucket come at least `window` ms one after the other.
function judge.check_identifies(list, window)
  local last = {}
  for _, identify in ipairs(list) do
    local of = ("the identify of shard %d at %d ms"):format(identify.shard, identify.at)
    local before = last[identify.bucket]
    if identify.verdict ~= "ok" then
      error(("%s was refused: %s"):format(of, identify.verdict), 0)
    elseif before and identify.at - before < window then
      error(("%s comes %d ms after another one of bucket %d"):format(
        of, identify.at - before, identify.bucket), 0)
    end
    last[identify.bucket] = identify.at
  end
end

-- Each session has an epoch of its own, and those of a shard rise. A READY that comes again has its key.
function judge.check_epochs(events)
  local last, key_of = {}, {}
  for _, event in ipairs(events) do
    if event.t == "READY" and key_of[event.epoch] ~= event.key then
      local before = last[event.shard] or 0
      if key_of[event.epoch] then
        error(("%s and %s have the same epoch"):format(key_of[event.epoch], event.key), 0)
      elseif event.epoch <= before and not event.late then
        error(("epoch %d of shard %d comes after %d"):format(event.epoch, event.shard, before), 0)
      end
      key_of[event.epoch], last[event.shard] = event.key, math.max(before, event.epoch)
    end
  end
end

local function count_by_shard(list, which)
  local count = {}
  for _, item in ipairs(list) do
    if which(item) then
      count[item.shard] = (count[item.shard] or 0) + 1
    end
  end
  return count
end

local function is_ready(connection)
  return connection.state == "ready"
end

local function any()
  return true
end

-- Each shard has one connection with a session; and, with one_each, one session. state: connections,
-- sessions.
function judge.check_sessions(state, shards, one_each)
  local connections = count_by_shard(state.connections, is_ready)
  local sessions = count_by_shard(state.sessions, any)
  for shard = 0, shards - 1 do
    if connections[shard] ~= 1 then
      error(("shard %d has %d connections"):format(shard, connections[shard] or 0), 0)
    elseif one_each and sessions[shard] ~= 1 then
      error(("shard %d has %d sessions"):format(shard, sessions[shard] or 0), 0)
    end
  end
end

-- The shards that have no connection with a session, in order.
function judge.missing(connections, shards)
  local up, missing = count_by_shard(connections, is_ready), {}
  for shard = 0, shards - 1 do
    if not up[shard] then
      missing[#missing + 1] = shard
    end
  end
  return missing
end

-- When each of these shards was first taken up again by RESUME, from `since` on.
function judge.resumed(resumes, shards, since)
  local first, times = {}, {}
  for _, resume in ipairs(resumes) do
    if resume.result == "ok" and resume.at >= since and not first[resume.shard] then
      first[resume.shard] = resume.at - since
    end
  end
  for _, shard in ipairs(shards) do
    if not first[shard] then
      return nil
    end
    times[shard] = first[shard]
  end
  return times
end

-- Planned moves since then: how many ms from a giver's last word (a close that keeps the session) to the
-- RESUME of that shard by whoever. state: closes, resumes.
function judge.moves(state, since)
  local list, after = {}, 1
  for _, close in ipairs(state.closes) do
    if close.by == "client" and close.code == 4000 and close.at >= since then
      while state.resumes[after] and state.resumes[after].at < close.at do
        after = after + 1
      end
      for i = after, #state.resumes do
        local resume = state.resumes[i]
        if resume.shard == close.shard and resume.result == "ok" then
          list[#list + 1] = resume.at - close.at
          break
        end
      end
    end
  end
  return list
end

-- How many RESUMEs since then took a session from a connection that was still there.
function judge.taken(resumes, since)
  local count = 0
  for _, resume in ipairs(resumes) do
    if resume.at >= since and type(resume.taken_from) == "number" then
      count = count + 1
    end
  end
  return count
end

-- How many of the events behind the first `count` had come before.
function judge.repeated(events, count)
  local seen, repeated = {}, 0
  for i, event in ipairs(events) do
    repeated = repeated + (i > count and seen[event.key] and 1 or 0)
    seen[event.key] = true
  end
  return repeated
end

-- How many RESUMEs since then the shard has had that had most.
function judge.most_resumes(resumes, since)
  local most = 0
  for _, count in pairs(count_by_shard(resumes, function(resume) return resume.at >= since end)) do
    most = math.max(most, count)
  end
  return most
end

-- {count, median, p99, max} of a list, or of the values of a table.
function judge.figures(values)
  local list = {}
  for _, value in pairs(values) do
    list[#list + 1] = value
  end
  table.sort(list)
  local function at(part)
    return list[math.max(1, math.ceil(part * #list))] or 0
  end
  return { count = #list, median = at(0.5), p99 = at(0.99), max = at(1) }
end

return judge
