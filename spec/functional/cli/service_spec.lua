-- As a service: what the service manager is told (sd_notify), and how.

local loop = require "spec.support.loop"
local notify_socket = require "spec.support.notify_socket"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local SCRIPT = [[
local gateway = require "tidegate"
gateway.on("load", function() gateway.log.info "loaded" end)
]]

local function monotonic_usec()
  return loop.now() * 1000 -- the same clock
end

describe("a service", function()
  local socket

  before_each(function() socket = notify_socket.open() end)
  after_each(function()
    scene.stop()
    notify_socket.cleanup()
  end)

  local function start(options, env)
    options.env = { NOTIFY_SOCKET = socket.name }
    for name, value in pairs(env or {}) do
      options.env[name] = value
    end
    return scene.start(options)
  end

  it("is ready when the shards begin to start, and tells how many are up", function()
    local s = start { shards = 4, per_worker = 2, spawn_shard_delay = 1200, ready = false }
    local _, first = socket:wait_for "STATUS=asking Discord where and how to connect"
    local ready, at = socket:wait_for "READY=1"
    assert.is_true(first < at)
    assert.matches("^0 of 4 shards up, about %d+ s left$", ready.STATUS)
    assert.equal(s.gateway.pid, ready.pid)
    local _, some = socket:wait_for("STATUS=[12] of 4 shards up, about %d+ s left", at)
    local _, all = socket:wait_for("STATUS=4 of 4 shards up", some, 20000)
    assert.equal(1, socket:count "READY")

    s.fake:fault { at = "upgrade", ["do"] = "rst", count = 1000 }
    s.fake:fault { ["do"] = "rst", shard = 0 }
    local _, less = socket:wait_for("STATUS=3 of 4 shards up", all)
    s.fake:reset { "faults" }
    socket:wait_for("STATUS=4 of 4 shards up", less)
  end)

  it("tells of a status only when it has changed, once a second at most", function()
    local began = loop.now()
    start { shards = 8, per_worker = 4, reload = false, fake = { max_concurrency = 8 } }
    socket:wait_for "STATUS=8 of 8 shards up"
    local last, alone = nil, 0
    for _, message in ipairs(socket.messages) do
      if not message.READY then
        assert.not_equal(last, message.STATUS)
        alone = alone + 1
      end
      last = message.STATUS
    end
    assert.is_true(alone <= (loop.now() - began) / 1000 + 1, alone .. " messages")
  end)

  it("tells when it reloads, with the time, and when that is over", function()
    local s = start { script = SCRIPT, reload = false }
    local _, ready = socket:wait_for "READY=1"
    local before = monotonic_usec()
    assert.is_true((s.gateway:reload()))
    local reloading, from = socket:wait_for("RELOADING=1", ready)
    local usec = tonumber(reloading.MONOTONIC_USEC)
    assert.is_true(usec >= before and usec <= monotonic_usec(), reloading.text)
    assert.is_nil(reloading.READY)
    local over = socket:wait_for("READY=1", from + 1)
    assert.equal("1 of 1 shard up", over.STATUS)
  end)

  it("tells when a reload has failed, until one has not", function()
    local s = start { script = SCRIPT, reload = false }
    local _, ready = socket:wait_for "READY=1"
    paths.write(s.gateway.script, "oh no")
    assert.is_false((s.gateway:reload()))
    local _, from = socket:wait_for("RELOADING=1", ready)
    local over, at = socket:wait_for("READY=1", from + 1)
    assert.equal("1 of 1 shard up; the last reload has failed, the log says why", over.STATUS)
    paths.write(s.gateway.script, SCRIPT)
    assert.is_true((s.gateway:reload()))
    assert.equal("1 of 1 shard up", (socket:wait_for("READY=1", at + 1)).STATUS)
  end)

  it("tells that it stops, and what becomes of the sessions", function()
    for signal, fate in pairs { SIGTERM = "kept for the next start", SIGINT = "ended" } do
      local s = start {}
      local _, ready = socket:wait_for "READY=1"
      s.gateway:stop(signal)
      local stopping = socket:wait_for("STOPPING=1", ready)
      assert.equal("stopping; the sessions are " .. fate, stopping.STATUS)
      assert.equal(stopping, socket.messages[#socket.messages])
      scene.stop()
      notify_socket.cleanup()
      socket = notify_socket.open()
    end
  end)

  it("is not ready when it cannot start", function()
    local s = start({ ready = false }, { DISCORD_TOKEN = "not.the.token" })
    assert.equal(78, (s.gateway.process:wait()))
    socket:wait_for "STOPPING=1"
    assert.equal(0, socket:count "READY")
  end)

  it("is told in the abstract name space, too", function()
    socket = notify_socket.open { abstract = true }
    start {}
    socket:wait_for "READY=1"
  end)

  it("says so once when nobody listens, and goes on", function()
    local s = start({}, { NOTIFY_SOCKET = paths.tmp() .. "/nobody" })
    s.gateway:stop()
    assert.equal(1, s.gateway:count_log "cannot be notified %(NOTIFY_SOCKET%): No such file or directory")
    s = s:again { env = { NOTIFY_SOCKET = "notify" } }
    s:wait_ready(1)
    assert.equal(1, s:count_log "NOTIFY_SOCKET is not the path of a socket")
  end)

  it("keeps the socket from its workers, and from what they start", function()
    local s = start({ script = [[
local gateway = require "tidegate"
gateway.on("load", function()
  gateway.log.info("notify socket %s, watchdog %s %s", os.getenv "NOTIFY_SOCKET", os.getenv "WATCHDOG_USEC",
    os.getenv "WATCHDOG_PID")
end)
]] }, { WATCHDOG_USEC = 1000000 })
    s.gateway:wait_for_log "worker 0: notify socket nil, watchdog nil nil"
    s.gateway:wait_for_log "manager: notify socket nil, watchdog nil nil"
    for _, pid in ipairs(s.gateway:worker_pids()) do
      local environment = paths.read(("/proc/%d/environ"):format(pid))
      assert.matches("INTENTS=", environment, 1, true)
      assert.is_nil(environment:find("NOTIFY_SOCKET", 1, true))
      assert.is_nil(environment:find("WATCHDOG", 1, true))
    end
  end)

  describe("with a watchdog", function()
    local USEC = 400000

    it("shows twice in its time that the loop turns; not when it does not", function()
      local began = loop.now()
      local s = start({}, { WATCHDOG_USEC = USEC })
      local function beats() return socket:count "WATCHDOG" end
      loop.wait_for("beats", function() return beats() >= 10 end)
      assert.is_true(beats() <= (loop.now() - began) / (USEC / 2000) + 1, "too often")

      s.gateway.process:kill "SIGSTOP"
      loop.wait_for("the stop", function()
        return paths.read(("/proc/%d/stat"):format(s.gateway.pid)):match "^%d+ %(.-%) (%a)" == "T"
      end)
      local before = beats()
      local over = loop.now() + 2 * USEC / 1000
      loop.wait_for("the watchdog's time", function() return loop.now() > over end)
      assert.equal(before, beats())
      s.gateway.process:kill "SIGCONT"
      loop.wait_for("beats again", function() return beats() > before + 2 end)
    end)

    it("that waits for another process is left alone", function()
      start({}, { WATCHDOG_USEC = USEC, WATCHDOG_PID = 1 })
      socket:wait_for "STATUS=1 of 1 shard up"
      assert.equal(0, socket:count "WATCHDOG")
    end)

    it("that waits for this process is heeded", function()
      start({ wrap = { "sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh" } }, { WATCHDOG_USEC = USEC })
      socket:wait_for "WATCHDOG=1"
    end)
  end)
end)

describe("secrets in files", function()
  after_each(scene.stop)

  it("reach manager and workers, and no log", function()
    local bot = { authorization = "the-bots-own-secret" }
    local dir = paths.tmp()
    local s = scene.start { bot = bot, ready = false, env = {
      DISCORD_TOKEN = false, EVENT_HANDLER_SECRET_KEY = false,
    } }
    assert.equal(78, (s.gateway.process:wait()))
    assert.matches("token: is required; set DISCORD_TOKEN in the environment, or DISCORD_TOKEN_FILE",
      s.gateway.stderr, 1, true)

    paths.write(dir .. "/event_handler_secret_key", bot.authorization .. "\n")
    local g = s:again { ready = true, env = {
      DISCORD_TOKEN = false, DISCORD_TOKEN_FILE = paths.write(dir .. "/token", s.fake.token .. "\n"),
      EVENT_HANDLER_SECRET_KEY = false, CREDENTIALS_DIRECTORY = dir,
    } }
    s.fake:emit { count = 3 }
    s.bot:wait_for_events(3, "MESSAGE_CREATE") -- it refuses those without its secret
    g:stop()
    for _, secret in ipairs { s.fake.token, bot.authorization } do
      assert.is_nil(g.stderr:find(secret, 1, true))
    end
  end)
end)

describe("with the journal on standard error", function()
  after_each(scene.stop)

  local TO_JOURNAL = { "sh", "-c", 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$@"', "sh" }
  local PRIORITIES = { debug = 7, info = 6, warn = 4, error = 3 }

  it("each line of text has its priority, and no time of its own", function()
    local s = scene.start { wrap = TO_JOURNAL, script = [[
local gateway = require "tidegate"
gateway.on("ready", function() error "oh no" end)
]] }
    s.gateway:wait_for_log "oh no\n<3>  stack traceback:\n<3>  [^\n]+\n"
    s.gateway:stop()
    for _, line in ipairs(s.gateway.process:lines "stderr") do
      local priority, level = line:match "^<(%d)>(%a+) +[mw][ao][nr][ak][ge]"
      if level then
        assert.equal(PRIORITIES[level], tonumber(priority), line)
      else
        assert.matches("^<%d>  ", line)
      end
    end
    assert.is_true(s.gateway:count_log "^<6>info  worker 0 shard 0: ready:" == 1)
  end)

  it("so has each line of JSON", function()
    local s = scene.start { wrap = TO_JOURNAL, env = { LOG_FORMAT = "json" } }
    s.gateway:stop()
    for _, line in ipairs(s.gateway.process:lines "stderr") do
      local priority, json = line:match "^<(%d)>({.*})$"
      assert.equal(PRIORITIES[require "cjson".decode(json).level], tonumber(priority), line)
    end
  end)

  it("not when the variable means another stream", function()
    local s = scene.start { env = { JOURNAL_STREAM = "1:2" } }
    s.gateway:stop()
    assert.is_nil(s.gateway.stderr:find("<6>", 1, true))
  end)
end)
