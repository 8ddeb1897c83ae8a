-- Manager and workers: who holds which shard, and what becomes of sessions and events when a process ends.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"
local wall_clock = require "spec.support.wall_clock"

-- Which worker process identified or resumed which shard, by the gateway's own log.
local function workers_of_shards(gateway)
  local found = {}
  for worker, shard in gateway.stderr:gmatch "%[?worker (%d+)%]?[^\n]-shard (%d+): ready" do
    found[tonumber(shard)] = tonumber(worker)
  end
  return found
end

-- The pids of the workers by their number.
local function worker_pid(gateway, number)
  for _, pid in ipairs(gateway:worker_pids()) do
    local file = io.open(("/proc/%d/cmdline"):format(pid))
    local line = file and file:read "*a" or ""
    if file then
      file:close()
    end
    if line:find(("--id\0%d\0"):format(number), 1, true) then
      return pid
    end
  end
end

describe("shards spread over workers", function()
  after_each(scene.stop)

  local cases = {
    {
      "in blocks of shards_per_worker", { shards = 5, per_worker = 2, workers = 3 },
      { [0] = 0, 0, 1, 1, 2 },
    },
    {
      "the last worker takes the rest", { shards = 5, per_worker = 2, workers = 2 },
      { [0] = 0, 0, 1, 1, 1 },
    },
    {
      "round robin", { shards = 5, workers = 2, script = [[
require "tidegate".configure { spread_shards_in_round_robin = true }
]] },
      { [0] = 0, 1, 0, 1, 0 },
    },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local options = case[2]
      options.fake = { max_concurrency = 16 }
      local s = scene.start(options)
      assert.same(case[3], workers_of_shards(s.gateway))
      assert.equal(options.workers, #s.gateway:worker_pids())
      assert.same({}, s:list "violations")
    end)
  end

  it("holds only the shards from first_shard_id to last_shard_id", function()
    local s = scene.start { shards = 6, ready = false, env = { FIRST_SHARD_ID = 2, LAST_SHARD_ID = 3 } }
    s.gateway:wait_ready(2)
    local state = s.fake:state "identifies"
    local shards = {}
    for _, identify in ipairs(state.identifies) do
      assert.equal(6, identify.total)
      shards[#shards + 1] = identify.shard
    end
    table.sort(shards)
    assert.same({ 2, 3 }, shards)
  end)
end)

describe("a process that dies", function()
  after_each(scene.stop)

  it("worker: started again, its shards resume, nothing is lost", function()
    local s = scene.start { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } }
    s.bot:delay(3) -- so that events wait in the worker when it dies
    s.fake:emit { count = 500, rate = 600 }
    s.bot:wait_for_events(300, "MESSAGE_CREATE")
    local victim = worker_pid(s.gateway, 1)
    uv.kill(victim, "sigkill")
    s.gateway:wait_for_log 'a worker has ended[^\n]* worker=1 reason="signal 9'
    s.gateway:wait_for_log "a worker is started again worker=1 attempt=1 delay=%d+"
    s:wait_counter("resumes_ok", 2)
    local sent = s:wait_delivered(20000)

    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(4, s:counters().identifies)
    assert.same({}, s:list "violations")
    for _, resume in ipairs(s:list "resumes") do
      assert.is_true(resume.shard == 2 or resume.shard == 3)
    end
    assert.is_false(process.is_running(victim))
    assert.equal(2, #s.gateway:worker_pids())
  end)

  it("worker, again and again: the pauses grow", function()
    local s = scene.start { shards = 1 }
    local last = 0
    for i = 1, 3 do
      local pid
      loop.wait_for("a worker", function()
        pid = s.gateway:worker_pids()[1]
        return pid
      end)
      uv.kill(pid, "sigkill")
      loop.wait_for("its restart to be announced", function()
        return s.gateway:count_log "a worker is started again worker=0" == i
      end)
      local pause
      for ms in s.gateway.stderr:gmatch "a worker is started again worker=0 [^\n]*delay=(%d+)" do
        pause = tonumber(ms)
      end
      assert.is_true(pause > last, ("%d after %d"):format(pause, last))
      last = pause
      s:wait_counter("resumes_ok", i)
    end
    assert.equal(1, s:counters().identifies)
  end)

  it("manager: its workers end, and the next start resumes all", function()
    local s = scene.start { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } }
    s.fake:emit { count = 1000, rate = 1000 }
    s.bot:wait_for_events(500, "MESSAGE_CREATE")
    local workers = s.gateway:worker_pids()
    s.gateway:stop "SIGKILL"
    loop.wait_for("the workers to end", function()
      return not process.is_running(workers[1]) and not process.is_running(workers[2])
    end)
    s:again()
    local sent = s:wait_delivered(20000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    local counters = s:counters()
    assert.equal(4, counters.identifies)
    assert.equal(4, counters.resumes_ok)
    assert.same({}, s:list "violations")
  end)

  it("a script's crash through FFI takes down a worker only", function()
    local s = scene.start {
      shards = 2, per_worker = 1, workers = 2, fake = { max_concurrency = 2 }, env = scene.crashes,
      script = [[
local gateway = require "tidegate"
local ffi = require "ffi"
gateway.on("TYPING_START", function(event)
  if io.open("crashed") then return end -- Discord sends the event again
  io.open("crashed", "w"):close()
  ffi.cast("int *", 0)[0] = 1
end)
]],
    }
    s.fake:emit { count = 200, rate = 400 }
    s:type("1", 1)
    s.gateway:wait_for_log 'a worker has ended[^\n]* worker=1 reason="signal 11[^\n]* script=[^\n]*%.lua'
    s:wait_counter("resumes_ok", 1)
    local sent = s:wait_delivered()
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    assert.equal(2, s:counters().identifies)
    assert.is_false(s.gateway.process.ended or false)
  end)

  it("an endless compiled loop is killed after script.kill_after", function()
    local s = scene.start { shards = 1, script = [[
local gateway = require "tidegate"
gateway.configure { script = { kill_after = 1500 } }
gateway.on("TYPING_START", function(event)
  if io.open("looped") then return end
  io.open("looped", "w"):close()
  local x = 0
  while true do x = (x + 1) % 1000003 end
end)
]] }
    s:type "1"
    s.gateway:wait_for_log("the loop of a worker has not turned [^\n]* worker=0 script=[^\n]*script%.lua "
      .. "duration=%d+", 15000)
    s.gateway:wait_for_log 'a worker has ended[^\n]* worker=0 reason="killed'
    s.fake:emit { count = 50 }
    local sent = s:wait_delivered(15000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    assert.equal(1, s:counters().identifies)
  end)
end)

describe("a stop", function()
  after_each(scene.stop)

  -- Close codes by shard, of connections that the gateway closed.
  local function client_closes(s)
    local codes = {}
    for _, close in ipairs(s:list "closes") do
      assert.equal("client", close.by)
      codes[#codes + 1] = close.code
    end
    return codes
  end

  it("by SIGTERM keeps the sessions: the next start resumes and spends no identify", function()
    local s = scene.start { shards = 3, fake = { max_concurrency = 4 } }
    s.fake:emit { count = 100 }
    s:wait_delivered()
    assert.equal(0, s.gateway:stop "SIGTERM")
    local codes = client_closes(s)
    assert.equal(3, #codes)
    for _, code in ipairs(codes) do
      assert.is_true(code ~= 1000 and code ~= 1001, "closed with " .. code)
    end
    s.fake:emit { count = 100 } -- while nobody listens
    s:again { per_worker = 1, workers = 3 } -- another number of workers makes no difference
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    local counters = s:counters()
    assert.equal(3, counters.identifies)
    assert.equal(3, counters.resumes_ok)
    assert.equal(3, #s.gateway:worker_pids())
    assert.same({}, s:list "violations")
  end)

  it("by SIGINT ends them: the next start identifies", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    assert.equal(0, s.gateway:stop "SIGINT")
    assert.same({ 1000, 1000 }, client_closes(s))
    s:again()
    local counters = s:counters()
    assert.equal(4, counters.identifies)
    assert.equal(0, counters.resumes)
    -- The bot must be able to tell the new sessions from the old ones.
    local readies = s.bot:wait_for_events(4, "READY")
    for i = 3, 4 do
      assert.equal(s.bot:first_epoch(readies[i].shard) + 1, readies[i].epoch)
    end
    assert.same({}, s:list "violations")
  end)

  it("delivers what waits before it ends", function()
    local s = scene.start { shards = 1 }
    s.bot:delay(20)
    s.fake:emit { count = 50 }
    s.fake:wait_emitted()
    s.gateway:wait_ready(1)
    s.bot:wait_for_events(5, "MESSAGE_CREATE")
    assert.equal(0, s.gateway:stop())
    s.bot:delay(nil)
    s:again()
    local sent = s:wait_delivered()
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(1, s:counters().identifies)
  end)

  for what, moment in pairs {
    ["while Discord's REST does not answer"] = function(s)
      s.fake:wait_for("the request", function(state) return #state.rest == 1 end, { only = "rest" })
    end,
    ["while the workers load"] = function(s)
      s.gateway:wait_for_log "1 shard %(0 to 0 of 1%) in 1 worker"
    end,
    ["while an identify is under way"] = function(s)
      s:wait_counter("identifies", 1)
    end,
  } do
    it("comes to an end " .. what, function()
      local s = scene.start { ready = false, bot = false }
      s.gateway:stop "SIGKILL"
      s.fake:reset { "history", "sessions" }
      s.fake:fault { at = "identify", ["do"] = "withhold" }
      if what:find "REST" then
        s.fake:fault { at = "rest", ["do"] = "hang" }
      end
      s:again { ready = false }
      moment(s)
      local began = loop.now()
      assert.equal(0, s.gateway:stop())
      assert.is_true(loop.now() - began < 3000 * paths.slow)
      assert.is_true(s:counters().identifies <= 1)
    end)
  end

  it("comes to an end when the bot does not answer, and loses nothing", function()
    local s = scene.start { shards = 1 }
    s.bot:wait_for_events(1, "READY")
    s.bot:hang()
    s.fake:emit { count = 20 }
    s.fake:wait_emitted()
    loop.wait_for("a request at the bot", function() return s.bot.in_flight[0] == 1 end)
    local began = loop.now()
    s.gateway.process:kill "SIGTERM"
    s.gateway:wait_for_log "stopping"
    s.gateway.process:kill "SIGTERM" -- asked twice: it hurries
    assert.equal(0, s.gateway.process:wait(8000))
    assert.is_true(loop.now() - began < 5000)
    s.bot:answer(nil)
    s:again()
    local sent = s:wait_delivered()
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    assert.equal(1, s:counters().identifies)
  end)
end)

describe("a state directory", function()
  after_each(scene.stop)

  for what, change in pairs {
    intents = { intents = 1 },
    ["number of shards"] = { shards = 2, env = { TOTAL_SHARDS = 2 } },
  } do
    it("of other " .. what .. " is not resumed from, and the log says so", function()
      local s = scene.start { shards = 1, fake = { max_concurrency = 2 } }
      s.bot:wait_for_events(1, "READY")
      s.gateway:stop()
      s:again(change)
      s.gateway:wait_for_log "of another token, intents or number of shards: all shards identify"
      local counters = s:counters()
      assert.equal(0, counters.resumes)
      assert.equal(1 + (change.shards or 1), counters.identifies)
      -- Epochs go on, or the bot would take the new events for known ones.
      local readies = s.bot:wait_for_events(1 + (change.shards or 1), "READY")
      assert.equal(s.bot:first_epoch(0) + 1, readies[#readies].epoch)
    end)
  end

  -- A bot that remembers the last (epoch, s) drops what is not newer.
  it("that is lost does not take the epochs back", function()
    local before = os.time()
    local s = scene.start {}
    local first = s.bot:wait_for_events(1, "READY")[1].epoch
    assert.is_true(first >= before and first <= os.time(), "the first epoch is " .. first)
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    assert.equal(first + 1, s.bot:wait_for_events(2, "READY")[2].epoch)
    s.gateway:stop "SIGINT"
    loop.wait_for("a later second", function() return os.time() > first + 1 end)
    s:again { state_dir = paths.tmp() .. "/state" }
    assert.is_true(s.bot:wait_for_events(3, "READY")[3].epoch > first + 1)
  end)

  local IN_2026 = 1767225600
  for what, seconds in pairs { ["1970"] = 5, ["2100"] = 4102444800 } do
    it("that is new, while the clock says " .. what .. ", begins with an epoch that can be right", function()
      local clock = wall_clock.new()
      clock:set(seconds * 1000)
      local s = scene.start { env = clock:env {} }
      assert.equal(IN_2026, s.bot:wait_for_events(1, "READY")[1].epoch)
      assert.equal(1, s.gateway:count_log "warn [^\n]*the clock of this machine is wrong")
    end)
  end

  it("keeps its number of shards, and the sessions, when Discord recommends another", function()
    local s = scene.start { shards = 1 }
    s.gateway:stop()
    s.fake:settings { shards = 2 }
    s:again()
    s.gateway:wait_for_log "keeping the number of shards, whose sessions can be resumed; 2 [^\n]* shards=1"
    assert.equal(1, s:counters().identifies)
    assert.equal(1, s:counters().resumes_ok)
  end)

  it("of another token is not resumed from", function()
    local s = scene.start { shards = 1 }
    s.gateway:stop()
    s.fake:settings { token = "another.bot.token" }
    s:again { env = { DISCORD_TOKEN = "another.bot.token" } }
    s.gateway:wait_for_log "of another token, intents or number of shards: all shards identify"
    assert.equal(0, s:counters().resumes)
  end)

  it("serves one gateway only: the second names the pid of the first and ends with 78", function()
    local s = scene.start { shards = 1 }
    local first = s.gateway
    local second = s:again { ready = false }
    assert.equal(78, (second.process:wait()))
    assert.matches(("pid %d"):format(first.pid), second.stderr, 1, true)
    assert.matches(first.state_dir, second.stderr, 1, true)
    s.fake:emit { count = 10 }
    s:wait_delivered()
    assert.equal(1, s:counters().identifies)
  end)

  it("in which the shard table cannot be opened ends the gateway with 78", function()
    local state_dir = paths.tmp()
    assert(uv.fs_mkdir(state_dir .. "/shards", 448))
    local s = scene.start { ready = false, state_dir = state_dir, bot = false }
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches("error manager: [^\n]*/shards cannot be opened: it is a directory", s.gateway.stderr)
  end)
end)
