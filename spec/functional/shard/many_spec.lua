-- Many shards that are cut off at once: all resume, nobody else notices, and neither REST nor the name server
-- has a crowd before its door.

local checker = require "spec.support.checker"
local name_lookups = require "spec.support.name_lookups"
local scene = require "spec.support.scene"

local SHARDS, CUT, WORKERS = 120, 100, 2

describe("a hundred shards that are cut off at once", function()
  after_each(scene.stop)

  local function start(lookups)
    local s = scene.start {
      shards = SHARDS, workers = WORKERS, per_worker = SHARDS / WORKERS, gateway = false,
      fake = { guilds = SHARDS, max_concurrency = SHARDS, identify_window = 0, message_size = 200 },
      spawn_shard_delay = 0, log_level = "info", env = lookups:env(),
    }
    local url = "ws://localhost:" .. s.fake.gateway:match ":(%d+)"
    s.fake:settings { url = url, resume_url = url }
    s:run(s.options)
    return s
  end

  -- By shard: the number of its connection.
  local function connections(s)
    local of = {}
    for _, connection in ipairs(s.fake:state("connections").connections) do
      of[connection.shard] = connection.connection
    end
    return of
  end

  it("resume, without an identify, a request or more than one look-up a worker; the others go on", function()
    local lookups = name_lookups.new()
    local s = start(lookups)
    s.fake:emit { count = 2 }
    s:wait_delivered()
    local before, connected, names = s:counters(), connections(s), lookups:count()
    assert.is_true(names >= 1) -- it does count

    local cut = {}
    for shard = 0, CUT - 1 do
      cut[#cut + 1] = shard
    end
    s.fake:fault { ["do"] = "rst", shards = cut }
    s.fake:emit { count = 5 }
    s:wait_counter("resumes_ok", before.resumes_ok + CUT)
    local guilds = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = guilds })

    local after = s:counters()
    assert.equal(before.resumes_ok + CUT, after.resumes_ok)
    assert.equal(before.resumes + CUT, after.resumes)
    assert.equal(before.identifies, after.identifies)
    assert.equal(before.rest_requests, after.rest_requests)
    assert.equal(before.upgrades + CUT, after.upgrades)
    assert.is_true(lookups:count() - names <= WORKERS, "look-ups: " .. lookups:count() - names)
    local now = connections(s)
    for shard = 0, SHARDS - 1 do
      assert(connected[shard] and now[shard], "shard " .. shard .. " has no connection")
      assert.equal(shard < CUT, connected[shard] ~= now[shard])
    end
    assert.same({}, s:list "violations")
  end)
end)
