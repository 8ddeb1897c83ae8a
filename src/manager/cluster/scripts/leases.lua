-- Who holds which shard.

-- Another host takes the shard: where it begins, and what that leaves to the one that had it. Discord keeps
-- the last max(100, 75 x guilds) events of a session, and refuses to resume from before them; so from far
-- back only what is not on the disk of who had it is asked for again.
local function hand_over_session(of, shard, giver, to)
  local it = read_progress(of, shard)
  if giver ~= '' and giver ~= to and it.epoch == 0 then note_owed(of, shard, giver, 0, 0) end
  if it.epoch > 0 then
    local is_near = it.delivered_epoch == it.epoch and
                    it.durable - it.delivered <= math.min(100, it.guilds * 75 / 2)
    local from = is_near and it.delivered or it.durable
    if giver ~= '' and giver ~= to then
      if not is_near then
        leave_hole(giver, of, shard, it.delivered_epoch, it.delivered, it.epoch, it.durable)
      end
      note_owed(of, shard, giver, it.epoch, from)
    end
    it.durable, it.delivered, it.delivered_epoch = from, from, it.epoch
    redis.call('HSET', progress_key(of), shard, progress_text(it))
  end
end

-- New shards of a class that has not switched begin anew: what they have brought was delivered by the old one,
-- or will be, so that nothing is owed.
local function begin_anew(shard, giver)
  redis.call('HDEL', sessions_key(next_total), shard)
  redis.call('HDEL', progress_key(next_total), shard)
  if giver ~= '' then write_owed(next_total, shard, giver, END, 0, true) end
end

local function hand_over(shard, giver, to)
  local has_switched = class_step(shard) >= SWITCHED
  if not has_switched then
    hand_over_session(total, shard, giver, to)
    redis.call('HDEL', CLASSES, shard)
  end
  for new = shard, next_total - 1, total do
    if has_switched then
      hand_over_session(next_total, new, giver, to)
    else
      begin_anew(new, giver)
    end
  end
  local lease = { fence = next_mark(), till = now + TTL, epoch = read_session(total, shard).epoch, host = to }
  write_lease(shard, lease)
  redis.call('HSET', GIVEN, shard, lease.fence)
end

local function describe_session(of, shard)
  local it, session = read_progress(of, shard), read_session(of, shard)
  return { shard = shard, epoch = session.epoch, session = session.session, url = session.url,
           digest = session.digest, from = it.epoch == session.epoch and it.durable or 0 }
end

-- What a host needs to know of a shard that has become its own.
local function describe(shard, lease)
  local it = describe_session(total, shard)
  it.fence = lease.fence
  if next_total > 0 then
    it.step, it.file, it.next = class_step(shard), redis.call('HGET', FILES, shard) or nil, {}
    for new = shard, next_total - 1, total do it.next[#it.next + 1] = describe_session(next_total, new) end
  end
  return it
end

-- Leases that were given to the host, by itself or another one, and which it does not yet beat for.
local function read_given()
  local list = {}
  if quiet > 0 then return list end -- they may be others' by what this Redis does not know yet
  for shard, fence in pairs(read_hash(GIVEN)) do
    local lease = read_lease(shard)
    if not lease or lease.fence ~= tonumber(fence) then
      redis.call('HDEL', GIVEN, shard)
    elseif lease.host == given.host then
      lease.till = now + TTL
      write_lease(shard, lease)
      list[#list + 1] = describe(tonumber(shard), lease)
    end
  end
  return list
end

-- Hosts agree on bot and total; while no other lives, one may begin anew with others. `till`: until when
-- others live, which goes on as long as they do.
local function disagreement(hosts)
  local till = 0
  for name, host in pairs(hosts) do
    if host.alive and name ~= given.host then till = math.max(till, host.till) end
  end
  local other_bot = c.bot and c.bot ~= given.bot
  local is_former = given.total == tonumber(c.before) or given.total == tonumber(c.asked)
  local other_total = given.total > 0 and total > 0 and total ~= given.total and not is_former
  if till > 0 then
    if other_bot then return { refused = 'bot', theirs = c.bot, till = till } end
    if other_total then return { refused = 'total', theirs = tostring(total), till = till } end
  elseif other_bot or other_total then
    if next_total > 0 then drop_change() end
    redis.call('DEL', LEASES, GIVEN, MOVES, ASKS, OWED)
    drop('asked')
    if other_bot then drop('remaining') end
    total = 0
  end
  if other_bot or not c.bot then note('bot', given.bot) end
  local theirs = given.total > 0 and given.total or given.known or 0
  if total == 0 and theirs > 0 then -- a Redis that lost all hears it from who runs shards
    total = theirs
    note('total', total)
  end
end

-- claim {max}: shards that nobody holds, up to so many. The next beat tells them again, should this answer
-- be lost.
function calls.claim()
  if quiet > 0 then return { refused = 'quiet' } end
  if not is_known(read_hosts()) then return { refused = 'unknown' } end
  local leases, list = read_hash(LEASES), {}
  for shard = 0, total - 1 do
    if #list >= given.max then break end
    local lease = to_lease(leases[tostring(shard)])
    if not lease or lease.till <= now then
      hand_over(shard, lease and lease.host or '', given.host)
      list[#list + 1] = describe(shard, read_lease(shard))
    end
  end
  local answer = answer_of_now()
  answer.given = list
  return answer
end

-- put {shard, of, fence, epoch, session, url, digest, durable, delivered_epoch, delivered, guilds}: the shard
-- runs that session: at READY and RESUMED, and whenever a beat wants it.
function calls.put()
  local lease = lease_of_given()
  if not is_mine(lease) then return { refused = 'lease' } end
  local session = { epoch = given.epoch, session = given.session, url = given.url, digest = given.digest }
  redis.call('HSET', sessions_key(given.of), given.shard, cjson.encode(session))
  redis.call('HSET', progress_key(given.of), given.shard, progress_text(given))
  if given.of == total then
    lease.epoch = given.epoch
    write_lease(given.shard, lease)
  elseif given.shard == 0 then
    note('next_is_good', 1) -- Discord takes shards of that number
  end
  if given.runs then settle_owed(given.of, given.shard, given.epoch) end
  return {}
end
