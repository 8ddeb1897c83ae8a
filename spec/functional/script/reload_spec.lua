-- Reloads: both phases, in all processes or in none; what survives, what ends, and that the rest of the
-- gateway does not notice. (script_processes_spec has the files: what is watched, what workers run later.)

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local HEAD = 'local gateway = require "tidegate"\n'

local function start(script, options)
  options = options or {}
  options.script = HEAD .. script
  options.reload = false -- here each one is looked at
  return scene.start(options)
end

local function two_workers()
  return { shards = 2, per_worker = 1, workers = 2, fake = { max_concurrency = 2 } }
end

local function rewrite(s, script)
  paths.write(s.gateway.script, HEAD .. script)
end

-- The pids of the workers by their number.
local function worker_pid(s, number)
  for _, pid in ipairs(s.gateway:worker_pids()) do
    if paths.read(("/proc/%d/cmdline"):format(pid)):find("%-%-id%z" .. number .. "%z") then
      return pid
    end
  end
end

local function kill_worker(s, number)
  require("luv").kill(worker_pid(s, number), "sigkill")
end

-- A script that says which version it is, in all processes, when it is told to.
local function version(n)
  return ([[
gateway.on("TYPING_START", function() gateway.log.info("version %s") end)
gateway.on("load", function() gateway.log.info("loaded %s") end)
]]):format(n, n)
end

describe("a reload", function()
  after_each(scene.stop)

  it("by SIGHUP swaps the script in all processes, and disturbs nothing", function()
    local s = start(version "one",
      { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } })
    assert.equal(3, s.gateway:count_log "loaded one")
    rewrite(s, version "two")
    assert.is_true((s.gateway:reload()))
    loop.wait_for("all three", function() return s.gateway:count_log "loaded two" == 3 end)
    s:type("1", 0)
    s:type("1", 2)
    loop.wait_for("both workers", function() return s.gateway:count_log "version two" == 2 end)
    assert.equal(0, s.gateway:count_log "version one")
    assert.matches("manager: reloaded generation=2 duration=%d+\n", s.gateway.stderr)
    assert.same({}, s:list "closes")
    assert.equal(4, s:counters().identifies)
  end)

  it("by --watch follows the file", function()
    local s = start(version "one", { args = { "--watch" } })
    rewrite(s, version "two, which is longer")
    s.gateway:wait_for_log "loaded two"
    rewrite(s, "this is no Lua")
    s.gateway:wait_for_log "the reload failed, nothing has changed"
    s:type()
    s.gateway:wait_for_log "version two"
    rewrite(s, version "three")
    s.gateway:wait_for_log "loaded three"
  end)

  for what, case in pairs {
    ["that is no Lua"] = { "gateway.on(", "manager: [^\n]*script%.lua:2: unexpected symbol near '<eof>'" },
    ["that fails"] = { "local function f() error 'broken' end\nf()\n",
      "manager: [^\n]*script%.lua:2: broken\n%s+stack traceback:[^\n]*\n[^\n]*'error'[^\n]*\n"
      .. "[^\n]*script%.lua:2: in function 'f'\n[^\n]*script%.lua:3: in " },
    ["that fails in a worker only"] = { "if gateway.worker_id == 1 then error 'only here' end\n",
      "worker 1: [^\n]*script%.lua:2: only here\n%s+stack traceback:" },
    ["that configures nonsense"] = { "gateway.configure { intents = { 'guilds' }, qeue = {} }\n",
      "script%.lua:2: gateway%.configure: [^\n]*qeue" },
    ["that does not come to an end"] = { "while true do end\n", "ran longer than its budget of 500 ms" },
    ["with a module that is not there"] = { "require 'missing'\n", "module 'missing' not found" },
    ["that is gone"] = { false, "cannot open [^\n]*script%.lua" },
  } do
    it("of a script " .. what .. " changes nothing anywhere, and says why", function()
      local s = start(version "one", two_workers())
      if case[1] then
        rewrite(s, case[1])
      else
        os.remove(s.gateway.script)
      end
      local ok, line = s.gateway:reload()
      assert.is_false(ok)
      assert.matches("the reload failed, nothing has changed", line, 1, true)
      s.gateway:wait_for_log(case[2])
      s:type("1", 0)
      s:type("1", 1)
      loop.wait_for("both workers", function() return s.gateway:count_log "version one" == 2 end)
      rewrite(s, version "three")
      assert.is_true((s.gateway:reload()))
      loop.wait_for("all three", function() return s.gateway:count_log "loaded three" == 3 end)
      assert.equal(3, s.gateway:count_log "loaded one")
    end)
  end

  it("names what needs a restart, and does the rest", function()
    local s = start([[
gateway.configure { intents = 33281, log = { level = "info" } }
]], { hurry = 20 })
    rewrite(s, [[
gateway.configure {
  intents = 1, total_shards = 7, token = "another.token", state_dir = "/nowhere",
  control = { listen = "127.0.0.1:9" }, log = { level = "debug" }, queue = { memory_bytes = 100000 },
  large_threshold = 77,
}
]])
    assert.is_true((s.gateway:reload()))
    for _, key in ipairs { "intents", "total_shards", "token", "state_dir", "control%.listen" } do
      s.gateway:wait_for_log(key .. " has changed, and needs a restart to take effect")
    end
    assert.equal(5, s.gateway:count_log "needs a restart")
    s.fake:emit { count = 1 }
    s:wait_delivered()
    -- It has not taken effect; the rest has.
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    s:wait_counter("identifies_ok", 2)
    s.gateway:wait_for_log "debug worker 0"
    assert.same({}, s:list "violations")
    assert.equal(33281, s:list("sessions")[1].intents)
    assert.is_true((s.gateway:reload())) -- said again as long as it is so
    assert.equal(10, s.gateway:count_log "needs a restart")
  end)

  it("takes sinks that come, change and go; where one that stays keeps its events needs a restart", function()
    local configure = "gateway.configure { sinks = { %s } }\n" .. version "one"
    local s = start(configure:format [[ a = { url = "http://127.0.0.1:9" }, b = { events = { "RESUMED" } } ]])
    rewrite(s, configure:format [[ b = { queue = { durability = "none" }, events = { "READY" } }, c = {} ]])
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "sinks.b.queue.durability has changed, and needs a restart to take effect"
    assert.equal(1, s.gateway:count_log "needs a restart")
    rewrite(s, configure:format [[ b = { queue = { durability = "log" } } ]])
    assert.is_true((s.gateway:reload())) -- as it runs: nothing is left to be said
    assert.equal(1, s.gateway:count_log "needs a restart")
    rewrite(s, configure:format [[ b = { url = "redis://:hidden-word@a/b", queue = { sync = "now" } } ]])
    local ok, line = s.gateway:reload()
    assert.is_false(ok)
    assert.matches("the reload failed, nothing has changed", line, 1, true)
    s.gateway:wait_for_log "sinks.b.url: expected the number of a database behind the host, like /0"
    s.gateway:wait_for_log 'sinks.b.queue.sync: expected one of "none", "interval", "batch"'
    assert.equal(0, s.gateway:count_log "hidden%-word")
  end)

  it("keeps gateway.state; timers and what waits of the old script end", function()
    local s = start [[
local state = gateway.state
state.loads = (state.loads or 0) + 1
state.nested = state.nested or { list = { 1, 2, "three" }, flag = true }
state.lost = function() end
local generation = state.loads
gateway.every(10, function() gateway.log.info("tick of %d", generation) end)
gateway.on("load", function()
  gateway.log.info("load %d, %s", state.loads, state.nested.list[3])
  local ok, err = gateway.sleep(1e6)
  gateway.log.info("sleep of %d: %s, %s", generation, ok, err.code)
end)
gateway.on("unload", function()
  gateway.state.goodbye = "from " .. generation
  gateway.sleep(5)
  gateway.log.info("unloaded %d", generation)
end)
gateway.on("reload", function(_, details)
  gateway.log.info("reloaded to %d: %s", details.generation, state.goodbye)
end)
]]
    s.gateway:wait_for_log "tick of 1"
    assert.is_true((s.gateway:reload()))
    loop.wait_for("both", function() return s.gateway:count_log "sleep of 1: nil, cancelled" == 2 end)
    loop.wait_for("both", function() return s.gateway:count_log "unloaded 1" == 2 end)
    loop.wait_for("both", function() return s.gateway:count_log "reloaded to 2: from 1" == 2 end)
    loop.wait_for("both", function() return s.gateway:count_log "load 2, three" == 2 end)
    s.gateway:wait_for_log "gateway.state: 'lost' did not survive the reload"
    s.gateway:wait_for_log "tick of 2"
    local ticks = s.gateway:count_log "tick of 1"
    local more = s.gateway:count_log "tick of 2" + 20
    loop.wait_for("more ticks", function() return s.gateway:count_log "tick of 2" >= more end)
    assert.equal(ticks, s.gateway:count_log "tick of 1")
  end)

  it("comes once more when it is asked for while one is under way", function()
    local s = start(version "one")
    for i = 2, 6 do
      rewrite(s, version(tostring(i)))
      s.gateway.process:kill "SIGHUP"
    end
    s.gateway:wait_for_log "worker 0: loaded 6"
    s:type()
    s.gateway:wait_for_log "version 6"
  end)

  it("while a worker is down reaches it when it is back", function()
    local s = start(version "one", two_workers())
    kill_worker(s, 1)
    s.gateway:wait_for_log "a worker has ended[^\n]* worker=1"
    rewrite(s, version "two")
    assert.is_true((s.gateway:reload()))
    s:wait_counter("resumes_ok", 1)
    s:type("1", 0)
    s:type("1", 1)
    loop.wait_for("both workers", function() return s.gateway:count_log "version two" == 2 end)
    assert.equal(0, s.gateway:count_log "version one")
    s.gateway:wait_for_log "a worker is ready worker=1 generation=2"
  end)

  it("shows its generation in get_shard_info", function()
    local s = start([[
gateway.on("TYPING_START", function()
  for _, shard in ipairs(gateway.manager:get_shard_info()) do
    gateway.log.info("shard %d: generation %d", shard.shard_id, shard.generation)
  end
end)
]], two_workers())
    assert.is_true((s.gateway:reload()))
    assert.is_true((s.gateway:reload()))
    kill_worker(s, 1)
    s:wait_counter("resumes_ok", 1)
    s:type()
    s.gateway:wait_for_log "shard 0: generation 3"
    s.gateway:wait_for_log "shard 1: generation 3"
  end)
end)

describe("reloads under load", function()
  after_each(scene.stop)

  -- A script that touches everything on the path of an event.
  local BUSY = [[
gateway.state.reloads = (gateway.state.reloads or 0) + 1
gateway.filter("MESSAGE_CREATE", function(event) return event.size > 0 or nil end)
local handle = gateway.delivery.handle_discord_payload
function gateway.delivery:handle_discord_payload(shard, event) return handle(self, shard, event) end
local heartbeat = gateway.shard.heartbeat
function gateway.shard:heartbeat(interval) return heartbeat(self, interval) end
gateway.on("MESSAGE_CREATE", function(event) gateway.sleep(1) return event.data.id end)
gateway.every(5, function() end)
]]

  it("lose, double and reorder nothing, and delay no heartbeat", function()
    local s = start(BUSY, {
      shards = 4, per_worker = 2, workers = 2, log_level = "info", bot = { keep_bodies = true },
      fake = { max_concurrency = 4, heartbeat_interval = 400 * paths.slow, message_size = 600 },
    })
    s.fake:emit { count = 5000, rate = 1250 } -- 5,000 a second, if the machine can
    local reloads = 0
    repeat
      assert.is_true((s.gateway:reload()))
      reloads = reloads + 1
      loop.turn()
    until s.fake:sent().pending == 0 or reloads == 300
    local sent = s:wait_delivered(60000)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    assert.is_true(reloads >= 10, reloads .. " reloads")
    assert.same({}, s:list "heartbeats_missed")
    assert.same({}, s:list "violations")
    assert.equal(4, s:counters().identifies)
    assert.equal(0, s:counters().resumes)
    assert.equal(0, s.gateway:count_log " error ")
  end)

  local function resident(pid)
    local pages = tonumber(paths.read(("/proc/%d/statm"):format(pid)):match "^%d+ (%d+)")
    return pages * 4 -- KiB
  end

  it("leave memory flat", function()
    local s = start(BUSY .. [[
gateway.state.list = { 1, 2, { "three" } }
gateway.on("load", function() gateway.sleep(1e6) end)
]], { log_level = "info" })
    local function reload(n)
      for _ = 1, n do
        assert.is_true((s.gateway:reload()))
      end
      s.fake:emit { count = 20 }
      s:wait_delivered()
    end
    reload(50)
    local worker = s.gateway:worker_pids()[1]
    local before = { resident(s.gateway.pid), resident(worker) }
    reload(150)
    local after = { resident(s.gateway.pid), resident(worker) }
    for i, who in ipairs { "manager", "worker" } do
      local grown = after[i] - before[i]
      -- The bot's events of the second half, and what malloc does not give back.
      assert.is_true(grown < 2048 or os.getenv "ASAN_OPTIONS" ~= nil,
        ("the %s has grown by %d KiB, from %d KiB"):format(who, grown, before[i]))
    end
    assert.equal(1, s:counters().identifies)
  end)
end)
