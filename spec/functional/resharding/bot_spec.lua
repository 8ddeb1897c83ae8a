-- What the bot does while the gateway goes over to another number of shards: it is down, slow, refuses. What
-- the old shards of a class have sent is accepted before anything of its new ones goes out.

local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local function start(script, options)
  local given = {
    shards = 4, per_worker = 2, workers = 2, rate = 300, repeat_rate = 60,
    script = 'local gateway = require "tidegate"\n' .. script,
  }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return resharding.start(given)
end

-- Notes in which order requests come and are accepted.
local function watch_order(t)
  local order = { came = {}, accepted = {}, n = 0 }
  t.bot:reset_bodies(function(headers)
    local key = headers["idempotency-key"]
    order.n = order.n + 1
    order.came[key] = order.came[key] or order.n
    return false
  end)
  function order.accept(events)
    order.n = order.n + 1
    for _, event in ipairs(events) do
      order.accepted[event] = order.n
    end
  end
  return order
end

-- Of a class that has gone over once, and all requests have one event.
local function assert_one_after_the_other(t, order, from, to)
  local last, checked = {}, 0
  for _, event in ipairs(t.bot.events) do
    if event.total == from and event.s then
      local class = event.shard % from
      last[class] = math.max(last[class] or 0, order.accepted[event] or 0)
    end
  end
  for _, event in ipairs(t.bot.events) do
    if event.total == to and event.s and event.t ~= "INTERACTION_CREATE" then
      assert.is_true(order.came[event.key] > last[event.shard % from], event.key)
      checked = checked + 1
    end
  end
  assert.is_true(checked > 100)
end

local function policy(t, order, fate)
  t.bot:answer(function(_, event, events)
    local status, headers = 204, nil
    if fate then
      status, headers = fate(event, events)
    end
    if (status or 204) < 300 then
      order.accept(events)
    end
    return status, headers
  end)
end

describe("while the bot goes over to more shards it", function()
  it("may be down, slow, and say that it is busy", function()
    local t = start [[
gateway.configure { event_handler = { markers = true }, interaction = { express = true } }
]]
    local order, random = watch_order(t), t.random
    policy(t, order)
    t:reshard(8)
    t:await_phase "matching"
    t.bot:down()
    t:await_switched(2)
    t:interact(10)
    t.bot:up()
    policy(t, order, function()
      if random:chance(0.01) then
        return 503, { ["Retry-After"] = "1" }
      end
    end)
    t:await_switched(4)
    t.bot:delay(5)
    t:await_events(300)
    t.bot:delay(nil)
    t:interact(10)
    policy(t, order)
    t:await_over()
    t:assert_verdict { name = "down, busy, slow", express = true, identifies = { [4] = 4, [8] = 8 } }
    assert_one_after_the_other(t, order, 4, 8)
  end)

  local SCRIPT = [[
gateway.configure { event_handler = { markers = true, batch = true } }
local seen = {}
gateway.filter("MESSAGE_CREATE", function(event)
  local nonce = event.data.nonce
  if seen[nonce] then
    gateway.log.error("filtered twice: %s", nonce)
  end
  seen[nonce] = true
end)
function gateway.delivery:handle_queue(queue)
  while #queue > 0 do
    local events = queue:peek(100)
    local ok, err = gateway.delivery:deliver(events)
    if ok then
      queue:ack(events)
    else
      for i = 1, err.delivered do
        queue:ack { events[i] }
      end
      gateway.sleep(20)
    end
  end
end
]]

  it("gets batches from a script, of which none spans a class that goes over and back", function()
    local t = start(SCRIPT, { reload = false })
    t:reshard(8)
    t:await_switched(1)
    t.bot:down()
    t:await_switched(3)
    t:await_emitted(100)
    t:abort()
    t.gateway:wait_for_log "gone back to the 4 shards: 0 of 4 have switched"
    t:await_emitted(100)
    t.bot:answer(function(_, _, events)
      return #events > 32 and 413 or nil
    end)
    t.bot:up()
    t:interact(10)
    t:await_over "aborted"
    t:await_events(100)
    t:assert_verdict { name = "batches by a script", identifies = { [4] = 4, [8] = 8 } }
    assert.equal(0, t.gateway:count_log "filtered twice")
    assert.equal(0, t.gateway:count_log "error ")
  end)
end)
