-- What scripts have the gateway POST is judged and counted as what it sends by itself, and takes its place in
-- the window of the event handler.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  return scene.start(options)
end

local function scrape(s)
  return prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
end

-- Requests by outcome, once nothing is in flight any more.
local function requests(s)
  local metrics
  local deadline = loop.now() + 15000 * paths.slow
  repeat
    metrics = scrape(s)
    assert(loop.now() < deadline, "requests stay in flight")
  until metrics:sum "tidegate_handler_requests_in_flight" == 0
    and metrics:sum "tidegate_shard_queue_events" == 0
  metrics = scrape(s) -- the figures of one scrape may be a moment apart
  local counts = {}
  for _, outcome in ipairs { "delivered", "retry", "slow_down", "busy", "refused", "misconfigured" } do
    counts[outcome] = metrics:sum("tidegate_handler_requests_total", { outcome = outcome })
  end
  counts.seconds = metrics:sum "tidegate_handler_request_seconds_total"
  return counts
end

local WAYS = {
  { "the gateway itself", "" },
  { "a script's deliver that calls the default", [[
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events) return deliver(self, events) end
]] },
  { "a script's handle_queue", [[
function gateway.delivery:handle_queue(queue)
  while #queue > 0 do
    local events = queue:peek(5)
    local ok, err = gateway.delivery:deliver(events)
    for i = 1, ok and #events or err.delivered do
      queue:ack { events[i] }
    end
    if not ok and err.status == 400 then
      queue:drop(1)
    end
  end
end
]] },
}

describe("requests that are made by", function()
  after_each(scene.stop)

  for _, way in ipairs(WAYS) do
    it(way[1] .. " are all counted, each once, by what was answered", function()
      local answers = { 500, 429, 503, 400 }
      local asked = 0
      local s = start(way[2], { bot = { answer = function(_, event)
        asked = asked + 1
        if event.t ~= "MESSAGE_CREATE" then
          return nil
        end
        local status = table.remove(answers)
        return status, status and { ["Retry-After"] = "0" }
      end } })
      s.bot:delay(20)
      s.fake:emit { count = 20, shard = 0 }
      s.bot:wait_for_events(19, "MESSAGE_CREATE", 20000)
      local counts = requests(s)
      assert.equal(#s.bot.events, counts.delivered)
      assert.equal(1, counts.retry)
      assert.equal(1, counts.slow_down)
      assert.equal(1, counts.busy)
      assert.equal(1, counts.refused)
      local all = counts.delivered + counts.retry + counts.slow_down + counts.busy + counts.refused
      assert.equal(asked, all)
      -- The messages at least; what came first may have been answered before the bot was slow.
      assert.is_true(counts.seconds >= 20 * 0.018 and counts.seconds < asked, counts.seconds .. " s")
    end)
  end

  it("a script's deliver that sends them elsewhere are counted as its calls", function()
    local s = start [[
function gateway.delivery:deliver() return true end
]]
    s.fake:emit { count = 20, shard = 0 }
    local counts
    loop.wait_for("the guilds", function() return s.gateway:ready_shards() == 1 end)
    repeat
      counts = requests(s)
    until counts.delivered >= 21 + #s.fake:guilds()
    assert.equal(21 + #s.fake:guilds(), counts.delivered)
    assert.equal(0, s.bot.requests)
  end)
end)

describe("a script that posts many at once", function()
  after_each(scene.stop)

  it("waits for room in the window, and gets its turn", function()
    local s = start([[
function gateway.delivery:handle_queue(queue)
  local events = queue:peek(200)
  local left = #events
  for _, event in ipairs(events) do
    gateway.spawn(function()
      assert(gateway.delivery:deliver { event })
      left = left - 1
    end)
  end
  while left > 0 do
    gateway.sleep(5)
    queue:length() -- it is at work
  end
  queue:ack(events)
end
]], { reload = false })
    s.bot:wait_for_events(1 + #s.fake:guilds())
    s.bot:delay(300)
    s.fake:emit { count = 100, shard = 0 }
    loop.wait_for("as many as there is room for", function() return (s.bot.in_flight[0] or 0) >= 8 end)
    s.bot:wait_for_events(100, "MESSAGE_CREATE", 30000)
    assert.is_true(s.bot.max_in_flight[0] <= 32, s.bot.max_in_flight[0] .. " at once")
  end)
end)

it("requests of scripts that wait for a bot without an end are bounded", function()
  finally(scene.stop)
  local s = start [[
gateway.configure { event_handler = { timeout = 1000 } }
gateway.on("TYPING_START", function(event)
  local full = 0
  for _ = 1, 1100 do
    gateway.spawn(function()
      local _, err = gateway.delivery:deliver { event }
      if err and err.code == "queue_full" then
        full = full + 1
        gateway.log.info("refused: %d", full)
      end
    end)
  end
  gateway.sleep(1)
  gateway.log.info("all are there")
end)
]]
  s.bot:hang()
  s:type "1"
  s.gateway:wait_for_log "refused: 68" -- 32 are in flight at most, and do not wait
  s.gateway:wait_for_log "all are there"
  assert.is_true(s.gateway:count_log "refused: " < 100)
  s.bot:answer(nil)
end)
