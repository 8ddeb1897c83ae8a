-- The gateway is stopped, started again, reloaded, or has no room on its disk, while the bot goes over to
-- another number of shards.

local cjson = require "cjson"
local failing_disk = require "spec.support.failing_disk"
local resharding = require "spec.support.resharding"
local uv = require "luv"

after_each(resharding.stop)

local function start(options)
  local given = { shards = 4, per_worker = 2, workers = 2, rate = 200, repeat_rate = 40, hurry = 20 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return resharding.start(given)
end

local function shards_of(t)
  return #cjson.decode(t.gateway:control("GET", "/shards").body)
end

local function assert_no_second_set(t)
  local scan = assert(uv.fs_scandir(t.gateway.state_dir))
  for name in function() return (uv.fs_scandir_next(scan)) end do
    assert.is_nil(name:match "^reshard%.", name)
    assert.is_not_equal("shards.1", name)
  end
end

describe("SIGTERM in the middle", function()
  it("and a start with more workers: it goes on with those that have the classes", function()
    local t = start()
    t:reshard(8)
    for _, phase in ipairs { "matching", "switching", "settling" } do
      t:await_phase(phase)
      assert.equal(0, t.gateway:stop())
      t.fake:emit { count = 5 }
      t:again { ready = false, workers = phase == "matching" and 4 or 1 }
      t.gateway:wait_for_log "resharding from 4 to 8 goes on where the last run was"
    end
    t:await_over()
    assert.equal(8, shards_of(t))
    t:assert_verdict { name = "3 x SIGTERM", repeated = true, identifies = { [4] = 4, [8] = 8 } }
  end)

  local CHANGES = {
    { "other intents", { intents = 1 + 512 + 32768 + 256 + 128 }, 4, { [4] = 8, [8] = 16 } },
    { "another number of shards", { env = { TOTAL_SHARDS = 2 }, shards = 2 }, 2,
      { [2] = 2, [4] = 4, [8] = 16 } },
  }
  for _, change in ipairs(CHANGES) do
    it("and a start with " .. change[1] .. ": it is given up", function()
      local t = start()
      t:reshard(8)
      t:await_switched(1)
      t.fake:settings { rate = 0, repeat_rate = 0 }
      t:wait_delivered()
      assert.equal(0, t.gateway:stop())
      t:again(change[2])
      t.gateway:wait_for_log "resharding from 4 to 8, in which the last run was, does not go on"
      assert.equal(change[3], shards_of(t))
      assert.is_nil(t:reshard_status().running)
      t.fake:settings { rate = 200 }
      t:reshard(8) -- nothing of the last one is taken for its own
      t:await_switched(1)
      t:abort()
      t:await_over "aborted"
      assert_no_second_set(t)
      t:assert_verdict { name = change[1], gaps = true, identifies = change[4] }
    end)
  end
end)

describe("SIGINT in the middle", function()
  it("ends the sessions of both sets; the next start has one", function()
    local t = start()
    t:reshard(8)
    t:await_switched(2)
    t.fake:settings { rate = 0, repeat_rate = 0 }
    t:wait_delivered()
    assert.equal(0, t.gateway:stop "SIGINT")
    assert.same({}, t:list "sessions")
    t:again()
    assert.equal(4, shards_of(t))
    assert.is_nil(t:reshard_status().running)
    t.fake:settings { rate = 200 }
    t:await_events(100)
    assert_no_second_set(t)
    t:assert_verdict { name = "SIGINT", gaps = true, identifies = { [4] = 8, [8] = 8 } }
  end)
end)

describe("a disk that is full", function()
  local disk, t

  -- Nothing can be written while so many events come.
  local function fill(events)
    disk:fail(failing_disk.ENOSPC)
    t:await_emitted(events)
  end

  it("keeps all where it is, until there is room", function()
    disk = failing_disk.new()
    t = start { env = disk:env() }
    disk:fail(failing_disk.ENOSPC)
    local code, answer = t:ask_reshard { totalShards = 8 }
    assert.equal(500, code)
    assert.matches("No space left on device", answer.error)
    disk:mend()
    t:reshard(8)
    t:await_phase "matching"
    fill(100)
    t.gateway:wait_for_log "resharding stays at \"matching\" until it can be written how it goes on"
    t:await_reshard("what it waits for", function(status)
      return (status.running.waitsFor or ""):find "room on the disk"
    end)
    t:await_classes("ready", 4)
    disk:mend()
    t:await_switched(1)
    fill(300)
    t.gateway:wait_for_log "a class of guilds could not be switched; it is tried again"
    assert.equal(1, t:reshard_status().running.byState.switched or t:reshard_status().running.byState.settled)
    disk:mend()
    t:await_switched(4)
    fill(100)
    t.gateway:wait_for_log "resharding stays at \"switching\""
    disk:mend()
    t:await_phase "settling"
    fill(100)
    t.gateway:wait_for_log("resharding stays at \"settling\"", 20000)
    disk:mend()
    t:await_over()
    t:assert_verdict { name = "disk full", identifies = { [4] = 4, [8] = 8 } }
  end)
end)

describe("a script", function()
  local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { event_handler = { markers = true } }
function gateway.manager:on_resharding_switch(guild_ids) error "on_resharding_switch" end
function gateway.manager:tell_worker_to_prepare() error "tell_worker_to_prepare" end
function gateway.manager:reshard() error "reshard" end
gateway.on("resharding", function() error "resharding" end)
]]

  it("may throw in each of its functions, and be loaded again, in the middle", function()
    local t = start { script = SCRIPT }
    t:reshard(8)
    for _, phase in ipairs { "identifying", "matching", "switching", "settling" } do
      t:await_phase(phase)
      assert.is_true(t.gateway:reload())
    end
    t:await_over()
    t:assert_verdict { name = "a script that throws, reloaded", identifies = { [4] = 4, [8] = 8 } }
    for _, name in ipairs { "on_resharding_switch", "tell_worker_to_prepare", "reshard", "resharding" } do
      assert.is_true(t.gateway:count_log("error.*" .. name) > 0, name)
    end
  end)
end)
