-- gateway.delivery:queue_overflow in Lua: the script decides what goes when the queue is full, and what it
-- leaves is decided by the default.

local scene = require "spec.support.scene"

local function start(script)
  return scene.start { script = 'local gateway = require "tidegate"\n' .. script }
end

local function pile_up(s, what)
  s.bot:down()
  s.fake:emit(what)
  return s.fake:wait_emitted(30000)
end

describe("queue_overflow", function()
  after_each(scene.stop)

  local function last_message(s, guild, n)
    s.bot:wait_for_events(1, function(event)
      return event.t == "MESSAGE_CREATE" and event:data().nonce == ("%s:%d"):format(guild, n)
    end, 30000)
  end

  -- What came and what the markers tell of make up all.
  local function check_holes(s, first, last)
    local seen, told = {}, 0
    for _, event in ipairs(s.bot.events) do
      if event.gap then
        told = told + event.gap.count
      else
        seen[event.s] = true
      end
    end
    local missing = 0
    for n = first, last do
      missing = missing + (seen[n] and 0 or 1)
    end
    assert.equal(missing, told)
    return missing
  end

  local function numbers(s)
    local list = {}
    for i, event in ipairs(s.bot:select "MESSAGE_CREATE") do
      list[i] = tonumber(event:data().nonce:match "%d+$")
    end
    return list
  end

  it("decides in memory mode what goes", function()
    local s = start [[
gateway.configure {
  queue = { durability = "memory", memory_bytes = 65536, drop_first = {} },
  event_handler = { markers = true },
}
function gateway.delivery:queue_overflow(queue)
  assert(queue.shard_id == nil and queue:bytes() > 50000 and queue:age() >= 0)
  for _, of_shard in ipairs(queue:shards()) do
    of_shard:drop(function(event) -- the newest go, not the oldest
      return event.type == "MESSAGE_CREATE" and tonumber(event.data.nonce:match "%d+$") > 10
    end)
  end
  gateway.log.info("made room: %d events", #queue)
end
]]
    s.bot:wait_for_events(1 + #s.fake:guilds())
    local guild, base = s.fake:guilds()[1].id, #s.bot.events
    pile_up(s, { count = 200, size = 1000, guild = guild })
    s.gateway:wait_for_log "made room: %d+ events"
    s.bot:up()
    last_message(s, guild, 200)
    local list = numbers(s)
    for n = 1, 10 do
      assert.equal(n, list[n])
    end
    assert.is_true(check_holes(s, 1, base + 200) > 100)
  end)

  it("that does nothing, or fails, leaves it to the default", function()
    for _, body in ipairs { "", "error 'no luck'" } do
      local s = start(([[
gateway.configure { queue = { durability = "memory", memory_bytes = 65536 } }
function gateway.delivery:queue_overflow(queue) %s end
]]):format(body))
      s.bot:wait_for_events(1 + #s.fake:guilds())
      local guild = s.fake:guilds()[1].id
      pile_up(s, { count = 200, size = 1000, guild = guild })
      s.gateway:wait_for_log "events are dropped from now on"
      s.bot:up()
      last_message(s, guild, 200)
      local list = numbers(s)
      for i = 2, #list do -- the oldest were dropped, but for one that was in flight
        assert.equal(200 - #list + i, list[i])
      end
      scene.stop()
    end
  end)

  it("may drop one more than the default", function()
    local s = start [[
gateway.configure { queue = { durability = "memory", memory_bytes = 65536 } }
function gateway.delivery:queue_overflow(queue)
  local before = #queue
  gateway.default.delivery:queue_overflow(queue)
  gateway.log.info("the default dropped %d, I drop %d", before - #queue, queue:drop(1))
end
]]
    s.bot:wait_for_events(1 + #s.fake:guilds())
    local guild = s.fake:guilds()[1].id
    pile_up(s, { count = 200, size = 1000, guild = guild })
    s.gateway:wait_for_log "the default dropped 1, I drop 1"
    s.bot:up()
    last_message(s, guild, 200)
  end)

  it("decides with a log what goes", function()
    local s = start [[
gateway.configure {
  queue = { disk_bytes = 524288, memory_bytes = 32768 }, event_handler = { markers = true },
}
function gateway.delivery:queue_overflow(queue)
  local half = math.floor(#queue / 2)
  gateway.log.info("drop half of %d: %d", #queue, queue:drop(half) - half)
end
]]
    s.bot:wait_for_events(1 + #s.fake:guilds())
    local guild, base = s.fake:guilds()[1].id, #s.bot.events
    pile_up(s, { count = 2000, rate = 5000, guild = guild })
    s.gateway:wait_for_log "drop half of %d+: 0"
    s.bot:up()
    last_message(s, guild, 2000)
    assert.is_true(check_holes(s, 1, base + 2000) > 500)
    assert.equal(0, s.gateway:count_log "dropped the oldest %d+ events from the log")
    s.gateway:stop()
  end)
end)
