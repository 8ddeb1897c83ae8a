-- What the gateway is started with, and what is done to it from outside: standard descriptors that are
-- closed, outputs that nobody reads, signals. A report from the field is a row.

local fake_discord = require "spec.support.fake_discord"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"
local unread = require "spec.support.unread"
local uv = require "luv"

-- A scene whose gateway needs no log to be talked to.
local function start(options)
  options.env = options.env or {}
  options.ready = false
  local socket = paths.tmp() .. "/control.sock"
  options.env.TIDEGATE_CONTROL = "unix:" .. socket
  local s = scene.start(options)
  s.gateway.control_at = "http+unix://" .. socket .. ":"
  local deadline, answer = loop.now() + 20000 * paths.slow, nil
  while not answer or answer.status ~= 200 do
    assert(loop.now() < deadline and not s.gateway.process.ended, "the gateway does not become ready")
    answer = uv.fs_stat(socket) and s.gateway:control("GET", "/readyz")
    local next_look = loop.now() + 20
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
  return s
end

local function shell(redirection)
  return { "sh", "-c", 'exec "$@" ' .. redirection, "sh" }
end

describe("standard descriptors that are closed:", function()
  after_each(scene.stop)

  local COMBINATIONS = { "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-" }

  for _, closed in ipairs(COMBINATIONS) do
    it("with " .. closed .. " the gateway starts, delivers, and stops with 0", function()
      local s = start { wrap = shell(closed), shards = 2, workers = 2, per_worker = 1 }
      s.fake:emit { count = 3 }
      s:wait_delivered()
      assert.equal(200, s.gateway:control("GET", "/healthz").status)
      assert.equal(2, #s.gateway:worker_pids())
      for _, pid in ipairs { s.gateway.pid, unpack(s.gateway:worker_pids()) } do
        for way in closed:gmatch "%S+" do
          local fd = way == "<&-" and 0 or way == ">&-" and 1 or 2
          assert.equal("/dev/null", (uv.fs_readlink(("/proc/%d/fd/%d"):format(pid, fd))))
        end
      end
      assert.equal(0, (s.gateway:stop()))
    end)
  end

  -- Command, and its exit code.
  local PROGRAMS = {
    { "tidegate version", 0 }, { "tidegate help", 0 }, { "tidegate nope", 64 }, { "tidegate check", 0 },
    { "tidegate check --json", 0 }, { "tidegate ctl status", 69 }, { "tidegate ctl payload 0 -", 64 },
    { "tidegate run", 69 }, { "tidegate-fake-discord --help", 0 }, { "tidegate-fake-discord --nope", 64 },
  }

  for _, row in ipairs(PROGRAMS) do
    it(("%s ends with %d"):format(row[1], row[2]), function()
      local env = {
        DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds", REST_URL = "http://127.0.0.1:9/api/v10",
        TIDEGATE_STATE_DIR = paths.tmp() .. "/state", TIDEGATE_HURRY = 50,
        TIDEGATE_CONTROL = "unix:" .. paths.tmp() .. "/control.sock",
      }
      for _, closed in ipairs(COMBINATIONS) do
        local p = process.run({ "sh", "-c", ("exec %s/%s %s"):format(paths.build, row[1], closed) },
          { env = env, timeout = 20000 })
        assert.equal(row[2], p.exit_code or p.signal, closed .. "\n" .. p.stderr)
      end
    end)
  end

  it("the fake Discord serves, and ends with 0", function()
    local command = ('exec "%s" <&- 2>&-'):format(paths.bin "tidegate-fake-discord")
    local fake = process.start { "sh", "-c", command }
    local admin = fake:wait_for_output('"admin":"([^"]+)"', "stdout")
    assert.equal(200, http.request("GET", admin .. "/state").status)
    fake:kill "SIGTERM"
    assert.equal(0, (fake:wait()))
  end)
end)

describe("signals that mean nothing", function()
  after_each(scene.stop)

  local function send_to_all(g, signal)
    for _, pid in ipairs { g.pid, unpack(g:worker_pids()) } do
      uv.kill(pid, signal)
    end
  end

  for _, signal in ipairs { "sigusr1", "sigpipe", "sigxfsz", "sigurg" } do
    it(signal .. " changes nothing, whenever it comes", function()
      local s = scene.start { ready = false, env = { TIDEGATE_HURRY = 10 } }
      local g, sent = s.gateway, 0
      g:wait_for_log "manager: "
      local timer = uv.new_timer()
      timer:start(0, 20, loop.callback(function()
        sent = sent + 1
        uv.kill(g.pid, signal)
      end))
      g:wait_ready(1)
      loop.wait_for("a signal to be sent", function() return sent > 0 end)
      timer:close()
      send_to_all(g, signal)
      s.fake:emit { count = 3 }
      s:wait_delivered()
      send_to_all(g, signal)
      assert.equal(200, g:control("GET", "/readyz").status)
      assert.equal(0, (g:stop()))
      assert.equal(0, g:count_log "a worker has ended")
    end)
  end
end)

describe("a log that nobody reads:", function()
  after_each(scene.stop)

  -- The user's number says how many lines; MANY are more than any buffer has room for.
  local MANY, FEW = 700, 20
  local SCRIPT = [[
local gateway = require "tidegate"
local text = ("x"):rep(3000)
gateway.on("TYPING_START", function(event)
  for i = 1, event.data.user_id do gateway.log.warn("%s", ("line %d %s"):format(i, text)) end
end)
]]

  -- All that a gateway does goes on: beats, events, a reload, a worker's death, its end.
  local function live(s)
    local g = s.gateway
    s:type(MANY)
    s.fake:emit { count = 20 }
    s:wait_delivered()
    local beats = s:counters().heartbeats
    s:wait_counter("heartbeats", beats + 5)
    assert.equal(200, g:control("GET", "/healthz").status)
    assert.equal(2, g:control("POST", "/reload"):json().generation)
    uv.kill(g:control("GET", "/status"):json().workers[1].pid, "sigkill")
    s:wait_counter("resumes_ok", 1)
    s.fake:emit { count = 20 }
    s:wait_delivered()
    s:type(MANY)
    s.fake:emit { count = 1 }
    s:wait_delivered()
  end

  local function begin(words)
    return start {
      wrap = words, script = SCRIPT, hurry = 10, workers = 1, reload = false,
      fake = { heartbeat_interval = 300 * paths.slow },
    }
  end

  local function stop(s)
    local began = loop.now()
    assert.equal(0, (s.gateway:stop()))
    assert.is_true(loop.now() - began < 8000 * paths.slow)
  end

  for _, kind in ipairs { "pipe", "nonblocking", "socket", "pty" } do
    it("a " .. kind .. " keeps nothing waiting, and what is missing is counted", function()
      local output = unread.new(kind)
      local s = begin(output:words())
      live(s)
      output:read()
      local told = 'warn  worker 0: lines of the log are missing here reason="nobody has read them in time" '
      loop.wait_for("what is missing", function() return output:text():find(told, 1, true) end)
      s:type(FEW)
      loop.wait_for("lines again", function() return output:text():find("line " .. FEW .. " x") end)
      stop(s)
      -- Those of the worker that was killed are gone with it; those of the next one are there, or counted.
      local written, missing = 0, 0
      for line in output:text():gmatch "[^\n]+" do
        written = written + (line:find "worker 0 shard 0: line %d+ x+$" and 1 or 0)
        missing = missing + (line:find(told, 1, true) and line:match "held=(%d+)$" or 0)
      end
      assert.is_true(missing > 0 and missing < 2 * MANY, missing)
      assert.is_true(written > FEW and written + missing >= MANY + FEW, written)
    end)
  end

  for _, kind in ipairs { "pipe", "socket", "pty", "gone" } do
    it("a mistake ends the start with 78 though its words have no reader: " .. kind, function()
      local words = unread.new(kind):words()
      words[#words + 1] = paths.bin "tidegate"
      words[#words + 1] = "run"
      local began = loop.now()
      local p = process.run(words, { env = { INTENTS = "guilds" } })
      assert.equal(78, p.exit_code)
      assert.is_true(loop.now() - began < 5000 * paths.slow)
    end)
  end

  it("a pipe whose reader has gone keeps nothing waiting", function()
    local s = begin(unread.new("gone"):words())
    live(s)
    stop(s)
  end)

  it("a full disk keeps nothing waiting, and the log goes on when there is room again", function()
    if uv.getuid() ~= 0 then
      pending "needs root"
      return
    end
    local disk = paths.tmp()
    local s = begin { "unshare", "--mount", "sh", "-c", [[
      mount -t tmpfs -o size=256k tmpfs "$0"
      head -c 256k /dev/zero >"$0/filler"
      exec "$@" 2>>"$0/log"
    ]], disk }
    local there = ("/proc/%d/root%s"):format(s.gateway.pid, disk)
    live(s)
    assert.equal("", paths.read(there .. "/log"))
    assert(uv.fs_unlink(there .. "/filler"))
    local told = "worker 0: lines of the log are missing here reason=\"No space left on device\" held=%d+\n"
    loop.wait_for("the log", function() return paths.read(there .. "/log"):find(told) end)
    s:type(MANY) -- more than the disk has room for: it is full again
    s.fake:emit { count = 20 }
    s:wait_delivered()
    for line in paths.read(there .. "/log"):gmatch "([^\n]*)\n" do assert.matches("^%d+%-%d+%-%d+T", line) end
    stop(s)
  end)

  -- What ends a worker at once, in a handler, behind a hundred lines. Under sanitizers a crash is theirs.
  local ENDS = {
    ["abort()"] = "ffi.C.abort()",
    ["a crash"] = not os.getenv "ASAN_OPTIONS" and "ffi.cast('int *', 8)[0] = 1" or nil,
  }

  for what, statement in pairs(ENDS) do
    it("lines in front of " .. what .. " come out when somebody reads", function()
      local s = scene.start {
        env = scene.crashes, hurry = 10, reload = false, script = ([[
local gateway = require "tidegate"
local ffi = require "ffi"
ffi.cdef "void abort(void);"
gateway.on("TYPING_START", function()
  for i = 1, 100 do gateway.log.warn("%%s", "line " .. i) end
  %s
end)
]]):format(statement) }
      s:type()
      s.gateway:wait_for_log "a worker has ended"
      for i = 1, 100 do assert.equal(1, s.gateway:count_log("worker 0 shard 0: line " .. i .. "$"), i) end
      s:wait_counter("resumes_ok", 1)
    end)
  end

  it("a background job goes on though its terminal stops those that write", function()
    local fake = fake_discord.start { shards = 1 }
    local command = ("stty tostop; set -m; %s run & echo job=$!; wait"):format(paths.bin "tidegate")
    local p = process.start({ "script", "-qec", ("sh -c '%s'"):format(command), "/dev/null" }, { env = {
      DISCORD_TOKEN = fake.token, REST_URL = fake.rest, INTENTS = 1, TERM = "dumb", TOTAL_WORKERS = 1,
      TIDEGATE_CONTROL = "127.0.0.1:0", TIDEGATE_STATE_DIR = paths.tmp() .. "/state",
    } })
    p:wait_for_output("all shards are up", "stdout")
    local job = tonumber(p:wait_for_output("job=(%d+)", "stdout"))
    assert(uv.kill(job, "sigterm")) -- a job does not end with its terminal
    loop.wait_for("the end of the job", function() return not uv.kill(job, 0) end, 20000)
    fake:stop()
  end)
end)

describe("what the control API says, and nobody reads,", function()
  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  it("holds up nobody else, and not for ever", function()
    local s = start { hurry = 20 }
    local g = s.gateway
    local function sockets()
      local count = 0
      for name in uv.fs_scandir_next, assert(uv.fs_scandir(("/proc/%d/fd"):format(g.pid))) do
        local link = uv.fs_readlink(("/proc/%d/fd/%s"):format(g.pid, name))
        count = count + (link and link:find "^socket:" and 1 or 0)
      end
      return count
    end
    local before = sockets()
    for _ = 1, 20 do
      local client = raw_client.connect(g:control_url())
      client.stream:read_stop()
      client:write(("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(200))
    end
    loop.wait_for("their connections", function() return sockets() >= before + 10 end)
    assert.equal(200, g:control("GET", "/readyz").status)
    s.fake:emit { count = 5 }
    s:wait_delivered()
    loop.wait_for("the gateway to give them up", function() return sockets() <= before end)
  end)

  it("is printed by ctl when somebody reads, who may have had enough; a disk may not", function()
    local s = start {}
    local env = { TIDEGATE_CONTROL = "unix:" .. s.gateway.control_at:match "//(.*):" }
    local function ctl(output)
      local words = output:words(1)
      for _, word in ipairs { paths.bin "tidegate", "ctl", "status" } do words[#words + 1] = word end
      return process.start(words, { env = env })
    end
    local output = unread.new "pipe"
    local waits = ctl(output)
    s.fake:emit { count = 5 }
    s:wait_delivered()
    assert.equal(200, s.gateway:control("GET", "/readyz").status)
    assert.is_nil(waits.exit_code)
    output:read()
    assert.equal(0, (waits:wait()))
    loop.wait_for("the answer", function() return output:text():find '"version"' end)
    local ends = ctl(unread.new "gone")
    ends:wait()
    assert.equal("SIGPIPE", ends.signal)
    assert.equal("", ends.stderr)
    local command = ("exec %s ctl shards >/dev/full"):format(paths.bin "tidegate")
    local fails = process.run({ "sh", "-c", command }, { env = env })
    assert.equal(1, fails.exit_code)
    assert.matches("standard output cannot be written: No space left", fails.stderr, 1, true)
  end)
end)
