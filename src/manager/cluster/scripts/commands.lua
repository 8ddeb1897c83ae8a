-- Commands to a shard that another host has.

local BEGIN = 5000 -- ms in which whoever has the shard begins, or does not do it at all

-- command {host, shard, id, from, hops, call}: to the stream of who has that shard; `from` wants the answer.
-- Here: it is the one who asks. `call` is a text of theirs.
function calls.command()
  local lease = read_lease(given.shard)
  if not lease or lease.till <= now then return { refused = 'nobody' } end
  if lease.host == given.host then return { here = true } end
  post(lease.host, 'command', { id = given.id, from = given.from, shard = given.shard, hops = given.hops,
                                deadline = now + BEGIN, call = given.call })
  return { to = lease.host }
end

-- begin {host, shard, deadline}: whether the host, who has read such a command, is to do it: it has the shard
-- yet, and whoever asks still waits.
function calls.begin()
  if now >= given.deadline then return { refused = 'late' } end
  local lease = read_lease(given.shard)
  if not lease or lease.till <= now or lease.host ~= given.host then return { refused = 'moved' } end
  return {}
end

-- post {to, word, body}: small answers, also when memory is full.
function calls.post()
  redis.call('XADD', base .. 'cmd:' .. given.to, 'MAXLEN', '~', 1000, '*', 'word', given.word, 'body',
             given.body)
  return {}
end
