-- Commands to a shard that another host has, or to who leads. Each has an id, and is done once, whatever is
-- said again: by who may begin.

local BEGIN = 5000 -- ms in which whoever is asked begins, or does not
local KEPT = 60000 -- ms for which it is known that a command was begun

local CALLS = base .. 'calls' -- id -> "<time> <begun>": until when it may begin, or when it did

local function note_call(id, time, begun)
  redis.call('HSET', CALLS, id, string.format('%.0f %d', time, begun))
end

local function read_call(id)
  local text = redis.call('HGET', CALLS, id)
  if not text then return nil end
  local time, begun = string.match(text, '^(%d+) (%d)$')
  return { time = tonumber(time), begun = begun == '1' }
end

-- Those of whom nobody asks any more: each is looked at when there are many.
local function sweep_calls()
  if redis.call('HLEN', CALLS) < 256 then return end
  for id, text in pairs(read_hash(CALLS)) do
    if tonumber(string.match(text, '^%d+')) < now - KEPT then redis.call('HDEL', CALLS, id) end
  end
end

-- {host, till}: who has the shard, a new one with its class; -1: who leads. nil: nobody.
local function read_holder()
  if given.shard < 0 then return c.leader and { host = c.leader, till = tonumber(c.leader_till) } end
  return total > 0 and read_lease(given.shard % total)
end

-- command {host, shard, id, from, hops, call}: to the stream of who has that shard; `from` wants the answer.
-- Begun: it was, by whom it went to before. Here: the one who asks has the shard, and begins. `call` is a text
-- of theirs.
function calls.command()
  local known = read_call(given.id)
  if known and known.begun then return { begun = true } end
  local lease = read_holder()
  if not lease or lease.till <= now then return { refused = 'nobody' } end
  sweep_calls()
  if lease.host == given.host then
    note_call(given.id, now, 1)
    return { here = true }
  end
  note_call(given.id, now + BEGIN, 0)
  post(lease.host, 'command', { id = given.id, from = given.from, shard = given.shard, hops = given.hops,
                                call = given.call })
  return { to = lease.host }
end

-- begin {host, shard, id}: whether the host, who has read such a command, is to do it: nobody has, whoever
-- asks still waits, and the shard is the host's yet.
function calls.begin()
  local known = read_call(given.id)
  if not known or known.begun or known.time <= now then return { refused = 'late' } end
  local lease = read_holder()
  if not lease or lease.till <= now or lease.host ~= given.host then return { refused = 'moved' } end
  note_call(given.id, now, 1)
  return {}
end

-- withdraw {id}: nobody is to begin it any more, if nobody has.
function calls.withdraw()
  local known = read_call(given.id)
  if known and known.begun then return { begun = true } end
  note_call(given.id, now, 1)
  return {}
end

-- post {to, word, body}: small answers, also when memory is full.
function calls.post()
  redis.call('XADD', base .. 'cmd:' .. given.to, 'MAXLEN', '~', 1000, '*', 'word', given.word, 'body',
             given.body)
  return {}
end
