-- What a script may cost, and that it cannot hurt: budgets, loops, crashes, memory, calls that block,
-- globals.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local wall_clock = require "spec.support.wall_clock"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  return scene.start(options)
end

local ENDLESS = [[
jit.off() -- what is compiled cannot be interrupted
]]

describe("budgets", function()
  after_each(scene.stop)

  it("end a loop in a method: the default runs, at the next call the method is asked again", function()
    local s = start(ENDLESS .. [[
local heartbeat = gateway.shard.heartbeat
local calls = 0
function gateway.shard:heartbeat(interval)
  calls = calls + 1
  if calls == 1 then while true do end end
  gateway.log.info("call %d", calls)
  return heartbeat(self, interval)
end
]], { fake = { heartbeat_interval = 300 * paths.slow } })
    s.gateway:wait_for_log("gateway%.shard:heartbeat %([^\n]*script%.lua:5%) failed; the default is used\n"
      .. "[^\n]*script%.lua:%d+: stopped: it ran longer than its budget of 5 ms")
    s.gateway:wait_for_log "call 3"
    assert.same({}, s:list "heartbeats_missed")
  end)

  for what, endless in pairs {
    ["inside pcall"] = "while true do pcall(function() while true do end end) end",
    ["that swallows errors"] = "while true do pcall(error, 'x') end",
    ["in a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["in a coroutine inside pcall"] =
      "while true do pcall(coroutine.wrap(function() while true do pcall(error) end end)) end",
    ["in a handler of xpcall"] = "xpcall(error, function() while true do end end)",
  } do
    it("end a loop " .. what, function()
      local s = start(ENDLESS .. ([[
gateway.filter("TYPING_START", function() %s end)
]]):format(endless))
      s:type()
      s.bot:wait_for_events(1, "TYPING_START") -- an error in a filter lets the event pass
      s.gateway:wait_for_log "stopped: it ran longer than its budget of 5 ms"
      s.fake:emit { count = 5 }
      s:wait_delivered()
      assert.equal(1, s:counters().identifies)
    end)
  end

  -- A thread that waited by the wall clock would now sleep for an hour, as one does in the world after a step
  -- backwards; the manager's watchdog is kept out of it.
  it("end a loop although the wall clock is set", function()
    local clock = wall_clock.new()
    local s = start(ENDLESS .. [[
gateway.configure { script = { kill_after = 60000 } }
gateway.filter("TYPING_START", function() while true do end end)
]], { env = clock:env() })
    clock:step(wall_clock.HOUR)
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "stopped: it ran longer than its budget of 5 ms"
  end)

  it("end a loop in a handler, and in each slice between two waits", function()
    local s = start(ENDLESS .. [[
gateway.configure { script = { slice_budget = 30 } }
gateway.on("TYPING_START", function(event)
  if event.data.user_id == "1" then while true do end end
  for i = 1, 10 do
    local until_then = os.clock() + 0.01
    while os.clock() < until_then do end -- 10 ms at a time are fine
    gateway.sleep(1)
  end
  gateway.log.info("ten slices")
  while true do pcall(gateway.json.decode, "[]") end
end)
]])
    s:type "1"
    s.gateway:wait_for_log "TYPING_START %([^\n]*script%.lua:4%) failed; it has ended\n[^\n]*budget of 30 ms"
    s:type "2"
    s.gateway:wait_for_log "ten slices"
    s.gateway:wait_for_log "script%.lua:12:" -- where it was stopped, or who had called from there
    assert.equal(2, s.gateway:count_log "stopped: it ran longer than its budget of 30 ms")
    s.bot:wait_for_events(2, "TYPING_START")
  end)

  it("are what is configured", function()
    local s = start(ENDLESS .. [[
gateway.configure { script = { inline_budget = 80 } }
gateway.filter("TYPING_START", function(event)
  local until_then = os.clock() + (event.data.user_id == "1" and 0.03 or 10)
  while os.clock() < until_then do end
  return false
end)
]])
    s:type "1"
    s:type "2"
    s.gateway:wait_for_log "stopped: it ran longer than its budget of 80 ms"
    local events = s.bot:wait_for_events(1, "TYPING_START")
    assert.equal(1, #events)
    assert.matches('"user_id":"2"', events[1].body, 1, true)
  end)

  it("are what is configured for the rest of the load, too", function()
    local s = start [[
gateway.configure { script = { load_budget = 60000 } }
local until_then = os.clock() + 0.7
while os.clock() < until_then do end
]]
    assert.equal(0, s.gateway:stop())
    s = start("gateway.configure { script = { load_budget = 50 } }\nwhile true do end\n", { ready = false })
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches("script.lua:3: stopped: it ran longer than its budget of 50 ms", s.gateway.stderr, 1, true)
  end)

  it("end a script that does not come to an end while it loads", function()
    local s = start("local n = 0\nwhile true do n = n + 1 end\n", { ready = false })
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches("script.lua:3: stopped: it ran longer than its budget of 500 ms", s.gateway.stderr, 1,
      true)
  end)

  it("end loops in the manager, which is never compiled", function()
    local s = start [[
function gateway.manager:calculate_worker_id() while true do end end
gateway.on("load", function()
  if gateway.role == "manager" then
    local x = 0
    while true do x = (x + 1) % 1000003 end
  end
end)
]]
    s.gateway:wait_for_log "gateway.manager:calculate_worker_id [^\n]* failed; the default is used"
    s.gateway:wait_for_log "manager: load %([^\n]*script%.lua:3%) failed; it has ended"
    assert.equal(0, s.gateway:stop())
  end)
end)

describe("a worker that cannot be interrupted", function()
  after_each(scene.stop)

  local sanitized = os.getenv "ASAN_OPTIONS" ~= nil -- then crashes are not told by the gateway itself

  for what, case in pairs {
    ["an endless compiled loop in a method"] = { [[
function gateway.cache:message_changed()
  once()
  local x = 0
  while true do x = (x + 1) % 1000003 end
end
]], "gateway%.cache:message_changed %([^\n]*script%.lua:%d+%)", "killed: its loop did not turn",
      "MESSAGE_UPDATE" },
    ["an endless compiled loop in a handler"] = { [[
gateway.on("TYPING_START", function()
  once()
  local x = 0
  while true do x = (x + 1) % 1000003 end
end)
]], "TYPING_START %([^\n]*script%.lua:%d+%)", "killed: its loop did not turn" },
    ["a C call that blocks"] = { [[
local ffi = require "ffi"
ffi.cdef "int pause(void);"
gateway.on("TYPING_START", function()
  once()
  while true do ffi.C.pause() end
end)
]], "TYPING_START %([^\n]*script%.lua:%d+%)", "killed: its loop did not turn" },
    ["a crash in FFI"] = { [[
local ffi = require "ffi"
gateway.on("TYPING_START", function()
  once()
  ffi.cast("int *", 8)[0] = 1
end)
]], "crashed %(Segmentation fault%) inside of TYPING_START %([^\n]*script%.lua:%d+%)", "signal 11" },
    ["a finalizer that takes memory without end"] = { [[
gateway.on("TYPING_START", function()
  once()
  getmetatable(newproxy(true)).__gc = function()
    local all
    while true do all = { all } end
  end
  collectgarbage()
end)
]], "memory without end, and cannot be stopped: [^\n]*gateway%.on %([^\n]*script%.lua:%d+%)", "signal 6",
      kill_after = 10000 },
  } do
    it("after " .. what .. " is replaced, its shards resume, and the script is named", function()
      local s = start(([[
gateway.configure { script = { kill_after = %d, memory = 4194304 }, message_updates = "content" }
local function once()
  local file = io.open "done"
  if file then
    file:close()
    gateway.sleep(100000) -- Discord sends the event again
  end
  io.open("done", "w"):close()
end
]]):format(case.kill_after or 800) .. case[1], {
        reload = false, shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 },
        env = scene.crashes,
      })
      s.fake:emit { count = 300, rate = 150 }
      s.bot:wait_for_events(50, "MESSAGE_CREATE")
      if case[4] then
        s.fake:emit { event = case[4], shard = 2, d = { id = "1", channel_id = "1", content = "x" } }
      else
        s:type("1", 2)
      end
      if not sanitized then
        s.gateway:wait_for_log("worker 1[^\n]*: [^\n]*" .. case[2])
      end
      local named = sanitized and case[3] == "signal 11" and "" or "[^\n]*script%.lua"
      s.gateway:wait_for_log("a worker has ended[^\n]* worker=1 [^\n]*" .. case[3] .. named)
      s:wait_counter("resumes_ok", 2)
      local sent = s:wait_delivered()
      checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
      assert.equal(4, s:counters().identifies)
      for _, resume in ipairs(s:list "resumes") do
        assert.same({ "ok", true }, { resume.result, resume.shard >= 2 })
      end
      assert.equal(2, #s.gateway:worker_pids())
    end)
  end

  it("is not shot when it only has much to do", function()
    local s = start([[
gateway.configure { script = { kill_after = 1000, slice_budget = 1000 } }
gateway.on("MESSAGE_CREATE", function()
  local until_then = os.clock() + 0.01
  while os.clock() < until_then do end
end)
]], { reload = false }) -- it does not answer for seconds
    s.fake:emit { count = 200 }
    s:wait_delivered(30000)
    assert.equal(0, s.gateway:count_log "a worker has ended")
  end)

  it("cannot take the manager with it: a crash there ends the gateway, the next start resumes", function()
    local s = start([[
gateway.on("load", function()
  if gateway.role == "manager" and io.open "go" then require("ffi").cast("int *", 8)[0] = 1 end
end)
]], { env = scene.crashes })
    s.bot:wait_for_events(1, "READY")
    local workers = s.gateway:worker_pids()
    paths.write(s.gateway.dir .. "/go", "")
    s.gateway.process:kill "SIGHUP"
    local _, signal = s.gateway.process:wait()
    if os.getenv "ASAN_OPTIONS" == nil then
      assert.equal("SIGSEGV", signal)
      assert.matches("manager: crashed (Segmentation fault) inside of load", s.gateway.stderr, 1, true)
    end
    loop.wait_for("the worker to end", function() return not process.is_running(workers[1]) end)
    s:again()
    assert.equal(1, s:counters().identifies)
    assert.equal(1, s:counters().resumes_ok)
  end)
end)

describe("memory", function()
  after_each(scene.stop)

  it("is limited: a call that takes it all is stopped, and what it took comes back", function()
    local s = start([[
gateway.configure { script = { memory = 8 * 1024 * 1024, inline_budget = 20000, slice_budget = 20000 } }
local rows = {}
gateway.on("TYPING_START", function()
  local mine = {}
  for n = 1, 1e9 do mine[n] = ("x"):rep(1000) .. n end
end)
gateway.filter("TYPING_START", function(event)
  if event.data.user_id == "2" then
    local text = "x"
    while true do text = text .. text end
  end
end)
gateway.on("MESSAGE_CREATE", function(event) rows[1] = event.data.content end)
]], { reload = false })
    for i = 1, 3 do
      s:type(tostring(i))
    end
    local stopped = "stopped: it took more than script%.memory %(8%.0 MiB%) for itself"
    s.gateway:wait_for_log("TYPING_START %([^\n]*script%.lua:4%) failed; it has ended\n[^\n]*" .. stopped)
    s.gateway:wait_for_log("filter of TYPING_START %([^\n]*script%.lua:8%) failed; the event passes\n[^\n]*"
      .. stopped)
    s.bot:wait_for_events(3, "TYPING_START")
    s.fake:emit { count = 200, size = 4000 }
    s:wait_delivered()
    assert.equal(0, s.gateway:count_log "a worker has ended")
    assert.equal(0, s.gateway:count_log "MESSAGE_CREATE [^\n]*failed")
    assert.equal(0, s.gateway:count_log "script%.memory%), which no collection brings back")
  end)

  it("ends a script that takes too much while it loads", function()
    local s = start([[
gateway.configure { script = { memory = 4 * 1024 * 1024, load_budget = 10000 } }
local all = {}
for n = 1, 1e9 do all[n] = ("x"):rep(1000) .. n end
]], { ready = false })
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches("script%.lua:4: stopped: it took more than script%.memory %(4%.0 MiB%) for itself",
      s.gateway.stderr)
  end)

  it("ends a script that holds so much once it is loaded that no handler could start", function()
    local s = start([[
gateway.configure { script = { memory = 4 * 1024 * 1024, load_budget = 10000 } }
all = {}
for n = 1, 3500 do all[n] = ("x"):rep(1000) .. n end
]], { ready = false })
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches("once it is loaded the script holds 3%.%d MiB, and script%.memory is 4%.0 MiB[^\n]*"
      .. "In use by: the top level of the script 3%.%d MiB", s.gateway.stderr)
  end)
end)

describe("errors", function()
  after_each(scene.stop)

  it("of a method, ten in a minute, switch it off until the next reload", function()
    local s = start [[
local calls, handle = 0, gateway.delivery.handle_discord_payload
function gateway.delivery:handle_discord_payload(shard, event)
  if event.type ~= "MESSAGE_CREATE" then return handle(self, shard, event) end
  calls = calls + 1
  gateway.log.info("call %d", calls)
  error("number " .. calls)
end
]]
    s.fake:emit { count = 30 }
    s:wait_delivered()
    s.gateway:wait_for_log("gateway%.delivery:handle_discord_payload %([^\n]*script%.lua:3%) failed 10 times "
      .. "in a minute and is switched off until the next reload")
    assert.equal(10, s.gateway:count_log "call %d+")
    assert.is_true((s.gateway:reload()))
    s.fake:emit { count = 3 }
    s:wait_delivered()
    assert.equal(13, s.gateway:count_log "call %d+")
  end)

  it("that repeat are logged once", function()
    local s = start [[
gateway.on("MESSAGE_CREATE", function() error "always the same" end)
]]
    s.fake:emit { count = 50 }
    s:wait_delivered()
    assert.equal(1, s.gateway:count_log "MESSAGE_CREATE %([^\n]* failed; it has ended")
  end)

  it("that are no text are shown all the same", function()
    local s = start [[
local function thing(to_string) return setmetatable({}, { __tostring = to_string }) end
gateway.filter("TYPING_START", function() error(thing(function() return "a table" end)) end)
gateway.filter("TYPING_START", function() error() end)
gateway.filter("TYPING_START", function() error(thing(function() error "no" end)) end)
]]
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "failed; [^\n]*\n%s+a table"
    s.gateway:wait_for_log "an error that is a nil"
  end)
end)

describe("standard calls", function()
  after_each(scene.stop)

  it("that would stop the process raise, and name what to use instead", function()
    local s = start [[
local function try(what, fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok)
  gateway.log.info("%s: %s", what, err)
end
gateway.on("TYPING_START", function()
  try("execute", os.execute, "true")
  try("exit", os.exit, 0)
  try("popen", io.popen, "ls")
  try("read", io.read)
  try("lines", io.lines)
  try("stdin", function() return io.stdin:read() end)
  try("input", function() return io.input():read() end)
  try("loadfile", loadfile)
  try("bytecode", function() return assert(loadstring(string.dump(function() end))) end)
end)
]]
    s:type()
    for what, instead in pairs {
      execute = "gateway%.http", exit = "gateway%.manager:shutdown", popen = "gateway%.http",
      read = "no standard input", lines = "does not have", stdin = "no standard input",
      input = "no standard input", loadfile = "does not have", bytecode = "wrong mode",
    } do
      s.gateway:wait_for_log(what .. ": [^\n]*" .. instead)
    end
    assert.equal(1, #s.gateway:worker_pids())
  end)

  it("print goes to the log, not to standard output", function()
    local s = start 'print("hello", 1, nil)\n'
    s.gateway:wait_for_log "hello\t1\tnil"
    assert.equal("", s.gateway.stdout)
  end)
end)

describe("globals", function()
  after_each(scene.stop)

  local function fails(script, pattern)
    local s = start(script, { ready = false, bot = false })
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches(pattern, s.gateway.stderr)
    scene.stop()
  end

  it("that nobody declared are refused, with a suggestion", function()
    fails("local x = tostrin(1)\n", "script%.lua:2: undeclared variable 'tostrin'; did you mean 'tostring'%?")
    fails("local function f() cuont = 1 end\nf()\n",
      "script%.lua:2: assignment to the undeclared variable 'cuont'")
    fails("gatway.log.info 'x'\n", "undeclared variable 'gatway'")
  end)

  it("are refused at run time, too, and only that call fails", function()
    local s = start [[
gateway.on("TYPING_START", function() total = (total or 0) + 1 end)
]]
    s:type()
    s.gateway:wait_for_log "script%.lua:2: undeclared variable 'total'"
    s.bot:wait_for_events(1, "TYPING_START")
  end)
end)
