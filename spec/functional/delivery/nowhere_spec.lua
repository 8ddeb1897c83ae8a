-- A gateway whose events nobody takes: it says so, once, and does not count them as delivered.

local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"

local HEAD = 'local gateway = require "tidegate"\n'
local NOWHERE = "warn  ?worker 0: events go nowhere: [^\n]*EVENT_HANDLER_URL[^\n]*gateway%.on"

local function start(script, options)
  local all = { bot = false, shards = 2, per_worker = 1, workers = 2, fake = { max_concurrency = 2 } }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  all.script = script and HEAD .. script
  return scene.start(all)
end

-- What is counted of messages, once they have come.
local function counts(s, n)
  local figures
  s.fake:wait_for(n .. " messages to be received", function()
    local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
    local type = { type = "MESSAGE_CREATE" }
    figures = {
      received = metrics:sum("tidegate_events_received_total", type),
      delivered = metrics:sum("tidegate_events_delivered_total", type),
      of_shards = metrics:sum "tidegate_shard_delivered_total",
      of_status = s.gateway:control("GET", "/status"):json().queue.delivered,
    }
    return figures.received >= n
  end, { only = "counters" })
  return figures
end

describe("without an event handler and without a script that takes events", function()
  after_each(scene.stop)

  local CASES = {
    { "no script" },
    { "a script that only filters", 'gateway.filter("MESSAGE_CREATE", function() end)' },
    { "a script that only hears of life-cycle events", 'gateway.on("ready", function() end)' },
  }
  for _, case in ipairs(CASES) do
    it("(" .. case[1] .. ") it says so once, and nothing is delivered", function()
      local s = start(case[2])
      s.gateway:wait_for_log(NOWHERE)
      s.fake:emit { count = 10 }
      local figures = counts(s, 20)
      assert.same({ received = 20, delivered = 0, of_shards = 0, of_status = 0 }, figures)
      s.gateway:stop()
      assert.equal(1, s.gateway:count_log "events go nowhere")
    end)
  end
end)

describe("a script takes events", function()
  after_each(scene.stop)

  local CASES = {
    { "by gateway.on", 'gateway.on("MESSAGE_CREATE", function() end)', delivered = 20 },
    { "by gateway.on, others than come", 'gateway.on("TYPING_START", function() end)', delivered = 0 },
    { "by deliver", "function gateway.delivery:deliver() return true end", delivered = 20 },
    { "by handle_discord_payload", "function gateway.delivery:handle_discord_payload() end", delivered = 0 },
    { "by handle_queue", "function gateway.delivery:handle_queue(queue) queue:ack(queue:peek(100)) end",
      delivered = 20 },
  }
  for _, case in ipairs(CASES) do
    it(case[1] .. ": nothing is said", function()
      local s = start(case[2])
      s.fake:emit { count = 10 }
      counts(s, 20)
      local figures
      s.fake:wait_for("them to be delivered", function()
        figures = counts(s, 20)
        return figures.delivered >= case.delivered
      end, { only = "counters" })
      assert.equal(case.delivered, figures.delivered)
      assert.equal(0, s.gateway:count_log "events go nowhere")
    end)
  end

  it("until a reload: then it is said, and again only after the next one that makes it so", function()
    local taking, idle = 'gateway.on("MESSAGE_CREATE", function() end)', ""
    local s = start(taking, { reload = false })
    local function load(script)
      paths.write(s.gateway.script, HEAD .. script)
      assert.is_true((s.gateway:reload()))
    end
    assert.equal(0, s.gateway:count_log "events go nowhere")
    load(idle)
    s.gateway:wait_for_log(NOWHERE)
    load(idle .. "-- again")
    load(taking)
    assert.equal(1, s.gateway:count_log "events go nowhere")
    load(idle)
    s.fake:wait_for("a second warning", function()
      return s.gateway:count_log "events go nowhere" == 2
    end, { only = "counters" })
  end)
end)
