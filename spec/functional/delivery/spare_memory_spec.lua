-- What a backlog took goes back to the system once the bot has taken it.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local SHARDS, EVENTS, SIZE = 4, 1600, 8000 -- each shard's: 51 MB in all
local BACKLOG = SHARDS * EVENTS * SIZE
local MB = 1024 * 1024
local NEAR = 8 * MB -- of what it was before

-- Sanitizers keep what was freed, and have an allocator of their own.
local SANITIZED = paths.build:find "sanitize"

describe("memory of a worker", function()
  after_each(scene.stop)

  it("that 50 MB of events took goes back when the bot has them", function()
    if SANITIZED then
      pending "a sanitizer keeps what was freed"
      return
    end
    local s = scene.start {
      shards = SHARDS, workers = 1, log_level = "info", hurry = 10,
      fake = { max_concurrency = SHARDS, identify_window = 0 }, spawn_shard_delay = 0,
      script = [[
local gateway = require "tidegate"
gateway.configure { queue = { durability = "memory", memory_bytes = 128 * 1024 * 1024 } }
]],
    }
    local worker = s.gateway:worker_pids()[1]
    local function resident()
      return tonumber(paths.read(("/proc/%d/statm"):format(worker)):match "^%d+ (%d+)") * 4096
    end
    local function queued()
      return s.gateway:control("GET", "/status"):json().queue.bytes
    end
    s.fake:emit { count = 5, size = SIZE }
    s:wait_delivered()
    local before = resident()
    s.bot:down()
    s.fake:emit { count = EVENTS, size = SIZE }
    loop.ask_until(function() return "the backlog, of which there are " .. queued() end, function()
      return queued() >= BACKLOG
    end, 60000)
    local full = resident()
    assert.is_true(full > before + 0.8 * BACKLOG, ("%d with a backlog, %d before"):format(full, before))

    s.bot:up()
    s:wait_delivered(60000)
    loop.ask_until(function()
      return ("the memory to go back: %d before, %d with a backlog, %d now"):format(before, full, resident())
    end, function() return resident() < before + NEAR end, 60000)
    assert.equal(0, queued())
  end)
end)
