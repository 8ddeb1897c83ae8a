-- Planned moves: the giver offers, the receiver says when it is ready, the giver releases. While the number
-- of shards is being changed each stays where it is.

local MOVE = 10000 -- ms that a move takes at most

-- offer {shard, fence, to, aim}: the receiver gets it unless it has as many shards as it should, with those
-- on their way.
function calls.offer()
  if quiet > 0 then return { refused = 'quiet' } end
  if next_total > 0 then return { refused = 'change' } end
  if not is_mine(lease_of_given()) then return { refused = 'lease' } end
  local hosts = read_hosts()
  local me, to = hosts[given.host], hosts[given.to]
  if not to or not to.alive or to.draining or not me or to.digest ~= me.digest then
    return { refused = 'host' }
  end
  local count, leases = 0, read_hash(LEASES)
  for _, text in pairs(leases) do
    local lease = to_lease(text)
    if lease.host == given.to and lease.till > now then count = count + 1 end
  end
  for shard, text in pairs(read_hash(MOVES)) do
    local till, host = string.match(text, '^(%d+) (.*)$')
    local lease = to_lease(leases[shard])
    if tonumber(till) <= now then
      redis.call('HDEL', MOVES, shard)
    elseif host == given.to and lease and lease.host ~= host then
      count = count + 1
    end
  end
  if count >= given.aim then return { refused = 'enough' } end
  redis.call('HSET', MOVES, given.shard, string.format('%.0f %s', now + MOVE, given.to))
  post(given.to, 'offer', { shard = given.shard, from = given.host })
  return {}
end

-- ready {shard, to}: the receiver waits for that shard; `to` is who gives it.
function calls.ready()
  post(given.to, 'ready', { shard = given.shard, from = given.host })
  return {}
end

-- release {shard, fence, to, epoch, durable, delivered_epoch, delivered, guilds}: the shard has stopped
-- here.
function calls.release()
  local lease = lease_of_given()
  if not is_mine(lease) then return { refused = 'lease' } end
  redis.call('HDEL', MOVES, given.shard)
  local to = read_hosts()[given.to]
  if next_total > 0 then return { refused = 'change' } end
  if quiet > 0 or not to or not to.alive then return { refused = 'host' } end
  if given.epoch == lease.epoch then redis.call('HSET', progress_key(total), given.shard, progress_text(given)) end
  hand_over(given.shard, given.host, given.to)
  post(given.to, 'given', { shard = given.shard, from = given.host })
  return {}
end
