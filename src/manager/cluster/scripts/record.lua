#!lua flags=allow-oom
-- The beginning of the script: time, the cluster's record, hosts, leases. The files of this folder are one
-- script (begin to end: record, holes, presences, change, leases, beat, moves, turns, commands, status, call),
-- so that a call is one step that nobody sees half done. It may run when memory is full (allow-oom): events
-- may fill Redis, but leases must not end by that.
--
-- KEYS[1]: what all keys begin with; ARGV[1]: the call; ARGV[2]: what it is given, as JSON. Answers JSON. A
-- call that is not granted answers {"refused": word}. No key has a TTL, so that no policy of eviction finds
-- one.

local TTL = 6000 -- ms that a lease and a host live on without a beat
local WINDOW = 5500 -- ms between two grants of a bucket: a grant holds 400, and Discord wants 5,000
local STEP = 1500 -- ms that time goes on at most from one call to the next

local base = KEYS[1] .. ':'
local given = cjson.decode(ARGV[2])
local calls = {}

local RECORD, HOSTS, LEASES = base .. 'c', base .. 'hosts', base .. 'lease'
local GIVEN, MOVES, ASKS, BUCKETS = base .. 'given', base .. 'moves', base .. 'ask', base .. 'bucket'
local HOLES, OWED = base .. 'holes', base .. 'owed'
local CLASSES, FILES = base .. 'class', base .. 'file'

local function read_hash(key)
  local flat, hash = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do hash[flat[i]] = flat[i + 1] end
  return hash
end

local c = read_hash(RECORD)
local total = tonumber(c.total) or 0
-- While the number of shards is being changed: to how many (change.lua).
local next_total = tonumber(c.next_total) or 0
given.of = given.of or total -- of how many shards `shard` is one

local function note(field, value)
  c[field] = value
  redis.call('HSET', RECORD, field, value)
end

local function drop(field)
  c[field] = nil
  redis.call('HDEL', RECORD, field)
end

-- Time of the cluster: it neither jumps nor runs while nobody calls, so that a clock that is set and an
-- outage of Redis age no lease. After a jump it is not known how long the buckets have rested.
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local raw = seconds * 1000 + math.floor(time[2] / 1000)
local passed = raw - (tonumber(c.raw) or 0)
local now = (tonumber(c.now) or 0) + math.max(0, math.min(passed, STEP))
redis.call('HSET', RECORD, 'raw', raw, 'now', now)
if passed < 0 or passed > STEP then note('hold', now + WINDOW) end

-- Another process of Redis than the one that wrote this: started again with what it had, or less, or
-- nothing; or a replica that lacks the last writes. Nobody gets anything until all who hold something have
-- had time to say so.
if c.run ~= given.run then
  note('run', given.run)
  note('quiet', now + TTL)
  drop('remaining')
end
local quiet = math.max(0, (tonumber(c.quiet) or 0) - now)
local hold = math.max(0, (tonumber(c.hold) or 0) - now)

-- Fences and epochs come from one count that never goes back: hosts remember where it was when Redis does
-- not, and where nobody does it starts with the time.
if given.mark > (tonumber(c.mark) or 0) then note('mark', given.mark) end
local function next_mark()
  note('mark', math.max(tonumber(c.mark) or 0, seconds) + 1)
  return c.mark
end

local function read_hosts()
  local hosts = read_hash(HOSTS)
  for name, text in pairs(hosts) do
    local host = cjson.decode(text)
    host.alive = host.till > now
    hosts[name] = host
  end
  return hosts
end

-- Whether who calls is the host that it says it is: one that beats. What an earlier process of it has said,
-- or this one over an earlier connection, may come late, and means nothing any more.
local function is_known(hosts)
  local host = hosts[given.host]
  return host and host.alive and host.life == given.life and host.link == given.link
end

-- A lease: {fence, till, epoch: of the session that was put, host}.
local function to_lease(text)
  if not text then return nil end
  local fence, till, epoch, host = string.match(text, '^(%d+) (%d+) (%d+) (.*)$')
  return { fence = tonumber(fence), till = tonumber(till), epoch = tonumber(epoch), host = host }
end

local function lease_text(lease)
  return string.format('%.0f %.0f %.0f %s', lease.fence, lease.till, lease.epoch, lease.host)
end

local function read_lease(shard)
  return to_lease(redis.call('HGET', LEASES, shard))
end

local function write_lease(shard, lease)
  redis.call('HSET', LEASES, shard, lease_text(lease))
end

local function is_mine(lease)
  return lease and lease.host == given.host and lease.fence == given.fence and is_known(read_hosts())
end

-- What is said of a shard says of how many it is one: it may come late, when there are others.
local function is_of_now()
  return given.of == total or (next_total > 0 and given.of == next_total)
end

-- The lease by which a host has the shard: a new one goes with the old one that has its guilds.
local function lease_of_given()
  return is_of_now() and read_lease(given.shard % total) or nil
end

-- What is known of the session of a shard, one of `of`: {epoch, session, url, digest}; and how far its events
-- are: {epoch, durable, delivered_epoch, delivered, guilds}.
local function sessions_key(of) return base .. 's:' .. of end
local function progress_key(of) return base .. 'p:' .. of end

local function read_session(of, shard)
  local text = redis.call('HGET', sessions_key(of), shard)
  return text and cjson.decode(text) or { epoch = 0 }
end

local function progress_text(it)
  return string.format('%.0f %.0f %.0f %.0f %.0f', it.epoch, it.durable, it.delivered_epoch, it.delivered,
                       it.guilds)
end

local function read_progress(of, shard)
  local text = redis.call('HGET', progress_key(of), shard) or '0 0 0 0 0'
  local epoch, durable, delivered_epoch, delivered, guilds =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  return { epoch = tonumber(epoch), durable = tonumber(durable), delivered_epoch = tonumber(delivered_epoch),
           delivered = tonumber(delivered), guilds = tonumber(guilds) }
end

-- To the host's stream, which it reads all the time.
local function post(host, word, body)
  local key, text = base .. 'cmd:' .. host, cjson.encode(body)
  redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', 'word', word, 'body', text)
end
