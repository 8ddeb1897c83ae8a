-- What only one host's disk has.
--
-- A hole is a range of events, told by (epoch, sequence), that a host has logged, but neither delivered nor
-- will anybody get again from Discord. It delivers them when it can. Owed is what a host may still be asked
-- for when another has taken its shard: until that one has resumed the session, for only then does Discord
-- send it again; if the session is lost instead it becomes a hole. What is settled stays noted until the
-- host has heard of it.

local END = 99999999999999 -- of an epoch: whatever there is (JSON has 14 digits here)
local HOLE_AGE = 7 * 24 * 3600 * 1000

local function leave_hole(host, of, shard, from_epoch, from, to_epoch, to)
  if to_epoch == 0 or (from_epoch == to_epoch and from >= to) then return end
  local hole = { host = host, total = of, shard = shard, from_epoch = from_epoch, from = from,
                 to_epoch = to_epoch, to = to, at = now }
  local key = string.format('%s/%d/%d/%.0f/%.0f', host, of, shard, from_epoch, from)
  redis.call('HSET', HOLES, key, cjson.encode(hole))
end

local function owed_key(of, shard, host)
  return string.format('%d %d %s', of, shard, host)
end

-- told: the host was told that it is settled.
local function write_owed(of, shard, host, epoch, from, settled, told)
  local text = string.format('%.0f %.0f %d', epoch, from, told and 2 or settled and 1 or 0)
  redis.call('HSET', OWED, owed_key(of, shard, host), text)
end

-- {"<of> <shard> <host>" -> {of, shard, host, epoch and from: where the successor was to go on, settled, told}}
local function read_owed()
  local owed = read_hash(OWED)
  for key, text in pairs(owed) do
    local of, shard, host = string.match(key, '^(%d+) (%d+) (.*)$')
    local epoch, from, settled = string.match(text, '^(%d+) (%d+) (%d)$')
    owed[key] = { of = tonumber(of), shard = tonumber(shard), host = host, epoch = tonumber(epoch),
                  from = tonumber(from), settled = settled ~= '0', told = settled == '2' }
  end
  return owed
end

local function note_owed(of, shard, host, epoch, from)
  local it = read_owed()[owed_key(of, shard, host)]
  if not it or it.settled then write_owed(of, shard, host, epoch, from, false) end
end

-- The successor runs the session of that epoch; END: none of before. If it is the one of which something is
-- owed Discord has sent that again; else that one is lost.
local function settle_owed(of, shard, epoch)
  for _, it in pairs(read_owed()) do
    if it.of == of and it.shard == shard and not it.settled then
      if it.epoch < epoch then leave_hole(it.host, of, shard, it.epoch, it.from, it.epoch, END) end
      write_owed(of, shard, it.host, it.epoch, it.from, true)
    end
  end
end

local function read_holes(host)
  local holes = {}
  for key, text in pairs(read_hash(HOLES)) do
    local hole = cjson.decode(text)
    hole.key = key
    if now - hole.at > HOLE_AGE then
      redis.call('HDEL', HOLES, key)
    elseif not host or hole.host == host then
      holes[#holes + 1] = hole
    end
  end
  return holes
end

-- filled {key}: the host has delivered that hole.
function calls.filled()
  return { removed = redis.call('HDEL', HOLES, given.key) }
end

-- forget {name}: that host will not come back; what only it had is given up.
function calls.forget()
  local host = read_hosts()[given.name]
  if host and host.alive then return { refused = 'alive' } end
  local count = 0
  for _, hole in ipairs(read_holes(given.name)) do
    count = count + redis.call('HDEL', HOLES, hole.key)
  end
  for key, it in pairs(read_owed()) do
    if it.host == given.name then redis.call('HDEL', OWED, key) end
  end
  return { known = redis.call('HDEL', HOSTS, given.name) == 1, holes = count }
end
