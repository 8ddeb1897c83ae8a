-- Presences that people have set, of the whole bot ("all") and of single shards. Each host has all of them,
-- so that a shard which moves keeps its own.

local PRESENCES = base .. 'presences' -- 'mark': of the last change

local function keep_presences(mark, texts)
  redis.call('DEL', PRESENCES)
  redis.call('HSET', PRESENCES, 'mark', string.format('%.0f', mark))
  for of, text in pairs(texts) do redis.call('HSET', PRESENCES, of, text) end
end

local function set_presence(of, text, mark)
  if text then
    redis.call('HSET', PRESENCES, of, text)
  else
    redis.call('HDEL', PRESENCES, of)
  end
  redis.call('HSET', PRESENCES, 'mark', string.format('%.0f', mark))
  for name, host in pairs(read_hosts()) do
    if host.alive then post(name, 'present', { mark = mark, of = of, text = text }) end
  end
end

-- There are `count` shards from now on: each has the presence of the one that had its guilds.
local function inherit_presences(count)
  for of, text in pairs(read_hash(PRESENCES)) do
    local shard = tonumber(of) -- else of all, or the mark
    for new = shard and shard + total or count, count - 1, total do
      set_presence(tostring(new), text, next_mark())
    end
  end
end

-- present {of, text, known}: from now on; without a text as configured, or as the whole bot. What is said of
-- the whole bot ends what was of single shards. `known` is the mark of who says it.
function calls.present()
  local mark = math.max(next_mark(), given.known + 1)
  if given.of == 'all' then redis.call('DEL', PRESENCES) end
  set_presence(given.of, given.text, mark)
  return { mark = mark }
end

-- presences {host, fresh, known, texts}: what that host has; answered is what holds, which is what was said
-- last: Redis may have lost it. `fresh`: it has just begun. Where it is alone what others had is over.
function calls.presences()
  local texts, alone = read_hash(PRESENCES), true
  for name, host in pairs(read_hosts()) do
    if host.alive and name ~= given.host then alone = false end
  end
  local mark = tonumber(texts.mark) or 0
  texts.mark = nil
  if given.known > mark or (given.fresh and alone) then
    mark, texts = given.known, given.texts
    keep_presences(mark, texts)
  end
  return { mark = mark, texts = texts }
end
