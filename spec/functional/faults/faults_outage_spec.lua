-- The bot is down for half a minute, at 2,000 events a second.

local loop = require "spec.support.loop"
local scene = require "spec.support.scene"
local tally = require "spec.support.tally"

local SHARDS, SECONDS, RATE = 10, 30, 2000

describe("a bot that is down for 30 s", function()
  after_each(scene.stop)

  it("gets all 60,000 events afterwards, once each and in order", function()
    local s = scene.start {
      shards = SHARDS, per_worker = SHARDS / 2, workers = 2, log_level = "info", hurry = 10,
      fake = { max_concurrency = SHARDS, message_size = 300 },
      script = [[
-- Little of it fits into the window: nearly all is read back from the log.
require "tidegate".configure { event_handler = { markers = true }, queue = { memory_bytes = 1048576 } }
]],
    }
    s.bot:wait_for_events(SHARDS, "READY")
    s.bot:down()
    local began = loop.now()
    s.fake:emit { count = SECONDS * RATE / SHARDS, rate = RATE / SHARDS }
    s.fake:wait_emitted(2 * SECONDS * 1000)
    local took = loop.now() - began
    assert.is_true(took >= (SECONDS - 1) * 1000, took)
    s.bot:up()
    local report = tally.assert_nothing_lost(s, {
      name = "bot down 30 s", identifies = SHARDS, timeout = 120000,
    })
    assert.equal(SECONDS * RATE, report.numbered)
    assert.equal(0, #report.doubled)
    assert.equal(0, s:counters().resumes)
    assert.is_true(s.gateway:count_log "is down" <= 2) -- once a worker
  end)
end)
