-- Several gateway hosts with ranges of shards, and one budget of identifies: a broker grants them.

local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

local SECRET = "the-secret-of-the-broker"
local WINDOW = 200
local DELAY = 400 -- between two identifies of a bucket: op 2 may be late on a loaded machine

-- hosts[1] is the broker; each has `each` shards in one worker.
local function start(options)
  local fake = { shards = options.hosts * options.each, max_concurrency = 4, identify_window = WINDOW }
  for name, value in pairs(options.fake or {}) do
    fake[name] = value
  end
  local s = scene.start {
    shards = options.each, per_worker = options.each, workers = 1, ready = false, bot = false,
    log_level = "info", spawn_shard_delay = DELAY, hurry = options.hurry or 20, reload = false,
    env = {
      TOTAL_SHARDS = options.hosts * options.each, FIRST_SHARD_ID = 0, LAST_SHARD_ID = options.each - 1,
      TIDEGATE_CONTROL_SECRET = SECRET,
    },
    fake = fake, script = options.script,
  }
  s.hosts, s.each = { s.gateway }, options.each
  s.address = s.gateway:wait_for_log "the control API is at (http://[%d.:]+)"
  return s
end

-- Host i (2, 3, ...) with the broker's address, and its own state directory unless it was there before.
local function host(s, i, changes)
  local env = {
    TIDEGATE_IDENTIFY_URL = s.address, TIDEGATE_IDENTIFY_SECRET = SECRET,
    FIRST_SHARD_ID = (i - 1) * s.each, LAST_SHARD_ID = i * s.each - 1,
    TOTAL_SHARDS = s.options.env.TOTAL_SHARDS, TIDEGATE_HURRY = s.options.hurry,
  }
  for name, value in pairs(changes and changes.env or {}) do
    env[name] = value
  end
  local before = s.hosts[i]
  s.hosts[i] = s:run {
    shards = s.each, per_worker = s.each, workers = 1, ready = false, log_level = "info",
    spawn_shard_delay = DELAY, hurry = s.options.hurry, reload = false, env = env,
    state_dir = changes and changes.state_dir or before and before.state_dir or nil,
  }
  return s.hosts[i]
end

local function wait_ready(s, timeout)
  for _, each in ipairs(s.hosts) do
    each:wait_ready(s.each, timeout or 30000)
  end
end

-- Discord's own judgement, and the distance in each bucket.
local function judge(s)
  local state = s.fake:state "identifies,violations"
  assert.same({}, state.violations)
  for _, identify in ipairs(state.identifies) do
    assert.equal("ok", identify.verdict)
  end
  return state.identifies
end

describe("an identify broker", function()
  after_each(scene.stop)

  it("lets three gateways start 48 shards within one budget", function()
    local s = start { hosts = 3, each = 16 }
    host(s, 2)
    host(s, 3)
    wait_ready(s)
    local list = judge(s)
    assert.equal(48, #list)
    local seen = {}
    for _, identify in ipairs(list) do
      assert.is_nil(seen[identify.shard])
      seen[identify.shard] = true
      assert.equal(48, identify.total)
    end
    -- All hosts come up together, not one behind the other.
    local first = {}
    for i, identify in ipairs(list) do
      local of = math.floor(identify.shard / 16) + 1
      first[of] = first[of] or i
    end
    assert.is_true(first[2] < 40 and first[3] < 40, ("%d, %d"):format(first[2], first[3]))
    assert.is_true(loop.now() > 0)
  end)
end)
