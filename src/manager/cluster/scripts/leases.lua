-- Who holds which shard.

-- Another host takes the shard: where it begins, and what that leaves to the one that had it. Discord keeps
-- the last max(100, 75 x guilds) events of a session, and refuses to resume from before them; so from far
-- back only what is not on the disk of who had it is asked for again.
local function hand_over(shard, giver, to)
  local it = read_progress(shard)
  if giver ~= '' and giver ~= to and it.epoch == 0 then note_owed(shard, giver, 0, 0) end
  if it.epoch > 0 then
    local is_near = it.delivered_epoch == it.epoch and
                    it.durable - it.delivered <= math.min(100, it.guilds * 75 / 2)
    local from = is_near and it.delivered or it.durable
    if giver ~= '' and giver ~= to then
      if not is_near then leave_hole(giver, shard, it.delivered_epoch, it.delivered, it.epoch, it.durable) end
      note_owed(shard, giver, it.epoch, from)
    end
    it.durable, it.delivered, it.delivered_epoch = from, from, it.epoch
    redis.call('HSET', progress_key(), shard, progress_text(it))
  end
  local lease = { fence = next_mark(), till = now + TTL, epoch = read_session(shard).epoch, host = to }
  write_lease(shard, lease)
  redis.call('HSET', GIVEN, shard, lease.fence)
end

-- What a host needs to know of a shard that has become its own.
local function describe(shard, lease)
  local it, session = read_progress(shard), read_session(shard)
  return { shard = shard, fence = lease.fence, epoch = session.epoch, session = session.session,
           url = session.url, digest = session.digest, from = it.epoch == session.epoch and it.durable or 0 }
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
  local other_total = given.total > 0 and total > 0 and total ~= given.total
  if till > 0 then
    if other_bot then return { refused = 'bot', theirs = c.bot, till = till } end
    if other_total then return { refused = 'total', theirs = tostring(total), till = till } end
  elseif other_bot or other_total then
    redis.call('DEL', LEASES, GIVEN, MOVES, ASKS, OWED)
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

-- One lease of a host's beat: whether it lives on. A host is sure of a lease while its own clock says that
-- it lives. While it is quiet the highest fence gets it: who was stopped for long, and would renew first
-- what is no more, has a lower one than who holds it. Afterwards nobody takes from another what that one
-- counts as its own.
local function renews(item, lease)
  if not lease then return item.sure or quiet > 0 end
  if lease.fence == item.fence and lease.host == given.host then return true end
  return quiet > 0 and lease.fence < item.fence
end

-- What a host has of a session that nobody else knew of, or of which Redis does not know any more to whom it
-- went, is a hole.
local function note_unknown(it)
  local known = read_owed()[owed_key(it.shard, given.host)]
  if it.epoch > (known and known.epoch or 0) then
    leave_hole(given.host, it.shard, it.delivered_epoch, it.delivered, it.epoch, END)
    write_owed(it.shard, given.host, it.epoch, 0, true)
  end
end

local function renew(answer)
  if #given.held == 0 then return end
  local shards, leases, progress, begun = {}, {}, {}, {}
  for i, item in ipairs(given.held) do shards[i] = item.shard end
  local texts = redis.call('HMGET', LEASES, unpack(shards))
  for i, item in ipairs(given.held) do
    local lease = to_lease(texts[i])
    if renews(item, lease) then
      local put = lease and lease.fence == item.fence and lease.epoch or 0
      leases[#leases + 1] = item.shard
      lease = { fence = item.fence, till = now + TTL, epoch = put, host = given.host }
      leases[#leases + 1] = lease_text(lease)
      if put == item.epoch then
        progress[#progress + 1] = item.shard
        progress[#progress + 1] = progress_text(item)
      else
        answer.wanted[#answer.wanted + 1] = item.shard
      end
      if quiet > 0 and not item.sure then answer.unsure[#answer.unsure + 1] = item.shard end
      begun[#begun + 1] = item.shard
    else
      note_unknown(item)
      answer.lost[#answer.lost + 1] = item.shard
    end
  end
  if #leases > 0 then
    redis.call('HSET', LEASES, unpack(leases))
    redis.call('HDEL', GIVEN, unpack(begun))
  end
  if #progress > 0 then redis.call('HSET', progress_key(), unpack(progress)) end
end

-- Shards that the host has left and of which nobody will ever ask it for anything.
local function read_void()
  local void, kept = {}, {}
  if quiet > 0 or #given.left == 0 then return void end
  for _, it in ipairs(given.left) do
    local lease = read_lease(it.shard)
    it.is_others = lease and (lease.fence > it.fence or lease.host ~= given.host)
    if it.is_others then note_unknown(it) end
  end
  for _, hole in ipairs(read_holes(given.host)) do kept[hole.shard] = true end
  local owed = read_owed()
  for _, it in ipairs(given.left) do
    local key = owed_key(it.shard, given.host)
    if it.is_others and not kept[it.shard] and (not owed[key] or owed[key].settled) then
      redis.call('HDEL', OWED, key)
      void[#void + 1] = it.shard
    end
  end
  return void
end

local function lead()
  local ended = (tonumber(c.leader_till) or 0) <= now
  if (ended and not given.draining) or c.leader == given.host then
    note('leader', given.host)
    note('leader_till', given.draining and 0 or now + TTL)
  end
end

-- Hosts that live and how many shards each holds; how many shards nobody does, and when the next may become
-- free.
local function survey(answer, hosts)
  local list, free, soonest = {}, 0, TTL
  for name, host in pairs(hosts) do
    if host.alive then
      host.entry = { name = name, shards = 0, digest = host.digest, draining = host.draining,
                     age = now - (host.till - TTL) }
      list[#list + 1] = host.entry
    end
  end
  local leases = read_hash(LEASES)
  for shard = 0, total - 1 do
    local lease = to_lease(leases[tostring(shard)])
    local host = lease and hosts[lease.host]
    if not lease or lease.till <= now then
      free = free + 1
    elseif lease.host ~= given.host then
      soonest = math.min(soonest, lease.till - now)
    end
    if lease and lease.till > now and host and host.alive then host.entry.shards = host.entry.shards + 1 end
  end
  answer.hosts, answer.free, answer.soonest = list, free, soonest
end

-- beat {home, life, bot, total: as configured, known: as it runs, digest, draining, held: [{shard, fence,
-- sure, epoch, durable, delivered_epoch, delivered, guilds}], left: [{shard, fence, epoch, delivered_epoch,
-- delivered}], last}: all leases of a host live on, in one or several calls; the last one is told what there
-- is. `home` is the state directory, `life` counts the processes that ran on it: a later one may take an
-- earlier one's place at once, but nobody else may have the name as long as the host is alive.
function calls.beat()
  local hosts = read_hosts()
  local mine = hosts[given.host]
  if mine and (mine.home == given.home and mine.life > given.life or mine.home ~= given.home and mine.alive)
  then
    return { refused = 'name', theirs = mine.home, till = mine.till }
  end
  if mine and mine.life == given.life and mine.link > given.link then return { refused = 'late' } end
  local problem = disagreement(hosts)
  if problem then return problem end
  hosts[given.host] = { home = given.home, life = given.life, link = given.link, till = now + TTL,
                        digest = given.digest, draining = given.draining }
  redis.call('HSET', HOSTS, given.host, cjson.encode(hosts[given.host]))
  hosts[given.host].alive = true
  local answer = { quiet = quiet, total = total, lost = {}, unsure = {}, wanted = {} }
  renew(answer)
  if not given.last then return answer end
  lead()
  if c.reset_at and tonumber(c.reset_at) <= now then drop('remaining') end
  answer.leader = c.leader
  answer.mark = tonumber(c.mark) or 0
  answer.max_concurrency = tonumber(c.max_concurrency) or 0
  -- An identify that an earlier Redis has granted has left by now, so that Discord has counted it.
  answer.budget_unknown = not c.remaining and quiet <= TTL - 2500
  answer.remaining, answer.limit = tonumber(c.remaining) or -1, tonumber(c.limit)
  answer.reset_after = c.reset_at and math.max(0, c.reset_at - now)
  answer.given = read_given()
  answer.void = read_void()
  answer.holes = read_holes(given.host)
  survey(answer, hosts)
  return answer
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
  return { given = list }
end

-- put {shard, fence, epoch, session, url, digest, durable, delivered_epoch, delivered, guilds}: the shard
-- runs that session: at READY and RESUMED, and whenever a beat wants it.
function calls.put()
  local lease = read_lease(given.shard)
  if not is_mine(lease) then return { refused = 'lease' } end
  local session = { epoch = given.epoch, session = given.session, url = given.url, digest = given.digest }
  redis.call('HSET', sessions_key(), given.shard, cjson.encode(session))
  redis.call('HSET', progress_key(), given.shard, progress_text(given))
  lease.epoch = given.epoch
  write_lease(given.shard, lease)
  if given.runs then settle_owed(given.shard, false) end
  return {}
end
