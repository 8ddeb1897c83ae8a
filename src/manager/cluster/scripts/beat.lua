-- Once a second each host says that it lives, and hears what there is.

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
-- went, is a hole; also that of a new shard that has begun anew elsewhere, because Redis has lost that its
-- class had switched.
local function note_unknown(of, it)
  local known = read_owed()[owed_key(of, it.shard, given.host)]
  if known and known.epoch == END and it.published then known = nil end
  if it.epoch > (known and known.epoch or 0) then
    leave_hole(given.host, of, it.shard, it.delivered_epoch, it.delivered, it.epoch, END)
    write_owed(of, it.shard, given.host, it.epoch, 0, true)
  end
end

-- The new shards of a class that lives on.
local function renew_next(item, answer)
  for _, it in ipairs(item.next) do
    if read_progress(next_total, it.shard).epoch == it.epoch then
      redis.call('HSET', progress_key(next_total), it.shard, progress_text(it))
    else
      answer.wanted_next[#answer.wanted_next + 1] = it.shard
    end
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
      if item.next and next_total == given.to then renew_next(item, answer) end
    else
      note_unknown(total, item)
      answer.lost[#answer.lost + 1] = item.shard
    end
  end
  if #leases > 0 then
    redis.call('HSET', LEASES, unpack(leases))
    redis.call('HDEL', GIVEN, unpack(begun))
  end
  if #progress > 0 then redis.call('HSET', progress_key(total), unpack(progress)) end
end

-- Whether another host has the shard that this one has left; those that are no more are nobody's.
local function is_others(it)
  if it.of ~= total and it.of ~= next_total then return true end
  local lease = read_lease(it.shard % total)
  return lease and (lease.fence > it.fence or lease.host ~= given.host)
end

-- Shards that the host has left and of which nobody will ever ask it for anything.
local function read_void()
  local void, kept = {}, {}
  if quiet > 0 then return void end
  for _, it in ipairs(given.left) do
    it.of = it.of or total
    it.is_others = is_others(it)
    local is_known_total = it.of == total or it.of == next_total or it.of == tonumber(c.before)
    if it.is_others and is_known_total then note_unknown(it.of, it) end
  end
  for _, hole in ipairs(read_holes(given.host)) do kept[hole.total .. ' ' .. hole.shard] = true end
  local owed, listed = read_owed(), {}
  for _, it in ipairs(given.left) do
    local key = owed_key(it.of, it.shard, given.host)
    local known = owed[key]
    listed[key] = true
    if it.is_others and not kept[it.of .. ' ' .. it.shard] and (not known or known.settled) then
      if known then write_owed(it.of, it.shard, given.host, known.epoch, known.from, true, true) end
      void[#void + 1] = { of = it.of, shard = it.shard }
    end
  end
  for key, it in pairs(owed) do -- it has heard that, or it would tell of it again
    if it.host == given.host and it.told and not listed[key] then redis.call('HDEL', OWED, key) end
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

-- beat {home, life, bot, total: as configured, known: as it runs, done, before, ended, change, to, digest,
-- draining, held: [{shard, fence, sure, epoch, durable, delivered_epoch, delivered, guilds, next: [{shard,
-- epoch, durable, ...}]}], left: [{of, shard, fence, epoch, delivered_epoch, delivered,
-- published}], last}: all leases of
-- a host live on, in one or several calls; the last one is told what there is. `home` is the state directory,
-- `life` counts the processes that ran on it: a later one may take an earlier one's place at once, but nobody
-- else may have the name as long as the host is alive.
function calls.beat()
  local hosts = read_hosts()
  local mine = hosts[given.host]
  if mine and (mine.home == given.home and mine.life > given.life or mine.home ~= given.home and mine.alive)
  then
    return { refused = 'name', theirs = mine.home, till = mine.till }
  end
  if mine and mine.life == given.life and mine.link > given.link then return { refused = 'late' } end
  recall_end()
  local problem = disagreement(hosts)
  if problem then return problem end
  recall_change()
  hosts[given.host] = { home = given.home, life = given.life, link = given.link, till = now + TTL,
                        digest = given.digest, draining = given.draining }
  redis.call('HSET', HOSTS, given.host, cjson.encode(hosts[given.host]))
  hosts[given.host].alive = true
  local answer = answer_of_now()
  answer.quiet, answer.lost, answer.unsure, answer.wanted, answer.wanted_next = quiet, {}, {}, {}, {}
  if not is_behind() then renew(answer) end -- else it beats for shards that are no more, and will anew
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
