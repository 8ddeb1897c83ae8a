-- The number of shards is changed, to a multiple of it, while all goes on. Old shard j has the guilds of the
-- new shards j, j + total, j + 2 * total ... : together they are a class, which has the number j, goes with the
-- lease of old shard j, and so lives on one host, where the new shards take over from the old one.
--
-- In c: `next_total`, `next_mark`: to how many, and which change it is; `ended`: the last one that is over, and
-- `done`: the last one that was not taken back; `before`: how many shards there were then; `asked`: how many
-- hosts are configured to have, if that is not how many there are. Class by class is noted how far it is: once
-- it has switched it delivers by its new shards alone, so that a change can be taken back until the first has.

local SWITCHED, CLOSED = 2, 4 -- 1: its new shards are up; 3: it needs its old shard no more
local SPARE = 20 -- one identify more for so many new shards: sessions that are lost on the way

local function class_step(class)
  return tonumber(redis.call('HGET', CLASSES, class) or 0)
end

-- How many classes are at least as far, by step.
local function count_classes()
  local counts = { 0, 0, 0, 0 }
  for _, step in pairs(read_hash(CLASSES)) do
    for i = 1, tonumber(step) do counts[i] = counts[i] + 1 end
  end
  return counts
end

local function forget_change()
  redis.call('DEL', CLASSES, FILES)
  drop('next_total')
  drop('next_mark')
  drop('next_is_good')
  next_total = 0
end

-- It is taken back: nothing of the new shards counts.
local function drop_change()
  for key, it in pairs(read_owed()) do
    if it.of == next_total then redis.call('HDEL', OWED, key) end
  end
  for key in pairs(read_hash(ASKS)) do
    if string.sub(key, 1, 1) == 'n' then redis.call('HDEL', ASKS, key) end
  end
  redis.call('DEL', sessions_key(next_total), progress_key(next_total))
  note('ended', c.next_mark)
  forget_change()
end

-- The new shards are the shards. Each lease becomes that of all new shards of its class.
local function finish_change()
  local leases, to_begin = read_hash(LEASES), read_hash(GIVEN)
  for _, it in pairs(read_owed()) do
    if it.of == total then settle_owed(total, it.shard, END) end
  end
  redis.call('DEL', LEASES, GIVEN, MOVES, ASKS, sessions_key(total), progress_key(total))
  for shard = 0, next_total - 1 do
    local class = tostring(shard % total)
    local lease = to_lease(leases[class])
    if lease then
      lease.epoch = read_progress(next_total, shard).epoch
      write_lease(shard, lease)
    end
    if to_begin[class] then redis.call('HSET', GIVEN, shard, to_begin[class]) end
  end
  inherit_presences(next_total)
  note('asked', c.asked or total)
  note('before', total)
  note('done', c.next_mark)
  note('ended', c.next_mark)
  note('total', next_total)
  total = next_total
  forget_change()
end

-- A host has heard of the end of a change, and this Redis, which has lost something, has not.
local function recall_end()
  if (given.done or 0) > (tonumber(c.done) or 0) then
    if next_total > 0 and given.done == tonumber(c.next_mark) then
      finish_change()
    else
      if next_total > 0 then drop_change() end
      redis.call('DEL', LEASES, GIVEN, MOVES, ASKS)
      total = given.known
      note('total', total)
      note('before', given.before)
      if given.total > 0 and given.total ~= total then note('asked', given.total) end
      note('done', given.done)
    end
  end
  if (given.ended or 0) > (tonumber(c.ended) or 0) then
    if next_total > 0 and tonumber(c.next_mark) <= given.ended then drop_change() end
    note('ended', given.ended)
  end
end

-- Likewise of one that is going on.
local function recall_change()
  if quiet > 0 and next_total == 0 and given.change and given.change > (tonumber(c.ended) or 0) and
     given.known == total then
    next_total = given.to
    note('next_total', next_total)
    note('next_mark', given.change)
  end
end

-- What every host has to know before it reads the rest of an answer.
local function answer_of_now()
  local answer = { total = total, done = tonumber(c.done), before = tonumber(c.before),
                   ended = tonumber(c.ended) }
  if next_total > 0 then
    answer.to, answer.change, answer.classes = next_total, tonumber(c.next_mark), count_classes()
  end
  return answer
end

-- The host has not heard yet that the change has come to its end.
local function is_behind()
  return (given.done or 0) < (tonumber(c.done) or 0)
end

-- Who has something of shards that are no more, but for this one's left; nil: nobody.
local function holder_of_old()
  for _, it in pairs(read_owed()) do
    if it.of ~= total then return it.host end
  end
  for _, hole in ipairs(read_holes()) do
    if hole.total ~= total then return hole.host end
  end
end

-- Whether each shard runs somewhere, and stays there.
local function is_at_rest()
  for _, text in pairs(read_hash(MOVES)) do
    if tonumber(string.match(text, '^%d+')) > now then return false end
  end
  local leases = read_hash(LEASES)
  for shard = 0, total - 1 do
    local lease = to_lease(leases[tostring(shard)])
    if not lease or lease.till <= now or lease.epoch == 0 then return false end
  end
  return true
end

-- reshard {to, reserve}: from now on the number of shards is changed. Said by the host that leads.
function calls.reshard()
  if quiet > 0 then return { refused = 'quiet' } end
  if c.leader ~= given.host then return { refused = 'leader', theirs = c.leader } end
  if next_total > 0 then return { refused = 'running', to = next_total } end
  if total == 0 or given.to <= total or given.to % total ~= 0 then
    return { refused = 'total', total = total }
  end
  local holder = holder_of_old()
  if holder then return { refused = 'left', theirs = holder } end
  if not is_at_rest() then return { refused = 'moving' } end
  local remaining = tonumber(c.remaining) or 0
  if remaining - given.to - math.ceil(given.to / SPARE) < given.reserve then
    return { refused = 'budget', remaining = remaining }
  end
  next_total = given.to
  redis.call('DEL', CLASSES, FILES, sessions_key(next_total), progress_key(next_total))
  note('next_total', next_total)
  note('next_mark', next_mark())
  return { from = total, to = next_total }
end

-- abort {}: it is taken back. While it is quiet a class may have switched of which nobody has said so yet.
function calls.abort()
  if quiet > 0 then return { refused = 'quiet' } end
  if next_total == 0 then return { refused = 'none' } end
  local switched = count_classes()[SWITCHED]
  if switched > 0 then return { refused = 'late', switched = switched } end
  drop_change()
  return {}
end

-- class {shard, of, fence, change, step, file}: how far a class is, of which the host has the lease; and with it
-- what another host would have to know to go on with it. It has not switched before this says so.
function calls.class()
  if quiet > 0 then return { refused = 'quiet' } end
  if given.change ~= tonumber(c.next_mark) then return { refused = 'over' } end
  if not is_mine(lease_of_given()) then return { refused = 'lease' } end
  local step = class_step(given.shard)
  if given.step >= SWITCHED and step < SWITCHED then
    for shard = given.shard, next_total - 1, total do
      if read_progress(next_total, shard).epoch == 0 then return { refused = 'sessions' } end
    end
    settle_owed(total, given.shard, END) -- nobody resumes the old one any more
  end
  if given.file and given.step >= step then redis.call('HSET', FILES, given.shard, given.file) end
  if given.step > step then
    step = given.step
    redis.call('HSET', CLASSES, given.shard, step)
    if count_classes()[CLOSED] == total then finish_change() end
  end
  return { step = step }
end
