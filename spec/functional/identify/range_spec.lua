-- A gateway with a range of the bot's shards; another one has the others.

local checker = require "spec.support.checker"
local gateway = require "spec.support.gateway"
local scene = require "spec.support.scene"

local EACH = 6

-- With the shards from `first` on.
local function range(first)
  return { TOTAL_SHARDS = 2 * EACH, FIRST_SHARD_ID = first, LAST_SHARD_ID = first + EACH - 1 }
end

describe("a gateway with a range of shards", function()
  after_each(scene.stop)

  it("has these alone: workers, sessions, events, commands", function()
    local s = scene.start {
      shards = EACH, per_worker = EACH, workers = 1, log_level = "info", spawn_shard_delay = 400, hurry = 20,
      reload = false, env = range(0), bot = {},
      fake = { shards = 2 * EACH, max_concurrency = 4, identify_window = 50 },
    }
    local options = {
      shards = EACH, per_worker = 3, workers = 2, log_level = "info", spawn_shard_delay = 400, hurry = 20,
      reload = false, env = range(EACH), script = [[
local gateway = require "tidegate"
gateway.on("TYPING_START", function(event)
  local info = gateway.manager:get_shard_info()
  local ids = {}
  for i, shard in ipairs(info) do ids[i] = shard.shard_id .. "/" .. shard.worker_id end
  gateway.log.info("shards: %s", table.concat(ids, " "))
  local sent, problem = gateway.manager:join_voice_channel(tostring(12 * 2 ^ 22), "1")
  gateway.log.info("another's: %s, %s", tostring(sent), tostring(problem))
  gateway.log.info("own: %s", tostring(gateway.manager:join_voice_channel(tostring(7 * 2 ^ 22), "1")))
end)
]],
    }
    local g = s:run(options)
    g:wait_for_log "6 shards %(6 to 11 of 12%) in 2 workers"
    s:type("1", 8)
    g:wait_for_log "shards: 6/0 7/0 8/0 9/1 10/1 11/1\n"
    g:wait_for_log "another's: nil, [^\n]*guild 50331648 is on shard 0, which another gateway host runs"
    g:wait_for_log "own: true"
    s.fake:emit { count = 60 }
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered() })
    g:stop()
    options.per_worker, options.workers, options.state_dir = EACH, 1, g.state_dir
    s:run(options)
    local state = s.fake:state "identifies,violations"
    assert.same({}, state.violations)
    assert.equal(2 * EACH, #state.identifies)
    assert.equal(EACH, s:counters().resumes_ok)
  end)

  it("has no broker to ask for its turns: that is said, and what takes its place", function()
    local g = gateway.start { env = { TIDEGATE_IDENTIFY_URL = "http://127.0.0.1:1" } }
    assert.equal(78, (g.process:wait()))
    assert.matches("TIDEGATE_IDENTIFY_URL: there is no broker of identifies any more: [^\n]*cluster.url",
      g.stderr)
    g = gateway.start { script = [[
require "tidegate".configure { identify = { url = "http://127.0.0.1:1" } }
]] }
    assert.equal(78, (g.process:wait()))
    assert.matches("identify: there is no broker of identifies any more", g.stderr, 1, true)
  end)
end)
