-- Whose turn it is to identify.

local SLOT = 15000 -- ms that a slow READY may hold its bucket
local SPACING = 5300 -- ms from op 2 to the next one of the bucket
local SLOW = 200 -- ms until a shard asks again while another one's READY does not come
local UNSENT = 450 -- ms until a shard asks again while it is not known whether another one uses its grant
local TURN = 60 -- ms until a shard asks again whose turn it is not
local PATIENCE = 1500 -- ms that one who asks may be late before others go first

-- A bucket: {free_at, mark: of its last grant, sent_at}.
local function read_bucket(number)
  local text = redis.call('HGET', BUCKETS, number) or '0 0 0'
  local free_at, mark, sent_at = string.match(text, '^(%d+) (%d+) (%d+)$')
  return { free_at = tonumber(free_at), mark = tonumber(mark), sent_at = tonumber(sent_at) }
end

local function write_bucket(number, bucket)
  redis.call('HSET', BUCKETS, number,
             string.format('%.0f %.0f %.0f', bucket.free_at, bucket.mark, bucket.sent_at))
end

-- How long a bucket rests at least: one whose READY has not come may be free as soon as it comes, and one
-- whose grant is not used, at once.
local function rest(bucket)
  if bucket.sent_at > 0 and bucket.free_at == bucket.sent_at + SLOT then
    return math.max(SLOW, bucket.sent_at + SPACING - now)
  end
  local left = bucket.free_at - now
  return bucket.mark > 0 and bucket.sent_at == 0 and math.min(UNSENT, left) or left
end

local function bucket_of(shard)
  return shard % tonumber(c.max_concurrency)
end

-- Of a new shard, before there are no more old ones: "n" and its number.
local function ask_key()
  return (given.of == next_total and 'n' or '') .. given.shard
end

local function ask_again(wait)
  redis.call('HSET', ASKS, ask_key(), string.format('%.0f %d', now + wait + PATIENCE, given.priority))
  return { wait = wait }
end

-- Of those who ask for the bucket: by priority, then by number, as Discord wants it.
local function is_first(number)
  for key, text in pairs(read_hash(ASKS)) do
    local till, priority = string.match(text, '^(%d+) (%d+)$')
    local other = tonumber(string.match(key, '%d+'))
    priority = tonumber(priority)
    if tonumber(till) <= now then
      redis.call('HDEL', ASKS, key)
    elseif key ~= ask_key() and bucket_of(other) == number and
           (priority < given.priority or (priority == given.priority and other < given.shard)) then
      return false
    end
  end
  return true
end

-- slot {shard, of, fence, priority, reserve}: op 2 may leave now, and makes a session of the epoch that is
-- answered; or so many ms to wait. With fence 0: for who is no host, and only if no host has that shard.
function calls.slot()
  local lease = lease_of_given()
  if given.fence > 0 and not is_mine(lease) then return { refused = 'lease' } end
  if given.fence == 0 and lease and lease.till > now then return { refused = 'held' } end
  if quiet > 0 or hold > 0 then return ask_again(math.min(math.max(quiet, hold), 1000)) end
  if given.of == next_total and given.shard > 0 and not c.next_is_good then return { wait = SLOW } end
  local remaining = tonumber(c.remaining)
  if not remaining then return ask_again(500) end
  if remaining <= given.reserve then
    return { held_back = math.max(0, (tonumber(c.reset_at) or 0) - now), remaining = remaining }
  end
  local number = bucket_of(given.shard)
  local bucket = read_bucket(number)
  if bucket.free_at > now then return ask_again(rest(bucket)) end
  if not is_first(number) then return ask_again(TURN) end
  redis.call('HDEL', ASKS, ask_key())
  note('remaining', remaining - 1)
  local epoch = next_mark()
  write_bucket(number, { free_at = now + WINDOW, mark = epoch, sent_at = 0 })
  settle_owed(given.of, given.shard, END) -- who asks has lost the session
  return { epoch = epoch }
end

-- sent, done, unused {shard, epoch}: what became of that grant. What comes later than the next grant says
-- nothing.
local function granted_bucket()
  if not c.max_concurrency then return nil end -- Redis knows of no grant
  local number = bucket_of(given.shard)
  local bucket = read_bucket(number)
  if bucket.mark == given.epoch then return number, bucket end
end

function calls.sent()
  local number, bucket = granted_bucket()
  if not bucket then return {} end
  bucket.free_at, bucket.sent_at = now + SLOT, now
  write_bucket(number, bucket)
  return {}
end

function calls.done()
  local number, bucket = granted_bucket()
  if not bucket then return {} end
  bucket.free_at = bucket.sent_at > 0 and math.max(now, bucket.sent_at + SPACING) or bucket.free_at
  write_bucket(number, bucket)
  return {}
end

function calls.unused()
  local number, bucket = granted_bucket()
  if not bucket or bucket.sent_at > 0 then return {} end
  write_bucket(number, { free_at = 0, mark = 0, sent_at = 0 })
  if c.remaining then note('remaining', c.remaining + 1) end
  return {}
end

-- budget {limit, remaining, reset_after, max_concurrency, shards}: what /gateway/bot has said. Within a day
-- the lower number holds: grants of this moment are not counted there yet.
function calls.budget()
  local known = tonumber(c.remaining)
  local same_day = known and c.reset_at and tonumber(c.reset_at) > now
  note('limit', given.limit)
  note('remaining', same_day and math.min(known, given.remaining) or given.remaining)
  note('reset_at', now + given.reset_after)
  note('max_concurrency', given.max_concurrency)
  if total == 0 and given.shards > 0 then note('total', given.shards) end
  return {}
end
