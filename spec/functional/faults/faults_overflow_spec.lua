-- More waits than there is room for: what goes first, what last, and that each event is there or named.

local accounts = require "spec.support.accounts"
local loop = require "spec.support.loop"
local trial = require "spec.support.kill_trial"

local SHARDS = 2

local function start(queue)
  return trial.start {
    shards = SHARDS, workers = 1, rate = 0,
    script = ([[
local gateway = require "tidegate"
gateway.configure {
  event_handler = { markers = true }, interaction = { fallback = false }, queue = { %s },
}
gateway.on("SOMETHING_NEW", function(event) gateway.log.info("has come: %%d.", event.data.mark) end)
]]):format(queue),
  }
end

local function gaps(t)
  return t.bot:select(function(event) return event.gap end)
end

-- Waits until all that was emitted so far is in the gateway.
local function await_received(t)
  t.fake:wait_emitted()
  t.marks = (t.marks or 0) + 1
  t.fake:emit { event = "SOMETHING_NEW", shards = "all", d = { mark = t.marks } }
  loop.wait_for("all events in the gateway", function()
    return t.gateway:count_log("has come: " .. t.marks .. "%.") == SHARDS
  end, 20000)
end

local BOUNDS = {
  ["the log"] = "disk_bytes = 1048576, memory_bytes = 65536",
  ["memory"] = 'durability = "memory", memory_bytes = 524288',
}

for where, queue in pairs(BOUNDS) do
  describe("a bot that is down for too long for " .. where, function()
    after_each(trial.stop)

    it("gets the newest, markers for the oldest, and all interactions", function()
      local t = start(queue)
      t.bot:down()
      for _ = 1, 10 do
        t.fake:emit { interaction = 2, count = 2, shard = 0 }
        t.fake:emit { count = 200, size = 1000 }
        await_received(t)
      end
      t.bot:up()
      local told = accounts.await(t)
      print(("# overflow of %s: %d events came, %d are named by markers"):format(where, #t.bot.events, told))
      assert.is_true(told > 2000, told)
      assert.equal(20, #t.bot:select "INTERACTION_CREATE")
      for _, event in ipairs(gaps(t)) do
        assert.equal("overflow", event.gap.reason)
      end
      for shard = 0, SHARDS - 1 do
        assert.equal("SOMETHING_NEW", t.bot.by_shard[shard][#t.bot.by_shard[shard]].t)
      end
      assert.equal(SHARDS, t:counters().identifies)
    end)

    it("gets no more of queue.drop_first, once four fifths of the room are taken", function()
      local t = start(queue .. ', drop_first = { "TYPING_START" }')
      local function type(n)
        for i = 1, n do
          t.scene:type(tostring(i), 0)
        end
      end
      t.bot:down()
      type(5)
      local function fill()
        t.fake:emit { count = 20, size = 1000, shard = 0 }
        await_received(t)
        return t.gateway:count_log "the queue for the event handler is filling up" > 0
      end
      repeat
        type(1)
      until fill()
      type(10)
      await_received(t)
      t.bot:up()
      t:wait_delivered() -- no message is lost
      t:pass(1000) -- they are told together
      await_received(t)
      local dropped = 0
      for _, event in ipairs(t.bot:wait_for_events(1, function(event) return event.gap end)) do
        assert.equal("overflow", event.gap.reason)
        dropped = dropped + event.gap.count
      end
      assert.is_true(dropped >= 10)
      local typed = t.bot:select "TYPING_START"
      assert.is_true(#typed >= 5)
      assert.equal("5", typed[5]:data().user_id)
    end)
  end)
end

describe("a bot that is down for too long, while the gateway is killed and stopped", function()
  after_each(trial.stop)

  it("gets the newest, and markers for all that is gone", function()
    local t = trial.start {
      shards = 4, workers = 2, per_worker = 2, rate = 3000, size = 600,
      script = [[
require "tidegate".configure {
  event_handler = { markers = true }, queue = { disk_bytes = 1048576, memory_bytes = 65536 },
}
]],
    }
    t.bot:down()
    for _ = 1, 8 do
      t:await_emitted(t.random:between(300, 1500))
      if t.random:chance(0.5) then
        t:kill_group()
      else
        t.gateway:stop()
      end
      local workers = t.random:one_of { 1, 2, 4 }
      t:again { workers = workers, per_worker = 4 / workers }
      if t.random:chance(0.3) then
        t.bot:up()
        t:pass(t.random:between(0, 100))
        t.bot:down()
      end
    end
    t.fake:settings { rate = 0 }
    t.fake:wait_emitted()
    t.bot:up()
    local told = accounts.await(t, 60000)
    print(("# overflow and kills: %d events came, %d are named by markers"):format(#t.bot.events, told))
    assert.is_true(told > 0)
    assert.equal(4, t:counters().identifies)
  end)
end)
